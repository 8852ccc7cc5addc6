"""Steerable filters: two-dimensional Hermite functions and their rotations."""

from functools import cache
from math import factorial, pi, sqrt
from typing import Any

import jax.numpy as jnp
import numpy as np

Array = Any


def angular_orders(size: int) -> np.ndarray:
    """Angular frequency of each of the size * (size + 1) / 2 basis functions.

    Ordered by rank, within a rank by frequency; 0 stands once, others as pairs (real
    part, imaginary part).
    """
    return np.array([o for rank in range(size) for o in _orders(rank)])


def basis(size: int, points: int) -> np.ndarray:
    """Hermite functions [n, points, points] (row, column), unit L2 norm, float64.

    n = size * (size + 1) / 2. The grid reaches 2 sqrt(size), less one part in points.
    Victor et al. 2006, https://doi.org/10.1152/jn.00498.2005.
    """
    reach = 2 * sqrt(size) * (1 - 1 / points)
    axis = np.linspace(-reach, reach, points)
    row, column = axis[:, None], axis[None, :]
    square, angle = row**2 + column**2, np.arctan2(row, column)
    images = []
    for rank in range(size):
        orders = _orders(rank)
        for position, order in enumerate(orders):
            radial = _radial(order, (rank - order) // 2, square)
            imaginary = order > 0 and orders[:position].count(order) == 1
            wave = np.sin(order * angle) if imaginary else np.cos(order * angle)
            images.append(radial * wave)
    stack = np.stack(images)
    return stack / np.sqrt((stack**2).sum((1, 2), keepdims=True))


def rotation(size: int, angle: float) -> np.ndarray:
    """Matrix [n, n] that turns coefficients into those of the rotated filter."""
    orders = angular_orders(size)
    matrix = np.zeros((len(orders), len(orders)))
    index = 0
    while index < len(orders):
        phase = orders[index] * angle
        if orders[index] == 0:
            matrix[index, index] = 1
            index += 1
            continue
        here = slice(index, index + 2)
        matrix[here, here] = [
            [np.cos(phase), np.sin(phase)],
            [-np.sin(phase), np.cos(phase)],
        ]
        index += 2
    return matrix


@cache
def rotated_basis(size: int, rotations: int, upsampling: int) -> np.ndarray:
    """Images [rotations, size, size, n] of the basis at every orientation, float32.

    Drawn on an upsampled grid whose cells are then summed, which keeps rotated filters
    free of aliasing.
    """
    fine = basis(size, size * upsampling)
    cells = fine.reshape(len(fine), size, upsampling, size, upsampling).sum((2, 4))
    turned = [
        np.einsum("nhw,nm->hwm", cells, rotation(size, 2 * pi * i / rotations))
        for i in range(rotations)
    ]
    return np.stack(turned).astype(np.float32)


def rotated_kernels(
    coefficients_nio: Array,
    size: int,
    *,
    rotations: int,
    upsampling: int,
    first: bool,
) -> Array:
    """Kernels [size, size, in, rotations * out] from coefficients [n, in, out].

    Output features are orientation-major. After the first layer the input is too, and
    its orientations shift along with the filter, so that the layer is equivariant.
    Ecker et al. 2019, https://arxiv.org/abs/1809.10504.
    """
    images_rhwn = jnp.asarray(rotated_basis(size, rotations, upsampling))
    kernels = jnp.einsum(
        "rhwn,nio->rhwio", images_rhwn, coefficients_nio, precision="highest"
    )
    if not first:
        step = coefficients_nio.shape[1] // rotations
        kernels = jnp.stack(
            [jnp.roll(kernels[i], i * step, axis=2) for i in range(rotations)]
        )
    kernels = jnp.moveaxis(kernels, 0, 3)
    return kernels.reshape(*kernels.shape[:3], -1)


def _orders(rank: int) -> list[int]:
    """Angular frequencies of one rank: 0 once, others twice, ascending."""
    orders = range(rank % 2, rank + 1, 2)
    return [o for order in orders for o in [order] * (1 if order == 0 else 2)]


def _radial(order: int, degree: int, square: np.ndarray) -> np.ndarray:
    """Radial part of the function of that angular frequency and radial degree."""
    total = np.zeros_like(square)
    for r in range(degree + 1):
        weight = (-2.0) ** (degree - r) * factorial(order + degree) * factorial(degree)
        weight /= factorial(order + r) * factorial(r) * factorial(degree - r)
        total += weight * square**r
    norm = 2.0 ** (order + 2 * degree) * pi
    norm *= factorial(order + degree) * factorial(degree)
    return np.exp(-square / 4) * square ** (order / 2) * total / sqrt(norm)
