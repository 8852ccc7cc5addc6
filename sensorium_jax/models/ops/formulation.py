"""Which of two equal formulations of an operation to compile.

XLA's own convolutions are fast on accelerators and slow on CPUs, so operations carry a
direct formulation for CPUs beside the library's. 'auto' decides by the platform the
program is lowered for, which may differ from the default one.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
from jax import lax

from sensorium_jax.errors import unknown

NAMES = ("auto", "direct", "library")
_chosen = jax.make_user_context("auto")


def use(name: str) -> AbstractContextManager:
    """Inside this context functions are traced in the named formulation."""
    if name not in NAMES:
        raise unknown("formulation", name, NAMES)
    return _chosen(name)


def current() -> str:
    """The formulation in force: 'auto' unless a context says otherwise."""
    return _chosen.value


def choose(name: str, direct: Callable, library: Callable, *operands: Any) -> Any:
    """Call one of two functions of equal results on the operands.

    To be called inside custom_vjp rules only: differentiating through the choice would
    keep the residuals of both.
    """
    if name == "direct":
        return direct(*operands)
    if name == "library":
        return library(*operands)
    return lax.platform_dependent(*operands, cpu=direct, default=library)
