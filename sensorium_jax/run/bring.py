"""What `sensorium import` does: other formats in, a tree and a page of pictures out."""

import shutil
from pathlib import Path
from typing import Any

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
from sensorium_jax.data.session import RESPONSES
from sensorium_jax.errors import UserError
from sensorium_jax.io import atomic, remote
from sensorium_jax.rules import FILMS, PICTURES, UNUSED, own
from sensorium_jax.run import Outcome
from sensorium_jax.run.page import Page, draw
from sensorium_jax.text import align

HEADS = ["path", "type", "shape", "rate", "unit", "could be"]


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
    if out is None and not dry_run:
        raise UserError("Say where to write to: sensorium import SOURCE OUT.")
    root = Path(out or "")
    if not dry_run:
        atomic.need_place(root, folder=True)
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
    pages = draw(written.folder, place) if figure else []
    return _outcome(session, plan, imported, choices, written, pages)


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
    pages: list[Page],
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
    lines += [f"{begun}: {written.folder}", *map(str, pages)]
    data = {"name": name, "folder": str(written.folder), "tiers": tiers, **imported}
    data |= {"left_out": written.left_out, "figures": [str(p.path) for p in pages]}
    return Outcome(data, "\n".join(lines))
