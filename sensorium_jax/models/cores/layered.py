"""What cores of convolutional layers share: their fields, their layers, their stack.

Linen makes the fields of a module from the annotations of its class and its bases, so
a base class is the only place where fields can be listed once for several modules.
They are keyword-only: a core's own fields come first and may lack defaults.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn

from sensorium_jax.errors import UserError
from sensorium_jax.models.ops.geometry import Geometry, Shape
from sensorium_jax.models.parts.block import Block, per_layer
from sensorium_jax.models.parts.norm import BatchNorm
from sensorium_jax.models.parts.penalties import Offered

Array = Any


class LayeredCore(nn.Module, kw_only=True):
    """Fields of every layer of a core; a sequence has one entry for each layer.

    bias and batch_norm_scale are those of the batch norm, momentum is the weight of a
    new batch in its running statistics. Time is never padded in these cores, so they
    are causal.
    """

    nonlinearity: str = "elu"
    elu_shift: tuple[float, float] = (0.0, 0.0)
    final_nonlinearity: bool = True
    bias: bool | tuple[bool, ...] = True
    batch_norm: bool | tuple[bool, ...] = True
    batch_norm_scale: bool | tuple[bool, ...] = True
    momentum: float = 0.1
    norm_groups: str = "mouse"
    remat: bool = False  # recompute layers in the backward pass to save memory
    train_stride = 1
    causal = True

    @property
    def penalties(self) -> Offered:
        """None of its own; the general ones suit its kernels."""
        return {}

    def apply_layer(
        self,
        x: Array,
        index: int,
        layers: int,
        convolutions: tuple[tuple[str, Callable[..., nn.Module]], ...],
        *,
        train: bool,
        mice_m: Array | None,
        nonlinear: bool = True,
        rotations: int = 1,
        squeeze: int = 0,
    ) -> Array:
        """Layer number `index` of that many: convolutions, batch norm, nonlinearity.

        With remat only its input is kept for the backward pass; running statistics
        move once all the same.
        """
        bias = per_layer(self.bias, layers, "bias")[index]
        scale = per_layer(self.batch_norm_scale, layers, "batch_norm_scale")[index]
        normed = per_layer(self.batch_norm, layers, "batch_norm")[index]
        norm = partial(
            BatchNorm, self.momentum, scale, bias, rotations, self.norm_groups
        )
        block = Block(
            convolutions,
            norm if normed else None,
            self.nonlinearity if nonlinear else None,
            self.elu_shift,
            squeeze,
            name=f"layer{index}",
        )

        def call(block: Block, x: Array) -> Array:
            return block(x, train=train, mice_m=mice_m)

        return (nn.remat(call) if self.remat else call)(block, x)


def through(plan: Sequence[Geometry], shape: Shape) -> list[Shape]:
    """Frames, rows and columns after each of a chain of convolutions."""
    shapes = []
    for geometry in plan:
        shape = geometry.out(*shape)
        shapes.append(shape)
    return shapes


def stacked_layers(layers: int, stack: int | Sequence[int] | None) -> list[int]:
    """Which layers' maps make the output, from the option 'stack'."""
    if stack is None:
        return list(range(layers))
    if isinstance(stack, int):
        return list(range(layers))[stack:]
    return [range(layers)[index] for index in stack]


def stacked_shape(
    shapes: Sequence[Shape],
    features: Sequence[int],
    stack: int | Sequence[int] | None,
) -> tuple[int, int, int, int]:
    """Shape of the chosen layers' maps side by side; they must agree in size."""
    layers = stacked_layers(len(shapes), stack)
    sizes = sorted({shapes[i] for i in layers})
    if len(sizes) != 1:
        raise UserError(
            f"The maps of layers {layers} cannot be stacked: their (frames, rows, "
            f"columns) are {sizes}. Choose stack=-1, or pad every layer."
        )
    return (*sizes[0], sum(features[i] for i in layers))
