"""Neurons whose rates are a formula, asked like any twin, and true ones in few."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.insilico import batches
from sensorium_jax.rules import RELEASES
from sensorium_jax.simulation.cortex import filters, rates, truth
from sensorium_jax.simulation.cortex.neurons import draw
from sensorium_jax.simulation.cortex.rates import Truth

GREY, UNIT = 120.0, 40.0


@pytest.fixture(autouse=True, scope="module")
def one_device():
    """For whole modules of tests: programs for one device compile in half the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "devices", lambda: jax.local_devices()[:1])
        yield


class Cells(NamedTuple):
    """Simple cells relu(even . z), complex ones |(even, odd) . z|, then a flat one.

    z is the picture in units of contrast. Simple and complex cells are the same Gabors.
    """

    even_nhw: np.ndarray
    odd_nhw: np.ndarray
    about: list  # of each pair: x, y, orientation, frequency, sigma
    mice: tuple = ("made",)
    raw: tuple = ("video",)
    behaviors: int = 1

    @property
    def frame_shape(self):
        return (*self.even_nhw.shape[1:], 1)

    @property
    def neurons(self):
        return (2 * len(self.even_nhw) + 1,)

    def light(self, mouse):
        return GREY, UNIT

    def respond(
        self, video_bthwc, behavior_btk=None, pupil_bt2=None, mouse=0, first_frame_b=0
    ):
        """Rates [B, T, N]; each frame by itself, multiplied by 1 + behavior."""
        z = (jnp.asarray(video_bthwc, jnp.float32)[..., 0] - GREY) / UNIT
        even, odd = (
            jnp.einsum("bthw,nhw->btn", z, jnp.asarray(f))
            for f in (self.even_nhw, self.odd_nhw)
        )
        energy = jnp.sqrt(even**2 + odd**2 + 1e-12)
        flat = jnp.ones_like(even[..., :1])
        out = jnp.concatenate([jnp.maximum(even, 0), energy, flat], -1)
        gain = 0.0 if behavior_btk is None else behavior_btk[..., :1]
        return out * (1 + gain)


def cells(count=3, size=(16, 20), seed=0) -> Cells:
    """Gabors of unit norm without a mean, here and there."""
    rng = np.random.default_rng(seed)
    h, w = size
    y, x = np.mgrid[:h, :w].astype(float)
    pairs, about = [], []
    for i in range(count):
        cx, cy = rng.uniform(0.35, 0.65, 2) * [w, h]
        angle, f, s = np.pi * (i + rng.uniform(0.2, 0.8)) / count, 0.15, 2.5
        u = np.cos(angle) * (x - cx) + np.sin(angle) * (y - cy)
        envelope = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * s**2))
        for wave in (np.cos, np.sin):
            g = envelope * wave(2 * np.pi * f * u)
            g = g - envelope * g.sum() / envelope.sum()
            pairs.append((g / np.linalg.norm(g)).astype(np.float32))
        about.append({"x": cx, "y": cy, "orientation": angle, "frequency": f})
    return Cells(np.stack(pairs[::2]), np.stack(pairs[1::2]), about)


def true_cells(kind: str, count: int, seed: int = 0) -> Truth:
    """A truth of the simulated cortex with some cells of one kind."""
    every = draw(seed, 0, 40 * count)
    some = filters.take(every, np.flatnonzero(every.kind == kind)[:count])
    return Truth(("made",), (some,), RELEASES["2023"], (rates.weights(some),))


def kept(folder: Path, cells: Truth) -> Path:
    """True cells as a simulated tree has them, without any recording."""
    for name, neurons in zip(cells.mice, cells.neurons, strict=True):
        mouse = folder / name
        truth.write_facts(mouse, neurons, [], [], cells.rules, mouse / "partial")
    return folder
