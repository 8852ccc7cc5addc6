"""The rules of docs/architecture.md that a machine can check."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "sensorium_jax"
FILES = sorted(PACKAGE.rglob("*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

FLOORS = [
    "asking axes errors findings io normalize progress rules stop text trees",
    "checkpoints data maps metrics models plots simulation",
    "configs insilico scoring submission training zoo",
    "report run",
    "cli",
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms.split()}
# Rooms on one floor do not import each other, but for these, named exactly.
SAME_FLOOR = {
    ("simulation", "data.release.write"),
    ("simulation", "data.store.write"),
    ("simulation", "data.session"),
    ("run", "report"),
}
# Packages that belong to some rooms only.
BELONG = {
    "matplotlib": {"plots", "report"},
    "ml_collections": {"run", "configs"},
    "orbax": {"checkpoints", "training"},
    "torch": set(),
}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def imported(path: Path) -> frozenset[str]:
    """Every absolute name that a file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert all(a.name != "*" for a in node.names), f"{path}: import *"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def ours(path: Path) -> set[str]:
    """Names of this package that a file imports, without the package's own."""
    start = "sensorium_jax."
    return {n.removeprefix(start) for n in imported(path) if n.startswith(start)}


def below(name: str, place: str) -> bool:
    return name == place or name.startswith(place + ".")


def test_every_room_has_a_floor():
    assert {room(p) for p in FILES} - {"__init__", "__main__"} <= set(FLOOR)


def climbs(here: str, name: str) -> bool:
    """Whether a name is not below the room that imports it."""
    there = name.split(".")[0]
    if there not in FLOOR or there == here or FLOOR[here] == FLOOR[there] == 0:
        return False
    crossing = any(here == a and below(name, b) for a, b in SAME_FLOOR)
    return FLOOR[there] >= FLOOR[here] and not crossing


def test_imports_point_down():
    wrong = [
        f"{path} imports {name}"
        for path in FILES
        if room(path) in FLOOR
        for name in sorted(ours(path))
        if climbs(room(path), name)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("here", "name", "wrong"),
    [
        ("data", "training.loop", True),
        ("training", "data.stream", False),
        ("scoring", "training.state", True),
        ("io", "text", False),
        ("run", "report.page", False),
        ("simulation", "data.session", False),
        ("simulation", "data.check", True),
    ],
)
def test_a_name_that_is_not_below_is_seen(here, name, wrong):
    assert climbs(here, name) == wrong


def test_rooms_keep_to_their_business():
    wrong = []
    for path in FILES:
        here, names = room(path), imported(path)
        away = {p for p, rooms in BELONG.items() if here not in rooms}
        if here in {"data", "normalize", "rules", "findings", "text"}:
            away.add("jax")
        if here in {"training", "scoring", "submission", "insilico"}:
            away.add("sensorium_jax.models")  # they take functions
        wrong += [
            f"{path} imports {name}"
            for name in sorted(names)
            if any(below(name, package) for package in away)
        ]
        if "ConfigDict" in path.read_text() and here not in {"run", "configs"}:
            wrong.append(f"{path} knows ConfigDict")
        if path.stem in {"utils", "util", "helpers", "misc"}:
            wrong.append(f"{path} has no subject")
    assert not wrong, "\n".join(wrong)


def test_years_are_compared_where_releases_are_known():
    known = {"rules.py", "data/release", "submission", "simulation", "cli"}
    for path in FILES:
        name = str(path.relative_to(PACKAGE))
        if any(below(name.replace("/", "."), k.replace("/", ".")) for k in known):
            continue
        odd = re.findall(r".*[=!]= ?(?:2022|2023)\b.*", path.read_text())
        assert not odd, f"{path} compares a year: {odd}"


def test_names_inside_a_checkpoint_are_known_in_one_room():
    for path in FILES:
        if room(path) != "checkpoints":
            assert "card.json" not in path.read_text(), path


PARTS = ("sensorium_jax.models.ops.", "sensorium_jax.models.parts.")


def test_pages_import_from_the_door_only():
    for page in PAGES:
        for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.S):
            inside = re.findall(r"(?:from|import) (sensorium_jax\.[\w.]+)", code)
            if page.name == "new-core.md":  # a core is made of parts of other cores
                inside = [n for n in inside if not n.startswith(PARTS)]
            assert not inside, f"{page.name} imports {inside}"


def test_nothing_points_at_the_machine():
    for path in [*FILES, *PAGES]:
        assert "/work/" not in path.read_text(), path
