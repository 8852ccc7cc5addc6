"""Weights of the originals of ViV1T and V1T in PyTorch, as trees of ours."""

import re

import numpy as np

from sensorium_jax import trees
from support.originals.golden import below, mlp_tree, nest, stack

LINEAR = {"weight": "kernel", "bias": "bias"}
NORM = {"weight": "scale", "bias": "bias"}
PARTS = (  # their path within a core, ours, how the leaf is called
    (r"tokenizer\.tokenizer\.1", "patches", {"weight": "scale", "bias": "shift"}),
    (r"tokenizer\.tokenizer\.2", "patches", LINEAR),
    (r"tokenizer\.tokenizer\.3", "patches/norm", NORM),
    (r"(space|time)(\d+)\.attention\.norm", r"\1\2/norm", NORM),
    (r"(space|time)(\d+)\.attention\.norm_(q|k)", r"\1\2/attention/norm_\3", NORM),
    (r"(space|time)(\d+)\.attention\.to_qkv", r"\1\2/qkv", LINEAR),
    (r"(space|time)(\d+)\.attention\.attn_out\.0", r"\1\2/out", LINEAR),
    (r"(space|time)(\d+)\.ff\.0", r"\1\2/hidden_norm", NORM),
    (r"(space|time)(\d+)\.ff\.1", r"\1\2/hidden", LINEAR),
    (r"(space|time)(\d+)\.ff\.4", r"\1\2/hidden_out", LINEAR),
    (r"(space|time)(\d+)\.norm", r"\1\2/norm", NORM),
    (r"(space|time)(\d+)\.fused_linear", r"\1\2/fused", LINEAR),
    (r"(space|time)(\d+)\.attn_out", r"\1\2/out", LINEAR),
    (r"(space|time)(\d+)\.ff_out\.2", r"\1\2/hidden_out", LINEAR),
    (
        r"(space|time)(\d+)\.state_encoder\.models\.share\.0",
        r"\1\2/state/layer0",
        LINEAR,
    ),
    (
        r"(space|time)(\d+)\.state_encoder\.models\.share\.3",
        r"\1\2/state/layer1",
        LINEAR,
    ),
)
V1T_PARTS = (
    (r"patch_embedding\.projection\.2", "patches", LINEAR),
    (r"transformer\.blocks\.(\d+)\.mha\.layer_norm", r"block\1/norm", NORM),
    (r"transformer\.blocks\.(\d+)\.mha\.to_qkv", r"block\1/qkv", LINEAR),
    (r"transformer\.blocks\.(\d+)\.mha\.projection\.0", r"block\1/out", LINEAR),
    (r"transformer\.blocks\.(\d+)\.mlp\.model\.0", r"block\1/hidden_norm", NORM),
    (r"transformer\.blocks\.(\d+)\.mlp\.model\.1", r"block\1/hidden", LINEAR),
    (r"transformer\.blocks\.(\d+)\.mlp\.model\.4", r"block\1/hidden_out", LINEAR),
    (
        r"transformer\.blocks\.(\d+)\.b-mlp\.models\.share\.0",
        r"block\1/state/layer0",
        LINEAR,
    ),
    (
        r"transformer\.blocks\.(\d+)\.b-mlp\.models\.share\.3",
        r"block\1/state/layer1",
        LINEAR,
    ),
)
CONSTANTS = r"reg_scale|.*\.scale|.*\.keep_prob"


def viv1t_core(arrays, *, behaviors=2):
    """Parameters (or gradients) of the original core, which lie under core.vivit."""
    flat = {}
    for name, value in below(arrays, "core.vivit.").items():
        name = re.sub(r"(spa|tempo)(?:tial|ral)_transformer\.blocks\.", _along, name)
        if re.fullmatch(CONSTANTS, name):
            continue
        if name.endswith("_pos_embedding"):
            along = "space" if "spatial" in name else "time"
            flat[f"{along}_positions"] = value.reshape(-1, value.shape[-1])
            continue
        path, leaf = name.rsplit(".", 1)
        theirs, ours, words = next(row for row in PARTS if re.fullmatch(row[0], path))
        path = re.sub(theirs, ours, path)
        if path.endswith("state/layer0") and leaf == "weight":
            value = frames_first(value, behaviors)
        flat[f"{path}/{words[leaf]}"] = value.T
    return nest(flat)


def frames_first(weight_fk, behaviors):
    """Weights of signals frame by frame; theirs have all of behavior first."""
    rows, columns = weight_fk.shape
    count = columns // (behaviors + 2)
    parts = np.split(weight_fk, [behaviors * count], 1)
    parts = [part.reshape(rows, count, -1) for part in parts]
    return np.concatenate(parts, -1).reshape(rows, -1)


def viv1t_readout(arrays):
    """Parameters (or gradients) of the original readout of one mouse."""
    state = below(arrays, "state_encoder.")
    flat = {
        "features": arrays["features"][0].T,
        "bias": arrays["bias"],
        "sigma": arrays["sigma"][0],
        "state_branch/layer0/kernel": state["0.weight"].T,
        "state_branch/layer0/bias": state["0.bias"],
        "state_branch/norm/scale": state["1.weight"],
        "state_branch/norm/bias": state["1.bias"],
        "state_branch/layer1/kernel": state["4.weight"].T,
        "state_branch/layer1/bias": state["4.bias"],
    }
    return nest(flat) | {"predictor": mlp_tree(below(arrays, "mu_transform."))}


def viv1t_trees(arrays, mice, **options):
    """Parameters (or gradients) of the whole original, mice stacked as ours are."""
    readouts = [viv1t_readout(below(arrays, f"readouts.{m}.")) for m in mice]
    shifters = [below(arrays, f"shifters.{m}.") for m in mice]
    shifters = [
        mlp_tree({k: v for k, v in s.items() if k != "reg_scale"}) for s in shifters
    ]
    return {
        "core": viv1t_core(arrays, **options),
        "readout": stack(readouts),
        "shifter": stack(shifters),
    }


def v1t_core(arrays):
    """Parameters (or gradients) of the original core of V1T."""
    flat = {}
    for name, value in arrays.items():
        path, leaf = name.rsplit(".", 1) if "." in name else ("", name)
        if leaf in ("cls_token", "pos_embedding"):
            ours = {"cls_token": "first_token", "pos_embedding": "positions"}[leaf]
            flat[ours] = value.reshape(-1) if leaf == "cls_token" else value
        elif leaf == "scale" and value.ndim:  # learned, one for each head
            flat[f"block{path.split('.')[2]}/attention/scale"] = value
        elif leaf not in ("scale", "reg_scale", "mask", "max_value", "keep_prop"):
            theirs, ours, words = next(r for r in V1T_PARTS if re.fullmatch(r[0], path))
            flat[f"{re.sub(theirs, ours, path)}/{words[leaf]}"] = value.T
    return nest(flat)


def farthest(ours, theirs):
    """Largest difference of two trees of gradients, as a share of its surroundings.

    Some gradients are zero, which both sides only approach, as that of a bias of keys:
    a leaf is held against the largest of those beside it.
    """
    ours, theirs = trees.named_leaves(ours), trees.named_leaves(theirs)
    assert set(ours) == set(theirs)
    sizes: dict = {}
    for leaf, value in theirs.items():
        above = leaf.rpartition("/")[0]
        sizes[above] = max(sizes.get(above, 0), np.abs(value).max())
    return max(
        np.abs(np.asarray(value) - theirs[leaf]).max() / sizes[leaf.rpartition("/")[0]]
        for leaf, value in ours.items()
    )


def _along(match):
    return "space" if match[1] == "spa" else "time"
