"""The calibration: ceilings spread like real ones, and estimators that recover them."""

from dataclasses import replace
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax import metrics
from sensorium_jax.rules import RELEASES
from sensorium_jax.simulation.cortex import calcium, rates as cortex
from sensorium_jax.simulation.cortex.calibrate import SETTLED
from sensorium_jax.simulation.design import DEMO, TINY
from sensorium_jax.simulation.draws import generator
from sensorium_jax.simulation.trials import clip, new_mouse, traces

CLIPS, REPEATS = 10, 8
FILMS = RELEASES["2023"]
UPDATE, VALUE = map(jax.jit, (metrics.repeats.update, metrics.repeats.value))


def correlate(x, y):
    x, y = x - x.mean(0), y - y.mean(0)
    return (x * y).sum(0) / np.sqrt((x * x).sum(0) * (y * y).sum(0))


def recorded(mouse, *, clips=CLIPS, repeats=REPEATS, same=False, frames=300):
    """True rates and responses [repeat, pooled frame, N] of movies shown again."""
    rates, responses = [], []
    for c in range(clips):
        for r in range(repeats):
            video, _ = clip(mouse.seed, "natural_movie", c, frames)
            use = (mouse.number, c, 0 if same else r)
            inner = traces(generator(mouse.seed, "free", *use), FILMS, frames)
            mu, relative = cortex.rates(mouse.weights, video, *inner, pictures=False)
            rng = generator(mouse.seed, "noise", mouse.number, c, r)
            y = calcium.responses(rng, mouse.neurons, np.asarray(relative))
            rates.append(np.asarray(mu)[SETTLED:])
            responses.append(y[SETTLED:])

    def pooled(parts):
        parts = np.asarray(parts, np.float64)
        parts = parts.reshape(clips, repeats, *parts.shape[1:])
        return parts.swapaxes(0, 1).reshape(repeats, -1, parts.shape[-1])

    return pooled(rates), pooled(responses)


def flat(x):
    return x.reshape(-1, x.shape[-1])


def jackknife(y):
    """The ceilings that metrics tell, all frames as those of one stimulus."""
    r, frames, neurons = y.shape
    state = UPDATE(
        metrics.repeats.zero(1, 1, frames, neurons),
        y[None].astype(np.float32),
        np.ones((1, r, frames), bool),
        np.zeros((1, r), np.int32),
    )
    return np.asarray(VALUE(state).ceiling.per_neuron_mn[0])


def split_half(y):
    """Spearman-Brown from halves of the repeats to single trials, over all splits."""
    repeats, found = len(y), []
    for rest in combinations(range(1, repeats), repeats // 2 - 1):
        first = np.isin(np.arange(repeats), (0, *rest))
        found.append(correlate(y[first].mean(0), y[~first].mean(0)))
    half, each = np.mean(found, axis=0), repeats / 2
    return np.sqrt(np.maximum(half / (each - (each - 1) * half), 0))


def signal_power(y):
    """Root of signal power over the mean variance of single trials."""
    single, mean = y.var(1).mean(0), y.mean(0).var(0)
    repeats = len(y)
    return np.sqrt(np.maximum((repeats * mean - single) / (repeats - 1), 0) / single)


def one_frame_readout(mouse, rates_rtn, responses_rtn, lags=range(1, 12)):
    """Best correlation over lags of the true fields read from one frame, linearly."""
    frames = (rates_rtn.shape[1]) // CLIPS + SETTLED
    best = np.zeros(mouse.neurons.cells)
    fields = mouse.weights.filters
    seen = []
    for c in range(CLIPS):
        video, _ = clip(mouse.seed, "natural_movie", c, frames)
        _, pupil = traces(
            generator(mouse.seed, "free", mouse.number, c, 0), FILMS, frames
        )
        z = (pupil - cortex.behavior.PUPIL_MEAN) / cortex.behavior.PUPIL_SD
        shift = jnp.asarray(z @ mouse.weights.eye_22.T, jnp.float32)
        contrast = jnp.asarray((video.astype(np.float32) - 85) / 50)
        moved = np.asarray(cortex._shifted(contrast, shift)).reshape(frames, -1)
        seen.append(np.stack([moved @ fields.even_np.T, moved @ fields.odd_np.T]))
    y = responses_rtn.mean(0).reshape(CLIPS, -1, best.size)
    single = flat(responses_rtn)
    for lag in lags:
        x = np.concatenate([s[:, SETTLED - lag : frames - lag] for s in seen], axis=1)
        x = np.concatenate([x, np.ones_like(x[:1])]).astype(np.float64)
        target = y.reshape(-1, best.size)
        for n in range(best.size):
            weight = np.linalg.lstsq(x[:, :, n].T, target[:, n], rcond=None)[0]
            guess = np.tile(weight @ x[:, :, n], len(responses_rtn))
            if guess.std() > 0:
                best[n] = max(best[n], np.corrcoef(guess, single[:, n])[0, 1])
    return best


def test_a_small_population_reaches_its_ceilings():
    small = replace(TINY, neurons=80, frames=200, calibration=24)
    mouse = new_mouse(small, FILMS, 21, 0)
    mu, y = recorded(mouse, repeats=2, frames=200)
    realised, target = correlate(flat(mu), flat(y)), mouse.neurons.ceiling_target
    assert abs((realised - target).mean()) < 0.04
    assert np.corrcoef(realised, target)[0, 1] > 0.9
    # Rates are the expectation of what is recorded.
    ratio = flat(y).mean(0).sum() / flat(mu).mean(0).sum()
    assert abs(ratio - 1) < 0.05
    share = y / y.std((0, 1))
    assert 0.7 < (y == 0).mean() < 0.95  # sparse
    assert np.median(np.percentile(share, 99, axis=(0, 1))) > 3.5  # and heavy-tailed
    assert np.median(((share - share.mean((0, 1))) ** 4).mean((0, 1))) > 20


def test_metrics_tell_the_ceiling_from_repeats():
    mouse = new_mouse(replace(TINY, neurons=40, calibration=12), FILMS, 21, 0)
    mu, y = recorded(mouse, clips=5, repeats=5, frames=200, same=True)
    true, told = correlate(flat(mu), flat(y)), jackknife(y)
    assert abs((told - true).mean()) < 0.02
    assert np.sqrt(((told - true) ** 2).mean()) < 0.06


def test_targets_spread_like_real_ceilings():
    target = new_mouse(replace(TINY, neurons=200, calibration=2), FILMS, 0, 0)
    found = np.percentile(target.neurons.ceiling_target, [10, 50, 90])
    assert np.abs(found - [0.157, 0.385, 0.658]).max() < 0.01


@pytest.mark.soak
@pytest.mark.parametrize("seed", [101, 102, 103])
def test_acceptance_rows(seed):
    """Bias of ceilings per mouse, their percentiles, and estimators over 8 repeats."""
    ceilings, fractions, bias = [], [], []
    errors = {f: [] for f in (jackknife, split_half, signal_power)}
    for number in range(3):
        mouse = new_mouse(DEMO, FILMS, seed, number)
        mu, y = recorded(mouse)
        ceiling = correlate(flat(mu), flat(y))
        bias.append((ceiling - mouse.neurons.ceiling_target).mean())
        ceilings.append(ceiling)
        mu, y = recorded(mouse, same=True)
        same = correlate(flat(mu), flat(y))
        for estimate, parts in errors.items():
            parts.append(estimate(y) - same)
        fractions.append(one_frame_readout(mouse, mu, y).mean() / same.mean())
    ceilings = np.concatenate(ceilings)
    percentiles = np.percentile(ceilings, [10, 50, 90])
    print(
        f"\nseed {seed}: bias {np.round(bias, 4)}, percentiles {percentiles.round(3)}"
    )
    print(f"one frame {np.round(fractions, 3)}")
    assert np.abs(bias).max() <= 0.02
    assert np.abs(percentiles - [0.15, 0.40, 0.65]).max() <= 0.04
    assert max(fractions) <= 0.5
    for estimate, parts in errors.items():
        error = np.concatenate(parts)
        rmse = np.sqrt((error**2).mean())
        print(f"{estimate.__name__}: bias {error.mean():+.4f}, RMSE {rmse:.4f}")
        assert abs(error.mean()) <= 0.01 and rmse <= 0.03, estimate.__name__
