"""Names that come from a file, before they become part of a path or of a message.

Whoever wrote the file chose them. A name such as '../x' or '/etc/x' would lead out of
the folder that it is joined to, and control characters would write into a terminal.
"""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from sensorium_jax.errors import UserError

LONGEST = 200  # characters; file systems take 255 bytes, and endings are added
PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")


def is_plain(name: Any) -> bool:
    """Whether a name is letters, digits, '_', '.', '-', and does not begin with '.'."""
    return (
        isinstance(name, str)
        and len(name) <= LONGEST
        and PLAIN.fullmatch(name) is not None
    )


def is_inside(name: Any) -> bool:
    """Whether a name, perhaps with folders, stays below the folder it is joined to.

    Spaces and letters of any alphabet are allowed, as folders of users have them.
    """
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST:
        return False
    parts = PurePosixPath(name).parts
    away = name.startswith("/") or "\\" in name or ".." in parts or name == "."
    return name.isprintable() and not away


def check_names(names: Iterable[Any], where: str, what: str = "recording") -> list[str]:
    """Names of a list, refused where one is not plain or two are the same.

    Some file systems hold 'a' and 'A' for one name, so these count as the same.
    """
    seen: dict[str, str] = {}
    for name in names:
        if not is_plain(name):
            raise UserError(
                f"{where} names a {what} {name!r:.100}. Expected letters, digits, '_', "
                f"'.' and '-', not beginning with '.', and at most {LONGEST} of them. "
                "Rename it where it was made; do not trust a file with such a name."
            )
        if name.lower() in seen:
            raise UserError(
                f"{where} names the {what} '{name}' twice ('{seen[name.lower()]}'). "
                "Expected a name of its own for each."
            )
        seen[name.lower()] = name
    return list(seen.values())
