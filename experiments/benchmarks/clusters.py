"""Clusters by most discriminative stimuli: what they find, and how fast.

    python experiments/benchmarks/clusters.py toy [--seeds 10]
    python experiments/benchmarks/clusters.py original [--seeds 1]
    python experiments/benchmarks/clusters.py types [--seeds 5] [--starts half twice]

`toy` and `original` are the example of the original code, 42 ON and OFF cells that
begin in five clusters, ours and theirs; theirs needs torch, scikit-learn, seaborn and
$SENSORIUM_PEERS, and draws and keeps nothing. `types` clusters the cells of simulated
worlds of discrete groups through their truth, then types the cells of a second mouse by
recorded responses. Every line is one search, as JSON.
"""

import argparse
import contextlib
import io
import json
import os
import sys
import time
import types
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, NamedTuple, Union

import numpy as np

CELLS, SIDE, CLUSTERS, TEMPERATURE = 42, 18, 5, 1.6
STARTS = {"half": 0.5, "twice": 2.0}


class OnOff(NamedTuple):
    """Every second cell answers with the mean of a picture, the others its negative."""

    mice: tuple[str, ...] = ("toy",)
    neurons: tuple[int, ...] = (CELLS,)
    frame_shape: tuple[int, int, int] = (SIDE, SIDE, 1)
    behaviors: int = 0

    def respond(self, video_bthwc: Any, *_: Any, **__: Any) -> Any:
        """Rates [B, T, N]."""
        sign_n = np.where(np.arange(CELLS) % 2, -1.0, 1.0)
        return video_bthwc.mean((2, 3, 4))[..., None] * sign_n[None, None]


def toy(seed: int) -> dict[str, Any]:
    """The example of the original: no bounds and no normalization, as there."""
    from sensorium_jax import insilico
    from sensorium_jax.insilico.ascend import Climb
    from sensorium_jax.insilico.clusters.objective import Scale
    from sensorium_jax.insilico.constraints import Budget

    budget = Budget(contrast=None, low=-50.0, high=50.0)
    begun, cpu = time.perf_counter(), time.process_time()
    found = insilico.cluster(
        insilico.subject(OnOff()),
        clusters=CLUSTERS,
        labels=np.arange(CELLS) % 2,
        temperature=TEMPERATURE,
        budget=budget,
        climb=Climb(steps=50, patience=100),
        scale=Scale(np.zeros(CELLS), np.ones(CELLS)),
        seed=seed,
    )
    took = time.perf_counter() - begun
    return {
        "seconds": took,
        "cpu_seconds": time.process_time() - cpu,
        "clusters": found.about["clusters"],
        "loss": -found.about["objective"],
        "ari": found.about["ari"],
    }


def stub(name: str, **members: Any) -> None:
    """A package that the original mentions and does not need here."""
    module = types.ModuleType(name)
    module.__path__ = []
    module.__spec__ = ModuleSpec(name, None)

    def anything(word: str) -> Any:
        if word.startswith("__"):
            raise AttributeError(word)
        return object

    vars(module).update({"__getattr__": anything, **members})
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)


def imported() -> None:
    """The original's package, with stubs for data bases and models."""
    import torch

    def seeded(seed: int) -> None:
        np.random.seed(seed)
        torch.manual_seed(seed)

    for name in (
        *("datajoint", "torchvision", "torchvision.transforms", "IPython", "git"),
        *("torchvision.transforms.functional", "nnfabrik", "nnfabrik.utility"),
        *("neuralpredictors", "neuralpredictors.layers", "mei", "mei.legacy"),
        *("neuralpredictors.layers.readouts", "neuralpredictors.training"),
    ):
        stub(name)
    # The original wraps it before any use.
    stub("torchvision.transforms.functional", affine=lambda *_, **__: None)
    stub("git", Union=Union)  # where the original takes it from
    stub("nnfabrik.utility.nn_helpers", set_random_seed=seeded)
    stub("mei.legacy.utils", varargin=lambda f: f)
    root = Path(os.environ["SENSORIUM_PEERS"])
    sys.path.insert(0, str(root / "ecker-lab/most-discriminative-stimuli"))


def original(seed: int) -> dict[str, Any]:
    """The same by the original, as its example script calls it."""
    import torch
    from controversialstimuli.clustering import kmeans
    from controversialstimuli.models import clustering_model, optimization_clipper
    from controversialstimuli.optimization import (
        controversial_objectives,
        stoppers,
        torch_transform_image,
    )
    from sklearn.metrics import adjusted_rand_score

    kmeans.KMeans.save_cluster_results_to_folder = lambda *_, **__: None
    begun, cpu = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        objective = controversial_objectives.ContrastiveNeuronUnif(
            on_clust_idx=0,
            off_clust_idc=[1],
            clust_assignments=np.zeros(CELLS, int),
            temperature=TEMPERATURE,
            device="cpu",
        )
        optimizer = torch_transform_image.ActMaxTorchTransfBaseUni(
            model=clustering_model.TestOnOffModel(CELLS),
            seed=seed,
            canvas_size=(SIDE, SIDE),
            optimizer_init_fn=partial(torch.optim.SGD, lr=100.0),
            stopper=stoppers.EMALossStopper(),
            objective_fct=objective,
            postprocessing=optimization_clipper.OptimizationClipperNoop(),
            max_iter=50,
            device="cpu",
        )
        search = kmeans.KMeans(
            img_optimizer=optimizer,
            unit_idc=np.arange(CELLS),
            cluster_idc=np.arange(CLUSTERS),
            seed=seed,
            max_iter=10,
            output_folder="kmeans",
            disable_progress_bar=True,
            device="cpu",
        )
        search.run()
        search.run_split_cluster(
            CLUSTERS, use_rgc_init=False, optim_steps_to_estimate_loss=20
        )
        search._img_optimizer.max_iter = 100
        search._optim_images(reinitialize_stimuli=False)
        loss = float(search.evaluate_training_loss())
    took = time.perf_counter() - begun
    labels = search._neuron_id2cluster_np
    return {
        "seconds": took,
        "cpu_seconds": time.process_time() - cpu,
        "clusters": search._num_clusters,
        "loss": loss,
        "ari": float(adjusted_rand_score(np.arange(CELLS) % 2, labels)),
    }


class Small:
    """A truth of pictures that is shown 36 x 64 pixels, each of them 4 x 4 large."""

    def __init__(self, truth: Any):
        """Of one mouse."""
        self.truth = truth

    def __getattr__(self, name: str) -> Any:
        """Everything else is the truth's."""
        if name == "each":
            raise AttributeError(name)
        return getattr(self.truth, name)

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Rows, columns, channels."""
        return (36, 64, 1)

    def respond(self, video_bthwc: Any, *args: Any, **options: Any) -> Any:
        """Rates [B, T, N]."""
        large = video_bthwc.repeat(4, axis=2).repeat(4, axis=3)
        return self.truth.respond(large, *args, **options)

    def only(self, mouse: Any, neurons: Any) -> "Small":
        """Some of the neurons."""
        return Small(self.truth.only(mouse, neurons))

    def centered(self) -> "Small":
        """As they are: all fields lie in the middle, and the eye does not move."""
        return self


def world(seed: int, mouse: int) -> Any:
    """One mouse of a world of types that sees pictures; nothing is written."""
    from dataclasses import replace

    from sensorium_jax.rules import RELEASES
    from sensorium_jax.simulation.cortex.rates import Truth
    from sensorium_jax.simulation.design import preset
    from sensorium_jax.simulation.trials import new_mouse

    rules = RELEASES["2022"]
    drawn = new_mouse(
        replace(preset("types", rules), calibration=24), rules, seed, mouse
    )
    return Truth((f"types{mouse}",), (drawn.neurons,), rules, (drawn.weights,))


def recovered(seed: int, start: str, contrast: float, steps: int) -> dict[str, Any]:
    """Groups of one world through its truth, and types of a second mouse."""
    from sensorium_jax import insilico
    from sensorium_jax.insilico.ascend import Climb
    from sensorium_jax.insilico.clusters import assign
    from sensorium_jax.insilico.constraints import Budget
    from sensorium_jax.simulation.trials import repeats

    truth = world(seed, 0)
    kind = truth.neurons[0].kind
    groups = len(set(kind))
    subject = insilico.subject(Small(truth))
    low, high = subject.screen.low, subject.screen.high
    begun, cpu = time.perf_counter(), time.process_time()
    found = insilico.cluster(
        subject,
        clusters=round(STARTS[start] * groups),
        labels=kind,
        climb=Climb(steps=steps),
        budget=Budget(contrast=contrast, low=low, high=high),
        tell=lambda s: print(s.path[-1], file=sys.stderr, flush=True),
    )
    out = {
        "seed": seed,
        "start": start,
        "groups": groups,
        "clusters": found.about["clusters"],
        "ari": found.about["ari"],
        "objective": found.about["objective"],
        "of_at_most": found.about["most_possible"],
        "seconds": time.perf_counter() - begun,
        "cpu_seconds": time.process_time() - cpu,
        "path": found.about["path"],
    }
    other = world(seed, 1)
    full, _ = assign.driven(found, insilico.subject(Small(other)))
    large = found["stimulus"].repeat(4, axis=2).repeat(4, axis=3)
    recorded = repeats(other, 0, large, 10, seed)[:, :, 0]
    labels = other.neurons[0].kind
    typed = insilico.assign(found, recorded, full_n=full.argmax(1), labels_n=labels)
    needed = typed["repeats_needed"]
    out |= {
        "same_as_full": typed["accuracy"].tolist(),
        "ari_of_new": typed["ari"].tolist(),
        "ari_of_new_by_full": insilico.rand_index(full.argmax(1), labels),
        "sure": float(np.isfinite(needed).mean()),
    }
    return out


def main() -> None:
    """One line of JSON for each search."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("toy", "original", "types"))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="seed")
    parser.add_argument("--starts", nargs="+", default=list(STARTS), choices=STARTS)
    parser.add_argument("--contrast", type=float, default=0.2)
    parser.add_argument("--steps", type=int, default=30)
    args = parser.parse_args()
    seeds = range(args.first, args.first + args.seeds)
    if args.what == "original":
        imported()
    for seed in seeds:
        if args.what == "types":
            lines = [recovered(seed, s, args.contrast, args.steps) for s in args.starts]
        else:
            lines = [(toy if args.what == "toy" else original)(seed)]
        for line in lines:
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
