"""Reads .npy files that hold Python objects, without running what they ask for.

Such a file is a pickle. The inert machine of pickled.py turns it into lists,
dictionaries, plain values and the records below; only numpy's own few functions, and
two harmless kinds of objects, may be named in it.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.errors import UserError
from sensorium_jax.io import regular
from sensorium_jax.io.pickled import Name, Refused, interpret

MOST_BYTES = 2 << 30
# 50,000 cells of suite2p need 13 million steps and 4 million arrays and numbers.
MOST_STEPS, MOST_CONTAINERS = 32_000_000, 8_000_000
MOST_NUMBERS, DEEPEST = 1_000_000, 4  # of a list of plain numbers
KINDS = "biufUS"  # of numbers and text, whose bytes mean nothing else


@dataclass
class Dtype:
    """A type of numbers; its byte order comes after the rest of it."""

    name: str
    order: str = "<"


@dataclass
class Array:
    """An array as the pickle describes it; its content comes after the rest of it."""

    shape: tuple[int, ...] = ()
    dtype: Dtype | None = None
    fortran: bool = False
    content: Any = b""


class Scalar(NamedTuple):
    """One number of numpy's own."""

    dtype: Dtype
    content: bytes


class Other(NamedTuple):
    """An object of no interest here, such as a date or a path: name and arguments."""

    name: Name
    arguments: tuple[Any, ...]


def read(path: Path) -> Any:
    """What a .npy file of objects holds: a list of its elements, or the one element."""
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise Refused(f"it has {size / 1e9:.1f} GB, too much for such a file.")
        with regular.opened(path) as file:
            dtype = _header(file)
            if not dtype.hasobject:
                raise Refused(f"it holds {dtype}, expected Python objects.")
            pickled = file.read()
        kind = "a file of numbers and names"
        limits = {"steps": MOST_STEPS, "containers": MOST_CONTAINERS}
        array = interpret(pickled, REBUILD, _fill, kind, **limits)
        if not isinstance(array, Array) or not isinstance(array.content, list):
            raise Refused("it describes no array of objects.")
        if len(array.content) != math.prod(array.shape):
            raise Refused(
                f"its shape is {array.shape}, but it has {len(array.content)} elements."
            )
    except Refused as error:
        raise UserError(
            f"{path} was not read: {error} Nothing in it was run. Expected a file as "
            "suite2p writes it; do not trust this one, and ask where it comes from."
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}).") from None
    if not array.shape:
        return array.content[0]
    return array.content


def _header(file: Any) -> np.dtype:
    """The type of the elements; the file then stands at the pickle."""
    try:
        version = np.lib.format.read_magic(file)
        old = version == (1, 0)
        parse = "read_array_header_1_0" if old else "read_array_header_2_0"
        return getattr(np.lib.format, parse)(file)[2]
    except Exception as error:  # the parser meets arbitrary bytes
        words = (str(error).splitlines() or [""])[0][:80]
        raise Refused(f"it is no .npy file ({words}).") from None


def array(value: Any) -> np.ndarray:
    """The numbers that a record or a plain value stands for; Refused for what is none.

    Text and bytes count as what they are; lists may hold numbers only.
    """
    match value:
        case Array(content=bytes(content), dtype=Dtype() as dtype):
            return _numbers(content, dtype, value.shape, value.fortran)
        case Scalar(dtype, bytes(content)):
            return _numbers(content, dtype, (), False)
        case bool() | int() | float() | str():
            return np.asarray(value)
        case list() | tuple():
            _check_list(value)
            try:
                return np.array([array(item)[()] for item in value])
            except ValueError as error:
                raise Refused(f"it has a list of unlike parts ({error}).") from None
    raise Refused(f"it has a {type(value).__name__} where numbers belong.")


def _check_list(value: Any) -> None:
    """Refuse lists in lists in lists, which may be one list a million times over."""
    left, waiting = MOST_NUMBERS, [(value, 0)]
    while waiting:
        part, depth = waiting.pop()
        arrays = (x for x in part if isinstance(x, Array))
        left -= len(part) + sum(math.prod(x.shape) for x in arrays)
        if depth > DEEPEST or left < 0:
            raise Refused("it has lists in lists where numbers belong.")
        waiting += [(x, depth + 1) for x in part if isinstance(x, list | tuple)]


def _numbers(
    content: bytes, dtype: Dtype, shape: tuple[int, ...], fortran: bool
) -> np.ndarray:
    try:
        known = np.dtype(dtype.order + dtype.name)
    except TypeError:
        raise Refused(f"it names the type '{dtype.name}', unknown to numpy.") from None
    if known.kind not in KINDS:
        raise Refused(f"it has elements of type {known} where numbers belong.")
    if len(content) != math.prod(shape) * known.itemsize:
        raise Refused(f"an array of shape {shape} has {len(content)} bytes.")
    order = "F" if fortran else "C"
    return np.frombuffer(content, known).reshape(shape, order=order)


def _fill(record: Any, state: Any) -> bool:
    match record, state:
        case Array(), (int(), tuple(shape), Dtype() as dtype, fortran, content):
            if not all(type(n) is int and n >= 0 for n in shape) or len(shape) > 8:
                raise Refused("an array has a shape that is no list of whole numbers.")
            record.shape, record.dtype = shape, dtype
            record.fortran, record.content = bool(fortran), content
            return True
        case Dtype(), (int(), str(order), None, None, None, *_) if order in "<>|=":
            record.order = order
            return True
    return False


def _dtype(name: Any, *_: Any) -> Dtype:
    if not isinstance(name, str) or len(name) > 16:
        raise Refused("it names a type of numbers in a form that numpy does not write.")
    return Dtype(name)


def _encoded(text: Any, encoding: Any = "latin1", *_: Any) -> bytes:
    # How bytes were written by Python 2's protocols.
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise Refused("it encodes text in a form that numpy does not write.")
    return text.encode("latin1")


def _other(module: str, name: str) -> tuple[Name, Any]:
    named = Name(module, name)
    return named, lambda *arguments: Other(named, arguments)


MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
REBUILD = {
    **{Name(m, "_reconstruct"): lambda *_: Array() for m in MODULES},
    **{
        Name(m, "scalar"): lambda dtype, content=b"": Scalar(dtype, content)
        for m in MODULES
    },
    Name("numpy", "dtype"): _dtype,
    Name("_codecs", "encode"): _encoded,
    Name("collections", "OrderedDict"): lambda *_: {},
    **dict(
        [
            _other("datetime", "datetime"),
            _other("datetime", "date"),
            _other("pathlib", "Path"),
            _other("pathlib", "PosixPath"),
            _other("pathlib", "WindowsPath"),
            _other("pathlib._local", "PosixPath"),
            _other("pathlib._local", "WindowsPath"),
        ]
    ),
}
