"""CutMix, distillation and lessons against numpy twins written as loops."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.asking import Asking
from sensorium_jax.axes import MixedBatch
from sensorium_jax.training.losses import loss
from sensorium_jax.training.optimizer.chain import schedule
from sensorium_jax.training.targets import cutmix, distill, lesson
from support.originals import peers

H, W = 12, 10


def numpy_box(share, row, column, height, width):
    """rand_bbox of the original, with its draws given."""
    side = np.sqrt(share)
    bounds = []
    for middle, size in ((row, height), (column, width)):
        half = int(size * side) // 2
        bounds += [np.clip(middle - half, 0, size), np.clip(middle + half, 0, size)]
    return bounds


def test_boxes_and_pasting_are_the_numpy_twins():
    rng = np.random.default_rng(0)
    share = np.append(rng.uniform(size=6), 0).astype(np.float32)
    row, column = rng.integers(H, size=7), rng.integers(W, size=7)
    x, other = rng.normal(size=(2, 7, 3, H, W, 2)).astype(np.float32)
    y, y2 = rng.normal(size=(2, 7, 3, 5)).astype(np.float32)

    @jax.jit
    def ours(share):
        box = cutmix.boxes(share, row, column, H, W)
        area = cutmix.area(box, H, W)
        return cutmix.paste(x, other, box), cutmix.mix(y, y2, area), area

    seen, targets, area = ours(share)
    for b in range(7):
        top, bottom, left, right = numpy_box(share[b], row[b], column[b], H, W)
        want = x[b].copy()
        want[:, top:bottom, left:right] = other[b, :, top:bottom, left:right]
        np.testing.assert_array_equal(seen[b], want)
        part = (bottom - top) * (right - left) / (H * W)
        assert abs(area[b] - part) < 1e-6
        close = (1 - part) * y[b] + part * y2[b]
        np.testing.assert_allclose(targets[b], close, rtol=1e-5, atol=1e-6)
    assert area[-1] == 0 and area[:-1].max() > 0


def test_drawn_boxes_follow_the_key_and_the_probability():
    draw = jax.jit(lambda seed: cutmix.draw(jax.random.key(seed), 400, 64, 64, 0.5))
    one, again, other = draw(0), draw(0), draw(1)
    jax.tree.map(np.testing.assert_array_equal, one, again)
    assert not np.array_equal(one.top_b, other.top_b)
    pasted = np.asarray(cutmix.area(one, 64, 64)) > 0
    assert 0.4 < pasted.mean() < 0.55
    box = np.stack(one)
    assert box.min() >= 0 and box.max() <= 64


def test_the_teachers_weights_and_targets_are_the_numpy_twins():
    rng = np.random.default_rng(1)
    own = np.eye(3, dtype=np.float32)[:, [0, 2, 2, 1]]
    weight = np.concatenate([own, np.zeros((1, 4), np.float32)])  # a row of no mouse
    mice = np.array([True, True, True, False])
    recorded = rng.uniform(size=(4, 4, 5, 6)).astype(np.float32)
    taught = rng.uniform(size=(4, 4, 5, 8)).astype(np.float32)
    got = np.asarray(jax.jit(distill.weights)(weight, mice, 0.36))
    pairs = [(m, b) for m in range(3) for b in range(4) if weight[m, b] == 0]
    want, targets = weight.copy(), recorded.copy()
    for m, b in pairs:  # the original fills in place, pair by pair
        want[m, b] = 0.36 / (1 - 0.36) * weight.sum() / len(pairs)
        targets[m, b] = taught[m, b, :, :6]
    np.testing.assert_allclose(got, want, rtol=1e-6)
    assert abs(sum(got[m, b] for m, b in pairs) / got.sum() - 0.36) < 1e-6
    filled = distill.filled(recorded, taught, weight)
    np.testing.assert_array_equal(filled[:3], targets[:3])


def batch_of(seed, mouse_b, *, observed=False):
    rng = np.random.default_rng(seed)
    b, t, n = len(mouse_b), 4, 3
    valid = np.ones((b, t), bool)
    valid[0, 3] = False
    return MixedBatch(
        video_bthwc=rng.integers(0, 256, (b, t, 6, 8, 1)).astype(np.uint8),
        behavior_btk=rng.normal(size=(b, t, 2)).astype(np.float32),
        pupil_bt2=rng.normal(size=(b, t, 2)).astype(np.float32),
        responses_btn=rng.uniform(size=(b, t, n)).astype(np.float32),
        valid_bt=valid,
        neurons_bn=np.ones((b, n), bool),
        frame_bt=np.tile(np.arange(t), (b, 1)),
        mouse_b=np.array(mouse_b, np.int32),
        observed_bn=rng.uniform(size=(b, n)) < 0.7 if observed else None,
    )


def frames(video, behavior, pupil):
    """What an encoder does with signals as channels."""
    maps = jnp.concatenate([behavior, pupil], -1)[..., None, None, :]
    maps = jnp.broadcast_to(maps, (*video.shape[:-1], maps.shape[-1]))
    return jnp.concatenate([video, maps], -1)


STATE = SimpleNamespace(
    seed=np.uint32(3),
    step=np.int32(5),
    info={
        "neurons_n": np.array([[True] * 3, [True, True, False]]),
        "video": {
            "mean": np.array([1.0, 2.0], np.float32).reshape(2, 1, 1, 1, 1),
            "std": np.array([2.0, 4.0], np.float32).reshape(2, 1, 1, 1, 1),
        },
    },
)


def test_a_lesson_holds_each_sample_for_its_own_mouse_and_the_teachers_for_others():
    drawn = lesson.Drawn(
        batch_of(0, [1, 0, 1], observed=True),
        batch_of(1, [1, 0, 1], observed=True),
        np.float32(7),
    )
    asking, encoder = Asking(canvas=(8, 8)), SimpleNamespace(frames=frames)

    def teach(variables, seen, behavior, pupil):
        return jnp.full((2, 3, 4, 3), variables) + 0 * seen.sum()

    make = lesson.make_lessons(
        encoder, asking, cutmix_probability=1.0, teach=teach, share=0.25
    )
    got = jax.jit(lambda drawn: make(STATE, drawn))(drawn)
    got = jax.tree.map(np.asarray, got)
    batch, partner = drawn.batch, drawn.partner
    assert got.seen_bthwc.shape == (3, 4, 8, 8, 5)
    # Every pixel is of one of the two films, by the statistics of the sample's mouse.
    mean, std = (STATE.info["video"][k][batch.mouse_b] for k in ("mean", "std"))
    grey = np.asarray(got.seen_bthwc)[:, :, 1:7, :, 0]
    one, two = ((b.video_bthwc - mean) / std for b in (batch, partner))
    pasted = ~np.isclose(grey, one[..., 0]) & np.isclose(grey, two[..., 0])
    assert (np.isclose(grey, one[..., 0]) | pasted).all() and pasted.any()
    # Signals are pasted where the film is.
    first = np.asarray(got.seen_bthwc)[..., 1]
    levels = [np.isclose(first, b.behavior_btk[:, :, None, None, 0]) for b in drawn[:2]]
    assert (levels[0] | levels[1]).all()
    area = levels[1][:, 0].mean((1, 2))
    mixed = (1 - area)[:, None, None] * batch.responses_btn
    mixed = mixed + area[:, None, None] * partner.responses_btn
    for b, own in enumerate(batch.mouse_b):
        np.testing.assert_allclose(got.responses_mbtn[own, b], mixed[b], rtol=1e-5)
        np.testing.assert_array_equal(got.responses_mbtn[1 - own, b], 7)
        np.testing.assert_array_equal(got.valid_mbt[own, b], batch.valid_bt[b])
        assert not got.valid_mbt[1 - own, b].any() and got.weight_mb[own, b] == 1
        both = batch.observed_bn[b] & (partner.observed_bn[b] | (area[b] == 0))
        np.testing.assert_array_equal(got.observed_mbn[own, b], both)
        assert got.observed_mbn[1 - own, b].all()
    np.testing.assert_allclose(got.weight_mb.sum(), 3 / 0.75, rtol=1e-6)
    rates = np.random.default_rng(2).uniform(0.1, 1, (2, 3, 4, 3)).astype(np.float32)
    total = 0.0
    for m, b in np.ndindex(2, 3):
        terms = rates[m, b] - got.responses_mbtn[m, b] * np.log(rates[m, b] + 1e-8)
        counts = STATE.info["neurons_n"][m] & got.observed_mbn[m, b]
        counts = counts & batch.valid_bt[b][:, None]
        total += float(got.weight_mb[m, b] * terms[counts].sum())
    ours = jax.jit(lambda rates: loss.mixed_objective()(rates, got, 3).sum())(rates)
    np.testing.assert_allclose(ours, total / got.weight_mb.sum(), rtol=1e-5)


def test_the_winners_rate_rises_then_falls_as_half_a_cosine():
    steps, warm, peak, floor = 210, 30, 2.4e-3, 2.4e-5
    rate = schedule("cosine", peak, steps, warmup=warm, floor=floor)
    for i in (0, 1, 29, 30, 31, 120, 209, 210):
        rise = peak * i / warm
        fall = floor + (peak - floor) * (1 + np.cos(np.pi * (i - warm) / 180)) / 2
        assert abs(rate(i) - (rise if i < warm else fall)) < 1e-9


@pytest.mark.parity
def test_boxes_are_those_of_the_original_code(monkeypatch):
    peers.use("lRomul/sensorium")
    from src import mixers

    rng = np.random.default_rng(4)
    for share in rng.uniform(size=50).astype(np.float32):
        row, column = (int(x) for x in rng.integers(64, size=2))
        given = iter((row, column))  # in the original's order
        monkeypatch.setattr(np.random, "randint", lambda *_, given=given: next(given))
        top, left, bottom, right = mixers.rand_bbox(64, 64, share)
        box = cutmix.boxes(*(np.array([v]) for v in (share, row, column)), 64, 64)
        assert [int(v[0]) for v in box] == [top, bottom, left, right]
