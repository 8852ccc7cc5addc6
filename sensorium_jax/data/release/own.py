"""The forms that own recordings come in, before they are written."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sensorium_jax.errors import UserError


def channels(video: np.ndarray) -> np.ndarray:
    """A video with its channel axis: [t, h, w] becomes [t, h, w, 1]."""
    video = np.asarray(video)
    if video.ndim not in (3, 4):
        raise UserError(
            f"A video has shape {video.shape}, expected [t, h, w] or [t, h, w, c]."
        )
    return video if video.ndim == 4 else video[..., None]


def rows(trials: Sequence[np.ndarray] | None, trial: int, frames: int) -> Any:
    """One trial's [t, n]; [n] of a picture and [t] of one signal get their axis."""
    if trials is None:
        return None
    row = np.asarray(trials[trial])
    flat = row.ndim == 1 and row.size % frames == 0
    return row.reshape(frames, -1) if flat else row


def default_tiers(stimulus: np.ndarray, validation: str) -> list[str]:
    """Repeated stimuli are for validation; if none or all repeat, every tenth trial."""
    shown = np.bincount(stimulus)[stimulus]
    held = shown > 1
    if not held.any() or held.all():
        held = np.arange(len(stimulus)) % 10 == min(9, len(stimulus) - 1)
        held &= len(stimulus) > 1
    return [validation if h else "train" for h in held]
