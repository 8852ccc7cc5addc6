"""Readouts that begin where maps say that neurons look, in place of at random."""

from typing import Any, NamedTuple

import jax
import numpy as np

from sensorium_jax.errors import UserError
from sensorium_jax.models.cores.core import Core
from sensorium_jax.models.readouts.factorized import FactorizedReadout
from sensorium_jax.models.readouts.gaussian import GaussianReadout
from sensorium_jax.models.rows import Mouse

Tree = Any
LARGE = 5040  # pixels by which a frame is lengthened to see how a core counts them
WIDEST = 0.5  # grid units: as wide as unsure neurons begin


class Places(NamedTuple):
    """Where neurons look on the maps of a core, in its grid units, -1 to 1."""

    center_mn2: np.ndarray  # x, y
    spread_mn2: np.ndarray  # SD of what is not known of it
    width_mn2: np.ndarray  # SD of the field


def map_pixels(core: Core, seen: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Size of the core's maps (x, y), and pixels from one map pixel to the next.

    What a core loses of a frame it loses on both sides alike. seen is the shape of the
    frame as the core sees it.
    """
    frames, (height, width) = core.lost_frames + 1, seen[:2]
    rows, columns = core.out_shape(frames, height, width)[1:3]
    more = core.out_shape(frames, height + LARGE, width + LARGE)[1:3]
    grown = np.array([more[1] - columns, more[0] - rows])
    size = np.array([columns, rows])
    # A core whose maps have one size for all frames spreads them over the whole frame.
    whole = np.array([width, height]) / size
    return size, np.where(grown > 0, np.round(LARGE / np.maximum(grown, 1)), whole)


def on_maps(
    center_mn2: np.ndarray,
    spread_mn2: np.ndarray,
    width_mn: np.ndarray,
    core: Core,
    seen: tuple[int, ...],
) -> Places:
    """Places in pixels of the frame that the core sees, as places on its maps."""
    size, step = map_pixels(core, seen)
    middle = (np.array([seen[1], seen[0]]) - 1) / 2
    unit = 2 / (step * np.maximum(size - 1, 1))
    center = (center_mn2 - middle) * unit * (size > 1)
    return Places(np.clip(center, -1, 1), spread_mn2 * unit, width_mn[..., None] * unit)


def begin_at(readout: Any, params: Tree, info: Tree, places: Places, maps: Any) -> Tree:
    """The readout's parameters with places, as numpy; neurons that only pad stay.

    maps is the size of the core's maps (x, y).
    """
    real_mn = np.asarray(info["neurons_n"])
    if isinstance(readout, GaussianReadout):
        new = _gaussian(readout, params, info, places, np.asarray(maps))
    elif isinstance(readout, FactorizedReadout):
        new = {"spatial": _masks(readout, params["spatial"], places)}
    else:
        raise UserError(
            f"{type(readout).__name__} has no positions to begin at. Set "
            "config.readout.start to official, or take a Gaussian readout."
        )
    out = dict(params)
    for name, value in new.items():
        old = np.asarray(params[name])
        real = real_mn.reshape(real_mn.shape + (1,) * (old.ndim - 2))
        out[name] = np.where(real, value, old).astype(old.dtype)
    return out


def _gaussian(
    readout: GaussianReadout, params: Tree, info: Tree, places: Places, maps: np.ndarray
) -> dict[str, np.ndarray]:
    """Means and widths of the positions of Gaussian readouts.

    A width is how unsure a place is, at least half a pixel of the maps.
    """
    center, spread = places.center_mn2, places.spread_mn2
    low = 1 / np.maximum(maps - 1, 1)
    if not readout.align_corners:  # -1 is then the edge of the first pixel
        center = ((center + 1) * (maps - 1) + 1) / maps - 1
        spread, low = (x * (maps - 1) / maps for x in (spread, low))
    spread = np.clip(spread, np.minimum(low, WIDEST), WIDEST)
    sigma = {
        "full": spread[..., None] * np.eye(2),
        "uncorrelated": spread,
        "isotropic": spread.mean(-1, keepdims=True),
    }[readout.kind]
    if readout.predictor is None:
        return {"mu": center, "sigma": sigma}
    if not readout.free_offset:
        raise UserError(
            "The positions of this readout follow from cortex alone, so they cannot "
            "begin elsewhere. Give it predictor=None or free_offset=True, or set "
            "config.readout.start to official."
        )
    predictor = readout.predictor.clone(parent=None)

    def predicted(params: Tree, mouse: Mouse) -> Any:
        return predictor.apply({"params": params}, mouse)

    mice = Mouse(*(info[name] for name in Mouse._fields))
    at = np.asarray(jax.vmap(predicted)(params["predictor"], mice))
    return {"offset": center - at, "sigma": sigma}


def _masks(readout: FactorizedReadout, old: Any, places: Places) -> np.ndarray:
    """Masks that are bumps, as strong as the random ones."""
    height, width = old.shape[2:]
    x = np.linspace(-1, 1, width) if width > 1 else np.zeros(1)
    y = np.linspace(-1, 1, height) if height > 1 else np.zeros(1)
    low = 1 / np.maximum(np.array([width, height]) - 1, 1)
    wide = np.hypot(places.width_mn2, places.spread_mn2)
    wide = np.clip(wide, np.minimum(low, WIDEST), WIDEST)
    apart = [
        (grid[None, None] - places.center_mn2[..., i, None]) / wide[..., i, None]
        for i, grid in enumerate((x, y))
    ]
    along_x, along_y = (np.exp(-0.5 * a**2) for a in apart)
    bump = along_y[..., :, None] * along_x[..., None, :]
    norm = np.sqrt((bump**2).sum((2, 3), keepdims=True))
    strength = readout.init_std * np.sqrt(height * width)
    return strength * bump / np.maximum(norm, 1e-12)
