"""A missing optional package is one sentence, and the extra holds all of them."""

import ast
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from sensorium_jax.cli import main
from support.recordings import foreign

ROOT = Path(__file__).parents[3]
FORMATS = ROOT / "sensorium_jax/data/formats"
WHEEL = {"yaml": "pyyaml"}  # where it is not called as it is imported


def extras():
    """The names of the extra `formats`, and of what is always installed."""
    text = (ROOT / "setup.py").read_text()
    formats = re.search(r'"formats": \[(.*?)\]', text, re.S)
    always = re.search(r"install_requires=\[(.*?)\]", text, re.S)
    assert formats and always
    return [set(re.findall(r'"([\w-]+)', found[1])) for found in (formats, always)]


def test_the_extra_holds_what_readers_of_formats_import():
    formats, always = extras()
    used = set()
    for path in FORMATS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            used |= {name.split(".")[0] for name in names}
    used -= {*sys.stdlib_module_names, "sensorium_jax"} | always
    assert {WHEEL.get(name, name) for name in used} == formats


def nwb(root, rec):
    with warnings.catch_warnings(action="ignore"):
        return foreign.nwb(root / "a.nwb", rec)


def described(root, rec, line, text):
    path = foreign.described(root, rec)
    path.write_text(
        re.sub(rf"^{line}: .*$", f"{line}: {text}", path.read_text(), flags=re.M)
    )
    return path


def matlab(root, rec):
    (root / "x.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    return described(root, rec, "responses", "{file: x.mat, rate: 7}")


def movie(root, rec):
    (root / "film.mp4").write_bytes(b"")
    return described(root, rec, "stimulus", "{file: film.mp4, start: 2}")


def pictures(root, rec):
    (root / "frames").mkdir()
    (root / "frames/0.png").write_bytes(b"")
    return described(root, rec, "stimulus", "{file: frames, rate: 10}")


@pytest.mark.parametrize(
    "module, source",
    [
        ("h5py", nwb),
        ("yaml", lambda root, rec: foreign.described(root, rec)),
        ("yaml", lambda root, rec: foreign.experanto(root / "exp", rec)),
        ("scipy", matlab),
        ("av", movie),
        ("av", pictures),
    ],
    ids=["nwb", "description", "experanto", "mat", "movie", "pictures"],
)
def test_what_is_missing_is_named_with_the_extra(
    tmp_path, capsys, monkeypatch, module, source
):
    path = source(tmp_path, foreign.recorded())
    for name in [n for n in sys.modules if n.split(".")[0] == module]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["import", str(path), str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert f"needs the package '{WHEEL.get(module, module)}'" in said
    assert said.count("\n") == 1 and "pip install 'sensorium-jax[formats]'" in said
    assert not (tmp_path / "out").exists()


def test_plain_arrays_need_nothing_but_yaml(tmp_path, monkeypatch):
    path = foreign.described(tmp_path, foreign.recorded())
    for name in ("h5py", "scipy", "av"):
        monkeypatch.setitem(sys.modules, name, None)
    foreign.bring(path, tmp_path / "out")
    assert np.isfinite(
        foreign.opened(tmp_path / "out", "fish").read("responses", 0)
    ).all()
