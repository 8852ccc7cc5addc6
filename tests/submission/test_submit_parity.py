"""The official scorer and the official writers, on the same recordings as ours."""

import importlib.util
import sys
import types
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from sensorium_jax.data import statistics
from sensorium_jax.run.evaluate import verdicts
from sensorium_jax.run.submit import predict_and_write as submit
from sensorium_jax.scoring.predict import predict
from sensorium_jax.submission import csv2022
from sensorium_jax.submission.lint import validate
from support import twins
from support.originals import peers
from support.recordings import labelled

pytestmark = pytest.mark.parity


def evaluate(*given, **options):
    """A verdict for every table of a file."""
    return list(verdicts(*given, **options))


@pytest.fixture(autouse=True)
def originals(monkeypatch):
    """Both years' packages are called sensorium; they import h5py, unused here."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in [n for n in sys.modules if n.split(".")[0] == "sensorium"]:
        monkeypatch.delitem(sys.modules, name)
    if "h5py" not in sys.modules and importlib.util.find_spec("h5py") is None:
        monkeypatch.setitem(sys.modules, "h5py", types.ModuleType("h5py"))


def official(name, *repositories):
    """A module of the originals, their own deprecations unheard."""
    peers.use("sinzlab/neuralpredictors", *repositories)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


def test_official_scorer_of_2022_reads_ours_and_agrees(tmp_path):
    judge = official("sensorium.utility.eval", "sinzlab/sensorium")
    recordings = labelled.pictures(tmp_path / "data")
    session = recordings[0]
    guess = twins.Guess(recordings, lost=0)
    done = submit(guess, recordings.sessions, tmp_path, track="sensorium+")
    for tier, path in done.tables.items():
        rows = session.trials_of(tier)
        truth = tmp_path / f"ground_truth_file_{tier}.csv"
        responses = [
            (session.read("responses", int(r)) * statistics.precision(session))[0]
            for r in rows
        ]
        pd.DataFrame(
            {
                "trial_indices": session.columns["trial_idx"][rows],
                "image_ids": session.columns["frame_image_id"][rows],
                "responses": [r.tolist() for r in responses],
                "neuron_ids": [session.unit_ids_n.tolist()] * len(rows),
            }
        ).to_csv(truth, index=False)
        theirs = judge.evaluate(str(path), str(truth))
        want = [
            theirs[name]
            for name in ("Single Trial Correlation", "Correlation to Average", "FEVE")
        ]
        for labels in (None, truth):
            (ours,) = evaluate(path, recordings.sessions, truth=labels)
            scores = ours.scores.all
            found = [scores.single_trial, scores.to_average, scores.feve]
            np.testing.assert_allclose(found, want, rtol=3e-6, atol=1e-6)
        # A file of the other track, neurons and trials in another order.
        frame = pd.read_csv(path).sample(frac=1, random_state=0)
        frame.to_csv(path, index=False)
        (again,) = evaluate(path, recordings.sessions)
        assert again.scores.all.single_trial == pytest.approx(want[0], abs=1e-6)


class Films:
    """What the official writer of 2023 needs of a dataset: items and facts."""

    def __init__(self, session):
        self.session = session
        self.neurons = SimpleNamespace(unit_ids=session.unit_ids_n)
        self.trial_info = SimpleNamespace(tiers=session.tiers)

    def __getitem__(self, row):
        from collections import namedtuple

        import torch

        video_cthw = np.moveaxis(self.session.read("videos", row), -1, 0)
        fields = {"videos": video_cthw, "behavior": self.session.read("behavior", row)}
        made = namedtuple("Item", fields)  # its fields are what the model is given
        return made(*(torch.tensor(x.copy()).float() for x in fields.values()))


def model(guess):
    """The twin behind the interface of the originals."""
    import torch

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.place = torch.nn.Parameter(torch.zeros(1))  # says which device

        def forward(self, inputs, data_key, **others):
            video = np.moveaxis(inputs.numpy(), 1, -1)
            return torch.tensor(guess.respond(video, None, None, data_key))

    return Model()


def test_a_file_by_the_official_writer_of_2023_scores_the_same(tmp_path):
    writer = official("sensorium.utility.submission", "ecker-lab/sensorium_2023")
    recordings = labelled.films(tmp_path / "data")
    guess = twins.Guess(recordings)
    for track, kit in (("main", "main"), ("bonus", "ood")):
        ours = submit(guess, recordings.sessions, tmp_path, track=track, names="kit")
        theirs = tmp_path / "theirs"
        theirs.mkdir(exist_ok=True)
        sets = {s.name: SimpleNamespace(dataset=Films(s)) for s in recordings.sessions}
        loaders = dict.fromkeys(ours.tables, sets)
        writer.generate_submission(loaders, model(guess), path=theirs, track=kit)
        for path in ours.tables.values():
            other = theirs / path.name
            a, b = pd.read_parquet(path), pd.read_parquet(other)
            assert list(a.columns) == list(b.columns)
            assert (a.dtypes == b.dtypes).all()
            assert a.drop(columns=["prediction", "neuron_ids"]).equals(
                b.drop(columns=["prediction", "neuron_ids"])
            )
            for x, y in zip(a.prediction, b.prediction, strict=True):
                assert x[0].dtype == y[0].dtype
                np.testing.assert_array_equal(np.stack(x), np.stack(y))
            for x, y in zip(a.neuron_ids, b.neuron_ids, strict=True):
                assert x.dtype == y.dtype and x.tolist() == y.tolist()
            (one,) = evaluate(path, recordings.sessions)
            (two,) = evaluate(other, recordings.sessions)
            assert replace(one, file="") == replace(two, file="")
            levels = {f.level for f in validate(other, recordings.sessions).faults}
            assert levels <= {"warning"}  # the kit's names are not the server's


def test_the_winners_cut_of_the_last_frame_is_accepted(tmp_path):
    recordings = labelled.films(tmp_path / "data")
    session = recordings[0]
    rows = session.trials_of("oracle")
    made = predict(twins.Guess(recordings), session, rows)
    frame = pd.DataFrame(
        {
            "mouse": session.name,
            "trial_indices": session.files[rows],
            "prediction": [p.rates_tn[:-1].T.tolist() for p in made],
            "neuron_ids": [session.unit_ids_n.tolist()] * len(rows),
        }
    )
    path = labelled.save(frame, tmp_path / "predictions_oracle.parquet.brotli")
    report = validate(path, [session])
    assert report.accepted and len(report.faults) == 1


def test_written_ground_truth_is_the_official_one(tmp_path):
    """What the official scorer reads back is what was put in."""
    judge = official("sensorium.utility.eval", "sinzlab/sensorium")
    ids = np.array([5, 3, 9])
    rows = [
        csv2022.PictureAnswer(i, i % 2, np.arange(3) + i / 7, ids) for i in range(4)
    ]
    path = tmp_path / "ground_truth_file_test.csv"
    csv2022.write(path, rows, truth=True)
    trials, images, units, values = judge.load_groundtruth_data(path)
    assert trials.tolist() == [0, 1, 2, 3] and images.tolist() == [0, 1, 0, 1]
    np.testing.assert_array_equal(units, ids)
    want = np.stack([r.prediction_n for r in rows])
    np.testing.assert_array_equal(values, want.astype(np.float32))
