"""Cells of a few discrete groups: one filter for each group, and a little scatter.

Which filters there are is a matter of the seed alone, so mice of one world share their
groups. The filters of the groups are apart: bases take turns, and of many candidates of
a base that one is chosen which is least like those before. All fields lie on the
screen's middle.
"""

from functools import lru_cache

import numpy as np

from sensorium_jax.simulation.cortex import filters, neurons as cortex
from sensorium_jax.simulation.cortex.neurons import Neurons
from sensorium_jax.simulation.draws import generator

FEWEST, MOST = 8, 12  # groups
SMALLEST = 20  # neurons in a group
CANDIDATES = 24  # of each base
SIDE = 36  # pixels of the frame on which filters are compared
TURNS = 12  # orientations at which filters of turned cells are compared
BASES = ("simple", "complex", "on", "off")
# What the groups are, in the order in which they are chosen.
TURN = (*("complex", "simple", "on", "off"), *4 * ("complex", "simple"))
# SD of the scatter within a group: radians, or shares of a length.
SCATTER = {"orientation": 0.05, "phase": 0.1, "wavelength": 0.03, "sigma": 0.03}


def draw(seed: int, mouse: int, count: int, *, turned: bool = False) -> Neurons:
    """Draw the cells of one mouse; `kind` names the group of each.

    turned: every cell has an orientation of its own, and groups differ in what is left.
    """
    chosen = groups(seed, turned=turned)
    rng = generator(seed, "types", mouse)
    which = rng.permutation(np.repeat(np.arange(chosen.cells), sizes(chosen, count)))
    same = filters.take(chosen, which)
    own = cortex.draw(seed, mouse, count, centered=True)
    scatter = {k: rng.normal(0, sd, count) for k, sd in SCATTER.items()}
    angle = same.orientation + scatter["orientation"]
    if turned:
        angle = rng.uniform(0, 2 * np.pi, count)
    return own._replace(
        kind=same.kind,
        wavelength=same.wavelength * np.exp(scatter["wavelength"]),
        sigma=same.sigma * np.exp(scatter["sigma"]),
        aspect=same.aspect,
        orientation=angle,
        phase=same.phase + scatter["phase"],
        polarity=same.polarity,
        complexity=same.complexity,
        direction=same.direction,
        speed=same.speed,
        surround=same.surround,
        pool_weight=same.pool_weight,
    )


def sizes(chosen: Neurons, count: int) -> np.ndarray:
    """Neurons of each group: unequal, the smallest as small as a group may be."""
    g = chosen.cells
    smallest = min(SMALLEST, count // g)
    edges = np.cumsum(np.arange(g)) / max(g * (g - 1) / 2, 1)
    upto = smallest * np.arange(1, g + 1) + (edges * (count - smallest * g)).round()
    return np.diff(upto.astype(int), prepend=0)


@lru_cache(maxsize=8)
def groups(seed: int, *, turned: bool = False) -> Neurons:
    """One cell of each group, without scatter."""
    rng = generator(seed, "groups")
    number = int(rng.integers(FEWEST, MOST + 1))
    every = _candidates(rng, seed, turned)
    alike_cc = alike(every, TURNS if turned else 1)
    chosen: list[int] = []
    for base in TURN[:number]:
        most = alike_cc[chosen].max(0, initial=-1.0)
        chosen.append(int(np.where(every.kind == base, most, np.inf).argmin()))
    some = filters.take(every, chosen)
    names = [f"{kind} {i}" for i, kind in enumerate(some.kind)]
    return some._replace(kind=np.array(names))


def _candidates(rng: np.random.Generator, seed: int, turned: bool) -> Neurons:
    """Cells of every base, in turn; their place in the frame is the middle."""
    n = CANDIDATES * len(BASES)
    base = np.array(BASES)[np.arange(n) % len(BASES)]
    plain = np.isin(base, ("on", "off"))
    wavelength = np.exp(rng.uniform(np.log(6), np.log(20), n))
    like = cortex.draw(seed, 0, n, centered=True)
    return like._replace(
        kind=base,
        wavelength=wavelength,
        sigma=wavelength * rng.uniform(0.35, 0.5, n),
        aspect=rng.uniform(0.6, 1.0, n),
        orientation=np.zeros(n) if turned else rng.uniform(0, 2 * np.pi, n),
        phase=rng.uniform(0, 2 * np.pi, n),
        polarity=np.where(plain, np.where(base == "on", 1.0, -1.0), 0.0),
        complexity=(base == "complex").astype(float),
        direction=np.zeros(n),
        speed=np.full(n, 32.0),
        surround=np.zeros(n),
        pool_weight=np.full(n, 1.0),
    )


def alike(cells: Neurons, turns: int = 1) -> np.ndarray:
    """How much the best stimulus of either of two cells drives the other, [C, C].

    The larger of both ways, 1 for the same cell; with turns it is the largest of so
    many orientations of one of them.
    """
    middle = np.full((cells.cells, 2), (SIDE - 1) / 2)
    most = np.full((cells.cells,) * 2, -1.0)
    first = _bases(cells._replace(center_n2=middle))
    for turn in 2 * np.pi * np.arange(turns) / turns:
        angle = cells.orientation + turn
        other = _bases(cells._replace(center_n2=middle, orientation=angle))
        most = np.maximum(most, _drives(first, other, cells.complexity > 0))
    return np.maximum(most, most.T)


def _bases(cells: Neurons) -> np.ndarray:
    """Both filters of each cell, the second at right angles to the first, [2, C, P]."""
    built = filters.build(cells, SIDE, SIDE)
    even, odd = built.even_np, built.odd_np
    odd = odd - even * (even * odd).sum(1, keepdims=True)
    size = np.linalg.norm(odd, axis=1, keepdims=True)
    return np.stack([even, odd / np.maximum(size, 1e-6)])


def _drives(first: np.ndarray, other: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """How far the best stimuli of the one (rows) drive the others (columns)."""
    dot = np.einsum("icp,jdp->cdij", first, other)
    # A cell of energies may be shown any mixture of its two filters; what adds energies
    # up answers to the length of a projection, a linear cell to its sign too.
    square = (dot**2).sum((-2, -1))
    twice = 2 * np.linalg.det(dot)
    # The largest singular value of a 2 x 2 matrix.
    pair = np.sqrt((square + np.sqrt(np.maximum(square**2 - twice**2, 0))) / 2)
    to_linear = np.linalg.norm(dot[..., :, 0], axis=-1)
    to_energy = np.linalg.norm(dot[..., 0, :], axis=-1)
    own, theirs = energy[:, None], energy[None]
    linear = np.where(theirs, to_energy, dot[..., 0, 0])
    return np.where(own, np.where(theirs, pair, to_linear), linear)
