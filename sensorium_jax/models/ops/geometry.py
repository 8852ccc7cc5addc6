"""Where a kernel goes over frames, pixel rows and pixel columns."""

from typing import NamedTuple

from sensorium_jax.errors import UserError

Shape = tuple[int, int, int]
AXES = ("frames", "pixel rows", "pixel columns")


class Geometry(NamedTuple):
    """Sizes and steps of a kernel, one entry for each axis that it has.

    One entry is time, two are rows and columns, three are time, rows and columns.
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    @classmethod
    def of(
        cls,
        size: tuple[int, ...],
        *,
        stride: tuple[int, ...] | int = 1,
        padding: tuple[int, ...] | int = 0,
        dilation: tuple[int, ...] | int = 1,
    ) -> "Geometry":
        """Geometry of a kernel; a single number is that of every axis."""
        stride, padding, dilation = (
            (value,) * len(size) if isinstance(value, int) else tuple(value)
            for value in (stride, padding, dilation)
        )
        return cls(tuple(size), stride, padding, dilation)

    def whole(self) -> "Geometry":
        """The same over all three axes; where the kernel has none it does nothing."""
        before, after = {1: (0, 2), 2: (1, 0), 3: (0, 0)}[len(self.size)]
        idle = Geometry.of((1,))
        return Geometry(
            *(
                rest * before + values + rest * after
                for rest, values in zip(idle, self, strict=True)
            )
        )

    def length(self, axis: int, size: int) -> int:
        """Length of one axis after the convolution; below 1 where it does not fit."""
        span = (self.size[axis] - 1) * self.dilation[axis] + 1
        return (size + 2 * self.padding[axis] - span) // self.stride[axis] + 1

    def out(self, frames: int, height: int, width: int) -> Shape:
        """Frames, rows and columns that remain; too few is an error."""
        whole, shape = self.whole(), (frames, height, width)
        for axis, size in enumerate(shape):
            span = (whole.size[axis] - 1) * whole.dilation[axis] + 1
            padded = size + 2 * whole.padding[axis]
            if padded < span:
                raise UserError(
                    f"Too few {AXES[axis]}: a kernel that spans {span} meets {size} "
                    f"(padded to {padded}) in an input to its layer of {frames} "
                    f"frames, {height} rows and {width} columns. Give the model at "
                    f"least {span - padded} more, or choose smaller kernels."
                )
        t, h, w = (whole.length(axis, size) for axis, size in enumerate(shape))
        return (t, h, w)
