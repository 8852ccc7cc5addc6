"""`sensorium ensemble`: models of different kinds and units that answer as one."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sensorium_jax as sj
from sensorium_jax import cli, trees
from sensorium_jax.asking import PLAIN
from sensorium_jax.checkpoints.card import model_card
from sensorium_jax.checkpoints.write import save
from sensorium_jax.errors import UserError
from sensorium_jax.models.rows import mouse_rows
from sensorium_jax.scoring import predict as scoring
from sensorium_jax.training.forward import with_statistics
from sensorium_jax.zoo import describe
from sensorium_jax.zoo.assemble import Inputs, asking_of, build
from sensorium_jax.zoo.twins.ensemble import Ensemble
from support.recordings import tiny

KINDS = ("ln2023", "demo")  # in units per_frame and per_neuron; the second loses frames


def saved(folder, name, recordings):
    """A model of these recordings with random weights, as a checkpoint."""
    info, sessions = recordings.mouse_info(), recordings.sessions
    encoder = build(name, info, **tiny.NARROW[name])
    asking = asking_of(name, encoder)
    shapes = jax.eval_shape(lambda: describe.init(encoder, info, 0))
    rng = np.random.default_rng(3)

    def draw(path, leaf):
        x = rng.normal(0, 0.2, leaf.shape).astype(np.float32)
        return x * x + 0.5 if path.endswith("/var") else x

    weights = {**trees.map_named(draw, shapes), "info": mouse_rows(info)}
    variables = with_statistics(weights, sessions, len(sessions), asking.inputs)
    mice = [
        {"name": s.name, "neurons": s.neurons, "unit_ids": s.unit_digest}
        for s in sessions
    ]
    inputs = Inputs.of(info)._asdict()
    changes = tiny.NARROW[name]
    card = model_card(name, inputs, mice, asking=asking, changes=changes)
    return str(save(folder / name, variables, card))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Recordings, two models of them, and their ensemble's folder."""
    folder = tmp_path_factory.mktemp("ensemble")
    data = tiny.films(folder / "data", 2, rules="own")
    models = [saved(folder, name, sj.open(data)) for name in KINDS]
    words = ["ensemble", *models, "--out", str(folder / "both"), "--data", str(data)]
    assert cli.main(words) == 0
    return data, models, folder / "both"


def rates(twin, session, row):
    (p,) = scoring.predict(twin, session, [row])
    return p


def test_the_mean_is_in_the_judges_units_and_the_card_names_the_models(made):
    data, models, folder = made
    both, session = sj.twin(folder), sj.open(data)[1]
    assert both.units == "per_frame"
    members = both.card["ensemble"]
    assert [m["name"] for m in members] == models
    assert [m["model"] for m in members] == list(KINDS)
    assert [m["units"] for m in members] == ["per_frame", "per_neuron"]
    row = int(session.trials_of("oracle")[0])
    each = [rates(sj.twin(model), session, row) for model in models]
    mean = rates(both, session, row)
    assert mean.start == max(p.start for p in each) == 4
    late = [p.rates_tn[mean.start - p.start :] for p in each]
    np.testing.assert_allclose(mean.rates_tn, np.mean(late, 0), rtol=1e-4, atol=1e-5)
    again = sj.ensemble([sj.twin(model) for model in models], sj.open(data))
    same = rates(again, session, row).rates_tn
    np.testing.assert_allclose(same, mean.rates_tn, rtol=1e-5)


class Still:
    """A twin whose neuron i of every mouse answers i + 1."""

    mice, behaviors, lost_frames, frame_shape, card = ("a", "b"), 0, 1, (2, 2, 1), {}
    asking, raw, row = PLAIN, (), staticmethod(int)

    def __init__(self, *each):
        self.each_mouse = each  # its neurons

    @property
    def neurons(self):
        return tuple(map(len, self.each_mouse))

    def respond(self, video, behavior, pupil, mouse, first):
        rates_n = jnp.asarray(self.each_mouse[mouse]) + 1.0
        shape = (video.shape[0], video.shape[1] - 1, len(rates_n))
        return jnp.broadcast_to(rates_n[None, None], shape)

    def each(self, video, neuron_b, behavior, pupil, mouse, first):
        rates_btn = self.respond(video, behavior, pupil, mouse, first)
        return jnp.take_along_axis(rates_btn, neuron_b[:, None, None], 2)[..., 0]

    def only(self, mouse, neurons):
        return Still(neurons)


def test_rates_meet_the_factors_of_their_frame_and_neuron():
    twin, video = Still([0, 1], [0, 1, 2]), jnp.zeros((2, 4, 2, 2, 1))
    factor_mtn = np.ones((2, 5, 3), np.float32)
    factor_mtn[1] = 10.0 ** np.arange(5)[:, None] * [1, 2, 3]
    both = Ensemble((twin, twin), (factor_mtn, None))
    first_b = np.array([0, 3])
    got = both.respond(video, mouse=1, first_frame_b=first_b)
    frames_bt = np.array([[1, 2, 3], [4, 4, 4]])  # the last row serves later frames
    want = (1 + factor_mtn[1][frames_bt]) / 2 * [1.0, 2.0, 3.0]
    np.testing.assert_allclose(got, want, rtol=1e-6)
    each = both.each(video, jnp.array([2, 0]), mouse=1, first_frame_b=first_b)
    np.testing.assert_allclose(each, want[[0, 1], :, [2, 0]], rtol=1e-6)
    few = both.only(1, [2, 0]).respond(video, mouse=0, first_frame_b=first_b)
    np.testing.assert_allclose(few, want[:, :, [2, 0]], rtol=1e-6)
    assert both.units == "per_frame"


def test_it_is_scored_and_predicts_as_one_model(made, tmp_path, capsys):
    data, _, folder = made
    words = ["--data", str(data), "--model", str(folder)]
    quick = ["--no-linear", "--draws", "20", "--json"]
    assert cli.main(["score", *words, *quick]) == 0
    assert "oracle" in str(json.loads(capsys.readouterr().out))
    out = str(tmp_path / "rates")
    assert cli.main(["predict", *words, "--out", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trials"] == 8


def test_what_is_no_ensemble_is_refused(made, tmp_path, capsys):
    _, models, folder = made
    out = str(tmp_path / "out")
    for given, words in (
        (models, "Give the recordings they were made of"),
        (models[:1], "name at least two models"),
        ([models[0], str(folder)], "is an ensemble already"),
    ):
        assert cli.main(["ensemble", *given, "--out", out]) > 0
        assert words in capsys.readouterr().err
    one = sj.twin(models[0])
    with pytest.raises(UserError, match="not empty"):
        sj.ensemble([one, one]).save(folder)
