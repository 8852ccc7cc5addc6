"""How well experiments on a trained twin find what the simulated cells really are.

    python experiments/insilico_truth.py RUN TREE [--above 0.6] [--most 40] [--json]
    python experiments/insilico_truth.py truth TREE [--most 40] [--json]

The second asks the true cells themselves, which says how well the experiments work
where no model stands between. RUN was trained on the simulated cortex in TREE. A neuron
counts where the twin's rate correlates with its true rate by more than --above on films
that it was not trained on; of each mouse at most --most cells of a kind of question are
asked. Three questions: how the most exciting film correlates with the true filter in
space and time (simple, ON and OFF cells: of complex ones there is no one filter), how
far the preferred orientation of gratings lies from the true one (cells with stripes),
and how the places of receptive fields correlate with the true ones (all). The same is
asked of some cells that are predicted worse.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import sensorium_jax as sj
from sensorium_jax.data.session import BEHAVIOR, PUPIL, VIDEO, Session, validating
from sensorium_jax.insilico import Budget, Climb, Values
from sensorium_jax.simulation.cortex import filters, rates, truth

LINEAR = ("simple", "ds_simple", "on", "off")
TRUTH = "truth"
TRIALS, SKIP = 12, 50  # trials that rates are compared on, and frames left out of each


class Asked(NamedTuple):
    """One mouse: its twin as a subject, its true cells, how well it is predicted."""

    subject: Any
    cells: Any  # simulation.cortex.neurons.Neurons
    weights: Any  # of the true rates
    predicted_n: np.ndarray  # correlation of the twin's rates with the true ones


def predicted(twin: Any, session: Session, tree: Path) -> np.ndarray:
    """Correlation [N] of the twin's rates with the true ones, each film once."""
    rows = session.trials_of(validating([session]))
    clips = _clips(tree / session.name)
    firsts = {clips[row]: int(row) for row in rows[::-1]}
    pairs = []
    for row in sorted(firsts.values())[:TRIALS]:
        shown = [session.read(what, row)[None] for what in (VIDEO, BEHAVIOR, PUPIL)]
        rates_tn = np.asarray(twin.respond(*shown, mouse=session.name))[0]
        file = int(session.files[row])
        true_tn = np.load(truth.rates_file(tree / session.name, file)).T
        count = min(len(rates_tn), len(true_tn)) - SKIP
        pairs.append((rates_tn[-count:], true_tn[: shown[0].shape[1]][-count:]))
    a, b = (np.concatenate([pair[i] for pair in pairs]) for i in (0, 1))
    a, b = a - a.mean(0), b - b.mean(0)
    return (a * b).sum(0) / np.sqrt(np.maximum((a * a).sum(0) * (b * b).sum(0), 1e-12))


def _clips(mouse: Path) -> list[str]:
    with np.load(mouse / truth.FOLDER / "trials.npz") as file:
        return file["clip"].tolist()


def asked(run: str, tree: str, mice: int) -> list[Asked]:
    """Mice of the run, as their truth is given: the eye straight ahead."""
    true, recordings = rates.load(tree), sj.open(tree)
    twin = true if run == TRUTH else sj.twin(run)
    out = []
    for row, name in enumerate(true.mice[:mice]):
        _, pupil = true.usual(row)
        subject = sj.insilico.subject(twin, name, pupil=pupil.tolist())
        if run == TRUTH:
            score = np.ones(subject.neurons)
        else:
            score = predicted(twin, recordings[name], Path(tree))
        out.append(Asked(subject, true.neurons[row], true.weights[row], score))
    return out


def filter_of(one: Asked, n: int) -> np.ndarray:
    """The true filter of a cell, calcium included, [T, H, W], the newest frame last."""
    f, turn = one.weights.filters, float(one.cells.direction[n])
    h, w = one.subject.frame[:2]
    parts = [(f.even_np[n], f.early_nl[n]), (turn * f.odd_np[n], f.late_nl[n])]
    late = [np.convolve(k, filters.KAPPA)[::-1] for _, k in parts]
    return np.sum(
        [
            k[:, None, None] * s.reshape(h, w)[None]
            for (s, _), k in zip(parts, late, strict=True)
        ],
        0,
    )


def excited(one: Asked, some: Sequence[int], steps: int) -> np.ndarray:
    """Correlation of each neuron's most exciting film with its true filter."""
    screen = one.subject.screen
    budget = Budget(contrast=0.2, low=screen.low, high=screen.high)
    result = sj.insilico.mei(one.subject, some, climb=Climb(steps=steps), budget=budget)
    out = []
    for n, stimulus in zip(result.neurons, result["stimulus"], strict=True):
        z, want = screen.contrast(stimulus)[..., 0], filter_of(one, int(n))
        count = min(len(z), len(want))
        pair = z[-count:].ravel(), want[-count:].ravel()
        out.append(np.corrcoef(*pair)[0, 1])
    return np.array(out)


def turned(one: Asked, some: Sequence[int]) -> np.ndarray:
    """Degrees between preferred orientations of gratings and the true ones."""
    values = Values(orientations=16, phases=2)
    curves = ("orientation", "frequency", "tf")
    result = sj.insilico.tune(one.subject, some, values, curves=curves, draws=1)
    apart = result["orientation"] - one.cells.orientation[result.neurons]
    return np.abs(np.degrees(np.angle(np.exp(2j * apart)) / 2))


def places(one: Asked, some: Sequence[int]) -> np.ndarray:
    """Found and true centers, [N, 2, (x, y)]."""
    result = sj.insilico.rf(one.subject, some, clips=4)
    found = np.stack([result["x"], result["y"]], 1)
    return np.stack([found, one.cells.center_n2[result.neurons]], 1)


def figures(
    every: Sequence[Asked], low: float, high: float, most: int, steps: int
) -> dict[str, float]:
    """What is found of the cells that are predicted by low to high, told at once."""
    within = [(o.predicted_n > low) & (o.predicted_n <= high) for o in every]
    linear = [np.isin(o.cells.kind, LINEAR) for o in every]
    striped = [o.cells.polarity == 0 for o in every]
    out: dict[str, float] = {"neurons": int(sum(x.sum() for x in within))}

    def ask(question, masks) -> np.ndarray:
        found = []
        for one, a, b in zip(every, within, masks, strict=True):
            some = np.flatnonzero(a & b)[:most]
            if len(some):
                found.append(question(one, some.tolist()))
        return np.concatenate(found) if found else np.empty(0)

    def tell(**more: float) -> None:
        out.update(more)
        print(more, file=sys.stderr, flush=True)

    found = ask(places, [True] * len(every))
    if not len(found):
        return out
    x, y = (np.corrcoef(found[:, 0, k], found[:, 1, k])[0, 1] for k in (0, 1))
    apart = np.median(np.hypot(*(found[:, 0] - found[:, 1]).T))
    tell(centers=len(found), x=float(x), y=float(y), pixels_apart=float(apart))
    angles = ask(turned, striped)
    if len(angles):
        tell(angles=len(angles), degrees_apart=float(np.median(angles)))
    films = ask(lambda one, some: excited(one, some, steps), linear)
    if len(films):
        tell(films=len(films), film_against_filter=float(np.median(films)))
    return out


def main() -> None:
    """Print what was found, or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("tree")
    parser.add_argument("--above", type=float, default=0.6)
    parser.add_argument("--most", type=int, default=40, help="cells of a mouse")
    parser.add_argument("--mice", type=int, default=3, help="at most so many")
    parser.add_argument("--steps", type=int, default=100, help="of most exciting films")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    every = asked(args.run, args.tree, args.mice)
    score = np.concatenate([one.predicted_n for one in every])
    rest = max(args.most // 4, 1)
    out = {
        "neurons": len(score),
        "predicted": np.quantile(score, [0.1, 0.5, 0.9]).round(3).tolist(),
        "above": figures(every, args.above, 1.0, args.most, args.steps),
        "rest": figures(every, -1.0, args.above, rest, args.steps),
    }
    if args.json:
        print(json.dumps(out))
        return
    print(f"{len(score)} neurons; rates predicted (10, 50, 90 %): {out['predicted']}")
    for name in ("above", "rest"):
        print(f"{name} {args.above:g}:" if name == "above" else "the others:")
        for key, value in out[name].items():
            print(f"  {key:20} {value:.4g}")


if __name__ == "__main__":
    main()
