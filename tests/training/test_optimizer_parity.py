"""Adam, AdamW and the two plateau counters, against torch and neuralpredictors."""

import jax
import numpy as np
import pytest

from sensorium_jax.training.optimizer.chain import make_optimizer
from sensorium_jax.training.optimizer.plateau import Plateau, plateau_step
from support.originals import peers

pytestmark = pytest.mark.parity


@pytest.mark.parametrize(("kind", "rate"), [("adam", 0.009), ("adamw", 0.005)])
def test_twenty_steps_equal_torch(kind, rate):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start = {
        n: rng.normal(size=s).astype("f") for n, s in {"a": (3, 4), "b": 5}.items()
    }
    theirs = {n: torch.tensor(x, requires_grad=True) for n, x in start.items()}
    optimizer = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[kind](
        list(theirs.values()), lr=rate
    )
    ours, mine = start, make_optimizer(lambda step: rate, kind=kind, decay=0.01)
    state = mine.init(ours)
    for _ in range(20):
        grads = {n: rng.normal(size=x.shape).astype("f") for n, x in start.items()}
        for name, leaf in theirs.items():
            leaf.grad = torch.tensor(grads[name])
        optimizer.step()
        updates, state = mine.update(grads, state, ours)
        ours = jax.tree.map(lambda p, u: p + u, ours, updates)
        for name, leaf in theirs.items():
            np.testing.assert_allclose(
                ours[name], leaf.detach().numpy(), rtol=1e-5, atol=1e-6
            )


def trace(scores, first):
    """What the official trainers do: rate and which epoch's weights, epoch by epoch."""
    import torch
    from neuralpredictors.training import early_stopping

    model = torch.nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.005)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        mode="max",
        factor=0.3,
        patience=5,
        threshold=1e-6,
        min_lr=1e-4,
        threshold_mode="abs",
    )
    state, found = {"epoch": 0}, []

    def objective(model):
        # The weight is the epoch it was trained to.
        epoch = state["epoch"]
        return first if epoch == 0 else scores[epoch - 1]

    for epoch, _ in early_stopping(
        model,
        objective,
        interval=1,
        patience=5,
        max_iter=len(scores),
        maximize=True,
        tolerance=1e-6,
        scheduler=scheduler,
        lr_decay_steps=4,
    ):
        found.append((optimizer.param_groups[0]["lr"], float(model.weight.detach())))
        with torch.no_grad():
            model.weight.fill_(epoch)
        state["epoch"] = epoch
    return found, float(model.weight.detach())


@pytest.mark.parametrize("seed", range(12))
def test_plateaus_are_those_of_the_official_trainers(seed):
    peers.use("sinzlab/neuralpredictors")
    rng = np.random.default_rng(seed)
    rising = np.linspace(0, 0.2, 90) * (seed % 3)
    scores = (rising + rng.normal(0.2, 0.05, 90)).round(3).tolist()
    first = 0.0
    theirs, last = trace(scores, first)
    plateau, weight, best = Plateau(best=first), 0.0, 0
    for epoch, (rate, begins_with) in enumerate(theirs, 1):
        assert rate == pytest.approx(0.005 * plateau.rate, rel=1e-6), epoch
        # The first epoch starts at the untrained weight, which the trace marks anew.
        assert epoch == 1 or weight == begins_with, epoch
        weight = epoch
        move = plateau_step(plateau, scores[epoch - 1], lowest=1e-4 / 0.005)
        best = epoch if move.improved else best
        weight = best if move.restore else weight
        plateau = move.plateau
    assert len(theirs) == 90 or (move.finished and best == last)
