"""A population of visual neurons of one mouse: types, fields, gains, as drawn."""

from typing import NamedTuple

import numpy as np

from sensorium_jax.simulation.draws import generator

# Types and their shares.
KINDS = (
    ("simple", 0.27),
    ("complex", 0.21),
    ("ds_simple", 0.10),
    ("ds_complex", 0.13),
    ("on", 0.09),
    ("off", 0.09),
    ("suppressed", 0.06),
    ("mixed", 0.05),
)
NAMES = tuple(name for name, _ in KINDS)
MIDDLE = (31.5, 17.5)  # of a 36 x 64 frame, x and y in pixels
SPAN = 615.0  # micrometres along x and y
DEPTHS = np.linspace(200, 425, 10).astype(int)
CEILING_LAW, CEILING_RANGE = (2.3, 3.5), (0.08, 0.75)


class Neurons(NamedTuple):
    """Everything that defines the cells of one mouse; [N] unless said otherwise."""

    kind: np.ndarray  # str, one of NAMES; or the name of a group, see cortex.types
    coordinates_n3: np.ndarray  # int, micrometres
    center_n2: np.ndarray  # x, y in pixels of a 36 x 64 frame, at mean gaze
    wavelength: np.ndarray  # pixels
    sigma: np.ndarray  # pixels, across the stripes
    aspect: np.ndarray  # sigma across over sigma along
    orientation: np.ndarray  # radians: direction across the stripes, clockwise
    phase: np.ndarray  # radians
    polarity: np.ndarray  # +1 ON, -1 OFF, 0 for cells with stripes
    complexity: np.ndarray  # 0 linear ... 1 energy
    direction: np.ndarray  # -1..1: weight of the second space-time filter
    speed: np.ndarray  # 1/s, of the temporal kernels
    surround: np.ndarray  # 0..1: share of the normalization pool outside the field
    pool_weight: np.ndarray  # strength of divisive normalization
    power: np.ndarray
    threshold: np.ndarray
    base: np.ndarray  # rate without a stimulus
    gain_run: np.ndarray
    gain_dilation: np.ndarray
    shared: np.ndarray  # SD of the log gain that all cells share
    scale: np.ndarray  # response units per event
    ceiling_target: np.ndarray  # single-trial correlation of the true rate, aimed at
    eye_22: (
        np.ndarray
    )  # [2, 2] pixels of field displacement (x, y) per SD of gaze (x, y)
    # What calibration finds:
    mean_energy: np.ndarray
    drive_rms: np.ndarray
    mean_rate: np.ndarray
    events: np.ndarray  # G: events per frame at rate 1

    @property
    def cells(self) -> int:
        """How many cells."""
        return len(self.kind)


def draw(seed: int, mouse: int, count: int, *, centered: bool = False) -> Neurons:
    """Draw the cells of one mouse; calibration constants are still ones.

    With centered every field lies on the screen's center, whatever its place in cortex.
    """
    rng = generator(seed, "neurons", mouse)
    kind = _kinds(rng, count)
    stripes = ~np.isin(kind, ("on", "off"))
    selective = np.char.startswith(kind, "ds_")
    place = rng.uniform(0, SPAN, (count, 2))
    depth = rng.choice(DEPTHS, count)
    middle = np.array(MIDDLE)
    center = middle + _retinotopy(rng, place)
    wavelength = np.clip(rng.lognormal(np.log(11), 0.22, count), 7, 18)
    complexity = np.where(np.isin(kind, ("complex", "ds_complex")), 1.0, 0.0)
    complexity = np.where(kind == "mixed", rng.uniform(0.3, 0.7, count), complexity)
    complexity = np.where(
        kind == "suppressed", rng.integers(0, 2, count).astype(float), complexity
    )
    suppressed = kind == "suppressed"
    one = np.ones(count, np.float32)
    return Neurons(
        kind=kind,
        coordinates_n3=np.column_stack([np.rint(place).astype(int), depth]),
        center_n2=np.tile(middle, (count, 1)) if centered else center,
        wavelength=wavelength,
        sigma=wavelength * rng.uniform(0.28, 0.42, count),
        aspect=rng.uniform(0.6, 1.0, count),
        orientation=rng.uniform(0, 2 * np.pi, count),
        phase=rng.uniform(0, 2 * np.pi, count),
        polarity=np.where(stripes, 0.0, np.where(kind == "on", 1.0, -1.0)),
        complexity=complexity,
        direction=selective * rng.choice([-1, 1], count) * rng.uniform(0.6, 1, count),
        speed=rng.uniform(24, 40, count),
        surround=np.where(suppressed, rng.uniform(0.6, 0.9, count), 0.0),
        pool_weight=np.where(
            suppressed, rng.uniform(2, 4, count), rng.uniform(0.5, 1.5, count)
        ),
        power=rng.uniform(1.1, 1.8, count),
        threshold=rng.uniform(0, 0.5, count),
        base=rng.uniform(0.02, 0.2, count),
        gain_run=rng.normal(0.25, 0.15, count),
        gain_dilation=rng.normal(0.12, 0.12, count),
        shared=rng.uniform(0.15, 0.45, count),
        scale=rng.lognormal(np.log(10), 0.6, count),
        ceiling_target=_ceilings(rng, count),
        eye_22=np.array([[1.2, 0.2], [-0.2, 1.0]]) * rng.uniform(0.8, 1.3),
        mean_energy=one,
        drive_rms=one,
        mean_rate=one,
        events=one,
    )


def _kinds(rng, count):
    """Types in their shares as nearly as the count allows, in random order."""
    edges = np.cumsum([share for _, share in KINDS])
    rank = (rng.permutation(count) + 0.5) / count
    return np.array(NAMES)[np.searchsorted(edges / edges[-1], rank)]


def _retinotopy(rng, place):
    """Field centers [N, 2] in pixels around the screen's center."""
    offset = rng.normal(0, [3, 2])
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    across = (place / (SPAN / 2) - 1) @ turn.T
    return offset + across * [13, 8] + rng.normal(0, 1.2, place.shape)


def _ceilings(rng, count):
    """Stratified draws: small populations have the same spread as large ones."""
    fine = np.linspace(0, 1, 20001)
    a, b = CEILING_LAW
    density = fine ** (a - 1) * (1 - fine) ** (b - 1)
    share = np.cumsum(density) / density.sum()
    rank = (rng.permutation(count) + rng.random(count)) / count
    return np.clip(np.interp(rank, share, fine), *CEILING_RANGE)
