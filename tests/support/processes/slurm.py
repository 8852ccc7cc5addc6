"""Stand-ins of sbatch, srun, scontrol and sacct that run jobs as local processes.

A job lies in $SLURM_STAND_IN/<id>: its script, how it stands, and the processes of its
tasks. Its controller waits for the jobs it depends on, runs the script, and runs it
again where `scontrol requeue` asked for that.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

VERBS = ("sbatch", "srun", "scontrol", "sacct", "controller")


def install(folder):
    """Programs in folder/bin; what to add to the environment of whoever launches."""
    bin_, jobs = folder / "bin", folder / "jobs"
    bin_.mkdir()
    jobs.mkdir()
    for verb in VERBS[:-1]:
        path = bin_ / verb
        path.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} {verb} "$@"\n')
        path.chmod(0o755)
    path = f"{bin_}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "SLURM_STAND_IN": str(jobs)}


def jobs():
    """Where all jobs lie."""
    return Path(os.environ["SLURM_STAND_IN"])


def tasks(folder, job):
    """Process numbers of the tasks of a job that runs."""
    path = Path(folder) / "jobs" / job / "tasks"
    return [int(n) for n in path.read_text().split()] if path.exists() else []


def state(folder, job):
    """How a job stands."""
    return (Path(folder) / "jobs" / job / "state").read_text()


def sbatch(script):
    """Queue the script, an array of tasks or one."""
    text = Path(script).read_text()
    flags = dict(re.findall(r"^#SBATCH --([\w-]+)=(.*)$", text, re.M))
    main = 100 + len(list(jobs().glob("*/script")))
    array = re.fullmatch(r"0-(\d+)%\d+", flags.get("array", ""))
    count = int(array[1]) + 1 if array else 0
    nodes = int(flags.get("nodes", 1))
    for i in range(max(count, 1)):
        job = f"{main}_{i}" if count else str(main)
        place = jobs() / job
        place.mkdir()
        (place / "script").write_text(text)
        (place / "state").write_text("PENDING")
        (place / "needs").write_text(flags.get("dependency", "").strip("'"))
        env = {"SLURM_JOB_ID": str(main + i), "SLURM_JOB_NUM_NODES": str(nodes)}
        env |= {"SLURM_NNODES": str(nodes), "SLURM_NTASKS": str(nodes)}
        if count:
            env |= {"SLURM_ARRAY_JOB_ID": str(main), "SLURM_ARRAY_TASK_ID": str(i)}
        words = [sys.executable, __file__, "controller", job]
        subprocess.Popen(
            words,
            env=os.environ | env | {"SLURM_STAND_IN_JOB": job},
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=(place / "out").open("ab"),
            stderr=subprocess.STDOUT,
        )
    print(f"Submitted batch job {main}")


def _ended(main):
    """Whether every task of a job has ended."""
    some = [p for p in jobs().iterdir() if p.name.split("_")[0] == main]
    return all((p / "state").read_text() in ("COMPLETED", "FAILED") for p in some)


def controller(job):
    """Run a job when its time has come, and again where it was put back."""
    place = jobs() / job
    before = (place / "needs").read_text().removeprefix("afterany:")
    while before and not all(map(_ended, before.split(":"))):
        time.sleep(0.05)
    while True:
        (place / "state").write_text("RUNNING")
        (place / "tasks").unlink(missing_ok=True)
        code = subprocess.run(["bash", str(place / "script")], check=False).returncode
        again = place / "requeue"
        if not again.exists():
            break
        again.unlink()
        (place / "state").write_text("REQUEUED")
    (place / "state").write_text("FAILED" if code else "COMPLETED")


def srun(*words):
    """Every task of the job; a task for each node."""
    at = next(i for i, word in enumerate(words) if word == sys.executable)
    place = jobs() / os.environ["SLURM_STAND_IN_JOB"]
    count = int(os.environ["SLURM_NTASKS"])
    some = []
    for i in range(count):
        env = {"SLURM_PROCID": str(i), "SLURM_LOCALID": "0", "SLURM_NODEID": str(i)}
        env["SLURM_STEP_NODELIST"] = env["SLURM_JOB_NODELIST"] = "localhost"
        env |= {"SLURM_STEP_NUM_TASKS": str(count), "SLURM_STEP_ID": "0"}
        some.append(subprocess.Popen(words[at:], env=os.environ | env))
    (place / "tasks").write_text(" ".join(str(p.pid) for p in some))
    sys.exit(max(p.wait() for p in some))


def scontrol(verb, job):
    """Put a job back into the queue."""
    assert verb == "requeue"
    (jobs() / job / "requeue").touch()


def sacct(*words):
    """How jobs stand, as submitit asks for it."""
    asked = [w for flag, w in zip(words, words[1:], strict=False) if flag == "-j"]
    print("JobID|State|NodeList")
    for place in sorted(jobs().iterdir()):
        if place.name.split("_")[0] in asked:
            print(f"{place.name}|{(place / 'state').read_text()}|localhost")


if __name__ == "__main__":
    {f.__name__: f for f in (sbatch, srun, scontrol, sacct, controller)}[sys.argv[1]](
        *sys.argv[2:]
    )
