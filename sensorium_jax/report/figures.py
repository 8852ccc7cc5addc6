"""Each figure of a page with its words, what it shows in words, and its data."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.plots import runs as plots
from sensorium_jax.report import frames
from sensorium_jax.report.contents import (
    Clip,
    Excited,
    Field,
    Placed,
    Runs,
    Time,
    Trace,
)
from sensorium_jax.report.html import Html, element, join, table
from sensorium_jax.report.svg import Drawing, drawing
from sensorium_jax.scoring import tables
from sensorium_jax.scoring.tables import Scores
from sensorium_jax.text import cell, cut, printable, short

PACE = 30.0  # frames per second of a clip whose rate is unknown
SLIDES = 2.0  # pictures per second
Numbers = Mapping[str, float]


class Block(NamedTuple):
    """One figure."""

    title: str
    words: str  # below the title
    alt: str  # what the figure shows, for who cannot see it
    draw: Callable[..., Any]  # of plots/, called with args
    args: tuple[Any, ...]
    heads: Sequence[str]  # of its data
    rows: Iterable[Sequence[str]]


def key_of(title: str) -> str:
    """A title as part of a file's name and of names inside the drawing."""
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in title.lower())
    return "-".join(part for part in plain.split("-") if part)[:60] or "figure"


def figure(block: Block, *, around: Callable[[Drawing], Html] | None = None) -> Html:
    """The figure in a page; around puts more about the drawing."""
    key = key_of(block.title)
    drawn = drawing(block.draw, *block.args, alt=block.alt, key=key)
    words = element("p", block.words) if block.words else None
    # Its script shows it; without one it could do nothing.
    name = f"Save as SVG: {block.title}"
    save = element(
        "button",
        "Save as SVG",
        type="button",
        data_save=f"{key}.svg",
        aria_label=name,
        hidden=True,
    )
    data = element(
        "details",
        element("summary", f"Data: {block.title}"),
        table(block.title, block.heads, block.rows),
    )
    return element(
        "figure",
        element("figcaption", element("h3", block.title), words),
        around(drawn) if around else drawn.svg,
        save,
        data,
    )


def scores(title: str, words: str, rows: Mapping[str, Scores]) -> Block:
    """Model, null, linear model and ceiling on a line for each name."""
    labels = short(rows)
    lines = [
        plots.Scored(
            labels[name],
            s.single_trial,
            s.single_trial_interval,
            s.null,
            s.linear,
            s.linear_interval,
            s.ceiling,
        )
        for name, s in rows.items()
    ]
    each = (f"{name} {s.single_trial:.3f}" for name, s in list(rows.items())[:12])
    alt = f"{title}: single-trial correlations of the model. {'; '.join(each)}."
    heads = ["of", *tables.COLUMNS.values(), "linear 95 %", "fraction 95 %"]
    more = ("linear_interval", "fraction_of_ceiling_interval")
    data = [[*s.cells(name), *map(s.cell, more)] for name, s in rows.items()]
    return Block(title, words, alt, plots.scores, (lines,), heads, data)


LEARNED = {
    "loss": "loss of training",
    "correlation": "correlation on training windows",
    "score": "score of validations",
}
SPENT = {"data_wait": "share of time waiting for data", "samples_per_s": "windows/s"}


def over_steps(
    title: str,
    words: str,
    logs: Mapping[str, Sequence[Numbers]],
    what: Mapping[str, str],
) -> Block | None:
    """What logs say, a panel for each key; None where they say nothing of it."""
    labels = short(logs)
    panels: dict[str, dict[str, plots.Series]] = {}
    rows = []
    for name, log in logs.items():
        for key, label in what.items():
            points = [(x["step"], x[key]) for x in log if key in x]
            if points:
                steps, values = zip(*points, strict=True)
                panels.setdefault(label, {})[labels[name]] = (steps, values)
        known = [x for x in log if any(key in x for key in what)]
        for x in _some(known):
            numbers = [cell(x.get(key), 4) for key in what]
            rows.append([f"{x['step']:.0f}", *[name] * (len(logs) > 1), *numbers])
    if not panels:
        return None
    ends = [
        f"{label} from {lines[n][1][0]:.4g} to {lines[n][1][-1]:.4g}"
        + (f" ({n})" if len(logs) > 1 else "")
        for label, lines in panels.items()
        for n in lines
    ]
    heads = ["step", *["run"] * (len(logs) > 1), *what.values()]
    alt = f"{title} over steps: {'; '.join(ends)}."
    return Block(title, words, alt, plots.over_steps, (panels,), heads, rows)


def _some(items: Sequence[Any], most: int = 200) -> list[Any]:
    """At most so many, evenly."""
    at = np.unique(np.linspace(0, len(items) - 1, min(most, len(items))).astype(int))
    return [items[i] for i in at]


def traces(shown: Sequence[Trace], time: Time) -> Block:
    """Recorded and predicted responses of some neurons."""
    labels = short(dict.fromkeys(t.neuron.mouse for t in shown))
    lines = []
    for t in shown:
        who = f"{t.neuron.rank}: {cut(labels[t.neuron.mouse], 11)} {t.neuron.unit}"
        words = f"{who}, r {t.neuron.correlation:.2f}"
        lines.append(plots.Trace(words, t.recorded_t, t.predicted_t, t.starts))
    title = "Predicted and recorded responses"
    every = "; ".join(line.title for line in lines)
    alt = f"{title} over time of the neurons {every}."
    words = (
        "Neurons of all mice that are predicted best, middling and worst: the mouse, "
        "the unit's id, and r, the correlation with single trials over the whole tier."
    )
    heads = [time.unit]
    for t in shown:
        name = f"{t.neuron.rank} {t.neuron.mouse} {t.neuron.unit}"
        heads += [f"{name} recorded", f"{name} predicted"]
    pairs = [x_t for t in shown for x_t in (t.recorded_t, t.predicted_t)]
    rows = _over_time(pairs, time)
    args = (lines, time.rate, time.unit)
    return Block(title, words, alt, plots.traces, args, heads, rows)


def _over_time(columns: Sequence[np.ndarray], time: Time) -> list[list[str]]:
    longest = max(map(len, columns))
    digits = 2 if time.unit == "seconds" else 0
    return [
        [f"{t / time.rate:.{digits}f}"]
        + [f"{x[t]:.3f}" if t < len(x) else "" for x in columns]
        for t in range(longest)
    ]


def clip(shown: Clip, time: Time) -> Html:
    """A clip that plays, above the response of the population."""
    sheet = frames.sheet(shown.frames)
    count = shown.recorded_tn.shape[1]
    title = "The population's response to a clip"
    means = [shown.recorded_tn.mean(1), shown.predicted_tn.mean(1)]
    first, second = means
    alike: Any = np.corrcoef(first, second) if np.ptp(means, 1).all() else np.eye(2)
    together = float(alike[0, 1])
    words = (
        f"{shown.mouse}: its {count} best predicted neurons, the best on top, each "
        "from zero (dark) to its 98th percentile (bright). A line marks the frame."
    )
    alt = (
        f"Responses of {count} neurons of {shown.mouse} over {sheet.frames} frames, "
        f"recorded and predicted; their means correlate by {together:.2f}."
    )
    block = Block(
        title,
        words,
        alt,
        plots.population,
        (shown.recorded_tn, shown.predicted_tn, time.rate, time.unit),
        [time.unit, "mean recorded", "mean predicted"],
        _over_time(means, time),
    )
    return figure(block, around=lambda drawn: _player(drawn, sheet, time))


def _player(drawn: Drawing, sheet: frames.Sheet, time: Time) -> Html:
    """Film, controls and the drawing with a line at the present frame."""
    pace = time.rate if time.unit == "seconds" else PACE
    pace = SLIDES if time.unit == plots.PICTURES else pace
    size = f"{100 * sheet.columns}% {100 * sheet.lines}%"
    style = (
        f"aspect-ratio: {sheet.width} / {sheet.height}; background-size: {size}; "
        f"background-image: url({sheet.url})"
    )
    film = element("div", role="img", class_="film", style=style, aria_label="The clip")
    last = {"min": 0, "max": sheet.frames - 1, "value": 0, "step": 1}
    controls = element(
        "div",
        element("button", "Play", type="button", class_="play"),
        element("input", type="range", aria_label="Frame of the clip", **last),
        element("output", ""),
        class_="controls",
        hidden=True,
    )
    at = f"left: {100 * drawn.left:.2f}%; top: {100 * drawn.top:.2f}%; "
    at += f"bottom: {100 * (1 - drawn.bottom):.2f}%"
    head = element("div", class_="head", style=at)
    return element(
        "div",
        film,
        controls,
        element("div", drawn.svg, head, class_="timed"),
        class_="player",
        data_frames=sheet.frames,
        data_columns=sheet.columns,
        data_lines=sheet.lines,
        data_rate=f"{time.rate:g}",
        data_unit=time.unit,
        data_pace=f"{pace:g}",
        data_left=f"{drawn.left:.4f}",
        data_right=f"{drawn.right:.4f}",
    )


def placed(one: Placed) -> Block:
    """Where readouts of a mouse read, over cortex where that is known."""
    some = len(one.units_n) < one.neurons
    count = f"{len(one.units_n)} of its {one.neurons}" if some else "its"
    spread = ", ".join(f"{x:.2f}" for x in one.read_n2.std(0))
    title = f"Readout positions of {cut(printable(one.mouse), 24)}"
    words = (
        f"{one.mouse}: where {count} neurons read the core's maps, from -1 at the left "
        "and upper edge to 1 at the right and lower one."
    )
    alt = f"{title}: their spread (SD) from left to right and down is {spread}."
    heads = ["unit", "reads at x", "reads at y"]
    rows = [[str(int(u))] for u in one.units_n]
    columns = one.read_n2
    digits = (3, 3)
    draw, args = plots.over_screen, (one.read_n2,)
    if one.coordinates_n3 is not None:
        heads += ["cortex x (µm)", "cortex y (µm)", "cortex z (µm)"]
        columns, digits = np.hstack([columns, one.coordinates_n3]), (3, 3, 1, 1, 1)
        draw, args = plots.over_cortex, (one.read_n2, one.coordinates_n3)
        words += " In a mouse whose map is smooth, colors change smoothly over cortex."
    for row, values in zip(rows, columns, strict=True):
        row += [f"{v:.{d}f}" for v, d in zip(values, digits, strict=True)]
    return Block(title, words, alt, draw, args, heads, rows)


def fields(shown: Sequence[Field]) -> Block:
    """Receptive fields of the linear model."""
    title = "Linear receptive fields"
    words = (
        "Weights of the linear model at their strongest time, of the neurons that it "
        "predicts best: red is excited by light, blue by dark."
    )
    who = [f"{f.neuron.mouse} unit {f.neuron.unit}" for f in shown]
    at = [f"({f.center_2[0]:.1f}, {f.center_2[1]:.1f})" for f in shown]
    pairs = "; ".join(f"{w} at {a}" for w, a in zip(who, at, strict=True))
    alt = f"{title} in pixels (x, y) of the frame: {pairs}."
    titles = [f"unit {f.neuron.unit}\nr {f.neuron.correlation:.2f}" for f in shown]
    maps = np.stack([f.map_hw for f in shown])
    heads = ["neuron", "center (x, y), pixels", "linear model's correlation"]
    numbers = [f"{f.neuron.correlation:.3f}" for f in shown]
    rows = list(map(list, zip(who, at, numbers, strict=True)))
    return Block(title, words, alt, plots.fields, (maps, titles), heads, rows)


def excited(shown: Sequence[Excited]) -> Block:
    """Most exciting stimuli of some neurons."""
    title = "Most exciting stimuli"
    films = max(e.frames for e in shown) > 1
    words = (
        "What drives the model's neurons most among stimuli of one contrast (sensorium "
        "mei)" + (", at the frame with the most contrast" if films else "") + ". The "
        "numbers are the model's rates to grey and to the stimulus."
    )
    who = [f"{e.neuron.mouse} unit {e.neuron.unit}" for e in shown]
    pairs = [(f"{e.blank:.2f}", f"{e.response:.2f}") for e in shown]
    said = (f"{w} from {a} to {b}" for w, (a, b) in zip(who, pairs, strict=True))
    alt = f"{title}: the model's rate to grey and to them: {'; '.join(said)}."
    titles = [
        f"unit {e.neuron.unit}\n{a} → {b}"
        for e, (a, b) in zip(shown, pairs, strict=True)
    ]
    maps = np.stack([e.frame_hw for e in shown])
    heads = ["neuron", "rate to grey", "rate to the stimulus", "correlation", "frames"]
    rows = [
        [w, *pair, cell(e.neuron.correlation), str(e.frames)]
        for w, pair, e in zip(who, pairs, shown, strict=True)
    ]
    args = (maps, titles, "gray")
    return Block(title, words, alt, plots.fields, args, heads, rows)


def by_model(
    title: str, words: str, models: Mapping[str, Mapping[str, Scores]], what: str
) -> Block | None:
    """One number of several models with its interval, on lines for mice or types."""
    names = list(dict.fromkeys(name for rows in models.values() for name in rows))
    labels, runs = short(names), short(models)
    values = {
        runs[model]: [_with_interval(rows.get(name), what) for name in names]
        for model, rows in models.items()
    }
    if not any(v for column in values.values() for v in column):
        return None
    heads = ["of", *(f"{m} {end}".strip() for m in models for end in ("", "95 %"))]
    rows = []
    for name in names:
        each = [of.get(name) for of in models.values()]
        keys = (what, f"{what}_interval")
        rows.append(
            [name, *("-" if s is None else s.cell(k) for s in each for k in keys)]
        )
    alt = f"{title}: " + "; ".join(
        f"{name}: " + ", ".join(f"{m} {_first(v[i])}" for m, v in values.items())
        for i, name in enumerate(names[:12])
    )
    args = ([labels[n] for n in names], values, what.replace("_", " "))
    return Block(title, words, alt, plots.side_by_side, args, heads, rows)


def _with_interval(scores: Scores | None, what: str):
    value = None if scores is None else getattr(scores, what)
    if value is None:
        return None
    return value, getattr(scores, f"{what}_interval")


def _first(value: Any) -> str:
    return "unknown" if value is None else f"{value[0]:.3f}"


def differences(of: Runs) -> list[list[str]]:
    """Rows of a table: every run against the first, tier by tier."""
    rows = []
    for tier, others in of.against.items():
        for name, c in others.items():
            low, high = c.difference_interval
            between = f"{low:+.4f} to {high:+.4f}"
            share = f"{c.neurons_better:.0%}"
            rows.append(
                [tier, name, f"{c.difference:+.4f}", between, f"{c.p:.3g}", share]
            )
    return rows


def grid(blocks: Iterable[Block | Html | None]) -> Html:
    """Figures beside each other where there is room."""
    parts = [b if isinstance(b, Html) else figure(b) for b in blocks if b is not None]
    return element("div", join(parts), class_="figures")
