"""What kind of stimulus a clip is, from its pixels alone; the release does not say.

Four questions of structure decide: do frames hold still between jumps, how much of a
frame is bare ground, along how many orientations and frequencies lies its power, and
does power fall with frequency as in natural scenes. Whoever fits none gets no label.
"""

from typing import NamedTuple

import numpy as np

KINDS = (
    "natural_movie",
    "natural_images",
    "drifting_gabor",
    "pink_noise",
    "random_dots",
    "gaussian_dots",
)
ROWS = 36  # larger frames are averaged down to about this many rows
LEAST = 8  # pixels a side; fewer show no structure that would tell kinds apart
LOOKS = 32  # frames whose spectrum is taken
BAND = (0.03, 0.3)  # cycles per pixel
FAINT = 1.0  # grey levels of SD below which a clip is blank


class Features(NamedTuple):
    """What is measured of a clip."""

    contrast: float  # SD of all pixels, grey levels
    held: float  # 0 moves ... 1 stands still between jumps
    jumps: int  # abrupt changes
    follows: float  # correlation of a frame with the next, away from jumps
    bare: float  # share of the picture at the level of the ground
    oriented: float  # 0 all orientations ... 1 one
    narrow: float  # share of whitened power around its peak
    slope: float  # exponent of power against frequency
    kurtosis: float  # of pixels within a frame; 1 for two levels


class Guess(NamedTuple):
    """A label, or None where nothing fits, and how well each kind fits (0..1)."""

    label: str | None
    confidence: float
    fits: dict[str, float]
    features: Features


def classify(video_thw: np.ndarray, *, least: float = 0.5) -> Guess:
    """Label one clip [T, H, W] of grey levels 0..255 (a last axis of one is dropped).

    Frames after the first that holds a NaN are ignored. The confidence is the fit of
    the best kind less that of the runner-up, halved; below `least` there is no label,
    nor where a frame has fewer than LEAST pixels a side.
    """
    video_thw = np.asarray(video_thw, np.float32)
    if video_thw.ndim == 4:
        video_thw = video_thw[..., 0]
    gap = np.isnan(video_thw).any((1, 2))
    video_thw = video_thw[: int(gap.argmax())] if gap.any() else video_thw
    measured = features(video_thw)
    fits = _fits(measured)
    (best, second) = sorted(fits.values(), reverse=True)[:2]
    label = max(fits, key=lambda k: fits[k])
    confidence = best * (1 - 0.5 * second / max(best, 1e-9))
    return Guess(label if confidence >= least else None, confidence, fits, measured)


def features(video_thw: np.ndarray) -> Features:
    """Measure the structure of one clip [T, H, W], free of NaN."""
    step = max(1, round(video_thw.shape[1] / ROWS))
    if step > 1:
        t, h, w = video_thw.shape
        cut = video_thw[:, : h // step * step, : w // step * step]
        blocks = cut.reshape(t, h // step, step, w // step, step)
        video_thw = blocks.mean((2, 4))
    contrast = float(video_thw.std()) if video_thw.size else 0.0
    if contrast < FAINT or min(video_thw.shape[1:]) < LEAST:
        return Features(contrast, 0, 0, 0, 1, 0, 0, 0, 0)
    smooth_thw = _box(video_thw)
    starts, held, follows = _stillness(smooth_thw)
    states = [video_thw]
    if held > 0.5:  # averaging what stands still leaves little noise
        states = [s.mean(0, keepdims=True) for s in np.split(video_thw, starts[1:])]
    states_shw = np.concatenate(states)
    spread = states_shw.std((1, 2))
    if spread.max() < FAINT:  # the whole screen brightens and darkens
        return Features(float(spread.max()), held, 0, follows, 1, 0, 0, 0, 0)
    shown_shw = states_shw[spread > 0.3 * spread.max()]
    pick = np.unique(np.linspace(0, len(shown_shw) - 1, LOOKS).astype(int))
    shown_shw = shown_shw[pick]
    oriented, narrow, slope = _spectrum(shown_shw)
    centered = shown_shw - shown_shw.mean((1, 2), keepdims=True)
    fourth = (centered**4).mean((1, 2)) / (centered**2).mean((1, 2)) ** 2
    ground = float(np.median(states_shw))
    bare = _bare(shown_shw, ground)
    kurtosis = float(np.median(fourth))
    return Features(
        contrast,
        held,
        len(starts) - 1,
        follows,
        bare,
        oriented,
        narrow,
        slope,
        kurtosis,
    )


def _box(video_thw):
    """Means of 3 x 3 pixels, edges repeated."""
    padded = np.pad(video_thw, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]) / 9


def _stillness(video_thw):
    """Where pieces begin, how still they stand, and how a frame follows the last."""
    if len(video_thw) < 2:
        return [0], 1.0, 1.0
    change = ((video_thw[1:] - video_thw[:-1]) ** 2).mean((1, 2))
    usual = float(np.median(change))
    jump = change > max(0.1 * float(change.max()), 6 * usual, 1e-6)
    starts = [0, *(np.flatnonzero(jump) + 1).tolist()]
    drift, steps = [], []
    for piece, stop in zip(starts, [*starts[1:], len(video_thw)], strict=True):
        if stop - piece >= 4:
            drift.append(_drift(video_thw[piece:stop]))
            steps.append(change[piece : stop - 1].mean())
    # Between two frames that differ by noise alone, time makes no difference.
    noise = 0.02  # grey levels squared: rounding
    ratio = [(d + noise) / (s + noise) for d, s in zip(drift, steps, strict=True)]
    still = float(np.median(ratio)) if ratio else 10.0
    held = _above(-still, -1.4, 0.08)
    variance = float((video_thw - video_thw.mean(0)).var()) + 1e-6
    follows = 1 - float(np.median(change[~jump])) / (2 * variance)
    return starts, held, follows


def _drift(piece_thw):
    """The largest change from the first frame; what drifts in circles comes back."""
    later = np.linspace(1, len(piece_thw) - 1, 8).astype(int)
    return ((piece_thw[np.unique(later)] - piece_thw[:1]) ** 2).mean((1, 2)).max()


def _spectrum(shown_shw):
    """Concentration in orientation and frequency of single frames; slope of all."""
    _, height, width = shown_shw.shape
    window = np.hanning(height)[:, None] * np.hanning(width)
    centered = shown_shw - shown_shw.mean((1, 2), keepdims=True)
    power = np.abs(np.fft.fft2(centered * window)) ** 2
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :]
    radius = np.hypot(fy, fx)
    floor = np.median(power[:, radius > 0.42], axis=1)[:, None, None]
    clean = np.maximum(power - 1.5 * floor, 0)
    inside = (radius >= BAND[0]) & (radius <= BAND[1])
    white = np.where(inside, clean * radius**2, 0)
    total = white.sum((1, 2)) + 1e-12
    turn = np.exp(2j * np.arctan2(fy, fx))
    oriented = np.abs((white * turn).sum((1, 2))) / total
    narrow = [_around_peak(w, fy, fx) for w in white] / total
    edges = np.geomspace(*BAND, 8)
    mean = power.mean(0)
    rings = [
        (np.sqrt(a * b), mean[(radius >= a) & (radius < b)])
        for a, b in zip(edges, edges[1:], strict=False)
    ]
    points = np.array([(f, p.mean() + 1e-9) for f, p in rings if p.size])
    frequency, power_of = np.log(points).T
    slope = np.polyfit(frequency, power_of, 1)[0]
    return float(np.median(oriented)), float(np.median(narrow)), float(slope)


def _around_peak(white, fy, fx):
    peak = np.unravel_index(white.argmax(), white.shape)
    py, px = fy[peak[0], 0], fx[0, peak[1]]
    near = np.hypot(fy - py, fx - px) < 0.05
    mirrored = np.hypot(fy + py, fx + px) < 0.05
    return white[near | mirrored].sum()


def _bare(shown_shw, ground):
    away = np.abs(_box(shown_shw) - ground)
    return float((away < 0.2 * np.percentile(away, 99.5)).mean())


def _above(value, threshold, width):
    return float(1 / (1 + np.exp(-np.clip((value - threshold) / width, -30, 30))))


def _fits(f: Features) -> dict[str, float]:
    """How well each kind explains the features: the least of what it asks for."""
    if f.contrast < FAINT:
        return dict.fromkeys(KINDS, 0.0)
    moves = min(1 - f.held, _above(f.follows, 0.25, 0.05))
    flashed = f.held
    bare, fine = _above(f.bare, 0.5, 0.03), _above(f.slope, -1.95, 0.08)
    natural = min(_above(-f.slope, 1.2, 0.1), _above(f.kurtosis, 1.5, 0.08))
    oriented, narrow = _above(f.oriented, 0.6, 0.04), _above(f.narrow, 0.6, 0.04)
    smooth, dots = _above(-f.slope, 2.5, 0.2), min(_above(f.bare, 0.47, 0.03), fine)
    return {
        "natural_movie": min(moves, natural, 1 - oriented, 1 - dots),
        "natural_images": min(flashed, natural, 1 - oriented, 1 - min(bare, smooth)),
        "drifting_gabor": min(moves, oriented, narrow),
        "pink_noise": min(moves, oriented, 1 - narrow, natural),
        "random_dots": min(moves, dots, 1 - oriented),
        "gaussian_dots": min(flashed, bare, smooth),
    }
