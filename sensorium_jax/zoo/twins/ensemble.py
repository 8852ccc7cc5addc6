"""Several twins that answer as one."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax import asking as ask
from sensorium_jax.asking import Asking
from sensorium_jax.errors import UserError
from sensorium_jax.text import html_facts

Array = Any


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Twins of the same mice that answer with the mean of their rates.

    It is asked by whole trials; inside, each twin cuts and joins its own windows.
    """

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
    def behaviors(self) -> int:
        """Behavior signals that it is given; a twin without behavior ignores them."""
        return max(twin.behaviors for twin in self.twins)

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Rows, columns and channels of the frames, as recorded."""
        return self.twins[0].frame_shape

    @property
    def lost_frames(self) -> int:
        """Leading frames of a trial that get no rate: the most that any twin loses."""
        return max(twin.lost_frames * twin.asking.stride for twin in self.twins)

    @property
    def raw(self) -> tuple[str, ...]:
        """Which inputs are taken as recorded: of video, behavior and pupil."""
        return self.twins[0].raw

    @property
    def asking(self) -> Asking:
        """Whole trials, in the units of its twins."""
        every = [twin.asking for twin in self.twins]
        plain = all(a.causal and a.mode == "whole" for a in every)
        return Asking(
            units=every[0].units,
            inputs=every[0].inputs,
            # Where the last windows lie depends on a trial's length.
            causal=plain and all(a.stride == 1 for a in every),
        )

    @property
    def units(self) -> str:
        """How its rates are normalized."""
        return self.asking.units

    def respond(
        self,
        video_bthwc: Array,
        behavior_btk: Array | None = None,
        pupil_bt2: Array | None = None,
        mouse: int | str = 0,
        first_frame_b: Array | int = 0,
    ) -> jax.Array:
        """Mean rates [B, T', N]; all twins are aligned at the last frame."""
        return self._mean(
            lambda twin, v, b, p, first: twin.respond(v, b, p, mouse, first),
            *(video_bthwc, behavior_btk, pupil_bt2, first_frame_b),
        )

    def each(
        self,
        video_bthwc: Array,
        neuron_b: Array,
        behavior_btk: Array | None = None,
        pupil_bt2: Array | None = None,
        mouse: int | str = 0,
        first_frame_b: Array | int = 0,
    ) -> jax.Array:
        """Mean rates [B, T'] where clip i is shown to neuron neuron_b[i] alone."""

        def one(twin, v, b, p, first):
            return twin.each(v, neuron_b, b, p, mouse, first)[..., None]

        shown = (video_bthwc, behavior_btk, pupil_bt2, first_frame_b)
        return self._mean(one, *shown)[..., 0]

    def only(self, mouse: int | str, neurons: Sequence[int]) -> "Ensemble":
        """The ensemble of one mouse and some of its neurons."""
        return Ensemble(tuple(twin.only(mouse, neurons) for twin in self.twins))

    def _mean(
        self, answer: Callable[..., Array], video, behavior, pupil, first
    ) -> jax.Array:
        """Mean over twins of answer(twin, ...), each asked as it wants."""
        kept = video.shape[1] - self.lost_frames
        total = jnp.zeros(())
        for twin in self.twins:
            rates_btn = ask.whole(
                partial(answer, twin),
                twin.asking,
                *(video, behavior if twin.behaviors else None, pupil),
                first,
            )
            total = total + rates_btn[:, rates_btn.shape[1] - kept :]
        return total / len(self.twins)

    @property
    def frames_per_second(self) -> float | None:
        """Frames per second, where the twins that know it agree."""
        return _agreed(twin.frames_per_second for twin in self.twins)

    @property
    def degrees_per_pixel(self) -> float | None:
        """Degrees of a pixel as recorded, where the twins that know it agree."""
        return _agreed(twin.degrees_per_pixel for twin in self.twins)

    @property
    def memory(self) -> int | None:
        """Frames that a rate depends on; None where they are not limited."""
        every = [twin.memory for twin in self.twins]
        return None if None in every else max(m for m in every if m is not None)

    def light(self, mouse: int | str) -> tuple[float, float] | None:
        """Mean and SD of grey levels, in units of its input; None where unknown."""
        return self.twins[0].light(mouse)

    def usual(self, mouse: int | str) -> tuple[np.ndarray, np.ndarray]:
        """Behavior and pupil that stand for None; of the twin that sees most."""
        widest = max(self.twins, key=lambda twin: twin.behaviors)
        return widest.usual(mouse)

    def readout_weights(self, mouse: int | str) -> np.ndarray:
        """Weights of all twins side by side, [N, F + F + ...]."""
        return np.concatenate([t.readout_weights(mouse) for t in self.twins], axis=1)

    def centered(self) -> "Ensemble":
        """The ensemble of the centered twins."""
        return Ensemble(tuple(twin.centered() for twin in self.twins))

    def __repr__(self) -> str:
        """One line."""
        return f"Ensemble(of {len(self.twins)}: {', '.join(map(repr, self.twins))})"

    def _repr_html_(self) -> str:
        return html_facts([twin.facts() for twin in self.twins])


def _agreed(values: Iterable[float | None]) -> float | None:
    known = {v for v in values if v is not None}
    return known.pop() if len(known) == 1 else None


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
        if twin.frame_shape != twins[0].frame_shape:
            raise UserError(
                f"Twin {i} was made for frames of {twin.frame_shape} (rows, columns, "
                f"channels), twin 0 for {twins[0].frame_shape}; one stimulus cannot "
                "serve both."
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


jax.tree_util.register_pytree_node(
    Ensemble, lambda e: (e.twins, None), lambda _, twins: Ensemble(tuple(twins))
)
