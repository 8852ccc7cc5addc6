"""Trials of repeated stimuli, and the formulas over them in float64 numpy."""

import numpy as np


def trials_of(*, clips, repeats, frames, neurons, seed=0):
    """Responses [trial, T, N] of signal and noise, and the clip of every trial."""
    r = np.random.default_rng(seed)
    signal = r.gamma(0.5, 1.0, (clips, 1, frames, neurons))
    noise = r.gamma(0.5, 1.0, (clips, repeats, frames, neurons))
    y = (signal + noise).astype(np.float32).reshape(-1, frames, neurons)
    return y, np.repeat(np.arange(clips), repeats)


def feed(update, state, batch, slot, *arrays, valid=None):
    """Give trials [trial, T, N] to an update, `batch` at a time, the last padded."""
    valid = np.ones(arrays[0].shape[:2], bool) if valid is None else valid
    for start in range(0, len(slot), batch):
        rows = np.arange(start, start + batch)
        there = rows < len(slot)
        rows = np.minimum(rows, len(slot) - 1)
        shown = np.where(there, slot[rows], -1).astype(np.int32)
        parts = [x[rows][None].astype(np.float32) for x in arrays]
        state = update(state, *parts, valid[rows][None], shown[None])
    return state


def correlate(x, y):
    """The official correlation over axis 0."""
    x, y = (a.astype(np.float64) for a in (x, y))
    x, y = x - x.mean(0), y - y.mean(0)
    std = [np.sqrt((a**2).mean(0)) + 1e-8 for a in (x, y)]
    return (x * y).mean(0) / std[0] / std[1]


def jackknife_twin(groups):
    """Each trial with the mean of the others of its clip, everything end to end."""
    ours, others = [], []
    for y_rtn in groups:
        y_rtn = y_rtn.astype(np.float64)
        rest = (y_rtn.sum(0, keepdims=True) - y_rtn) / (len(y_rtn) - 1)
        ours.append(y_rtn.reshape(-1, y_rtn.shape[-1]))
        others.append(rest.reshape(-1, y_rtn.shape[-1]))
    return correlate(np.concatenate(ours), np.concatenate(others))
