"""Most exciting pictures: neurons per second against batch size, ours and the original.

    export SENSORIUM_PEERS=/folder/of/originals
    python experiments/benchmarks/insilico.py MODEL [--original FILE.pth]
        [--neurons 64] [--steps 100] [--json]

MODEL is a run, a checkpoint or a published model's name; FILE the original's weights of
that model, published for 2022 (sensorium_sota_model.pth for cnn2022). Every size climbs
the same objectives from the same starts for the same number of steps, once to compile
and once on the clock; "alone" computes all neurons of the mouse and takes one of them,
which is what a tool does that knows only the whole model's answer.

The original is sinzlab/mei on the original's PyTorch model. It gets the same starts,
steps, rates, norm and range through its own hooks (precondition, postprocessing), so
that both climb the same way to the same objective, which is told: one neuron at a time
as it is meant, and as many together as a size has, their rates summed up. It runs in a
process of its own, which keeps its heap.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from operations import HEAP

SIZES = (1, 4, 16, 32, 64)
CONTRAST, RATE = 0.2, 0.5  # those of ours, unless one says otherwise


class Timed(NamedTuple):
    """One way of computing."""

    together: int
    neurons_per_second: float
    objective: float  # mean over neurons
    cpu_seconds: float  # of a neuron, all threads together: other work hardly tells


class Whole:
    """A twin that can only be asked for all of its neurons."""

    def __init__(self, twin: Any):
        """Hide what narrows it."""
        self.twin = twin

    def __getattr__(self, name: str) -> Any:
        """Everything else is the twin's."""
        if name in ("each", "only"):
            raise AttributeError(name)
        return getattr(self.twin, name)


def timed(subject: Any, neurons: int, steps: int, together: int) -> Timed:
    """Neurons per second once everything is compiled."""
    import jax

    from sensorium_jax.insilico import ascend, optimal
    from sensorium_jax.insilico.ascend import Climb
    from sensorium_jax.insilico.constraints import Budget
    from sensorium_jax.insilico.optimal import Aim

    screen, climb = subject.screen, Climb(steps=steps, patience=steps + 1)
    budget, aim = Budget(low=screen.low, high=screen.high), Aim(starts=1)
    shape, burn = optimal.film(subject, aim)
    answers = optimal.answers_of(subject, aim, burn)

    @jax.jit
    def climbed(neuron_b):
        keys = ascend.keys(0, neuron_b, 0 * neuron_b)

        def objective(z, neuron):
            return answers((screen.shown(z), neuron))

        found = ascend.ascend(objective, neuron_b, keys, shape, climb, budget)
        return found.value[:, 0]

    rows = np.arange(together, dtype=np.int32) % subject.neurons
    jax.block_until_ready(climbed(rows))
    values, begun, spent = [], time.perf_counter(), time.process_time()
    for start in range(0, neurons, together):
        asked = (start + rows) % subject.neurons
        values.append(np.asarray(climbed(asked)))
    took, cpu = time.perf_counter() - begun, time.process_time() - spent
    every = np.concatenate(values)
    mean = float(every[:neurons].mean())
    return Timed(together, len(every) / took, mean, cpu / len(every))


def starts(subject: Any, neurons: int) -> np.ndarray:
    """The noises that ours starts from, [N, 1, H, W], in units of contrast."""
    import jax

    from sensorium_jax.insilico import ascend

    rows = np.arange(neurons, dtype=np.int32)

    @jax.jit
    def drawn(rows):
        keys = ascend.keys(0, rows, 0 * rows)
        return ascend.noise(keys, (1, *subject.frame), 1, CONTRAST)

    return np.asarray(drawn(rows))[:, 0].transpose(0, 3, 1, 2)


class Original:
    """sinzlab/mei on the original's model, with our rule of steps in its hooks."""

    def __init__(self, weights: str, shape: tuple[int, ...], steps: int):
        """Build the original's model with the published weights."""
        import torch

        sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

        from support.originals import baselines, peers

        state = torch.load(weights, map_location="cpu", weights_only=True)
        features = next(v for k, v in state.items() if k.endswith("_features"))
        neurons = features.shape[-1]
        mouse = next(k.split(".")[1] for k in state if k.startswith("readout."))
        batch = baselines.pictures((2, *shape), behaviors=0, neurons=neurons)
        self.model = baselines.build("cnn2022", {mouse: batch}, 0)
        # The published files lack biases that batch norm makes needless.
        missing, odd = self.model.load_state_dict(state, strict=False)
        assert not odd and all(name.endswith("conv.bias") for name in missing)
        for name in missing:
            self.model.state_dict()[name].zero_()
        self.model.eval().requires_grad_(False)
        peers.use("sinzlab/mei")
        torch.set_num_threads(os.cpu_count() or 1)
        self.steps, self.mouse = steps, mouse

    def climbed(self, start_b: np.ndarray, neurons: np.ndarray, limits) -> np.ndarray:
        """Objectives that neurons reach, each from its own start, all at once."""
        import torch
        from mei.modules import ConstrainedOutputModel
        from mei.optimization import MEI, optimize
        from mei.stoppers import NumIterations
        from mei.tracking import Tracker

        low, high = limits
        x = torch.tensor(start_b)
        norm, axes = CONTRAST * np.sqrt(x[0].numel()), (1, 2, 3)
        of = torch.arange(len(neurons)), torch.tensor(neurons)

        def obey(x, i=0):
            size = x.square().sum(axes, keepdim=True).sqrt()
            return (x * (norm / size).clamp(max=1)).clamp(low, high)

        def slope(g, i):
            share = i / self.steps
            falling = 0.99 * 0.5 * (1 + np.cos(np.pi * share)) + 0.01
            size = g.square().mean(axes, keepdim=True).sqrt()
            return RATE * falling * CONTRAST * g / size

        each = {"data_key": self.mouse}
        if len(neurons) == 1:
            func = ConstrainedOutputModel(
                self.model, int(neurons[0]), forward_kwargs=each
            )
            one = lambda x: func(x).squeeze()  # noqa: E731
        else:
            one = lambda x: self.model(x, **each)[of].sum()  # noqa: E731
        x = obey(x)
        mei = MEI(
            one,
            x,
            torch.optim.SGD([x], lr=1.0),
            transparency=False,
            inhibitory=False,
            precondition=slope,
            postprocessing=obey,
        )
        _, best = optimize(mei, NumIterations(self.steps - 1), Tracker())
        with torch.no_grad():
            return self.model(best, **each)[of].numpy()


def original(args: argparse.Namespace) -> list[Timed]:
    """The original at every size, from the starts that were kept for it."""
    with np.load(args.starts) as file:
        start, limits = file["start"], file["limits"].tolist()
    tool = Original(args.original, start.shape[2:], args.steps)
    out = []
    for size in (s for s in SIZES if s <= args.neurons):
        # Alone it takes its time; some are enough to tell how much.
        neurons = np.arange(args.neurons if size > 1 else min(args.neurons, 16))
        parts = [neurons[i : i + size] for i in range(0, len(neurons), size)]
        tool.climbed(start[:size], neurons[:size], limits)
        begun, spent = time.perf_counter(), time.process_time()
        values = [tool.climbed(start[p], p, limits) for p in parts]
        took, cpu = time.perf_counter() - begun, time.process_time() - spent
        every, count = np.concatenate(values), len(neurons)
        out.append(Timed(size, count / took, float(every.mean()), cpu / count))
    return out


def ours(args: argparse.Namespace) -> dict[str, list[Timed]]:
    """Ours at every size, and without knowing that neurons can be told apart."""
    import sensorium_jax as sj

    twin = sj.twin(args.model)
    subject, whole = sj.insilico.subject(twin), sj.insilico.subject(Whole(twin))
    if args.starts:
        limits = subject.screen.low, subject.screen.high
        np.savez(args.starts, start=starts(subject, args.neurons), limits=limits)
    few = min(args.neurons, 16)
    return {
        "each": [
            timed(subject, few if s == 1 else args.neurons, args.steps, s)
            for s in SIZES
            if s <= args.neurons
        ],
        "alone": [timed(whole, min(args.neurons, 8), args.steps, 1)],
    }


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--original", metavar="FILE", help="weights of the original")
    parser.add_argument("--neurons", type=int, default=64)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--starts", help=argparse.SUPPRESS)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone:
        print(json.dumps([t._asdict() for t in original(args)]))
        return
    with tempfile.TemporaryDirectory() as folder:
        if args.original:
            args.starts = f"{folder}/starts.npz"
        rows = ours(args)
        if args.original:
            rows["original"] = _apart(args)
    if args.json:
        plain = {name: [t._asdict() for t in found] for name, found in rows.items()}
        print(json.dumps(plain))
        return
    for name, found in rows.items():
        for t in found:
            words = f"{name:8} {t.together:4} together {t.neurons_per_second:8.2f} /s"
            words += f" {t.cpu_seconds:8.3f} CPU s each"
            print(f"{words}  objective {t.objective:.4f}")


def _apart(args: argparse.Namespace) -> list[Timed]:
    """The original in a process of its own."""
    words = [sys.executable, __file__, args.model, "--alone"]
    words += ["--original", args.original, "--starts", args.starts]
    words += ["--neurons", str(args.neurons), "--steps", str(args.steps)]
    done = subprocess.run(
        words, env=os.environ | HEAP, check=True, text=True, stdout=subprocess.PIPE
    )
    return [Timed(**t) for t in json.loads(done.stdout.splitlines()[-1])]


if __name__ == "__main__":
    main()
