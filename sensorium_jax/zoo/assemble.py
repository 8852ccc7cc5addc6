"""From a preset and what the recordings offer to an encoder; classes by name."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax import asking
from sensorium_jax.asking import Asking
from sensorium_jax.axes import MouseInfo
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.models.cores.basic3d import Basic3dCore
from sensorium_jax.models.cores.core import PAGE, check_core
from sensorium_jax.models.cores.dwiseneuro import DwiseNeuroCore
from sensorium_jax.models.cores.energy import EnergyCore
from sensorium_jax.models.cores.factorized3d import Factorized3dCore
from sensorium_jax.models.cores.rotation2d import RotationEquivariant2dCore
from sensorium_jax.models.cores.stacked2d import Stacked2dCore
from sensorium_jax.models.cores.temporal_bases import TemporalBasesCore
from sensorium_jax.models.cores.v1t import V1TCore
from sensorium_jax.models.cores.viv1t import ViV1TCore
from sensorium_jax.models.encoder import Encoder
from sensorium_jax.models.parts.gru import ConvGRU
from sensorium_jax.models.parts.modulator import LogGain, MLPModulator
from sensorium_jax.models.parts.output import Output
from sensorium_jax.models.parts.shifter import MLPShifter, StaticAffineShifter
from sensorium_jax.models.readouts.attention import AttentionReadout
from sensorium_jax.models.readouts.factorized import FactorizedReadout
from sensorium_jax.models.readouts.gaussian import CortexPredictor, GaussianReadout
from sensorium_jax.models.readouts.grouped import GroupedReadout
from sensorium_jax.zoo.outside import is_outside, outside_core
from sensorium_jax.zoo.presets.named import PRESETS

CORES = {
    "stacked2d": Stacked2dCore,
    "rotation2d": RotationEquivariant2dCore,
    "factorized3d": Factorized3dCore,
    "basic3d": Basic3dCore,
    "temporal_bases": TemporalBasesCore,
    "energy": EnergyCore,
    "dwiseneuro": DwiseNeuroCore,
    "viv1t": ViV1TCore,
    "v1t": V1TCore,
}
READOUTS = {
    "gaussian": GaussianReadout,
    "factorized": FactorizedReadout,
    "attention": AttentionReadout,
    "grouped": GroupedReadout,
}
SHIFTERS = {"mlp": MLPShifter, "static_affine": StaticAffineShifter}
MODULATORS = {"mlp": MLPModulator, "log_gain": LogGain}

EMPTY: dict[str, Any] = {
    "core": None,
    "gru": None,
    "readout": None,
    "shifter": None,
    "modulator": None,
    "output": None,
    "behavior_as_channels": False,
    "pupil_as_channels": False,
}
# A file may ask for a model that takes hours to build.
REPEATED = ("layers", "blocks", "space_blocks", "time_blocks", "hidden_layers")
DEEPEST, WIDEST = 256, 1 << 20
LABELS = ("equals", "inputs", "asking")  # what a preset says beside its parts


class Inputs(NamedTuple):
    """What a model is given: frames as they reach the core, and signals beside them."""

    frame_shape: tuple[int, int, int]  # H, W, C of the video alone
    behaviors: int
    has_pupil: bool = True
    has_coordinates: bool = True

    @classmethod
    def of(cls, source: Any) -> "Inputs":
        """From Inputs, a MouseInfo, recordings that give one, or their sessions."""
        if isinstance(source, Inputs):
            return source
        if hasattr(source, "mouse_info"):
            source = source.mouse_info()
        if isinstance(source, MouseInfo):
            return cls(
                source.frame_shape,
                source.behaviors,
                source.has_pupil,
                source.has_coordinates,
            )
        sessions = list(source)
        shapes = sorted({tuple(s.frame_shape) for s in sessions})
        if len(shapes) != 1:
            raise UserError(
                f"The sessions have frames of the shapes (H, W, C) {shapes}; one model "
                "needs one shape. Select sessions that share it."
            )
        return cls(
            shapes[0],
            max(s.behaviors for s in sessions),
            any(s.has_pupil for s in sessions),
            all(s.coordinates_n3 is not None for s in sessions),
        )


def on_paper(names: Sequence[str], neurons: Sequence[int], inputs: Inputs) -> MouseInfo:
    """Mice without recordings, to learn the shapes of a model's weights by."""
    real_mn = np.arange(max(neurons)) < np.array(neurons)[:, None]
    cortex = np.linspace(-1, 1, real_mn.size * 3, dtype=np.float32)
    return MouseInfo(
        names=tuple(names),
        neurons_mn=real_mn,
        coordinates_mn3=cortex.reshape(*real_mn.shape, 3),
        mean_rates_mn=np.zeros(real_mn.shape, np.float32),
        trials_m=np.ones(len(names), int),
        train_trials_m=np.ones(len(names), int),
        has_coordinates=True,
        has_pupil=True,
        behaviors=inputs.behaviors,
        frame_shape=inputs.frame_shape,
    )


def spec(name: str, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The preset of that name with changes merged in; presets stay as they are.

    A change of a part is a dictionary of its options, or None to leave the part out;
    'core.layers' is short for one option.
    """
    if name not in PRESETS:
        raise unknown("model", name, PRESETS, "See: sensorium zoo list.")
    parts = EMPTY | {k: v for k, v in PRESETS[name].items() if k not in LABELS}
    for key, value in (changes or {}).items():
        part, _, option = key.partition(".")
        if part not in EMPTY:
            raise unknown(f"part of model '{name}'", part, EMPTY)
        parts[part] = _merge(parts[part], {option: value} if option else value)
    return parts


def _merge(old: Any, new: Any) -> Any:
    if not isinstance(new, Mapping):
        return new
    merged = dict(old) if isinstance(old, Mapping) else {}
    if "kind" in new and new["kind"] != merged.get("kind"):
        merged = {}  # options of one kind mean nothing to another
    for key, value in new.items():
        part, _, option = key.partition(".")
        merged[part] = _merge(merged.get(part), {option: value} if option else value)
    return merged


def build(
    name: str, source: Any = None, *, allow_outside: bool = False, **changes: Any
) -> Encoder:
    """The encoder of a preset for these recordings, with changes to its parts.

    `source` is a MouseInfo, recordings or sessions; without one the model takes the
    inputs of its original. ``build("cnn2022", info, core={"layers": 3})``. With
    allow_outside the kind of the core may name a class elsewhere (zoo.outside).
    """
    parts = spec(name, changes)
    inputs = Inputs.of(source) if source is not None else original_inputs(name)
    if parts["shifter"] is not None and not inputs.has_pupil:
        raise UserError(
            f"Model '{name}' follows the eye, and no mouse has a pupil position. Build "
            "it with shifter=None."
        )
    channels = inputs.frame_shape[2]
    channels += inputs.behaviors * bool(parts["behavior_as_channels"])
    channels += 2 * bool(parts["pupil_as_channels"])
    core = make_core(
        parts["core"], channels, inputs.frame_shape[2], allow_outside=allow_outside
    )
    output = parts["output"] or {}
    return Encoder(
        core=core,
        gru=make_gru(parts["gru"], core),
        readout=make_readout(parts["readout"]),
        shifter=make(SHIFTERS, "shifter", parts["shifter"]),
        modulator=make(MODULATORS, "modulator", parts["modulator"]),
        output=construct(Output, "output", output),
        behavior_as_channels=bool(parts["behavior_as_channels"]),
        pupil_as_channels=bool(parts["pupil_as_channels"]),
    )


def asking_of(name: str, encoder: Encoder, **given: Any) -> Asking:
    """How the preset of that name, so built, is asked; given fields win."""
    preset = PRESETS[name].get("asking", {})
    return asking.from_json({"causal": encoder.causal, **preset, **given}, name)


def original_inputs(name: str) -> Inputs:
    """What the original of a preset was given."""
    given = PRESETS[name]["inputs"]
    return Inputs(tuple(given["frame_shape"]), given["behaviors"])


def make_core(options: Any, channels: int, video: int, *, allow_outside: bool) -> Any:
    """The core, here or outside, held to the protocol of cores.

    channels are those of its input. A core that tells signals from light also has a
    field video_channels, how many of them are the video's.
    """
    if options is None:
        raise UserError(f"A model needs a core. Known kinds: {', '.join(CORES)}.")
    kind: Any = _checked("core", options).get("kind")
    kinds: Mapping[str, Any] = CORES
    if is_outside(kind):
        kinds = {kind: outside_core(kind, allowed=allow_outside)}
    more = {"input_channels": channels}
    fields = inspect.signature(kinds[kind]).parameters if kind in kinds else {}
    if "video_channels" in fields:
        more["video_channels"] = video
    core = make(kinds, "core", options, **more)
    check_core(core)
    return core


def make(kinds: Mapping[str, Any], what: str, options: Any, **more: Any) -> Any:
    """One part from its options; None stays None."""
    if options is None:
        return None
    options = dict(_checked(what, options))
    kind = options.pop("kind", None)
    if kind not in kinds:
        raise unknown(what, str(kind), kinds)
    return construct(kinds[kind], f"{what} '{kind}'", options, **more)


def _checked(what: str, options: Any) -> Mapping[str, Any]:
    if isinstance(options, Mapping):
        return options
    raise UserError(
        f"The {what} is {options!r}; expected its options by name, kind among them."
    )


def construct(cls: Any, what: str, options: Mapping[str, Any], **more: Any) -> Any:
    """An object of that class; a mistyped option is named."""
    fields = inspect.signature(cls).parameters
    known = [f for f in fields if f not in ("parent", "name", *more)]
    for key in options:
        if key not in known:
            raise unknown(f"option of {what}", key, known)
    absent = [key for key in more if key not in fields]
    if absent:
        raise UserError(f"{what} has no field {absent[0]}; it must have. See {PAGE}.")
    for key, value in options.items():
        if isinstance(value, int) and value > (DEEPEST if key in REPEATED else WIDEST):
            raise UserError(
                f"{what}.{key} is {str(value):.40}, more than any model has."
            )
    given = {k: _fixed(v) for k, v in options.items()} | more
    needed = [f for f, v in fields.items() if v.default is v.empty and f not in given]
    if needed:
        raise UserError(
            f"{what} needs {', '.join(needed)}; found {', '.join(options) or 'none'}."
        )
    return cls(**given)


def _fixed(value: Any) -> Any:
    """Lists as tuples: modules are compared and hashed by their fields."""
    return tuple(map(_fixed, value)) if isinstance(value, list | tuple) else value


def make_gru(options: Any, core: Any) -> ConvGRU | None:
    """The recurrent part, as wide at its input as the core's output."""
    if options is None:
        return None
    large = 1024  # any frame that no kernel is too wide for
    features = core.out_shape(core.lost_frames + 1, large, large)[-1]
    return construct(ConvGRU, "gru", options, input_channels=features)


def make_readout(options: Any) -> Any:
    """The readout; positions are predicted from cortex unless predictor is None."""
    if options is None:
        raise UserError(f"A model needs a readout. Known kinds: {', '.join(READOUTS)}.")
    options = dict(_checked("readout", options))
    if isinstance(options.get("predictor"), Mapping):
        options["predictor"] = construct(
            CortexPredictor, "predictor", options["predictor"]
        )
    return make(READOUTS, "readout", options)
