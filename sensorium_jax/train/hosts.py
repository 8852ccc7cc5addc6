"""Several processes: who they are, and waits that end."""

import os
from collections.abc import Mapping
from typing import Any

import jax

from sensorium_jax.errors import UserError

# A peer that dies or freezes stops the others within this, instead of never.
HEARTBEAT_S, START_S = 30, 300

OWN = ("SENSORIUM_COORDINATOR", "SENSORIUM_PROCESSES", "SENSORIUM_PROCESS")


def launcher(env: Mapping[str, str]) -> str:
    """What started several processes of this program: own, slurm, tpu, or none."""
    if OWN[0] in env:
        return "own"
    if int(env.get("SLURM_NTASKS", "1") or 1) > 1 and "SLURM_PROCID" in env:
        return "slurm"
    if "," in env.get("TPU_WORKER_HOSTNAMES", ""):
        return "tpu"
    return "none"


def connect(env: Mapping[str, str] = os.environ) -> int:
    """Join the other processes, if there are any; returns how many there are.

    Must come before anything touches a device. SLURM and TPU pods are recognized; other
    launchers set SENSORIUM_COORDINATOR (host:port), SENSORIUM_PROCESSES and
    SENSORIUM_PROCESS.
    """
    found = launcher(env)
    if found == "none":
        return 1
    waits: dict[str, Any] = {
        "initialization_timeout": int(env.get("SENSORIUM_START_S", START_S)),
        "heartbeat_timeout_seconds": int(env.get("SENSORIUM_HEARTBEAT_S", HEARTBEAT_S)),
    }
    waits["shutdown_timeout_seconds"] = waits["heartbeat_timeout_seconds"]
    if env.get("JAX_PLATFORMS") == "cpu":
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    own: dict[str, Any] = {}
    if found == "own":
        missing = [name for name in OWN if name not in env]
        if missing:
            raise UserError(f"{OWN[0]} is set, but not {' and '.join(missing)}.")
        own = {
            "coordinator_address": env[OWN[0]],
            "num_processes": int(env[OWN[1]]),
            "process_id": int(env[OWN[2]]),
        }
    try:
        jax.distributed.initialize(**own, **waits)
    except RuntimeError as error:
        raise UserError(
            f"The processes started by '{found}' did not find each other within "
            f"{waits['initialization_timeout']} s: {error}. Check that all were "
            "started, and that they can reach the coordinator's port."
        ) from error
    return jax.process_count()


def lost_peer(error: Exception) -> str:
    """What to say when a collective fails under several processes."""
    return (
        f"process {jax.process_index()} of {jax.process_count()} lost a peer: "
        f"{str(error).splitlines()[0]}. Every process stops; start the same command "
        "again on all hosts and it continues from the last checkpoint."
    )
