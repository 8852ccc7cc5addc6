"""Several processes: who they are, and waits that end."""

import os
import signal
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax

from sensorium_jax.errors import UserError

# A peer that dies or freezes stops the others within this, instead of never.
HEARTBEAT_S, START_S = 30, 300

OWN = ("SENSORIUM_COORDINATOR", "SENSORIUM_PROCESSES", "SENSORIUM_PROCESS")


def launcher(env: Mapping[str, str], *, chips: bool = False) -> str:
    """What started several processes of this program: own, slurm, tpu, or none.

    chips: whether this machine has TPUs of its own, one of a pod's hosts then.
    """
    if OWN[0] in env:
        return "own"
    if int(env.get("SLURM_NTASKS", "1") or 1) > 1 and "SLURM_PROCID" in env:
        return "slurm"
    if "TPU_WORKER_HOSTNAMES" in env:  # Kubernetes
        return "tpu" if "," in env["TPU_WORKER_HOSTNAMES"] else "none"
    # Cloud machines ask their metadata server, which notebooks with a TPU lack.
    return "tpu" if chips and "TPU_SKIP_MDS_QUERY" not in env else "none"


def has_chips(devices: Path = Path("/dev")) -> bool:
    """Whether this machine has TPUs and the library to use them."""
    found = [*devices.glob("accel[0-9]*"), *devices.glob("vfio/[0-9]*")]
    return bool(found) and find_spec("libtpu") is not None


def local_devices(env: Mapping[str, str]) -> list[int] | None:
    """The GPUs of a SLURM task; None leaves it to jax, which takes one per task."""
    if env.get("SLURM_NTASKS") != env.get("SLURM_NNODES", "1"):
        return None
    count = env.get("SLURM_GPUS_ON_NODE", "")
    return list(range(int(count))) if count.isdigit() and int(count) > 1 else None


def connect(env: Mapping[str, str] = os.environ) -> int:
    """Join the other processes, if there are any; returns how many there are.

    Must come before anything touches a device. SLURM and TPU pods are recognized; other
    launchers set SENSORIUM_COORDINATOR (host:port), SENSORIUM_PROCESSES and
    SENSORIUM_PROCESS.
    """
    found = launcher(env, chips=has_chips())
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
    if found == "slurm":
        own = {"local_device_ids": local_devices(env)}
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
    except (RuntimeError, ValueError) as error:
        alone = "On a machine alone set TPU_SKIP_MDS_QUERY=1." if found == "tpu" else ""
        raise UserError(
            f"The processes started by '{found}' did not find each other within "
            f"{waits['initialization_timeout']} s: {error}. Check that all were "
            f"started, and that they can reach the coordinator's port. {alone}".strip()
        ) from error
    return jax.process_count()


def tell_again() -> None:
    """Repeat a SIGTERM that came before the processes could tell each other."""
    os.kill(os.getpid(), signal.SIGTERM)


def failed(error: Exception) -> str:
    """What to say when a step fails under several processes."""
    reason = str(error).splitlines()[0]
    if "RESOURCE_EXHAUSTED" in str(error):
        return (
            f"process {jax.process_index()} of {jax.process_count()} ran out of "
            f"memory: {reason}. Set config.train.remat or config.train.accumulate, or "
            "lower config.train.batch."
        )
    return (
        f"process {jax.process_index()} of {jax.process_count()} lost a peer: "
        f"{reason}. Every process stops; start the same command "
        "again on all hosts and it continues from the last checkpoint."
    )
