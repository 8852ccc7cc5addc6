"""Recipe `own`: what it chooses, that the user's word counts, and its budget."""

import json

import numpy as np
import pytest

import sensorium_jax as sj
from sensorium_jax.errors import UserError
from sensorium_jax.run import budget, config as configs, own
from sensorium_jax.run.own import Facts
from sensorium_jax.run.train import train_recipe
from support.quick import quickly
from support.recordings import tiny

FILMS = Facts(
    frame=(36, 64, 1), mice=2, neurons=300, trials=100, frames=30_000, usual=300,
    judged=300, rate=30.0, negative=False, behaviors=2,
)  # fmt: skip


@pytest.mark.parametrize("frame", [(7, 5, 1), (3, 3, 1), (20, 18, 3), (144, 256, 1)])
@pytest.mark.parametrize("usual", [1, 2, 40])
def test_the_model_fits_frames_of_any_size(frame, usual):
    facts = FILMS._replace(frame=frame, usual=usual)
    options = own.core_of(facts)
    core = sj.build("own", None, core=options, readout={"init_sigma": 0.1}).core
    shape = core.out_shape(options["lags"], *frame[:2])
    assert min(shape) >= 1 and options["lags"] <= usual
    assert shape[1] * shape[2] <= own.PICTURE_PIXELS
    assert (options["lags"] == 1) == (usual == 1)


def test_lags_follow_the_frame_rate():
    lags = [own.core_of(FILMS._replace(rate=r))["lags"] for r in (10, 30, 60)]
    assert lags == [6, 18, 36]


def test_negative_responses_get_a_straight_line_and_squared_errors(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name, low in (("dff", -1.0), ("counts", 0.0)):
        sj.write_session(
            tmp_path / name / "fish",
            videos=rng.integers(0, 256, (12, 30, 8, 8)).astype(np.uint8),
            responses=np.maximum(rng.normal(size=(12, 30, 3)), low),
            rate_hz=20.0,
            **({"negative": "keep"} if low else {}),
        )
    changes = f"--config.data.root={tmp_path}"
    chosen = own.fitted(configs.load("own", [f"{changes}/dff"]))
    assert chosen.train.loss == "mse" and chosen.model.changes.output.kind == "none"
    assert "lie about zero" in capsys.readouterr().err
    chosen = own.fitted(configs.load("own", [f"{changes}/counts"]))
    assert chosen.train.loss == "poisson" and "output" not in chosen.model.changes
    words = capsys.readouterr().err
    assert "1 mice, 3 neurons" in words and "20 frames per second" in words
    assert chosen.model.changes.core.lags == 12
    assert chosen.train.frames == 12 + 7 * 2  # eight answers, one in two frames
    given = [f"{changes}/counts", "--config.train.loss=mse", "--config.train.batch=3"]
    core = '{"core": {"lags": 5, "train_stride": 1}}'
    chosen = own.fitted(configs.load("own", [*given, f"--config.model.json={core}"]))
    assert chosen.train.loss == "mse" and chosen.train.batch == 3
    assert chosen.train.frames == 5 + 7


@pytest.mark.parametrize("words", ["soon", "-3s", "0min", "5", "3 days"])
def test_a_budget_that_is_no_time_is_refused(words):
    with pytest.raises(UserError, match="budget.*150s"):
        budget.seconds(words)


def test_a_budget_becomes_steps():
    assert [budget.seconds(w) for w in ("150s", "10min", "1.5 h")] == [150, 600, 5400]
    cost = budget.Cost(step=0.5, validation=1.0)
    assert budget.steps(109.0, cost) == 200
    assert budget.steps(-5.0, cost) == budget.FEWEST


def test_a_run_within_a_budget_goes_on_with_the_steps_that_it_was_given(
    tmp_path, monkeypatch, capsys
):
    root, workdir = tiny.films(tmp_path / "films", 1), tmp_path / "run"
    monkeypatch.setattr(budget, "FEWEST", 8)
    words = [
        f"--config.data.root={root}",
        "--config.mesh.mouse=1",  # programs for one device compile in half the time
        "--config.mesh.data=1",
        "--config.train.linear_share=0",  # test_recipes.py trains with both
        "--config.readout.start=official",
        "--config.train.budget=1s",
        "--config.train.batch=2",
        "--config.train.frames=8",
        "--config.validate.skip=6",
        "--config.validate.stages=0",
        """--config.model.json={"core": {"pairs": 2, "mixtures": 3, "lags": 5}}""",
        "--config.train.sinks=('jsonl',)",
    ]
    with quickly():
        done = train_recipe("own", str(workdir), words)
    assert (done.step, done.steps) == (8, 8) and done.score is not None
    card = json.loads((workdir / "run.json").read_text())
    assert card["config"]["train"]["steps"] == 8
    with quickly():
        again = train_recipe("own", str(workdir), words)
    assert (
        again.step == 8 and "Measuring" not in capsys.readouterr().err.split("done")[-1]
    )
    with pytest.raises(UserError, match="train.budget"):
        train_recipe("own", str(workdir), [*words, "--config.train.budget=2s"])
