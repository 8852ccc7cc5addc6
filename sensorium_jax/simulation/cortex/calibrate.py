"""Normalization and event rates solved, not searched, on trials made for the purpose.

With V, m, Q the variance, mean and mean square of the noiseless rate at one event per
frame, events of mean square 1.5 smeared by kappa and a shared log-normal gain of SD a,
the response at G events a frame has variance V + Q (exp(a^2) - 1) + 1.5 m sum(kappa^2)
/ G in units of G^2. The single-trial correlation rho of rate and response is V over
the root of V times that; solve for G.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.rules import RELEASES
from sensorium_jax.simulation.cortex import calcium, rates
from sensorium_jax.simulation.cortex.filters import KAPPA, take
from sensorium_jax.simulation.cortex.neurons import Neurons

SETTLED = RELEASES["2023"].skip  # frames of a video before scores begin
EVENTS_RANGE = (0.0015, 3.0)
MOST_SHARED = 0.8
TURNS = (0, 7, 17, 29)


@partial(jax.jit, static_argnames="pictures")
def _drive(w, video_thw, behavior_tk, pupil_t2, *, pictures):
    video_thw = video_thw.astype(jnp.float32)
    return rates.of_trial(w, video_thw, behavior_tk, pupil_t2, pictures=pictures)


def calibrate(
    neurons: Neurons,
    w: rates.Weights,
    trials: Sequence[tuple],
    *,
    pictures: bool,
    aim: int = 0,
    block: int = 1000,
) -> Neurons:
    """The neurons with mean_energy, drive_rms, mean_rate and events found on trials.

    Each trial is (video [T, H, W], behavior [T, K], pupil [T, 2]). The ceilings are
    those of the last `aim` trials (0: of all). Blocks of neurons go one after the
    other to bound the memory.
    """
    if neurons.cells <= block:
        return _calibrate(neurons, w, trials, pictures=pictures, aim=aim)
    parts = []
    for start in range(0, neurons.cells, block):
        rows = slice(start, start + block)
        part = rates.take(w, rows)
        some = take(neurons, rows)
        parts.append(_calibrate(some, part, trials, pictures=pictures, aim=aim))
    solved = ("mean_energy", "drive_rms", "mean_rate", "events", "shared")
    joined = {k: np.concatenate([getattr(p, k) for p in parts]) for k in solved}
    return neurons._replace(**joined)


def _calibrate(neurons, w, trials, *, pictures, aim):
    drawn = [[np.asarray(x) for x in _drive(w, *t, pictures=pictures)] for t in trials]
    cut = 0 if pictures else SETTLED
    energy = np.mean([e[cut:].mean(0) for _, e, _ in drawn], axis=0)
    neurons = neurons._replace(mean_energy=energy.astype(np.float32))
    steps, at = [], _numbers(neurons)
    for drive_tn, energy_tn, behavior_tk in drawn:
        u_tn = np.asarray(rates.normalized(at, drive_tn, energy_tn))
        steps.append((u_tn, behavior_tk))
    square = np.mean([(u[cut:] ** 2).mean(0) for u, _ in steps], axis=0)
    neurons = neurons._replace(drive_rms=np.sqrt(square).astype(np.float32))
    at = _numbers(neurons)
    raised = [np.asarray(rates.rectified(at, u)) for u, _ in steps]
    mean = np.mean([r[cut:].mean(0) for r in raised], axis=0)
    neurons = neurons._replace(mean_rate=np.maximum(mean, 1e-3).astype(np.float32))
    at = _numbers(neurons)
    # Every stimulus under several states of the animal, which vary more than it does.
    states = [behavior for _, behavior in steps]
    relative = [
        np.asarray(rates.modulated(at, r, states[(i + turn) % len(states)]))
        for i, r in list(enumerate(raised))[-aim:]
        for turn in TURNS
    ]
    solve = _from_pictures if pictures else _from_videos
    return _solve(neurons, *solve(relative))


def _numbers(neurons: Neurons) -> dict[str, np.ndarray]:
    return {k: np.asarray(getattr(neurons, k), np.float32)[None] for k in rates.NUMBERS}


def _from_videos(relative):
    """Rates [frames, N] as recorded, and the variance that one event per frame adds."""
    rate = np.concatenate([calcium.smear(r)[SETTLED:] for r in relative])
    return rate, calcium.SIZE_SQUARE * float((KAPPA**2).sum()) * rate.mean(0)


def _from_pictures(relative):
    weight = calcium.window(len(relative[0]))[:, None]
    rate = np.stack([(weight * r).sum(0) for r in relative])
    noise = np.mean([(weight**2 * r).sum(0) for r in relative], axis=0)
    return rate, calcium.SIZE_SQUARE * noise


def _solve(neurons, rate, noise):
    """Events per frame, and the shared gain where events alone cannot reach the aim."""
    variance, square = rate.var(0), (rate**2).mean(0)
    unexplained = variance / neurons.ceiling_target**2 - variance
    fewest, most = EVENTS_RANGE
    # Below the fewest events a cell is silent; it then shares more of its noise.
    more = np.log1p(np.maximum(unexplained - noise / fewest, 0) / square)
    shared = np.clip(np.sqrt(more), neurons.shared, MOST_SHARED)
    private = unexplained - square * np.expm1(shared**2)
    events = np.clip(noise / np.maximum(private, noise / most), fewest, most)
    return neurons._replace(
        events=events.astype(np.float32), shared=shared.astype(np.float32)
    )
