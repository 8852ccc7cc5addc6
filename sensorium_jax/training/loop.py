"""The training loop: keeps the device busy, reports, validates, saves, never loses."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from sensorium_jax.axes import Batch
from sensorium_jax.errors import UserError
from sensorium_jax.stop import Stopper
from sensorium_jax.training.optimizer.plateau import Plateau, plateau_step
from sensorium_jax.training.saving import manager as checkpoint
from sensorium_jax.training.state import TrainState
from sensorium_jax.training.step import Tally


@dataclass(frozen=True)
class Schedule:
    """When the loop does what, in steps."""

    steps: int
    report_every: int = 10
    validate_every: int = 0  # 0: only at the end
    checkpoint_every: int = 100
    windows: int = 1  # windows of all mice in a step, for the rate
    plateau: dict[str, Any] | None = None  # options of plateau_step, or no early stop
    restore_best: bool = False
    staircase: bool = False  # the rate falls along half a cosine, at validations

    def factor(self, step: int) -> float:
        """What the rate is multiplied by from this step on, but for plateaus."""
        share = step / max(self.steps, 1)
        return 0.5 * (1 + math.cos(math.pi * share)) if self.staircase else 1.0


class Progress(NamedTuple):
    """What the card of a checkpoint says of the run beside its arrays."""

    best: float = float("-inf")
    best_step: int = -1
    plateau: Plateau = Plateau(float("-inf"))
    finished: bool = False

    def to_card(self) -> dict[str, Any]:
        """As JSON has it; minus infinity, which JSON lacks, becomes None."""
        plain = self._asdict() | {"plateau": self.plateau._asdict()}
        return _swap(plain, float("-inf"), None)

    @classmethod
    def from_card(cls, card: dict[str, Any]) -> "Progress":
        """The inverse of to_card."""
        plain = _swap(card, None, float("-inf"))
        try:
            plateau = Plateau(**plain.pop("plateau"))
            return cls(**plain, plateau=plateau)
        except (KeyError, TypeError) as error:
            raise UserError(
                f"The card of the checkpoint says of its progress {card}, which this "
                f"version does not know ({error}). Go on with the version that wrote "
                "it, or start over with --fresh."
            ) from None


def _swap(tree: dict[str, Any], old: Any, new: Any) -> dict[str, Any]:
    return {
        k: _swap(v, old, new) if isinstance(v, dict) else (new if v == old else v)
        for k, v in tree.items()
    }


class Result(NamedTuple):
    """How a run ended."""

    state: TrainState
    progress: Progress
    stopped: bool  # asked to stop before the end


def fit(
    state: TrainState,
    step: Callable[[TrainState, Batch, Tally], tuple[TrainState, Tally]],
    batches: Iterator[Batch],
    plan: Schedule,
    *,
    manager: Any,
    card: Callable[[Progress], dict],
    progress: Progress,
    validate: Callable[[TrainState], float],
    stopper: Stopper,
    log: Callable[[int, dict[str, float]], Any] = lambda step, numbers: None,
    settle: Callable[[TrainState], TrainState] = lambda state: state,
) -> Result:
    """Train from the state's step to the last; everything it does is in `plan`.

    `settle` is given the state after each validation, before it is saved. Nothing waits
    for the device but a report, a validation and a save. When the stopper is asked, or
    plateaus end the run, the state is saved and the loop returns.
    """
    at, stop, meter = int(state.step), False, Meter(plan)
    place = state.step.sharding  # counts lie where the state does, or steps recompile
    tally = jax.device_put(Tally.zero(), place)

    def save(score: float | None, *, improved: bool = False) -> None:
        checkpoint.save(manager, at, state, card(progress), score, improved=improved)

    def keep(score: float, *, improved: bool) -> None:
        log(at, {"score": score, "best": progress.best})
        save(score, improved=improved)
        meter.restart()

    if plan.plateau is not None and at == 0 and progress.best_step < 0:
        progress = untrained(score := validate(state), progress)
        state = settle(state)
        keep(score, improved=True)
    while at < plan.steps and not progress.finished and not stop:
        with meter.waiting(tally):
            batch = next(batches)
        state, tally = step(state, batch, tally)
        at += 1
        stop = asked(stopper, manager, at)
        last = at == plan.steps
        judging = last or divides(plan.validate_every, at)
        saving = stop or last or divides(plan.checkpoint_every, at)
        if judging or saving or at % plan.report_every == 0:
            if int(tally.bad_step) >= 0:
                at = int(state.step)
                save(None)
                checkpoint.wait(manager)
                raise not_finite(at)
            log(at, meter.report(at, tally))
            tally = jax.device_put(Tally.zero(), place)
        if judging:
            score = validate(state)
            state = settle(state)
            state, progress, improved = judge(state, progress, score, plan, manager)
            keep(score, improved=improved)
        elif saving:
            save(None)
    checkpoint.wait(manager)
    if plan.restore_best and progress.best_step >= 0 and not stop:
        state = best_weights(state, progress, manager)
    return Result(state, progress, stop)


def divides(every: int, step: int) -> bool:
    """Whether something that happens every so many steps (0: never) happens now."""
    return every > 0 and step % every == 0


def not_finite(step: int) -> UserError:
    """What to say of a loss that is no number."""
    return UserError(
        f"The loss or its gradient was not finite at step {step} (batch {step} of this "
        "seed). The state before that batch was kept and saved. Lower "
        "config.train.rate, set config.train.clip, or look at the data with: "
        "sensorium check DATA --deep"
    )


def asked(stopper: Stopper, manager: Any, at: int) -> bool:
    """Whether to stop; under several processes all agree on the same step."""
    if jax.process_count() > 1:
        return bool(manager.reached_preemption(at))
    return stopper.asked


def untrained(score: float, progress: Progress) -> Progress:
    """Before the first step; the official trainers count improvements from there."""
    plateau = progress.plateau._replace(best=score)
    return progress._replace(best=score, best_step=0, plateau=plateau)


def judge(
    state: TrainState, progress: Progress, score: float, plan: Schedule, manager: Any
) -> tuple[TrainState, Progress, bool]:
    """What a validation score means: best so far, next stage, finished."""
    at, factor = int(state.step), plan.factor(int(state.step))
    if plan.plateau is None:
        improved = score > progress.best
    else:
        move = plateau_step(progress.plateau, score, **plan.plateau)
        improved = move.improved
        if move.restore and plan.restore_best and progress.best_step >= 0:
            state = best_weights(state, progress, manager)
        factor *= move.plateau.rate
        progress = progress._replace(plateau=move.plateau, finished=move.finished)
    if plan.plateau is not None or plan.staircase:
        rate = np.full((), factor, np.float32)
        state = state._replace(rate=jax.device_put(rate, state.rate.sharding))
    if improved:
        progress = progress._replace(best=score, best_step=at)
    return state, progress, improved


def best_weights(state: TrainState, progress: Progress, manager: Any) -> TrainState:
    """The state with the weights of the best step; optimizer and step go on.

    The originals restore the model's state dict only: moments are kept.
    """
    checkpoint.wait(manager)
    best, _ = checkpoint.restore(manager, state, progress.best_step)
    return state._replace(
        params=best.params, batch_stats=best.batch_stats, ema=best.ema
    )


class Meter:
    """Speed, share of time spent waiting for data, and time left, between reports."""

    def __init__(self, plan: Schedule):
        """Start counting."""
        self.plan = plan
        self.restart()

    def restart(self) -> None:
        """Forget what was counted, as after a validation."""
        self.began, self.waited, self.steps = time.monotonic(), 0.0, 0

    @contextmanager
    def waiting(self, tally: Tally) -> Iterator[None]:
        """Count the time inside as waiting for data, if the device ran out of work.

        Steps are sent ahead, so waiting costs nothing while the last one still runs.
        """
        before = time.monotonic()
        yield
        if tally.steps.is_ready():  # pyright: ignore[reportAttributeAccessIssue]
            self.waited += time.monotonic() - before
        self.steps += 1

    def report(self, at: int, tally: Tally) -> dict[str, float]:
        """Numbers of the steps since the last report."""
        sums = {k: np.asarray(v) for k, v in tally._asdict().items() if k != "bad_step"}
        steps = int(sums.pop("steps"))
        took = max(time.monotonic() - self.began, 1e-9)
        numbers = {k: float(v) / steps for k, v in sums.items()}
        numbers |= {
            "samples_per_s": self.plan.windows * self.steps / took,
            "data_wait": self.waited / took,
            "eta_s": took / self.steps * (self.plan.steps - at),
        }
        self.restart()
        return numbers
