"""From true rates to recorded traces: shared gain, Poisson events, calcium smear."""

import numpy as np

from sensorium_jax.simulation.cortex.filters import KAPPA
from sensorium_jax.simulation.cortex.neurons import Neurons
from sensorium_jax.simulation.cortex.rates import FIRST, ON_FRAMES
from sensorium_jax.simulation.draws import FPS, wander

SHARED_SECONDS = 1.5
SIZE_SHAPE = 2  # event sizes are Gamma(2) with mean 1, so their mean square is 1.5
SIZE_SQUARE = (SIZE_SHAPE + 1) / SIZE_SHAPE
REST = 1e-8  # how far from zero a silent trace of the release lies, to either side


def responses(rng: np.random.Generator, neurons: Neurons, relative_tn: np.ndarray):
    """One noisy trial [T, N] in response units from relative event rates [T, N]."""
    frames = len(relative_tn)
    state = wander(rng, frames, SHARED_SECONDS * FPS)
    gain = np.exp(neurons.shared * state - neurons.shared**2 / 2)
    expected = np.maximum(relative_tn * gain * neurons.events, 0.0)
    counts = rng.poisson(expected)
    sizes = np.zeros(counts.shape, np.float32)
    some = counts > 0
    sizes[some] = rng.standard_gamma(SIZE_SHAPE * counts[some]) / SIZE_SHAPE
    return (smear(sizes) * neurons.scale).astype(np.float32)


def at_rest(rng: np.random.Generator, recorded_tn: np.ndarray) -> np.ndarray:
    """The recording over the trial's resting level of each neuron, nearly zero.

    Exact zeros then mean what they mean in the release: a response that is hidden.
    """
    rest_n = rng.uniform(-REST, REST, recorded_tn.shape[1]).astype(np.float32)
    return recorded_tn + rest_n


def smear(events_tn: np.ndarray) -> np.ndarray:
    """Events [T, N] seen through calcium: each spreads over the next frames."""
    out = np.zeros_like(events_tn)
    for lag, share in enumerate(KAPPA):
        out[lag:] += share * events_tn[: len(events_tn) - lag]
    return out


def window(frames: int) -> np.ndarray:
    """How much of an event at each frame [frames] falls into a picture's window."""
    events = np.eye(frames, dtype=np.float32)
    return smear(events)[FIRST : FIRST + ON_FRAMES].sum(0)
