"""Training that goes on and on takes no more of the machine than at its beginning."""

import os
import time
from contextlib import suppress

import numpy as np
import pytest

from support.processes import runs
from support.recordings import tiny

LENGTH = float(os.environ.get("SENSORIUM_SOAK_S", "600"))
# What may be added between the second quarter and the last one: MB, threads, files.
MORE = {"rss_mb": 24.0, "threads": 1.0, "files": 2.0, "disk_mb": 1.0}


def sizes(process, run):
    """What a process takes of the machine, and its run of the disk, logs aside."""
    proc = f"/proc/{process.pid}"
    with open(f"{proc}/statm") as file:
        pages = int(file.read().split()[1])
    stored = 0
    for folder, _, files in os.walk(run / "checkpoints"):
        for name in files:
            with suppress(FileNotFoundError):  # older steps are being deleted
                stored += os.stat(f"{folder}/{name}").st_size
    return {
        "rss_mb": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        "threads": float(len(os.listdir(f"{proc}/task"))),
        "files": float(len(os.listdir(f"{proc}/fd"))),
        "disk_mb": stored / 1e6,
    }


@pytest.mark.soak
def test_a_long_training_stays_flat(tmp_path):
    """With reports, saves and validations; SENSORIUM_SOAK_S seconds long."""
    films = tiny.films(tmp_path / "films", 2)
    changes = {
        "report_every": 2,
        "checkpoint_every": 20,
        "sinks": "('jsonl','tensorboard')",
    }
    words = [f"--config.train.{name}={value}" for name, value in changes.items()]
    words.append("--config.validate.patience=1000000")  # it does not end by itself
    process = runs.spawn(tmp_path, films, *words, steps=10_000_000, EVERY=50)
    seen = []
    try:
        runs.until(
            lambda: any(runs.saved(tmp_path)) or process.poll() is not None, timeout=900
        )
        until = time.monotonic() + LENGTH
        while time.monotonic() < until and process.poll() is None:
            seen.append(sizes(process, tmp_path / "run"))
            time.sleep(LENGTH / 200)
        assert process.poll() is None, runs.words(tmp_path)
    finally:
        runs.stop(process)
        codes = runs.finish(process)
    assert codes == [0], runs.words(tmp_path)
    grown = {}
    for name in MORE:
        quarters = np.array_split([s[name] for s in seen], 4)
        medians = [float(np.median(q)) for q in quarters]
        grown[name] = medians[3] - medians[1]
        print(f"{name}: {', '.join(f'{m:.1f}' for m in medians)} by quarters")
    print(f"{runs.saved(tmp_path)[-1]} steps in {LENGTH:.0f} s")
    assert all(grown[name] <= MORE[name] for name in MORE), grown
