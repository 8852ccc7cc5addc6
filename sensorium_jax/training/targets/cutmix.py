"""CutMix: a box of another film is pasted into each film, and targets are mixed alike.

Yun et al. 2019, https://arxiv.org/abs/1905.04899, as DwiseNeuro has it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Array = Any


class Boxes(NamedTuple):
    """A box of each sample in pixels, ends left out; empty where nothing is pasted."""

    top_b: Array
    bottom_b: Array
    left_b: Array
    right_b: Array


def draw(
    key: Array, samples: int, height: int, width: int, probability: float
) -> Boxes:
    """Boxes of uniform area, anywhere; a sample gets one with that probability."""
    area, used, row, column = (
        jax.random.uniform(jax.random.fold_in(key, use), (samples,)) for use in range(4)
    )
    share = jnp.where(used < probability, area, 0.0)
    middle = jnp.floor(row * height), jnp.floor(column * width)
    return boxes(share, *middle, height, width)


def boxes(share_b: Array, row_b: Array, column_b: Array, height: int, width: int):
    """Boxes of these shares of the frame around these pixels, cut at the borders.

    Their sides are even numbers of pixels.
    """
    side_b = jnp.sqrt(share_b)
    bounds = []
    for middle_b, size in ((row_b, height), (column_b, width)):
        half_b = jnp.floor(side_b * size) // 2
        bounds += [jnp.clip(middle_b + s * half_b, 0, size) for s in (-1, 1)]
    return Boxes(*(b.astype(jnp.int32) for b in bounds))


def area(box: Boxes, height: int, width: int) -> Array:
    """Share of the frame that each box really covers, [B]."""
    pixels_b = (box.bottom_b - box.top_b) * (box.right_b - box.left_b)
    return pixels_b / (height * width)


def paste(x_bthwc: Array, other_bthwc: Array, box: Boxes) -> Array:
    """Films with the box of the other film in all frames and channels."""
    row_1h, column_1w = (jnp.arange(n)[None] for n in x_bthwc.shape[2:4])

    def within(at: Array, first_b: Array, end_b: Array) -> Array:
        return (at >= first_b[:, None]) & (at < end_b[:, None])

    rows_bh = within(row_1h, box.top_b, box.bottom_b)
    columns_bw = within(column_1w, box.left_b, box.right_b)
    inside_bhw = rows_bh[:, :, None] & columns_bw[:, None, :]
    return jnp.where(inside_bhw[:, None, :, :, None], other_bthwc, x_bthwc)


def mix(y_btn: Array, other_btn: Array, area_b: Array) -> Array:
    """Targets of both films, each by the share of the frame that is its own."""
    share = area_b[:, None, None]
    return (1 - share) * y_btn + share * other_btn
