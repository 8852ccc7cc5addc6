"""The JAX home of the SENSORIUM benchmarks.

>>> import sensorium_jax as sj
>>> recordings = sj.simulate("data/tiny", preset="tiny")
>>> sj.train("demo", "runs/tiny", data="data/tiny", changes={"train.steps": 20})
>>> twin = sj.twin("runs/tiny")
>>> print(sj.score(twin, recordings))
>>> sj.submit(twin, recordings, "upload")
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sensorium_jax import insilico, metrics, plots
    from sensorium_jax.data.check.check import Report as Checked
    from sensorium_jax.data.recordings import Recordings
    from sensorium_jax.data.release.download import download
    from sensorium_jax.data.release.write import SessionWriter
    from sensorium_jax.data.stream.stream import Stream, prefetch, whole_trials
    from sensorium_jax.models.encoder import Encoder
    from sensorium_jax.rules import own
    from sensorium_jax.run.answers import Answers
    from sensorium_jax.run.evaluate import Verdict
    from sensorium_jax.run.insilico.recorded import recorded
    from sensorium_jax.run.predict import Predicted
    from sensorium_jax.run.submit import Submitted
    from sensorium_jax.run.train import Trained
    from sensorium_jax.scoring.tables import Report
    from sensorium_jax.simulation.cortex.rates import load as truth
    from sensorium_jax.submission.lint import Inspection
    from sensorium_jax.zoo.twins.ensemble import Ensemble
    from sensorium_jax.zoo.twins.twin import Twin

__version__ = "0.1.0"
__all__ = [
    "Recordings",
    "SessionWriter",
    "Stream",
    "answers",
    "build",
    "check",
    "curves",
    "download",
    "ensemble",
    "evaluate",
    "insilico",
    "list_models",
    "load",
    "look",
    "metrics",
    "model",
    "open",
    "own",
    "page",
    "plots",
    "predict",
    "prefetch",
    "recorded",
    "score",
    "simulate",
    "submit",
    "train",
    "truth",
    "twin",
    "validate",
    "whole_trials",
    "write_session",
]
ROOMS = ("insilico", "metrics", "plots")  # that are offered whole
# What is handed on as it is, and imported when it is asked for.
OFFERED = {
    "Recordings": ("data.recordings", "Recordings"),
    "SessionWriter": ("data.release.write", "SessionWriter"),
    "Stream": ("data.stream.stream", "Stream"),
    "download": ("data.release.download", "download"),
    "own": ("rules", "own"),
    "prefetch": ("data.stream.stream", "prefetch"),
    "recorded": ("run.insilico.recorded", "recorded"),
    "truth": ("simulation.cortex.rates", "load"),
    "whole_trials": ("data.stream.stream", "whole_trials"),
}


def __getattr__(name: str) -> Any:
    if name in ROOMS:
        return import_module(f"sensorium_jax.{name}")
    if name not in OFFERED:
        raise AttributeError(f"module 'sensorium_jax' has no attribute '{name}'")
    module, attribute = OFFERED[name]
    return getattr(import_module(f"sensorium_jax.{module}"), attribute)


def open(path: str | Path, *, rules: str | None = None) -> Recordings:
    """Recordings under a path: official trees, own ones, a store, or a store's URL.

    rules: "own", "2022" or "2023" over those that the recordings carry; see rules.py.

    >>> recordings = sj.open("data/2023")
    >>> recordings["29515"].trials_of("oracle")  # rows of the trial table
    """
    from sensorium_jax.data.recordings import Recordings

    return Recordings.open(path, rules=rules)


def simulate(out: str | Path, **options: Any) -> Recordings:
    """A simulated cortex with known truth, written into a folder and opened.

    options: preset ("tiny", "demo", "bench", "centered", "types"), year (2022 pictures,
    2023 films), seed, trials. What is there already is not made again.

    >>> sj.simulate("data/tiny", preset="tiny", seed=1)
    """
    from sensorium_jax.simulation.write import simulate as write

    write(out, **options)
    return open(out)


def write_session(folder: str | Path, **arrays: Any) -> Path:
    """Write your own recording as a folder that everything reads.

    videos: per trial [t, h, w] or [t, h, w, c], grey levels 0..255; responses: per
    trial [t, n]; behavior [t, k] and pupil [t, 2] where there are some. pictures=True:
    a stack [m, h, w], and responses [m, n]. fill_gaps=True interpolates blinks. More
    options are those of data.release.write.write_session.

    >>> sj.write_session("mine/fish1", videos=videos, responses=responses)
    """
    from sensorium_jax.data.release.write import write_session as write

    return write(folder, **arrays)


def look(recordings: Recordings, mouse: int | str = 0) -> Any:
    """A page of what one recording holds: frames, activity, repeats, reliability.

    >>> sj.look(sj.open("mine"))
    """
    from sensorium_jax.plots import recordings as pages
    from sensorium_jax.run.page import shown_of

    return pages.page(shown_of(recordings[mouse]))


def check(path: str | Path, *, deep: bool = False, rules: str | None = None) -> Checked:
    """What would stop a run on these recordings or make it wrong, and what to do.

    deep reads every array, also where there are more than 2 GB of them.

    >>> print(sj.check("mine"))
    """
    from sensorium_jax.data.check.check import inspect

    return inspect(path, deep=deep, rules=rules)


def list_models(pattern: str = "*") -> list[str]:
    """Names of models that can be built, as a pattern picks them.

    >>> sj.list_models("*2023*")
    """
    from sensorium_jax.zoo.describe import names

    return names(pattern)


def build(name: str, source: Any = None, **changes: Any) -> Encoder:
    """The Flax module of a model by name, for these recordings.

    changes are options of its parts, such as core={"layers": 3} or shifter=None.
    Without recordings it takes the inputs of its original.

    >>> sj.build("factorized2023", sj.open("data/demo"), core={"layers": 2})
    """
    from sensorium_jax.zoo.assemble import build as assemble

    return assemble(name, source, **changes)


def twin(
    source: str | Path, *, step: int | None = None, allow_outside: bool = False
) -> Twin:
    """A trained model, from a run, a checkpoint folder or a published model's name.

    twin.respond(video_bthwc, behavior_btk, pupil_bt2, mouse) gives rates [B, T', N] of
    the last T' frames of each clip, differentiable in the video. A core of your own
    runs its code when loaded; allow_outside says that you trust it.

    >>> twin = sj.twin("runs/demo")
    >>> twin.respond(video_bthwc, mouse=0)
    """
    from sensorium_jax.zoo.load import load as load_twin

    return load_twin(source, step=step, allow_outside=allow_outside)


def ensemble(twins: Sequence[Any], recordings: Recordings | None = None) -> Ensemble:
    """One twin that answers with the mean rates of several, each asked as it wants.

    Twins that answer in different units need the recordings they were made of; their
    mean is then in the judges' units. save(folder) writes it, twin(folder) loads it.

    >>> sj.ensemble([sj.twin("runs/seed0"), sj.twin("runs/seed1")])
    """
    from sensorium_jax.run.ensemble import of

    return of(twins, recordings)


def train(
    recipe: str | Path,
    workdir: str | Path,
    *,
    data: str | Path | None = None,
    model: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
    fresh: bool = False,
) -> Trained:
    """Train a recipe; a workdir that holds the same run continues it.

    recipe is a name (see `sensorium train --help`) or the path of a config file; model
    are changes of the model's parts, changes those of any field of the recipe.

    >>> sj.train("demo", "runs/a", data="data/demo", changes={"train.steps": 100})
    """
    from sensorium_jax.run.train import train_recipe

    fields = dict(changes or {})
    if data is not None:
        fields["data.root"] = str(data)
    if model is not None:
        fields["model.json"] = json.dumps(model)
    words = [f"--config.{key}={value}" for key, value in fields.items()]
    return train_recipe(str(recipe), str(workdir), words, fresh=fresh)


def score(
    twin: Any, recordings: Recordings, *, linear: bool = True, **options: Any
) -> Report:
    """Scores of a model as the judges count, beside null, linear model and ceiling.

    The linear model is fitted once and kept beside the recordings; linear=False leaves
    it out.

    options: tier ("val", a tier's name, or "all"), stimuli, ceiling, draws, against (a
    second twin's name and itself, for a paired test); see run.score.report.

    >>> print(sj.score(twin, recordings, tier="all"))
    """
    from sensorium_jax.run.linear import fitted
    from sensorium_jax.run.score import known_sessions, report

    sessions = known_sessions(twin, recordings)
    if linear:
        options["linear"] = lambda: fitted(sessions, (recordings.path,))
    return report(twin, sessions, **options)


def curves(*workdirs: str | Path) -> Any:
    """Loss and score of one or several runs over their steps.

    >>> sj.curves("runs/demo")
    """
    from sensorium_jax.plots.curves import learning
    from sensorium_jax.run.logged import read
    from sensorium_jax.run.report import names_of

    names = names_of([str(w) for w in workdirs])
    runs = {
        name: {key: read(folder).curve(key) for key in ("loss", "score")}
        for name, folder in zip(names, workdirs, strict=True)
    }
    return learning(runs)


def page(*workdirs: str | Path, out: str | Path | None = None, **options: Any) -> Path:
    """Write the page of a run, or of several, for the browser; tells where it is.

    options: data, tier, draws, no_linear; see run.report.report.

    >>> sj.page("runs/demo")
    """
    from sensorium_jax.run.report import report

    place = None if out is None else str(out)
    written = report([str(w) for w in workdirs], out=place, **options)
    return Path(written.data["report"])


def answers(
    twin: Any,
    recordings: Recordings,
    mouse: int | str = 0,
    *,
    tier: str = "val",
    frames: int | None = None,
) -> Answers:
    """A model's rates beside the responses of one mouse, trials laid end to end.

    frames, if given, is how many there are at most. Arrays are in the judges' units.

    >>> sj.answers(twin, recordings, tier="oracle").predicted_tn
    """
    from sensorium_jax.run.answers import of_tier

    return of_tier(twin, recordings[mouse], tier, frames=frames)


def predict(
    twin: Any, recordings: Recordings, out: str | Path, **options: Any
) -> Predicted:
    """A model's rates of every trial of a tier, written as arrays into a folder.

    options: tier ("val", names between commas, or "all"), units ("raw" as recorded,
    "per_frame", "per_neuron"), npz (one file per mouse). Trials that are there already
    are kept. The folder's files are those of `sensorium predict`.

    >>> sj.predict(twin, recordings, "rates", tier="test").folder
    """
    from sensorium_jax.run.predict import write
    from sensorium_jax.run.score import known_sessions

    return write(twin, known_sessions(twin, recordings), out, **options)


def submit(
    twin: Any, recordings: Recordings, out: str | Path, **options: Any
) -> Submitted:
    """Predict the tests of a competition and write what its server takes into out.

    options: track, tiers, names, mouse, units; see run.submit.predict_and_write. Says
    which files were written (.tables by tier) and which to upload (.uploads).

    >>> sj.submit(sj.twin("runs/demo"), sj.open("data/demo"), "upload").uploads
    """
    from sensorium_jax.rules import PICTURES
    from sensorium_jax.run.submit import predict_and_write

    if "track" not in options and recordings.sessions[0].rules.kind == PICTURES:
        sees = getattr(twin, "behaviors", 0)  # a model of SENSORIUM+ sees behavior
        options["track"] = "sensorium+" if sees else "sensorium"
    return predict_and_write(twin, recordings.sessions, out, **options)


def validate(file: str | Path, recordings: Recordings, **options: Any) -> Inspection:
    """What a judge would refuse in a submission, before it is uploaded.

    options: tier and mouse, where the file does not tell.

    >>> print(sj.validate("upload/predictions_main.zip", recordings))
    """
    from sensorium_jax.submission.lint import validate as inspect

    return inspect(file, recordings.sessions, **options)


def evaluate(file: str | Path, recordings: Recordings, **options: Any) -> list[Verdict]:
    """The judges' numbers of a submission, where labels are known; one for each tier.

    options: tier, mouse, stimuli, ceiling, draws; see run.evaluate.verdicts.

    >>> print(sj.evaluate("upload/predictions_main.zip", recordings)[0])
    """
    from sensorium_jax.run.evaluate import verdicts

    return list(verdicts(file, recordings.sessions, **options))


def load(what: str, root: str | Path, **options: Any) -> Recordings:
    """An older way to say simulate ("simulated") or open ("2022", "2023")."""
    from sensorium_jax.errors import UserError, unknown
    from sensorium_jax.rules import RELEASES

    if what == "simulated":
        return simulate(root, **options)
    what = str(what)
    if what not in RELEASES or options:
        names = (*RELEASES, "simulated")
        raise unknown("release", str(what), names, "Options simulate only.")
    recordings = open(root)
    layouts = {s.rules.layout for s in recordings.sessions}
    if layouts != {what}:
        raise UserError(
            f"{root} holds recordings of {', '.join(sorted(layouts))}, not of {what}. "
            f"Name that year, or fetch the other: sensorium download {what} --to DIR."
        )
    return recordings


def model(source: str | Path, *, step: int | None = None) -> Twin:
    """An older name of twin."""
    return twin(source, step=step)
