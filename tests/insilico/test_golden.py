"""Stimuli, projections, penalties and climbs equal those of the field's own tools.

The cases are recorded by golden/make_insilico.py. Where an original is wrong, ours is
right and a test says how they differ.
"""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.insilico import ascend, constraints, stimuli
from sensorium_jax.insilico.ascend import Climb
from sensorium_jax.insilico.constraints import Budget
from support.quick import quick  # noqa: F401

H, W, QUARTER = 18, 24, np.pi / 2
LOW, HIGH = -0.6, 0.7
GABOR = {"x": 13.0, "y": 6.5, "sigma": 4.0, "orientation": 0.6, "aspect": 0.7}
GABOR |= {"frequency": 1 / 9, "phase": 0.4}
# Elsewhere places are (row, column), and all but Gabors turn from down to left.
STIMULI = {
    "gabor": GABOR,
    "plaid_of_gabors": {**GABOR, "angle": 1.0, "contrast": 1, "contrast_second": 0.5},
    "center_surround": {
        **{"x": 11.0, "y": 8.0, "radius": 8.0, "center": 0.4, "surround": 0.6},
        **{"orientation": 0.3 + QUARTER, "orientation_surround": 1.1 + QUARTER},
        **{"frequency": 0.1, "phase": 0.2, "contrast": 0.9, "contrast_surround": 0.5},
    },
    "bar": {
        **{"x": 9.0, "y": 6.0, "width": 3.0, "length": 8.0, "contrast": 0.7},
        "orientation": 0.5 - QUARTER,
    },
    "difference_of_gaussians": {
        **{"x": 9.0, "y": 6.0, "sigma": 2.0, "ratio": 2.0},
        **{"surround": 0.4, "contrast": 0.8},
    },
}
PLAID = {"x": 11.0, "y": 8.0, "size": 10.0, "frequency": 0.1, "angle": 1.0}
PLAID |= {"orientation": 0.2 + QUARTER, "contrast_second": 0.6}


@pytest.fixture(scope="module")
def golden():
    path = Path(__file__).parents[1] / "golden/insilico.npz"
    with np.load(path) as file:
        return {k: file[k] for k in file.files}


def same(got, want):
    np.testing.assert_allclose(np.asarray(got), want, rtol=1e-5, atol=1e-5)


def test_stimuli(golden):
    every = {**STIMULI, "plaid_of_gratings": {**PLAID, "contrast": 0.6}}

    @jax.jit
    def drawn(parameters):
        frame = stimuli.Frame(H, W)
        return {k: stimuli.KINDS[k](frame, **p)[0] for k, p in parameters.items()}

    for kind, picture in drawn(every).items():
        same(picture, golden[f"stimulus/{kind}"])
    # The original shows both gratings of a plaid at the second one's contrast.
    kind = "plaid_of_gratings"
    ours = drawn({**every, kind: {**PLAID, "contrast": 0.3}})[kind]
    assert np.abs(ours - golden[f"stimulus/{kind}"]).max() > 0.1


def test_penalties_and_projections(golden):
    x = golden["x"][:, None, :, :, None]
    wide, cut = {"low": -9.0, "high": 9.0}, {"low": LOW, "high": HIGH}
    free = {"contrast": None, **cut}
    count = float(H * W)
    flat = x - x.mean((1, 2, 3, 4), keepdims=True)
    contrast = Budget(contrast=0.3 * np.sqrt((count - 1) / count), exactly=True, **wide)

    @jax.jit
    def ours(x):
        return {
            "lp_norm": constraints.norms(x, 6),
            **{k: constraints.alike(x[None], k)[0] for k in ALIKE},
            "norm": constraints.to_norm(x, 4.0, exactly=True),
            "norm_at_most": constraints.to_norm(x, 4.0),
            "norm_and_range": constraints.project(x, Budget(norm=3.0, **free)),
            "range": constraints.project(x, Budget(**free)),
            "contrast": constraints.project(jnp.asarray(flat), contrast),
            "blur": constraints.blur(x, 0.8),
            "smooth_spectrum": constraints.smooth_spectrum(x, 1.5),
            "total_variation": constraints.total_variation(x),
            "isotropic": constraints.total_variation(x, isotropic=True),
        }

    for name, got in ours(x).items():
        want = golden[f"operation/{name}"]
        if name in ("total_variation", "isotropic"):
            # The original takes the last row from every row, which is no smoothness.
            assert (np.abs(np.asarray(got) / want - 1) > 1e-3).all()
        else:
            same(np.asarray(got).reshape(want.shape), want)


ALIKE = ("correlation", "cosine", "distance")


def test_climbs(golden, monkeypatch):
    """The same objectives on the same way up, and the same picture at its end."""
    filters, start = jnp.asarray(golden["filters"]), golden["start"]
    monkeypatch.setattr(ascend, "noise", lambda *_: start[None, None, :, :, None])
    climb, budget = Climb(steps=12), Budget(low=LOW, high=HIGH)

    @partial(jax.jit, static_argnums=0)
    def climbed(scale, keys_b):
        def objective(z, _):
            return scale * jnp.maximum(jnp.einsum("bthwc,hw->b", z, filters[1]), 0)

        return ascend.ascend(objective, keys_b, keys_b, (1, H, W, 1), climb, budget)

    # Of models at 1 and 2 times the filters the mean, of those at 2 and 1/2 the
    # difference is 3/2 times them.
    for name, scale in (("one", 1.0), ("ensemble", 1.5), ("contrast", 1.5)):
        found = climbed(scale, jax.random.split(jax.random.key(0), 1))
        same(found.history[0], golden[f"climb/{name}/history"])
        same(found.z[0, 0, 0, :, :, 0], golden[f"climb/{name}/best"])
