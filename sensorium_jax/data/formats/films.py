"""Films from stacks of frames, video files and folders of pictures, read in parts."""

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.data.formats.clocks import Clock
from sensorium_jax.data.formats.foreign import Film
from sensorium_jax.data.formats.lazy import Lazy
from sensorium_jax.errors import UserError, need_extra
from sensorium_jax.io import regular

MOVIES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm")
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
# Containers that lead to other files or addresses are not among them.
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm"
SINGLE = "png_pipe,jpeg_pipe,jpegxl_pipe,tiff_pipe,bmp_pipe,mjpeg,image2,image2pipe"
MOST_PIXELS = 1 << 26  # of one frame
BATCH = 32 << 20  # bytes of frames that are made smaller at a time

Read = Callable[[int, int], np.ndarray]


class Frames(NamedTuple):
    """Frames before they have a clock: read(first, stop) gives [t, h, w, c]."""

    name: str
    count: int
    frame_shape: tuple[int, int, int]
    dtype: np.dtype
    read: Read
    times_t: np.ndarray | None = None  # seconds, of a movie

    def on(self, clock: Clock) -> Film:
        """The film, once it is known when its frames were shown."""
        if clock.count != self.count:
            raise UserError(
                f"{self.name} has {self.count} frames, but there are {clock.count} "
                "times of frames. Expected one time for each frame, in seconds."
            )
        return Film(self.name, clock, self.frame_shape, self.dtype, self.read)


def stack(array: Lazy, *, transpose: bool = False) -> Frames:
    """Frames [t, h, w] or [t, h, w, c] of an array in a file."""
    shape = array.shape
    if len(shape) not in (3, 4) or 0 in shape or array.dtype.kind not in "biuf":
        raise UserError(
            f"{array.name} has shape {shape} and type {array.dtype}. Expected a stack "
            "of frames [t, h, w] or [t, h, w, channels] of numbers."
        )
    if len(shape) == 4 and shape[-1] > 4:
        raise UserError(
            f"{array.name} has shape {shape}, so its frames have {shape[-1]} channels. "
            "Expected [t, h, w, channels] with at most 4 of them; if the channels lie "
            "elsewhere, write it again with channels last."
        )
    height, width, channels = *shape[1:3], (*shape, 1)[3]

    def read(first: int, stop: int) -> np.ndarray:
        frames = array.read(first, stop)
        frames = frames.reshape(stop - first, height, width, channels)
        return frames.swapaxes(1, 2) if transpose else frames

    sides = (width, height) if transpose else (height, width)
    dtype = np.dtype(np.uint8) if array.dtype.kind == "b" else array.dtype
    return Frames(array.name, shape[0], (*sides, channels), dtype, read)


def _av() -> Any:
    try:
        import av
    except ImportError:
        raise need_extra("av", "formats", "Reading movies and pictures") from None
    return av


@contextlib.contextmanager
def _container(path: Path, formats: str) -> Iterator[Any]:
    """An opened file of video, from which no other file or address is reached."""
    options = {"format_whitelist": formats, "protocol_whitelist": ""}
    # Opened here, so that the name cannot be taken for a pattern or an address.
    with regular.opened(path) as file:
        try:
            container = _av().open(file, options=options)
        except (_av().error.FFmpegError, ValueError) as error:
            raise _unreadable(path, error) from None
        with container:
            yield container


def _unreadable(path: Path, error: Any) -> UserError:
    words = getattr(error, "strerror", None) or error
    return UserError(
        f"{path} cannot be read as a film or picture ({words}). It "
        f"may be cut short, or of a kind that is not read ({', '.join(MOVIES)}, "
        f"{', '.join(PICTURES)} are). Make it again, or save the frames as .npy."
    )


def movie(path: Path, *, color: bool = False) -> Frames:
    """A video file; grey unless color is asked for. Its times count from its start."""
    av = _av()
    with _container(path, CONTAINERS) as container:
        if not container.streams.video:
            raise UserError(f"{path} holds no film. Choose another file.")
        stream = container.streams.video[0]
        shape = (stream.height, stream.width, 3 if color else 1)
        base = stream.time_base
        try:
            stamps = sorted(p.pts for p in container.demux(stream) if p.pts is not None)
        except av.error.FFmpegError as error:
            raise _unreadable(path, error) from None
    if not stamps or not all(shape):
        raise UserError(f"{path} holds a film without frames. Make it again.")
    if shape[0] * shape[1] > MOST_PIXELS:
        raise UserError(f"{path} has frames of {shape[0]} x {shape[1]}, too large.")
    times_t = (np.array(stamps) - stamps[0]) * float(base)
    reader = _Movie(path, np.array(stamps), "rgb24" if color else "gray")
    return Frames(
        path.name, len(stamps), shape, np.dtype(np.uint8), reader.read, times_t
    )


class _Movie:
    """Decodes frames by number; what comes next needs no new start."""

    def __init__(self, path: Path, stamps: np.ndarray, form: str):
        self.path, self.stamps, self.form = path, stamps, form
        self.stack = contextlib.ExitStack()
        self.frames: Any = None
        self.next = 0

    def read(self, first: int, stop: int) -> np.ndarray:
        try:
            return np.stack([self._frame(i) for i in range(first, stop)])
        except _av().error.FFmpegError as error:
            raise _unreadable(self.path, error) from None

    def _frame(self, number: int) -> np.ndarray:
        if self.frames is None or number != self.next:
            self._start(number)
        for frame in self.frames or ():
            if frame.pts is not None and frame.pts >= self.stamps[number]:
                self.next = number + 1
                image = frame.to_ndarray(format=self.form)
                return image.reshape(*image.shape[:2], -1)
        raise UserError(
            f"{self.path} ends before its frame {number} of {len(self.stamps)}. It is "
            "cut short; make it again."
        )

    def _start(self, number: int) -> None:
        """Begin to decode at the last whole frame before one."""
        self.stack.close()
        container = self.stack.enter_context(_container(self.path, CONTAINERS))
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        if number:
            container.seek(int(self.stamps[number]), stream=stream)
        self.frames = container.decode(stream)


def folder(path: Path, *, color: bool = False) -> Frames:
    """A folder of pictures, one per frame, in the order of numbers in their names."""
    files = [p for p in path.iterdir() if p.suffix.lower() in PICTURES]
    files.sort(key=lambda p: [int(n) for n in re.findall(r"\d+", p.stem)] or [0])
    if not files:
        raise UserError(
            f"{path} holds no pictures ({', '.join(PICTURES)}). Expected one per frame."
        )
    shape = picture(files[0], color=color).shape

    def read(first: int, stop: int) -> np.ndarray:
        frames = []
        for file in files[first:stop]:
            frame = picture(file, color=color)
            if frame.shape != shape:
                raise UserError(
                    f"{file} has {frame.shape}, the first picture {shape} (height, "
                    "width, channels). Expected pictures of one size."
                )
            frames.append(frame)
        return np.stack(frames)

    return Frames(path.name, len(files), shape, np.dtype(np.uint8), read)


def picture(path: Path, *, color: bool = False) -> np.ndarray:
    """One picture [h, w, c] of bytes."""
    av = _av()
    try:
        with _container(path, SINGLE) as container:
            if container.streams.video:
                stream = container.streams.video[0]
                sides = (stream.height, stream.width)
                if sides[0] * sides[1] > MOST_PIXELS:
                    raise UserError(f"{path} has {sides[0]} x {sides[1]} pixels.")
                frame = next(container.decode(stream))
                image = frame.to_ndarray(format="rgb24" if color else "gray")
                return image.reshape(*image.shape[:2], -1)
    except (av.error.FFmpegError, StopIteration) as error:
        raise _unreadable(path, error) from None
    raise UserError(f"{path} holds no picture.")


def resized(film: Film, size: tuple[int, int]) -> Film:
    """A film of another size: every pixel the mean of the area that it covers."""
    height, width, channels = film.frame_shape
    rows, columns = _areas(size[0], height), _areas(size[1], width)
    batch = max(1, BATCH // (height * width * channels * 4))

    def read(first: int, stop: int) -> np.ndarray:
        small = np.empty((stop - first, *size, channels), np.float32)
        for begin in range(first, stop, batch):
            end = min(begin + batch, stop)
            frames = film.read(begin, end).astype(np.float32)
            small[begin - first : end - first] = np.einsum(
                "ih,thwc,jw->tijc", rows, frames, columns, optimize=True
            )
        return np.rint(small).astype(film.dtype) if film.dtype.kind in "iu" else small

    dtype = film.dtype if film.dtype.kind in "iu" else np.dtype(np.float32)
    return film._replace(frame_shape=(*size, channels), dtype=dtype, read=read)


def _areas(new: int, old: int) -> np.ndarray:
    """How much of each old pixel a new one covers [new, old]; rows add up to 1."""
    edges = np.linspace(0, old, new + 1)
    low, high = edges[:-1, None], edges[1:, None]
    pixel = np.arange(old)
    cover = np.minimum(high, pixel + 1) - np.maximum(low, pixel)
    cover = cover.clip(0)
    return (cover / cover.sum(1, keepdims=True)).astype(np.float32)


def joined(films: list[Film]) -> Film:
    """Films shown one after the other, as one."""
    if len(films) == 1:
        return films[0]
    films = sorted(films, key=lambda f: f.clock.span[0])
    first = films[0]
    for film, after in zip(films, films[1:], strict=False):
        if film.clock.span[1] > after.clock.span[0]:
            raise UserError(
                f"{film.name} and {after.name} were shown at the same time, from "
                f"{after.clock.span[0]:.6g} s on. Choose one of them."
            )
        if after.frame_shape != first.frame_shape:
            raise UserError(
                f"{after.name} has frames {after.frame_shape}, {first.name} "
                f"{first.frame_shape}. Give --size, so that both become alike."
            )
    ends = np.cumsum([f.clock.count for f in films])
    times_t = np.concatenate([f.clock.times(0, f.clock.count) for f in films])
    rates = [f.clock.rate for f in films]
    dtype = np.result_type(*(f.dtype for f in films))

    def read(begin: int, stop: int) -> np.ndarray:
        pieces = []
        for film, end in zip(films, ends, strict=True):
            offset = int(end) - film.clock.count
            low, high = max(begin, offset), min(stop, int(end))
            if low < high:
                pieces.append(film.read(low - offset, high - offset).astype(dtype))
        return np.concatenate(pieces)

    name = ",".join(f.name for f in films)
    clock = Clock(len(times_t), float(times_t[0]), max(rates), times_t)
    return Film(name, clock, first.frame_shape, dtype, read)
