"""What `import sensorium_jax as sj` offers, used as the README and docstrings do."""

import importlib
import inspect
import pkgutil
import subprocess
import sys

import numpy as np
import pytest

import sensorium_jax as sj
from sensorium_jax.errors import UserError
from support.quick import quickly
from support.recordings.tiny import NARROW


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Own recordings in miniature, and a run on them that took two steps."""
    folder = tmp_path_factory.mktemp("door")
    rng = np.random.default_rng(0)
    for m in range(2):
        sj.write_session(
            folder / f"data/fish{m}",
            videos=rng.integers(0, 256, (14, 40, 12, 16)),
            responses=rng.gamma(1, 2, (14, 40, 4)),
            tiers=["train"] * 8 + ["oracle"] * 6,
        )
    with quickly():
        trained = sj.train(
            "demo",
            folder / "run",
            data=folder / "data",
            model=NARROW["demo"],
            changes={"train.steps": 2, "train.batch": 2, "train.sinks": "('jsonl',)"},
        )
    assert trained.step == 2 and "done at step 2 of 2" in str(trained)
    return folder


def test_every_name_is_there_whatever_was_imported_before():
    for module in pkgutil.walk_packages(sj.__path__, "sensorium_jax."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for _ in range(2):
        for name in sj.__all__:
            offered = getattr(sj, name)
            assert callable(offered) or name in sj.ROOMS, name
            assert inspect.getdoc(offered), name
    with pytest.raises(AttributeError, match="no attribute 'trane'"):
        sj.trane  # noqa: B018


def test_functions_of_the_door_have_an_example():
    for name in sj.__all__:
        offered = getattr(sj, name)
        if inspect.isfunction(offered) and offered.__module__ == "sensorium_jax":
            older = "older" in inspect.getdoc(offered)
            assert older or ">>> " in inspect.getdoc(offered), name


def test_importing_the_door_imports_no_jax():
    code = "import sys, sensorium_jax; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_way_from_recordings_to_scores(root):
    for _ in range(2):  # a submodule that is imported must not hide a function
        recordings = sj.open(root / "data")
        twin = sj.twin(root / "run")
        with quickly():
            report = sj.score(twin, recordings, linear=False, draws=20)
    text = str(report)
    assert "oracle" in text and "null" in text
    for shown in (recordings, recordings[0], twin, report):
        assert len(repr(shown)) < 2000 and shown._repr_html_().startswith("<")
    both = sj.ensemble([twin, twin])
    with quickly():
        again = sj.score(both, recordings, linear=False, draws=20)
    one, two = (r.tiers["oracle"].all.single_trial for r in (report, again))
    np.testing.assert_allclose(one, two, rtol=1e-5)


def test_what_notebooks_ask_of_recordings_and_runs(root):
    recordings, twin = sj.open(root / "data"), sj.twin(root / "run")
    with quickly():
        seen = sj.answers(twin, recordings, 1, tier="oracle", frames=100)
    assert repr(seen) == "Answers(4 neurons of fish1, 3 trials, 100 frames)"
    lost = twin.lost_frames  # of each trial: the first ones are not answered
    assert seen.frames.shape == (100, 12, 16) and seen.starts == (0, 36, 72)
    session, row = recordings[1], recordings[1].trials_of("oracle")[1]
    film_thw = session.read("videos", row)[..., 0]
    np.testing.assert_allclose(seen.frames[36:72], film_thw[lost:], atol=1)
    pairs = zip(seen.recorded_tn.T, seen.predicted_tn.T, strict=True)
    one_by_one = [np.corrcoef(a, b)[0, 1] for a, b in pairs]
    np.testing.assert_allclose(seen.correlation_n, one_by_one, atol=1e-5)
    assert "Did you mean 'oracle'" in str(
        _error(sj.answers, twin, recordings, "orcale")
    )

    checked = sj.check(root / "data")
    assert checked.clean and "clean: 0 errors" in str(checked)
    assert len(sj.look(recordings, "fish1").axes) > 10
    assert {a.get_ylabel() for a in sj.curves(root / "run").axes} == {"loss", "score"}


def _error(ask, twin, recordings, tier):
    with pytest.raises(UserError) as caught:
        ask(twin, recordings, tier=tier)
    return caught.value


def test_models_by_pattern():
    assert sj.list_models("*2023*") == [n for n in sj.list_models() if "2023" in n]
    assert "factorized2023" in sj.list_models()
    core = sj.build("factorized2023", core={"layers": 2}).core
    assert core.layers == 2


def test_unknown_names_are_one_clear_paragraph(root):
    for wrong, words in (
        (lambda: sj.open(root / "dota"), "is not a folder"),
        (lambda: sj.open(root / "data", rules="2024"), "Unknown rules '2024'"),
        (lambda: sj.twin("cnn202"), "Did you mean 'cnn2022'"),
        (lambda: sj.build("factorised2023"), "Did you mean 'factorized2023'"),
        (lambda: sj.load("2021", root / "data"), "Unknown release '2021'"),
        (lambda: sj.load("2022", root / "data"), "not of 2022"),
        (lambda: sj.train("dem", root / "new"), "Did you mean 'demo'"),
    ):
        with pytest.raises(UserError, match=words):
            wrong()
