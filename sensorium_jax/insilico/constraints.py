"""What an optimized stimulus must obey: projections, smoothing, penalties.

Every function takes stimuli [B, T, H, W, C] in units of contrast (grey is 0) and treats
each of them by itself. The formulas are those of sinzlab/mei, which works on pictures;
norms, contrasts and spectra of films are over all of their frames. Where the original
takes differences of the wrong rows (total variation), ours takes neighbours.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.errors import UserError

Array = Any
AXES = (1, 2, 3, 4)
TINY = 1e-9


class Budget(NamedTuple):
    """What a stimulus may have; None where it is free.

    norm is L2 over all pixels and frames, contrast its root mean square over them, both
    in units of contrast and at most that, or just that with `exactly`. The mask (0..1,
    [H, W]) says where it may differ from grey; a fixed stimulus lies under it.
    """

    norm: float | None = None
    contrast: float | None = 0.2
    low: float = -1.75
    high: float = 2.26
    exactly: bool = False
    flat_mean: bool = False  # keep the mean grey


def check(budget: Budget, mask_hw: np.ndarray | None, shape: tuple[int, ...]) -> None:
    """Refuse a budget that no stimulus can meet; shape is [T, H, W, C]."""
    size = float(np.prod(shape))
    share = 1.0 if mask_hw is None else float(np.mean(np.asarray(mask_hw) > 0))
    if share == 0:
        raise UserError("The mask is empty. Let it cover a pixel at least.")
    if budget.low >= 0 or budget.high <= 0:
        raise UserError(
            f"The range {budget.low:g} to {budget.high:g} does not hold grey (0). Give "
            "one that does."
        )
    wanted = target(budget, int(size))
    most = max(abs(budget.low), budget.high) * np.sqrt(size * share)
    if budget.flat_mean:
        most = min(abs(budget.low), budget.high) * np.sqrt(size * share)
    if wanted is not None and wanted <= 0:
        raise UserError("A contrast or norm of 0 leaves nothing to choose; give more.")
    if wanted is not None and wanted > most:
        name, factor = ("norm", 1.0) if budget.norm else ("contrast", np.sqrt(size))
        raise UserError(
            f"No stimulus has a {name} of {wanted / factor:.3g} units within "
            f"{budget.low:.3g} to {budget.high:.3g}: the most is {most / factor:.3g}. "
            f"Give a smaller {name}, or a wider range or mask."
        )


def target(budget: Budget, size: int) -> float | None:
    """The norm that is allowed, of a stimulus of so many values."""
    if budget.norm is not None and budget.contrast is not None:
        raise UserError(
            "Both a norm and a contrast were given; they say the same. Give one."
        )
    if budget.norm is not None:
        return float(budget.norm)
    return None if budget.contrast is None else float(budget.contrast * np.sqrt(size))


def project(x: Array, budget: Budget, mask_bhw: Array | None = None) -> Array:
    """The stimuli with mask, mean, norm and range, in this order, brought to obey.

    The mask is one for all ([1, H, W]) or one for each.

    Cutting to the range makes the norm smaller; with `exactly` it is then brought up
    again where there is room, a few times.
    """
    wanted = target(budget, int(np.prod(x.shape[1:])))
    if mask_bhw is not None:
        x = x * mask_bhw[:, None, :, :, None]
    if budget.flat_mean:
        x = without_mean(x, mask_bhw)
    for _ in range(4 if budget.exactly else 1):
        if wanted is not None:
            x = to_norm(x, wanted, exactly=budget.exactly)
        x = jnp.clip(x, budget.low, budget.high)
    return x


def without_mean(x: Array, mask_bhw: Array | None) -> Array:
    """The stimuli less their mean under the mask."""
    mask = jnp.ones((1, *x.shape[2:4])) if mask_bhw is None else mask_bhw
    weight = mask[:, None, :, :, None]
    count = jnp.sum(weight, AXES, keepdims=True) * x.shape[1] * x.shape[4]
    mean = jnp.sum(x * weight, AXES, keepdims=True) / jnp.maximum(count, TINY)
    return x - mean * weight


def to_norm(x: Array, norm: float, *, p: int = 2, exactly: bool = False) -> Array:
    """Scaled to this norm where it is above, or anyhow."""
    size = norms(x, p)[:, None, None, None, None]
    factor = norm / jnp.maximum(size, TINY)
    return x * (factor if exactly else jnp.minimum(factor, 1.0))


def norms(x: Array, p: int = 2) -> Array:
    """(sum |x|^p)^(1/p) of each stimulus, [B]."""
    return jnp.sum(jnp.abs(x) ** p, AXES) ** (1 / p)


def blur(
    x: Array, sigma: float, *, over: tuple[int, ...] = (2, 3), truncate: float = 4.0
) -> Array:
    """Blurred by a Gaussian over some axes (usually space), edges reflected."""
    if sigma <= 0:
        return x
    half = max(round(truncate * sigma), 1)
    at = np.arange(-half, half + 1)
    kernel = np.exp(-0.5 * (at / sigma) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    for axis in over:
        reach = min(half, x.shape[axis] - 1)
        edges = [(0, 0)] * x.ndim
        edges[axis] = (reach, reach)
        padded = jnp.pad(x, edges, mode="reflect")
        more = [(0, 0)] * x.ndim
        more[axis] = (half - reach, half - reach)
        padded = jnp.pad(padded, more, mode="edge")
        size = x.shape[axis]
        x = sum(
            float(kernel[i]) * jax.lax.slice_in_dim(padded, i, i + size, axis=axis)
            for i in range(2 * half + 1)
        )
    return x


def smooth_spectrum(x: Array, exponent: float) -> Array:
    """Amplitudes in space times (1 - sqrt(2) |f|) to an exponent, f in cycles/pixel.

    At the corner of the spectrum, |f| = 1 / sqrt(2), nothing is left.
    """
    h, w = x.shape[2:4]
    f = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.fftfreq(w)[None])
    scale = np.maximum(1 - np.sqrt(2) * f, 0) ** exponent
    spectrum = jnp.fft.fft2(x, axes=(2, 3))
    scaled = spectrum * scale.astype(np.float32)[None, None, :, :, None]
    return jnp.real(jnp.fft.ifft2(scaled, axes=(2, 3)))


def by_size(x: Array) -> Array:
    """Each stimulus (or gradient) by its root mean square; zero stays zero."""
    square = jnp.mean(x**2, AXES, keepdims=True)
    return x * jnp.where(square > 0, 1 / jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def total_variation(x: Array, *, isotropic: bool = False) -> Array:
    """Sum of |differences| of neighbours in space, [B]; per frame and channel alike."""
    dy = x[:, :, 1:, :] - x[:, :, :-1, :]
    dx = x[:, :, :, 1:] - x[:, :, :, :-1]
    if not isotropic:
        return jnp.sum(jnp.abs(dy), AXES) + jnp.sum(jnp.abs(dx), AXES)
    square = dy[:, :, :, :-1] ** 2 + dx[:, :, :-1, :] ** 2
    return jnp.sum(jnp.sqrt(square + 1e-12), AXES)


def unlike_natural(x: Array, exponent: float = 2.0) -> Array:
    """How far a spectrum is from natural ones, [B]: a divergence of log powers.

    KL(softmax of log power natural || softmax of log power of x) where natural power
    falls as 1 / (f^exponent), f over space and time alike, without the mean.
    """
    t, h, w = x.shape[1:4]
    grids = [np.fft.fftfreq(n) for n in (t, h, w)]
    f = np.sqrt(sum(g**2 for g in np.meshgrid(*grids, indexing="ij"))).ravel()
    natural = np.where(f > 0, np.maximum(f, 1e-6) ** -exponent, 0.0)
    natural = (natural / natural.sum()).astype(np.float32)
    power = jnp.abs(jnp.fft.fftn(x, axes=(1, 2, 3))) ** 2
    power = jnp.sum(power, 4).reshape(x.shape[0], -1) * (natural > 0)[None]
    share = power / (jnp.sum(power, 1, keepdims=True) + TINY)
    log = jnp.log(natural + TINY)[None] - jnp.log(share + TINY)
    return jnp.sum(natural[None] * log, 1)


def alike(x_bd: Array, kind: str = "correlation") -> Array:
    """How alike members of groups are: x [B, D, ...] to the most alike pair, [B].

    "correlation", "cosine", or "distance" (its negative).
    """
    b, d = x_bd.shape[:2]
    flat = x_bd.reshape(b, d, -1)
    if kind == "distance":
        apart = flat[:, :, None] - flat[:, None]
        pairs = -jnp.sqrt(jnp.sum(apart**2, -1) + 1e-12)
    else:
        if kind == "correlation":
            flat = flat - jnp.mean(flat, -1, keepdims=True)
        size = jnp.sqrt(jnp.sum(flat**2, -1, keepdims=True) + 1e-12)
        pairs = jnp.einsum("bdp,bep->bde", flat / size, flat / size)
    lower = jnp.asarray(np.tril(np.ones((d, d), bool), -1))
    return jnp.max(jnp.where(lower[None], pairs, -jnp.inf), (1, 2))


def shifted(x: Array, shift_b2: Array) -> Array:
    """Stimuli moved by whole pixels (rows, columns) [B, 2]; what leaves comes back."""
    return jax.vmap(lambda one, by: jnp.roll(one, (by[0], by[1]), (1, 2)))(x, shift_b2)


def to_spectrum(x: Array) -> dict[str, Array]:
    """What from_spectrum gives the stimuli of."""
    s = jnp.fft.rfftn(x, axes=(1, 2, 3), norm="ortho") / _falling(x.shape)
    return {"real": jnp.real(s), "imaginary": jnp.imag(s)}


def from_spectrum(parts: dict[str, Array], shape: tuple[int, ...]) -> Array:
    """The stimuli [B, T, H, W, C] of an orthonormal spectrum over time and space.

    Amplitudes are in units that fall with spatial frequency as those of natural films
    do, so that a step of equal size changes low frequencies more.
    """
    s = (parts["real"] + 1j * parts["imaginary"]) * _falling(shape)
    return jnp.fft.irfftn(s, s=shape[1:4], axes=(1, 2, 3), norm="ortho")


def _falling(shape: tuple[int, ...]) -> Array:
    h, w = shape[2:4]
    f = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None])
    least = 1 / max(h, w)
    scale = (least / np.maximum(f, least)).astype(np.float32)
    return jnp.asarray(scale)[None, None, :, :, None]


def disc(shape: tuple[int, int], center: tuple[float, float], radius: float):
    """A mask [H, W] of 1 within a radius of (x, y), falling to 0 over a pixel."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    away = np.hypot(x - center[0], y - center[1])
    return np.clip(radius + 0.5 - away, 0, 1).astype(np.float32)
