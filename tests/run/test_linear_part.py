"""A twin whose rates are partly the linear model's, as validation asked for."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest

import sensorium_jax as sj
from sensorium_jax.checkpoints import write
from sensorium_jax.errors import UserError
from sensorium_jax.run import linear
from sensorium_jax.run.train import train_recipe
from sensorium_jax.scoring.predict import predict
from sensorium_jax.zoo.load import load
from support.quick import quickly

CORE = '{"core": {"lags": 3, "bases": 2, "pairs": 1, "mixtures": 1}}'
LOST = 2
NEURONS = {"a": 3, "b": 2}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two mice that the linear model knows well, with running and without a pupil."""
    folder = tmp_path_factory.mktemp("linear-part")
    rng = np.random.default_rng(0)
    for name, neurons in NEURONS.items():
        videos = rng.integers(0, 256, (16, 24, 6, 8)).astype(np.uint8)
        light = np.stack([videos[..., 2, 3 + i] for i in range(neurons)], -1) / 64.0
        sj.write_session(
            folder / name,
            videos=videos,
            responses=rng.poisson(light).astype(np.float32),
            behavior=rng.normal(size=(16, 24, 1)),
            rate_hz=10.0,
        )
    return folder


@pytest.fixture(scope="module")
def workdir(root, tmp_path_factory):
    """A run of two steps, after which the linear model is the better one."""
    folder = tmp_path_factory.mktemp("run") / "run"
    options = {
        "data.root": root,
        "model.json": CORE,
        "readout.start": "official",
        "train.steps": 2,
        "train.batch": 1,
        "train.frames": 8,
        "train.sinks": "('jsonl',)",
        "validate.stages": 0,
        "mesh.mouse": 1,
        "mesh.data": 1,
    }
    with quickly():
        train_recipe(
            "own", str(folder), [f"--config.{k}={v}" for k, v in options.items()]
        )
    return folder


@pytest.fixture(scope="module")
def twin(workdir):
    return load(workdir)


def clips(count):
    rng = np.random.default_rng(1)
    video = rng.integers(0, 256, (count, 9, 6, 8, 1)).astype(np.float32)
    return video, rng.normal(size=(count, 9, 1)).astype(np.float32)


def shares_of(twin):
    return np.asarray(twin.variables["info"]["linear"]["share_m"])[:2]


def with_shares(twin, shares):
    info = dict(twin.variables["info"])
    info["linear"] = {**info["linear"], "share_m": np.asarray(shares, np.float32)}
    return replace(twin, variables={**twin.variables, "info": info})


def test_rates_are_a_mixture_of_both_models(root, twin):
    recordings = sj.open(root)
    models = linear.fitted(recordings.sessions, [root])
    shares = shares_of(twin)
    assert (shares > 0).all()  # two steps teach a network nothing
    assert "0%" in twin.facts()["of the linear model"]
    network = replace(twin, linear=None)
    for session, share in zip(recordings.sessions, shares, strict=True):
        each = [
            [p.rates_tn for p in predict(model, session, [0, 3])]
            for model in (twin, network, models)
        ]
        for got, own, other in zip(*each, strict=True):
            want = (1 - share) * own + share * other[-len(own) :]
            np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-6)


def test_some_neurons_and_single_ones_are_answered_alike(twin):
    video, behavior = clips(3)
    all_btn = twin.respond(video, behavior, mouse="a")
    some = twin.only("a", [2, 0]).respond(video, behavior)
    np.testing.assert_allclose(some, all_btn[..., [2, 0]], rtol=1e-5, atol=1e-6)
    each = twin.each(video, np.array([1, 0, 2]), behavior, mouse="a")
    for i, n in enumerate((1, 0, 2)):
        np.testing.assert_allclose(each[i], all_btn[i, :, n], rtol=1e-5, atol=1e-6)
    passed = jax.jit(lambda twin: twin.respond(video, behavior, mouse="a"))(twin)
    np.testing.assert_allclose(passed, all_btn, rtol=1e-5, atol=1e-6)
    assert twin.memory >= twin.linear.taps


def test_validation_says_what_scoring_says(root, workdir, twin):
    rows = [json.loads(r) for r in (workdir / "log.jsonl").read_text().splitlines()]
    (mixed,) = (r["score_with_linear"] for r in rows if "score_with_linear" in r)
    (score,) = (r["score"] for r in rows if "score" in r)
    for model, want in ((twin, mixed), (replace(twin, linear=None), score)):
        report = sj.score(model, sj.open(root), linear=False, draws=2)
        (tier,) = report.tiers.values()
        assert tier.all.single_trial == pytest.approx(want, rel=1e-5)


def test_it_is_kept_by_saving_unless_it_has_no_share(twin, tmp_path):
    video, behavior = clips(2)
    before = twin.respond(video, behavior, mouse="b")
    again = load(twin.save(tmp_path / "kept"))
    np.testing.assert_array_equal(again.respond(video, behavior, mouse="b"), before)
    none = load(with_shares(twin, [0, 0]).save(tmp_path / "none"))
    assert none.linear is None and "linear" not in none.variables["info"]
    network = replace(twin, linear=None).respond(video, behavior, mouse="b")
    np.testing.assert_allclose(none.respond(video, behavior, mouse="b"), network)


def test_damaged_parts_are_named(twin, tmp_path):
    info = {k: v for k, v in twin.variables["info"].items() if k != "linear"}
    folder = write.save(tmp_path / "bare", {**twin.variables, "info": info}, twin.card)
    with pytest.raises(UserError, match="linear model.*not there"):
        load(folder)
    for i, wrong in enumerate(
        ([1, 2], "plan", [[6, 8, 1], [6, 8], [3, 4], -1, 2, 1, 0])
    ):
        odd = write.save(
            tmp_path / f"odd{i}", twin.variables, {**twin.card, "linear": wrong}
        )
        with pytest.raises(UserError, match="linear part"):
            load(odd)
