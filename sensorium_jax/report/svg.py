"""A figure as SVG inside a page: its colors follow the page's, its words stay words."""

import io
import re
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import matplotlib as mpl

from sensorium_jax.plots import runs
from sensorium_jax.report.html import Html, element

OTHERS = ("green", "violet", "ink", "gold", "pink", "muted")
COLORS = {  # of figures -> names that the page gives them
    runs.INK: "ink",
    runs.MUTED: "muted",
    runs.RULE: "rule",
    runs.MODEL: "model",
    runs.LINEAR: "linear",
    **dict(zip(runs.OTHERS[2:], OTHERS, strict=True)),
}


class Drawing(NamedTuple):
    """A figure as it stands in a page."""

    svg: Html
    left: float  # of its first axes, as shares of the whole width and height
    right: float
    top: float
    bottom: float  # of its last axes


def drawing(draw: Callable[..., Any], *args: Any, alt: str, key: str) -> Drawing:
    """What a function of plots/ draws of its arguments.

    key is the figure's own on its page, since parts of a drawing are referred to by
    names that must not meet.
    """
    words = io.StringIO()
    style: dict[Any, Any] = {**runs.STYLE, "svg.hashsalt": key}
    with mpl.rc_context(style), warnings.catch_warnings():
        # Names may hold letters that the font lacks; browsers have others.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure = draw(*args)
        figure.savefig(words, format="svg", metadata={"Date": None})
        first, last = (figure.axes[i].get_position() for i in (0, _last(figure)))
    return Drawing(
        Html(_inline(words.getvalue(), alt)),
        *map(float, (first.x0, first.x1, 1 - first.y1, 1 - last.y0)),
    )


def _last(figure: Any) -> int:
    """The lowest axes."""
    return min(range(len(figure.axes)), key=lambda i: figure.axes[i].get_position().y0)


def _inline(svg: str, alt: str) -> str:
    """The SVG without what only a file of its own needs."""
    start = svg.index("<svg")
    head, _, body = svg[start:].partition(">")
    box = re.search(r'viewBox="([\d. ]+)"', head)
    assert box is not None
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    body = re.sub(r"<defs>\s*<style .*?</style>\s*</defs>", "", body, flags=re.S)
    body = re.sub(r'<g id="[^"]*"', "<g", body).replace("xlink:href", "href")
    body = re.sub(r"\b(fill|stroke): (#[0-9a-f]{6})", _color, body)
    body = body.removesuffix("\n").removesuffix("</svg>")
    lines = "stroke-linejoin: round; stroke-linecap: butt"
    # Upper case as in viewBox is kept in HTML.
    options: dict[str, Any] = {"viewBox": box[1], "style": lines, "role": "img"}
    inside = re.sub(r"\n\s*", "\n", body)
    return element("svg", Html(inside), **options, aria_label=alt).text


def _color(match: re.Match[str]) -> str:
    what, color = match.groups()
    name = COLORS.get(color)
    return f"{what}: var(--{name}, {color})" if name else match[0]
