"""Words of a figure that nobody can read."""

import io
import itertools

from matplotlib.backends.backend_svg import RendererSVG
from matplotlib.text import Text


def overlaps(figure):
    """Words that are cut off or lie over others, of a figure that was drawn."""
    # What draws SVG knows how wide its words are; pixels would round them up.
    draw = RendererSVG(*figure.bbox.size, io.StringIO(), image_dpi=72)
    hidden = [
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        for label in (tick.label1, tick.label2)  # a color bar has the second one
        if not axes.axison
        or not min(axis.get_view_interval()) - 1e-9
        <= tick.get_loc()
        <= max(axis.get_view_interval()) + 1e-9
    ]
    words = [t for t in figure.findobj(Text) if t.get_text() and t.get_visible()]
    boxes = [
        (t.get_text(), t.get_window_extent(draw)) for t in words if t not in hidden
    ]
    frame = figure.bbox.padded(2)
    bad = [
        word
        for word, b in boxes
        if not (frame.contains(b.x0, b.y0) and frame.contains(b.x1, b.y1))
    ]
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        wide = min(a.x1, b.x1) - max(a.x0, b.x0)
        high = min(a.y1, b.y1) - max(a.y0, b.y0)
        if wide > 1 and high > 2:
            bad.append(f"{one} / {other}")
    return bad
