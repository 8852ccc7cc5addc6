"""How rough a kernel is: Laplace filters and what is made of them.

Kernels are channel-last: [rows, columns, in, out], [frames, in, out] or
[frames, rows, columns, in, out].
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = Any


def _log7() -> np.ndarray:
    quarter = np.array(  # 7 x 7 Laplacian of Gaussian, one corner of four
        [[0, 0, 1, 1], [0, 1, 3, 3], [1, 3, 0, -7], [1, 3, -7, -24]], np.float32
    )
    half = np.concatenate([quarter, quarter[:, -2::-1]], 1)
    return np.concatenate([half, half[-2::-1]], 0)


def _log5() -> np.ndarray:
    quarter = np.array([[0, 0, 1], [0, 1, 2], [1, 2, -16]], np.float32)
    half = np.concatenate([quarter, quarter[:, -2::-1]], 1)
    return np.concatenate([half, half[-2::-1]], 0)


def _cross(axes: int, sign: float, center: float) -> np.ndarray:
    taps = np.zeros((3,) * axes, np.float32)
    for axis in range(axes):
        for step in (0, 2):
            taps[tuple(step if a == axis else 1 for a in range(axes))] = sign
    taps[(1,) * axes] = center
    return taps


# Its one-dimensional center is 4, as in the original; a true second derivative has 2.
LAPLACE_1D = _cross(1, -1, 4)
LAPLACE = {3: _cross(2, -1, 4), 5: _log5(), 7: _log7()}
LAPLACE_3D = _cross(3, 1, -6)


def filtered(kernel: Array, taps: np.ndarray, padding: int | None = None) -> Array:
    """Correlate the kernel's first axes with the taps, channel by channel.

    padding None keeps the size.
    """
    pad = taps.shape[0] // 2 if padding is None else padding
    rest = kernel.ndim - taps.ndim
    x = jnp.pad(kernel, [(pad, pad)] * taps.ndim + [(0, 0)] * rest)
    size = [n - k + 1 for n, k in zip(x.shape, taps.shape, strict=False)]
    total = jnp.zeros((*size, *kernel.shape[taps.ndim :]), kernel.dtype)
    for at in zip(*np.nonzero(taps), strict=True):
        window = tuple(slice(a, a + n) for a, n in zip(at, size, strict=True))
        total = total + float(taps[at]) * x[window]
    return total


def laplace_l1(kernel_hwio: Array, *, padding: int = 0, mean: bool = True) -> Array:
    """Mean or sum of |Laplace|."""
    return _gather(jnp.abs(filtered(kernel_hwio, LAPLACE[3], padding)), mean)


def laplace_l2(
    kernel_hwio: Array,
    *,
    padding: int | None = None,
    size: int = 3,
    mean: bool = True,
) -> Array:
    """Half the mean or sum of the squared Laplace of that filter size."""
    return _gather(filtered(kernel_hwio, LAPLACE[size], padding) ** 2, mean) / 2


def laplace_l2norm(
    kernel_hwio: Array, *, padding: int | None = None, mean: bool = False
) -> Array:
    """Squared Laplace over squared weights, of the whole kernel."""
    rough = filtered(kernel_hwio, LAPLACE[3], padding) ** 2
    return _gather(rough, mean) / _gather(kernel_hwio**2, mean)


def gaussian_laplace_l2(
    kernel_hwio: Array,
    *,
    padding: int | None = None,
    sigma: float | None = None,
    mean: bool = False,
) -> Array:
    """As laplace_l2norm with the Laplace forgiven towards the middle.

    sigma None is a quarter of the smaller side of the kernel at hand.
    """
    rows, columns = kernel_hwio.shape[:2]
    mask_hw = 1 - gaussian((rows, columns), sigma or min(rows, columns) / 4)
    rough = filtered(kernel_hwio, LAPLACE[3], padding) * mask_hw[:, :, None, None]
    return _gather(rough**2, mean) / _gather(kernel_hwio**2, mean)


def gaussian(size: tuple[int, int], sigma: float) -> np.ndarray:
    """Gaussian image rescaled so that its smallest value is 0 and its largest 1."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in size)
    image = np.exp(-0.5 * (y[:, None] ** 2 + x[None, :] ** 2) / sigma**2)
    image -= image.min()
    return (image / image.max()).astype(np.float32)


def depth_laplace_l2norm(
    kernel_tio: Array, *, padding: int | None = None, mean: bool = False
) -> Array:
    """Squared temporal Laplace over squared weights, of the whole kernel."""
    rough = filtered(kernel_tio, LAPLACE_1D, padding) ** 2
    return _gather(rough, mean) / _gather(kernel_tio**2, mean)


def laplace_l2_3d(kernel_thwio: Array) -> Array:
    """Half the mean squared Laplace over time and space, inside the kernel only."""
    return jnp.mean(filtered(kernel_thwio, LAPLACE_3D, 0) ** 2) / 2


def flat_laplace_l2_3d(kernel_thwio: Array) -> Array:
    """Half the mean squared spatial Laplace of a kernel one frame long."""
    if kernel_thwio.shape[0] != 1:
        raise ValueError(
            f"The kernel spans {kernel_thwio.shape[0]} frames, expected 1."
        )
    return laplace_l2(kernel_thwio[0])


def frames_laplace_l2norm(kernel_thwio: Array) -> Array:
    """Sum over frames of laplace_l2norm (the Basic3d core's spatial penalty)."""
    return jnp.sum(jax.vmap(laplace_l2norm)(kernel_thwio))


def pixels_laplace_l2norm(kernel_thwio: Array) -> Array:
    """Sum over pixels of depth_laplace_l2norm (the Basic3d core's temporal one)."""
    flat = kernel_thwio.reshape(kernel_thwio.shape[0], -1, *kernel_thwio.shape[3:])
    return jnp.sum(jax.vmap(depth_laplace_l2norm, in_axes=1)(flat))


def group_sparsity(kernel_hwio: Array) -> Array:
    """Mean over input and output channels of the L2 norm over pixels."""
    square_io = jnp.sum(kernel_hwio**2, (0, 1))
    alive = square_io > 0  # the root of zero has no gradient
    return jnp.mean(jnp.where(alive, jnp.sqrt(jnp.where(alive, square_io, 1)), 0))


def _gather(x: Array, mean: bool) -> Array:
    return jnp.mean(x) if mean else jnp.sum(x)
