"""The originals' baselines in PyTorch, from their own builders, by our presets' names.

Two originals call their package `sensorium`: one process builds models of one year.
"""

import copy
import sys
from collections import namedtuple
from importlib.machinery import ModuleSpec
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np

from support.originals import peers

PREDICTOR = {
    "type": "cortex",
    "input_dimensions": 2,
    "hidden_layers": 1,
    "hidden_features": 30,
    "final_tanh": True,
}
CNN = {
    "pad_input": False,
    "layers": 4,
    "input_kern": 9,
    "gamma_input": 6.3831,
    "gamma_readout": 0.0076,
    "hidden_kern": 7,
    "hidden_channels": 64,
    "depth_separable": True,
    "grid_mean_predictor": PREDICTOR,
    "init_sigma": 0.1,
    "init_mu_range": 0.3,
    "gauss_type": "full",
    "shifter": False,
    "stack": -1,
}
LN = CNN | {"layers": 3, "linear": True}
PICTURES = {
    "cnn2022": CNN,
    "cnn2022_plus": CNN | {"shifter": True},
    "ln2022": LN,
    "ln2022_plus": LN | {"shifter": True},
}
READOUT = {
    "bias": True,
    "init_mu_range": 0.2,
    "init_sigma": 1.0,
    "gamma_readout": 0.0,
    "gauss_type": "full",
    "grid_mean_predictor": PREDICTOR,
    "share_features": False,
    "share_grid": False,
    "share_transform": False,
    "shared_match_ids": None,
    "gamma_grid_dispersion": 0.0,
}
SHIFTER = {"hidden_channels_shifter": 5, "shift_layers": 3, "gamma_shifter": 0}
CORE = {
    "input_channels": 3,
    "bias": True,
    "batch_norm": True,
    "laplace_padding": None,
    "input_regularizer": "LaplaceL2norm",
}
CORE_3D = CORE | {
    "stride": 1,
    "gamma_input_spatial": 10,
    "gamma_input_temporal": 0.01,
    "hidden_nonlinearities": "elu",
    "x_shift": 0,
    "y_shift": 0,
    "final_nonlin": True,
    "momentum": 0.7,
}
FILMS = {  # type of core, core, GRU
    "factorized2023": (
        "3D_factorised",
        CORE_3D
        | {
            "hidden_channels": [32, 64, 128],
            "spatial_input_kernel": (11, 11),
            "temporal_input_kernel": 11,
            "spatial_hidden_kernel": (5, 5),
            "temporal_hidden_kernel": 5,
            "layers": 3,
            "padding": False,
        },
        None,
    ),
    "gru2023": (
        "2D_equivariant",
        CORE
        | {
            "hidden_channels": 8,
            "input_kern": 9,
            "hidden_kern": 7,
            "layers": 4,
            "num_rotations": 8,
            "gamma_input": 500,
            "gamma_hidden": 500_000,
            "skip": 0,
            "pad_input": False,
            "final_nonlinearity": False,
            "momentum": 0.9,
            "hidden_dilation": 1,
            "stack": -1,
            "depth_separable": False,
            "linear": False,
            "attention_conv": False,
            "hidden_padding": None,
            "use_avg_reg": False,
        },
        {
            "input_channels": 64,
            "rec_channels": 64,
            "input_kern": 9,
            "rec_kern": 9,
            "gamma_rec": 0,
        },
    ),
}


class Loader:
    """What the builders ask of a loader: one batch, and where the neurons lie."""

    def __init__(self, fields, coordinates):
        self.batch = namedtuple("Batch", fields)(**fields)
        neurons = SimpleNamespace(cell_motor_coordinates=coordinates)
        self.dataset = SimpleNamespace(neurons=neurons)

    def __iter__(self):
        return iter([self.batch])


def stand_in(*names):
    """Modules that only loaders and trainers need; torch asks for their specs."""
    for name in names:
        sys.modules.setdefault(name, MagicMock())
        sys.modules[name].__spec__ = ModuleSpec(name, None)


def pictures(shape, *, behaviors, neurons):
    """One random batch of 2022, [B, H, W]; behavior as channels where there is any."""
    import torch

    b, h, w = shape
    image, behavior = torch.randn(b, 1, h, w), torch.randn(b, 3)
    maps = behavior[..., None, None].expand(b, 3, h, w)
    fields = {
        "images": torch.cat([image, maps], 1) if behaviors else image,
        "responses": torch.rand(b, neurons) * 3,
        "behavior": behavior,
        "pupil_center": torch.randn(b, 2),
    }
    return Loader(fields, (torch.randn(neurons, 3) * 100 + 300).numpy())


def films(shape, *, neurons):
    """One random batch of 2023, [B, T, H, W]."""
    import torch

    b, t, h, w = shape
    behavior, video = torch.randn(b, 2, t), torch.randn(b, 1, t, h, w)
    maps = behavior[..., None, None].expand(b, 2, t, h, w)
    fields = {
        "videos": torch.cat([video, maps], 1),
        "responses": torch.rand(b, neurons, t) * 3,
        "behavior": behavior,
        "pupil_center": torch.randn(b, 2, t),
    }
    return Loader(fields, (torch.randn(neurons, 3) * 100 + 300).numpy())


def build(name, loaders, seed, **smaller):
    """The original of a preset; options of its core (2022: of the model) may differ.

    A dictionary `gru` holds options of the recurrent part.
    """
    if name in PICTURES:
        peers.use("sinzlab/neuralpredictors", "sinzlab/sensorium")
        stand_in("h5py", "skimage", "skimage.transform", "cv2")
        helpers = sys.modules["nnfabrik.utility.nn_helpers"]
        helpers.get_dims_for_loader_dict = lambda loaders: {
            k: {f: x.shape for f, x in v.batch._asdict().items()}
            for k, v in loaders.items()
        }
        from sensorium.models.models import stacked_core_full_gauss_readout

        options = copy.deepcopy(PICTURES[name] | smaller)
        return stacked_core_full_gauss_readout(loaders, seed, **options)
    peers.use("sinzlab/neuralpredictors", "ecker-lab/sensorium_2023")
    from sensorium.models.make_model import make_video_model

    kind, core, gru = copy.deepcopy(FILMS[name])
    gru = gru and gru | smaller.pop("gru", {})
    return make_video_model(
        loaders,
        seed,
        core_type=kind,
        core_dict=core | smaller,
        use_gru=gru is not None,
        gru_dict=gru,
        readout_dict=dict(READOUT),
        readout_type="gaussian",
        use_shifter=True,
        shifter_dict=dict(SHIFTER),
        shifter_type="MLP",
    )


def rates_of(model, mouse, batch):
    """Rates of a batch of one mouse."""
    return model(batch[0], data_key=mouse, **batch._asdict())


def loss_of(model, mouse, batch, trials):
    """What the originals' trainers sum over mice: scaled loss and penalties."""
    from neuralpredictors.measures.modules import PoissonLoss

    rates = rates_of(model, mouse, batch)
    target = batch.responses
    if target.ndim == 3:
        target = target.transpose(2, 1)[:, -rates.shape[1] :]
    penalty = model.core.regularizer()
    penalty = sum(penalty) if isinstance(penalty, tuple) else penalty
    penalty = penalty + model.readout.regularizer(mouse)
    scale = np.sqrt(trials / len(batch[0]))
    return scale * PoissonLoss(avg=False)(rates, target) + penalty, rates
