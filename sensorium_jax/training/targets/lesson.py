"""From a mixed batch as it travels to what the step learns from.

Each sample of a mixed batch is of one mouse, but every mouse's readout answers it. So
targets and weights have a place for every pair of mouse and sample: recorded responses
where the sample is the mouse's own, a teacher's rates or nothing elsewhere.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sensorium_jax import normalize
from sensorium_jax.asking import Asking
from sensorium_jax.axes import MixedBatch
from sensorium_jax.training.state import TrainState, key_for
from sensorium_jax.training.targets import cutmix, distill

Array = Any
Tree = Any


class Drawn(NamedTuple):
    """What is given to a step."""

    batch: MixedBatch
    partner: MixedBatch | None = None  # other windows of the same mice, to mix in
    teacher: Tree | None = None  # variables of the teacher, of the same mice


class Lesson(NamedTuple):
    """A mixed batch as the step sees it; its fields serve as those of a Batch do."""

    seen_bthwc: Array  # what the core sees: frames, and signals as channels
    behavior_btk: Array
    pupil_bt2: Array
    responses_mbtn: Array
    valid_mbt: Array  # bool: a labelled frame of the mouse's own sample
    neurons_mn: Array
    frame_mbt: Array
    weight_mb: Array  # how much each pair of mouse and sample counts; 0: not at all
    observed_mbn: Array | None = None


# teach(variables, seen_bthwc, behavior_btk, pupil_bt2) -> rates_mbtn of the teacher
Teach = Callable[[Tree, Array, Array, Array], Array]


def make_lessons(
    encoder: Any,
    asking: Asking,
    *,
    cutmix_probability: float = 0.0,
    teach: Teach | None = None,
    share: float = 0.0,
) -> Callable[[TrainState, Drawn], Lesson]:
    """lesson(state, drawn), for use inside the step.

    encoder.frames puts signals beside the video. share is the part of all weight that
    the teacher's targets have.
    """

    def lesson(state: TrainState, drawn: Drawn) -> Lesson:
        batch, seen = drawn.batch, see(encoder, asking, state.info, drawn.batch)
        if drawn.partner is not None:
            other = see(encoder, asking, state.info, drawn.partner)
            key = key_for(state.seed, state.step, "mix")
            height, width = seen.shape[2:4]
            box = cutmix.draw(key, len(seen), height, width, cutmix_probability)
            seen = cutmix.paste(seen, other, box)
            batch = mixed(batch, drawn.partner, cutmix.area(box, height, width))
        out = spread(batch, seen, state.info["neurons_n"])
        if teach is None:
            return out
        signals = batch.behavior_btk, batch.pupil_bt2
        rates = teach(drawn.teacher, seen, *signals)
        mice_m = out.neurons_mn.any(1)
        return out._replace(
            responses_mbtn=distill.filled(out.responses_mbtn, rates, out.weight_mb),
            weight_mb=distill.weights(out.weight_mb, mice_m, share),
        )

    return lesson


def see(encoder: Any, asking: Asking, info: Tree, batch: MixedBatch) -> Array:
    """Frames [B, T, H, W, C] as the core sees them, signals as channels beside them."""
    of_mice = partial(jnp.take, indices=batch.mouse_b, axis=0)
    statistics = jax.tree.map(of_mice, info["video"])
    one = partial(normalize.prepare, scale=asking.scale, canvas=asking.canvas)
    video = batch.video_bthwc.astype(jnp.float32)
    video = jax.vmap(lambda v, s, f: one(v[None], s, f[None])[0])(
        video, statistics, batch.frame_bt
    )
    parts = video, batch.behavior_btk, batch.pupil_bt2
    return encoder.frames(*(x[None] for x in parts))[0]


def mixed(batch: MixedBatch, partner: MixedBatch, area_b: Array) -> MixedBatch:
    """Responses of both; what counts must be known of both, where both are shown."""
    shown_b = area_b > 0
    y, other = batch.responses_btn, partner.responses_btn
    observed = batch.observed_bn
    if observed is not None:
        observed = observed & (partner.observed_bn | ~shown_b[:, None])
    return batch._replace(
        responses_btn=cutmix.mix(y, other, area_b),
        valid_bt=batch.valid_bt & (partner.valid_bt | ~shown_b[:, None]),
        observed_bn=observed,
    )


def spread(batch: MixedBatch, seen_bthwc: Array, neurons_mn: Array) -> Lesson:
    """The batch with a place for every pair of mouse and sample."""
    mice_m1 = jnp.arange(len(neurons_mn))[:, None]
    own_mb = mice_m1 == batch.mouse_b[None]
    own = own_mb[:, :, None, None]
    observed = None
    if batch.observed_bn is not None:
        observed = batch.observed_bn[None] | ~own_mb[:, :, None]
    return Lesson(
        seen_bthwc=seen_bthwc,
        behavior_btk=batch.behavior_btk,
        pupil_bt2=batch.pupil_bt2,
        responses_mbtn=jnp.where(own, batch.responses_btn[None], 0.0),
        valid_mbt=own_mb[:, :, None] & batch.valid_bt[None],
        neurons_mn=neurons_mn,
        frame_mbt=jnp.where(own_mb[:, :, None], batch.frame_bt[None], 0),
        weight_mb=own_mb.astype(jnp.float32),
        observed_mbn=observed,
    )
