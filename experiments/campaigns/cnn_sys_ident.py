"""Thirty-two draws of three penalties, as Ecker et al. (2019) searched theirs.

Bounds, distribution and seeding are those of aecker/cnn-sys-ident (commit 2babdbb,
mesonet/parameters.py and database/regularization.py), so a seed gives the numbers that
its code gives. The model is its rotation-equivariant one in our parts, on pictures. Its
loss sums over neurons and takes the mean over a batch; ours sums over both, so weights
are multiplied by the batch. Its penalties divide by the norm of each output feature,
ours as neuralpredictors does; and its L1 of masks and features is taken neuron by
neuron, ours of all at once, which is why that weight is divided by their number.

    sensorium launch experiments/campaigns/cnn_sys_ident.py --workdir runs/draws
    sensorium runs runs/draws --sort score
"""

from hashlib import md5

import numpy as np

import sensorium_jax as sj

BOUNDS = {
    "conv_smooth_weight": (0.001, 0.03),
    "conv_sparse_weight": (0.001, 0.1),
    "readout_sparsity": (0.005, 0.03),
}
BATCH = 256
CORE = {
    "kind": "rotation2d",
    "hidden_channels": (16, 16, 16),
    "input_kernel": 13,
    "hidden_kernel": 5,
    "layers": 3,
    "rotations": 8,
    "stack": -1,
    "nonlinearity": "softplus",
    "final_nonlinearity": False,
    "shared_norm": False,
}
READOUT = {"kind": "factorized", "normalize": False, "positive_spatial": True}


def random_search(seed, count, bounds):
    """Draws of the original: log-uniform, each field seeded by its own name."""
    for i in range(count):
        draw = {}
        for name, (low, high) in bounds.items():
            own = seed + i + int(md5(name.encode()).hexdigest(), 16)
            state = np.random.RandomState(own % 2**32)
            draw[name] = float(np.exp(state.uniform(np.log(low), np.log(high))))
        yield draw


def penalties(draw, neurons):
    """The penalties of a recipe with the weights of a draw."""
    smooth, sparse, readout = draw.values()
    return (
        ("core/layer0/conv/coefficients", "rotated_laplace_l2norm", smooth * BATCH),
        ("core/layer[1-9]/conv/coefficients", "rotated_group_sparsity", sparse * BATCH),
        ("readout/(spatial|features)", "factorized_l1", readout * BATCH / neurons),
    )


def get_campaign(data="data/2022", recipe="cnn2022", count=32, seed=0, core=CORE):
    """The stage; seed stands for the hash that the original has for each model."""
    sessions = sj.open(data).sessions
    neurons = sum(s.neurons for s in sessions) / len(sessions)
    draws = random_search(seed, count, BOUNDS)
    changes = {
        "data.root": data,
        "model.json": {
            "core": core,
            "readout": READOUT,
            "output": {"kind": "softplus"},
        },
        "train.batch": BATCH,
        "train.rate": 0.002,
        "train.scale_loss": False,
        "validate.every": 50,
        "validate.factor": 0.1,
        "validate.stages": 2,
        "validate.patience": 5,
    }
    points = {
        f"{i:02}": {"train.penalties": penalties(draw, neurons)}
        for i, draw in enumerate(draws)
    }
    stage = {"recipe": recipe, "changes": changes, "folds": points}
    return {"stages": {"draws": stage}}
