"""Record one whole optimizer step of every official recipe, at a small size.

Run with $SENSORIUM_PEERS naming the folder of the originals and torch installed; twice,
because two originals call their package `sensorium`:
    python tests/golden/make_recipe_steps.py 2022
    python tests/golden/make_recipe_steps.py 2023
Models come from the originals' own builders. As in their trainers, one batch of each
mouse goes forward and backward with the loss scaled and the penalties added, and the
optimizer steps once. The readout's random positions are recorded with the step.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from support.originals import baselines  # noqa: E402

NEURONS = {"m0": 9, "m1": 6, "m2": 4}
TRIALS = {"m0": 30, "m1": 17, "m2": 9}
SMALL = {"input_kern": 5, "hidden_kern": 3, "hidden_channels": 4}
RECIPES_2022 = ("ln2022", "cnn2022", "cnn2022_plus")
RECIPES_2023 = {
    "factorized2023": {
        "hidden_channels": [3, 4, 4],
        "spatial_input_kernel": (5, 5),
        "temporal_input_kernel": 3,
        "spatial_hidden_kernel": (3, 3),
        "temporal_hidden_kernel": 2,
    },
    "gru2023": {
        "hidden_channels": 1,
        "input_kern": 5,
        "hidden_kern": 3,
        "layers": 3,
        "gru": {"input_channels": 8, "rec_channels": 8, "input_kern": 3, "rec_kern": 3},
    },
}


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

    draw = torch.Tensor.normal_
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
        loss, rates = baselines.loss_of(encoder, k, batch, TRIALS[k])
        torch.Tensor.normal_ = draw
        (noise[k],) = recorded
        loss.backward()
        losses[k] = loss.detach()
        frames = 1 if rates.ndim == 2 else rates.shape[1]
        noise[k] = noise[k].reshape(len(batch[0]), frames, NEURONS[k], 2)
    optimizer.step()
    return losses, noise


def write(name, smaller, encoder, loaders, optimizer):
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
        "model": smaller,
        "trials": {k: TRIALS[k] for k in mice},
        "neurons": {k: NEURONS[k] for k in mice},
        "torch": torch.__version__,
    }
    np.savez_compressed(HERE / f"step_{name}.npz", config=json.dumps(about), **arrays)


def record_2022():
    """The recipes of 2022."""
    import torch

    for seed, name in enumerate(RECIPES_2022):
        torch.manual_seed(seed)
        mice = NEURONS if name == "cnn2022" else list(NEURONS)[:2]
        plus = name.endswith("plus")
        loaders = {
            k: baselines.pictures((4, 14, 18), behaviors=plus, neurons=NEURONS[k])
            for k in mice
        }
        encoder = baselines.build(name, loaders, seed, **SMALL)
        optimizer = torch.optim.Adam(encoder.parameters(), lr=0.009)
        write(name, SMALL, encoder, loaders, optimizer)


def record_2023():
    """The recipes of 2023."""
    import torch

    for seed, (name, smaller) in enumerate(RECIPES_2023.items()):
        torch.manual_seed(seed)
        frames = 8 if name == "factorized2023" else 3
        loaders = {
            k: baselines.films((2, frames, 14, 18), neurons=NEURONS[k])
            for k in list(NEURONS)[:2]
        }
        encoder = baselines.build(name, loaders, seed, **smaller)
        optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.005)
        write(name, smaller, encoder, loaders, optimizer)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    record_2022() if sys.argv[1] == "2022" else record_2023()
