"""Studies and the front door: questions from several models, recordings in one line."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import sensorium_jax as sj
from sensorium_jax.cli import main
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.errors import UserError
from sensorium_jax.run import study
from sensorium_jax.run.score import measure_tiers
from sensorium_jax.scoring import limits, suites, tables, trials
from sensorium_jax.simulation.design import TINY
from support.recordings import labelled
from support.recordings.simulated import tree, true_rates
from support.twins import Told


def blurred(share):
    def rates(session, row):
        r = np.random.default_rng([session.files[row]])
        rates_tn = true_rates(session, row)
        noise = r.gamma(1.0, rates_tn.std() + 1e-9, rates_tn.shape)
        return (1 - share) * rates_tn + share * noise

    return rates


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    recordings = tree(tmp_path_factory.mktemp("study"))
    tiers = ["oracle", "final_test_bonus", "live_test_bonus"]
    plans = trials.plan(recordings.sessions, tiers, stimuli="truth")
    return {
        name: measure_tiers(Told(recordings, blurred(share)), plans, truth=true_rates)
        for name, share in {"demo": 0.1, "no_behavior": 0.3, "static": 0.7}.items()
    }


@pytest.fixture(scope="module")
def found(measured):
    costs = dict.fromkeys(measured, study.Facts("x", 10, 5, 0.6, 3.0))
    return study.answers(measured, costs, tier="oracle", steps=5, draws=40)


def test_questions_are_answered_in_the_right_direction(found):
    assert set(found.pairs) == set(study.PAIRS)
    for question, answer in found.pairs.items():
        assert answer.difference > 0, question
        assert answer.difference_interval[0] > 0
    scores = [found.models[n].in_domain.all.single_trial for n in study.QUICK]
    assert scores == sorted(scores, reverse=True)
    words = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert {"steps", "limit", *study.PAIRS, "models"} == set(words)
    demo = words["models"]["demo"]
    assert {"architecture", "parameters", "seconds", "in_domain"} <= set(demo)
    assert demo["in_domain"]["single_trial"] == scores[0]


def test_out_of_domain_types_of_both_tests_are_pooled(found, measured):
    shown = {
        k
        for tier in ("final_test_bonus", "live_test_bonus")
        for m in measured["demo"][tier]
        for k in m.plan.kinds
    }
    assert set(found.models["demo"].out_of_domain) == shown
    assert "natural_movie" not in shown


def test_limits_from_truth_and_from_repeats(found, measured):
    limit = found.limit
    true = np.concatenate(
        [suites.part(m).ceiling_n for m in measured["demo"]["oracle"]]
    )
    assert limit.from_truth.mean == pytest.approx(true.mean())
    assert limit.from_truth.percentiles["50"] == pytest.approx(np.median(true))
    assert limit.agreement > 0.5
    assert limits.spread(np.arange(101.0)).percentiles["90"] == 90


def test_words_rows_and_figures(found, tmp_path):
    text = str(found)
    for name in study.QUICK:
        assert name in text
    assert "true rates" in text and "dynamic against static" in text
    assert "null" in text.split("steps each:")[1].splitlines()[1]
    assert found._repr_html_().count("<tr>") == 1 + len(study.QUICK)
    rows = found.rows()
    kinds = len(found.models["demo"].out_of_domain)
    assert len(rows) == 3 * (1 + kinds)
    tables.write_csv(tmp_path / "study.csv", rows)
    head, *body = (tmp_path / "study.csv").read_text().splitlines()
    assert head.startswith("model,stimulus,") and len(body) == len(rows)
    for path in study.draw(found, tmp_path):
        assert Path(path).stat().st_size > 1000
    bare = {"static": found.models["static"]._replace(out_of_domain={})}
    study.draw(found._replace(models=bare), tmp_path)


def test_models_of_the_study_can_be_built():
    from sensorium_jax.zoo import describe

    for name, changes in study.MODELS.items():
        size = describe.describe("demo", mice=1, neurons=5, **changes)
        assert size["lost_frames"] < 37 - 3, name  # windows of the recipe have 37
    with pytest.raises(UserError, match="Did you mean 'static'"):
        study.chosen("demo,statik", quick=False)
    assert study.chosen(None, quick=True) == list(study.QUICK)


def test_pictures_are_refused_in_words(tmp_path, capsys):
    data = labelled.pictures(tmp_path / "data").path
    assert main(["study", "--data", data, "--workdir", str(tmp_path / "x")]) == 1
    assert "holds pictures; the study compares models of films" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("verb", ["score", "evaluate", "study", "submit"])
def test_other_rules_are_asked_for_where_some_are_named(verb, monkeypatch, tmp_path):
    asked = []

    def refuse(path, rules):
        asked.append(rules)
        raise UserError("enough")

    monkeypatch.setattr(Recordings, "open", refuse)
    monkeypatch.chdir(tmp_path)
    run = ["--workdir", "w"]
    words = {"evaluate": ["x.csv"], "submit": [*run, "--out", "o"]}
    argv = [verb, "--data", "d", *words.get(verb, run)]
    for rules in ([], ["--rules", "own"]):
        assert main([*argv, *rules]) == 1
    assert asked == [None, "own"]


def test_loading_in_one_line(tmp_path):
    small = replace(TINY, train=2, calibration=2, frames=60, neurons=4)
    made = sj.load("simulated", tmp_path / "sim", preset=small)
    assert len(made) == 2
    assert sj.load("2023", tmp_path / "sim").names == made.names
    with pytest.raises(UserError, match="holds recordings of 2023, not of 2022"):
        sj.load(2022, tmp_path / "sim")
    with pytest.raises(UserError, match="Unknown release '2024'"):
        sj.load("2024", tmp_path / "sim")
    out = tmp_path / "out"
    sent = sj.submit(Told(made, true_rates, lost=5), made, out, track="main")
    assert [p.parent for p in sent.uploads] == [out] and sent.trials == 16
    files = [str(p) for p in sent.tables.values()]
    argv = ["submit", "--data", str(tmp_path / "sim"), "--validate", *files]
    assert main(argv) == 0


def test_the_score_command(tmp_path, capsys):
    from sensorium_jax.checkpoints.card import model_card
    from sensorium_jax.checkpoints.write import save
    from sensorium_jax.zoo import describe
    from sensorium_jax.zoo.assemble import Inputs, asking_of, build

    recordings = tree(tmp_path / "data")
    info = recordings.mouse_info()
    changes = {"core": {"channels": [2, 2], "kernels": [3, 3], "contrast": 0}}
    variables = describe.init(build("demo", info, **changes), info, 0)
    mice = [{"name": s.name, "neurons": s.neurons} for s in recordings.sessions]
    asked = asking_of("demo", build("demo", info))
    words = model_card(
        "demo", Inputs.of(info)._asdict(), mice, asking=asked, changes=changes
    )
    model = str(save(tmp_path / "model", variables, words))
    argv = ["score", "--data", recordings.path, "--model", model, "--against", model]
    argv += ["--stimuli", "truth", "--draws", "20", "--csv", str(tmp_path / "x.csv")]
    argv.append("--no-linear")
    assert main([*argv, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"oracle"}
    one = found["oracle"]
    wanted = {"single_trial", "to_average", "ceiling", "fraction_of_ceiling"}
    assert wanted | {"mice", "stimuli"} <= set(one)
    assert set(one["mice"]) == set(recordings.names)
    assert set(one["stimuli"]) == {"natural_movie"}
    assert one["ceiling_from"] == "truth" and 0 < one["ceiling"] < 1
    assert one["against"]["difference"] == 0
    rows = (tmp_path / "x.csv").read_text().splitlines()
    assert len(rows) == 1 + 1 + 2 + 1
    words = ["--no-linear", "--ceiling", "repeats", "--draws", "5"]
    assert main([*argv[:5], *words]) == 0
    text = capsys.readouterr().out
    assert "ceiling from repeats" in text and "linear: not fitted" in text


@pytest.mark.soak
def test_the_demo_ends_with_a_table_and_a_valid_submission(tmp_path, capsys):
    where = ["--data", str(tmp_path / "data"), "--workdir", str(tmp_path / "run")]
    for _ in range(2):  # the second time everything is there
        assert main(["demo", "--quick", *where, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["accepted"] and {"oracle", "random_dots"} <= set(found["scores"])


@pytest.mark.soak
def test_a_study_resumes(tmp_path, capsys):
    sj.load("simulated", tmp_path / "data", preset="tiny")
    argv = ["study", "--quick", "--models", "demo,static", "--data"]
    argv += [str(tmp_path / "data"), "--workdir", str(tmp_path / "study"), "--json"]
    assert main(argv) == 0
    first = json.loads(capsys.readouterr().out)
    assert main(argv) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["dynamic_against_static"] == first["dynamic_against_static"]
    for name in ("study.json", "study.csv", "models.png", "kinds.png", "compute.png"):
        assert (tmp_path / "study" / name).exists()
