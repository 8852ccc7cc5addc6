"""Reads windows out of whole trials of a tree, for comparison with streams."""

from pathlib import Path

import numpy as np

from sensorium_jax import normalize
from sensorium_jax.data.session import BEHAVIOR, MODALITIES, PUPIL, RESPONSES, VIDEO
from sensorium_jax.data.stream import windows
from sensorium_jax.data.stream.stream import Stream

Arrays = dict[str, np.ndarray]


class Naive:
    """Reads windows out of whole trials, from arrays in the files' own axes."""

    def __init__(self, stream: Stream, *, official: bool):
        """The stream says what to draw; official takes every step of the originals."""
        self.stream, self.official, self.scales = stream, official, []
        for source in stream.sources:
            stored = Path(source.session.where) / "meta/statistics"
            mean, std = (
                {w: np.load(stored / w / f"all/{kind}.npy") for w in MODALITIES}
                for kind in ("mean", "std")
            )
            factor = {w: 1 / std[w] for w in (VIDEO, BEHAVIOR, PUPIL)}
            factor[RESPONSES] = normalize.response_precision(std[RESPONSES])
            shift = {w: mean[w] for w in (VIDEO, PUPIL)}
            self.scales.append((shift, factor))

    def batch_at(self, seed: int, i: int) -> dict[str, np.ndarray]:
        """The stream's batch i."""
        stream, parts = self.stream, {w: [] for w in MODALITIES}
        for mouse, source in enumerate(stream.sources):
            rows, session = stream.rows[mouse], source.session
            picks = windows.independent(seed, i, mouse, len(rows), stream.batch)
            for pick, where in zip(*picks, strict=True):
                trial = int(rows[pick])
                length = session.reader.length(trial)
                drawn = (stream.frames, stream.stride, stream.start, where)
                window = windows.place(mouse, trial, length, *drawn)
                folder, file = Path(session.where), f"{session.files[trial]}.npy"
                whole = {w: np.load(folder / "data" / w / file) for w in MODALITIES}
                cut = self._steps if self.official else self._shortcut
                for what, part in cut(whole, mouse, windows.frames_of(window)).items():
                    parts[what].append(part)
        return {what: np.stack(all_of) for what, all_of in parts.items()}

    def _steps(self, whole: Arrays, mouse: int, frames: slice) -> Arrays:
        """Normalize all, choose neurons, find the end, copy what is valid, cut."""
        shift, factor = self.scales[mouse]
        done = {w: (x - shift.get(w, 0)) * factor[w] for w, x in whole.items()}
        done[RESPONSES] = done[RESPONSES][np.arange(len(done[RESPONSES]))]
        ends = []
        for x in done.values():
            gaps = np.argwhere(np.isnan(x))[:, -1]
            ends.append(gaps.min() if gaps.size else x.shape[-1])
        valid = np.arange(min(ends))
        done = {w: np.take(x, valid, -1)[..., frames] for w, x in done.items()}
        return {w: np.ascontiguousarray(x, np.float32) for w, x in done.items()}

    def _shortcut(self, whole: Arrays, mouse: int, frames: slice) -> Arrays:
        """Cut, then normalize what is left."""
        shift, factor = self.scales[mouse]

        def cut(x):
            return x[..., frames] if np.ndim(x) and np.shape(x)[-1] > 1 else x

        return {
            w: np.ascontiguousarray(
                (cut(x) - cut(shift.get(w, 0))) * cut(factor[w]), np.float32
            )
            for w, x in whole.items()
        }
