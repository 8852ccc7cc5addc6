"""Golden cases of the original PyTorch code, and their arrays in our layout.

A case holds torch names and torch layouts; the functions below turn kernels to
channel-last, videos to [mouse, window, frame, row, column, channel], and flat names
to nested trees.
"""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np

FOLDER = Path(__file__).parent.parent / "golden"
PARTS = ("param", "input", "output", "grad", "state_after_train")


def load(name: str) -> SimpleNamespace:
    """Case ``name``: config (dict) and one dict of arrays per part, torch names."""
    parts: dict[str, dict[str, np.ndarray]] = {part: {} for part in PARTS}
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        config = json.loads(str(file["config"])) if "config" in file.files else {}
        for key in file.files:
            part, _, rest = key.partition("/")
            if rest:
                parts[part][rest] = file[key]
    return SimpleNamespace(config=config, **parts)


def kernel(weight: np.ndarray) -> np.ndarray:
    """Torch weight (out, in, *space) as ours: (*space, in, out)."""
    return np.moveaxis(weight, (0, 1), (-1, -2))


def video(x: np.ndarray) -> np.ndarray:
    """Torch video (batch, channel, frame, row, column) as one mouse's mbthwc."""
    return np.moveaxis(x, 1, -1)[None]


def images(x: np.ndarray) -> np.ndarray:
    """Torch images (batch, channel, row, column) as one-frame videos, mbthwc."""
    return video(x[:, :, None])


def nest(flat: dict[str, np.ndarray]) -> dict:
    """{'a/b/c': array} as nested dicts, ready to be a linen collection."""
    tree: dict = {}
    for path, value in flat.items():
        *parents, leaf = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return tree


def relative(ours, theirs) -> float:
    """Largest difference over the largest absolute value of the original."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if ours.shape != theirs.shape:
        raise ValueError(f"{ours.shape} against {theirs.shape}")
    return float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-30))


def core_trees(arrays: dict[str, np.ndarray]) -> tuple[dict, dict]:
    """Parameters (or gradients) and batch statistics of any torch core, as our trees.

    Constants of the original (filters, bases, counters) are left out.
    """
    params, stats = {}, {}
    for name, value in arrays.items():
        if not name.startswith("features.") or name.endswith("num_batches_tracked"):
            continue
        if ".rotate_hermite." in name:
            continue
        path, value = _ours(name.removeprefix("features."), value)
        leaf = path.rsplit("/", 1)[-1]
        (stats if leaf in ("mean", "var") else params)[path] = value
    return nest(params), nest(stats)


def gru_tree(arrays: dict[str, np.ndarray]) -> dict:
    """Parameters (or gradients) of the torch ConvGRU, as our tree."""
    flat = {}
    for name, value in arrays.items():
        gate, leaf = name.removeprefix("gru.").replace("_gate_", "_").split(".")
        flat[f"{gate}/{_LEAVES[leaf]}"] = kernel(value) if value.ndim > 1 else value
    return nest(flat)


_LEAVES = {
    "weight": "kernel",
    "bias": "bias",
    "coeffs": "coefficients",
    "running_mean": "mean",
    "running_var": "var",
}
_PARTS = (  # regex on the torch path within its layer, our path
    (r"conv_spatial(_\d+)?", "spatial"),
    (r"conv_temporal(_\d+)?", "temporal"),
    (r"(hermite_)?conv(_\d+)?", "conv"),
    (r"ds_conv\.in_depth_conv", "conv/pointwise_in"),
    (r"ds_conv\.spatial_conv", "conv/depthwise"),
    (r"ds_conv\.out_depth_conv", "conv/pointwise_out"),
    (r"seg_ex_block\.se\.1", "squeeze/reduce"),
    (r"seg_ex_block\.se\.3", "squeeze/expand"),
    (r"norm(\.batch_norm)?", "norm"),
)


def _ours(name: str, value: np.ndarray) -> tuple[str, np.ndarray]:
    """Our path and layout of one torch array of a core."""
    layer, _, rest = name.partition(".")
    part, _, leaf = rest.rpartition(".")
    if part in ("bias", "scale"):  # a layer of its own after the norm
        return f"{layer}/norm/{leaf}", value.reshape(-1)
    ours = next(path for regex, path in _PARTS if re.fullmatch(regex, part))
    if ours == "norm" and leaf == "weight":
        return f"{layer}/norm/scale", value
    if leaf == "weight":
        value = kernel(value)
        if "spatial" in ours:
            value = value[0]
        if "temporal" in ours:
            value = value[:, 0, 0]
        if "depthwise" in ours:
            value = value[:, :, 0]
        if "pointwise" in ours:
            value = value[0, 0]
    return f"{layer}/{ours}/{_LEAVES[leaf]}", value
