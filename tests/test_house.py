"""The rules of docs/architecture.md that a machine can check."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "sensorium_jax"
FILES = sorted(PACKAGE.rglob("*.py"))

FLOORS = {
    0: {"axes", "trees", "errors", "progress", "stop", "fetch"},
    1: {"data", "simulate", "models", "metrics", "plots"},
    2: {"train", "score", "insilico", "configs"},
    3: {"run", "report"},
    4: {"cli"},
}
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
SAME_FLOOR = {("simulate", "data.write"), ("simulate", "data.store")}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imported(path: Path) -> set[str]:
    """Every absolute module name that a file imports, also inside functions."""
    names = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert all(a.name != "*" for a in node.names), f"{path}: import *"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_every_room_has_a_floor():
    rooms = {p.relative_to(PACKAGE).parts[0].removesuffix(".py") for p in FILES}
    assert rooms - {"__init__"} <= set(FLOOR)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path):
    here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if here == "__init__":
        return
    for name in imported(path):
        there = room(name)
        if not name.startswith("sensorium_jax.") or there not in FLOOR or there == here:
            continue
        crossing = any(
            here == a and name.startswith(f"sensorium_jax.{b}") for a, b in SAME_FLOOR
        )
        ground = FLOOR[here] == 0
        assert FLOOR[there] < FLOOR[here] or crossing or ground, (
            f"{path} imports {name}"
        )


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_are_small(path):
    assert path.name not in {"utils.py", "helpers.py", "misc.py"}
    assert len(path.read_text().splitlines()) <= 250, path
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef):
            size = (node.end_lineno or 0) - node.lineno + 1
            assert size <= 60, f"{path}: {node.name} has {size} lines"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_rooms_keep_to_their_business(path):
    here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    names = imported(path)

    def uses(package: str) -> bool:
        return any(n == package or n.startswith(package + ".") for n in names)

    assert not uses("matplotlib") or here == "plots", path
    assert not uses("torch"), path
    assert not (uses("jax") and here == "data"), path
    assert not uses("ml_collections") or here in {"run", "configs"}, path
    assert "ConfigDict" not in path.read_text() or here in {"run", "configs"}, path
    assert not (here == "score" and uses("sensorium_jax.models")), path


def test_nothing_points_at_the_machine():
    for path in [*FILES, *ROOT.glob("docs/*.md"), ROOT / "README.md"]:
        assert "/work/" not in path.read_text(), path
