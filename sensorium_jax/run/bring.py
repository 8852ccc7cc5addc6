"""What `sensorium import` does: other formats in, a tree and a page of pictures out."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax.data.formats import recognize, trials, write
from sensorium_jax.data.formats.films import resized
from sensorium_jax.data.formats.foreign import (
    Choices,
    Film,
    Series,
    check_choices,
    check_name,
)
from sensorium_jax.data.formats.trials import Plan
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.session import BEHAVIOR, PUPIL, RESPONSES, VIDEO, Session
from sensorium_jax.data.stimuli import folds
from sensorium_jax.errors import UserError
from sensorium_jax.io import atomic, remote
from sensorium_jax.plots import recordings as plots
from sensorium_jax.rules import FILMS, PICTURES, UNUSED, own
from sensorium_jax.run import Outcome
from sensorium_jax.text import align

HEADS = ["path", "type", "shape", "rate", "unit", "could be"]
PAGE_FRAMES, CLIPS = 8, 3  # on the page
NEURONS, LENGTH = 80, 900  # neurons and frames of its raster
BEST = 4  # neurons beside each other
REPEATED = 12  # films that reliability is measured on, of at most so many trials each


def bring(
    source: str,
    out: str | None,
    *,
    show: bool = False,
    dry_run: bool = False,
    figure: bool = True,
    name: str | None = None,
    **flags: Any,
) -> Outcome:
    """Write a recording of another format as a session below out.

    show: list what is in the source instead; out is not needed then.
    """
    choices = Choices(**flags)
    form = recognize.form_of(source)
    if show:
        return _listed(form.listed(source))
    check_choices(choices, form.__name__.rpartition(".")[2], form.UNREAD)
    root = Path(out or "")
    if (root / "data").exists():
        raise UserError(f"{out} is a recording itself. Give the folder above it.")
    with form.opened(source, choices) as foreign:
        if choices.size:
            foreign = foreign._replace(film=resized(foreign.film, choices.size))
        session = check_name(name) if name else foreign.name
        plan = trials.plan(foreign, choices)
        imported = _imported(source, plan, choices)
        if dry_run:
            text = "\n".join([*_words(session, plan, choices), "Nothing was written."])
            return Outcome({"name": session, **imported}, text)
        fresh = not root.exists()
        try:
            written = write.tree(root / session, plan, imported, choices)
        finally:
            if fresh and root.exists() and not any(root.iterdir()):
                shutil.rmtree(root)
    place = root / f"{session}.png"
    pictures = figure_page(written.folder, place) if figure else []
    return _outcome(session, plan, imported, choices, written, pictures)


def _listed(lines: list[Any]) -> Outcome:
    rows = [HEADS]
    for line in lines:
        shape = "x".join(map(str, line.shape)) or "-"
        rate = f"{line.rate:.6g} Hz" if line.rate else "-"
        rows.append([line.path, line.kind, shape, rate, line.unit or "-", line.use])
    text = "\n".join(align(rows, left=len(HEADS)))
    return Outcome({"series": [line._asdict() for line in lines]}, text)


def _imported(source: str, plan: Plan, choices: Choices) -> dict[str, Any]:
    """What the tree says of where it comes from."""
    foreign, film = plan.foreign, plan.foreign.film
    flags = {k: v for k, v in choices._asdict().items() if v != getattr(Choices(), k)}
    address = remote.hidden(source) if "://" in source else Path(source).resolve().name
    return {
        "source": address,
        "format": foreign.form,
        **foreign.facts,
        "stimulus": film.name,
        **{k: [s.name for s in signals] for k, signals in foreign.signals.items()},
        "trials": foreign.table.name if foreign.table else "cut",
        "frames_per_second": plan.rate,
        "methods": {k: list(v) for k, v in plan.methods.items()},
        "flags": {k: list(v) if isinstance(v, tuple) else v for k, v in flags.items()},
        "notes": list(plan.notes),
    }


def _words(name: str, plan: Plan, choices: Choices) -> list[str]:
    """What is to be written, in lines."""
    foreign, film = plan.foreign, plan.foreign.film
    lengths = sorted({t.frames for t in plan.trials})
    frames = " to ".join(dict.fromkeys(map(str, (lengths[0], lengths[-1]))))
    height, width, channels = film.frame_shape
    size = f"{height}x{width}" + (f"x{channels}" if channels > 1 else "")
    neurons = sum(s.columns for s in foreign.signals[RESPONSES])
    shown = (
        f"{len(plan.trials)} pictures"
        if choices.pictures
        else f"{len(plan.trials)} trials of {frames} frames, {plan.rate:.6g} a second"
    )
    rows = [["what", "from", "columns", "rate", "method"], ["stimulus", *_film(film)]]
    for what, signals in foreign.signals.items():
        for s, method in zip(signals, plan.methods[what], strict=True):
            rate = f"{s.clock.rate:.6g} Hz" if isinstance(s, Series) else "-"
            rows.append([what, s.name, str(s.columns), rate, method])
    return [
        f"{name}: {shown}, {neurons} neurons, frames {size}",
        *align(rows, left=2),
        *(f"note: {note}" for note in plan.notes),
    ]


def _film(film: Film) -> list[str]:
    return [film.name, str(film.dtype), f"{film.clock.rate:.6g} Hz", "last shown"]


def _outcome(
    name: str,
    plan: Plan,
    imported: dict[str, Any],
    choices: Choices,
    written: write.Written,
    pictures: list[Path],
) -> Outcome:
    tiers = {t: written.tiers.count(t) for t in dict.fromkeys(written.tiers)}
    lines = _words(name, plan, choices)
    if written.left_out:
        lines.append(
            f"note: {written.left_out} trials have NaN for longer than "
            f"{choices.max_gap:g} s (--max-gap); their tier is '{UNUSED}'"
        )
    if written.negative and not choices.clip:
        lines.append(
            f"note: {written.negative:.1%} of the responses are negative, which the "
            "Poisson loss does not expect; --clip makes them 0"
        )
    kind = PICTURES if choices.pictures else FILMS
    if own(kind).validating(written.tiers) is None:
        lines.append(
            "note: no tier validates, which a run needs to tell its best step; give "
            "more trials, or tiers (a column tier of the table of trials)"
        )
    lines.append("tiers: " + ", ".join(f"{t} {n}" for t, n in tiers.items()))
    begun = "It was there already" if written.already else "Written to"
    seen = "".join(f"; pictures in {p}" for p in pictures)
    lines.append(f"{begun}: {written.folder}{seen}")
    data = {"name": name, "folder": str(written.folder), "tiers": tiers, **imported}
    data |= {"left_out": written.left_out, "figures": list(map(str, pictures))}
    return Outcome(data, "\n".join(lines))


def figure_page(path: str | Path, out: str | Path) -> list[Path]:
    """Draw a page of every recording below path; out ends in .png, .svg or .pdf.

    With several mice their names are added to out. Returns what was written.
    """
    sessions, out = Recordings.open(path).sessions, Path(out)
    if out.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UserError(f"{out} is no picture. Expected a name ending in .png or .svg.")
    pages = []
    for session in sessions:
        more = "" if len(sessions) == 1 else f"-{session.name}"
        place = out.with_name(f"{out.stem}{more}{out.suffix}")
        figure = plots.page(_shown(session))
        with atomic.whole(place) as temporary:
            figure.savefig(temporary, format=out.suffix[1:].lower(), dpi=110)
        pages.append(place)
    return pages


def _shown(session: Session) -> plots.Shown:
    """What the page of one recording is drawn from."""
    rows = np.flatnonzero(session.tiers != UNUSED)
    groups = _repeats(session, rows)
    reliability_n = _reliability(session, groups)
    order = np.argsort(-np.nan_to_num(reliability_n, nan=-2.0), kind="stable")
    some = np.sort(order[np.linspace(0, len(order) - 1, NEURONS).astype(int)])
    some = np.unique(some)
    films = session.rules.kind == FILMS
    pieces: dict[str, list[np.ndarray]] = {k: [] for k in "xcbp"}
    starts, total = [], 0
    for row in rows:
        x_tn = session.read(RESPONSES, int(row))[:, some]
        if pieces["x"] and total + len(x_tn) > LENGTH:
            break
        video = session.read(VIDEO, int(row)).astype(np.float32)
        change = np.abs(np.diff(video, axis=0)).mean((1, 2, 3))
        pieces["x"].append(x_tn)
        pieces["c"].append(
            np.concatenate([[0.0], change]) if films else video.std((1, 2, 3))
        )
        pieces["b"].append(session.read(BEHAVIOR, int(row)))
        pieces["p"].append(
            session.read(PUPIL, int(row)) if session.has_pupil else x_tn[:, :0]
        )
        starts.append(total)
        total += len(x_tn)
    joined = {k: np.concatenate(v)[:LENGTH] for k, v in pieces.items()}
    return plots.Shown(
        title=(
            f"{session.name}: {len(rows)} trials, {session.neurons} neurons, frames "
            f"{'x'.join(map(str, session.frame_shape))}"
        ),
        rate_hz=_rate(session) if films else None,
        clips=_clips(session, rows),
        responses_tn=joined["x"],
        change_t=joined["c"],
        behavior_tk=joined["b"],
        pupil_t2=joined["p"],
        starts=tuple(s for s in starts if s < LENGTH) if films else (),
        repeats_rtn=_repeated(session, groups, order[:BEST]),
        reliability_n=reliability_n,
    )


def _rate(session: Session) -> float:
    """Frames per second that the session says."""
    return session.frames_per_second or 30.0


def _clips(session: Session, rows: np.ndarray) -> dict[str, np.ndarray]:
    clips = {}
    for row in rows[np.unique(np.linspace(0, len(rows) - 1, CLIPS).astype(int))]:
        length = session.reader.length(int(row))
        places = np.unique(np.linspace(0, length - 1, PAGE_FRAMES).astype(int))
        frames = [session.read(VIDEO, int(row), slice(p, p + 1))[0] for p in places]
        words = f"trial {session.files[row]}\n{session.tiers[row]}"
        clips[words] = np.stack(frames)
    return clips


def _repeats(session: Session, rows: np.ndarray) -> list[np.ndarray]:
    """Rows of every stimulus that was shown again, the most often shown first."""
    if "frame_image_id" in session.columns:
        shown = session.columns["frame_image_id"][rows]
    else:
        shown = folds.stimuli(session, rows)
    _, shown = np.unique(shown, return_inverse=True)
    groups = [rows[shown == s] for s in range(shown.max() + 1)]
    several = [g for g in groups if len(g) > 1]
    return sorted(several, key=len, reverse=True)


def _reliability(session: Session, groups: list[np.ndarray]) -> np.ndarray:
    """Correlation of a trial with the mean of the other repeats, of every neuron.

    Over the frames of all repeats of a few films; one film is in memory at a time.
    """
    sums = np.zeros((5, session.neurons))
    count = 0
    for group in groups[:REPEATED] if session.rules.kind == FILMS else groups:
        group = group[:REPEATED].tolist()
        frames = slice(0, min(session.reader.length(row) for row in group))
        total_tn = sum(session.read(RESPONSES, row, frames) for row in group)
        for row in group:
            x_tn = session.read(RESPONSES, row, frames)
            others_tn = (total_tn - x_tn) / (len(group) - 1)
            terms = ((x_tn, None), (others_tn, None), (x_tn, x_tn))
            terms += ((others_tn, others_tn), (x_tn, others_tn))
            for i, (a_tn, b_tn) in enumerate(terms):
                part = a_tn if b_tn is None else a_tn * b_tn
                sums[i] += part.sum(0, dtype=np.float64)
            count += len(x_tn)
    if not count:
        return np.full(session.neurons, np.nan)
    x, y, xx, yy, xy = sums / count
    spread = (xx - x * x).clip(0) * (yy - y * y).clip(0)
    both = xy - x * y
    return np.divide(
        both, np.sqrt(spread), where=spread > 0, out=np.full_like(x, np.nan)
    )


def _repeated(
    session: Session, groups: list[np.ndarray], best: np.ndarray
) -> np.ndarray:
    """One film again and again [R, T, n], of the neurons that tell it best."""
    if not groups:
        return np.empty((0, 0, len(best)), np.float32)
    group = groups[0][: 4 * REPEATED].tolist()
    frames = slice(0, min(session.reader.length(row) for row in group))
    return np.stack([session.read(RESPONSES, row, frames)[:, best] for row in group])
