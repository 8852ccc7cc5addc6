"""The linear model's rates are part of the targets while a run is young."""

import jax
import numpy as np
import pytest

import sensorium_jax as sj
from sensorium_jax.asking import PLAIN
from sensorium_jax.errors import UserError
from sensorium_jax.run import build, config as configs, guided, linear, own
from sensorium_jax.training import forward

STEPS = 4
CORE = '{"core": {"lags": 3, "bases": 2, "pairs": 1, "mixtures": 1}}'


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two mice of unlike numbers of neurons, with running and without a pupil."""
    folder = tmp_path_factory.mktemp("guided")
    rng = np.random.default_rng(0)
    for name, neurons in (("a", 3), ("b", 2)):
        videos = rng.integers(0, 256, (14, 20, 6, 8)).astype(np.uint8)
        light = videos[..., 2, 3, None] / 128.0
        sj.write_session(
            folder / name,
            videos=videos,
            responses=rng.poisson(light * np.ones(neurons)).astype(np.float32),
            behavior=rng.normal(size=(14, 20, 1)),
            rate_hz=10.0,
        )
    return folder


def parts(root, *changes):
    words = [f"--config.data.root={root}", f"--config.train.steps={STEPS}"]
    words += [f"--config.model.json={CORE}", "--config.readout.start=official"]
    config = own.fitted(configs.load("own", [*words, *changes]))
    return build.parts(config)


def read(made, start=0):
    with jax.set_mesh(made.mesh):
        return list(made.batches(start))


def test_targets_are_mixed_with_linear_rates_less_and_less(root):
    plain, made = parts(root, "--config.train.linear_share=0"), parts(root)
    before, after = read(plain), read(made)
    twins = linear.fitted(made.stream.recordings.sessions, [root]).twins
    mean, std = made.stream.video_stats
    assert len(after) == STEPS
    for step, (old, new) in enumerate(zip(before, after, strict=True)):
        part = 0.8 * (1 - step / STEPS)
        seen = forward.prepare(old, {"mean": mean, "std": std}, PLAIN)
        for m, (name, neurons) in enumerate((("a", 3), ("b", 2))):
            rates = twins[name].respond(seen[m], old.behavior_mbtk[m])
            want = (1 - part) * old.responses_mbtn[m, ..., :neurons] + part * rates
            got = new.responses_mbtn[m, ..., :neurons]
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
        assert np.isfinite(new.responses_mbtn).all()
        same = old._replace(responses_mbtn=new.responses_mbtn)
        jax.tree.map(np.testing.assert_array_equal, same, new)


def test_a_run_that_goes_on_is_guided_as_one_that_never_stopped(root):
    whole, rest = read(parts(root)), read(parts(root), 2)
    assert len(rest) == 2
    jax.tree.map(np.testing.assert_array_equal, whole[2:], rest)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("--config.data.trials=0.5", "other trials"),
        ("--config.data.response_scaling=per_frame", "not those of the linear model"),
    ],
)
def test_a_run_is_told_where_the_linear_model_cannot_speak(root, change, words, capsys):
    made = parts(root, change)
    assert words in capsys.readouterr().err
    plain = parts(root, change, "--config.train.linear_share=0")
    jax.tree.map(np.testing.assert_array_equal, read(made)[:1], read(plain)[:1])


def test_many_neurons_are_not_guided(root, monkeypatch, capsys):
    monkeypatch.setattr(guided, "MOST", 1)
    parts(root)
    assert "there are many neurons, so the linear model" in capsys.readouterr().err


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_shares_that_are_none_are_refused(root, share):
    with pytest.raises(UserError, match=r"linear_share is .*below 1"):
        parts(root, f"--config.train.linear_share={share}")
