"""Targets that are partly the linear model's rates while a run is young.

Responses of single trials are mostly noise where spikes are rare, and a step sees few
of them. The linear model has seen every trial, and its rates have no noise. So a run
that begins with a mixture of both learns in few steps what is linear; the share of
these rates falls to nothing, since what is not linear is in the responses only.
"""

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.asking import PLAIN, Asking
from sensorium_jax.axes import Batch
from sensorium_jax.data.stream.stream import Stream
from sensorium_jax.errors import UsageError
from sensorium_jax.maps import linear
from sensorium_jax.maps.linear import Linear, Weights
from sensorium_jax.maps.reduce import Plan
from sensorium_jax.rules import TRAIN
from sensorium_jax.run import Config, linear as linears
from sensorium_jax.training import forward
from sensorium_jax.training.mesh import shard

Batches = Callable[..., Generator[Batch, None, None]]
MOST = 200_000_000  # weights of all mice; more do not fit beside a run


class Guide(NamedTuple):
    """The linear models of all mice, on the mesh, and statistics of their videos."""

    plan: Plan
    weights: Weights  # leaves [M, ...]
    statistics: dict[str, Any]


def batches(
    plain: Batches,
    config: Config,
    stream: Stream,
    asking: Asking,
    fitted: Callable[[], "Guide"],
) -> Batches:
    """The batches of a run, guided at first; as they are where that is not possible.

    The linear models are fitted when the first batch is asked for.
    """
    share = config.train.linear_share
    if not 0 <= share < 1:
        raise UsageError(
            f"config.train.linear_share is {share}. Expected 0 or more, and below 1."
        )
    why = unfit(config, stream, asking) if share else ""
    if why:
        print(f"note: {why}, so the linear model guides no step", file=sys.stderr)
    if why or not share:
        return plain
    return partial(_guided, plain, fitted, share)


def unfit(config: Config, stream: Stream, asking: Asking, most: int = 0) -> str:
    """Why the linear model cannot speak of such batches, if so."""
    sessions, data = stream.recordings.sessions, config.data
    if data.fold >= 0 or data.trials < 1 or data.tier != TRAIN or data.mixed:
        return "it would know of other trials than those that are trained on"
    plain = asking.inputs, asking.units, asking.stride
    if plain != (PLAIN.inputs, linears.UNITS, PLAIN.stride):
        return "inputs, units or stride are not those of the linear model"
    plans = {mouse.plan for mouse in linears.passes.mice(sessions, linears.UNITS)}
    if len(plans) > 1:
        return "mice have signals of different number"
    neurons = max(s.neurons for s in sessions)
    if len(sessions) * neurons * plans.pop().light > (most or MOST):
        return "there are many neurons"
    return ""


def guide(stream: Stream, mesh: Any) -> Guide:
    """The linear models, fitted unless they are kept beside the recordings."""
    sessions = stream.recordings.sessions
    with jax.set_mesh(shard.alone()):
        twins = linears.fitted(sessions, [stream.recordings.path]).twins
        each = [twins[s.name] for s in sessions]
        weights = stacked(each, stream.mice, stream.neurons_mn.shape[1])
    mean, std = stream.video_stats
    local = weights, {"mean": np.asarray(mean), "std": np.asarray(std)}
    rows, _ = shard.local_box(mesh, stream.mice, stream.batch)
    weights, statistics = jax.tree.map(
        lambda x: shard.put_rows(x[rows], mesh, stream.mice), local
    )
    return Guide(each[0].plan, weights, statistics)


def stacked(twins: Sequence[Linear], mice: int, neurons: int) -> Weights:
    """Weights of all mice, padded to so many mice and neurons."""

    def row(name: str) -> np.ndarray:
        by_neuron = name != "mean_md"
        axis = 1 if name == "weight_mdn" else 0
        rows = []
        for twin in twins:
            x = np.asarray(getattr(twin.weights, name)[0])
            if by_neuron:
                x = np.take(x, np.arange(twin.neurons[0]), axis)
                more = [(0, 0)] * x.ndim
                more[axis] = (0, neurons - x.shape[axis])
                # The drive is divided by the spread.
                x = np.pad(x, more, constant_values=name == "spread_mn")
            rows.append(x)
        rows += [np.ones_like(rows[0])] * (mice - len(rows))
        return np.stack(rows)

    return Weights(*map(row, Weights._fields))


def _guided(
    plain: Batches, fitted: Callable[[], Guide], share: float, start: int, *, stop: int
) -> Generator[Batch, None, None]:
    guide = fitted()
    with closing(plain(start, stop=stop)) as reading:
        for step, batch in enumerate(reading, start):
            part = jnp.float32(share * (1 - step / stop))
            yield _mixed(guide.plan, guide.weights, guide.statistics, batch, part)


@partial(jax.jit, static_argnums=0)
def _mixed(
    plan: Plan, weights: Weights, statistics: Any, batch: Batch, part: jax.Array
) -> Batch:
    video_mbthwc = forward.prepare(batch, statistics, PLAIN)
    signals = batch.behavior_mbtk, batch.pupil_mbt2
    rates = linear.rates(plan, weights._asdict(), video_mbthwc, *signals)
    rates = jnp.where(batch.neurons_mn[:, None, None], rates, 0.0)
    responses = (1 - part) * batch.responses_mbtn + part * rates
    return batch._replace(responses_mbtn=responses)
