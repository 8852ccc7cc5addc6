import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.training.optimizer.chain import (
    adaptive_grad_clip,
    make_optimizer,
    schedule,
)
from sensorium_jax.training.optimizer.plateau import Plateau, plateau_step

PARAMS = {"core": {"w": jnp.arange(1.0, 7.0)}, "readout": {"b": jnp.ones((2, 3))}}
GRADS = {"core": {"w": jnp.ones(6)}, "readout": {"b": jnp.full((2, 3), 0.5)}}


def update(optimizer, params=PARAMS, grads=GRADS, steps=1):
    state = optimizer.init(params)
    for _ in range(steps):
        updates, state = optimizer.update(grads, state, params)
        params = jax.tree.map(jnp.add, params, updates)
    return params


def test_first_adamw_step_by_hand():
    new = update(make_optimizer(lambda step: 0.1, decay=0.01))
    # The first Adam step is the sign of the gradient; decay takes rate * 0.01 of all.
    np.testing.assert_allclose(
        new["core"]["w"], PARAMS["core"]["w"] * (1 - 0.001) - 0.1, rtol=1e-6
    )


def test_rules_choose_leaves_by_name():
    new = update(
        make_optimizer(
            lambda step: 0.1,
            decay=0.0,
            decay_rules=[("readout/.*", 1.0)],
            rate_rules=[("core/.*", 0.5)],
        )
    )
    np.testing.assert_allclose(new["core"]["w"], PARAMS["core"]["w"] - 0.05, rtol=1e-6)
    np.testing.assert_allclose(new["readout"]["b"], 1 - 0.1 - 0.1, rtol=1e-6)


def test_frozen_leaves_do_not_move_nor_count_in_the_clip():
    free = make_optimizer(lambda step: 0.1, frozen="core/.*", clip=1.0)
    huge = {**GRADS, "core": {"w": jnp.full(6, 1e6)}}
    new = update(free, grads=huge, steps=3)
    np.testing.assert_array_equal(new["core"]["w"], PARAMS["core"]["w"])
    same = update(free, grads=GRADS, steps=3)
    np.testing.assert_array_equal(new["readout"]["b"], same["readout"]["b"])


def test_adaptive_clip_limits_each_output():
    params = {"k": jnp.ones((3, 4)) * jnp.array([[1.0, 1.0, 0.0, 1.0]])}
    grads = {"k": jnp.ones((3, 4)) * jnp.array([[100.0, 1e-3, 1.0, 0.0]])}
    clip = adaptive_grad_clip(0.1)
    out, _ = clip.update(grads, clip.init(params), params)
    norms = np.linalg.norm(out["k"], axis=0)
    root3 = np.sqrt(3)
    np.testing.assert_allclose(norms, [0.1 * root3, 1e-3 * root3, 1e-4, 0], rtol=1e-5)


def test_cosine_ends_at_its_floor_and_warms_up_from_zero():
    rate = schedule("cosine", 1.0, 100, warmup=10, floor=0.1)
    assert (
        rate(0) == 0
        and rate(10) == pytest.approx(1)
        and rate(100) == pytest.approx(0.1)
    )
    assert schedule("constant", 0.5, 100)(77) == 0.5


def test_stage_ends_at_the_fifth_bad_epoch_and_the_rate_falls_at_the_sixth():
    plateau, moves = Plateau(best=0.1), []
    for score in [0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.3]:
        move = plateau_step(plateau, score)
        moves.append((move.restore, round(move.plateau.rate, 3)))
        plateau = move.plateau
    assert moves == [(False, 1.0)] * 5 + [(True, 1.0), (False, 0.3), (False, 0.3)]


def test_the_run_finishes_after_its_stages():
    plateau, epochs = Plateau(best=1.0), 0
    while True:
        move = plateau_step(plateau, 0.5, stages=4, patience=5)
        plateau, epochs = move.plateau, epochs + 1
        if move.finished:
            break
    assert epochs == 20 and plateau.stage == 4
