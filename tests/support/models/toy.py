"""A two-parameter model and a batch, to test the step without a network."""

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.axes import Batch
from sensorium_jax.training.optimizer.chain import make_optimizer
from sensorium_jax.training.state import create
from sensorium_jax.training.step import jit_step, make_step


def toy_batch(mice=3, windows=8, frames=6, neurons=5, seed=0, padded=None) -> Batch:
    """Random batch; mice from `padded` on are empty."""
    r = np.random.default_rng(seed)
    shape = (mice, windows, frames)
    real = np.arange(mice) < (mice if padded is None else padded)
    return Batch(
        video_mbthwc=r.normal(size=(*shape, 2, 3, 1)).astype(np.float32),
        behavior_mbtk=r.normal(size=(*shape, 2)).astype(np.float32),
        pupil_mbt2=r.normal(size=(*shape, 2)).astype(np.float32),
        responses_mbtn=r.gamma(1.0, size=(*shape, neurons)).astype(np.float32),
        valid_mbt=np.broadcast_to(real[:, None, None], shape).copy(),
        neurons_mn=np.broadcast_to(real[:, None], (mice, neurons)).copy(),
        frame_mbt=np.broadcast_to(np.arange(frames, dtype=np.int32), shape).copy(),
    )


def toy_variables(mice=3, neurons=5):
    """A shared weight, and a bias per neuron."""
    return {
        "params": {
            "core": {"w": jnp.full((6,), 0.1)},
            "readout": {"bias": jnp.zeros((mice, neurons)) + 0.5},
        },
        "batch_stats": {"core": {"mean": jnp.zeros(())}},
        "info": {},
    }


def toy_forward(variables, batch, keys, *, train):
    """rates = softplus(pixels . w + bias); keeps a running mean."""
    flat = batch.video_mbthwc.reshape(*batch.video_mbthwc.shape[:3], 6)
    drive = jnp.einsum("mbtp,p->mbt", flat, variables["params"]["core"]["w"])
    rates = jax.nn.softplus(
        drive[..., None] + variables["params"]["readout"]["bias"][:, None, None, :]
    )
    mean = variables["batch_stats"]["core"]["mean"] * 0.9 + 0.1 * drive.mean()
    return rates, {"core": {"mean": mean}}


def toy_objective(rates, batch, windows):
    """Poisson summed per mouse over valid entries."""
    mask = batch.valid_mbt[..., None] & batch.neurons_mn[:, None, None, :]
    nll = rates - batch.responses_mbtn * jnp.log(rates + 1e-8)
    return jnp.sum(nll, (1, 2, 3), where=mask)


def toy_penalty(params, neurons_mn, mice_m):
    """L2 on the core, once per real mouse."""
    return jnp.sum(mice_m) * jnp.sum(params["core"]["w"] ** 2)


def random_batch(seed=0):
    """Three mice, the last one empty; labels, neurons and frames missing."""
    rng = np.random.default_rng(seed)
    rates = rng.uniform(0.1, 3, (3, 4, 5, 6)).astype(np.float32)
    responses = rng.uniform(0, 3, (3, 4, 7, 6)).astype(np.float32)
    valid = rng.uniform(size=(3, 4, 7)) < 0.8
    neurons = np.arange(6)[None] < np.array([6, 3, 0])[:, None]
    batch = Batch(
        np.zeros((3, 4, 7, 1, 1, 1)),
        np.zeros((3, 4, 7, 0)),
        np.zeros((3, 4, 7, 2)),
        np.where(valid[..., None] & neurons[:, None, None], responses, np.nan),
        valid,
        neurons,
        np.zeros((3, 4, 7), np.int32),
    )
    return rates, batch


OPTIMIZER = make_optimizer(lambda step: 0.01)
STEP = jit_step(make_step(toy_forward, toy_objective, toy_penalty, OPTIMIZER))


def fresh():
    """The state of a toy's run before its first step."""
    return create(toy_variables(), OPTIMIZER, 7, ema=False)
