"""Record one whole optimizer step of every official recipe, at a small size.

Run with $SENSORIUM_PEERS naming the folder of the originals and torch installed; twice,
because two originals call their package `sensorium`:
    python tests/golden/make_recipe_steps.py 2022
    python tests/golden/make_recipe_steps.py 2023
Models come from the originals' own builders. As in their trainers, one batch of each
mouse goes forward and backward with the loss scaled and the penalties added, and the
optimizer steps once. The readout's random positions are recorded with the step.
"""

import copy
import json
import sys
import warnings
from collections import namedtuple
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import peers  # noqa: E402

NEURONS = {"m0": 9, "m1": 6, "m2": 4}
TRIALS = {"m0": 30, "m1": 17, "m2": 9}
PREDICTOR = {
    "type": "cortex",
    "input_dimensions": 2,
    "hidden_layers": 1,
    "hidden_features": 30,
    "final_tanh": True,
}
PICTURES = {  # the official weights and options; sizes are smaller
    "pad_input": False,
    "layers": 4,
    "input_kern": 5,
    "gamma_input": 6.3831,
    "gamma_readout": 0.0076,
    "hidden_kern": 3,
    "hidden_channels": 4,
    "depth_separable": True,
    "grid_mean_predictor": PREDICTOR,
    "init_sigma": 0.1,
    "init_mu_range": 0.3,
    "gauss_type": "full",
    "shifter": False,
    "stack": -1,
}
RECIPES_2022 = {
    "ln2022": {**PICTURES, "layers": 3, "linear": True},
    "cnn2022": PICTURES,
    "cnn2022_plus": {**PICTURES, "shifter": True},
}
SHIFTER = {"hidden_channels_shifter": 5, "shift_layers": 3, "gamma_shifter": 0}
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
FACTORIZED = {
    "core_type": "3D_factorised",
    "core_dict": {
        "input_channels": 3,
        "hidden_channels": [3, 4, 4],
        "spatial_input_kernel": (5, 5),
        "temporal_input_kernel": 3,
        "spatial_hidden_kernel": (3, 3),
        "temporal_hidden_kernel": 2,
        "stride": 1,
        "layers": 3,
        "gamma_input_spatial": 10,
        "gamma_input_temporal": 0.01,
        "bias": True,
        "hidden_nonlinearities": "elu",
        "x_shift": 0,
        "y_shift": 0,
        "batch_norm": True,
        "laplace_padding": None,
        "input_regularizer": "LaplaceL2norm",
        "padding": False,
        "final_nonlin": True,
        "momentum": 0.7,
    },
    "use_gru": False,
    "gru_dict": None,
}
EQUIVARIANT = {
    "core_type": "2D_equivariant",
    "core_dict": {
        "input_channels": 3,
        "hidden_channels": 1,
        "input_kern": 5,
        "hidden_kern": 3,
        "layers": 3,
        "num_rotations": 8,
        "gamma_input": 500,
        "gamma_hidden": 500_000,
        "skip": 0,
        "pad_input": False,
        "final_nonlinearity": False,
        "bias": True,
        "momentum": 0.9,
        "batch_norm": True,
        "hidden_dilation": 1,
        "laplace_padding": None,
        "input_regularizer": "LaplaceL2norm",
        "stack": -1,
        "depth_separable": False,
        "linear": False,
        "attention_conv": False,
        "hidden_padding": None,
        "use_avg_reg": False,
    },
    "use_gru": True,
    "gru_dict": {
        "input_channels": 8,
        "rec_channels": 8,
        "input_kern": 3,
        "rec_kern": 3,
        "gamma_rec": 0,
    },
}
RECIPES_2023 = {"factorized2023": FACTORIZED, "gru2023": EQUIVARIANT}


class Loader:
    """What the builders ask of a loader: one batch, and where the neurons lie."""

    def __init__(self, fields, coordinates):
        self.batch = namedtuple("Batch", fields)(**fields)
        neurons = SimpleNamespace(cell_motor_coordinates=coordinates)
        self.dataset = SimpleNamespace(neurons=neurons)

    def __iter__(self):
        return iter([self.batch])


def pictures(mouse, *, plus):
    """One batch of 2022: images with behavior as channels in the track with it."""
    import torch

    image, behavior = torch.randn(4, 1, 14, 18), torch.randn(4, 3)
    maps = behavior[..., None, None].expand(4, 3, 14, 18)
    fields = {
        "images": torch.cat([image, maps], 1) if plus else image,
        "responses": torch.rand(4, NEURONS[mouse]) * 3,
        "behavior": behavior,
        "pupil_center": torch.randn(4, 2),
    }
    return Loader(fields, (torch.randn(NEURONS[mouse], 3) * 100 + 300).numpy())


def films(mouse, frames):
    """One batch of 2023."""
    import torch

    behavior, video = torch.randn(2, 2, frames), torch.randn(2, 1, frames, 14, 18)
    maps = behavior[..., None, None].expand(2, 2, frames, 14, 18)
    fields = {
        "videos": torch.cat([video, maps], 1),
        "responses": torch.rand(2, NEURONS[mouse], frames) * 3,
        "behavior": behavior,
        "pupil_center": torch.randn(2, 2, frames),
    }
    return Loader(fields, (torch.randn(NEURONS[mouse], 3) * 100 + 300).numpy())


def unsettle(encoder):
    """Nothing may start at a value where a mistake would cancel."""
    import torch

    with torch.no_grad():
        for name, p in encoder.named_parameters():
            if name.endswith("bias") or "_features" in name or "norm" in name:
                p.add_(0.3 * torch.randn_like(p))


def step(encoder, loaders, optimizer):
    """Accumulate one batch of every mouse and step; returns losses and draws."""
    import torch
    from neuralpredictors.measures.modules import PoissonLoss

    criterion, draw = PoissonLoss(avg=False), torch.Tensor.normal_
    losses, noise, recorded = {}, {}, []

    def record(self, *args, **kwargs):
        out = draw(self, *args, **kwargs)
        recorded.append(out.clone())
        return out

    encoder.train()
    optimizer.zero_grad()
    for k, loader in loaders.items():
        batch = loader.batch
        recorded.clear()
        torch.Tensor.normal_ = record
        rates = encoder(batch[0], data_key=k, **batch._asdict())
        torch.Tensor.normal_ = draw
        (noise[k],) = recorded
        target = batch.responses
        if target.ndim == 3:
            target = target.transpose(2, 1)[:, -rates.shape[1] :]
        penalty = encoder.core.regularizer()
        penalty = sum(penalty) if isinstance(penalty, tuple) else penalty
        penalty = penalty + encoder.readout.regularizer(k)
        loss = np.sqrt(TRIALS[k] / len(batch[0])) * criterion(rates, target) + penalty
        loss.backward()
        losses[k] = loss.detach()
        frames = 1 if rates.ndim == 2 else rates.shape[1]
        noise[k] = noise[k].reshape(len(batch[0]), frames, NEURONS[k], 2)
    optimizer.step()
    return losses, noise


def write(name, config, encoder, loaders, optimizer):
    """One case beside this file."""
    import torch

    constant = ("rotate_hermite", "regularizer", "num_batches_tracked", "source_grid")
    unsettle(encoder)
    state = {k: v.clone() for k, v in encoder.state_dict().items()}
    losses, noise = step(encoder, loaders, optimizer)
    out = {f"param/{k}": v for k, v in state.items()}
    out |= {f"state_after_train/{k}": v for k, v in encoder.state_dict().items()}
    for k, loader in loaders.items():
        fields = loader.batch._asdict()
        stimulus = fields.pop(loader.batch._fields[0])[:, :1]  # the rest is behavior
        out |= {f"input/{k}/{field}": v for field, v in fields.items()}
        out |= {f"input/{k}/stimulus": stimulus, f"input/{k}/noise": noise[k]}
        out[f"output/{k}/loss"] = losses[k]
    arrays = {k: v.numpy() for k, v in out.items() if not any(c in k for c in constant)}
    arrays |= {
        f"input/{k}/coordinates": loader.dataset.neurons.cell_motor_coordinates
        for k, loader in loaders.items()
    }
    mice = list(loaders)
    about = {
        "model": config,
        "trials": {k: TRIALS[k] for k in mice},
        "neurons": {k: NEURONS[k] for k in mice},
        "torch": torch.__version__,
    }
    np.savez_compressed(HERE / f"step_{name}.npz", config=json.dumps(about), **arrays)


def stand_in(*names):
    """Modules that only loaders and trainers need; torch asks for their specs."""
    for name in names:
        sys.modules.setdefault(name, MagicMock())
        sys.modules[name].__spec__ = ModuleSpec(name, None)


def record_2022():
    """The recipes of 2022."""
    import torch

    peers.use("sinzlab/neuralpredictors", "sinzlab/sensorium")
    stand_in("h5py", "skimage", "skimage.transform", "cv2", "tqdm")
    sys.modules["nnfabrik.utility.nn_helpers"].get_dims_for_loader_dict = lambda all_: {
        k: {f: x.shape for f, x in v.batch._asdict().items()} for k, v in all_.items()
    }
    from sensorium.models.models import stacked_core_full_gauss_readout

    for seed, (name, config) in enumerate(RECIPES_2022.items()):
        torch.manual_seed(seed)
        mice = NEURONS if name == "cnn2022" else list(NEURONS)[:2]
        loaders = {k: pictures(k, plus=config["shifter"]) for k in mice}
        encoder = stacked_core_full_gauss_readout(loaders, seed, **config)
        optimizer = torch.optim.Adam(encoder.parameters(), lr=0.009)
        write(name, config, encoder, loaders, optimizer)


def record_2023():
    """The recipes of 2023."""
    import torch

    peers.use("sinzlab/neuralpredictors", "ecker-lab/sensorium_2023")
    stand_in("tqdm", "wandb")
    from sensorium.models.make_model import make_video_model

    for seed, (name, config) in enumerate(RECIPES_2023.items()):
        torch.manual_seed(seed)
        frames = 8 if name == "factorized2023" else 3
        loaders = {k: films(k, frames) for k in list(NEURONS)[:2]}
        encoder = make_video_model(
            loaders,
            seed,
            readout_dict=dict(READOUT),
            readout_type="gaussian",
            use_shifter=True,
            shifter_dict=dict(SHIFTER),
            shifter_type="MLP",
            **copy.deepcopy(config),
        )
        optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.005)
        write(name, config, encoder, loaders, optimizer)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    record_2022() if sys.argv[1] == "2022" else record_2023()
