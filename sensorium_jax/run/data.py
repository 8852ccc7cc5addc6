"""What the commands on recordings do: info."""

from typing import Any

from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.session import BEHAVIOR, PUPIL, Session
from sensorium_jax.run import Outcome


def info(path: str) -> Outcome:
    """A table of mice: neurons, trials per tier, frame size, what is missing."""
    recordings = Recordings.open(path)
    recordings.mouse_info()  # complains of what no model could use
    mice = [_facts(session) for session in recordings.sessions]
    total = sum(m["neurons"] for m in mice)
    data = {"path": str(path), "mice": mice, "neurons": total}
    words = f"{len(mice)} mice, {total} neurons" if len(mice) > 1 else ""
    return Outcome(data, "\n".join([*_table(mice), *([words] if words else [])]))


def _facts(session: Session) -> dict[str, Any]:
    missing = [w for w in (BEHAVIOR, PUPIL) if not session.has(w)]
    if session.coordinates_n3 is None:
        missing.append("coordinates")
    tiers = session.tiers.tolist()
    return {
        "name": session.name,
        "year": session.year,
        "neurons": session.neurons,
        "trials": {t: tiers.count(t) for t in dict.fromkeys(tiers)},
        "frame": list(session.frame_shape),
        "video": str(session.video_dtype),
        "missing": missing,
    }


def _table(mice: list[dict[str, Any]]) -> list[str]:
    tiers = list(dict.fromkeys(t for m in mice for t in m["trials"]))
    rows = [["mouse", "year", "neurons", "frame", *tiers, "missing"]]
    for m in mice:
        height, width, channels = m["frame"]
        frame = f"{height}x{width}" + (f"x{channels}" if channels > 1 else "")
        counts = [str(m["trials"].get(t, "-")) for t in tiers]
        lacks = ", ".join(m["missing"]) or "nothing"
        rows.append(
            [m["name"], str(m["year"]), str(m["neurons"]), frame, *counts, lacks]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
