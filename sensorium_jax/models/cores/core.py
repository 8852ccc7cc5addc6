"""What a core is: everything that an encoder, a recipe or a loader may ask of one."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import flax.linen as nn

from sensorium_jax.errors import UserError
from sensorium_jax.models.parts.norm import GROUPS
from sensorium_jax.models.parts.penalties import Offered

Array = Any
PAGE = "docs/new-core.md"


class Core(Protocol):
    """A linen module from video to feature maps, shared by all mice.

    It is built with input_channels=, the channels of the video and of the signals that
    are appended to it, and with its own options. A core that can recompute its layers
    in the backward pass takes the option `remat`; others leave it out. Its members may
    be fields, class attributes or properties.
    """

    @property
    def lost_frames(self) -> int:
        """Frames of the shortest clip that gets an answer, less one.

        Maps belong to the last frames of a clip, whatever its length.
        """
        ...

    @property
    def norm_groups(self) -> str:
        """Whose statistics batch norm takes: of each 'mouse', or the whole 'batch'.

        A core without batch norm may say either; a mixed batch on a mesh that cuts
        mice needs 'batch'.
        """
        ...

    @property
    def train_stride(self) -> int:
        """In training only every so many frames are answered, the last among them."""
        ...

    @property
    def causal(self) -> bool:
        """Whether no map depends on frames of the clip that come after its own."""
        ...

    @property
    def penalties(self) -> Offered:
        """Penalties of its own by name: (regex on paths below the core, function)."""
        ...

    def out_shape(self, frames: int, height: int, width: int) -> tuple[int, ...]:
        """Frames, rows, columns and features of the output; no parameters needed.

        Frames are those of evaluation. A UserError says why an input is too small.
        """
        ...

    def __call__(
        self, x_mbthwc: Array, *, train: bool, mice_m: Array | None = None
    ) -> Array:
        """Maps [M, B, T', H', W', F] of all mice at once.

        Mice that are False in mice_m only fill a mesh and must touch no statistic.
        """
        ...


def check_core(core: Any) -> None:
    """Refuse a core that breaks the protocol; says all that is wrong with it."""
    if not isinstance(core, nn.Module):
        raise UserError(
            f"{core!r} is no core: expected a flax.linen Module. See {PAGE}."
        )
    wrong = []
    for name, (expected, fits) in EXPECTED.items():
        value = getattr(core, name, MISSING)
        if value is MISSING:
            wrong.append(f"{name} is missing, expected {expected}")
        elif not fits(value):
            method = f"a method {inspect.signature(value)}" if callable(value) else ""
            wrong.append(f"{name} is {method or repr(value)}, expected {expected}")
    if wrong:
        raise UserError(
            f"{type(core).__name__} breaks the protocol of cores: {'; '.join(wrong)}. "
            f"See {PAGE}."
        )


def _whole(value: Any, least: int) -> bool:
    return type(value) is int and value >= least


def _takes(method: Any, *args: Any, **options: Any) -> bool:
    """Whether a method may be called so."""
    try:
        inspect.signature(method).bind(*args, **options)
    except TypeError:
        return False
    return True


def _offers(penalties: Any) -> bool:
    """Whether these are names with (leaf regex, function)."""
    return isinstance(penalties, Mapping) and all(
        isinstance(name, str)
        and isinstance(offer, tuple)
        and len(offer) == 2
        and isinstance(offer[0], str)
        and callable(offer[1])
        for name, offer in penalties.items()
    )


MISSING = object()
EXPECTED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "lost_frames": ("a number of frames, 0 or more", lambda v: _whole(v, 0)),
    "norm_groups": ("'mouse' or 'batch'", lambda v: v in GROUPS),
    "train_stride": ("a number, 1 or more", lambda v: _whole(v, 1)),
    "causal": ("True or False", lambda v: isinstance(v, bool)),
    "penalties": ("a mapping of names to (leaf regex, function)", _offers),
    "out_shape": ("a method (frames, height, width)", lambda v: _takes(v, 2, 3, 4)),
    "__call__": (
        "a method (x_mbthwc, *, train, mice_m=None)",
        lambda v: _takes(v, None, train=True, mice_m=None),
    ),
}
