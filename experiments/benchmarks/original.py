"""The original PyTorch baseline of 2023, fed from our stream, for comparisons."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.stream.stream import Stream, whole_trials

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from support.originals import baselines  # noqa: E402

SKIP = 50  # frames that no score counts
SCORED = 5  # oracle trials of each mouse
SCALING = "per_neuron"  # of responses; the true rates' ceilings are in these units


class Original:
    """The PyTorch baseline with its optimizer, fed from our stream."""

    def __init__(self, root: str):
        """Build it as its own trainer would."""
        import torch

        torch.set_num_threads(os.cpu_count() or 1)
        self.recordings = Recordings.open(root)
        self.stream = Stream(
            self.recordings,
            batch=8,
            frames=80,
            epochs=True,
            response_scaling=SCALING,
        )
        first = self.stream.batch_at(0, 0)
        self.loaders = {
            s.name: baselines.Loader(self.fields(first, m), s.coordinates_n3)
            for m, s in enumerate(self.recordings.sessions)
        }
        self.model = baselines.build("factorized2023", self.loaders, 42)
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
            given = baselines.Loader(self.fields(batch, mouse), None).batch
            loss, _ = baselines.loss_of(self.model, session.name, given, session.trials)
            loss.backward()
        self.optimizer.step()

    def score(self) -> float:
        """Correlation of each neuron over the scored trials, then their mean."""
        import torch

        self.model.eval()
        pairs: dict[int, list] = {}
        for trial in whole_trials(
            self.recordings, "oracle", response_scaling=SCALING, trials=SCORED
        ):
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
