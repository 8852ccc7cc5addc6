"""Whether a core's kernels fit the frames, and which smaller ones would."""

import json
from typing import Any, NamedTuple

from sensorium_jax.errors import UserError
from sensorium_jax.models.cores.basic3d import Basic3dCore
from sensorium_jax.models.cores.factorized3d import Factorized3dCore
from sensorium_jax.models.cores.rotation2d import RotationEquivariant2dCore
from sensorium_jax.models.cores.stacked2d import Stacked2dCore
from sensorium_jax.models.cores.temporal_bases import TemporalBasesCore
from sensorium_jax.models.cores.v1t import V1TCore
from sensorium_jax.models.cores.viv1t import ViV1TCore

KEPT = 0.5  # of the rows and columns that kernels of one pixel would leave

Pixels = tuple[int, int]


class Spatial(NamedTuple):
    """The options of a kind of core that say how many pixels it needs."""

    kernels: tuple[str, ...]
    pool: str = ""
    time_first: bool = False  # kernels are (frames, rows, columns)


SPATIAL = {
    Stacked2dCore: Spatial(("input_kernel", "hidden_kernel")),
    RotationEquivariant2dCore: Spatial(("input_kernel", "hidden_kernel")),
    Factorized3dCore: Spatial(("input_spatial_kernel", "hidden_spatial_kernel")),
    Basic3dCore: Spatial(("input_kernel", "hidden_kernel"), time_first=True),
    TemporalBasesCore: Spatial(("kernels",), pool="pool"),
    ViV1TCore: Spatial(("patch",)),
    V1TCore: Spatial(("patch",)),
}


def check(core: Any, frame: Pixels, *, recorded: Pixels | None = None) -> None:
    """Refuse a core that needs more pixels than frames have; say what would do.

    frame: rows and columns as the core sees them; recorded: before they are shrunk.
    """
    try:
        _maps(core, frame)
    except UserError as error:
        words, options = [str(error)], smaller(core, frame)
        if options:
            rows, columns = _maps(core.clone(**options), frame)
            words.append(
                f"Frames of {frame[0]} x {frame[1]} fit "
                f"{json.dumps({'core': options})}, which leaves maps of {rows} x "
                f"{columns}: give that as --config.model.json, or as core= to sj.build."
            )
        if recorded and recorded != frame and _fits(core, recorded):
            words.append(
                f"Or leave the recorded frames of {recorded[0]} x {recorded[1]} as "
                "they are: --config.data.scale=1."
            )
        raise UserError(" ".join(words)) from None


def smaller(core: Any, frame: Pixels) -> dict[str, Any]:
    """Options of the core whose kernels fit, as wide as possible; {} if none are known.

    They leave at least half of the rows and columns. The widest kernel is made narrower
    first, and of equal ones that of a later layer.
    """
    spatial = SPATIAL.get(type(core))
    if spatial is None:
        return {}
    narrow: dict[str, Any] = {}
    while spatial.pool and not _fits(_points(core.clone(**narrow), spatial), frame):
        size = narrow.get(spatial.pool, getattr(core, spatial.pool)) - 1
        if size < 1:
            return {}
        narrow[spatial.pool] = size
    most = _maps(_points(core.clone(**narrow), spatial), frame)

    def enough(options: dict[str, Any]) -> bool:
        wide = core.clone(**options)
        if not _fits(wide, frame):
            return False
        return all(n >= KEPT * m for n, m in zip(_maps(wide, frame), most, strict=True))

    while not enough(narrow):
        step = _narrower(core.clone(**narrow), spatial)
        if not step:
            return {}
        narrow |= step
    for name in spatial.kernels:  # what need not be narrower stays as it was
        rest = {k: v for k, v in narrow.items() if k != name}
        narrow = rest if enough(rest) else narrow
    return narrow


def _maps(core: Any, frame: Pixels) -> Pixels:
    """Rows and columns of a core's maps; too small a frame is an error."""
    _, rows, columns, _ = core.out_shape(core.lost_frames + 1, *frame)
    return rows, columns


def _fits(core: Any, frame: Pixels) -> bool:
    try:
        _maps(core, frame)
    except UserError:
        return False
    return True


def _sizes(core: Any, name: str, spatial: Spatial) -> list[int]:
    """Sizes of a kernel, one number as a list of one, or of all axes with time."""
    value = getattr(core, name)
    if isinstance(value, int):
        return [value] * (3 if spatial.time_first else 1)
    return list(value)


def _with(core: Any, name: str, sizes: list[int]) -> Any:
    """The sizes as the option has them: one number, or several."""
    several = len(sizes) > 1 or not isinstance(getattr(core, name), int)
    return tuple(sizes) if several else sizes[0]


def _points(core: Any, spatial: Spatial) -> Any:
    """The core with kernels of one pixel."""
    options = {}
    for name in spatial.kernels:
        sizes = _sizes(core, name, spatial)
        first = sizes[: int(spatial.time_first)]
        options[name] = _with(core, name, first + [1] * (len(sizes) - len(first)))
    return core.clone(**options)


def _narrower(core: Any, spatial: Spatial) -> dict[str, Any]:
    """The option of the widest kernel, two pixels narrower; {} where all are points."""
    first = int(spatial.time_first)
    sizes = {name: _sizes(core, name, spatial) for name in spatial.kernels}
    widest = max(size for each in sizes.values() for size in each[first:])
    if widest == 1:
        return {}
    name = [n for n, each in sizes.items() if widest in each[first:]][-1]
    where = len(sizes[name]) - 1 - sizes[name][::-1].index(widest)
    sizes[name][where] = max(widest - 2, 1)
    return {name: _with(core, name, sizes[name])}
