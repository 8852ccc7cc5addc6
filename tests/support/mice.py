"""The originals' readouts and shifters in our layout, and small mice to test with."""

from types import SimpleNamespace

import numpy as np

from sensorium_jax.axes import MouseInfo
from sensorium_jax.models.rows import Mouse
from support.golden import core_trees, gru_tree, nest


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


def one_mouse(neurons, *, coordinates=None, match=None, rates=None, name=7, padded=0):
    """Constants of a mouse, with that many padded neurons at the end."""
    total = neurons + padded
    out = Mouse(
        id=np.uint32(name),
        neurons_n=np.arange(total) < neurons,
        coordinates_n2=np.zeros((total, 2), np.float32),
        rates_n=np.zeros(total, np.float32),
        match_n=np.arange(total, dtype=np.int32),
    )
    for field, value in (
        ("coordinates_n2", coordinates),
        ("rates_n", rates),
        ("match_n", match),
    ):
        if value is not None:
            getattr(out, field)[: len(value)] = value
    return out


def mice(neurons, *, names="abcdef", behaviors=2, frame=(8, 9, 1), width=None):
    """MouseInfo of small mice whose constants follow from their names."""
    width = width or max(neurons)
    info = SimpleNamespace(coordinates=[], rates=[])
    for name in names[: len(neurons)]:
        rng = np.random.default_rng(ord(name))
        info.coordinates.append(rng.normal(100, 30, (50, 3))[:width])
        info.rates.append(rng.uniform(0.1, 1, 50)[:width])
    real = np.arange(width)[None] < np.array(neurons)[:, None]
    return MouseInfo(
        names=tuple(names[: len(neurons)]),
        neurons_mn=real,
        coordinates_mn3=np.where(real[..., None], np.stack(info.coordinates), 0).astype(
            np.float32
        ),
        mean_rates_mn=np.where(real, np.stack(info.rates), 0).astype(np.float32),
        trials_m=np.full(len(neurons), 20),
        train_trials_m=np.full(len(neurons), 15),
        has_coordinates=True,
        has_pupil=True,
        behaviors=behaviors,
        frame_shape=frame,
    )
