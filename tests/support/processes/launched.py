"""A stand-in of the command for runs of campaigns: it writes files, and trains not.

It appends a line to <folder>/ran when it begins and to <folder>/did when it is done.
What it does more is said by words of its own, which a test puts among the fields:
--config.model.name=fails, sleeps (until SIGTERM), dies, or validates (trial 5 and later
are poor, and wait for SIGTERM).
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

PROGRAM = (sys.executable, "-S", __file__)


def main(words):
    """What one run does."""
    flag = "--workdir" if words[0] == "train" else "--out"
    folder = Path(words[words.index(flag) + 1])
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "ran").open("a") as file:
        cores = sorted(os.sched_getaffinity(0))
        cards = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        file.write(json.dumps({"words": words, "cores": cores, "gpus": cards}) + "\n")
    fields = dict(w.partition("=")[::2] for w in words if w.startswith("--config."))
    does = fields.get("--config.model.name", "")
    if does == "fails" and not Path(folder, "mended").exists():
        print("first words\nthe recordings are gone", file=sys.stderr)
        return 3
    if does == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    poor = does == "validates" and _validates(folder)
    if poor or (does == "sleeps" and not Path(folder, "mended").exists()):
        asked = []
        signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
        (folder / "listens").touch()
        while not asked:
            time.sleep(0.01)
        (folder / "mended").touch()
        print(json.dumps({"stopped": True}))
        return 0
    with (folder / "did").open("a") as file:
        file.write("done\n")
    score = float(fields.get("--config.train.rate", 0.5))
    print(json.dumps({"stopped": False, "score": score, "step": 4}))
    return 0


def _validates(folder):
    """Leave the log of a training; whether its scores are poor."""
    poor = int(folder.name.rpartition("=")[2]) >= 5
    card = {"mice": [{"name": "a"}], "config": {"train": {"batch": 1, "steps": 4}}}
    (folder / "run.json").write_text(json.dumps(card))
    rows = [{"step": i, "score": (0.01 if poor else 0.1) * i} for i in (1, 2)]
    (folder / "log.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return poor


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
