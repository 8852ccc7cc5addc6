"""How much a model computes: multiplications and additions, counted on paper."""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core
from jax.interpreters import partial_eval


def products(function: Callable[..., Any], *shapes: Any) -> int:
    """Floating-point operations of all products and convolutions of a function.

    Nothing is computed: shapes are arrays, or jax.ShapeDtypeStruct. Loops count as
    often as they turn, branches as their longest. What is done element by element is
    left out, as is usual, and so is what nothing depends on, as compilers do.
    """
    jaxpr = jax.make_jaxpr(function)(*shapes).jaxpr
    used, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    return _of(used)


def _of(jaxpr: Any) -> int:
    return sum(_equation(e) for e in jaxpr.eqns)


def _equation(e: Any) -> int:
    name, params = e.primitive.name, e.params
    if name == "dot_general":
        (left, _), _ = params["dimension_numbers"]
        shape = e.invars[0].aval.shape
        return 2 * _size(e.outvars[0]) * math.prod(shape[i] for i in left)
    if name == "conv_general_dilated":
        kernel = e.invars[1].aval.shape
        out = params["dimension_numbers"].rhs_spec[0]
        per_output = (
            math.prod(kernel) // kernel[out]
        )  # its input features are a group's
        return 2 * _size(e.outvars[0]) * per_output
    inner = [_of(j) for j in inside(params)]
    if name == "scan":
        return params["length"] * sum(inner)
    if name == "while" and sum(inner):
        raise ValueError("a loop of unknown length cannot be counted; use scan")
    return max(inner, default=0) if name == "cond" else sum(inner)


def _size(variable: Any) -> int:
    return math.prod(variable.aval.shape)


def inside(params: Any) -> list[Any]:
    """The programs that an equation calls, by its params."""
    kinds: Any = core  # newer stubs do not know what it holds
    found = []
    for name, value in params.items():
        if name in ("fwd_jaxpr_thunk", "jvp_jaxpr_fun", "bwd"):
            continue
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, kinds.ClosedJaxpr):
                found.append(one.jaxpr)
            elif isinstance(one, kinds.Jaxpr):
                found.append(one)
    return found
