"""From a Batch as it travels to rates: prepare the frames, run the encoder."""

import re
from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from sensorium_jax import normalize, trees
from sensorium_jax.asking import PLAIN, Asking
from sensorium_jax.axes import Batch
from sensorium_jax.data import statistics as stats
from sensorium_jax.data.session import BEHAVIOR, PUPIL, Session
from sensorium_jax.data.stream import pools
from sensorium_jax.errors import unknown
from sensorium_jax.maps import linear
from sensorium_jax.maps.reduce import Plan
from sensorium_jax.training.step import Forward
from sensorium_jax.training.targets.lesson import Lesson

Tree = Any

# What runs in the dtype of a precision. Positions, statistics and rates never do.
HEAVY = "(core|gru)/.*"


class Precision(NamedTuple):
    """How a run computes."""

    dtype: Any  # of core and GRU
    products: str  # how products of float32 are computed, where nothing else is said


# An accelerator takes fewer bits of float32 than there are unless it is told not to.
PRECISIONS = {
    "float32": Precision(jnp.float32, "highest"),
    "tf32": Precision(jnp.float32, "tensorfloat32"),
    "bfloat16": Precision(jnp.bfloat16, "tensorfloat32"),
}


def with_statistics(
    variables: Tree, sessions: Sequence[Session], mice: int, inputs: str
) -> Tree:
    """Variables whose rows also know what a mouse's recording is normalized by.

    inputs are those of the model; see normalize.INPUTS. Training uses the statistics of
    the video; a twin made of the weights uses them all.
    """
    video = pools.pad_video_stats(stats.video_stats(sessions, inputs), mice)
    rows = {
        "video": {"mean": video.mean_mthwc, "std": video.std_mthwc},
        "behavior": stats.stacked_rows(sessions, BEHAVIOR, mice, inputs),
        "pupil": stats.stacked_rows(sessions, PUPIL, mice, inputs),
    }
    rows = jax.tree.map(jnp.asarray, rows)
    return {**variables, "info": {**variables["info"], **rows}}


def make_forward(
    encoder: Any,
    asking: Asking = PLAIN,
    *,
    precision: str = "float32",
    frozen: str = "",
) -> Forward:
    """forward(variables, batch, keys, train) -> (rates_mbtn float32, batch_stats).

    precision is one of PRECISIONS; parameters stay float32. What is frozen (a
    regex of leaves) has no gradient, and its batch norms run as in evaluation: the
    statistics they were trained with stay, and normalize.
    """
    ask = make_ask(encoder, precision, frozen)

    def forward(
        variables: Tree, batch: Batch, keys: Tree, *, train: bool
    ) -> tuple[jax.Array, Tree]:
        video = prepare(batch, variables["info"]["video"], asking)
        seen = video, batch.behavior_mbtk, batch.pupil_mbt2
        mice_m = batch.neurons_mn.any(1)
        return ask(variables, seen, keys, train=train, mice_m=mice_m)

    return forward


def make_mixed_forward(
    encoder: Any, *, precision: str = "float32", frozen: str = ""
) -> Forward:
    """The same of a targets.lesson.Lesson, whose samples every mouse answers.

    What the core sees is in the lesson already, signals among it.
    """
    ask = make_ask(without_signals(encoder), precision, frozen)

    def forward(
        variables: Tree, batch: Lesson, keys: Tree, *, train: bool
    ) -> tuple[jax.Array, Tree]:
        seen = batch.seen_bthwc, batch.behavior_btk, batch.pupil_bt2
        rates, running = ask(variables, seen, keys, train=train, all_readouts=True)
        return rates.swapaxes(0, 1), running

    return forward


def without_signals(encoder: Any) -> Any:
    """The encoder whose input has the signals among its channels already."""
    return encoder.clone(behavior_as_channels=False, pupil_as_channels=False)


def precise(function: Callable[..., Any], precision: str) -> Callable[..., Any]:
    """The function, with products computed as a precision says.

    So are those of gradients that are taken inside of it.
    """
    products = _chosen(precision).products

    @wraps(function)
    def inside(*args: Any, **options: Any) -> Any:
        with jax.default_matmul_precision(products):
            return function(*args, **options)

    return inside


def _chosen(precision: str) -> Precision:
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS, "Set config.train.precision.")
    return PRECISIONS[precision]


def make_ask(encoder: Any, precision: str, frozen: str) -> Callable[..., Any]:
    """ask(variables, (video, behavior, pupil), keys, train) -> (rates, batch_stats)."""
    dtype = _chosen(precision).dtype

    def ask(
        variables: Tree, seen: Any, keys: Tree, *, train: bool, **options: Any
    ) -> tuple[jax.Array, Tree]:
        video, behavior, pupil = seen
        params = lower(hold(variables["params"], frozen), dtype)
        with nn.intercept_methods(partial(settle_norms, frozen)):
            out = encoder.apply(
                {**variables, "params": params},
                video.astype(dtype),
                behavior,
                pupil,
                train=train,
                mutable=["batch_stats"] if train else False,
                rngs=keys,
                **options,
            )
        rates, updated = out if train else (out, {})
        running = {**variables["batch_stats"], **updated.get("batch_stats", {})}
        return rates.astype(jnp.float32), running

    return precise(ask, precision)


def hold(params: Tree, frozen: str) -> Tree:
    """Params whose frozen leaves pass no gradient, so none is computed for them."""
    held = trees.mask(params, frozen)
    return jax.tree.map(
        lambda x, stop: jax.lax.stop_gradient(x) if stop else x, params, held
    )


def settle_norms(frozen: str, call: Any, args: Any, kwargs: Any, context: Any) -> Any:
    """Run batch norms whose parameters are frozen as in evaluation (an interceptor)."""
    if frozen and getattr(context.module, "holds_statistics", False):
        path = "/".join(context.module.path)
        if context.method_name == "__call__" and re.fullmatch(frozen, f"{path}/scale"):
            kwargs = {**kwargs, "train": False}
    return call(*args, **kwargs)


def make_linear(plan: Plan, lost: int) -> Forward:
    """forward(variables, batch) of the linear models that 'info' holds, as 'linear'.

    The first `lost` frames are left out, as the model beside it answers none of them.
    """

    def forward(
        variables: Tree, batch: Batch, keys: Tree, *, train: bool
    ) -> tuple[jax.Array, Tree]:
        del keys, train
        info = variables["info"]
        video = prepare(batch, info["video"], PLAIN)
        signals = batch.behavior_mbtk, batch.pupil_mbt2
        return linear.rates(plan, info["linear"], video, *signals)[:, :, lost:], {}

    return forward


def prepare(batch: Batch, statistics: Tree, asking: Asking) -> jax.Array:
    """Video normalized by the statistics of its own frames, then shrunk.

    Mapped over mice, not indexed by them, so that a mesh keeps each where it lies.
    """
    one = partial(normalize.prepare, scale=asking.scale, canvas=asking.canvas)
    video = batch.video_mbthwc.astype(jnp.float32)
    return jax.vmap(one)(video, statistics, batch.frame_mbt)


def lower(params: Tree, dtype: Any) -> Tree:
    """Weights of the heavy parts in another dtype."""
    heavy = trees.mask(params, HEAVY)
    return jax.tree.map(lambda x, low: x.astype(dtype) if low else x, params, heavy)
