"""Read feature maps at points between pixels."""

from typing import Any

import jax
import jax.numpy as jnp

Array = Any


def sample_bilinear(feat_bthwf: Array, grid_btn2: Array) -> Array:
    """Bilinear values of the maps at the points; returns [B, T, N, F].

    Grid (x, y) runs from -1 (first pixel) to 1 (last pixel), as PyTorch's grid_sample
    with align_corners=True; outside the map the features are zero. The grid's B and T
    may be 1, one grid for all.
    """
    b, t, h, w, f = feat_bthwf.shape
    grid = jnp.broadcast_to(grid_btn2, (b, t, *grid_btn2.shape[2:]))

    def image(feat_hwf, grid_n2):
        index_n4, weight_n4 = _corners(grid_n2, h, w)
        rows_n4f = feat_hwf.reshape(h * w, f)[index_n4]
        return jnp.einsum("nkf,nk->nf", rows_n4f, weight_n4.astype(feat_hwf.dtype))

    return jax.vmap(jax.vmap(image))(feat_bthwf, grid)


def point_readout(feat_bthwf: Array, grid_btn2: Array, weight_nf: Array) -> Array:
    """Each neuron reads one point with its own feature weights; returns [B, T, N].

    Grid as in sample_bilinear; the Gaussian readout of Lurz et al. 2021.
    """
    feat_btnf = sample_bilinear(feat_bthwf, grid_btn2)
    return jnp.einsum("btnf,nf->btn", feat_btnf, weight_nf.astype(feat_btnf.dtype))


def _corners(grid_n2: Array, height: int, width: int) -> tuple[Array, Array]:
    """Flat index and weight of the four pixels around each point."""
    x = (grid_n2[:, 0] + 1) / 2 * (width - 1)
    y = (grid_n2[:, 1] + 1) / 2 * (height - 1)
    x0, y0 = jnp.floor(x), jnp.floor(y)
    dx, dy = x - x0, y - y0
    index, weight = [], []
    for yi, wy in ((y0, 1 - dy), (y0 + 1, dy)):
        for xi, wx in ((x0, 1 - dx), (x0 + 1, dx)):
            inside = (xi >= 0) & (xi < width) & (yi >= 0) & (yi < height)
            col = jnp.clip(xi, 0, width - 1).astype(jnp.int32)
            row = jnp.clip(yi, 0, height - 1).astype(jnp.int32)
            index.append(row * width + col)
            weight.append(jnp.where(inside, wy * wx, 0))
    return jnp.stack(index, -1), jnp.stack(weight, -1)
