"""The recurrence of a convolutional GRU, with a backward pass of its own.

Left to itself, a scan keeps every number of every frame and adds up the gradient of the
kernels frame by frame, in the numbers of the kernels. Here only states and gates are
kept; going back gives the gradients of what drove the gates, and one convolution of all
frames then gives those of the kernels, summed in float32.
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


class _Kept(NamedTuple):
    """What going back needs of each frame, time first."""

    before: Array  # the state that came in
    reset: Array
    update: Array
    new: Array


@jax.custom_vjp
def states(drive_tmbhwf: Array, weights: Weights) -> Array:
    """States [T, M, B, H, W, F] after every frame, from zero before the first.

    drive [T, M, B, H, W, 3 F] is what the input adds to reset gate, update gate and new
    state. The state itself is float32 whatever the drive is: in bfloat16 it would stop
    moving under small updates.
    """
    return _run(drive_tmbhwf, weights)[0]


def _run(drive: Array, weights: Weights) -> tuple[Array, _Kept]:
    dtype, f = drive.dtype, drive.shape[-1] // 3

    def step(h: Array, drive: Array) -> tuple[Array, tuple[Array, _Kept]]:
        drive = drive.astype(jnp.float32)
        ours = _convolved(h, weights.gates, weights.gates_bias, dtype)
        both = jax.nn.sigmoid(drive[..., : 2 * f] + ours)
        reset, update = both[..., :f], both[..., f:]
        ours = _convolved(h * reset, weights.out, weights.out_bias, dtype)
        new = jnp.tanh(drive[..., 2 * f :] + ours)
        kept = _Kept(*(x.astype(dtype) for x in (h, reset, update, new)))
        h = h * (1 - update) + new * update
        return h, (h.astype(dtype), kept)

    zero = jnp.zeros((*drive.shape[1:-1], f), jnp.float32)
    return jax.lax.scan(step, zero, drive)[1]


def _convolved(h: Array, kernel: Array, bias: Array | None, dtype: Any) -> Array:
    """One frame of the state through a kernel that keeps its size, in float32."""
    x = h[:, :, None].astype(dtype)
    y = convolutions.spatial_conv(x, kernel, bias, padding=kernel.shape[0] // 2)
    return y[:, :, 0].astype(jnp.float32)


def _save(drive: Array, weights: Weights) -> tuple[Array, tuple[_Kept, Weights]]:
    out, kept = _run(drive, weights)
    return out, (kept, weights)


def _pull(saved: tuple[_Kept, Weights], g_tmbhwf: Array) -> tuple[Array, Weights]:
    kept, weights = saved
    dtype = g_tmbhwf.dtype
    into_gates = _transposed(weights.gates, kept.before[0], dtype)
    into_out = _transposed(weights.out, kept.before[0], dtype)

    def step(dh: Array, frame: tuple[Array, _Kept]) -> tuple[Array, Array]:
        g, of = frame
        h, reset, update, new = (x.astype(jnp.float32) for x in of)
        dh = dh + g.astype(jnp.float32)
        dnew = dh * update * (1 - new * new)
        dupdate = dh * (new - h) * update * (1 - update)
        dproduct = into_out(dnew)  # of the state times the reset gate
        dreset = dproduct * h * reset * (1 - reset)
        dgates = jnp.concatenate([dreset, dupdate], -1)
        dh = dh * (1 - update) + dproduct * reset + into_gates(dgates)
        return dh, jnp.concatenate([dgates, dnew], -1).astype(dtype)

    zero = jnp.zeros(g_tmbhwf.shape[1:], jnp.float32)
    _, ddrive = jax.lax.scan(step, zero, (g_tmbhwf, kept), reverse=True)
    f = g_tmbhwf.shape[-1]
    dgates, dout = ddrive[..., : 2 * f], ddrive[..., 2 * f :]
    return ddrive, Weights(
        *_of_kernel(kept.before, dgates, weights.gates, weights.gates_bias),
        *_of_kernel(kept.before * kept.reset, dout, weights.out, weights.out_bias),
    )


def _transposed(kernel: Array, like: Array, dtype: Any) -> Any:
    """From the gradient of a frame's convolution to that of its state."""
    zero = jnp.zeros(like.shape, dtype)
    convolve = functools.partial(_convolved, kernel=kernel, bias=None, dtype=dtype)

    def pull(g: Array) -> Array:
        return jax.vjp(convolve, zero)[1](g)[0].astype(jnp.float32)

    return pull


def _of_kernel(
    x_tmbhwf: Array, g_tmbhwf: Array, kernel: Array, bias: Array
) -> tuple[Array, Array]:
    """Gradients of a kernel and its bias over all frames at once."""
    x, g = (jnp.moveaxis(a, 0, 2) for a in (x_tmbhwf, g_tmbhwf))
    convolve = functools.partial(
        convolutions.spatial_conv, x, padding=kernel.shape[0] // 2
    )
    (dkernel,) = jax.vjp(convolve, kernel)[1](g)
    dbias = g.astype(jnp.float32).sum((0, 1, 2, 3, 4))
    return dkernel, dbias.astype(bias.dtype)


states.defvjp(_save, _pull)
