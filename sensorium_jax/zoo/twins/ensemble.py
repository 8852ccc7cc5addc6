"""Several twins that answer as one."""

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax import asking as ask
from sensorium_jax.asking import Asking
from sensorium_jax.checkpoints import layout, write
from sensorium_jax.checkpoints.card import unit_digests, versions
from sensorium_jax.errors import UserError
from sensorium_jax.io import atomic
from sensorium_jax.normalize import JUDGED, at_frames
from sensorium_jax.text import html_facts
from sensorium_jax.zoo.twins.twin import FixedCard, check_neurons

Array = Any
FACTORS = "to_judged"  # among the arrays of a saved ensemble


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Twins of the same mice that answer with the mean of their rates.

    It is asked by whole trials; inside, each twin cuts and joins its own windows. With
    to_judged it answers in the judges' units, whatever those of its twins: each one's
    rates are multiplied by its factors [M, t or 1, N], where they are not None.
    """

    twins: tuple[Any, ...]
    to_judged: tuple[Array | None, ...] = ()
    card: Mapping[str, Any] = field(default_factory=dict)

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
            units=JUDGED if self.to_judged else every[0].units,
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
            lambda factor_btn: factor_btn,
            *(video_bthwc, behavior_btk, pupil_bt2, first_frame_b),
            mouse=mouse,
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

        def own(factor_btn):
            neuron_b11 = jnp.asarray(neuron_b)[:, None, None]
            return jnp.take_along_axis(factor_btn, neuron_b11, 2)

        shown = (video_bthwc, behavior_btk, pupil_bt2, first_frame_b)
        return self._mean(one, own, *shown, mouse=mouse)[..., 0]

    def only(self, mouse: int | str, neurons: Sequence[int]) -> "Ensemble":
        """The ensemble of one mouse and some of its neurons."""
        row, first = self.twins[0].row(mouse), self.twins[0]
        chosen = np.array(check_neurons(neurons, first.neurons[row], first.mice[row]))
        factors = (
            None if f is None else f[row : row + 1][:, :, chosen]
            for f in self.to_judged
        )
        twins = tuple(twin.only(mouse, neurons) for twin in self.twins)
        card = {**self.card, "mice": twins[0].card.get("mice", [])}
        return Ensemble(twins, tuple(factors), card)

    def _mean(
        self,
        answer: Callable[..., Array],
        own: Callable[[Array], Array],
        video: Array,
        behavior: Array | None,
        pupil: Array | None,
        first: Array,
        *,
        mouse: int | str,
    ) -> jax.Array:
        """Mean over twins of answer(twin, ...), each asked as it wants.

        own picks what belongs to an answer out of factors of all neurons, [B, T', N].
        """
        kept, row = video.shape[1] - self.lost_frames, self.twins[0].row(mouse)
        last_1t = jnp.arange(video.shape[1] - kept, video.shape[1])[None]
        first_b = jnp.broadcast_to(jnp.asarray(first, jnp.int32), video.shape[:1])
        total = jnp.zeros(())
        for i, twin in enumerate(self.twins):
            rates_btn = ask.whole(
                partial(answer, twin),
                twin.asking,
                *(video, behavior if twin.behaviors else None, pupil),
                first,
            )
            rates_btn = rates_btn[:, rates_btn.shape[1] - kept :]
            factors = self.to_judged[i] if self.to_judged else None
            if factors is not None:
                factor_tn = jnp.asarray(factors)[row, :, : self.neurons[row]]
                rates_btn = rates_btn * own(
                    jnp.broadcast_to(
                        at_frames(factor_tn, first_b[:, None] + last_1t),
                        (*video.shape[:1], kept, factor_tn.shape[1]),
                    )
                )
            total = total + rates_btn
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
        twins = tuple(twin.centered() for twin in self.twins)
        return Ensemble(twins, self.to_judged, self.card)

    def save(self, path: str | Path) -> Path:
        """Write all twins and a card that names them to a new folder, for sj.twin."""
        folder = Path(path).absolute()
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(
                f"{folder} is not empty. Choose another folder, or delete it."
            )
        unit = np.zeros((len(self.mice), max(self.neurons)), bool)
        for row, count in enumerate(self.neurons):
            unit[row, :count] = True
        factors = {
            str(i): np.asarray(f) for i, f in enumerate(self.to_judged) if f is not None
        }
        own = {"info": {"neurons_n": unit, FACTORS: factors}}
        part = folder.with_name(f".{folder.name}.{os.getpid()}")
        try:
            write.save(part, own, {**self.card, "units": self.units})
            for i, twin in enumerate(self.twins):
                twin.save(layout.member(part, i))
            atomic.put(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return folder

    def __repr__(self) -> str:
        """One line."""
        return f"Ensemble(of {len(self.twins)}: {', '.join(map(repr, self.twins))})"

    def _repr_html_(self) -> str:
        return html_facts([twin.facts() for twin in self.twins])


def _agreed(values: Iterable[float | None]) -> float | None:
    known = {v for v in values if v is not None}
    return known.pop() if len(known) == 1 else None


def ensemble(
    twins: Sequence[Any],
    *,
    names: Sequence[str] = (),
    to_judged: Sequence[Array | None] = (),
) -> Ensemble:
    """One twin that answers with the mean of several of the same mice and neurons.

    names: where each comes from, for the card. to_judged: what the rates of each are
    multiplied by to be in the judges' units, by mouse; without, all must answer alike.
    """
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
        if not to_judged and twin.units != twins[0].units:
            raise UserError(
                f"Twin {i} answers in units {twin.units}, twin 0 in {twins[0].units} "
                "(config.data.response_scaling); their mean would mix the two. Give "
                "the recordings they were made of, which bring both to the judges'."
            )
        mine, others = (unit_digests(t.card) for t in (twin, twins[0]))
        odd = [m for m in mine if others.get(m, mine[m]) != mine[m]]
        if odd:
            raise UserError(
                f"Twin {i} is of other neurons (unit ids) of {odd[0]} than twin 0. An "
                "ensemble needs twins of one recording."
            )
    about = {
        "ensemble": [
            {"name": str(name), "model": str(twin.card.get("model", "")), "units": u}
            for name, twin, u in zip(
                names or range(len(twins)), twins, [t.units for t in twins], strict=True
            )
        ],
        "mice": list(twins[0].card.get("mice", [])),
        "versions": versions(),
    }
    return Ensemble(twins, tuple(to_judged), about)


def _flatten(e: Ensemble) -> tuple[tuple[Any, Any], FixedCard]:
    return (e.twins, e.to_judged), FixedCard(e.card)


def _unflatten(card: FixedCard, children: tuple[Any, Any]) -> Ensemble:
    twins, factors = children
    return Ensemble(tuple(twins), tuple(factors), card.card)


jax.tree_util.register_pytree_node(Ensemble, _flatten, _unflatten)
