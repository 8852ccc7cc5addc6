"""Frames of a clip as one picture that a page holds, a PNG of a grid of frames."""

import base64
import math
import struct
import zlib
from typing import NamedTuple

import numpy as np

WIDEST = 96  # pixels of a frame; larger ones are averaged down


class Sheet(NamedTuple):
    """All frames beside and below each other."""

    url: str  # holds the picture itself
    frames: int
    columns: int
    lines: int
    width: int  # of a frame
    height: int


def sheet(frames: np.ndarray) -> Sheet:
    """Frames [t, h, w] or [t, h, w, 3], uint8, as a sheet."""
    small = shrunk(frames)
    t, height, width = small.shape[:3]
    columns = max(1, min(t, math.ceil(math.sqrt(t * height / width))))
    lines = -(-t // columns)
    grid = np.zeros((lines * columns, *small.shape[1:]), np.uint8)
    grid[:t] = small
    # Lines of frames become lines of pixels.
    grid = grid.reshape(lines, columns, height, width, -1).swapaxes(1, 2)
    content = png(grid.reshape(lines * height, columns * width, -1))
    url = "data:image/png;base64," + base64.b64encode(content).decode()
    return Sheet(url, t, columns, lines, width, height)


def shrunk(frames: np.ndarray) -> np.ndarray:
    """Frames of at most so many pixels in width and height; means of whole blocks."""
    k = -(-max(frames.shape[1:3]) // WIDEST)
    if k == 1:
        return frames
    t, height, width = frames.shape[:3]
    rows, columns = max(height // k, 1), max(width // k, 1)
    block_h, block_w = min(k, height), min(k, width)
    cut = frames[:, : rows * block_h, : columns * block_w].astype(np.float32)
    blocks = cut.reshape(t, rows, block_h, columns, block_w, *frames.shape[3:])
    return blocks.mean((2, 4)).round().astype(np.uint8)


def png(image: np.ndarray) -> bytes:
    """A picture [h, w, 1 or 3], uint8, in the format PNG."""
    height, width, channels = image.shape
    kind = 0 if channels == 1 else 2  # grey, or red, green and blue
    head = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    lines = image.reshape(height, -1)
    # Every line begins with how it is filtered: not at all.
    raw = np.pad(lines, ((0, 0), (1, 0))).tobytes()
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(raw, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


def _chunk(name: bytes, content: bytes) -> bytes:
    check = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)
