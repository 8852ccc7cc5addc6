"""The original PyTorch baseline of 2023, fed from our stream, for comparisons."""

import os
import sys
from collections import namedtuple
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from sensorium_jax.data.official import Recordings
from sensorium_jax.data.stream import Stream, whole_trials

# Where the originals' stand-ins for missing packages are.
sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

SKIP = 50  # frames that no score counts
PREDICTOR = {
    "type": "cortex",
    "input_dimensions": 2,
    "hidden_layers": 1,
    "hidden_features": 30,
    "final_tanh": True,
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
CORE = {
    "input_channels": 3,
    "hidden_channels": [32, 64, 128],
    "spatial_input_kernel": (11, 11),
    "temporal_input_kernel": 11,
    "spatial_hidden_kernel": (5, 5),
    "temporal_hidden_kernel": 5,
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
}
SHIFTER = {"hidden_channels_shifter": 5, "shift_layers": 3, "gamma_shifter": 0}


class Loader:
    """What the original's builder and trainer ask of a loader."""

    def __init__(self, fields: dict[str, Any], session: Any):
        """One batch, and the recording it is of."""
        self.batch = namedtuple("Batch", fields)(**fields)
        neurons = SimpleNamespace(cell_motor_coordinates=session.coordinates_n3)
        self.dataset = SimpleNamespace(neurons=neurons)

    def __iter__(self):
        """That batch."""
        return iter([self.batch])


class Original:
    """The PyTorch baseline with its optimizer, fed from our stream."""

    def __init__(self, root: str):
        """Build it as its own trainer would."""
        import peers
        import torch

        peers.use("sinzlab/neuralpredictors", "ecker-lab/sensorium_2023")
        for name in ("tqdm", "wandb"):  # torch asks for the specs of stand-ins
            sys.modules[name].__spec__ = ModuleSpec(name, None)
        from neuralpredictors.measures.modules import PoissonLoss
        from sensorium.models.make_model import (  # pyright: ignore
            make_video_model,
        )

        torch.set_num_threads(os.cpu_count() or 1)
        self.recordings = Recordings.open(root)
        self.stream = Stream(self.recordings, batch=8, frames=80, epochs=True)
        first = self.stream.batch_at(0, 0)
        sessions = self.recordings.sessions
        self.loaders = {
            s.name: Loader(self.fields(first, m), s) for m, s in enumerate(sessions)
        }
        self.model = make_video_model(
            self.loaders,
            42,
            core_type="3D_factorised",
            core_dict=dict(CORE),
            readout_dict=dict(READOUT),
            readout_type="gaussian",
            use_gru=False,
            gru_dict=None,
            use_shifter=True,
            shifter_dict=dict(SHIFTER),
            shifter_type="MLP",
        )
        self.criterion = PoissonLoss(avg=False)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.005)

    def fields(self, batch: Any, mouse: int) -> dict[str, Any]:
        """One mouse's windows in the original's layout."""
        import torch

        stats, neurons = self.stream.video_stats, self.stream.neurons_mn[mouse]
        video = np.asarray(batch.video_mbthwc[mouse], np.float32)
        video = (video - stats.mean_mthwc[mouse]) / stats.std_mthwc[mouse]
        behavior = np.moveaxis(batch.behavior_mbtk[mouse], 2, 1)
        maps = np.broadcast_to(
            behavior[..., None, None], (*behavior.shape, *video.shape[2:4])
        )
        found = {
            "videos": np.concatenate([np.moveaxis(video, 4, 1), maps], 1),
            "responses": np.moveaxis(batch.responses_mbtn[mouse][..., neurons], 2, 1),
            "behavior": behavior,
            "pupil_center": np.moveaxis(batch.pupil_mbt2[mouse], 2, 1),
        }
        return {k: torch.tensor(np.ascontiguousarray(v)) for k, v in found.items()}

    def step(self, index: int) -> None:
        """One batch of every mouse, then the optimizer."""
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        batch = self.stream.batch_at(0, index)
        for mouse, session in enumerate(self.recordings.sessions):
            x = self.fields(batch, mouse)
            rates = self.model(x["videos"], data_key=session.name, **x)
            target = x["responses"].transpose(2, 1)[:, -rates.shape[1] :]
            scale = np.sqrt(session.trials / 8)
            penalty = sum(self.model.core.regularizer())
            penalty = penalty + self.model.readout.regularizer(session.name)
            (scale * self.criterion(rates, target) + penalty).backward()
        self.optimizer.step()

    def score(self) -> float:
        """Correlation of each neuron over all oracle trials, then their mean."""
        import torch

        self.model.eval()
        pairs: dict[int, list] = {}
        for trial in whole_trials(self.recordings, "oracle"):
            batch = SimpleNamespace(
                video_mbthwc={trial.mouse: trial.video_thwc[None]},
                behavior_mbtk={trial.mouse: trial.behavior_tk[None]},
                pupil_mbt2={trial.mouse: trial.pupil_t2[None]},
                responses_mbtn={
                    trial.mouse: padded(trial.responses_tn, self.stream)[None]
                },
            )
            x = self.fields(batch, trial.mouse)
            name = self.recordings.sessions[trial.mouse].name
            with torch.no_grad():
                rates = self.model(x["videos"], data_key=name, **x)[0].numpy()
            late = len(trial.responses_tn) - SKIP
            pairs.setdefault(trial.mouse, []).append(
                (rates[-late:], trial.responses_tn[-late:])
            )
        return pooled(pairs)


def padded(responses_tn: np.ndarray, stream: Stream) -> np.ndarray:
    """Responses as wide as the stream's."""
    width = stream.neurons_mn.shape[1] - responses_tn.shape[1]
    return np.pad(responses_tn, ((0, 0), (0, width)))


def pooled(pairs: dict[int, list]) -> float:
    """Mean over neurons of all mice."""
    found = []
    for trials in pairs.values():
        a, b = (np.concatenate([pair[i] for pair in trials]) for i in (0, 1))
        a, b = a - a.mean(0), b - b.mean(0)
        power = np.sqrt((a * a).sum(0) * (b * b).sum(0))
        found.append((a * b).sum(0) / np.maximum(power, 1e-9))
    return float(np.mean(np.concatenate(found)))
