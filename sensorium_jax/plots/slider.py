"""A slider under a figure in a notebook."""

from collections.abc import Callable
from typing import Any

from matplotlib.figure import Figure


def slider(draw: Callable[..., Figure], **counts: int) -> Any:
    """Show draw(name=value) with a slider for each name, from 0 up to its count.

    Without ipywidgets the figure of the first values is shown, and how to get sliders.
    """
    try:
        from ipywidgets import interact
    except ImportError:
        print("For a slider: pip install 'sensorium-jax[colab]', and restart.")
        return draw(**dict.fromkeys(counts, 0))
    ranges = {name: (0, count - 1) for name, count in counts.items()}
    # `interact` answers with the function, which a cell would print.
    interact(draw, **ranges)
    return None
