"""One mouse and one tier: predicted once, and everything summed that scores need."""

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.data import statistics
from sensorium_jax.data.session import RESPONSES, Session
from sensorium_jax.errors import UserError
from sensorium_jax.metrics import bits, correlation, explained, likelihood, repeats
from sensorium_jax.normalize import at_frames
from sensorium_jax.scoring.answers import Twin, answers
from sensorium_jax.scoring.resample import Moments
from sensorium_jax.submission.expected import SKIP

NUMBERS = 4_000_000  # predicted numbers of a batch
MOST, MANY = 4, 128  # clips of a batch, pictures of a batch
Rates = Callable[[Session, int], np.ndarray]  # true rates [t, n] in raw units


class Sizes(NamedTuple):
    """What all mice are padded to, so that one program serves them."""

    stimuli: int
    frames: int
    neurons: int

    @property
    def batch(self) -> int:
        """Trials that are predicted and added together."""
        most = MOST if self.frames > 1 else MANY
        return int(np.clip(NUMBERS // (self.frames * self.neurons), 1, most))


class Measured(NamedTuple):
    """Sums over the trials of a tier of one mouse."""

    rows: np.ndarray  # of the trial table
    stimulus_b: np.ndarray
    model: Moments
    truth: Moments | None  # of the true rates with the responses
    explained: explained.State  # by stimulus, padded to the common sizes
    bits: bits.State
    neurons: int


class _Sums(NamedTuple):
    explained: explained.State
    bits: bits.State


def measure(
    twin: Twin,
    session: Session,
    rows: np.ndarray,
    stimulus_b: np.ndarray,
    sizes: Sizes,
    *,
    truth: Rates | None = None,
    batch: int | None = None,
    seen: Callable[[], Any] = lambda: None,
) -> Measured:
    """Predict the trials of a mouse and sum; constant memory in trials.

    truth gives true rates, where the recordings are simulated. seen is called after
    every trial.
    """
    batch = batch or sizes.batch
    made = answers(twin, session, rows, batch=batch)
    reads = _Reads(session, sizes, batch, statistics.precision(session))
    zero = _Sums(explained.zero(1, *sizes), bits.zero(1, sizes.neurons))
    sums = jax.tree.map(jnp.copy, zero)  # no two leaves may share what is given away
    model, true = [], []
    for at in range(0, len(rows), batch):
        part = rows[at : at + batch]
        trials = reads.batch(part, list(islice(made, len(part))))
        slots = np.full((1, batch), -1, np.int32)
        slots[0, : len(part)] = stimulus_b[at : at + batch]
        sums, found = _add(sums, *trials, slots)
        model.append(Moments.of(found, len(part), session.neurons))
        if truth is not None:
            rates = [reads.scored(truth(session, int(row))).T for row in part]
            found = _each(*reads.batch(part, rates))
            true.append(Moments.of(found, len(part), session.neurons))
        for _ in part:
            seen()
    return Measured(
        rows,
        stimulus_b,
        Moments.join(model),
        Moments.join(true) if true else None,
        sums.explained,
        sums.bits,
        session.neurons,
    )


class _Reads(NamedTuple):
    """Reads the responses of a mouse beside what was predicted of them."""

    session: Session
    sizes: Sizes
    trials: int  # of a batch
    precision_tn: np.ndarray

    def batch(self, rows: np.ndarray, predicted: list[np.ndarray]) -> tuple[Any, ...]:
        """Predictions [n, t], responses, and which frames there are, all padded."""
        lead = (1, self.trials, self.sizes.frames)
        x, y = np.zeros((2, *lead, self.sizes.neurons), np.float32)
        valid = np.zeros(lead, bool)
        for b, (row, rates_nt) in enumerate(zip(rows, predicted, strict=True)):
            n, t = rates_nt.shape
            y_tn = self.scored(self.session.read(RESPONSES, int(row)))
            if len(y_tn) != t:
                raise UserError(
                    f"Trial {self.session.files[row]} of {self.session.name} was "
                    f"answered for {t} frames, expected {len(y_tn)}."
                )
            x[0, b, :t, :n], y[0, b, :t, :n] = rates_nt.T, y_tn
            valid[0, b, :t] = True
        return x, y, valid

    def scored(self, x_tn: np.ndarray) -> np.ndarray:
        """From the first scored frame on, normalized per frame as the judges do."""
        scale_tn = at_frames(self.precision_tn, slice(len(x_tn)))
        return (x_tn * scale_tn)[skip(self.session) :]


def skip(session: Session) -> int:
    """Leading frames that the judges drop."""
    return SKIP if session.year == 2023 else 0


@partial(jax.jit, donate_argnums=0)
def _add(
    sums: _Sums,
    rates_mbtn: jax.Array,
    responses_mbtn: jax.Array,
    valid_mbt: jax.Array,
    stimulus_mb: jax.Array,
) -> tuple[_Sums, correlation.State]:
    trials = (rates_mbtn, responses_mbtn, valid_mbt)
    added = _Sums(
        explained.update(sums.explained, *trials, stimulus_mb),
        bits.update(sums.bits, *trials),
    )
    return added, _each(*trials)


@jax.jit
def _each(
    rates_mbtn: jax.Array, responses_mbtn: jax.Array, valid_mbt: jax.Array
) -> correlation.State:
    """The moments of every trial by itself: trials take the place of mice."""
    x, y, valid = (a[0][:, None] for a in (rates_mbtn, responses_mbtn, valid_mbt))
    zero = correlation.zero(len(x), x.shape[-1])
    return correlation.update(zero, x, y, valid)


class Repeated(NamedTuple):
    """What repeats say of each neuron of one mouse."""

    to_average_n: np.ndarray
    feve_n: np.ndarray
    chosen_n: np.ndarray  # bool: enough of the neuron's variance can be explained
    ceiling_n: np.ndarray
    normalized_n: np.ndarray


@jax.jit
def _value(state: explained.State, chosen_ms: jax.Array) -> tuple[Any, Any]:
    part = explained.only(state, chosen_ms)
    return explained.value(part), repeats.value(part.responses)


def repeated(measured: Measured, stimuli: np.ndarray) -> Repeated:
    """Scores over the repeats of some stimuli."""
    slots = measured.explained.bad_msn.shape[1]
    chosen = jnp.asarray(np.isin(np.arange(slots), stimuli)[None])
    found, ceilings = _value(measured.explained, chosen)

    def cut(x_mn: Any) -> np.ndarray:
        return np.asarray(x_mn[0, : measured.neurons])

    return Repeated(
        cut(found.to_average.per_neuron_mn),
        cut(found.feve.per_neuron_mn),
        cut(found.fev.per_neuron_mn) >= explained.THRESHOLD,
        cut(ceilings.ceiling.per_neuron_mn),
        cut(found.normalized.per_neuron_mn),
    )


@jax.jit
def _likelihood(state: bits.State) -> tuple[jax.Array, Any]:
    return likelihood.value(state.loss).per_neuron_mn, bits.value(state).per_neuron_mn


def likelihoods(measured: Measured) -> tuple[np.ndarray, np.ndarray]:
    """Poisson loss per bin and bits per spike of each neuron."""
    loss, gain = _likelihood(measured.bits)
    n = measured.neurons
    return np.asarray(loss[0, :n]), np.asarray(gain[0, :n])
