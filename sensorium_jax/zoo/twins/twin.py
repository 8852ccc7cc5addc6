"""A trained model as an experimenter meets it: a stimulus and a mouse in, rates out."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax import trees
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.models.encoder import Encoder
from sensorium_jax.models.readouts.gaussian import GaussianReadout
from sensorium_jax.models.rows import Mouse
from sensorium_jax.trees import is_row
from sensorium_jax.zoo.twins import inputs

Array = Any
Tree = Any


@dataclass(frozen=True, eq=False)
class Twin:
    """An encoder with its weights, its mice, and what their recordings were scaled by.

    Inputs are raw where 'info' holds statistics (video, behavior, pupil); those without
    are taken as already normalized. Rates are in the units that `units` names.
    """

    encoder: Encoder
    variables: Tree
    mice: tuple[str, ...]
    channels: int  # of the video
    behaviors: int
    scale: float = 1.0  # frames are shrunk by this after normalization
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def lost_frames(self) -> int:
        """Leading frames of a clip that get no rate."""
        return self.encoder.core.lost_frames

    @property
    def neurons(self) -> tuple[int, ...]:
        """Neurons of each mouse."""
        real = np.asarray(self.variables["info"]["neurons_n"])[: len(self.mice)]
        return tuple(int(n) for n in real.sum(1))

    @property
    def raw(self) -> tuple[str, ...]:
        """Which inputs are taken as recorded: of video, behavior and pupil."""
        return tuple(w for w in inputs.SCALED if w in self.variables["info"])

    @property
    def units(self) -> str:
        """How the responses that it learned from were normalized; so are its rates."""
        return self.card.get("units", "per_frame")

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
        found = [i for i, name in enumerate(self.mice) if mouse and str(mouse) in name]
        if len(found) == 1:
            return found[0]
        raise unknown(
            "mouse", mouse, self.mice, "Choose one that the twin was made of."
        )

    def respond(
        self,
        video_bthwc: Array,
        behavior_btk: Array | None = None,
        pupil_bt2: Array | None = None,
        mouse: int | str = 0,
    ) -> jax.Array:
        """Rates [B, T', N] of one mouse for the last T' frames of each clip.

        Differentiable in the video and usable under jit. Behavior or pupil that is
        None stays at the mean of the recording (zero where that is unknown). A video
        may also hold the behavior as maps after its own channels, as the originals of
        SENSORIUM+ take it; it is then used as it is.
        """
        row = self.row(mouse)
        encoder = self.encoder
        if self._holds_maps(video_bthwc):
            encoder = encoder.clone(behavior_as_channels=False)
        else:
            inputs.check_video(video_bthwc, self.channels, self.lost_frames)
        b, t = video_bthwc.shape[:2]
        inputs.check_signal(behavior_btk, "behavior", (b, t, self.behaviors))
        inputs.check_signal(pupil_bt2, "pupil", (b, t, 2))
        rates_btn = _respond(
            encoder,
            (self.scale, self.behaviors),
            self.variables,
            row,
            video_bthwc,
            behavior_btk,
            pupil_bt2,
        )
        return rates_btn[:, :, : self.neurons[row]]

    def _holds_maps(self, video_bthwc: Array) -> bool:
        maps = self.behaviors * self.encoder.behavior_as_channels
        if not maps or self.raw or video_bthwc.shape[-1] != self.channels + maps:
            return False
        inputs.check_video(video_bthwc, self.channels + maps, self.lost_frames)
        return True

    def readout_weights(self, mouse: int | str) -> np.ndarray:
        """What each neuron takes from each feature of the core, [N, F]."""
        row, readout = self.row(mouse), self.variables["params"]["readout"]
        if "features" not in readout:
            raise UserError(
                f"The readout {type(self.encoder.readout).__name__} has no feature "
                "weights. Use a Gaussian, factorized or attention readout."
            )
        weights = np.asarray(readout["features"][row])
        if "scales" in readout:
            match_n = np.asarray(self.variables["info"]["match_n"][row])
            weights = np.asarray(readout["scales"][row])[:, None] * weights[match_n]
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
        variables = {**self.variables, "params": params}
        encoder = self.encoder.clone(shifter=None)
        return replace(self, encoder=encoder, variables=variables)

    def _need_gaussian(self, words: str) -> None:
        if not isinstance(self.encoder.readout, GaussianReadout):
            kind = type(self.encoder.readout).__name__
            raise UserError(
                f"Receptive fields of {kind} {words}: they are no points. Use a model "
                "with a Gaussian readout."
            )


@partial(jax.jit, static_argnums=(0, 1))
def _respond(
    encoder: Encoder,
    sizes: tuple[float, int],
    variables: Tree,
    row: Array,
    video_bthwc: Array,
    behavior_btk: Array | None,
    pupil_bt2: Array | None,
) -> Array:
    # The mouse is an index, not a slice of weights: one program serves all of them.
    one = trees.map_named(lambda n, x: x[row][None] if is_row(n) else x, variables)
    info = one["info"]
    (scale, behaviors), lead = sizes, video_bthwc.shape[:2]
    video = inputs.normalize(video_bthwc, info.get("video"), video_bthwc.shape)
    video = inputs.shrink(video, scale)
    shape = (*lead, behaviors)
    given = info.get("behavior")
    behavior = inputs.normalize(behavior_btk, given, shape, center=False)
    pupil = inputs.normalize(pupil_bt2, info.get("pupil"), (*lead, 2))
    rates = encoder.apply(one, video[None], behavior[None], pupil[None], train=False)
    return rates[0]
