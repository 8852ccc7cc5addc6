"""Trials as a reconstruction needs them: what was shown, and what was answered."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from sensorium_jax.errors import UserError
from sensorium_jax.insilico.subjects import Subject


class Recorded(NamedTuple):
    """S trials of T frames, shown to N neurons. Responses are by each neuron's SD."""

    number_s: np.ndarray  # of each trial's file
    film_s: np.ndarray  # trials that showed the same film have the same number
    video_sthwc: np.ndarray  # input of the twin
    behavior_stk: np.ndarray  # in the twin's units
    pupil_st2: np.ndarray
    responses_stn: np.ndarray
    observed_sn: np.ndarray  # bool: the neuron's responses to the trial are known
    mean_thwc: np.ndarray | None  # of the training films; None where there are none
    factors: Mapping[str, np.ndarray]  # rates in units of this name times these
    # [t or 1, N] are in those of the responses
    about: Mapping[str, object]
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """[T, H, W, C] of a film."""
        return self.video_sthwc.shape[1:]

    def only(self, neurons: np.ndarray) -> "Recorded":
        """The same trials of some neurons, in this order."""
        return self._replace(
            responses_stn=self.responses_stn[..., neurons],
            observed_sn=self.observed_sn[:, neurons],
            factors={k: v[:, neurons] for k, v in self.factors.items()},
        )


def check(recorded: Recorded, subject: Subject) -> None:
    """Refuse trials that are not of this mouse, or that the twin cannot answer."""
    count = recorded.responses_stn.shape[2]
    if count != subject.neurons:
        raise UserError(
            f"The recording has {count} neurons, the model has {subject.neurons} of "
            f"{subject.name}. Give the recording that the model was made of."
        )
    if recorded.shape[1:] != subject.frame:
        seen, given = (
            " x ".join(map(str, s)) for s in (subject.frame, recorded.shape[1:])
        )
        raise UserError(
            f"The recording has frames of {given}, the model sees {seen}. Give "
            "recordings of its frames."
        )
    if recorded.shape[0] > 1 and not subject.films:
        raise UserError(
            f"A movie of {recorded.shape[0]} frames is to be read back, but this model "
            "sees single pictures. Take a model of films, or say frames per second "
            "(--fps) if it sees films."
        )
    if recorded.shape[0] <= subject.lost:
        raise UserError(
            f"The trials have {recorded.shape[0]} frames; the model's first answer "
            f"comes after {subject.lost}. Give longer trials, or more --frames."
        )
