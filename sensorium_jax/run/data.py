"""What the commands on recordings do: info."""

from typing import Any

from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.session import BEHAVIOR, PUPIL, Session
from sensorium_jax.rules import UNUSED
from sensorium_jax.run import Outcome
from sensorium_jax.run.page import check_place, draw
from sensorium_jax.text import align


def info(path: str, *, rules: str | None = None, figure: str | None = None) -> Outcome:
    """A table of mice: rules, neurons, trials per tier, frame size, what is missing.

    figure: where a page of pictures of each mouse goes.
    """
    if figure:
        check_place(figure)
    recordings = Recordings.open(path, rules)
    recordings.mouse_info()  # complains of what no model could use
    mice = [_facts(session) for session in recordings.sessions]
    total = sum(m["neurons"] for m in mice)
    data = {"path": str(path), "mice": mice, "neurons": total}
    lines = _table(mice)
    if len(mice) > 1:
        lines.append(f"{len(mice)} mice, {total} neurons")
    kinds = dict.fromkeys(s.rules for s in recordings.sessions)
    lines += [f"rules {r.name}: {r.words()}" for r in kinds]
    if figure:
        pages = draw(path, figure, rules)
        data["figures"] = [str(page.path) for page in pages]
        lines += map(str, pages)
    return Outcome(data, "\n".join(lines))


def _facts(session: Session) -> dict[str, Any]:
    missing = [w for w in (BEHAVIOR, PUPIL) if not session.has(w)]
    if session.coordinates_n3 is None:
        missing.append("coordinates")
    share, gone_rn = 0.0, session.missing_rn
    if gone_rn is not None:
        share = float(gone_rn[session.tiers != UNUSED].mean())
        missing.append(f"{share:.1%} of the responses")
    tiers = session.tiers.tolist()
    return {
        "name": session.name,
        "rules": session.rules._asdict(),
        "neurons": session.neurons,
        "trials": {t: tiers.count(t) for t in dict.fromkeys(tiers)},
        "frame": list(session.frame_shape),
        "video": str(session.video_dtype),
        "frames_per_second": session.frames_per_second,
        "degrees_per_pixel": session.degrees_per_pixel,
        "missing": missing,
        "missing_responses": share,
    }


def _table(mice: list[dict[str, Any]]) -> list[str]:
    tiers = list(dict.fromkeys(t for m in mice for t in m["trials"]))
    rows = [["mouse", "rules", "neurons", "frame", *tiers, "missing"]]
    for m in mice:
        height, width, channels = m["frame"]
        frame = f"{height}x{width}" + (f"x{channels}" if channels > 1 else "")
        trials = [str(m["trials"].get(t, "-")) for t in tiers]
        lacks = ", ".join(m["missing"]) or "nothing"
        facts = [m["name"], m["rules"]["name"], str(m["neurons"]), frame]
        rows.append([*facts, *trials, lacks])
    return align(rows, left=len(rows[0]))
