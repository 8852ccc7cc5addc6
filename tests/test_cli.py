"""What a first-time user may get wrong: words on stderr, and the right exit code."""

import json
import os
import re
import shlex
import signal
from pathlib import Path

import numpy as np
import pytest

from sensorium_jax import cli
from sensorium_jax.cli import build, main
from sensorium_jax.data.release.write import write_session
from sensorium_jax.run import data, train


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A mouse in good/, an empty folder, and a file."""
    root = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(0)
    write_session(
        root / "good/mouse",
        rules="2023",
        videos=rng.integers(0, 256, (12, 6, 8, 8)),
        responses=rng.gamma(1, 2, (12, 6, 3)),
    )
    (root / "empty").mkdir()
    (root / "file").write_text("no recordings")
    (root / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    return root


def run(words, place, capsys):
    """Exit code, stdout and stderr; words with a slash in front are below place."""
    words = [f"{place}{w}" if w.startswith("/") else w for w in words.split()]
    try:
        code = main(words)
    except SystemExit as leaving:  # argparse leaves by itself
        code = leaving.code
    out, err = capsys.readouterr()
    return code, out, err


BAD_INPUT = {
    "info /absent": "is not a folder",
    "info /file": "is not a folder",
    "info /empty": "is empty",
    "convert /absent /store": "is not a folder",
    "convert /good /file": "is a file, expected a folder",
    "convert /good /good": "both source and target",
    "convert /good http://server/store": "is a URL",
    "simulate /file --preset tiny": "is a file, expected a folder",
    "simulate /good --preset tiny": "holds other files (mouse)",
    "simulate /new --preset tiny --trials 3": "too few",
    "download mouse --to /new": "Unknown recording 'mouse'",
    "download 2022 --to /new --dry-run --from nowhere": "is not an address",
    "zoo show gru": "Unknown model 'gru'",
    "zoo fetch demo": "Unknown published model",
    "zoo import /file --arch gru2023 --out /new": "file",
    "train --config dem --workdir /new": "Did you mean 'demo'",
    "train --config demo --workdir /new --config.data.root=/absent": "not a folder",
    "submit --data /good --validate /absent": "is no file",
    "evaluate /absent --data /good": "is no file",
    "evaluate /file --data /good --tier orcale": "Did you mean 'oracle'",
    "score --data /good --model nothing": "Unknown model",
    # Where nothing can be written is said before anything is read.
    "score --data /absent --model x --csv /file/a.csv": "is a file, expected a folder",
    "score --data /absent --model x --csv /good": "is a folder, expected a file",
    "evaluate /file --data /absent --csv /file/a/b.csv": "is a file, expected a folder",
    "submit --data /absent --model x --out /file/a": "is a file, expected a folder",
    "train --config dem --workdir /file/run": "is a file, expected a folder",
    "study --data /absent --workdir /file": "is a file, expected a folder",
    "report /absent": "is no folder",
    "report /empty --out /file/a.html": "is a file, expected a folder",
    "report /empty": "No checkpoint in",
    "train --config dem --print-config": "Did you mean 'demo'",
    "demo --data /new --workdir /file": "is a file, expected a folder",
    "download 2022 --to /file": "is a file, expected a folder",
    "zoo import /absent --arch gru2023 --out /file": "is a file, expected a folder",
    "evaluate /broken.zip --data /good": "is no readable zip",
    "predict --data /good --model nothing --out /new": "Unknown model",
    "predict --data /absent --model x --out /file/a": "is a file, expected a folder",
    "ensemble /absent /empty --out /new": "/absent",
    "import /absent /new": "/absent",
    "launch /absent.py --workdir /new": "absent.py",
    "launch --workdir /new": "/new",
    "runs /absent": "/absent",
    "tune --truth /good --out /new": "No simulated mouse",
    "rf --model nothing --out /new": "Unknown model",
    "screen --truth /absent --data /good --out /new": "No simulated mouse",
}
USAGE = {
    "submit --data /good": "Nothing to submit",
    "submit --data /good --model x": "Nothing to submit",
    "score --data /good": "Nothing to score",
    "score --data /good --model x --workdir y": "Two models were given",
    "submit --data /good --model x --workdir y --out /o": "Two models were given",
    "submit --data /good --validate /file --out /o": "Leave out --workdir",
    "report /good --out /new/page.pdf": "expected a name ending in .html",
    "report /good /good": "given twice",
    "report /good /empty --step 3": "leave it out",
    "mei --out /new": "Say whom to ask",
    "import /good": "Say where to write to",
    "zoo show demo --data /good --mice 2": "leave out --mice",
    "state --truth /x --workdir /y --signal 1 --levels 1 --out /new": "Say whom to ask",
    "train --config demo --print-config --config.train.batch=0": "expected 1 or more",
    "train --config demo --workdir /new --config.train.steps=-3": "train.steps is -3",
    "train --config demo --workdir /new --config.train.batch=0": "expected 1 or more",
}


# Of ml_collections, which reads recipes.
@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
@pytest.mark.parametrize("words, said", (BAD_INPUT | USAGE).items())
@pytest.mark.parametrize("as_json", ["", " --json"], ids=["", "json"])
def test_bad_input_is_one_paragraph_on_stderr(place, capsys, words, said, as_json):
    code, out, err = run(words + as_json, place, capsys)
    (line,) = [x for x in err.splitlines() if x.startswith("sensorium: ")]
    assert code == (2 if words in USAGE else 1) and said in line
    assert line == err.splitlines()[-1] and "Traceback" not in err
    failure = {"error": line.removeprefix("sensorium: "), "code": code}
    assert (json.loads(out) == failure) if as_json else not out
    assert not (place / "new").exists()


@pytest.mark.parametrize(
    "words",
    [
        "",
        "inf",
        "info",
        "info /good --fast",
        "info /good --config.seed=1",
        "train --config demo",
        "report",
        "report /good --draws 0",
        "doctor /good",
        "train --config demo --workdir /new steps=3",
        "train --config demo --workdir /new --config.train.steps 3",
        "simulate /new --preset tinny",
        "simulate /new --trials 0",
        "simulate /new --seed -1",
        "simulate /new --year 2021",
        "convert /good /new --threads 0",
        "download 2022 --to /new --stall -1",
        "submit --data /good --track live",
        "score --data /good --model x --draws -1",
        "score --data /good --model x --draws 0",
        "score --data /good --workdir x --step -1",
        "study --data /good --workdir /new --steps -5",
        "zoo show demo --neurons -2",
        "completion fish",
        "runs",
        "launch /a.py --workdir /new --with 3",
        "invariance --truth /good --out /new --points 0",
    ],
)
def test_bad_usage_exits_2(place, capsys, words):
    code, out, err = run(words, place, capsys)
    assert (code, out) == (2, "") and "error: " in err and "usage: " in err
    code, out, again = run(f"{words} --json", place, capsys)
    failure = json.loads(out)
    assert code == failure["code"] == 2 and failure["error"] in " ".join(again.split())


@pytest.mark.parametrize("words", ["info /good", "check /good", "convert /good /new"])
def test_json_is_one_object_and_all_of_stdout(place, capsys, words):
    code, out, _ = run(f"{words} --json", place, capsys)
    assert code == 0 and isinstance(json.loads(out), dict)
    _, text, _ = run(words, place, capsys)
    assert text and not text.startswith("{")


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
def test_a_config_is_printed_and_nothing_trained(place, capsys):
    words = "train --config demo --print-config --config.train.steps=5"
    code, out, _ = run(words, place, capsys)
    (line,) = [x for x in out.splitlines() if x.startswith("config.train.steps ")]
    assert code == 0 and line.split() == ["config.train.steps", "5", "(default", "0)"]
    assert len(out.splitlines()) > 50
    code, out, _ = run(f"{words} --json", place, capsys)
    assert code == 0 and json.loads(out)["train"]["steps"] == 5
    assert run(f"{words} --workdir /new", place, capsys)[0] == 2


def test_interrupted_is_130(place, capsys, monkeypatch):
    def interrupt(*_, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "info", interrupt)
    code, out, err = run("info /good", place, capsys)
    assert (code, out, err) == (130, "", "sensorium: interrupted\n")
    code, out, err = run("info /good --json", place, capsys)
    assert json.loads(out) == {"error": "interrupted", "code": 130}


def test_what_nobody_foresaw_has_a_traceback_and_its_json(place, capsys, monkeypatch):
    def fail(*_, **options):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(data, "info", fail)
    with pytest.raises(ZeroDivisionError):
        main(["info", "x", "--json"])
    failure = {"error": "ZeroDivisionError: by zero", "code": 1}
    assert json.loads(capsys.readouterr().out) == failure


def test_ctrl_c_in_a_training_is_130_and_says_how_to_go_on(place, capsys, monkeypatch):
    def stop(recipe, workdir, overrides, **options):
        os.kill(os.getpid(), signal.SIGINT)
        return train.Trained(3, 9, True, None, -1, workdir)

    monkeypatch.setattr(train, "train_recipe", stop)
    code, out, err = run("train --config demo --workdir /new", place, capsys)
    assert code == 130 and "stopped on request at step 3 of 9" in out
    assert "the same command goes on" in out and "Ctrl-C again ends at once" in err
    code, out, _ = run("train --config demo --workdir /new --json", place, capsys)
    assert code == 130 and json.loads(out)["stopped"]


ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_in_the_docs_are_understood(page):
    blocks = re.findall(r"^```(?:sh|bash)?\n(.*?)^```", page.read_text(), re.M | re.S)
    text = "\n".join(blocks).replace("\\\n", " ")
    for line in re.findall(r"^sensorium (.*)$", text, re.M):
        whole = line.replace(" DATA RUN", " --workdir RUN")  # as scaling.md abbreviates
        words = shlex.split(whole, comments=True)
        if words != ["--help"]:
            _, rest = build().parse_known_args(words)  # exits on what it cannot take
            assert not [w for w in rest if not w.startswith("--config.")], line


def test_the_front_page_names_every_page():
    front = PAGES[0].read_text()
    linked = re.findall(r"\]\((docs/[\w.-]+)\)", front)
    assert {ROOT / link for link in linked} == set(PAGES[1:])


def test_a_ctrl_c_after_the_work_does_not_undo_it(monkeypatch):
    """While Python ends, the system would end the program as if by the signal."""
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(cli, "main", lambda: 0)
    monkeypatch.setattr(cli.compiling, "settle", lambda: None)
    try:
        with pytest.raises(SystemExit) as leaving:
            cli.start()
        assert leaving.value.code == 0
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
