"""Where sessions lie, and what cannot be reached: permissions, links, folders."""

import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sensorium_jax.data import config
from sensorium_jax.data.config import Told
from sensorium_jax.data.recordings import DEPTH, READERS
from sensorium_jax.data.release import dynamic2023, static2022
from sensorium_jax.data.session import BEHAVIOR, MODALITIES, PUPIL, RESPONSES, VIDEO
from sensorium_jax.errors import UserError
from sensorium_jax.findings import Fault, error
from sensorium_jax.rules import OWN, wrong

PARTS = (  # any of them makes a folder a session, perhaps a broken one
    *(f"data/{name}" for name in (*READERS, RESPONSES, BEHAVIOR, PUPIL)),
    *(f"meta/{name}" for name in ("trials", "neurons", "statistics")),
)


def walk(root: Path) -> tuple[list[Fault], int]:
    """Unreadable files and folders, and symbolic links that lead nowhere or in circles.

    Also returns the bytes of all files, each link followed once.
    """
    faults: list[Fault] = []
    seen: set[str] = set()

    def visit(folder: Path, above: tuple[str, ...]) -> int:
        here = os.path.realpath(folder)
        if here in above:
            faults.append(
                error(
                    folder,
                    "symbolic link loop: it leads to a folder above itself",
                    "remove the link",
                )
            )
            return 0
        if here in seen:
            return 0
        seen.add(here)
        try:
            entries = sorted(os.scandir(folder), key=lambda e: e.name)
        except OSError as problem:
            faults.append(_unreadable(folder, problem.strerror or "", folder=True))
            return 0
        return sum(entry_size(Path(e.path), (*above, here)) for e in entries)

    def entry_size(path: Path, above: tuple[str, ...]) -> int:
        try:
            info = os.stat(path)
        except OSError as problem:
            faults.append(_dangling(path, problem))
            return 0
        is_folder = stat.S_ISDIR(info.st_mode)
        # The administrator may read anything; those who train later may not.
        if not info.st_mode & 0o444 or not os.access(path, os.R_OK):
            mode = stat.filemode(info.st_mode)
            faults.append(_unreadable(path, f"permissions {mode}", folder=is_folder))
        return visit(path, above) if is_folder else info.st_size

    return faults, visit(root, ())


def _unreadable(path: Path, why: str, *, folder: bool) -> Fault:
    return error(
        path,
        f"unreadable {'folder' if folder else 'file'}: {why}",
        f"make it readable: chmod u+r{'x' * folder}",
    )


def _dangling(path: Path, problem: OSError) -> Fault:
    if not path.is_symlink():
        return _unreadable(path, problem.strerror or "", folder=False)
    kind = "loop" if problem.errno == errno.ELOOP else "to nothing"
    return error(
        path,
        f"symbolic link {kind}: it leads to {os.readlink(path)}",
        "put the file itself in its place",
    )


def sessions(root: Path, sick: set[str], depth: int = DEPTH) -> Iterator[Path]:
    """Folders that are or should be a session, however broken."""
    if any((root / part).exists() for part in PARTS):
        yield root
        return
    if re.match(r"(dynamic|static)\d+-\d+-\d+", root.name) and depth < DEPTH:
        inner = list(_below(root, sick, depth))
        yield from inner or [root]
        return
    yield from _below(root, sick, depth)


def _below(root: Path, sick: set[str], depth: int) -> Iterator[Path]:
    if not depth or str(root) in sick and root.is_symlink():
        return
    try:
        entries = sorted(root.iterdir())
    except OSError:
        return
    for below in entries:
        if below.name.startswith((".", "__")) or below.name == "meta":
            continue
        try:
            folder = below.is_dir()
        except OSError:
            folder = False
        if folder:
            yield from sessions(below, sick, depth - 1)


def layout(
    folder: Path, chosen: str | None, faults: list[Fault]
) -> tuple[Told, dict[str, str], dict[str, str]]:
    """What a session says of itself, its modalities' names, and where they lie.

    The last are folders of data/. A config.json that says nonsense is a fault; of it
    only sound rules count, or else those of own recordings, which forbid nothing.
    """
    stimulus = _stimulus(folder)
    kind = READERS[stimulus].KIND
    problem, plain = None, {}
    try:
        plain = config.load(folder)
        problem = config.wrong(plain, kind, chosen)
    except UserError:
        problem = "not a JSON object", "delete it; it may be absent"
    if problem:
        faults.append(error(folder / config.FILE, *problem))
        plain = _rules_alone(plain, kind)
    told = config.told(plain, kind, str(folder), chosen)
    names = {w: w for w in MODALITIES} | {VIDEO: stimulus}
    return told, names, {w: told.links.get(n, n) for w, n in names.items()}


def _rules_alone(plain: Any, kind: str) -> dict[str, Any]:
    if not isinstance(plain, dict) or config.RULES not in plain:
        return {}
    rules = plain[config.RULES]
    return {config.RULES: {"name": OWN} if wrong(rules, kind) else rules}


def _stimulus(folder: Path) -> str:
    """Which folder the stimuli lie in, or should."""
    for place in ("data", "meta/statistics"):
        for name in READERS:
            if (folder / place / name).exists():
                return name
    fallback = static2022 if folder.name.startswith("static") else dynamic2023
    return fallback.STIMULUS
