import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from sensorium_jax.errors import UserError
from sensorium_jax.training.mesh import shard
from sensorium_jax.training.optimizer.chain import make_optimizer
from sensorium_jax.training.saving import manager as checkpoint
from sensorium_jax.training.state import create
from sensorium_jax.training.step import Tally, jit_step, make_step
from support.models.toy import (
    toy_batch,
    toy_forward,
    toy_objective,
    toy_penalty,
    toy_variables,
)
from support.traces import traces_of

OPTIMIZER = make_optimizer(lambda step: 0.01)


def start(mesh, mice=3, neurons=5, ema=False):
    state = create(toy_variables(mice, neurons), OPTIMIZER, 7, ema=ema)
    return jax.device_put(state, shard.state_shardings(state, mesh))


def train(state, mesh, steps, mice=3):
    """The loss of each step."""
    step = jit_step(make_step(toy_forward, toy_objective, toy_penalty, OPTIMIZER), mesh)
    rows = mesh.shape["mouse"]
    total, losses = -(-mice // rows) * rows, []
    none = jax.device_put(Tally.zero(), state.step.sharding)
    with jax.set_mesh(mesh), traces_of("train_step") as traces:
        for i in range(int(state.step), int(state.step) + steps):
            real, empty = toy_batch(mice, seed=i), toy_batch(total, seed=9, padded=0)
            batch = jax.tree.map(
                lambda a, b: np.concatenate([a, b[mice:]]), real, empty
            )
            state, tally = step(state, shard.put_batch(batch, mesh, total, 8), none)
            losses.append(float(tally.loss))
    assert len(traces) == 1
    return state, losses


def test_rows_lie_on_the_mouse_axis_and_scalars_everywhere():
    state = start(shard.make_mesh(2, 1), mice=4)
    assert state.params["readout"]["bias"].sharding.spec == P("mouse")
    assert state.opt[1].mu["readout"]["bias"].sharding.spec == P("mouse")
    assert state.params["core"]["w"].sharding.spec == P()
    assert state.step.sharding.spec == P()


def test_rows_of_no_element_lie_as_programs_return_them():
    """Else a second step, with what the first has returned, is compiled anew."""
    mesh = shard.make_mesh(2, 1)
    state = {"info": {"behavior": np.zeros((4, 1, 0)), "video": np.zeros((4, 1, 1))}}
    where = shard.state_shardings(state, mesh)
    before = jax.device_put(state, where)
    with jax.set_mesh(mesh):
        same = jax.jit(lambda x: jax.lax.with_sharding_constraint(x, where))
        after = same(before)
    jax.tree.map(lambda a, b: _equal(a.sharding, b.sharding), before, after)


def _equal(a, b):
    assert a == b


@pytest.mark.parametrize(
    ("asked", "mice", "windows", "found"),
    [
        ((0, 0), 3, 8, (1, 2)),
        ((0, 0), 4, 8, (2, 1)),
        ((1, 0), 4, 8, (1, 2)),
        ((0, 1), 3, 8, (1, 1)),
        ((0, 2), 4, 8, (1, 2)),
        ((0, 0), 3, 7, (1, 1)),
    ],
)
def test_a_mesh_fits_itself_to_devices_mice_and_windows(asked, mice, windows, found):
    mesh = shard.make_mesh(*asked, mice=mice, windows=windows)
    assert (mesh.shape["mouse"], mesh.shape["data"]) == found


def test_meshes_that_cannot_be_are_refused():
    with pytest.raises(UserError, match="4 devices, but 2 are visible"):
        shard.make_mesh(2, 2)
    with pytest.raises(UserError, match="multiple of 2"):
        shard.make_mesh(1, 2, windows=7)


def test_a_process_reads_the_box_of_its_devices():
    mesh = shard.make_mesh(1, 2, windows=8)
    assert shard.local_box(mesh, 3, 8) == (slice(0, 3), slice(0, 8))


def test_a_checkpoint_goes_on_on_another_mesh(tmp_path):
    one, two = shard.make_mesh(1, 1), shard.make_mesh(2, 1)
    with checkpoint.open_manager(tmp_path) as manager:
        state, _ = train(start(one, ema=True), one, 2)
        checkpoint.save(manager, 2, state, {}, None)
        checkpoint.wait(manager)
        _, straight = train(state, one, 2)
        wider, _ = checkpoint.restore(manager, start(two, mice=4, ema=True))
        assert wider.params["readout"]["bias"].shape == (4, 5)
        assert wider.ema["params"]["readout"]["bias"].sharding.spec == P("mouse")
        wider, moved = train(wider, two, 1)
        np.testing.assert_allclose(moved, straight[:1], rtol=1e-5)
        checkpoint.save(manager, 3, wider, {}, None)
        checkpoint.wait(manager)
        back, _ = checkpoint.restore(manager, start(one, ema=True))
        _, back = train(back, one, 1)
    np.testing.assert_allclose(back, straight[1:], rtol=1e-5)


def test_rows_are_found_by_name_and_narrowed(tmp_path):
    one = shard.make_mesh(1, 1)
    card = {"mice": [{"name": name} for name in "abc"]}
    with checkpoint.open_manager(tmp_path) as manager:
        state, _ = train(start(one), one, 2)
        checkpoint.save(manager, 2, state, card, None)
        checkpoint.wait(manager)
        rows = checkpoint.rows_of(card, "cxa", 4)
        assert rows == [2, None, 0, None]
        like = start(one, mice=4, neurons=4)
        found, _ = checkpoint.restore(manager, like, rows=rows)
    bias, old = found.params["readout"]["bias"], state.params["readout"]["bias"]
    np.testing.assert_array_equal(bias[0], old[2, :4])
    np.testing.assert_array_equal(bias[2], old[0, :4])
    np.testing.assert_array_equal(bias[1], like.params["readout"]["bias"][1])
    moment = found.opt[1].nu["readout"]["bias"]
    np.testing.assert_array_equal(moment[0], state.opt[1].nu["readout"]["bias"][2, :4])


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    one = shard.make_mesh(1, 1)
    with checkpoint.open_manager(tmp_path) as manager:
        checkpoint.save(manager, 0, start(one, ema=True), {}, None)
        checkpoint.wait(manager)
        with pytest.raises(UserError, match="ema/.* is not expected"):
            checkpoint.restore(manager, start(one))
