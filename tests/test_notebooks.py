"""Notebooks of colabs/: stored clean, naming only what exists, and run to the end."""

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
from functools import reduce
from pathlib import Path

import pytest

import sensorium_jax as sj

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "colabs").glob("*.ipynb"))
NAMES = ("first_cortex", "your_data", "train_and_score", "submit", "digital_twin")


def cells(path: Path, kind: str) -> list[str]:
    every = json.loads(path.read_text())["cells"]
    return ["".join(c["source"]) for c in every if c["cell_type"] == kind]


def code(path: Path) -> list[str]:
    """Cells of code, without what only a notebook knows."""
    return [re.sub(r"^%.*$", "", c, flags=re.M) for c in cells(path, "code")]


def each(function):
    return pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)(function)


def test_notebooks_are_there_in_order():
    names = [f"{i}_{name}" for i, name in enumerate(NAMES, 1)]
    assert [p.stem for p in NOTEBOOKS] == names


@each
def test_stored_without_outputs(path):
    notebook = json.loads(path.read_text())
    assert notebook["nbformat"] == 4
    for cell in notebook["cells"]:
        assert cell["cell_type"] in ("markdown", "code") and cell["id"]
        if cell["cell_type"] == "code":
            assert not cell["outputs"] and cell["execution_count"] is None


@each
def test_cells_name_only_what_exists(path):
    for source in code(path):
        tree = ast.parse(source)  # every cell is Python
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert not str(node.module).startswith("sensorium_jax."), source
    used = re.findall(r"\bsj((?:\.\w+)+)", "\n".join(code(path)))
    assert used
    for name in used:
        reduce(getattr, name[1:].split("."), sj)
    for name in re.findall(r"`sj\.([\w.]+)", "\n".join(cells(path, "markdown"))):
        reduce(getattr, name.split("."), sj)


@each
def test_pages_that_are_named_are_there(path):
    words = "\n".join(cells(path, "markdown"))
    for page in re.findall(r"`(docs/[\w-]+\.md)`", words):
        assert (ROOT / page).is_file(), page
    for name in re.findall(r"`(\d_\w+)`", words):
        waits = name == "6_types_of_neurons"  # for types that are found from twins
        assert waits or (ROOT / f"colabs/{name}.ipynb").is_file(), name


def test_one_install_cell_and_no_badge_without_an_address():
    assert len({code(p)[0] for p in NOTEBOOKS}) == 1
    told = re.search(r"project_urls=\{(.*?)\}", (ROOT / "setup.py").read_text(), re.S)
    assert told is not None
    for path in NOTEBOOKS:
        badge = "colab-badge" in path.read_text()
        assert badge == bool(told[1].strip()), path


def test_the_install_cell_does_nothing_where_the_package_is(monkeypatch):
    def refuse(*words, **_):
        raise AssertionError(words)

    monkeypatch.setattr(subprocess, "check_call", refuse)
    exec(code(NOTEBOOKS[0])[0], {})


def test_the_install_cell_keeps_jax_or_asks_for_a_restart(monkeypatch, capsys):
    versions = {"jax": "0.4.30", "jax-cuda12-plugin": "0.4.30"}
    called = []

    def pip(words):
        called.append(words[-1])
        if words[-1] == "wheel.whl":
            versions["jax"] = newest

    monkeypatch.setattr(subprocess, "check_call", pip)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("importlib.metadata.version", lambda name: versions[name])
    cell = code(NOTEBOOKS[0])[0]
    with pytest.raises(SystemExit, match="Name the wheel"):
        exec(cell, {})
    cell = cell.replace('WHEEL = ""', 'WHEEL = "wheel.whl"').replace(
        "importlib.metadata.PackageNotFoundError", "KeyError"
    )
    newest = "0.10.0"
    exec(cell, {})
    assert called == ["wheel.whl", "jax[cuda12]==0.10.0"]
    assert "restart the runtime" in capsys.readouterr().out
    exec(cell, {})  # now jax is recent enough
    assert called[2:] == ["wheel.whl"] and not capsys.readouterr().out


def test_without_ipywidgets_the_first_figure_is_shown(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    shown = sj.plots.slider(lambda neuron, mouse: (neuron, mouse), neuron=3, mouse=2)
    assert shown == (0, 0) and "sensorium-jax[colab]" in capsys.readouterr().out


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where all of them write: those that need the same run find it there."""
    return tmp_path_factory.mktemp("notebooks")


@pytest.mark.notebooks
@each
def test_runs_to_the_end(path, folder):
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient").NotebookClient(
        nbformat.read(path, as_version=4),
        timeout=1800,
        resources={"metadata": {"path": str(folder)}},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path]))
        patch.delenv("MPLBACKEND", raising=False)  # figures are shown in the notebook
        done = client.execute()
    outputs = [o for c in done.cells for o in c.get("outputs", ())]
    pictures = sum("image/png" in o.get("data", {}) for o in outputs)
    assert pictures >= (0 if "submit" in path.stem else 2)
