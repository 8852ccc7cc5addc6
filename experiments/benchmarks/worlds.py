"""All simulated worlds by all kinds of models, at equal CPU seconds.

    python experiments/benchmarks/worlds.py FOLDER [--worlds retina,monkey]
        [--recipes demo,own] [--seconds 150] [--seeds 0,1,2] [--quick] [--json]

Worlds are simulated into FOLDER where they are not there yet. What came of a contender
is kept beside its world, so a call that was stopped goes on where it was; remove these
files (FOLDER/*-SECONDS.json) to measure again.

Contenders: the best constant (null, zero by definition), the linear-nonlinear model of
maps/, recipes, and a compact CNN written in PyTorch as one would in an afternoon, if
torch is there (--no-cnn leaves it out). Each learns in a process of its own and may
spend so many CPU seconds, compiling and reading included; the linear model takes what
it needs. Seeds are those of the simulation and of the training. The score is the
single-trial correlation on the tests, which nothing was chosen on, over whole trials
without their first 50 frames; the ceiling is that of the true rates. Intervals: 95 %,
over neurons drawn again.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from sensorium_jax.io import atomic

CORTEX = ("demo", "pictures")  # the cortex of the simulator, as two more worlds
NULL, LINEAR, CNN = "null", "linear", "compact CNN"
TESTS = ("test", "live_test_main", "final_test_main", "final_test")
HELD = ("validation", "oracle")
SKIP, DRAWS = 50, 500
HISTORY, LAGS, PIXELS = 0.5, 12, 40 * 64  # of the CNN: seconds, frames, pixels


# --- what there is to learn from -----------------------------------------------------


def simulated(folder: Path, world: str, seed: int, *, quick: bool) -> Path:
    """The recordings of a world, written if they are not there."""
    from sensorium_jax.simulation import write
    from sensorium_jax.simulation.worlds.presets import WORLDS

    out = folder / f"{world}-{seed}{'-quick' if quick else ''}"
    options: dict[str, Any] = {"preset": world, "seed": seed}
    if world in CORTEX:
        options = {"preset": "tiny" if quick else "demo", "seed": seed}
        options["year"] = 2022 if world == "pictures" else 2023
    elif quick:
        first, *others = WORLDS[world].shows
        fixed = sum(s.clips * s.repeats for s in others)
        options["trials"] = fixed + max(1, first.clips // 4) * first.repeats
    write.simulate(out, **options)
    return out


def opened(path: Path) -> Any:
    """Recordings, and the frames per second that they note."""
    from sensorium_jax.data.recordings import Recordings

    recordings = Recordings.open(path)
    return recordings, recordings.sessions[0].frames_per_second or 30.0


def rows_of(session: Any, tiers: Sequence[str]) -> np.ndarray:
    """Trials of some tiers."""
    return np.flatnonzero(np.isin(session.tiers, tiers))


def stream(recordings: Any, tiers: Sequence[str]) -> Any:
    """Whole trials of some tiers, each once."""
    from sensorium_jax.data.stream.stream import Stream

    known = {t for s in recordings.sessions for t in s.tiers}
    wanted = [t for t in tiers if t in known]
    lengths = [
        s.reader.length(int(row))
        for s in recordings.sessions
        for row in rows_of(s, wanted)
    ]
    return Stream(
        recordings,
        tier=wanted,
        batch=8 if max(lengths) > 1 else 128,
        frames=max(lengths),
        start=0,
        once=True,
        response_scaling="per_neuron",
    )


# --- contenders ----------------------------------------------------------------------


def linear(path: Path, seed: int, seconds: float) -> Any:
    """The linear-nonlinear model of maps/."""
    del seed, seconds
    import jax.numpy as jnp

    from sensorium_jax.asking import PLAIN
    from sensorium_jax.maps import fit, reduce
    from sensorium_jax.training.forward import prepare

    recordings, hertz = opened(path)
    first = recordings.sessions[0]
    train, held = stream(recordings, ["train"]), stream(recordings, HELD)
    stats = train.video_stats
    statistics = {
        "mean": jnp.asarray(stats.mean_mthwc),
        "std": jnp.asarray(stats.std_mthwc),
    }
    plan = reduce.choose(
        first.frame_shape,
        hertz=hertz,
        signals=first.behaviors + 2 * first.has_pupil,
        still=train.frames == 1,
    )

    def batches(of: Any) -> Iterator[Any]:
        return (of.batch_at(0, i) for i in range(of.steps_per_epoch))

    return fit.fit(
        plan,
        lambda: batches(train),
        lambda: batches(held),
        lambda batch: prepare(batch, statistics, PLAIN),
        recordings.mouse_info("per_neuron"),
    ).linear


def recipe(name: str, path: Path, seed: int, seconds: float) -> Any:
    """A recipe, as many steps long as it may spend; trained as users train it."""
    from sensorium_jax.run.train import train_recipe
    from sensorium_jax.zoo import load

    begin, step = costs(name, path)
    steps = max(10, int((seconds - begin) / step))
    with tempfile.TemporaryDirectory() as folder:
        words = {
            "data.root": path,
            "seed": seed,
            "train.steps": steps,
            "train.checkpoint_every": steps,
            "train.report_every": steps,
            "train.sinks": (),
        }
        began = time.process_time()
        changes = [f"--config.{k}={v}" for k, v in words.items()]
        train_recipe(name, f"{folder}/run", changes)
        spent = time.process_time() - began
        print(f"  {name}: {steps} steps in {spent:.0f} CPU s", file=sys.stderr)
        return SimpleNamespace(twin=load.load(f"{folder}/run"), spent=spent)


def costs(name: str, path: Path) -> tuple[float, float]:
    """CPU seconds until the first step is done, and those of each further one."""
    import jax

    from sensorium_jax.run import build, config as configs, own
    from sensorium_jax.training.step import Tally

    began = time.process_time()
    config = configs.load(name, [f"--config.data.root={path}"])
    config = own.fitted(config)
    made = build.parts(config)
    with jax.set_mesh(made.mesh):
        state, batches = made.start(), made.batches(0)
        tally = jax.device_put(Tally.zero(), state.step.sharding)
        ends = []
        for _ in range(12):
            state, tally = made.step(state, next(batches), tally)
            jax.block_until_ready(tally)
            ends.append(time.process_time())
        batches.close()
    return ends[0] - began, max((ends[-1] - ends[1]) / 10, 1e-3)


# --- the compact CNN -----------------------------------------------------------------


class Frames:
    """All trials of some tiers of one mouse in memory, as a CNN wants them."""

    def __init__(self, session: Any, tiers: Sequence[str], hertz: float):
        """Read and shrink; frames before a trial are grey."""
        from sensorium_jax.data import statistics
        from sensorium_jax.data.session import BEHAVIOR, RESPONSES, VIDEO

        self.rows = rows_of(session, tiers)
        self.lengths = [session.reader.length(int(r)) for r in self.rows]
        still = max(self.lengths) == 1
        self.stride = 1 if still else max(1, round(HISTORY * hertz / LAGS))
        self.lags = 1 if still else LAGS
        self.lost = (self.lags - 1) * self.stride
        mean, std = (float(x.mean()) for x in statistics.video_stats([session]))
        scale = statistics.precision(session, "per_neuron")
        height, width, _ = session.frame_shape
        self.shrink = max(1, int(np.ceil(np.sqrt(height * width / PIXELS))))
        video, responses, signals, self.ends = [], [], [], []
        at = 0
        for row in map(int, self.rows):
            x = session.read(VIDEO, row).astype(np.float32)
            t, h, w, c = x.shape
            k = self.shrink
            x = x[:, : h // k * k, : w // k * k].reshape(t, h // k, k, w // k, k, c)
            x = (x.mean((2, 4, 5)) - mean) / std
            video += [np.zeros((self.lost, *x.shape[1:]), np.float32), x]
            responses.append(session.read(RESPONSES, row) * scale)
            b = session.read(BEHAVIOR, row) if session.behaviors else np.zeros((t, 0))
            signals.append(b)
            self.ends.append(np.arange(at + self.lost, at + self.lost + t))
            at += self.lost + t
        self.video = np.concatenate(video)
        self.responses = np.concatenate(responses).astype(np.float32)
        self.signals = np.concatenate(signals).astype(np.float32)
        self.at = np.concatenate(self.ends)

    def stack(self, index: np.ndarray) -> np.ndarray:
        """Frames and those before them, [B, lags, H, W]."""
        back = np.arange(self.lags)[::-1] * self.stride
        return self.video[self.at[index][:, None] - back]


def network(frames: Sequence[Frames]) -> Any:
    """Two convolutions over a stack of lags; a map and features for each neuron."""
    import torch
    from torch import nn

    first = frames[0]
    _, height, width = first.video.shape
    small = min(height, width)
    kernel = 3 if small < 12 else 7 if small < 30 else 9

    class Readout(nn.Module):
        def __init__(self, f: Frames, channels: int):
            super().__init__()
            n = f.responses.shape[1]
            self.place = nn.Parameter(0.01 * torch.randn(n, height * width))
            self.weight = nn.Parameter(0.1 * torch.randn(n, channels))
            mean = f.responses.mean(0).clip(1e-3)
            start = np.log(np.expm1(np.minimum(mean, 20)))
            self.bias = nn.Parameter(torch.tensor(start))
            self.state = nn.Linear(f.signals.shape[1], n, bias=False)
            nn.init.zeros_(self.state.weight)

        def forward(self, x, signals):
            x = torch.einsum("bcp,np->bcn", x.flatten(2), self.place)
            drive = torch.einsum("bcn,nc->bn", x, self.weight) + self.bias
            gain = torch.exp(self.state(signals).clamp(-3, 3))
            return nn.functional.softplus(drive) * gain

        def penalty(self):
            return self.place.abs().mean() * self.place.shape[1]

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            a, b = 16, 24
            self.core = nn.Sequential(
                nn.Conv2d(first.lags, a, kernel, padding=kernel // 2, bias=False),
                nn.BatchNorm2d(a),
                nn.ELU(),
                nn.Conv2d(a, b, 5, padding=2, bias=False),
                nn.BatchNorm2d(b),
                nn.ELU(),
            )
            self.readouts = nn.ModuleList([Readout(f, b) for f in frames])

        def forward(self, mouse, x, signals):
            return self.readouts[mouse](self.core(x), signals)

    return Network()


def standard(frames: Sequence[Frames], train: Sequence[Frames]) -> None:
    """Signals in SDs of the training trials, in place."""
    for f, t in zip(frames, train, strict=True):
        scaled = (f.signals - t.signals.mean(0)) / (t.signals.std(0) + 1e-6)
        f.signals = scaled.astype(np.float32)


def cnn(path: Path, seed: int, seconds: float) -> Any:
    """Train until the time is over, or validation has not improved for long."""
    import torch

    began = time.process_time()
    torch.set_num_threads(1)  # waiting threads would count as work
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    recordings, hertz = opened(path)
    train, held, tests = (
        [Frames(s, tiers, hertz) for s in recordings.sessions]
        for tiers in (["train"], HELD, TESTS)
    )
    for frames in (held, tests, train):
        standard(frames, train)
    net = network(train)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    best, kept, idle, rate = -1.0, None, 0, 3e-3
    every, step = 100, 0
    while time.process_time() - began < seconds and rate > 3e-4:
        net.train()
        for mouse, f in enumerate(train):
            index = random.integers(len(f.at), size=64)
            x, s, y = (
                torch.from_numpy(a)
                for a in (f.stack(index), f.signals[index], f.responses[index])
            )
            rates = net(mouse, x, s) + 1e-4
            loss = (rates - y * torch.log(rates)).mean(0).sum()
            loss = loss + 0.02 * net.readouts[mouse].penalty()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
            optimizer.step()
        step += 1
        if step % every == 0:
            score = validated(net, held, random)
            if score > best:
                state = net.state_dict()
                best, idle = score, 0
                kept = {k: v.clone() for k, v in state.items()}
            else:
                idle += 1
            if idle >= 4:  # then go on from the best, more slowly
                idle, rate = 0, rate / 3
                net.load_state_dict(kept)
                optimizer = torch.optim.Adam(net.parameters(), rate)
    if kept is not None:
        net.load_state_dict(kept)
    spent = time.process_time() - began
    print(f"  compact CNN: {step} steps in {spent:.0f} CPU s", file=sys.stderr)
    predicted = []
    for mouse, f in enumerate(tests):
        y = torch_rates(net, mouse, f)
        cuts = np.cumsum(f.lengths)[:-1]
        predicted.append(np.split(y, cuts))
    return SimpleNamespace(predicted=predicted, spent=spent)


def torch_rates(net: Any, mouse: int, f: Frames, index: Any = None) -> np.ndarray:
    """Rates of frames, all by default."""
    import torch

    index = np.arange(len(f.at)) if index is None else index
    out = []
    net.eval()
    with torch.no_grad():
        for start in range(0, len(index), 256):
            some = index[start : start + 256]
            x, s = (torch.from_numpy(a) for a in (f.stack(some), f.signals[some]))
            out.append(net(mouse, x, s).numpy())
    return np.concatenate(out)


def validated(net: Any, held: Sequence[Frames], random: Any) -> float:
    """Mean correlation on some frames that were held out."""
    scores = []
    for mouse, f in enumerate(held):
        index = np.sort(random.permutation(len(f.at))[:1500])
        rates, y = torch_rates(net, mouse, f, index), f.responses[index]
        x, y = rates - rates.mean(0), y - y.mean(0)
        power = np.sqrt((x**2).sum(0) * (y**2).sum(0))
        scores.append(np.nan_to_num((x * y).sum(0) / np.maximum(power, 1e-9)))
    return float(np.concatenate(scores).mean())


# --- scores --------------------------------------------------------------------------


def predictions(contender: Any, recordings: Any) -> Iterator[list[np.ndarray]]:
    """Predictions [t, n] of the test trials of each mouse."""
    from sensorium_jax.scoring.predict import predict

    if hasattr(contender, "predicted"):
        yield from contender.predicted
        return
    twin = getattr(contender, "twin", contender)
    for session in recordings.sessions:
        rows = rows_of(session, TESTS)
        yield [p.rates_tn for p in predict(twin, session, rows)]


def correlations(contender: Any, path: Path) -> list[float]:
    """Single-trial correlation of every neuron of all mice on the tests."""
    from sensorium_jax.data.session import RESPONSES

    recordings, _ = opened(path)
    found: list[float] = []
    for session, trials in zip(
        recordings.sessions, predictions(contender, recordings), strict=True
    ):
        xs, ys = [], []
        for row, x in zip(rows_of(session, TESTS), trials, strict=True):
            y = session.read(RESPONSES, int(row)).astype(np.float64)
            start = SKIP if len(y) > 1 else 0
            ys.append(y[start:])
            xs.append(np.asarray(x, np.float64)[len(x) - len(y) + start :])
        x, y = np.concatenate(xs), np.concatenate(ys)
        x, y = x - x.mean(0), y - y.mean(0)
        power = np.sqrt((x * x).sum(0) * (y * y).sum(0))
        each = (x * y).sum(0) / np.maximum(power, 1e-12)
        found.extend(float(c) for c in np.where(power > 0, each, 0.0))
    return found


def true_rates(path: Path) -> Any:
    """The truth as a contender."""
    recordings, _ = opened(path)
    predicted = []
    for session in recordings.sessions:
        folder = Path(session.where) / "meta/ground_truth/rates"
        files = session.files[rows_of(session, TESTS)]
        n = session.neurons
        predicted.append([np.load(folder / f"{i}.npy").reshape(n, -1).T for i in files])
    return SimpleNamespace(predicted=predicted)


def kept(name: str, path: Path, seed: int, seconds: float) -> dict[str, Any]:
    """The result of one contender, from an earlier call if that came to its end."""
    file = path.with_name(f"{path.name}-{name.replace(' ', '-')}-{seconds:g}.json")
    if file.exists():
        return json.loads(file.read_text())
    result = alone(name, path, seed, seconds)
    if "failed" not in result:
        atomic.write_json(file, result)
    return result


def alone(name: str, path: Path, seed: int, seconds: float) -> dict[str, Any]:
    """One contender in a process of its own."""
    request = json.dumps([name, str(path), seed, seconds])
    words = [sys.executable, __file__, "unused", "--one", request]
    done = subprocess.run(words, env=os.environ, text=True, stdout=subprocess.PIPE)
    if done.returncode:
        return {"failed": f"exit code {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])


def one(name: str, path: Path, seed: int, seconds: float) -> dict[str, Any]:
    """Train one contender and score it."""
    began = time.process_time()
    if name == LINEAR:
        contender = linear(path, seed, seconds)
    elif name == CNN:
        contender = cnn(path, seed, seconds)
    else:
        contender = recipe(name, path, seed, seconds)
    spent = getattr(contender, "spent", time.process_time() - began)
    return {"seconds": round(spent, 1), "neurons": correlations(contender, path)}


def interval(values: np.ndarray) -> tuple[float, float]:
    """Of the mean, over neurons drawn again."""
    random = np.random.default_rng(0)
    means = [random.choice(values, len(values)).mean() for _ in range(DRAWS)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def summary(runs: Sequence[dict[str, Any]], ceilings: Sequence[list[float]]) -> Any:
    """One contender in one world over seeds."""
    fine = [(r, c) for r, c in zip(runs, ceilings, strict=True) if "neurons" in r]
    if not fine:
        return {"failed": runs[0]["failed"]}
    scores = np.concatenate([r["neurons"] for r, _ in fine])
    top = np.concatenate([c for _, c in fine])
    return {
        "mean": float(scores.mean()),
        "interval": interval(scores),
        "median": float(np.median(scores)),
        "fraction": float(scores.mean() / top.mean()),
        "seconds": float(np.mean([r["seconds"] for r, _ in fine])),
        "seeds": [float(np.mean(r["neurons"])) for r, _ in fine],
    }


def table(found: dict[str, Any]) -> str:
    """Lines for people."""
    from sensorium_jax.text import align

    head = ["world", "contender", "mean", "95 %", "median", "of ceiling", "CPU s"]
    rows = [head]
    for world, contenders in found.items():
        for name, s in contenders.items():
            if name == "ceiling":
                rows.append([world, name, f"{s:.3f}", "", "", "", ""])
            elif "failed" in s:
                rows.append([world, name, "-", s["failed"], "-", "-", "-"])
            else:
                low, high = s["interval"]
                numbers = [f"{s['mean']:.3f}", f"{low:.3f} {high:.3f}"]
                numbers += [f"{s['median']:.3f}", f"{s['fraction']:.2f}"]
                rows.append([world, name, *numbers, f"{s['seconds']:.0f}"])
    return "\n".join(align(rows, left=2))


def main() -> None:
    """Every world, every contender, every seed."""
    parser = argparse.ArgumentParser(description="All worlds by all kinds of models.")
    parser.add_argument("folder", help="where worlds are simulated")
    parser.add_argument("--worlds", help="some of them, with commas between")
    parser.add_argument("--recipes", default="demo")
    parser.add_argument("--seconds", type=float, default=150.0, help="CPU s of each")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--quick", action="store_true", help="small worlds, one seed")
    parser.add_argument("--no-cnn", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        name, path, seed, seconds = json.loads(args.one)
        print(json.dumps(one(name, Path(path), seed, seconds)))
        return
    from importlib.util import find_spec

    from sensorium_jax.simulation.worlds.presets import WORLDS

    worlds = args.worlds.split(",") if args.worlds else [*WORLDS, *CORTEX]
    seeds = [0] if args.quick else [int(s) for s in args.seeds.split(",")]
    seconds = min(args.seconds, 40.0) if args.quick else args.seconds
    names = [LINEAR, *(r for r in args.recipes.split(",") if r)]
    if not args.no_cnn and find_spec("torch"):
        names.append(CNN)
    found: dict[str, Any] = {}
    for world in worlds:
        paths = [
            simulated(Path(args.folder), world, s, quick=args.quick) for s in seeds
        ]
        ceilings = [correlations(true_rates(p), p) for p in paths]
        none = [{"neurons": [0.0] * len(c), "seconds": 0.0} for c in ceilings]
        runs = {NULL: none}
        for name in names:
            print(f"{world}: {name}", file=sys.stderr)
            runs[name] = [
                kept(name, p, s, seconds) for p, s in zip(paths, seeds, strict=True)
            ]
        found[world] = {k: summary(v, ceilings) for k, v in runs.items()}
        found[world]["ceiling"] = float(np.mean(np.concatenate(ceilings)))
        print(table({world: found[world]}), file=sys.stderr)
    print(json.dumps(found) if args.json else table(found))


if __name__ == "__main__":
    main()
