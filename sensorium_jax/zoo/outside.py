"""Cores that live outside of this package: found by name, once the user allows it.

A kind of the form 'package.module:Class' is imported as Python imports any module,
'path/to/file.py:Class' is read from that file, relative to the current folder. Either
runs code. A kind that somebody types is allowed by typing it; one that a card brings
is allowed only if the environment variable SENSORIUM_OUTSIDE_CORES names it (several
are separated by commas), or by allow_outside=True in Python.
"""

import importlib
import os
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import flax.linen as nn

from sensorium_jax.errors import UserError, unknown
from sensorium_jax.models.cores.core import PAGE

ALLOWED = "SENSORIUM_OUTSIDE_CORES"


def is_outside(kind: Any) -> bool:
    """Whether a kind names a class outside of this package."""
    return isinstance(kind, str) and ":" in kind


def outside_core(kind: str, *, allowed: bool) -> Any:
    """The class that the kind names; refuses what the user did not allow."""
    named = [word.strip() for word in os.environ.get(ALLOWED, "").split(",")]
    if not allowed and kind not in named:
        raise UserError(
            f"The core '{kind}' lies outside of sensorium_jax, and to load it runs its "
            "code. If you trust it, allow it by name: set the environment variable "
            f"{ALLOWED}={kind}, or allow_outside=True in Python. See {PAGE}."
        )
    place, _, name = kind.rpartition(":")
    module = _module(kind, place)
    core = getattr(module, name, None)
    if not (isinstance(core, type) and issubclass(core, nn.Module)):
        modules = [n for n, v in vars(module).items() if _is_module_of(v, module)]
        words = f"A core is a flax.linen Module; see {PAGE}."
        raise unknown(f"core in {place}", name, modules, words)
    return core


def _module(kind: str, place: str) -> ModuleType:
    path = Path(place)
    if place.endswith(".py") and not path.is_file():
        raise UserError(
            f"The core '{kind}' is to be found in {path}, which is no file in the "
            f"current folder {Path.cwd()}. Run where it lies, or give its whole path."
        )
    try:
        if place.endswith(".py"):
            where = path.resolve()
            return _read(where, where.stat().st_mtime_ns)
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        near = Path(*place.split(".")).with_suffix(".py")
        remedy = "Install its package, or set PYTHONPATH to the folder that holds it."
        if near.is_file():
            remedy = f"Write '{near}:{kind.rpartition(':')[2]}' to take the file here."
        raise UserError(
            f"The core '{kind}' cannot be imported: {error}. {remedy}"
        ) from error
    except Exception as error:  # whatever code of others may raise
        raise UserError(
            f"The core '{kind}' cannot be imported: {type(error).__name__}: {error}."
        ) from error


@cache
def _read(path: Path, changed: int) -> ModuleType:
    """The module in a file, read anew only after a change: a class is one class."""
    name = f"outside_core_{path.stem}_{changed}"
    if path.suffix != ".py":
        raise ImportError(f"{path} is no Python file")
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # linen looks annotations up there
    try:
        # Not imported: kept bytecode of a file that was changed within a second is old.
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _is_module_of(value: Any, module: ModuleType) -> bool:
    own = isinstance(value, type) and value.__module__ == module.__name__
    return own and issubclass(value, nn.Module)
