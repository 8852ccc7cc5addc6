"""A trained model as an experimenter meets it: a stimulus and a mouse in, rates out."""

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.errors import FlaxError
from jax.core import Tracer

from sensorium_jax import normalize, trees
from sensorium_jax.asking import PLAIN, SIGNALS, Asking
from sensorium_jax.checkpoints import write
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.maps import linear
from sensorium_jax.maps.reduce import Plan
from sensorium_jax.models import rows
from sensorium_jax.models.encoder import Encoder, neuron_axes
from sensorium_jax.models.readouts.gaussian import GaussianReadout
from sensorium_jax.models.readouts.grouped import GroupedReadout, spread
from sensorium_jax.models.rows import Mouse
from sensorium_jax.text import html_facts
from sensorium_jax.zoo.twins import inputs

Array = Any
Tree = Any
EXACT = "highest"
SETTINGS: Any = jax.config
UNFIT = (FlaxError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError)
# Where the linear model's arrays of one mouse count neurons.
LINEAR_AXES = {"info/linear/weight_mdn": 1} | dict.fromkeys(
    (f"info/linear/{w}_mn" for w in ("spread", "gain", "offset", "least")), 0
)
LINEAR_AXES["info/linear/bend_mn3"] = 0
SLOW = 2.0  # seconds of compiling that are worth a word
_programs = 0  # how many have been traced; what tells a first call from a later one


@dataclass(frozen=True, eq=False)
class Twin:
    """An encoder with its weights, its mice, and what their recordings were scaled by.

    Inputs are raw where 'info' holds statistics (video, behavior, pupil); those without
    are taken as already normalized. `asking` says what `respond` wants: whole trials or
    windows, every how many frames, and the units of its rates. A twin is a pytree, so
    it may be passed to jitted functions.
    """

    encoder: Encoder
    variables: Tree
    mice: tuple[str, ...]
    neurons: tuple[int, ...]  # of each mouse
    frame_shape: tuple[int, int, int]  # rows, columns and channels, as recorded
    behaviors: int
    asking: Asking = PLAIN
    card: Mapping[str, Any] = field(default_factory=dict)
    linear: Plan | None = None  # a linear model takes part, which sees frames so

    @property
    def lost_frames(self) -> int:
        """Leading frames of a clip that get no rate."""
        with fitting(self.encoder.core):
            return self.encoder.core.lost_frames

    @property
    def raw(self) -> tuple[str, ...]:
        """Which inputs are taken as recorded: of video, behavior and pupil."""
        return tuple(w for w in SIGNALS if w in self.variables["info"])

    @property
    def units(self) -> str:
        """How the responses that it learned from were normalized; so are its rates."""
        return self.asking.units

    def row(self, mouse: int | str) -> int:
        """Row of a mouse, from its number, its name, or a part only it has."""
        if not isinstance(mouse, str):
            if -len(self.mice) <= mouse < len(self.mice):
                return int(mouse) % len(self.mice)
            raise UserError(
                f"Mouse {mouse} was asked for; the twin knows {len(self.mice)}, "
                f"numbers 0 to {len(self.mice) - 1}: {', '.join(self.mice)}."
            )
        if mouse in self.mice:
            return self.mice.index(mouse)
        fits = [i for i, name in enumerate(self.mice) if mouse and str(mouse) in name]
        if len(fits) == 1:
            return fits[0]
        raise unknown(
            "mouse", mouse, self.mice, "Choose one that the twin was made of."
        )

    def respond(
        self,
        video_bthwc: Array,
        behavior_btk: Array | None = None,
        pupil_bt2: Array | None = None,
        mouse: int | str = 0,
        first_frame_b: Array | int = 0,
    ) -> jax.Array:
        """Rates [B, T', N] of one mouse for the last T' frames of each clip.

        Frames are `asking.stride` apart; first_frame_b, one number or one for each
        clip, says which frame of its trial a clip begins with, as statistics may differ
        frame by frame. Behavior or pupil that is None stays at the mean of the
        recording (zero where that is unknown). A video may also hold the behavior as
        maps after its own channels, as the originals of SENSORIUM+ take it; it is then
        used as it is.

        Differentiable in the video and usable under jit. Called outside of jit, it
        compiles once for every shape of clips, and says so where that takes long.
        """
        row = self.row(mouse)
        plan, clips = self._asked(video_bthwc, behavior_btk, pupil_bt2, first_frame_b)
        before, began = _programs, time.monotonic()
        rates_btn = _respond(plan, self.variables, row, clips)
        if _programs > before and not isinstance(rates_btn, Tracer):
            _say_compiled(video_bthwc.shape, time.monotonic() - began)
        return rates_btn[:, :, : self.neurons[row]]

    def each(
        self,
        video_bthwc: Array,
        neuron_b: Array,
        behavior_btk: Array | None = None,
        pupil_bt2: Array | None = None,
        mouse: int | str = 0,
        first_frame_b: Array | int = 0,
    ) -> jax.Array:
        """Rates [B, T'] where clip i is shown to neuron neuron_b[i] alone.

        Each clip is computed for its own neuron only, so many neurons can be asked at
        once with stimuli of their own. The rest is as in respond.
        """
        row, axes = self.row(mouse), self._neuron_axes()
        neuron_b = jnp.asarray(neuron_b, jnp.int32)
        if axes is None:
            rates = (video_bthwc, behavior_btk, pupil_bt2, mouse, first_frame_b)
            rates_btn = self.respond(*rates)
            return jnp.take_along_axis(rates_btn, neuron_b[:, None, None], 2)[..., 0]
        plan, clips = self._asked(video_bthwc, behavior_btk, pupil_bt2, first_frame_b)
        axes = tuple(sorted(axes.items()))
        return _each(plan, axes, self.variables, row, neuron_b, clips)

    def features(
        self,
        video_bthwc: Array,
        behavior_btk: Array | None = None,
        pupil_bt2: Array | None = None,
        mouse: int | str = 0,
        first_frame_b: Array | int = 0,
    ) -> jax.Array:
        """What the core makes of each clip, maps [B, T', H', W', F]; as in respond."""
        row = self.row(mouse)
        plan, clips = self._asked(video_bthwc, behavior_btk, pupil_bt2, first_frame_b)
        return _features(plan, self.variables, row, clips)

    def only(self, mouse: int | str, neurons: Sequence[int]) -> "Twin":
        """The same twin of one mouse and some of its neurons, in this order."""
        row, axes = self.row(mouse), self._neuron_axes()
        chosen = check_neurons(neurons, self.neurons[row], self.mice[row])
        if axes is None:
            kind = type(self.encoder.readout).__name__
            raise UserError(
                f"The readout {kind} mixes neurons, so some of them cannot be asked "
                "alone. Ask for all of them."
            )
        name = self.mice[row]
        about = {"name": name, "neurons": len(chosen), "chosen": chosen}
        return replace(
            self,
            variables=rows.select_neurons(self.variables, row, chosen, axes),
            mice=(name,),
            neurons=(len(chosen),),
            card={**self.card, "mice": [about]},
        )

    def _asked(self, video_bthwc, behavior_btk, pupil_bt2, first_frame_b):
        """What a program is made for, and what is shown; refuses odd shapes."""
        encoder, asking, frame = self.encoder, self.asking, self.frame_shape
        if self._holds_maps(video_bthwc):
            encoder = encoder.clone(behavior_as_channels=False)
            frame = (*frame[:2], video_bthwc.shape[-1])
        scale = inputs.check_video(video_bthwc, frame, asking.scale, self.lost_frames)
        b, t = video_bthwc.shape[:2]
        inputs.check_signal(behavior_btk, "behavior", (b, t, self.behaviors))
        inputs.check_signal(pupil_bt2, "pupil", (b, t, 2))
        first_b = jnp.broadcast_to(jnp.asarray(first_frame_b, jnp.int32), (b,))
        asking = asking._replace(scale=scale)
        plan = _Plan(encoder, asking, self.behaviors, self.linear)
        return plan, _Clips(video_bthwc, behavior_btk, pupil_bt2, first_b)

    def _neuron_axes(self) -> dict[str, int] | None:
        """Where each array counts neurons; None where they cannot be told apart."""
        a = self.asking
        seen = normalize.seen_shape(self.frame_shape, a.scale, a.canvas)
        encoder: Any = self.encoder
        axes = neuron_axes(encoder, seen, self.behaviors)
        axes = axes | (LINEAR_AXES if self.linear else {})
        leaves = trees.named_leaves(self.variables)
        total = leaves["info/neurons_n"].shape[1]
        fits = [leaves[n].shape[i + 1] == total for n, i in axes.items() if n in leaves]
        return axes if all(fits) else None

    @property
    def frames_per_second(self) -> float | None:
        """Frames per second of the films that it learned from, where known."""
        return self.card.get("frames_per_second")

    @property
    def degrees_per_pixel(self) -> float | None:
        """Degrees of visual angle of a pixel as recorded, where known."""
        return self.card.get("degrees_per_pixel")

    @property
    def memory(self) -> int | None:
        """Frames that a rate depends on; None where they are not limited, or unknown.

        A core that loses no frame may look at one frame only or fill up with zeros. One
        that looks ahead may look at all of the clip.
        """
        endless = self.encoder.gru is not None or not self.lost_frames
        endless = endless or not self.encoder.causal
        own = self.asking.stride * self.lost_frames + 1
        return None if endless else max(own, self.linear.taps if self.linear else 0)

    def light(self, mouse: int | str) -> tuple[float, float] | None:
        """Mean and SD of grey levels, in units of its input; None where unknown."""
        video = self.variables["info"].get("video")
        if video is None:
            return None
        row = self.row(mouse)
        mean, std = (float(np.mean(np.asarray(video[k])[row])) for k in ("mean", "std"))
        return mean, std

    def usual(self, mouse: int | str) -> tuple[np.ndarray, np.ndarray]:
        """Behavior [K] and pupil [2] that stand for None, in units of its inputs."""
        row, info = self.row(mouse), self.variables["info"]
        out = []
        for what, size in (("behavior", self.behaviors), ("pupil", 2)):
            known = info.get(what, {})
            mean = known.get("usual", known.get("mean"))
            if mean is None or not size:
                out.append(np.zeros(size, np.float32))
                continue
            value = np.asarray(mean, np.float32)[row]
            flat = value.reshape(-1, value.shape[-1]).mean(0)
            out.append(np.broadcast_to(flat, (size,)))
        return out[0], out[1]

    def _holds_maps(self, video_bthwc: Array) -> bool:
        maps = self.behaviors * self.encoder.behavior_as_channels
        wide = self.frame_shape[2] + maps
        return bool(maps) and not self.raw and video_bthwc.shape[-1] == wide

    def readout_weights(self, mouse: int | str) -> np.ndarray:
        """What each neuron takes from each feature of the core, [N, F]."""
        row, readout = self.row(mouse), self.variables["params"]["readout"]
        if "features" not in readout:
            raise UserError(
                f"The readout {type(self.encoder.readout).__name__} has no feature "
                "weights. Use a Gaussian, factorized, attention or grouped readout."
            )
        weights = np.asarray(readout["features"][row])
        if "scales" in readout:
            match_n = np.asarray(self.variables["info"]["match_n"][row])
            weights = np.asarray(readout["scales"][row])[:, None] * weights[match_n]
        if isinstance(self.encoder.readout, GroupedReadout):
            match_n = self.variables["info"]["match_n"][row]
            weights = np.asarray(spread(weights, match_n, self.encoder.readout.groups))
        return weights[: self.neurons[row]]

    def positions(self, mouse: int | str) -> np.ndarray:
        """Where each neuron reads the core's maps, (x, y) in -1..1, [N, 2]."""
        self._need_gaussian("have no positions")
        row, readout = self.row(mouse), self.variables["params"]["readout"]
        zero = np.zeros((len(self.mice), 1, 2), np.float32)
        if "mu" in readout:
            mu_n2 = np.clip(np.asarray(readout["mu"][row]), -1, 1)
        else:
            info = self.variables["info"]
            one = Mouse(*(info[name][row] for name in Mouse._fields))
            params = jax.tree.map(lambda x: x[row], readout["predictor"])
            predictor = self.encoder.readout.predictor.clone(parent=None)
            mu_n2 = np.asarray(predictor.apply({"params": params}, one))
            mu_n2 = np.clip(mu_n2 + readout.get("offset", zero)[row], -1, 1)
        return mu_n2[: self.neurons[row]]

    def centered(self) -> "Twin":
        """The same twin with every receptive field in the middle, wherever the eye is.

        Neurons then share one place and differ in what they look for there.
        """
        self._need_gaussian("cannot be moved")
        params = dict(self.variables["params"])
        readout = dict(params["readout"])
        for free in {"mu", "offset"} & set(readout):
            readout[free] = jnp.zeros_like(readout[free])
        if "predictor" in readout:
            predictor = dict(readout["predictor"])
            last = f"layer{self.encoder.readout.predictor.hidden_layers}"
            predictor[last] = jax.tree.map(jnp.zeros_like, predictor[last])
            readout["predictor"] = predictor
        params["readout"] = readout
        params.pop("shifter", None)
        changes = {**self.card.get("changes", {}), "shifter": None}
        info = {k: v for k, v in self.variables["info"].items() if k != "linear"}
        card = {k: v for k, v in self.card.items() if k != "linear"}
        return replace(
            self,
            encoder=self.encoder.clone(shifter=None),
            variables={**self.variables, "params": params, "info": info},
            card={**card, "changes": changes},
            linear=None,
        )

    def save(self, path: str | Path) -> Path:
        """Write weights and card to a new folder, which sj.twin loads."""
        return write.save(path, self.variables, self.card)

    def _need_gaussian(self, words: str) -> None:
        if not isinstance(self.encoder.readout, GaussianReadout):
            kind = type(self.encoder.readout).__name__
            raise UserError(
                f"Receptive fields of {kind} {words}: they are no points. Use a model "
                "with a Gaussian readout."
            )

    def facts(self) -> dict[str, str]:
        """What a person would ask of a twin first."""
        a, (height, width, channels) = self.asking, self.frame_shape
        each = f"windows of {a.frames} frames" if a.mode == "window" else "whole trials"
        return {
            "model": str(self.card.get("model", type(self.encoder.core).__name__)),
            "mice": str(len(self.mice)),
            "neurons": f"{sum(self.neurons):,}",
            "frames": f"{height} x {width}" + f" x {channels}" * (channels > 1),
            "asked by": each + (f", every {a.stride} frames" if a.stride > 1 else ""),
            "rates": a.units,
            **self._linear_part(),
        }

    def _linear_part(self) -> dict[str, str]:
        if self.linear is None:
            return {}
        share_m = np.asarray(self.variables["info"]["linear"]["share_m"])
        shares = share_m[: len(self.mice)]
        return {"of the linear model": ", ".join(f"{s:.0%}" for s in shares)}

    def __repr__(self) -> str:
        """One line."""
        return f"Twin({', '.join(f'{k} {v}' for k, v in self.facts().items())})"

    def _repr_html_(self) -> str:
        return html_facts([self.facts()])


class _Plan(NamedTuple):
    """What a compiled program is made for."""

    encoder: Encoder
    asking: Asking
    behaviors: int
    linear: Plan | None


class _Clips(NamedTuple):
    """What is shown."""

    video_bthwc: Array
    behavior_btk: Array | None
    pupil_bt2: Array | None
    first_b: Array


def exactly() -> Any:
    """All bits of float32 in products, unless the user told jax something else.

    Accelerators take fewer by default, and rates would not be those of a CPU.
    """
    return jax.default_matmul_precision(SETTINGS.jax_default_matmul_precision or EXACT)


@partial(jax.jit, static_argnums=0)
def _respond(plan: _Plan, variables: Tree, row: Array, clips: _Clips) -> Array:
    global _programs
    _programs += 1
    # The mouse is an index, not a slice of weights: one program serves all of them.
    one = _of_row(variables, row)
    seen = [x[None] for x in _seen(plan, one, clips)]
    with fitting(plan.encoder.core), exactly():
        rates: Any = plan.encoder.apply(one, *seen, train=False)
        if plan.linear is not None:
            rates = _mixed(plan.linear, one, seen, rates)
    return rates[0]


@partial(jax.jit, static_argnums=0)
def _features(plan: _Plan, variables: Tree, row: Array, clips: _Clips) -> Array:
    one = _of_row(variables, row)
    seen = [x[None] for x in _seen(plan, one, clips)]
    with fitting(plan.encoder.core), exactly():
        _, kept = plan.encoder.apply(
            *(one, *seen),
            train=False,
            capture_intermediates=lambda module, _: module.name == "core",
            mutable=["intermediates"],
        )
    maps: Any = kept["intermediates"]["core"]["__call__"][0]
    return maps[0]


@partial(jax.jit, static_argnums=(0, 1))
def _each(
    plan: _Plan,
    axes: tuple[tuple[str, int], ...],
    variables: Tree,
    row: Array,
    neuron_b: Array,
    clips: _Clips,
) -> Array:
    # Every clip is a mouse of one neuron; the core takes all of them together.
    seen = [x[:, None] for x in _seen(plan, _of_row(variables, row), clips)]
    mice = rows.one_neuron_each(variables, row, neuron_b, dict(axes))
    with fitting(plan.encoder.core), exactly():
        rates_b1t1: Any = plan.encoder.apply(mice, *seen, train=False)
        if plan.linear is not None:
            rates_b1t1 = _mixed(plan.linear, mice, seen, rates_b1t1)
    return rates_b1t1[:, 0, :, 0]


@contextmanager
def fitting(core: Any = None) -> Iterator[None]:
    """Say in words that a model and its weights do not fit together.

    A card may say anything of a model, and what flax, jax and the model then raise is
    of many kinds. Code from outside of this package keeps its own errors.
    """
    try:
        yield
    except UserError:
        raise
    except UNFIT as error:
        if core is not None and not type(core).__module__.startswith("sensorium_jax."):
            raise
        lines = [line for line in str(error).splitlines() if line.strip()]
        words = f"{type(error).__name__}: {lines[0] if lines else ''}"[:240]
        raise UserError(
            f"The model cannot be run with its weights ({words}). What its checkpoint "
            "says of it may be damaged: copy it again, or build the model anew."
        ) from error


def _of_row(variables: Tree, row: Array) -> Tree:
    return jax.tree.map(
        lambda x, own: x[row][None] if own else x, variables, trees.rows(variables)
    )


def _mixed(
    plan: Plan, mice: Tree, seen_mbt: Sequence[Array], rates_mbtn: Array
) -> Array:
    """The rates with the share that the linear model of each mouse has."""
    part = mice["info"]["linear"]
    other = linear.rates(plan, part, *seen_mbt)[:, :, -rates_mbtn.shape[2] :]
    share = part["share_m"][:, None, None, None]
    return (1 - share) * rates_mbtn + share * other


def _seen(plan: _Plan, one: Tree, clips: _Clips) -> tuple[Array, Array, Array]:
    """Video, behavior and pupil as the encoder takes them, of a model of one mouse."""
    asking, behaviors = plan.asking, plan.behaviors
    statistics = {
        k: jax.tree.map(lambda x: x[0], v)
        for k, v in one["info"].items()
        if k in SIGNALS
    }
    lead = clips.video_bthwc.shape[:2]
    steps_t = asking.stride * jnp.arange(lead[1])
    frame_bt = clips.first_b[:, None] + steps_t[None]
    video = prepared(clips.video_bthwc, statistics.get("video"), frame_bt, asking)
    behavior = signal(
        clips.behavior_btk, statistics.get("behavior"), frame_bt, behaviors
    )
    pupil = signal(clips.pupil_bt2, statistics.get("pupil"), frame_bt, 2)
    return video, behavior, pupil


def check_neurons(neurons: Sequence[int], count: int, mouse: str) -> list[int]:
    """Numbers of neurons; refuses those that a mouse does not have."""
    chosen = [int(n) for n in np.asarray(neurons).ravel()]
    wrong = [n for n in chosen if not 0 <= n < count]
    if wrong or not chosen:
        raise UserError(
            f"Neuron {wrong[0] if wrong else 'none'} was asked for; {mouse} has "
            f"{count}, numbers 0 to {count - 1}."
        )
    return chosen


def prepared(video: Array, statistics: Any, frame_bt: Array, asking: Asking) -> Array:
    """Video as the core sees it; without statistics it is normalized already."""
    video = jnp.asarray(video).astype(jnp.float32)
    if statistics is None:
        statistics = {"mean": jnp.zeros((1,) * 4), "std": jnp.ones((1,) * 4)}
    return normalize.prepare(
        video, statistics, frame_bt, scale=asking.scale, canvas=asking.canvas
    )


def signal(x: Array | None, statistics: Any, frame_bt: Array, size: int) -> Array:
    """Behavior or pupil as the model sees it; None stands for its usual value."""
    if statistics is None:
        shape = (*frame_bt.shape, size)
        return jnp.zeros(shape) if x is None else jnp.asarray(x).astype(jnp.float32)
    mean, std = (normalize.at_frames(statistics[k], frame_bt) for k in ("mean", "std"))
    if x is None:
        # Checkpoints of before `usual` was kept know the pupil's only, as its mean.
        usual = statistics.get("usual", statistics["mean"])
        usual = normalize.at_frames(usual, frame_bt)
        still = normalize.standardize(usual, mean, std)
        return jnp.broadcast_to(still, (*frame_bt.shape, size))
    return normalize.standardize(jnp.asarray(x).astype(jnp.float32), mean, std)


def _say_compiled(shape: tuple[int, ...], seconds: float) -> None:
    if seconds > SLOW:
        print(
            f"note: compiled for clips of shape {tuple(shape)} in {seconds:.0f} s; "
            "further calls of that shape are fast",
            file=sys.stderr,
        )


class FixedCard:
    """A card that can be compared and hashed, as what is fixed in a pytree must be."""

    def __init__(self, card: Mapping[str, Any]):
        """Keep the card, and its words to compare it by."""
        self.card = card
        self.words = json.dumps(card, sort_keys=True, default=str)

    def __eq__(self, other: object) -> bool:
        """Cards of the same words are the same."""
        return isinstance(other, FixedCard) and self.words == other.words

    def __hash__(self) -> int:
        """By its words."""
        return hash(self.words)


def _flatten(twin: Twin) -> tuple[tuple[Tree], tuple[Any, ...]]:
    fixed = (twin.encoder, twin.mice, twin.neurons, twin.frame_shape, twin.behaviors)
    fixed = (*fixed, twin.asking, FixedCard(twin.card), twin.linear)
    return (twin.variables,), fixed


def _unflatten(fixed: tuple[Any, ...], children: tuple[Tree]) -> Twin:
    encoder, mice, neurons, frame_shape, behaviors, asking, card, plan = fixed
    known = (mice, neurons, frame_shape, behaviors, asking, card.card, plan)
    return Twin(encoder, children[0], *known)


jax.tree_util.register_pytree_node(Twin, _flatten, _unflatten)
