"""What all experiments on twins share: who is asked, resuming, and what is written."""

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from sensorium_jax import progress
from sensorium_jax.checkpoints import layout
from sensorium_jax.errors import UsageError, UserError
from sensorium_jax.insilico import record, subjects
from sensorium_jax.insilico.record import Result
from sensorium_jax.insilico.subjects import Subject
from sensorium_jax.io import atomic
from sensorium_jax.run import Outcome
from sensorium_jax.run.claimed import claim
from sensorium_jax.run.twins import one_or_ensemble
from sensorium_jax.simulation import truths

PARTS, REQUEST = "parts", "request.json"


class Asked(NamedTuple):
    """Flags that every experiment has."""

    out: str
    workdir: str | None = None
    model: Sequence[str] = ()
    truth: str | None = None
    mouse: str = "0"
    neurons: str | None = None
    fps: float | None = None
    degrees_per_pixel: float | None = None
    behavior: Sequence[float] | None = None
    pupil: Sequence[float] | None = None
    seed: int = 0
    memory: float | None = None  # GB
    figure: bool = True
    format: str = "npz"  # of the arrays: npz or zarr

    @property
    def bytes(self) -> float | None:
        """The memory as experiments take it."""
        return None if self.memory is None else 1e9 * self.memory


def subject(asked: Asked) -> Subject:
    """The mouse that is asked, of a run, a model, several as one, or the truth."""
    given = [bool(asked.workdir), bool(asked.model), bool(asked.truth)]
    if sum(given) != 1:
        raise UsageError(
            "Say whom to ask: one of --workdir RUN, --model NAME or FOLDER (several "
            "make an ensemble), or --truth TREE of a simulation."
        )
    if asked.truth:
        return _subject(truths.load(asked.truth), asked)
    names = [asked.workdir] if asked.workdir else list(asked.model)
    return _subject(one_or_ensemble([str(name) for name in names]), asked)


def earlier(place: str, verb: str) -> Result:
    """The result of an earlier experiment, from its folder or its file."""
    path = Path(place).expanduser()
    inside = [path / f"{verb}.npz", path / f"{verb}.zarr", path]
    kept = [p for p in inside if p.exists() and p.suffix in (".npz", ".zarr")]
    if not kept:
        raise UserError(
            f"{place} holds no {verb}.npz or {verb}.zarr. Give the folder of an "
            f"earlier sensorium {verb}."
        )
    result = record.load(kept[0])
    if result.experiment != verb:
        raise UserError(
            f"{place} is of sensorium {result.experiment}. Expected one of {verb}."
        )
    return result


def second(name: str, asked: Asked, first: Subject) -> Subject:
    """The same mouse of a second twin; the truth where the path is a simulation."""
    known = truths.simulated(name)
    other = truths.load(name) if known else one_or_ensemble([name])
    found = _subject(other, asked._replace(behavior=None, pupil=None), first.name)
    subjects.same_films(first, found, f"The second model {name}")
    if found.neurons != first.neurons:
        raise UserError(
            f"{name} has {found.neurons} neurons of {first.name}, the first model "
            f"{first.neurons}. Take a model of the same recording."
        )
    return found


def _subject(of: Any, asked: Asked, mouse: str | None = None) -> Subject:
    word = asked.mouse if mouse is None else mouse
    chosen = int(word) if re.fullmatch(r"\d{1,4}", word) else word
    if isinstance(chosen, int) and chosen >= len(of.mice):
        names = ", ".join(of.mice)
        raise UserError(
            f"Mouse {chosen} was asked for; there are {len(of.mice)}: {names}."
        )
    return subjects.of(
        of,
        chosen,
        fps=asked.fps,
        degrees=asked.degrees_per_pixel,
        behavior=asked.behavior,
        pupil=asked.pupil,
    )


def numbers(words: str | None, count: int) -> list[int]:
    """Neurons from '0-19,30'; None stands for all."""
    if words is None:
        return list(range(count))
    out: list[int] = []
    for part in words.split(","):
        match = re.fullmatch(r"\s*(\d{1,7})(?:-(\d{1,7}))?\s*", part)
        if not match:
            raise UsageError(f"Neurons {words!r}: expected such as 0-19,30.")
        first = int(match[1])
        out += range(first, int(match[2] or first) + 1)
    return list(dict.fromkeys(out))


def resumed(
    verb: str,
    asked: Asked,
    one: Subject,
    options: Mapping[str, Any],
    ask: Callable[[list[int]], Result],
    *,
    block: int,
) -> Outcome:
    """Ask block by block; each is kept, so that a killed run goes on where it was.

    What is in the folder must be of the same request. Blocks do not depend on how many
    stimuli are computed together, and so the arrays are the same however often it was
    killed.
    """
    folder = Path(asked.out)
    atomic.need_place(folder, folder=True)
    neurons = numbers(asked.neurons, one.neurons)
    said = request(verb, asked, one, neurons, options)
    claim(folder / REQUEST, said, "another experiment, which differs in")
    final = folder / f"{verb}.{asked.format}"
    if final.exists():
        result = record.load(final)
    else:
        real, wrong = subjects.split(one, neurons)
        blocks = [real[i : i + block] for i in range(0, len(real), block)]
        parts = []
        with progress.bar(verb, len(real), unit="") as bar:
            for i, some in enumerate(blocks):
                path = folder / PARTS / f"{i}.npz"
                if not path.is_file():
                    ask(some).save(path)
                parts.append(record.load(path))
                bar.add(len(some))
        result = record.join(parts)
        failed = dict(sorted({**result.failed, **wrong}.items()))
        result = replace(result, failed=failed)
        result.save(final)
    return written(result, final, figure=asked.figure)


def written(result: Result, final: Path, *, figure: bool) -> Outcome:
    """The files of a result beside its arrays, and what is said of it."""
    name, folder = result.experiment, final.parent
    data = result.as_dict()
    atomic.write_json(folder / f"{name}.json", data)
    files = [final.name, f"{name}.json"]
    if figure:
        page = result.figure()
        with atomic.whole(folder / f"{name}.png") as part:
            page.savefig(part, format="png", dpi=120)
        files.append(f"{name}.png")
    shutil.rmtree(folder / PARTS, ignore_errors=True)
    for path in folder.glob(".*.[0-9]*"):  # begun by a process that was killed
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    paths = [str(folder / f) for f in files]
    text = "\n".join([str(result), *(f"written: {p}" for p in paths)])
    code = 0 if len(result.neurons) else 1
    return Outcome({**data, "files": paths}, text, code)


def request(verb, asked: Asked, one: Subject, neurons, options) -> dict[str, Any]:
    """What makes two requests the same; a run is known by the step that is asked."""
    sources = [asked.workdir, *asked.model, asked.truth]
    steps = []
    for source in filter(None, sources):
        path = Path(str(source)).expanduser()
        saved = layout.saved_steps(path) if path.is_dir() else {}
        steps.append(
            f"{source}" + (f" step {layout.best_step(saved)}" if saved else "")
        )
    return {
        "experiment": verb,
        "of": steps,
        "neurons": neurons,
        "seed": asked.seed,
        "about": one.about(),
        "options": dict(options),
    }
