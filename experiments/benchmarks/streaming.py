"""Windows per second and memory: the store, the tree, and reading whole trials.

    python experiments/benchmarks/streaming.py [--quick] [--trials N] [--json]

All ways draw the same windows of the same recordings, each in a process of its own,
with one thread reading ahead. Two read whole trials: "np.load" at its least (cut, then
normalize), "originals" with the steps of the official loader, to which ratios refer.
Cold means that the kernel was asked to drop the files from its cache before.
Pictures that are shown many times have a line of their own: how long a trial takes to
write, what the pictures take on disk, and how many trials a second are read.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from whole_trials import Naive

from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.release.write import SessionWriter, write_session
from sensorium_jax.data.session import RESPONSES
from sensorium_jax.data.store.build import convert
from sensorium_jax.data.stream.stream import Stream, prefetch

WAYS = ("store", "tree", "np.load", "originals")
KINDS = {"16 frames, stride 2": (16, 2), "80 frames": (80, 1)}
TIER = "oracle"  # all but a few trials, so that statistics of the tree come quickly


class Size(NamedTuple):
    """How large the synthetic recordings and the measurement are."""

    mice: int = 3
    trials: int = 240
    neurons: int = 8000
    batch: int = 8
    batches: int = 12


QUICK = Size(mice=2, trials=16, neurons=300, batch=4, batches=4)
PICTURES, SHOWN, CELLS = 300, 70_000, 300  # pictures, presentations, neurons
TOGETHER = 128  # presentations of one batch


def synthesize(folder: Path, size: Size) -> None:
    """Noise films and sparse responses (84 % zeros) in two trees; half shares files."""
    rng = np.random.default_rng(0)
    for m in range(size.mice):
        writers = [
            SessionWriter(
                folder / part / f"dynamic{m}",
                rules="2023",
                neurons=size.neurons,
                frame_shape=(36, 64, 1),
                pad_to=324,
            )
            for part in ("full", "half")
        ]
        for i in range(size.trials):
            shape = (300, size.neurons)
            responses = rng.gamma(0.5, 8.0, shape) * (rng.random(shape) < 0.16)
            video = rng.integers(0, 256, (300, 36, 64, 1))
            signals = rng.normal(size=(2, 300, 2))
            writers[0].add(i, video, responses, signals[0], signals[1])
            if i < size.trials // 2:
                share(writers[0].folder, writers[1].folder, i)
        for writer, trials in zip(
            writers, (size.trials, size.trials // 2), strict=True
        ):
            tiers = ["train"] * 4 + [TIER] * (trials - 4)
            writer.finish(tiers, layout="per_frame")


def share(source: Path, target: Path, trial: int) -> None:
    """Hard-link one trial into another tree."""
    for file in source.glob(f"data/*/{trial}.npy"):
        place = target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(file, place)


def memory(which: str) -> int:
    """Resident bytes of this process: VmRSS now, VmHWM at its peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(which):
            return int(line.split()[1]) * 1024
    raise KeyError(which)


def forget(folder: Path) -> None:
    """Ask the kernel to drop a folder's files from its cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(way: str, data: str, frames: int, stride: int, size: Size) -> dict:
    """Windows per second, cold and warm, and memory; called in its own process."""
    stream = Stream(
        Recordings.open(data),
        tier=TIER,
        batch=size.batch,
        frames=frames,
        stride=stride,
    )
    batch_at = stream.batch_at
    if way in ("np.load", "originals"):
        batch_at = Naive(stream, official=way == "originals").batch_at
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before, rates = memory("VmRSS"), {}
    forget(Path(data))
    for state in ("cold", "warm"):
        began, worked = time.perf_counter(), time.process_time()
        for _ in prefetch(lambda i: batch_at(0, i), 0, size.batches):
            pass
        drawn = size.batches * size.batch * size.mice
        rates[state] = drawn / (time.perf_counter() - began)
        rates["cpu_ms"] = (time.process_time() - worked) / drawn * 1e3
    return rates | {"memory_above_baseline": memory("VmHWM") - before}


def agree(tree: str, store: str, size: Size) -> None:
    """Stop if the ways do not read the same windows."""
    streams = [
        Stream(Recordings.open(p), tier=TIER, batch=2, frames=16, stride=2)
        for p in (tree, store)
    ]
    a, b = (stream.batch_at(0, 0) for stream in streams)
    for name, x, y in zip(a._fields, a, b, strict=True):
        np.testing.assert_array_equal(x, y, err_msg=name)
    for official in (True, False):
        whole = np.moveaxis(
            Naive(streams[0], official=official).batch_at(0, 0)[RESPONSES], -1, 1
        )
        mine = a[3].reshape(whole.shape)
        np.testing.assert_allclose(mine, whole, rtol=1e-4, atol=1e-6)


def in_process(way: str, data: Path, kind: str, size: Size) -> dict:
    """Run measure in a fresh process."""
    words = [sys.executable, __file__, "--measure"]
    words.append(json.dumps([way, str(data), *KINDS[kind], size]))
    return json.loads(subprocess.run(words, check=True, capture_output=True).stdout)


def bytes_of(folder: Path) -> int:
    """Bytes of all files below."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def compare(root: Path, size: Size) -> dict:
    """Every way, kind and size of recordings."""
    found: dict = {"size": size._asdict(), "rates": {}, "bytes": {}}
    for part in ("half", "full"):
        tree, store = root / part, root / f"{part}-store"
        began = time.perf_counter()
        convert(tree, store)
        seconds = time.perf_counter() - began
        agree(str(tree), str(store), size)
        sizes = {"tree": bytes_of(tree), "store": bytes_of(store)}
        found["bytes"][part] = sizes | {"convert_seconds": seconds}
        for kind in KINDS:
            for way in WAYS:
                data = store if way == "store" else tree
                found["rates"][f"{part}, {kind}, {way}"] = in_process(
                    way, data, kind, size
                )
    return found


class Stack:
    """Presentations of a few pictures, without a copy of any."""

    def __init__(self, shown: int):
        """Draw the pictures, and which is shown when."""
        rng = np.random.default_rng(0)
        self.pictures = rng.integers(0, 256, (PICTURES, 36, 64)).astype(np.float32)
        self.shown = rng.integers(0, PICTURES, shown)

    def __len__(self) -> int:
        """How many presentations."""
        return len(self.shown)

    def __getitem__(self, i: int) -> np.ndarray:
        """The picture of one presentation."""
        return self.pictures[self.shown[i]]


def repeats(folder: Path, shown: int, batches: int = 40) -> dict:
    """Pictures that are shown again and again: written, and read by batches."""
    responses = np.random.default_rng(1).gamma(1, 2, (shown, CELLS)).astype(np.float32)
    tiers = [TIER if i % 10 == 0 else "train" for i in range(shown)]
    tree, store = folder / "pictures", folder / "pictures-store"
    found: dict = {"presentations": shown, "pictures": PICTURES}

    def timed(name: str, work: Callable[[], Any]) -> None:
        began, worked = time.perf_counter(), time.process_time()
        work()
        found[f"{name}_seconds"] = time.perf_counter() - began
        found[f"{name}_cpu_seconds"] = time.process_time() - worked

    parts: Any = {"videos": Stack(shown), "responses": responses, "tiers": tiers}
    timed("write", lambda: write_session(tree / "mouse", pictures=True, **parts))
    timed("convert", lambda: convert(tree, store))
    files = {p.stat().st_ino: p.stat().st_size for p in tree.rglob("images/*.npy")}
    found["picture_bytes"] = sum(files.values())
    for name, path in (("tree", tree), ("store", store)):
        recordings = Recordings.open(path)
        stream = Stream(recordings, tier="train", batch=TOGETHER, frames=1)
        read = prefetch(lambda i, s=stream: s.batch_at(0, i), 0, batches)
        timed(name, lambda read=read: deque(read, maxlen=0))
        found[f"{name}_per_second"] = batches * TOGETHER / found[f"{name}_seconds"]
    return found


def repeats_line(found: dict) -> str:
    """The findings on repeated pictures for people."""
    write, worked = found["write_seconds"], found["write_cpu_seconds"]
    speeds = (f"{way} {found[f'{way}_per_second']:.0f}" for way in ("tree", "store"))
    return (
        f"{found['presentations']} presentations of {found['pictures']} pictures: "
        f"written in {write:.0f} s ({worked:.0f} s of CPU), "
        f"{found['picture_bytes'] / 1e6:.1f} MB of pictures, converted in "
        f"{found['convert_seconds']:.0f} s; read a second: {', '.join(speeds)}"
    )


def table(found: dict) -> str:
    """The findings for people."""
    lines = [f"{found['size']}; one run on {os.cpu_count()} cores"]
    for part, sizes in found["bytes"].items():
        tree, store = sizes["tree"] / 1e9, sizes["store"] / 1e9
        speed = tree * 1e3 / sizes["convert_seconds"]
        lines.append(
            f"{part}: tree {tree:.2f} GB, store {store:.2f} GB, converted at "
            f"{speed:.0f} MB/s of tree"
        )
    head = ("cold/s", "warm/s", "cpu ms", "x cold", "x warm", "x cpu", "MB")
    lines.append("recording, windows, way".ljust(38) + "".join(f"{h:>8}" for h in head))
    for name, got in found["rates"].items():
        base = found["rates"][f"{name.rsplit(', ', 1)[0]}, {WAYS[-1]}"]
        ratios = [got[state] / base[state] for state in ("cold", "warm")]
        ratios.append(base["cpu_ms"] / got["cpu_ms"])
        words = [f"{got['cold']:.0f}", f"{got['warm']:.0f}", f"{got['cpu_ms']:.2f}"]
        words += [f"{ratio:.1f}" for ratio in ratios]
        words.append(f"{got['memory_above_baseline'] / 1e6:.0f}")
        lines.append(name.ljust(38) + "".join(f"{word:>8}" for word in words))
    return "\n".join([*lines, repeats_line(found["repeats"])])


def main() -> None:
    """Make recordings, measure, print."""
    parser = argparse.ArgumentParser(description="Rates of reading windows.")
    parser.add_argument("--quick", action="store_true", help="small, for a look")
    parser.add_argument("--trials", type=int, default=Size().trials)
    parser.add_argument("--neurons", type=int, default=Size().neurons)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        way, data, frames, stride, size = json.loads(args.measure)
        print(json.dumps(measure(way, data, frames, stride, Size(*size))))
        return
    size = QUICK if args.quick else Size(trials=args.trials, neurons=args.neurons)
    with tempfile.TemporaryDirectory(prefix="streaming") as folder:
        synthesize(Path(folder), size)
        found = compare(Path(folder), size)
        shown = SHOWN if size == Size() else SHOWN // 20
        found["repeats"] = repeats(Path(folder), shown)
    print(json.dumps(found) if args.json else table(found))


if __name__ == "__main__":
    main()
