"""The whole model: one core for all mice, one readout, shifter and gain per mouse."""

from functools import cache, partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax import axes, trees
from sensorium_jax.errors import UserError
from sensorium_jax.models.cores.core import Core
from sensorium_jax.models.parts.gru import ConvGRU
from sensorium_jax.models.parts.modulator import Modulator
from sensorium_jax.models.parts.output import Output
from sensorium_jax.models.parts.penalties import GENERAL, Function
from sensorium_jax.models.parts.shifter import Shifter
from sensorium_jax.models.rows import Mouse, Side

Array = Any
Tree = Any
PARTS = ("core", "gru", "readout", "shifter", "modulator")


class Encoder(nn.Module):
    """Core once over all mice, then shifter, readout and modulator mouse by mouse.

    What it must know of its mice lies in the collection 'info' (rows.mouse_rows), so
    one encoder serves any mice. Start the weights with `create`.
    """

    core: Core
    readout: Any  # a Readout; twins ask a Gaussian one for more than that
    gru: ConvGRU | None = None
    shifter: Shifter | None = None
    modulator: Modulator | None = None
    output: Output = Output()
    behavior_as_channels: bool = False
    pupil_as_channels: bool = False

    @property
    def causal(self) -> bool:
        """Whether no rate depends on frames of the clip that come after its own."""
        return self.core.causal and (self.gru is None or self.gru.causal)

    @property
    def penalties(self) -> dict[str, tuple[str, Function]]:
        """What its parts offer by name: (regex on whole parameter paths, function)."""
        offers: dict[str, tuple[str, Function]] = {}
        for part in PARTS:
            module = getattr(self, part)
            own = module.penalties if module is not None else {}
            for name, (pattern, function) in own.items():
                if name in offers or name in GENERAL:
                    raise UserError(
                        f"{type(module).__name__} offers a penalty '{name}', a name "
                        "that is taken. Give it another one."
                    )
                offers[name] = (f"{part}/(?:{pattern})", function)
        return offers

    def __call__(
        self,
        video_mbthwc: Array,
        behavior_mbtk: Array,
        pupil_mbt2: Array,
        *,
        train: bool,
        mice_m: Array | None = None,
        all_readouts: bool = False,
        noise_mbtn2: Array | None = None,
    ) -> Array:
        """Rates [M, B, T', N] of the last T' frames (axes.last_frames).

        mice_m is False for rows that only fill a mesh. With all_readouts the inputs
        have no M, and every mouse answers every sample: [B, M, T', N]; the batch norm
        groups must then be 'batch'. noise_mbtn2 replaces the positions' random draws.
        """
        mouse = self._mouse()
        if all_readouts:
            groups = self.core.norm_groups
            inputs = _split(video_mbthwc, behavior_mbtk, pupil_mbt2, groups=groups)
        else:
            inputs = video_mbthwc, behavior_mbtk, pupil_mbt2
            _check_rows(mouse, video_mbthwc, self.variables.get("params", {}))
        x = self.frames(*inputs)
        feat = self.core(x, train=train, mice_m=None if all_readouts else mice_m)
        _check_maps(self.core, x, feat, train=train)
        if self.gru is not None:
            feat = self.gru(feat)
        if all_readouts:
            feat = feat.reshape(-1, *feat.shape[2:])
        stride = self.core.train_stride if train else 1
        late = partial(axes.last_frames, axis=-2, frames=feat.shape[-4], stride=stride)
        side = Side(
            behavior_btk=late(behavior_mbtk),
            pupil_bt2=late(pupil_mbt2),
            key=self._keys(mouse) if train and noise_mbtn2 is None else None,
            noise_btn2=noise_mbtn2,
        )
        drive_mbtn = self._drive(feat, mouse, side, train=train)
        rates_mbtn = self.output.rate(drive_mbtn)
        return rates_mbtn.swapaxes(0, 1) if all_readouts else rates_mbtn

    def _mouse(self) -> Mouse:
        if not self.has_variable("info", "id"):
            raise UserError(
                "The encoder was called without the collection 'info' that describes "
                "its mice. Pass variables made by encoder.create, or add "
                "{'info': rows.mouse_rows(info)}."
            )
        return Mouse(*(self.get_variable("info", name) for name in Mouse._fields))

    def _keys(self, mouse: Mouse) -> Array:
        if not self.has_rng("sample"):
            raise UserError(
                "Training draws positions at random: pass rngs={'sample': key}."
            )
        key = self.make_rng("sample")
        return jax.vmap(jax.random.fold_in, (None, 0))(key, mouse.id)

    @nn.nowrap
    def frames(self, video: Array, behavior: Array, pupil: Array) -> Array:
        """The core's input: video, then behavior and pupil as constant maps.

        All lead with [M, B, T]; needs no parameters.
        """
        parts, (h, w) = [video], video.shape[3:5]
        signals = [behavior] if self.behavior_as_channels else []
        signals += [pupil] if self.pupil_as_channels else []
        for signal in signals:
            maps = signal[..., None, None, :].astype(video.dtype)
            shape = (*signal.shape[:3], h, w, signal.shape[-1])
            parts.append(jnp.broadcast_to(maps, shape))
        return jnp.concatenate(parts, -1) if len(parts) > 1 else video

    def _drive(self, feat: Array, mouse: Mouse, side: Side, *, train: bool) -> Array:
        """Drives [M, B, T', N] of maps with or without M."""
        data = None if feat.ndim == 5 else 0
        if self.shifter is not None:
            shift = _by_mouse(self.shifter, (data, 0))(side.pupil_bt2, mouse)
            side = side._replace(shift_bt2=shift)
        axes_of_side = Side(0, data, data, 0, 0)
        read = _by_mouse(self.readout, (data, 0, axes_of_side), train=train)
        drive_mbtn = read(feat, mouse, side)
        if self.modulator is not None:
            gain = _by_mouse(self.modulator, (data, 0))(side.behavior_btk, mouse)
            added = self.modulator.additive
            drive_mbtn = drive_mbtn + gain if added else drive_mbtn * gain
        return drive_mbtn


def _by_mouse(module: Any, in_axes: Any, **options):
    """The module with its own weights for each mouse; returns lead with M."""
    lifted = nn.vmap(
        lambda module, *args: module(*args, **options),
        in_axes=in_axes,
        variable_axes={"params": 0, "batch_stats": 0},
        # One key for all: modules fold in their mouse, so no row knows its place.
        split_rngs={"params": False, "dropout": True},
    )
    return lambda *args: lifted(module, *args)


def create(
    encoder: Encoder,
    info: dict[str, Array],
    key: Array,
    *,
    frame_shape: tuple[int, int, int],
    behaviors: int,
    frames: int | None = None,
) -> Tree:
    """Starting variables {params, batch_stats, info}.

    info is rows.mouse_rows; frame_shape is (H, W, C) of the video alone. A mouse's
    weights follow from the key and its name only.
    """
    _check_coordinates(encoder, info)
    frames = frames or encoder.core.lost_frames + 1
    info = jax.tree.map(jnp.asarray, info)
    return _start(encoder, info, key, frame_shape, behaviors, frames)


@partial(jax.jit, static_argnums=(0, 3, 4, 5))  # kept: drawing compiles for seconds
def _start(encoder, info, key, frame_shape, behaviors, frames) -> Tree:
    shape = (len(info["id"]), axes.shard_counts()[1], frames)
    _, variables = encoder.apply(
        {"info": info},
        jnp.zeros((*shape, *frame_shape)),
        jnp.zeros((*shape, behaviors)),
        jnp.zeros((*shape, 2)),
        train=False,
        rngs={"params": key},
        mutable=["params", "batch_stats"],
    )
    return {"batch_stats": {}, **variables, "info": info}


@cache
def neuron_axes(
    encoder: Any, frame_shape: tuple[int, int, int], behaviors: int
) -> dict[str, int]:
    """Which axis of a mouse's own array counts its neurons, by the leaf's name.

    Found by starting the encoder for 4 and for 5 neurons without computing anything.
    frame_shape is the frame as the core sees it, (H, W, C) of the video alone.
    """

    def shapes(neurons: int) -> dict[str, tuple[int, ...]]:
        n = jax.ShapeDtypeStruct((1, neurons), jnp.float32)
        info = {
            "id": jax.ShapeDtypeStruct((1,), jnp.uint32),
            "neurons_n": jax.ShapeDtypeStruct((1, neurons), jnp.bool_),
            "coordinates_n2": jax.ShapeDtypeStruct((1, neurons, 2), jnp.float32),
            "rates_n": n,
            "match_n": jax.ShapeDtypeStruct((1, neurons), jnp.int32),
        }
        frames, key = encoder.core.lost_frames + 1, jax.random.key(0)
        started = jax.eval_shape(
            lambda info: _start(encoder, info, key, frame_shape, behaviors, frames),
            info,
        )
        return {name: x.shape for name, x in trees.named_leaves(started).items()}

    four, five = shapes(4), shapes(5)
    return {
        name: next(i for i, size in enumerate(shape) if size != five[name][i]) - 1
        for name, shape in four.items()
        if shape != five[name]
    }


def _split(
    video: Array, behavior: Array, pupil: Array, *, groups: str
) -> tuple[Array, ...]:
    """Cut a mixed batch [B, ...] over the mesh's mouse axis: [parts, B/parts, ...]."""
    parts, _ = axes.shard_counts()
    if video.shape[0] % parts:
        raise UserError(
            f"A mixed batch of {video.shape[0]} samples cannot be cut over a mesh of "
            f"mouse={parts}; make it a multiple of {parts}."
        )
    if parts > 1 and groups == "mouse":
        raise UserError(
            "A mixed batch on a mesh that cuts mice needs batch norm over the whole "
            "batch. Set the core's norm_groups to 'batch', or use a mesh of mouse=1."
        )
    each = video.shape[0] // parts
    return tuple(x.reshape(parts, each, *x.shape[1:]) for x in (video, behavior, pupil))


def _check_maps(core: Core, x: Array, feat: Array, *, train: bool) -> None:
    """Refuse maps that are not what the core said: they would be misplaced in time."""
    frames, *rest = core.out_shape(*x.shape[2:5])
    answered = -(-frames // core.train_stride) if train else frames
    expected = (*x.shape[:2], answered, *rest)
    if feat.shape != expected:
        raise UserError(
            f"{type(core).__name__} gave maps of shape {feat.shape} for an input of "
            f"shape {x.shape}; its out_shape promises {expected} ([mouse, window, "
            "frame, row, column, feature]). Correct one of the two."
        )


def _check_coordinates(encoder: Encoder, info: dict[str, Array]) -> None:
    if not encoder.readout.needs_coordinates:
        return
    unknown_m = ~np.any(info["coordinates_n2"], (1, 2)) & np.any(info["neurons_n"], 1)
    several_m = np.sum(info["neurons_n"], 1) > 1
    if np.any(unknown_m & several_m):
        raise UserError(
            "The readout predicts positions from cortex, but the neurons of row(s) "
            f"{np.flatnonzero(unknown_m & several_m).tolist()} have no coordinates. "
            "Build the model with free positions: GaussianReadout(predictor=None)."
        )


def _check_rows(mouse: Mouse, video_mbthwc: Array, params: Tree) -> None:
    mice, neurons = mouse.neurons_n.shape
    if video_mbthwc.ndim != 6 or video_mbthwc.shape[0] != mice:
        raise UserError(
            f"The model has {mice} mice; found video of shape {video_mbthwc.shape}, "
            f"expected [{mice}, batch, time, height, width, channels]. Select the "
            "model's rows with rows.select_rows, or stack the recordings alike."
        )
    for name, leaf in trees.named_leaves(params.get("readout", {})).items():
        if name == "bias" and leaf.shape != (mice, neurons):
            raise UserError(
                f"The weights are of {leaf.shape[0]} mice with {leaf.shape[1]} "
                f"neurons, the info of {mice} with {neurons}; they must come from "
                "the same recordings."
            )
