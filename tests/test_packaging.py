"""What is packed and promised: files beside code, extras, one version everywhere."""

import ast
import re
from pathlib import Path

import pytest

import sensorium_jax as sj

ROOT = Path(__file__).parent.parent
SETUP = (ROOT / "setup.py").read_text()
# Packages whose import has another name, and those that others import.
IMPORTED = {"pyyaml": "yaml", "scikit-image": "skimage"}


def extras() -> dict[str, list[str]]:
    (value,) = [
        node.value
        for node in ast.walk(ast.parse(SETUP))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "extras"
    ]
    return ast.literal_eval(value)


def test_every_file_that_is_no_python_is_packed():
    packed = re.search(r'package_data=\{"sensorium_jax": (\[.*?\])\}', SETUP, re.S)
    assert packed is not None
    package = ROOT / "sensorium_jax"
    files = {
        str(p.relative_to(package))
        for p in package.rglob("*")
        if p.is_file() and p.suffix not in (".py", ".pyc")
    }
    assert files == set(ast.literal_eval(packed[1]))
    assert all((p / "__init__.py").is_file() for p in package.rglob("*") if _code(p))


def _code(path: Path) -> bool:
    return path.is_dir() and any(path.glob("*.py"))


@pytest.mark.parametrize("extra", sorted(extras()))
def test_every_extra_is_used(extra):
    rooms = ["tests", "experiments", *(["sensorium_jax"] if extra != "dev" else [])]
    sources = [p.read_text() for room in rooms for p in (ROOT / room).rglob("*.py")]
    sources += [(ROOT / "Makefile").read_text(), (ROOT / "pyproject.toml").read_text()]
    words = "\n".join(sources)
    for package in extras()[extra]:
        name = re.split(r"[>=<]", package)[0]
        module = IMPORTED.get(name, name).replace("-", "_")
        tool = re.search(rf"\$\(BIN\)/{name}\b|-n \d|\[tool\.{name}", words)
        uses = re.search(rf"(import|from|importorskip\(\") ?{module}\b", words)
        assert uses or tool, f"extra {extra}: nothing uses {name}"


def test_one_version():
    told = (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^version: (.+)$", told, re.M)[1] == sj.__version__
    assert f"## {sj.__version__}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_workflows_call_targets_that_are_there():
    yaml = pytest.importorskip("yaml")
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    called = set()
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            for step in job["steps"]:
                called |= set(re.findall(r"\bmake ([\w-]+)", step.get("run", "")))
    called |= set(
        re.findall(r"`make\s([\w-]+)", (ROOT / "CONTRIBUTING.md").read_text())
    )
    assert {"test", "minimum", "notebooks", "wheel"} <= called <= targets
