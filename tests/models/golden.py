"""Golden cases of the original PyTorch code, and their arrays in our layout.

A case holds torch names and torch layouts; the functions below turn kernels to
channel-last, videos to [mouse, window, frame, row, column, channel], and flat names
to nested trees.
"""

import json
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


def layer(param: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """A torch convolution or linear layer as {'kernel', 'bias' where it has one}."""
    ours = {"kernel": kernel(param[f"{prefix}.weight"])}
    if f"{prefix}.bias" in param:
        ours["bias"] = param[f"{prefix}.bias"]
    return ours


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
