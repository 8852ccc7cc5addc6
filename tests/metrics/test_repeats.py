"""Ceilings from repeats equal the official formulas, in whatever order trials come."""

from pathlib import Path

import jax
import numpy as np
import pytest

from sensorium_jax.metrics import repeats
from support.recordings.repeated import feed, jackknife_twin, trials_of

GOLDEN = Path(__file__).parents[1] / "golden"
update = jax.jit(repeats.update)
value = jax.jit(repeats.value)
snr = jax.jit(repeats.snr)
SIZES = {"clips": 3, "repeats": 4, "frames": 12, "neurons": 6}  # few programs
NAMES = ("jackknife", "conservative", "explainable")


@pytest.fixture(scope="module")
def official():
    return np.load(GOLDEN / "metrics_2022.npz")


def pictures(official):
    y, shown = official["input/responses"], official["input/image_ids"]
    y = y[:, np.argsort(official["input/neuron_ids"])]  # as the official scorer does
    _, slot = np.unique(shown, return_inverse=True)
    return y[:, None], slot


def uneven(official):
    """Image i keeps the first 3 + i % 5 of its presentations, by time."""
    y, slot = pictures(official)
    when = official["input/trial_idx"]
    keep = []
    for i in range(slot.max() + 1):
        rows = np.flatnonzero(slot == i)
        keep += sorted(rows, key=lambda r: when[r])[: 3 + i % 5]
    return y[np.array(keep)], slot[np.array(keep)]


@pytest.mark.parametrize("batch", [96, 7])
def test_official_formulas(official, batch):
    y, slot = pictures(official)
    state = feed(
        update, repeats.zero(1, slot.max() + 1, 1, y.shape[-1]), batch, slot, y
    )
    got = value(state)
    wanted = ("oracle_jackknife", "oracle_conservative", "explainable_var")
    for name, key in zip(NAMES, wanted, strict=True):
        found = getattr(got, name).per_neuron_mn[0]
        np.testing.assert_allclose(found, official[f"output/{key}"], atol=1e-6)
    z = np.asarray(repeats.anscombe(y))
    state = feed(
        update, repeats.zero(1, slot.max() + 1, 1, y.shape[-1]), batch, slot, z
    )
    found = snr(state).per_neuron_mn[0]
    np.testing.assert_allclose(found, official["output/snr"], rtol=2e-6)


def test_official_jackknife_over_uneven_repeats(official):
    y, slot = uneven(official)
    state = feed(update, repeats.zero(1, slot.max() + 1, 1, y.shape[-1]), 10, slot, y)
    found = value(state).jackknife.per_neuron_mn[0]
    np.testing.assert_allclose(
        found, official["output/oracle_jackknife_uneven"], atol=1e-6
    )


def test_any_order_any_batches_and_merging_are_one():
    y, slot = trials_of(**SIZES)
    order = np.random.default_rng(1).permutation(len(y))
    start = repeats.zero(1, 3, 12, 6)
    whole = feed(update, start, 4, slot, y)
    mixed = feed(update, start, 5, slot[order], y[order])
    parts = [feed(update, start, 4, slot[order][p::2], y[order][p::2]) for p in (0, 1)]
    merged = repeats.merge(*parts)
    for state in (mixed, merged):
        for a, b in zip(value(state)[:4], value(whole)[:4], strict=True):
            np.testing.assert_allclose(a.per_neuron_mn, b.per_neuron_mn, atol=1e-6)
    np.testing.assert_allclose(
        value(whole).jackknife.per_neuron_mn[0],
        jackknife_twin([y[slot == s] for s in range(3)]),
        atol=1e-6,
    )


def test_repeats_of_other_lengths_are_compared_where_all_have_frames():
    y, slot = trials_of(**SIZES)
    valid = np.ones(y.shape[:2], bool)
    valid[1, 9:] = valid[5, 7:] = False
    y[~valid] = np.nan
    state = feed(update, repeats.zero(1, 3, 12, 6), 4, slot, y, valid=valid)
    groups = [y[slot == s] for s in range(3)]
    cut = [g[:, : int((~np.isnan(g[..., 0])).sum(1).min())] for g in groups]
    np.testing.assert_allclose(
        value(state).jackknife.per_neuron_mn[0], jackknife_twin(cut), atol=1e-6
    )


def test_undefined_neurons_are_counted_and_others_unmoved():
    y, slot = trials_of(**SIZES)
    clean = value(feed(update, repeats.zero(1, 3, 12, 6), 4, slot, y))
    y[..., 1] = 3.3  # constant
    y[2, 4, 2] = np.nan
    y[5, 0, 3] = np.inf
    mask = np.array([[1, 1, 1, 1, 1, 0]], bool)
    got = value(feed(update, repeats.zero(1, 3, 12, 6), 4, slot, y), mask)
    for name in (*NAMES, "ceiling"):
        found, before = getattr(got, name), getattr(clean, name)
        assert found.undefined_m.tolist() == [3] and found.neurons_m.tolist() == [5]
        assert found.per_neuron_mn[0, 1:4].tolist() == [0, 0, 0]
        kept = np.array([0, 4])
        np.testing.assert_allclose(
            found.per_neuron_mn[0, kept], before.per_neuron_mn[0, kept], atol=1e-6
        )
        np.testing.assert_allclose(found.mean, found.per_neuron_mn.sum() / 5, rtol=1e-5)


def test_single_presentations_say_nothing_of_noise():
    y, slot = trials_of(**SIZES)
    pairs = slot < 2
    keep = pairs | (np.arange(len(y)) == np.flatnonzero(slot == 2)[0])
    some = value(feed(update, repeats.zero(1, 3, 12, 6), 4, slot[keep], y[keep]))
    only = value(feed(update, repeats.zero(1, 3, 12, 6), 4, slot[pairs], y[pairs]))
    for a, b in zip(some[:4], only[:4], strict=True):
        np.testing.assert_allclose(a.per_neuron_mn, b.per_neuron_mn, atol=1e-6)
    lone = value(feed(update, repeats.zero(1, 3, 12, 6), 4, slot[:1], y[:1]))
    assert lone.ceiling.undefined_m.tolist() == [6]


def test_corrected_jackknife_finds_the_ceiling():
    r = np.random.default_rng(3)
    clips, shown, frames, neurons = 6, 8, 250, 40
    share = r.uniform(0.1, 0.7, neurons)  # reliability of a single trial
    signal = r.standard_normal((clips, 1, frames, neurons)) * np.sqrt(share)
    noise = r.standard_normal((clips, shown, frames, neurons)) * np.sqrt(1 - share)
    y = (signal + noise).reshape(-1, frames, neurons).astype(np.float32)
    state = repeats.zero(1, clips, frames, neurons)
    state = feed(update, state, 12, np.repeat(np.arange(clips), shown), y)
    got = value(state)
    error = got.ceiling.per_neuron_mn[0] - np.sqrt(share)
    assert abs(error.mean()) < 0.01 and np.sqrt((error**2).mean()) < 0.03
    assert (got.jackknife.per_neuron_mn[0] - np.sqrt(share)).mean() < -0.02  # too low
    assert (got.conservative.per_neuron_mn[0] - np.sqrt(share)).mean() > 0.02  # high
    assert float(got.repeats_m[0]) == shown


@pytest.mark.optimized
def test_sharded_over_mice_and_trials():
    y, slot = trials_of(clips=3, repeats=4, frames=6, neurons=3)
    both, slots = np.stack([y, y[::-1]]), np.stack([slot, slot[::-1]]).astype(np.int32)
    valid = np.ones(both.shape[:3], bool)
    one = value(update(repeats.zero(2, 3, 6, 3), both, valid, slots))
    for shape in ((2, 1), (1, 2)):  # of mice, of trials
        mesh = jax.make_mesh(
            shape, ("mouse", "data"), (jax.sharding.AxisType.Auto,) * 2
        )
        split = jax.sharding.PartitionSpec("mouse", "data")
        place = jax.sharding.NamedSharding(mesh, split)
        with jax.set_mesh(mesh):
            args = jax.device_put((both, valid, slots), place)
            step = jax.jit(repeats.update)
            state = step(repeats.zero(2, 3, 6, 3), *args)
            program = step.lower(repeats.zero(2, 3, 6, 3), *args).compile().as_text()
            two = jax.device_get(jax.jit(repeats.value)(state))
        assert "all-gather" not in program and "all-to-all" not in program
        for a, b in zip(one[:4], two[:4], strict=True):
            np.testing.assert_allclose(a.per_neuron_mn, b.per_neuron_mn, atol=1e-6)


def test_traces_once_for_all_batches():
    count = 0

    @jax.jit
    def counted(*args):
        nonlocal count
        count += 1
        return repeats.update(*args)

    y, slot = trials_of(**SIZES)
    feed(counted, repeats.zero(1, 3, 12, 6), 5, slot, y)
    assert count == 1
