"""What was imported goes through the other verbs: check, info, train, score."""

import json
import warnings

import pytest

from sensorium_jax.cli import main
from support.quick import quickly
from support.recordings import foreign

CORE = {"pool": 1, "channels": [2, 3], "kernels": [3, 3], "contrast": 0}
LAGS = {"films": 3, "pictures": 1}
TIERS = ["train"] * 5 + ["validation", "validation", "test"]


def said(capsys, *words):
    """What a verb says with --json; it must succeed."""
    capsys.readouterr()
    code = main([*map(str, words), "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out)


@pytest.fixture(params=["films", "pictures"])
def data(request, tmp_path, capsys):
    """Films from NWB, or pictures from arrays; both with tiers of a table."""
    rec, out = foreign.recorded(), tmp_path / request.param
    if request.param == "films":
        source, flags = tmp_path / "a.nwb", ()
        with warnings.catch_warnings(action="ignore"):
            foreign.nwb(source, rec, tiers=TIERS)
    else:
        flags = ("--pictures", "--window", "0.05,0.45")
        source = foreign.described(tmp_path / "y", rec)
        rows = zip(rec.starts, rec.stops, TIERS, strict=True)
        lines = ["start,stop,tier", *(f"{a},{b},{t}" for a, b, t in rows)]
        (tmp_path / "y/trials.csv").write_text("\n".join(lines))
    said(capsys, "import", source, out, "--no-figure", *flags)
    return out


def test_an_import_is_clean_and_says_its_rules(data, capsys):
    assert said(capsys, "check", data)["clean"]
    (mouse,) = said(capsys, "info", data)["mice"]
    assert mouse["rules"]["name"] == "own" and mouse["rules"]["kind"] == data.name
    assert mouse["rules"]["validation"] == ["validation"]
    assert mouse["trials"] == {"train": 5, "validation": 2, "test": 1}


@pytest.mark.soak
def test_an_import_is_trained_and_scored(data, tmp_path, capsys):
    lags, work = LAGS[data.name], tmp_path / "run"
    core = CORE | {"lags": lags, "bases": min(lags - 1, 2)}
    words = ["--config", "demo", "--workdir", work, f"--config.data.root={data}"]
    words += ["--config.train.steps=3", "--config.train.batch=2"]
    words += [f"--config.train.frames={3 * lags}", "--config.validate.batch=1"]
    words += [f"--config.model.json={json.dumps({'core': core})}"]
    with quickly():
        assert said(capsys, "train", *words)["step"] == 3
        scores = said(capsys, "score", "--model", work, "--data", data)
    assert "validation" in json.dumps(scores)
