"""Elements of HTML, whose every string is escaped unless it is an element already."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from sensorium_jax.text import printable

VOID = ("input", "meta")  # elements without an end


class Html(NamedTuple):
    """Text that is HTML already."""

    text: str


Inside = Html | str | None
Attribute = str | int | float | bool


def element(
    name: str, /, *inside: Inside, **attributes: str | int | float | bool
) -> Html:
    """An element; None is left out. In names of attributes `_` stands for `-`.

    An attribute that is True has no value, one that is False is left out.
    """
    words = ""
    for key, value in attributes.items():
        key = key.strip("_").replace("_", "-")
        if value is True:
            words += f" {key}"
        elif value is not False:
            words += f' {key}="{escape(printable(str(value)))}"'
    if name in VOID:
        return Html(f"<{name}{words}>")
    return Html(f"<{name}{words}>{join(inside).text}</{name}>")


def join(parts: Iterable[Inside]) -> Html:
    """Several parts, one after the other."""
    return Html("".join(map(_escaped, parts)))


def _escaped(part: Inside) -> str:
    if part is None:
        return ""
    return part.text if isinstance(part, Html) else escape(printable(part))


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Html:
    """A table that scrolls by itself where it is wider than the page.

    The first cell of a row is its head.
    """
    lines = []
    for first, *others in rows:
        cells = [element("td", cell) for cell in others]
        lines.append(element("tr", element("th", first, scope="row"), *cells))
    top = element("tr", *(element("th", head, scope="col") for head in heads))
    inside = element(
        "table",
        element("caption", caption),
        element("thead", top),
        element("tbody", *lines),
    )
    # Whoever has no mouse scrolls what has the focus.
    about = {"tabindex": 0, "role": "region", "aria_label": caption}
    return element("div", inside, class_="scroll", **about)
