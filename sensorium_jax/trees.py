"""Trees of arrays addressed by leaf names such as 'core/layer0/conv/kernel'."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax

from sensorium_jax.errors import UserError

Tree = Any
# Parts of a model whose leaves lead with the mouse, and those that all mice share.
OF_MICE = ("info", "readout", "shifter", "modulator")
SHARED = ("core", "gru")


def leaf_name(path: Iterable[Any]) -> str:
    """Key path of one leaf as 'a/b/c'."""
    return "/".join(
        str(getattr(p, "key", getattr(p, "idx", getattr(p, "name", p)))) for p in path
    )


def named_leaves(tree: Tree) -> dict[str, Any]:
    """Every leaf under its name, in tree order."""
    return {leaf_name(p): v for p, v in jax.tree_util.tree_leaves_with_path(tree)}


def is_row(name: str) -> bool:
    """Whether the leaf of this name leads with M, in any collection or state.

    The first part that its path names decides: what a core calls the things below
    itself does not matter.
    """
    *path, _ = name.split("/")
    part = next((word for word in path if word in OF_MICE + SHARED), None)
    return part in OF_MICE


def rows(tree: Tree) -> Tree:
    """True where a leaf leads with M; a scalar has no rows, whatever it is called."""
    return map_named(lambda name, x: len(x.shape) > 0 and is_row(name), tree)


def map_named(function: Callable[[str, Any], Any], tree: Tree) -> Tree:
    """Like jax.tree.map, with each leaf's name as first argument."""
    return jax.tree_util.tree_map_with_path(
        lambda p, v: function(leaf_name(p), v), tree
    )


def mask(tree: Tree, pattern: str) -> Tree:
    """True where the regex matches a leaf's whole name (re.fullmatch)."""
    return map_named(lambda name, _: re.fullmatch(pattern, name) is not None, tree)


def first_match(
    rules: Iterable[tuple[str, Any]], name: str, default: Any = None
) -> Any:
    """Value of the first rule whose regex matches the whole name."""
    return next((v for pattern, v in rules if re.fullmatch(pattern, name)), default)


def select(tree: Tree, pattern: str, *, at_least: int = 1) -> dict[str, Any]:
    """Leaves whose name the regex matches; too few is an error, never a silence."""
    leaves = named_leaves(tree)
    matched = {n: v for n, v in leaves.items() if re.fullmatch(pattern, n)}
    if len(matched) < at_least:
        raise UserError(
            f"No parameter matches '{pattern}'. There are: {', '.join(leaves)}."
        )
    return matched


def merge(base: Tree, new: Tree, pattern: str) -> Tree:
    """Base with the leaves of new where the regex matches; the shapes must agree."""
    leaves = named_leaves(new)

    def pick(name: str, value: Any) -> Any:
        if re.fullmatch(pattern, name) is None or name not in leaves:
            return value
        if leaves[name].shape != value.shape:
            raise UserError(
                f"{name} has shape {leaves[name].shape} in the new tree, "
                f"expected {value.shape}."
            )
        return leaves[name]

    return map_named(pick, base)


def sizes(tree: Tree) -> dict[str, int]:
    """Number of entries under each first-level name, and their total."""
    counts: dict[str, int] = {}
    for name, leaf in named_leaves(tree).items():
        top = name.split("/", 1)[0]
        counts[top] = counts.get(top, 0) + int(leaf.size)
    return counts | {"total": sum(counts.values())}


def unflatten(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dicts from names; the inverse of named_leaves for trees of dicts."""
    tree: dict[str, Any] = {}
    for name, value in leaves.items():
        *parents, last = name.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return tree
