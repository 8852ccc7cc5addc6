"""How a table of names works: their tensor, our leaf, and the layout between them.

A row's names hold {i}, a layer; {2j} or {2k+1}, numbers that are twice our layer j, or
one more than twice our layer k (Sequential counts what lies between layers too); and
{mouse}. The same table reads a file and writes one.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

Array = np.ndarray


class Row(NamedTuple):
    """One line of a table."""

    theirs: str
    ours: str
    order: str = "same"


class Order(NamedTuple):
    """Their array to ours and back."""

    read: Callable[[Array], Array]
    write: Callable[[Array], Array]


def _sigma(x: Array) -> Array:
    return x[0] if x.shape[2] == 2 else x[0, :, 0]


ORDERS = {
    "same": Order(lambda x: x, lambda x: x),
    # (out, in, *space) and (*space, in, out)
    "conv": Order(
        lambda x: np.moveaxis(x, (0, 1), (-1, -2)),
        lambda x: np.moveaxis(x, (-1, -2), (0, 1)),
    ),
    # a 3-D kernel of one frame
    "spatial": Order(
        lambda x: x[:, :, 0].transpose(2, 3, 1, 0),
        lambda x: x.transpose(3, 2, 0, 1)[:, :, None],
    ),
    # a 3-D kernel of one pixel
    "temporal": Order(
        lambda x: x[..., 0, 0].transpose(2, 1, 0),
        lambda x: x.transpose(2, 1, 0)[..., None, None],
    ),
    "depthwise": Order(
        lambda x: x[:, 0].transpose(1, 2, 0), lambda x: x.transpose(2, 0, 1)[:, None]
    ),
    "pointwise": Order(lambda x: x[..., 0, 0].T, lambda x: x.T[..., None, None]),
    # 3-D kernels of one frame and pixel
    "point3d": Order(lambda x: x[..., 0, 0, 0].T, lambda x: x.T[..., None, None, None]),
    # 3-D kernels of single channels, of one frame or of one pixel
    "depthwise_spatial": Order(
        lambda x: x[:, 0, 0].transpose(1, 2, 0),
        lambda x: x.transpose(2, 0, 1)[:, None, None],
    ),
    "depthwise_temporal": Order(
        lambda x: x[:, 0, :, 0, 0].T, lambda x: x.T[:, None, :, None, None]
    ),
    # (out, in / 2, 1) and (2, in / 2, out / 2)
    "in_two_groups": Order(
        lambda x: x[..., 0].reshape(2, -1, x.shape[1]).swapaxes(1, 2),
        lambda x: x.swapaxes(1, 2).reshape(-1, x.shape[1], 1),
    ),
    "rows": Order(lambda x: x[..., 0], lambda x: x[..., None]),
    "linear": Order(lambda x: x.T, lambda x: x.T),
    "features": Order(lambda x: x[0, :, 0].T, lambda x: x.T[None, :, None]),
    "point": Order(lambda x: x[0, :, 0], lambda x: x[None, :, None]),
    "sigma": Order(_sigma, lambda x: x[None] if x.ndim == 3 else x[None, :, None]),
}

HOLES = {
    "{i}": r"(?P<i>\d+)",
    "{2j}": r"(?P<j>\d+)",
    "{2k+1}": r"(?P<k>\d+)",
    "{mouse}": r"(?P<mouse>[^.]+)",
}
TWICE = {"j": 0, "k": 1}  # what is added to twice our number to make theirs


class Read(NamedTuple):
    """A state dict in our names: shared leaves, and those of each mouse."""

    shared: dict[str, Array]
    mice: dict[str, dict[str, Array]]  # mouse, leaf
    left: tuple[str, ...]  # tensors that no row names


def read(
    table: Sequence[Row], constants: Sequence[str], state: Mapping[str, Array]
) -> Read:
    """Every tensor under our name; constants (regexes) are known and not needed."""
    shared: dict[str, Array] = {}
    mice: dict[str, dict[str, Array]] = {}
    left = []
    for name, array in state.items():
        if any(re.fullmatch(pattern, name) for pattern in constants):
            continue
        found = _find(table, name)
        if found is None:
            left.append(name)
            continue
        row, holes = found
        leaf = _fill(row.ours, holes)
        try:
            value = ORDERS[row.order].read(array)
        except (IndexError, ValueError):
            left.append(name)  # of another rank: not what the row means
            continue
        target = mice.setdefault(holes["mouse"], {}) if "mouse" in holes else shared
        target[leaf] = np.ascontiguousarray(value)
    return Read(shared, mice, tuple(left))


def write(
    table: Sequence[Row], shared: Mapping[str, Array], mice: Mapping[str, Mapping]
) -> dict[str, Array]:
    """The inverse of read, without the constants."""
    state = {}
    for name, value in shared.items():
        state |= _named(table, name, value, {})
    for mouse, leaves in mice.items():
        for name, value in leaves.items():
            state |= _named(table, name, value, {"mouse": mouse})
    return state


def _find(table: Iterable[Row], name: str) -> tuple[Row, dict[str, str]] | None:
    for row in table:
        match = _regex(row.theirs).fullmatch(name)
        if match is None:
            continue
        holes = match.groupdict()
        if any(int(holes[h]) % 2 != odd for h, odd in TWICE.items() if h in holes):
            continue
        halves = {h: str(int(holes[h]) // 2) for h in TWICE if h in holes}
        return row, holes | halves
    return None


def _named(
    table: Iterable[Row], leaf: str, value: Array, given: Mapping[str, str]
) -> dict[str, Array]:
    for row in table:
        match = _regex(row.ours).fullmatch(leaf)
        if match is None or ("{mouse}" in row.theirs) != ("mouse" in given):
            continue
        holes = {**match.groupdict(), **given}
        for hole, odd in TWICE.items():
            if hole in holes:
                holes[hole] = str(2 * int(holes[hole]) + odd)
        array = ORDERS[row.order].write(np.asarray(value))
        return {_fill(row.theirs, holes): np.ascontiguousarray(array)}
    return {}


@cache
def _regex(template: str) -> re.Pattern[str]:
    pattern = re.escape(template)
    for hole, group in HOLES.items():
        name = group[4 : group.index(">")]
        first, *others = pattern.split(re.escape(hole))
        for n, other in enumerate(others):
            first += (group if n == 0 else f"(?P={name})") + other
        pattern = first
        for hole in TWICE:
            pattern = pattern.replace(rf"\{{{hole}\}}", rf"(?P<{hole}>\d+)")
    return re.compile(pattern)


def _fill(template: str, holes: Mapping[str, str]) -> str:
    for name, value in holes.items():
        template = template.replace("{" + name + "}", value)
    template = template.replace("{2j}", holes.get("j", ""))
    return template.replace("{2k+1}", holes.get("k", ""))
