"""`sensorium probe`: what a population and a core say of stimuli, and who is alike."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax import progress
from sensorium_jax.errors import UserError
from sensorium_jax.insilico import record
from sensorium_jax.insilico.representations import probe as probes
from sensorium_jax.insilico.representations.probe import Options, Represented
from sensorium_jax.insilico.representations.shown import Gratings, labelled
from sensorium_jax.insilico.subjects import Subject, of
from sensorium_jax.io import atomic, npy
from sensorium_jax.run import Outcome
from sensorium_jax.run.claimed import claim
from sensorium_jax.run.insilico.asked import (
    PARTS,
    REQUEST,
    Asked,
    numbers,
    request,
    subject,
    written,
)
from sensorium_jax.run.insilico.recorded import session_of
from sensorium_jax.run.insilico.windows import SECONDS, rows_of, windows
from sensorium_jax.run.twins import one_or_ensemble
from sensorium_jax.simulation import truths
from sensorium_jax.text import align, cell, short

MADE = Gratings()
LONGEST = 28  # characters of a name in a table


def probe(
    asked: Asked,
    *,
    data: str | None = None,
    tier: str = "all",
    window: float = SECONDS,
    beside: Sequence[str] = (),
    all_mice: bool = False,
    core: bool = True,
    directions: int = MADE.directions,
    phases: int = MADE.phases,
    folds: int = Options().folds,
    draws: int = Options().draws,
) -> Outcome:
    """Probe rates and core at gratings, and responses in trials of recordings.

    beside: other runs, models or simulated trees that are shown the same gratings.
    Every representation is kept when it is there, so that a killed run goes on.
    """
    one = subject(asked)
    options = Options(folds, draws, asked.seed)
    shown = MADE._replace(directions=directions, phases=phases)
    plain = {**options._asdict(), **shown._asdict(), "data": data, "tier": tier}
    plain |= {"window": window, "beside": list(beside), "all_mice": all_mice}
    session = session_of(one, data) if data else None
    if session is not None:
        rows_of(session, tier)  # before the folder is claimed
    every = list(_asks(asked, one, shown, beside, all_mice=all_mice, core=core))
    asks = dict(every)
    if len(asks) < len(every):
        raise UserError(
            f"Two of {', '.join(name for name, _ in every)} have one name. Rename a "
            "folder, so that they can be told apart."
        )
    folder = Path(asked.out)
    atomic.need_place(folder, folder=True)
    neurons = numbers(asked.neurons, one.neurons)
    plain["core"] = core
    said = request("probe", asked, one, neurons, plain)
    claim(folder / REQUEST, said, "another experiment, which differs in")
    final = folder / f"probe.{asked.format}"
    if final.exists():
        result = record.load(final)
    else:
        parts = {}
        with progress.bar("Showing gratings", len(asks)) as bar:
            for i, (name, ask) in enumerate(asks.items()):
                x, wide = _kept(folder / PARTS / f"{i}.npz", ask)
                parts[name] = Represented(x, labelled(one, shown), wide)
                bar.add(1, name)
        if session is not None:
            more = {"tier": tier, "seconds": window, "seed": asked.seed}
            parts |= windows(one, session, **more)
        result = probes.probe(one, parts, neurons, options)
        result.save(final)
    out = written(result, final, figure=asked.figure)
    return Outcome(out.data, "\n".join([words(result), *_files(out)]), out.code)


def _asks(
    asked: Asked, one: Subject, shown: Gratings, beside, *, all_mice: bool, core: bool
) -> Iterator[tuple[str, Callable[[], Represented]]]:
    """What is asked of whom, by the name of the representation."""
    given: dict[str, Any] = {"seed": asked.seed, "memory": asked.bytes}
    neurons = numbers(asked.neurons, one.neurons)
    ask = probes.shown_gratings
    yield "rates", partial(ask, one, neurons, shown, **given)
    if core and hasattr(one.twin, "features"):
        yield "core", partial(ask, one, None, shown, core=True, **given)
    others = [("", one.twin)]
    for name in beside:
        known = truths.simulated(name)
        others.append((name, truths.load(name) if known else one_or_ensemble([name])))
    for name, twin in others:
        for mouse in _mice(one, twin, name, all_mice=all_mice):
            two = of(twin, mouse, fps=asked.fps, degrees=asked.degrees_per_pixel)
            if two.films != one.films:
                raise UserError(
                    f"{name or two.name} sees {'films' if two.films else 'pictures'}, "
                    f"{one.name} does not: they cannot be shown the same. Take models "
                    "of one kind."
                )
            yield (
                _label(name, two.name, all_mice=all_mice),
                partial(ask, two, None, shown, **given),
            )


def _label(name: str, mouse: str, *, all_mice: bool) -> str:
    """What a population is called: by its folder's name, or its mouse, or both."""
    parts = [Path(name).name] if name else []
    return " ".join([*parts, *([mouse] if all_mice or not name else [])])


def _mice(one: Subject, twin: Any, name: str, *, all_mice: bool) -> list[str]:
    """Which mice of a twin are asked: all, or one, the same where it has it."""
    if not name:
        return [m for m in twin.mice if m != one.name] if all_mice else []
    if all_mice:
        return list(twin.mice)
    return [one.name if one.name in twin.mice else twin.mice[0]]


def _kept(path: Path, ask: Callable[[], Represented]) -> tuple[np.ndarray, np.ndarray]:
    """What a population answers, computed or as it was kept."""
    if not path.is_file():
        made = ask()
        with atomic.whole(path) as part, open(part, "wb") as file:
            np.savez(file, allow_pickle=False, x=made.x_sd, wide=made.wide_sd)
    arrays = npy.archive_of(path)
    return arrays["x"], arrays["wide"]


def _files(out: Outcome) -> list[str]:
    return [f"written: {path}" for path in out.data["files"]]


def words(result: record.Result) -> str:
    """The tables of a probe."""
    about = result.about
    label = short([s["of"] for s in about["spectra"]], LONGEST)
    heads = ["read from", "label", "classes", "rows", "right", "permuted", "95 %", "p"]
    keys = ("classes", "samples", "accuracy", "null", "null_high", "p")
    rows = [
        [label[row["of"]], row["label"], *(cell(row[k]) for k in keys)]
        for row in about["decoding"]
    ]
    lines = [f"Linear probes of {about['mouse']}:", *align([heads, *rows], left=2)]
    heads = ["spectrum of", "stimuli", "exponent", "dimensions", "noise left out"]
    keys = ("stimuli", "exponent", "dimensions")
    rows = [
        [label[s["of"]], *(cell(s[k]) for k in keys), "yes" if s["crossed"] else "no"]
        for s in about["spectra"]
    ]
    lines += align([heads, *rows])
    names = about["compared"]
    places = [str(i + 1) for i in range(len(names))]
    pairs = (("alignment", "alignment"), ("dissimilarities", "rank_correlation"))
    for title, key in pairs if len(names) > 1 else ():
        rows = [
            [f"{i} {label[name]}", *(cell(float(x)) for x in row)]
            for i, name, row in zip(places, names, result[key], strict=True)
        ]
        lines += align([[title, *places], *rows])
    return "\n".join([*lines, *(f"note: {note}" for note in result.notes)])
