import json
import os
import signal
from itertools import count

import jax
import numpy as np
import pytest

from sensorium_jax.checkpoints.read import card_of
from sensorium_jax.errors import UserError
from sensorium_jax.stop import stop_on_signals
from sensorium_jax.training.log import open_log
from sensorium_jax.training.loop import Progress, Schedule, fit
from sensorium_jax.training.optimizer.plateau import Plateau
from sensorium_jax.training.saving import manager as checkpoint
from support.models.toy import STEP, fresh, toy_batch
from support.processes import runs


def batches(start, *, bad=None, signal_at=None, number=signal.SIGTERM):
    for i in count(start):
        batch = toy_batch(seed=i)
        if i == bad:
            batch.video_mbthwc[:] = np.nan
        if i == signal_at:
            os.kill(os.getpid(), number)
        yield batch


def train(workdir, *, steps=12, scores=None, plan=None, **trouble):
    """One run of the command: continues what lies in the workdir."""
    scores = iter(scores or count(1))
    plan = plan or Schedule(steps, report_every=2, validate_every=4, checkpoint_every=3)
    with checkpoint.open_manager(workdir) as manager:
        state, progress = fresh(), Progress()
        if manager.latest_step() is not None:
            state, card = checkpoint.restore(manager, state)
            progress = Progress.from_card(card["progress"])
        done = int(state.step)
        watch = stop_on_signals()
        with open_log(workdir, plan.steps, done, sinks=["jsonl"]) as log, watch as stop:
            return fit(
                state,
                STEP,
                batches(done, **trouble),
                plan,
                manager=manager,
                card=lambda p: {"progress": p.to_card()},
                progress=progress,
                validate=lambda state: float(next(scores)),
                stopper=stop,
                log=log,
            )


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_continues_to_the_same_state(tmp_path, number):
    whole = train(tmp_path / "whole")
    stopped = train(tmp_path / "cut", signal_at=6, number=number)
    assert stopped.stopped and int(stopped.state.step) == 7
    rest = train(tmp_path / "cut", scores=[2, 3])
    assert not rest.stopped
    same(whole.state, rest.state)
    assert whole.progress == rest.progress


def test_the_log_has_each_step_once_after_a_resume(tmp_path):
    train(tmp_path, signal_at=6)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 8, "loss"')  # a line a kill cut in two
    train(tmp_path, scores=[2, 3])
    rows = [json.loads(s) for s in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [r["step"] for r in rows if "loss" in r]
    assert losses == sorted(set(losses)) and losses[-1] == 12
    assert {"samples_per_s", "data_wait", "correlation"} <= rows[0].keys()


@pytest.mark.parametrize("bad", [5, 3])  # after step 3 a checkpoint is there already
def test_a_bad_batch_is_named_and_the_good_state_saved(tmp_path, bad):
    with pytest.raises(UserError, match=f"step {bad} .batch {bad}"):
        train(tmp_path, bad=bad)
    with checkpoint.open_manager(tmp_path) as manager:
        state, _ = checkpoint.restore(manager, fresh())
    assert int(state.step) == bad
    good = train(tmp_path / "good", plan=Schedule(bad))
    same(state.params, good.state.params)


def test_the_best_and_the_last_checkpoints_stay(tmp_path):
    plan = Schedule(40, validate_every=4, checkpoint_every=0)
    train(tmp_path, scores=[1, 2, 9, 3, 4, 5, 6, 7, 8, 8], plan=plan)
    with checkpoint.open_manager(tmp_path) as manager:
        assert list(manager.all_steps()) == [12, 36, 40]
        assert manager.best_step() == 12


def judged_every_step(**plateau):
    """Until the plateaus end it, then with the best weights."""
    return Schedule(
        1000, validate_every=1, checkpoint_every=0, plateau=plateau, restore_best=True
    )


def test_plateaus_restore_the_best_weights_and_end_the_run(tmp_path):
    plan = judged_every_step(stages=2, patience=2)
    scores = [0.0, 1.0, 5.0, 2.0, 2.0, 2.0, 2.0, 2.0]  # the first before any step
    result = train(tmp_path, scores=scores, plan=plan)
    assert result.progress.finished and result.progress.best_step == 2
    assert result.progress.plateau.stage == 2 and float(result.state.rate) < 1
    at_best = train(tmp_path / "two", plan=Schedule(2))
    same(result.state.params, at_best.state.params)
    assert int(result.state.step) == 6


def test_an_untrained_model_may_be_the_best(tmp_path):
    plan = judged_every_step(stages=1, patience=3)
    result = train(tmp_path, scores=[4.0, 1.0, 2.0, 3.0], plan=plan)
    assert result.progress.finished and result.progress.best_step == 0
    same(result.state.params, fresh().params)


def test_a_run_stopped_before_its_first_step_goes_on_the_same(tmp_path):
    plan = Schedule(6, validate_every=2, plateau={"stages": 4, "patience": 5})
    scores = [1.0, 2.0, 1.5, 3.0]
    whole = train(tmp_path / "whole", scores=scores, plan=plan)
    assert train(tmp_path / "cut", scores=scores, plan=plan, signal_at=0).stopped
    rest = train(tmp_path / "cut", scores=scores[1:], plan=plan)
    same(whole.state, rest.state)
    assert whole.progress == rest.progress


def test_progress_survives_its_card():
    progress = Progress(0.5, 3, Plateau(best=0.5, bad=2), True)
    card = json.loads(json.dumps(progress.to_card()))
    assert Progress.from_card(card) == progress
    assert (
        Progress.from_card(json.loads(json.dumps(Progress().to_card()))) == Progress()
    )


def test_a_checkpoint_is_read_without_the_code_that_made_it(tmp_path):
    result = train(tmp_path, plan=Schedule(4))
    folder = tmp_path / "checkpoints" / "4"
    leaves = runs.read_state(folder)
    np.testing.assert_array_equal(
        leaves["params/core/w"], result.state.params["core"]["w"]
    )
    assert card_of(folder)["progress"]["best_step"] == 4


def test_a_full_disk_is_said_with_the_checkpoint_there_is(tmp_path, monkeypatch):
    train(tmp_path, plan=Schedule(4))
    with checkpoint.open_manager(tmp_path) as manager:
        monkeypatch.setattr(
            manager, "save", lambda *a, **k: (_ for _ in ()).throw(OSError(28, "full"))
        )
        with pytest.raises(UserError, match="step 4.* is unharmed"):
            checkpoint.save(manager, 5, fresh(), {}, None)
