"""docs/which-recipe.md lists every recipe, field and option with its default.

Whoever adds one finds here which line the page lacks; the words beside are free.
"""

import inspect
import re
from functools import cache
from pathlib import Path

import pytest

from sensorium_jax.asking import Asking
from sensorium_jax.configs.base import base
from sensorium_jax.models.cores.layered import LayeredCore
from sensorium_jax.run import config as configs
from sensorium_jax.zoo import assemble

PAGE = Path(__file__).parents[2] / "docs/which-recipe.md"
PARTS = {
    "predictor": assemble.CortexPredictor,
    "gru": assemble.ConvGRU,
    "output": assemble.Output,
}
KINDS = {
    **{f"core {name}": cls for name, cls in assemble.CORES.items()},
    **{f"readout {name}": cls for name, cls in assemble.READOUTS.items()},
    **{f"shifter {name}": cls for name, cls in assemble.SHIFTERS.items()},
    **{f"modulator {name}": cls for name, cls in assemble.MODULATORS.items()},
    **PARTS,
}
SHARED = "cores of layers: stacked2d, rotation2d, factorized3d, basic3d"
NEEDED = "needed"


@cache
def rows():
    """Tables of the page by heading: first cell -> the other cells."""
    tables = {}
    for part in re.split(r"^##+ ", PAGE.read_text(), flags=re.M):
        heading = part.splitlines()[0].replace("`", "")
        lines = re.findall(r"^\| `(.+?)` \| (.+) \|$", part, re.M)
        tables[heading] = {name: rest.split(" | ") for name, rest in lines}
    return tables


def shown(value):
    """A default as the page has it."""
    if value is inspect.Parameter.empty:
        return NEEDED
    name = type(value).__name__
    return f"`{name if name == 'CortexPredictor' else repr(value)}`"


def options(cls):
    """Options of a part with their defaults, but what the package itself gives."""
    fields = inspect.signature(cls).parameters
    ours = ("parent", "name", "input_channels", "video_channels")
    return {k: shown(v.default) for k, v in fields.items() if k not in ours}


def check(heading, expected):
    """Every expected line is there with its default and words, and no other."""
    listed = {name: cells[0] for name, cells in rows().get(heading, {}).items()}
    lines = [f"| `{k}` | {v} | ... |" for k, v in expected.items() if k not in listed]
    assert not lines, f"{PAGE.name}, under '{heading}', lacks:\n" + "\n".join(lines)
    assert listed == expected
    assert all(len(cells[1]) > 3 for cells in rows()[heading].values())


@pytest.mark.parametrize(
    "section", ["data", "model", "readout", "train", "validate", "mesh"]
)
def test_every_field_of_a_recipe_is_listed(section):
    fields = base()[section].to_dict()
    names = {f"{section}.{name}": f"`{v!r}`" for name, v in fields.items()}
    check(f"config.{section}", names)


def test_no_section_of_a_recipe_is_forgotten():
    sections = [f"config.{k}" for k, v in base().items() if hasattr(v, "items")]
    assert set(sections) == {h for h in rows() if h.startswith("config.")}


@pytest.mark.parametrize("heading", KINDS)
def test_every_option_of_a_part_is_listed(heading):
    expected = options(KINDS[heading])
    if issubclass(KINDS[heading], LayeredCore):
        shared = options(LayeredCore)
        expected = {k: v for k, v in expected.items() if shared.get(k) != v}
    check(heading, expected)


def test_what_layered_cores_share_and_how_a_model_is_asked_are_listed():
    check(SHARED, options(LayeredCore))
    check("asking", options(Asking))
    switches = {k: v for k, v in assemble.EMPTY.items() if isinstance(v, bool)}
    check("the whole model", {k: f"`{v!r}`" for k, v in switches.items()})


def flat(config, above=""):
    """Fields by their dotted names."""
    fields = {}
    for key, value in config.items():
        name = f"{above}{key}"
        plain = hasattr(value, "items") and name != "model.changes"
        value = value.to_dict() if name == "model.changes" else value
        fields |= flat(value, f"{name}.") if plain else {name: value}
    return fields


def changed(config):
    """What a recipe changes of the defaults, in one cell of the table."""
    usual, cells = flat(base()), []
    for name, value in flat(config).items():
        if name == "train.penalties" and value:
            words = ", ".join(f"`{penalty}`" for _, penalty, _ in value)
            cells.append(f"penalties {words}")
        elif value != usual[name] and name != "model.name":
            cells.append(f"`{name}={value!r}`".replace("|", r"\|"))
    return "; ".join(cells) or "nothing"


@pytest.mark.parametrize("name", configs.recipes())
def test_every_recipe_is_listed_with_what_it_changes(name):
    config = configs.load(name)
    expected = [f"`{config.model.name}`", changed(config)]
    there = rows()["Recipes"].get(name, ["", "", ""])
    line = f"| `{name}` | {expected[0]} | ... | {expected[1]} |"
    assert [there[0], there[2]] == expected, f"{PAGE.name} needs the line:\n{line}"
    assert len(there[1]) > 3


def test_no_recipe_is_listed_that_is_not_there():
    assert set(rows()["Recipes"]) == set(configs.recipes())


def test_the_page_names_models_and_recipes_that_exist():
    text = PAGE.read_text()
    for name in re.findall(r"--config ([a-z]\w*)(?![\w/.])", text):
        assert name in configs.recipes()
    for name in re.findall(r"zoo show ([a-z]\w*)", text):
        assert name in assemble.PRESETS
