"""Several twins that answer as one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.errors import UserError

Array = Any


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Twins of the same mice that answer with the mean of their rates."""

    twins: tuple[Any, ...]

    @property
    def mice(self) -> tuple[str, ...]:
        """Names of the mice."""
        return self.twins[0].mice

    @property
    def neurons(self) -> tuple[int, ...]:
        """Neurons of each mouse."""
        return self.twins[0].neurons

    @property
    def lost_frames(self) -> int:
        """Leading frames of a clip that get no rate: the most that any twin loses."""
        return max(twin.lost_frames for twin in self.twins)

    @property
    def raw(self) -> tuple[str, ...]:
        """Which inputs are taken as recorded: of video, behavior and pupil."""
        return self.twins[0].raw

    @property
    def units(self) -> str:
        """How its rates are normalized."""
        return self.twins[0].units

    def respond(
        self,
        video_bthwc: Array,
        behavior_btk: Array | None = None,
        pupil_bt2: Array | None = None,
        mouse: int | str = 0,
    ) -> jax.Array:
        """Mean rates [B, T', N]; all twins are aligned at the last frame."""
        kept = video_bthwc.shape[1] - self.lost_frames
        answers = [
            twin.respond(video_bthwc, behavior_btk, pupil_bt2, mouse)
            for twin in self.twins
        ]
        return jnp.stack([rates[:, -kept:] for rates in answers]).mean(0)

    def readout_weights(self, mouse: int | str) -> np.ndarray:
        """Weights of all twins side by side, [N, F + F + ...]."""
        return np.concatenate([t.readout_weights(mouse) for t in self.twins], axis=1)

    def centered(self) -> "Ensemble":
        """The ensemble of the centered twins."""
        return Ensemble(tuple(twin.centered() for twin in self.twins))


def ensemble(twins: Sequence[Any]) -> Ensemble:
    """One twin that answers with the mean of several of the same mice and neurons."""
    twins = tuple(twins)
    if not twins:
        raise UserError("An ensemble of no twins was asked for; give at least one.")
    for i, twin in enumerate(twins):
        if twin.mice != twins[0].mice or twin.neurons != twins[0].neurons:
            raise UserError(
                f"Twin {i} is of {dict(zip(twin.mice, twin.neurons, strict=True))} "
                "(neurons by mouse), twin 0 of "
                f"{dict(zip(twins[0].mice, twins[0].neurons, strict=True))}; an "
                "ensemble needs the same mice in the same order."
            )
        if twin.raw != twins[0].raw:
            raise UserError(
                f"Twin {i} takes {twin.raw or 'nothing'} as recorded, twin 0 "
                f"{twins[0].raw or 'nothing'}; one input cannot serve both. Keep "
                "published and own models in ensembles of their own."
            )
        if twin.units != twins[0].units:
            raise UserError(
                f"Twin {i} answers in units {twin.units}, twin 0 in {twins[0].units} "
                "(config.data.response_scaling); their mean would mix the two. Train "
                "them alike."
            )
    return Ensemble(twins)
