"""Perceptual hashes of films, equal to those that DwiseNeuro's folds come from.

A frame's hash: shrink to 32 x 32 as Pillow's Lanczos filter does on 8-bit images, take
the cosine transform, and mark which of its 8 x 8 lowest terms exceed their median
(Zauner 2010). A film's hash: those of five frames, exclusive-or'ed.
"""

from functools import cache, reduce
from operator import xor

import numpy as np

SIDE, TERMS, SUPPORT = 32, 8, 3.0
FRAMES = 5
BITS = 22  # fixed-point precision of Pillow's 8-bit filter weights


def looked_at(length: int) -> slice:
    """The five frames of a film that make its hash; of shorter films every one."""
    step = max(length // FRAMES, 1)
    seen = range(step // 2, length, step)[:FRAMES]
    return slice(seen.start, seen.stop, seen.step)


def film_hash(seen_thw: np.ndarray) -> int:
    """64-bit hash of a film without padding, from the frames that are looked at."""
    return reduce(xor, map(frame_hash, seen_thw), 0)


def frame_hash(frame_hw: np.ndarray) -> int:
    """64-bit hash of one frame of grey levels 0..255; fractions are cut off."""
    small = shrink(frame_hw.astype(np.uint8))
    low = _cosines() @ small.astype(np.float64) @ _cosines().T
    # Terms that vanish by symmetry must not differ by rounding noise.
    low = np.round(low, 6)
    bits = (low > np.median(low)).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def shrink(frame_hw: np.ndarray) -> np.ndarray:
    """Resize 8-bit [h, w] to 32 x 32: along rows first, rounded in between.

    The newest Pillow takes tall frames the other way round; the releases' are wide.
    """
    wide = _filter(frame_hw.T, _weights(frame_hw.shape[1])).T
    return _filter(wide, _weights(frame_hw.shape[0]))


def _filter(x: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    if weights is None:
        return x
    total = weights @ x.astype(np.int64) + (1 << (BITS - 1))
    return np.clip(total >> BITS, 0, 255).astype(np.uint8)


@cache
def _weights(size: int) -> np.ndarray | None:
    """Fixed-point Lanczos weights [32, size]; None where nothing changes."""
    if size == SIDE:
        return None
    scale = size / SIDE
    stretch = max(scale, 1.0)
    weights = np.zeros((SIDE, size), np.int64)
    for i in range(SIDE):
        center = (i + 0.5) * scale
        first = max(int(center - SUPPORT * stretch + 0.5), 0)
        last = min(int(center + SUPPORT * stretch + 0.5), size)
        x = (np.arange(first, last) - center + 0.5) / stretch
        w = np.where(np.abs(x) < SUPPORT, np.sinc(x) * np.sinc(x / SUPPORT), 0.0)
        w = w / w.sum() * (1 << BITS)
        weights[i, first:last] = np.trunc(w + np.copysign(0.5, w))
    return weights


@cache
def _cosines() -> np.ndarray:
    """The lowest rows of the cosine transform (type II), [8, 32]."""
    k, n = np.arange(TERMS)[:, None], np.arange(SIDE)
    return 2 * np.cos(np.pi * k * (2 * n + 1) / (2 * SIDE))
