"""Predicting and scoring a recording of 8,000 neurons: time, memory, what is overhead.

    python experiments/benchmarks/scoring.py [--quick] [--model NAME] [--json]

Two comparisons in one run, each part in a process of its own. First a model predicts 60
trials of 300 frames and every number of `sensorium score` is computed: how much of the
time lies outside the model. Then only scoring, on the predictions that the first part
left on disk: ours, and the original library's functions on the same files (all trials
laid end to end in memory, correlation; averages over repeats, correlation; FEVE and
oracle), where $SENSORIUM_PEERS/sinzlab/neuralpredictors is there.
"""

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax import asking
from sensorium_jax.data import statistics
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.release.write import SessionWriter

PARTS = ("predict", "ours", "originals")
TIER, SKIP = "oracle", 50
FUNCTIONS = "sinzlab/neuralpredictors/neuralpredictors/measures/np_functions.py"


class Size(NamedTuple):
    """How large the recording is."""

    neurons: int = 8000
    clips: int = 6
    repeats: int = 10
    frames: int = 300
    model: str = "factorized2023"


QUICK = Size(neurons=200, clips=2, repeats=3, frames=100, model="demo")


def synthesize(folder: Path, size: Size) -> None:
    """Smooth noise films, each shown several times, and sparse responses to them."""
    rng = np.random.default_rng(0)
    (folder / "predicted").mkdir()
    shape = (36, 64, 1)
    writer = SessionWriter(
        folder / "tree/dynamic0",
        rules="2023",
        neurons=size.neurons,
        frame_shape=shape,
        video_dtype="u1",
    )
    films = rng.integers(0, 255, (size.clips, size.frames, *shape), dtype=np.uint8)
    rates = rng.gamma(0.3, 1.0, (size.clips, size.frames, size.neurons))
    tiers = [TIER] * (size.clips * size.repeats) + ["train"] * 2
    for trial in range(len(tiers)):
        clip = trial % size.clips
        if trial < size.clips * size.repeats:
            guess = 0.5 * rates[clip] + rng.gamma(0.3, 1.0, rates[clip].shape)
            path = folder / "predicted" / f"{trial:04d}.npy"
            np.save(path, guess[SKIP:].astype(np.float32))
        writer.add(
            trial,
            films[clip],
            rng.poisson(rates[clip]).astype(np.float32),
            rng.random((size.frames, 2), np.float32),
            rng.random((size.frames, 2), np.float32),
        )
    writer.finish(tiers, coordinates=rng.random((size.neurons, 3)) * 600)


class Clocked:
    """A twin that answers, and knows how long it took."""

    def __init__(self, twin: Any):
        """Start at no time."""
        self.twin, self.seconds, self.calls = twin, [], 0
        self.raw, self.behaviors = twin.raw, twin.behaviors
        self.asking = asking.of(twin)

    def respond(self, *inputs: Any, first_frame_b: Any = 0) -> np.ndarray:
        """The twin's rates, waited for."""
        began = time.perf_counter()
        rates = self.twin.respond(*inputs, first_frame_b=first_frame_b)
        rates = np.asarray(rates)
        self.seconds.append(time.perf_counter() - began)
        return rates


class Kept:
    """Predictions on disk, in order of the trials."""

    raw = ("video", "behavior", "pupil")

    def __init__(self, folder: Path):
        """Begin with the first trial."""
        self.files = iter(sorted(folder.glob("*.npy")))

    def respond(self, *_: Any, first_frame_b: Any = 0) -> np.ndarray:
        """The next rates; clips are asked for one at a time."""
        return np.load(next(self.files))[None]


def score(recordings: Recordings, twin: Any, *, warm: bool = False) -> Any:
    """All numbers of the tier; warm takes two trials, to have everything compiled."""
    from sensorium_jax.scoring import accumulate, predict, suites, trials

    planned = trials.plan(recordings.sessions, [TIER])
    fit, mice = trials.sizes(planned), planned[TIER]
    if warm:
        two = [np.flatnonzero(m.stimulus_b == 0)[:2] for m in mice]  # repeats
        mice = [
            m._replace(rows=m.rows[b], stimulus_b=m.stimulus_b[b])
            for m, b in zip(mice, two, strict=True)
        ]
    stream = predict.stream(twin, mice, batch=1)
    return suites.report(accumulate.measure(stream, mice, fit=fit, batch=1))


def predict(folder: Path, size: Size) -> dict[str, Any]:
    """Predict and score with a model of random weights; keep what it predicted."""
    from sensorium_jax.zoo.assemble import build
    from sensorium_jax.zoo.describe import init
    from sensorium_jax.zoo.twins.twin import Twin

    recordings = Recordings.open(folder / "tree")
    info = recordings.mouse_info()
    encoder = build(size.model, info)
    variables = init(encoder, info, 0)
    shapes = info.neurons, info.frame_shape, info.behaviors
    made = Twin(encoder, variables, recordings.names, *shapes)
    clocked = Clocked(made)
    score(recordings, clocked, warm=True)
    clocked.seconds = []
    began = time.perf_counter()
    score(recordings, clocked)
    seconds = time.perf_counter() - began
    peak = peak_gb()
    model = sum(clocked.seconds)
    return {
        "seconds": seconds,
        "model_seconds": model,
        "outside_model": 1 - model / seconds,
        "peak_gb": peak,
    }


def ours(folder: Path, size: Size) -> dict[str, Any]:
    """Score the predictions on disk."""
    recordings = Recordings.open(folder / "tree")
    score(recordings, Kept(folder / "predicted"), warm=True)
    began = time.perf_counter()
    found = score(recordings, Kept(folder / "predicted")).all
    return _told(began, found.single_trial, found.to_average, found.feve)


def originals(folder: Path, size: Size) -> dict[str, Any] | None:
    """The original functions on the same files."""
    path = Path(os.environ.get("SENSORIUM_PEERS", "")) / FUNCTIONS
    if not path.is_file():
        return None
    np_functions = functions(path)
    session = Recordings.open(folder / "tree")[0]
    files = sorted((folder / "predicted").glob("*.npy"))
    began = time.perf_counter()
    x = [np.load(f) for f in files]
    late = SKIP - (size.frames - len(x[0]))
    x = [a[late:] for a in x]
    scale = statistics.precision(session)[-len(x[0]) :]
    y = [
        session.read("responses", int(row))[SKIP:] * scale
        for row in session.trials_of(TIER)
    ]
    single = np_functions.corr(np.concatenate(x), np.concatenate(y), axis=0)
    groups = [
        [np.stack(a[clip :: size.clips]) for clip in range(size.clips)] for a in (x, y)
    ]
    means = [np.concatenate([g.mean(0) for g in group]) for group in groups]
    average = np_functions.corr(*means, axis=0)
    frames = [[g[:, t] for g in group for t in range(g.shape[1])] for group in groups]
    fev, feve = np_functions.fev(frames[1], frames[0], return_exp_var=True)
    np_functions.oracle_corr_jackknife(frames[1])
    kept = feve[fev >= 0.15]
    return _told(began, np.nan_to_num(single).mean(), average.mean(), kept.mean())


def functions(path: Path) -> Any:
    """The module of numpy functions alone; its package would ask for much more."""
    for name in ("neuralpredictors", "neuralpredictors.measures"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["neuralpredictors.utils"] = types.ModuleType("utils")
    vars(sys.modules["neuralpredictors.utils"])["anscombe"] = None
    name = "neuralpredictors.measures.np_functions"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _told(began: float, single: float, average: float, feve: float) -> dict[str, Any]:
    return {
        "seconds": time.perf_counter() - began,
        "peak_gb": peak_gb(),
        "single_trial": float(single),
        "to_average": float(average),
        "feve": float(feve),
    }


def peak_gb() -> float:
    """Most memory this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    """Every part in a process of its own, then ratios."""
    parser = argparse.ArgumentParser(description="Time and memory of scoring.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--model", help="of the zoo; random weights")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args()
    size = QUICK if args.quick else Size()
    size = size._replace(model=args.model or size.model)
    if args.part:
        found = globals()[args.part](Path(args.folder), size)
        print(json.dumps(found))
        return
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        synthesize(Path(folder), size)
        for part in PARTS:
            words = [sys.executable, __file__, "--part", part, "--folder", folder]
            words += ["--quick"] * args.quick + ["--model", size.model]
            out = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
            found[part] = json.loads(out.stdout.splitlines()[-1])
    for what in ("seconds", "peak_gb") if found["originals"] else ():
        found[f"{what}_ratio"] = found["originals"][what] / found["ours"][what]
    found["size"] = size._asdict()
    lines = [f"{part}: {json.dumps(numbers)}" for part, numbers in found.items()]
    print(json.dumps(found) if args.json else "\n".join(lines))


if __name__ == "__main__":
    main()
