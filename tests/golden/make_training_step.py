"""Record one training step of the original video encoder over three mice.

Run with $SENSORIUM_PEERS naming the folder of the originals and torch installed:
    python tests/golden/make_training_step.py
One batch of each mouse goes forward and backward in train mode, in mouse order, and
the gradients add up, as in the official 2023 trainer. The random positions of the
readout are recorded, so that another implementation can repeat the step.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from support.originals import peers  # noqa: E402

NEURONS = {"m0": 11, "m1": 7, "m2": 5}
TRIALS = {"m0": 30, "m1": 17, "m2": 9}
READOUT_WEIGHT = 0.0076
FACTORIZED = {
    "core_type": "3D_factorised",
    "core": {
        "input_channels": 3,
        "hidden_channels": [4, 5],
        "spatial_input_kernel": (5, 5),
        "temporal_input_kernel": 3,
        "spatial_hidden_kernel": (3, 3),
        "temporal_hidden_kernel": 3,
        "stride": 1,
        "layers": 2,
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
    "gru": None,
}
EQUIVARIANT = {
    "core_type": "2D_equivariant",
    "core": {
        "input_channels": 3,
        "hidden_channels": 2,
        "input_kern": 5,
        "hidden_kern": 3,
        "layers": 2,
        "num_rotations": 4,
        "gamma_input": 5,
        "gamma_hidden": 50,
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
    "gru": {
        "input_channels": 8,
        "rec_channels": 8,
        "input_kern": 3,
        "rec_kern": 3,
        "gamma_rec": 0,
    },
}


def model(config, coordinates, inputs):
    """The original encoder with random weights of every kind."""
    import torch
    from neuralpredictors.layers.cores import RotationEquivariant2dCore
    from neuralpredictors.layers.cores.conv3d import Factorized3dCore
    from neuralpredictors.layers.readouts import FullGaussian2d
    from neuralpredictors.layers.rnn_modules.gru_module import GRU_Module
    from neuralpredictors.layers.shifters import MLPShifter
    from sensorium.models.readouts import MultipleFullGaussian2d
    from sensorium.models.video_encoder import VideoFiringRateEncoder

    flat = config["core_type"] == "2D_equivariant"
    core = (RotationEquivariant2dCore if flat else Factorized3dCore)(**config["core"])
    gru = GRU_Module(**config["gru"]) if config["gru"] else None
    x = inputs["m0"]["videos"]
    with torch.no_grad():
        probe = x.transpose(1, 2).flatten(0, 1) if flat else x
        shape = core.eval()(probe).shape
    shape = (shape[1], *shape[-2:])
    assert issubclass(MultipleFullGaussian2d._base_readout, FullGaussian2d)
    readout = MultipleFullGaussian2d(
        in_shape_dict=dict.fromkeys(NEURONS, shape),
        n_neurons_dict=NEURONS,
        bias=True,
        init_mu_range=0.2,
        init_sigma=0.5,
        gauss_type="full",
        grid_mean_predictor={
            "hidden_layers": 1,
            "hidden_features": 30,
            "final_tanh": True,
        },
        grid_mean_predictor_type="cortex",
        source_grids={k: c[:, :2] for k, c in coordinates.items()},
        feature_reg_weight=READOUT_WEIGHT,
    )
    shifter = MLPShifter(
        data_keys=list(NEURONS), hidden_channels_shifter=5, shift_layers=3
    )
    encoder = VideoFiringRateEncoder(
        core,
        readout,
        shifter=shifter,
        use_gru=gru is not None,
        gru_module=gru,
        twoD_core=flat,
    )
    with torch.no_grad():
        for name, p in encoder.named_parameters():
            # Nothing may start at a value where a mistake would cancel.
            if name.endswith("bias") or "_features" in name or "norm" in name:
                p.add_(0.3 * torch.randn_like(p))
    return encoder


def data(frames):
    """Inputs of each mouse in the original's layout, and its coordinates."""
    import torch

    inputs, coordinates = {}, {}
    for k, n in NEURONS.items():
        behavior = torch.randn(2, 2, frames)
        video = torch.randn(2, 1, frames, 14, 18)
        maps = behavior[..., None, None].expand(2, 2, frames, 14, 18)
        inputs[k] = {
            "videos": torch.cat([video, maps], 1),
            "behavior": behavior,
            "pupil_center": torch.randn(2, 2, frames),
            "responses": torch.rand(2, n, frames) * 3,
        }
        coordinates[k] = (torch.randn(n, 3) * 100 + 300).numpy()
    return inputs, coordinates


def step(encoder, inputs, recorded):
    """Accumulate one batch of every mouse; returns the losses."""
    import torch
    from neuralpredictors.measures.modules import PoissonLoss

    criterion = PoissonLoss(avg=False)
    draw = torch.Tensor.normal_

    def record(self, *args, **kwargs):
        out = draw(self, *args, **kwargs)
        recorded.append(out.clone())
        return out

    losses, noise = {}, {}
    encoder.train()
    for k, x in inputs.items():
        recorded.clear()
        torch.Tensor.normal_ = record
        rates = encoder(
            x["videos"],
            data_key=k,
            behavior=x["behavior"],
            pupil_center=x["pupil_center"],
        )
        torch.Tensor.normal_ = draw
        (noise[k],) = recorded  # [batch * frames, neurons, 1, 2]
        frames = rates.shape[1]
        target = x["responses"].transpose(2, 1)[:, -frames:]
        penalty = encoder.core.regularizer()
        penalty = sum(penalty) if isinstance(penalty, tuple) else penalty
        penalty = penalty + encoder.readout.regularizer(k)
        scale = np.sqrt(TRIALS[k] / x["videos"].shape[0])
        loss = scale * criterion(rates, target) + penalty
        loss.backward()
        losses[k] = loss.detach()
        noise[k] = noise[k].reshape(2, frames, NEURONS[k], 2)
    return losses, noise


def record(name, config, frames, seed):
    """Write one case beside this file."""
    import torch

    torch.manual_seed(seed)
    inputs, coordinates = data(frames)
    encoder = model(config, coordinates, inputs)
    constant = ("rotate_hermite", "regularizer", "num_batches_tracked", "source_grid")
    state = {k: v.clone() for k, v in encoder.state_dict().items()}
    losses, noise = step(encoder, inputs, [])
    out = {f"param/{k}": v for k, v in state.items()}
    out |= {
        f"grad/{k}": p.grad for k, p in encoder.named_parameters() if p.grad is not None
    }
    out |= {
        f"state_after_train/{k}": v
        for k, v in encoder.state_dict().items()
        if "running_" in k
    }
    for k, x in inputs.items():
        x["videos"] = x["videos"][:, :1]  # the rest is behavior again
        out |= {f"input/{k}/{field}": v for field, v in x.items()}
        out[f"input/{k}/noise"] = noise[k]
        out[f"output/{k}/loss"] = losses[k]
    arrays = {k: v.numpy() for k, v in out.items() if not any(c in k for c in constant)}
    arrays |= {f"input/{k}/coordinates": c for k, c in coordinates.items()}
    about = {
        **config,
        "trials": TRIALS,
        "neurons": NEURONS,
        "readout_weight": READOUT_WEIGHT,
        "torch": torch.__version__,
        "seed": seed,
    }
    np.savez_compressed(HERE / f"{name}.npz", config=json.dumps(about), **arrays)


if __name__ == "__main__":
    peers.use("sinzlab/neuralpredictors", "ecker-lab/sensorium_2023")
    warnings.simplefilter("ignore")
    record("training_step_factorized", FACTORIZED, 9, 0)
    record("training_step_gru", EQUIVARIANT, 4, 1)
