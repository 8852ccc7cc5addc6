"""What training prints while it validates is what scoring says of the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax import asking
from sensorium_jax.asking import Asking
from sensorium_jax.axes import Batch
from sensorium_jax.training import judging
from sensorium_jax.training.state import TrainState

MICE, TRIALS, FRAMES, NEURONS = 2, 3, 14, 4
LENGTHS = np.array([[14, 12, 9], [14, 14, 11]])
R = np.random.default_rng(0)


def trials():
    """Whole trials of unequal length; what lies behind their ends is NaN."""
    valid = np.arange(FRAMES) < LENGTHS[..., None]
    shape = (MICE, TRIALS, FRAMES)
    frame = np.broadcast_to(np.arange(FRAMES, dtype=np.int32), shape)
    return Batch(
        R.normal(size=(*shape, 2, 3, 1)).astype(np.float32),
        R.normal(size=(*shape, 2)).astype(np.float32),
        np.zeros((*shape, 2), np.float32),
        np.where(valid[..., None], R.gamma(1, 1, (*shape, NEURONS)), np.nan),
        valid,
        np.ones((MICE, NEURONS), bool),
        np.where(valid, frame, 0).astype(np.int32),
    )


LOST = 2
WEIGHTS = R.normal(size=(3, NEURONS)).astype(np.float32)


def forward(variables, batch, keys, *, train):
    """Three frames of mean light, each frame of the trial with a gain of its own."""
    gain = 1 + 0.1 * batch.frame_mbt
    light = batch.video_mbthwc.mean((3, 4, 5)) * gain + batch.behavior_mbtk.sum(-1)
    frames = light.shape[2] - LOST
    parts = jnp.stack([light[:, :, i : i + frames] for i in range(LOST + 1)], -1)
    return jnp.einsum("mbtk,kn->mbtn", parts, jnp.asarray(WEIGHTS)), {}


def by_hand(asked, batch, factor_mtn, skip):
    """Correlations of rates that are joined clip by clip, in float64."""
    found = []
    for m in range(MICE):
        pairs = []
        for b, length in enumerate(LENGTHS[m]):
            joined = asking.Joined(asked, int(length))
            for frames in asking.clips(asked, int(length)):
                cut = jax.tree.map(lambda x, m=m, b=b: x[m : m + 1, b : b + 1], batch)
                clip = cut._replace(
                    video_mbthwc=cut.video_mbthwc[:, :, frames],
                    behavior_mbtk=cut.behavior_mbtk[:, :, frames],
                    frame_mbt=frames[None, None].astype(np.int32),
                    neurons_mn=np.ones((1, NEURONS), bool),
                )
                joined.add(
                    frames, np.asarray(forward({}, clip, {}, train=False)[0])[0, 0]
                )
            rates, start = joined.value()
            at = np.arange(start, length)
            rates = rates * factor_mtn[m, at.clip(0, factor_mtn.shape[1] - 1)]
            keep = at >= skip
            y = batch.responses_mbtn[m, b, at][keep]
            if batch.observed_mbn is not None:
                y = np.where(batch.observed_mbn[m, b], y, np.nan)
            pairs.append((rates[keep], y))
        x, y = (np.concatenate(p).astype(np.float64) for p in zip(*pairs, strict=True))
        for n in range(NEURONS):
            known = np.isfinite(y[:, n])
            found.append(np.corrcoef(x[known, n], y[known, n])[0, 1])
    return np.mean(found)


ASKED = {
    "whole": Asking(),
    "whole, stride 2": Asking(stride=2),
    "windows": Asking(mode="window", frames=4, stride=2),
    "last to speak": Asking(mode="window", frames=6, hop=3, blend="last"),
}


@pytest.mark.parametrize("skip", [0, 5])
@pytest.mark.parametrize("how", ASKED)
def test_models_are_asked_as_they_say(how, skip):
    asked, batch = ASKED[how], trials()
    factor = R.uniform(0.5, 2, (MICE, 9, NEURONS)).astype(np.float32)
    state = TrainState(*[{}] * 8)._replace(step=jnp.zeros((), jnp.int32))
    windows = judging.cut(asked, batch, LOST)
    assert (windows is None) == (how == "whole")
    one = judging.Judged(batch, windows)
    validate = judging.make_validate(
        forward, lambda step: iter([one]), skip=skip, factor_mtn=factor
    )
    want = by_hand(asked, batch, factor, skip)
    np.testing.assert_allclose(validate(state).score, want, rtol=1e-5)


@pytest.mark.parametrize("how", ["whole", "windows"])
def test_trials_that_a_neuron_misses_do_not_judge_it(how):
    asked, batch = ASKED[how], trials()
    observed = np.ones((MICE, TRIALS, NEURONS), bool)
    observed[0, 1, :2] = observed[1, 0, 3] = False
    responses = np.where(observed[:, :, None], batch.responses_mbtn, 99.0)
    batch = batch._replace(responses_mbtn=responses, observed_mbn=observed)
    state = TrainState(*[{}] * 8)._replace(step=jnp.zeros((), jnp.int32))
    one = judging.Judged(batch, judging.cut(asked, batch, LOST))
    validate = judging.make_validate(forward, lambda step: iter([one]), skip=0)
    want = by_hand(asked, batch, np.ones((MICE, 1, NEURONS), np.float32), 0)
    np.testing.assert_allclose(validate(state).score, want, rtol=1e-5)


def test_factors_of_shorter_mice_go_on_with_their_last():
    rows = judging.stacked_factors([np.full((2, 3), 2.0), np.full((4, 1), 3.0)], 3)
    assert rows.shape == (3, 4, 3)
    assert rows[0, 3].tolist() == [2, 2, 2] and rows[1, 0].tolist() == [3, 1, 1]
    assert (rows[2] == 1).all()


def test_the_best_mixture_with_the_linear_model_is_found_mouse_by_mouse():
    batch = trials()
    rates = forward({}, batch, {}, train=False)[0]
    other = R.normal(size=rates.shape).astype(np.float32)
    # The first mouse is as the model says; the second is half of each model.
    spread = [np.asarray(x)[1].std() for x in (rates, other)]
    true = np.stack([rates[0], 0.4 * rates[1] + 0.6 * other[1]])
    before = np.zeros((MICE, TRIALS, LOST, NEURONS))
    batch = batch._replace(responses_mbtn=np.concatenate([before, true], 2))
    assert min(spread) > 0
    state = TrainState(*[{}] * 8)._replace(step=jnp.zeros((), jnp.int32))
    validate = judging.make_validate(
        forward,
        lambda step: iter([judging.Judged(batch, None)]),
        skip=0,
        linear=lambda *given, train: (jnp.asarray(other), {}),
    )
    found = validate(state)
    assert found.shares == pytest.approx((0.0, 0.6))
    assert found.with_linear == pytest.approx(1.0, abs=1e-5)
    assert found.score < 0.99
