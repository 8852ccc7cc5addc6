"""Runs of a campaign as jobs of SLURM: an array for each stage, through submitit.

Each run is a child process of its job. What asks the job to stop reaches the run as
SIGTERM, so that it saves, and the job is put back into the queue, where the run goes on
from its own checkpoint.
"""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import SubprocessError
from typing import Any

from sensorium_jax.errors import UsageError, UserError, need_extra
from sensorium_jax.io import atomic, plain_json
from sensorium_jax.run.campaign import pool
from sensorium_jax.run.campaign.child import begin
from sensorium_jax.run.campaign.folder import (
    FAILED,
    LAUNCHED,
    OVER,
    RUNNING,
    STOPPED,
    WAITING,
    Campaign,
    opened,
)
from sensorium_jax.run.campaign.plan import Run

JOBS = "slurm"  # a folder of submitit's own files, below LAUNCHED
QUEUED = ("PENDING", "RUNNING", "REQUEUED", "SUSPENDED", "CONFIGURING", "RESIZING")
UNKNOWN = "UNKNOWN"  # what submitit says of jobs that sacct does not know
# Jobs that ended so would end so again. Others, as NODE_FAIL, TIMEOUT or CANCELLED, are
# queued anew by the next launch.
LOST = ("FAILED", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE")
ASKED_TO_STOP = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
USUAL = {
    "timeout_min": 240,  # a run that is not over by then is put back into the queue
    "slurm_signal_delay_s": 120,  # before its time is up, to save
    "tasks_per_node": 1,  # a run of several nodes has one process on each
}
# What submitit calls by a name of its own; all else has the name that sbatch gives it.
OWN = ("timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node")
OWN += ("tasks_per_node", "name")


def submit(
    campaign: Campaign,
    runs: Sequence[Run],
    wishes: Mapping[str, Any],
    *,
    retry: bool = False,
    cluster: str = "slurm",
) -> dict[str, str]:
    """Queue every run that is neither done nor queued; the job's id by run.

    wishes are what sbatch is asked for, such as partition or gpus_per_node. A stage
    waits for the jobs of those that it needs; whether they ended well is looked at when
    it begins.
    """
    if int(wishes.get("nodes", 1)) > 1 and any(run.search for run in runs):
        raise UsageError(
            "A search goes on one node per run, and --slurm asks for "
            f"nodes={wishes['nodes']}. Leave that out."
        )
    executor: Any = _executor(campaign, cluster)
    known = {run.name: job_of(campaign, run) for run in campaign.runs}
    states = job_states(campaign, cluster)
    _note_lost(campaign, states)
    waiting = {name for name, state in states.items() if state in QUEUED}
    todo = [run for run in runs if _wanted(campaign, run, waiting, retry=retry)]
    stages = list(dict.fromkeys(run.stage for run in todo))
    queued = {name: job for name, job in known.items() if job and name in waiting}
    made: dict[str, str] = {}
    for stage in stages:
        some = [run for run in todo if run.stage == stage]
        needs = {need for run in some for need in run.needs if need in queued}
        before = sorted({queued[need].split("_")[0] for need in needs})
        _ask(executor, wishes, before, stage)
        place = str(campaign.folder.absolute())
        names = [run.name for run in some]
        jobs = executor.map_array(in_job, [place] * len(some), names)
        for run, job in zip(some, jobs, strict=True):
            queued[run.name] = made[run.name] = job.job_id
            atomic.write_json(campaign.file(run, ".job"), {"id": job.job_id})
    return made


def _executor(campaign: Campaign, cluster: str) -> Any:
    folder = campaign.folder.absolute() / LAUNCHED / JOBS
    try:
        return _submitit().AutoExecutor(folder=folder / "%j", cluster=cluster)
    except RuntimeError as error:
        raise UserError(
            f"There is no SLURM here: {error} Launch on a node of the cluster from "
            "which jobs are submitted, or without --slurm: runs then share this "
            "machine (--jobs), or go to another scheduler (--commands FILE)."
        ) from None


def _submitit() -> Any:
    """The package, kept from setting up logging: it would write to standard output."""
    os.environ.setdefault("SUBMITIT_LOG_LEVEL", "NOCONFIG")
    try:
        import submitit  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise need_extra("submitit", "slurm", "Queueing jobs of SLURM") from error
    return submitit


def _ask(
    executor: Any, wishes: Mapping[str, Any], before: Sequence[str], stage: str
) -> None:
    """Say what the next jobs need."""
    asked = {k if k in OWN else f"slurm_{k}": v for k, v in wishes.items()}
    more: dict[str, Any] = {"requeue": True}
    if before:
        more["dependency"] = f"afterany:{':'.join(before)}"
    asked["slurm_additional_parameters"] = more
    try:
        executor.update_parameters(**{**USUAL, "name": stage, **asked})
    except (ValueError, NameError, TypeError) as error:
        words = " ".join(str(error).split())
        raise UsageError(
            f"--slurm {' '.join(f'{k}={v}' for k, v in wishes.items())}: {words:.400}"
        ) from None


def job_of(campaign: Campaign, run: Run) -> str | None:
    """The job that a run was last given."""
    path = campaign.file(run, ".job")
    if not path.is_file():
        return None
    return str(plain_json.load(path, "Delete the file.").get("id"))


def job_states(campaign: Campaign, cluster: str = "slurm") -> dict[str, str]:
    """How the job of each run stands, as sacct says; UNKNOWN where it does not say."""
    if cluster != "slurm":
        return {}
    folder = campaign.folder.absolute() / LAUNCHED / JOBS / "%j"
    ids = {run.name: job_of(campaign, run) for run in campaign.runs}
    slurm_job = _submitit().SlurmJob
    jobs = {n: slurm_job(folder=folder, job_id=job) for n, job in ids.items() if job}
    for job in list(jobs.values())[:1]:
        job.get_info(mode="force")  # one call of sacct tells of all
    return {name: job.state.split(" ")[0] for name, job in jobs.items()}


def _note_lost(campaign: Campaign, states: Mapping[str, str]) -> None:
    """How runs stand whose jobs SLURM ended at once, so that they could not note it."""
    for run in campaign.runs:
        state, ended = campaign.state(run), states.get(run.name, UNKNOWN)
        if state.state not in (WAITING, RUNNING) or ended in (*QUEUED, UNKNOWN):
            continue
        if ended in LOST and pool.met(campaign, run):
            place = f"{campaign.folder}/{LAUNCHED}/{JOBS}"
            why = f"its job {job_of(campaign, run)} ended as {ended}; see {place}"
            campaign.note(run, state._replace(state=FAILED, why=why))
        elif state.state == RUNNING:
            campaign.note(run, state._replace(state=STOPPED))


def _wanted(campaign: Campaign, run: Run, waiting: set[str], *, retry: bool) -> bool:
    state = campaign.state(run).state
    if run.name in waiting or state in OVER:
        return False
    return retry or state != FAILED


def in_job(folder: str, name: str) -> str:
    """What a job does: one run, and back into the queue where it was stopped."""
    campaign = opened(Path(folder))
    run = campaign.named(name)
    if not pool.met(campaign, run):
        raise UserError(f"{name} needs runs that are not done: {', '.join(run.needs)}.")
    first = int(os.environ.get("SLURM_PROCID", "0")) == 0
    asked: list[int] = []
    children: list[Any] = []

    def stop(number: int, frame: Any) -> None:
        asked.append(number)
        for child in children:
            child.stop()

    # submitit's own handlers would let SIGTERM pass, and leave at once with SIGUSR2.
    for number in ASKED_TO_STOP:
        signal.signal(number, stop)
    choose = pool.chooser(campaign, run) if first else None
    child = begin(campaign, run, choose=choose, first=first)
    if child is None:
        return f"{name} is done, or another process is at it"
    children.append(child)
    if asked:
        child.stop()
    while child.process.poll() is None:
        pool.watch([child] if first else [])
        time.sleep(pool.POLL_S)
    state = pool.end(child) if first else child.end()
    if state.state == STOPPED and first:
        _requeue()
    if state.state == FAILED:
        raise UserError(pool.ended(run, state, campaign))
    return state.state


def _requeue() -> None:
    """Put this job back into the queue; one that was cancelled cannot be."""
    with suppress(OSError, SubprocessError, RuntimeError):
        _submitit().JobEnvironment()._requeue(0)
