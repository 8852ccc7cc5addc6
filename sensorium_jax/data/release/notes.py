"""What a writer notes of trials until the session is finished; a kill loses none.

One file of lines, each a trial's number and its facts; of two lines about one trial the
later counts. A line that a kill cut short says nothing: its trial was not yet written,
and is written again.
"""

import json
from pathlib import Path
from typing import Any

FILE = "notes.jsonl"
# Facts: values changed, neurons missing, and what the video is told by.
CHANGED, MISSING, VIDEO = "changed", "missing", "video"


def append(folder: Path, trial: int, facts: dict[str, Any]) -> None:
    """Note the facts of a trial, in place of those noted before."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / FILE, "a") as file:
        # The break before it ends a line that a kill has left open.
        file.write(f"\n{json.dumps([trial, facts])}\n")


def read(folder: Path) -> dict[int, dict[str, Any]]:
    """The facts of every trial that has any, by its number."""
    path, notes = folder / FILE, {}
    for line in path.read_text().split("\n") if path.exists() else ():
        try:
            trial, facts = json.loads(line)
        except (ValueError, TypeError, RecursionError):
            continue
        notes[trial] = facts
    return notes
