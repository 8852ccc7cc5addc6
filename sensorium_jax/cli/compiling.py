"""How the commands compile: fast, and each program once for all runs of a user.

Everything is set through the environment before jax is imported, so that processes
which a command starts do alike. What the user has set stays as it is.
"""

import hashlib
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

from sensorium_jax.io.cache import cache

SWITCH = "SENSORIUM_PROGRAMS"  # the folder of kept programs; "off" keeps none
FLAG = "--xla_cpu_use_fusion_emitters=false"
MOST = 2 << 30  # bytes of all kept programs, when a command begins
OTHERS = 0o022  # may write: the group, everybody


def settle() -> None:
    """Choose how this command and its child processes compile."""
    short_way()
    keep()


def short_way() -> None:
    """On CPUs half the time to compile with jax 0.10, and steps as fast or faster.

    Newer compilers know one way only, and end where they read an unknown flag.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if version("jax").startswith("0.10.") and FLAG.split("=")[0] not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {FLAG}".strip()


def keep() -> None:
    """Keep programs on disk, in a folder that only this user may write to."""
    place = os.environ.get(SWITCH, "")
    if place == "off" or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    root = Path(place).expanduser() if place else cache() / "programs"
    folder = root / _machine()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not all(map(_only_ours, (root, folder))):
            print(
                f"note: {root} belongs to another user, or others may write to it. "
                f"Programs are not kept there; set {SWITCH} to a folder of your own.",
                file=sys.stderr,
            )
            return
        _prune(root)
    except OSError:  # a home that cannot be written to
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")


def _machine() -> str:
    """A name for machines that run the same code: homes are shared in clusters."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    kinds = ("model name", "flags", "CPU part", "Features")
    told = sorted({line for line in lines if line.startswith(kinds)})
    words = "\n".join([platform.machine(), platform.processor(), *told])
    return hashlib.sha256(words.encode()).hexdigest()[:12]


def _only_ours(folder: Path) -> bool:
    """Whether nobody else can change a folder of code that is going to run."""
    held = folder.stat()
    mine = not hasattr(os, "getuid") or held.st_uid == os.getuid()
    return mine and not held.st_mode & OTHERS


def _prune(folder: Path) -> None:
    """Remove the programs that were kept first, down to half of what is allowed."""
    kept = []
    for path in folder.rglob("*"):
        try:
            held = path.stat()
        except OSError:  # removed by another command meanwhile
            continue
        if path.is_file():
            kept.append((held.st_mtime, held.st_size, path))
    size = sum(one[1] for one in kept)
    if size <= MOST:
        return
    for _, bytes_, path in sorted(kept):
        path.unlink(missing_ok=True)
        size -= bytes_
        if size <= MOST // 2:
            return
