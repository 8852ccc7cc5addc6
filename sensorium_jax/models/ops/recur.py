"""The recurrence of a convolutional GRU, with a backward pass of its own.

Left to itself, a scan keeps every number of every frame and adds up the gradient of the
kernels frame by frame, in the numbers of the kernels. Here only states and gates are
kept; going back gives the gradients of what drove the gates, and one convolution of all
frames then gives those of the kernels, summed in float32. Time stays the third axis:
frames are read and written where they lie, since moving axes copies whole films.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sensorium_jax.models.ops import convolutions

Array = Any


class Weights(NamedTuple):
    """Of the state: kernels [h, w, F, 2 F] and [h, w, F, F], and their biases."""

    gates: Array  # reset and update side by side
    gates_bias: Array
    out: Array
    out_bias: Array


class _Gates(NamedTuple):
    """Of every frame, [M, B, T, H, W, F]."""

    reset: Array
    update: Array
    new: Array


@jax.custom_vjp
def states(drive_mbthwf: Array, weights: Weights) -> Array:
    """States [M, B, T, H, W, F] after every frame, from zero before the first.

    drive [M, B, T, H, W, 3 F] is what the input adds to reset gate, update gate and new
    state. The state itself is float32 whatever the drive is: in bfloat16 it would stop
    moving under small updates.
    """
    return _run(drive_mbthwf, weights)[0]


def _run(drive: Array, weights: Weights) -> tuple[Array, _Gates]:
    dtype, f = drive.dtype, drive.shape[-1] // 3

    def step(carry: tuple[Array, Array, _Gates], t: Array) -> tuple[Any, None]:
        h, out, gates = carry
        now = _frame(drive, t)
        ours = _convolved(h, weights.gates, weights.gates_bias, dtype)
        both = jax.nn.sigmoid(now[..., : 2 * f] + ours)
        reset, update = both[..., :f], both[..., f:]
        ours = _convolved(h * reset, weights.out, weights.out_bias, dtype)
        new = jnp.tanh(now[..., 2 * f :] + ours)
        h = h * (1 - update) + new * update
        gates = _Gates(*map(_written, gates, (reset, update, new), (t,) * 3))
        return (h, _written(out, h, t), gates), None

    shape = (*drive.shape[:-1], f)
    zero = jnp.zeros((*shape[:2], *shape[3:]), jnp.float32)
    empty = [jnp.zeros(shape, dtype) for _ in range(4)]
    carry = zero, empty[0], _Gates(*empty[1:])
    (_, out, gates), _ = jax.lax.scan(step, carry, jnp.arange(shape[2]))
    return out, gates


def _frame(film_mbthwf: Array, t: Array) -> Array:
    """One frame, in float32."""
    frame = jax.lax.dynamic_index_in_dim(film_mbthwf, t, 2, keepdims=False)
    return frame.astype(jnp.float32)


def _written(film_mbthwf: Array, frame: Array, t: Array) -> Array:
    """The film with one frame in its place."""
    frame = frame.astype(film_mbthwf.dtype)
    return jax.lax.dynamic_update_index_in_dim(film_mbthwf, frame, t, 2)


def _convolved(h: Array, kernel: Array, bias: Array | None, dtype: Any) -> Array:
    """One frame of the state through a kernel that keeps its size, in float32."""
    x = h[:, :, None].astype(dtype)
    y = convolutions.spatial_conv(x, kernel, bias, padding=kernel.shape[0] // 2)
    return y[:, :, 0].astype(jnp.float32)


def _save(drive: Array, weights: Weights) -> tuple[Array, tuple]:
    out, gates = _run(drive, weights)
    return out, (out, gates, weights)


def _pull(saved: tuple[Array, _Gates, Weights], g: Array) -> tuple[Array, Weights]:
    out, gates, weights = saved
    dtype, f = g.dtype, g.shape[-1]
    into_gates = _transposed(weights.gates, g[:, :, 0], dtype)
    into_out = _transposed(weights.out, g[:, :, 0], dtype)

    def step(carry: tuple[Array, Array], t: Array) -> tuple[Any, None]:
        dh, ddrive = carry
        reset, update, new = (_frame(x, t) for x in gates)
        h = jnp.where(t > 0, _frame(out, jnp.maximum(t - 1, 0)), 0.0)
        dh = dh + _frame(g, t)
        dnew = dh * update * (1 - new * new)
        dupdate = dh * (new - h) * update * (1 - update)
        dproduct = into_out(dnew)  # of the state times the reset gate
        dreset = dproduct * h * reset * (1 - reset)
        dgates = jnp.concatenate([dreset, dupdate], -1)
        dh = dh * (1 - update) + dproduct * reset + into_gates(dgates)
        ddrive = _written(ddrive, jnp.concatenate([dgates, dnew], -1), t)
        return (dh, ddrive), None

    zero = jnp.zeros((*g.shape[:2], *g.shape[3:]), jnp.float32)
    ddrive = jnp.zeros((*g.shape[:-1], 3 * f), dtype)
    frames = jnp.arange(g.shape[2])
    (_, ddrive), _ = jax.lax.scan(step, (zero, ddrive), frames, reverse=True)
    # The state before the first frame is zero and moves no kernel.
    before, later = out[:, :, :-1], ddrive[:, :, 1:]
    product = before * gates.reset[:, :, 1:]
    return ddrive, Weights(
        _of_kernel(before, later[..., : 2 * f], weights.gates),
        _of_bias(ddrive[..., : 2 * f], weights.gates_bias),
        _of_kernel(product, later[..., 2 * f :], weights.out),
        _of_bias(ddrive[..., 2 * f :], weights.out_bias),
    )


def _transposed(kernel: Array, like: Array, dtype: Any) -> Any:
    """From the gradient of a frame's convolution to that of its state."""
    zero = jnp.zeros(like.shape, dtype)
    convolve = functools.partial(_convolved, kernel=kernel, bias=None, dtype=dtype)

    def pull(g: Array) -> Array:
        return jax.vjp(convolve, zero)[1](g)[0].astype(jnp.float32)

    return pull


def _of_kernel(x_mbthwf: Array, g_mbthwf: Array, kernel: Array) -> Array:
    """Gradient of a kernel over all frames at once."""
    convolve = functools.partial(
        convolutions.spatial_conv, x_mbthwf, padding=kernel.shape[0] // 2
    )
    return jax.vjp(convolve, kernel)[1](g_mbthwf)[0]


def _of_bias(g_mbthwf: Array, bias: Array) -> Array:
    return g_mbthwf.astype(jnp.float32).sum((0, 1, 2, 3, 4)).astype(bias.dtype)


states.defvjp(_save, _pull)
