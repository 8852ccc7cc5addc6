"""What each command does: arguments or a config in, parts called, Outcome out.

The only readers of a ConfigDict. One file per floor-2 room's commands.
"""

from typing import Any, NamedTuple

Config = Any  # a ConfigDict, whose fields no type checker knows

INTERRUPTED = 130  # exit code of what Ctrl-C ended, as shells expect it


class Outcome(NamedTuple):
    """What a command found: data for --json, text for people, and the exit code."""

    data: dict[str, Any]
    text: str = ""
    code: int = 0
