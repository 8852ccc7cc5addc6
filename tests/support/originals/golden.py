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

FOLDER = Path(__file__).parents[2] / "golden"
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


def readout_tree(arrays):
    """Parameters (or gradients) of one torch readout, by our paths, without M."""
    flat = {}
    for name, value in arrays.items():
        if name in ("source_grid", "feature_sharing_index"):
            continue
        if name.startswith("mu_transform"):
            _, layer, leaf = name.split(".")
            path = f"predictor/layer{int(layer) // 2}/"
            flat[path + leaf.replace("weight", "kernel")] = value.T
        elif name == "_mu":
            flat["mu"] = value[0, :, 0]
        elif name == "sigma":
            full = value.shape[2] == 2
            flat["sigma"] = value[0] if full else value[0, :, 0]
        elif name == "_features":
            flat["features"] = value if value.ndim == 2 else value[0, :, 0].T
        else:
            flat[name] = value.reshape(-1) if name == "scales" else value
    return nest(flat)


def mlp_tree(arrays):
    """Parameters (or gradients) of a torch chain of linear layers."""
    flat = {}
    for name, value in arrays.items():
        layer, leaf = name.split(".")[-2:]
        flat[f"layer{int(layer) // 2}/{leaf.replace('weight', 'kernel')}"] = value.T
    return nest(flat)


def below(arrays, prefix):
    """The entries under a prefix, without it."""
    return {
        n.removeprefix(prefix): v for n, v in arrays.items() if n.startswith(prefix)
    }


def encoder_trees(arrays, mice):
    """Params and batch stats of the torch video encoder; rows padded and stacked."""
    core, stats = core_trees(below(arrays, "core."))
    params = {
        "core": core,
        "readout": stack([readout_tree(below(arrays, f"readout.{m}.")) for m in mice]),
        "shifter": stack([mlp_tree(below(arrays, f"shifter.{m}.")) for m in mice]),
    }
    if any(name.startswith("gru_module.") for name in arrays):
        params["gru"] = gru_tree(below(arrays, "gru_module."))
    return params, {"core": stats}


def stack(trees):
    """Stack trees on a new first axis, padding every axis with zeros to the largest."""
    if isinstance(trees[0], dict):
        return {k: stack([t[k] for t in trees]) for k in trees[0]}
    shape = np.max([t.shape for t in trees], 0)
    grown = [
        np.pad(t, [(0, n - k) for n, k in zip(shape, t.shape, strict=True)])
        for t in trees
    ]
    return np.stack(grown)


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
