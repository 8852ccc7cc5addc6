"""Training, validation and twins ask one model in one way, window by window."""

from functools import partial

import jax
import numpy as np
import pytest

from sensorium_jax.asking import Asking
from sensorium_jax.data.session import BEHAVIOR, PUPIL, VIDEO
from sensorium_jax.run import build
from sensorium_jax.run.score import report
from sensorium_jax.run.train import run_card
from sensorium_jax.training.state import variables_of
from sensorium_jax.zoo.twins.twin import Twin
from support.quick import quickly
from support.recordings import tiny

CORE = {"core": {"channels": (4, 4), "lags": 5, "bases": 2}}
ASKED = {
    "windows, stride 2": {"asking": {"mode": "window", "hop": 1}},
    "whole trials": {},
}


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Recordings whose statistics differ from frame to frame."""
    root = tmp_path_factory.mktemp("films")
    return tiny.films(root, 2, frames=30, layout="per_frame", rules="own")


def recipe(root, how):
    """A narrow demo; train_stride is that of training alone, so it is left out."""
    config = tiny.recipe("demo", root)
    config.model.changes = {"core": {**CORE["core"], "train_stride": 1}, **ASKED[how]}
    config.data.response_scaling = "per_frame"
    config.data.stride = 2 if "stride" in how else 1
    config.validate.skip = 12
    return config


def twin_of(parts, state, card):
    info = parts.stream.info
    return Twin(
        parts.encoder,
        variables_of(state),
        info.names,
        info.neurons,
        info.frame_shape,
        info.behaviors,
        parts.asking,
        card,
    )


@pytest.mark.parametrize("how", ASKED)
def test_the_loss_on_a_window_is_that_of_the_twins_answer(films, how):
    config = recipe(films, how)
    parts = build.parts(config)
    assert parts.asking.mode == ("window" if "windows" in how else "whole")
    stream = parts.stream
    with quickly(), jax.set_mesh(parts.mesh):
        state = parts.start()
        batch = stream.batch_at(3, 0)
        run = jax.jit(partial(parts.run_model, train=False))
        rates, _ = run(variables_of(state), batch, {})
        twin = twin_of(parts, state, run_card("demo", config, parts))
        answers = np.zeros_like(rates)
        for m, session in enumerate(stream.recordings.sessions):
            raw = [np.zeros_like(x[m], np.float32) for x in batch[:3]]
            for b, frames in enumerate(batch.frame_mbt[m]):
                trial = row_of(session, batch, m, b)
                for x, what in zip(raw, (VIDEO, BEHAVIOR, PUPIL), strict=True):
                    x[b] = session.read(what, trial)[frames]
            got = twin.respond(*raw, m, batch.frame_mbt[m, :, 0])
            answers[m, ..., : got.shape[-1]] = got
        lead = stream.frames - rates.shape[2]
        late = batch._replace(
            responses_mbtn=batch.responses_mbtn[:, :, lead:],
            valid_mbt=batch.valid_mbt[:, :, lead:],
        )
        cost = jax.jit(partial(parts.objective, windows=4))
        losses = [np.asarray(cost(r, late)) for r in (rates, answers)]
    real = batch.neurons_mn[:, None, None]
    np.testing.assert_allclose(answers * real, rates * real, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(*losses, rtol=1e-6)


def row_of(session, batch, m, b):
    """The trial that a window was cut from: its film is known by its pixels."""
    frames = batch.frame_mbt[m, b]
    for row in session.trials_of("train"):
        if np.array_equal(session.read(VIDEO, row)[frames], batch.video_mbthwc[m, b]):
            return row
    raise AssertionError("no trial shows this window")


def test_validation_of_windows_equals_that_of_whole_trials(films):
    """The core is causal and plain: windows of stride 1 lose nothing but time."""
    scores = {}
    for how in ("windows", "whole"):
        config = recipe(films, "whole trials")
        if how == "windows":
            config.model.changes["asking"] = {"mode": "window", "hop": 1}
            config.train.frames = 9
        parts = build.parts(config)
        with quickly(), jax.set_mesh(parts.mesh):
            scores[how] = parts.validate(parts.start()).score
    assert parts.judged_by == "val (skip 12)"
    np.testing.assert_allclose(scores["windows"], scores["whole"], rtol=1e-5)


@pytest.mark.parametrize("units", ["per_frame", "per_neuron"])
@pytest.mark.parametrize("how", ASKED)
def test_what_training_prints_is_what_scoring_prints(films, how, units):
    config = recipe(films, how)
    config.data.response_scaling = units
    config.validate.skip = -1
    parts = build.parts(config)
    assert parts.judged_by == "val"
    with quickly(), jax.set_mesh(parts.mesh):
        state = parts.start()
        value = parts.validate(state)
        twin = twin_of(parts, state, run_card("demo", config, parts))
        found = report(twin, parts.stream.recordings.sessions, draws=1)
    tier = found.tiers["oracle"]
    np.testing.assert_allclose(value.score, tier.all.single_trial, rtol=1e-5)
    each = [scores.single_trial for scores in tier.mice.values()]
    np.testing.assert_allclose(value.per_mouse, each, rtol=1e-5)
    assert value.score != pytest.approx(0, abs=1e-4)


def test_the_card_remembers_how_it_is_asked(films):
    config = recipe(films, "windows, stride 2")
    parts = build.parts(config)
    card = run_card("demo", config, parts)
    want = Asking(mode="window", frames=8, stride=2)
    assert card["asking"] == want.as_json() and parts.asking == want
    assert card["config"]["data"]["stride"] == 2
    assert card["config"]["validate"]["skip"] == 12
    assert "asking" not in card["changes"]
