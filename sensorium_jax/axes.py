"""Axis letters, the records that cross rooms, and the checks at public doors.

An array whose axes matter wears their letters as a suffix: ``video_mbthwc``.
"""

from typing import Any, NamedTuple

import numpy as np

LETTERS = {
    "m": "mouse",
    "b": "window (batch)",
    "t": "frame",
    "h": "pixel row",
    "w": "pixel column",
    "c": "input channel",
    "f": "feature",
    "n": "neuron",
    "k": "behavior signal",
    "r": "repeat",
    "s": "distinct stimulus",
}

Array = Any  # numpy or jax; floor 0 imports neither for its records


class Batch(NamedTuple):
    """All mice at once; neurons are padded to the largest mouse and masked.

    Video is as stored (uint8 or float32, 0..255) and is normalized inside the step.
    Behavior, pupil and responses are already in the official normalized units.
    """

    video_mbthwc: Array
    behavior_mbtk: Array  # K is 0 where no mouse has behavior
    pupil_mbt2: Array  # zeros where a mouse has no pupil
    responses_mbtn: Array
    valid_mbt: Array  # bool: the frame exists and its responses are labelled
    neurons_mn: Array  # bool: the neuron exists
    frame_mbt: Array  # int32: index of the frame within its trial
    # bool: the neuron's responses to the trial are known; None where no mouse of the
    # recordings misses any
    observed_mbn: Array | None = None


class MixedBatch(NamedTuple):
    """Each sample its own mouse (DwiseNeuro's recipe); fields as in Batch."""

    video_bthwc: Array
    behavior_btk: Array
    pupil_bt2: Array
    responses_btn: Array
    valid_bt: Array
    neurons_bn: Array
    frame_bt: Array
    mouse_b: Array  # int32: row of the sample's mouse
    observed_bn: Array | None = None


class Trial(NamedTuple):
    """One whole presentation, raw and unpadded, time first."""

    video_thwc: Array
    behavior_tk: Array
    pupil_t2: Array
    responses_tn: Array


class Prediction(NamedTuple):
    """What a twin or a file says of one trial, beside what was recorded.

    Both arrays are of the same frames, in the judges' units: from the first frame that
    is scored, or the first that the model answers where that is later.
    """

    mouse: str
    trial: int  # row in the session's trial table, not the file number
    rates_tn: Array
    responses_tn: Array | None  # None where they are hidden, or nobody asked for them
    start: int  # number of the first frame within the trial


class Window(NamedTuple):
    """Which frames to read: start, start + stride, ... of one trial of one mouse."""

    mouse: int
    trial: int  # row in the session's trial table, not the file number
    start: int
    frames: int
    stride: int = 1


class MouseInfo(NamedTuple):
    """What a model must know of its mice before it sees a batch; rows are mice."""

    names: tuple[str, ...]
    neurons_mn: np.ndarray  # bool
    coordinates_mn3: np.ndarray  # float32 micrometres; zeros where unknown
    mean_rates_mn: np.ndarray  # float32, normalized units; zeros in the padding
    trials_m: np.ndarray  # int, trials of every tier (the official loss scale)
    train_trials_m: np.ndarray  # int, trials of the training tier
    has_coordinates: bool
    has_pupil: bool
    behaviors: int  # K
    frame_shape: tuple[int, int, int]  # H, W, C of the video alone
    # Measured receptive fields: x, y and width (SD) in pixels, NaN where unknown
    fields_mn3: np.ndarray | None = None

    @property
    def mice(self) -> int:
        """How many mice."""
        return len(self.names)

    @property
    def neurons(self) -> tuple[int, ...]:
        """Real neurons of each mouse."""
        return tuple(int(n) for n in self.neurons_mn.sum(1))


def letters(name: str) -> str:
    """The axis letters an array's name ends in: 'video_mbthwc' gives 'mbthwc'."""
    return name.rsplit("_", 1)[-1]


def check(**arrays: Array) -> dict[str, int]:
    """Check that names and shapes agree; return the size of each letter.

    ``check(rates_mbtn=r, neurons_mn=mask)`` raises if a rank differs from its letters
    or a letter has two sizes. A digit in a name stands for that size; None for an array
    that may be left out, and is.
    """
    sizes: dict[str, int] = {}
    seen: dict[str, str] = {}
    for name, array in arrays.items():
        if array is None:
            continue
        axes, shape = letters(name), tuple(array.shape)
        if len(axes) != len(shape):
            raise ValueError(
                f"{name} has shape {shape}, expected {len(axes)} axes: "
                + ", ".join(LETTERS.get(a, a) for a in axes)
            )
        for axis, size in zip(axes, shape, strict=True):
            want = int(axis) if axis.isdigit() else sizes.setdefault(axis, size)
            if want != size:
                where = seen.get(axis, "its name")
                raise ValueError(
                    f"{name} has {size} along '{axis}' ({LETTERS.get(axis, axis)}), "
                    f"expected {want} as in {where}; shape {shape}."
                )
            seen.setdefault(axis, name)
    return sizes


def last_frames(array: Array, axis: int, frames: int, stride: int = 1) -> Array:
    """The frames a model answered: the last `frames`, `stride` apart, along an axis."""
    size = array.shape[axis]
    cut = [slice(None)] * array.ndim
    cut[axis] = slice(size - stride * (frames - 1) - 1, None, stride)
    return array[tuple(cut)]


def shard_counts() -> tuple[int, int]:
    """How many parts the mesh in force cuts mice and batches into; (1, 1) without one.

    Read while tracing, under ``jax.set_mesh``; layers fold and map by it and so never
    name a mesh axis themselves.
    """
    import jax

    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return 1, 1
    return mesh.shape.get("mouse", 1), mesh.shape.get("data", 1)
