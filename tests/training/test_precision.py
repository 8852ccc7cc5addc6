"""Products are as exact as a run asks, and some always are."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.lax import Precision

from sensorium_jax.errors import UserError
from sensorium_jax.models.cores.temporal_bases import normalized
from sensorium_jax.models.encoder import create
from sensorium_jax.models.ops import formulation
from sensorium_jax.models.rows import mouse_rows
from sensorium_jax.training import forward
from sensorium_jax.zoo.assemble import build
from sensorium_jax.zoo.work import inside
from support.models.mice import mice

PRODUCTS = ("dot_general", "conv_general_dilated")
NARROW = {
    "own": {"core": {"pairs": 2, "mixtures": 2, "lags": 3, "bases": 2}},
    "factorized2023": {"core": {"hidden_channels": (2, 2, 2)}},
    "gru2023": {"core": {"hidden_channels": 2}, "gru": {"features": 8}},
}


def equations(jaxpr):
    for e in jaxpr.eqns:
        yield e
        for program in inside(e.params):
            yield from equations(program)


def products(function, *args):
    """(precision, whether both operands are float32) of every product."""
    for e in equations(jax.make_jaxpr(function)(*args).jaxpr):
        if e.primitive.name in PRODUCTS:
            kinds = [v.aval.dtype == jnp.float32 for v in e.invars[:2]]
            yield e.params["precision"], all(kinds)


def gradient(name, precision, frame=(36, 64, 1)):
    """The gradient of a sum of rates, as a step takes it, and what it is asked of."""
    two = mice((3, 3), frame=frame)
    encoder = build(name, two, **NARROW[name])
    keys = {"frame_shape": frame, "behaviors": two.behaviors}
    make = partial(create, encoder, mouse_rows(two), jax.random.key(0), **keys)
    variables = jax.eval_shape(make)
    lead = (2, 1, encoder.core.lost_frames + 2)
    shapes = (frame, (two.behaviors,), (2,))
    seen = [jax.ShapeDtypeStruct((*lead, *x), jnp.float32) for x in shapes]
    ask = forward.make_ask(encoder, precision, "")

    def loss(params, variables, seen):
        keys = {"sample": jax.random.key(0)}
        rates, _ = ask({**variables, "params": params}, seen, keys, train=True)
        return rates.sum()

    of = forward.precise(jax.grad(loss), precision)
    return of, variables["params"], variables, seen


@pytest.mark.parametrize(
    ("name", "way"), [*((name, "library") for name in NARROW), ("own", "direct")]
)
def test_float32_runs_take_all_bits_forward_and_backward(name, way):
    with formulation.use(way):
        found = list(products(*gradient(name, "float32")))
    assert found and all(kinds for _, kinds in found)
    assert {p for p, _ in found} == {(Precision.HIGHEST,) * 2}


@pytest.mark.parametrize(
    ("name", "precision"), [("own", "tf32"), ("gru2023", "bfloat16")]
)
def test_only_some_products_are_exact_where_a_run_asks_for_less(name, precision):
    """Positions, shifts, what modulators take, contrasts, and kernels that turn."""
    found = list(products(*gradient(name, precision)))
    exact = sum(p == (Precision.HIGHEST,) * 2 for p, _ in found)
    assert 0 < exact < len(found)
    assert any(kinds for _, kinds in found)
    assert any(not kinds for _, kinds in found) == (precision == "bfloat16")


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_contrast_of_bright_frames_is_right(dtype):
    """Its variance is a small difference of large squares."""
    rng = np.random.default_rng(0)
    shade = 3 + 0.1 * rng.normal(size=(1, 1, 1, 12, 12, 1))
    x = jnp.asarray(shade, dtype)  # as much of it as the dtype keeps
    kept = np.asarray(x, np.float64)[0, 0, 0, :, :, 0]
    got = np.asarray(normalized(x, 7), np.float64)[0, 0, 0, 3:-3, 3:-3, 0]
    patches = np.lib.stride_tricks.sliding_window_view(kept, (7, 7))
    want = kept[3:-3, 3:-3] / (0.5 + np.sqrt(patches.var((2, 3)) + 1e-2))
    rounding = 2.0**-8 if dtype == jnp.bfloat16 else 5e-5
    np.testing.assert_allclose(got, want, rtol=rounding)


def test_other_precisions_are_named():
    with pytest.raises(UserError, match="'half'. Known: bfloat16, float32, tf32"):
        forward.precise(lambda: 0, "half")
