"""Projections and penalties against their formulas in numpy."""

import jax
import numpy as np
import pytest

from sensorium_jax.errors import UserError
from sensorium_jax.insilico import constraints
from sensorium_jax.insilico.constraints import Budget
from support.quick import quick  # noqa: F401

SHAPE = (2, 3, 9, 11, 1)
X = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


def run(name, x, *args, **options):
    """A function as one program: compiling its parts one by one takes longer."""
    function = getattr(constraints, name)
    return np.asarray(jax.jit(lambda x: function(x, *args, **options))(x))


def each(function):
    return np.stack([function(x) for x in X.astype(float)])


def same(got, want, **options):
    np.testing.assert_allclose(np.asarray(got), want, rtol=1e-5, atol=1e-5, **options)


def test_norms():
    same(run("norms", X, 6), each(lambda x: (np.abs(x) ** 6).sum() ** (1 / 6)))
    same(run("to_norm", X, 4.0), each(lambda x: x * 4 / np.linalg.norm(x)))
    same(run("to_norm", X, 1e4), X)  # only what is above is brought down
    assert not (run("by_size", 0 * X)).any()


def test_total_variation_takes_neighbours():
    """The original subtracts the last row from all, which is no smoothness."""
    want = each(lambda x: sum(np.abs(np.diff(x, axis=a)).sum() for a in (1, 2)))
    same(run("total_variation", X), want)
    ramp = np.zeros((1, 1, 9, 11, 1), np.float32) + np.arange(9)[:, None, None]
    assert run("total_variation", ramp)[0] == 8 * 11
    got = run("total_variation", X, isotropic=True)
    dy, dx = np.diff(X, axis=2)[:, :, :, :-1], np.diff(X, axis=3)[:, :, :-1]
    same(got, np.sqrt(dy**2 + dx**2).sum((1, 2, 3, 4)))


def test_smoothing():
    sigma, half = 0.8, 3
    k = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    kernel = np.outer(k, k) / k.sum() ** 2
    padded = np.pad(X[0, 0, :, :, 0], half, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape)
    want = np.einsum("hwij,ij->hw", windows, kernel)
    same(run("blur", X, sigma)[0, 0, :, :, 0], want)
    f = np.hypot(np.fft.fftfreq(9)[:, None], np.fft.fftfreq(11)[None])
    spectrum = np.fft.fft2(X[0, 0, :, :, 0]) * (1 - np.sqrt(2) * f) ** 1.5
    got = run("smooth_spectrum", X, 1.5)[0, 0, :, :, 0]
    same(got, np.real(np.fft.ifft2(spectrum)))


def test_likeness_is_that_of_the_most_alike_pair():
    members = np.random.default_rng(1).normal(size=(2, 3, 5, 4)).astype(np.float32)
    flat = members.reshape(2, 3, -1)
    for kind, pair in (
        ("correlation", lambda a, b: np.corrcoef(a, b)[0, 1]),
        ("cosine", lambda a, b: a @ b / np.linalg.norm(a) / np.linalg.norm(b)),
        ("distance", lambda a, b: -np.linalg.norm(a - b)),
    ):
        pairs = [(0, 1), (0, 2), (1, 2)]
        want = [max(pair(g[i], g[j]) for i, j in pairs) for g in flat]
        same(run("alike", members, kind), want)


def test_spectra_go_and_come_back():
    there = jax.jit(lambda x: constraints.to_spectrum(x))(X)
    same(run("from_spectrum", there, SHAPE), X)
    natural, white = np.zeros((2, 1, 4, 32, 32, 1), np.float32)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(4, 32, 32))
    grids = np.meshgrid(*[np.fft.fftfreq(n) for n in noise.shape], indexing="ij")
    f = np.sqrt(sum(g**2 for g in grids))
    f[0, 0, 0] = np.inf
    natural[0, ..., 0] = np.real(np.fft.ifftn(np.fft.fftn(noise) / f))
    white[0, ..., 0] = noise
    assert run("unlike_natural", natural)[0] < run("unlike_natural", white)[0]


def test_projection_obeys_all_at_once():
    mask = constraints.disc((9, 11), (5, 4), 3.0)
    budget = Budget(contrast=0.3, low=-0.5, high=0.5, flat_mean=True, exactly=True)
    got = run("project", 5 * X, budget, mask[None])
    assert got.min() >= -0.5 and got.max() <= 0.5
    assert not got[:, :, mask == 0].any()
    contrast = np.sqrt((got**2).mean((1, 2, 3, 4)))
    assert (contrast <= 0.3 + 1e-5).all() and (contrast > 0.2).all()
    free = Budget(contrast=None, norm=2.0, low=-9, high=9)
    same(
        np.linalg.norm((run("project", X, free)).reshape(2, -1), axis=1),
        2,
    )


@pytest.mark.parametrize(
    "budget, words",
    [
        (Budget(contrast=5.0), "the most is 2.26"),
        (Budget(contrast=None, norm=1e3), "No stimulus has a norm of 1e"),
        (Budget(contrast=0.0), "leaves nothing to choose"),
        (Budget(norm=3.0), "Give one"),
        (Budget(low=0.5), "does not hold grey"),
    ],
)
def test_what_no_stimulus_can_meet_is_refused(budget, words):
    with pytest.raises(UserError, match=words):
        constraints.check(budget, None, SHAPE[1:])


def test_an_empty_mask_is_refused():
    with pytest.raises(UserError, match="mask is empty"):
        constraints.check(Budget(), np.zeros((9, 11)), SHAPE[1:])
