"""JSON from elsewhere: so many bytes, so deep, and told in words where it is none."""

import json
from pathlib import Path
from typing import Any

from sensorium_jax.errors import UserError
from sensorium_jax.io import regular

MOST = 16 << 20  # bytes; the largest here lists a checksum for every shard
DEEPEST = 32  # lists and objects inside each other
PAGE = "It is a web page: the address leads to something else. "


def loads(content: bytes, where: str, remedy: str, *, most: int = MOST) -> Any:
    """The value that these bytes are; where and remedy are for the error."""
    if len(content) > most:
        raise UserError(
            f"{where} has more than {most} bytes of JSON. Expected far less. {remedy}"
        )
    try:
        value = json.loads(content)
    except RecursionError:
        raise _too_deep(where, remedy) from None
    except ValueError as error:
        words = str(error).splitlines()[0][:120]
        hint = PAGE if content.lstrip()[:1] == b"<" else ""
        raise UserError(
            f"{where} cannot be read as JSON ({words}). {hint}{remedy}"
        ) from None
    check_size(value, where, remedy)
    return value


def load(path: Path, remedy: str, *, most: int = MOST) -> Any:
    """The value in a file; a missing one is the caller's to tell."""
    return loads(regular.content(path, most), str(path), remedy, most=most)


def check_size(
    value: Any,
    where: str,
    remedy: str,
    *,
    deepest: int = DEEPEST,
    most: int = MOST,
) -> None:
    """Refuse a value that is too deep, or too long once every part is written out.

    A part that is referred to from many places counts each time, so that what is small
    in a file but endless in a message is refused before it gets into one.
    """
    left = most
    waiting: list[tuple[Any, int]] = [(value, 0)]
    while waiting:
        part, depth = waiting.pop()
        inside = part.values() if isinstance(part, dict) else part
        left -= len(part) if isinstance(part, dict | list | tuple) else 1
        if depth > deepest or left < 0:
            raise _too_deep(where, remedy)
        if isinstance(part, dict | list | tuple):
            below = [x for x in inside if isinstance(x, dict | list | tuple)]
            waiting.extend((x, depth + 1) for x in below)


def _too_deep(where: str, remedy: str) -> UserError:
    return UserError(
        f"{where} holds lists inside lists, deeper or longer than any such file is. "
        f"{remedy}"
    )
