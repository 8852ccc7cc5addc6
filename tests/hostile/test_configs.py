"""Configs that cannot be meant: refused in words before anything is written."""

import json

import pytest

from sensorium_jax.cli import main
from sensorium_jax.errors import UserError
from sensorium_jax.run import config as configs

WRONG = {
    "frozen": "(",
    "decay_rules": (("core/[", 0.1),),
    "rate_rules": (("*", 0.1),),
    "penalties": (("core/(?P<a", "l1", 1.0),),
    "bounds": (("readout/mu)", -1.0, 1.0),),
}
FILES = {
    "syntax": "def get_config(:\n",
    "another import": "import no_such_module_here\n",
    "unknown name": "def get_config():\n    return nothing\n",
    "no function": "x = 1\n",
    "no config": "def get_config():\n    return 3\n",
    "division": "def get_config():\n    return 1 / 0\n",
    "endless": "def get_config():\n    return get_config()\n",
    "an assertion": "def get_config():\n    assert False, 'no'\n",
    "an error of its own": (
        "class Odd(Exception):\n    pass\ndef get_config():\n    raise Odd\n"
    ),
    "leaves": "raise SystemExit(0)\n",
    "empty": (
        "from ml_collections import ConfigDict\n"
        "def get_config():\n    return ConfigDict()\n"
    ),
    "a section of text": (
        "from sensorium_jax.configs.base import base\n"
        "def get_config():\n"
        "    config = base()\n"
        "    config.unlock()\n"
        "    del config.train\n"
        "    config.train = 'fast'\n"
        "    return config\n"
    ),
    "steps in words": (
        "from sensorium_jax.configs.base import base\n"
        "def get_config():\n"
        "    config = base()\n"
        "    with config.train.ignore_type():\n"
        "        config.train.steps = 'many'\n"
        "    return config\n"
    ),
}


@pytest.mark.parametrize("field", WRONG)
def test_patterns_that_do_not_compile_are_named(field):
    config = configs.load("ln2023")
    config.train[field] = WRONG[field]
    with pytest.raises(UserError, match=f"config.train.{field} has .* no regular"):
        configs.check_regexes(config)


@pytest.mark.parametrize("change", ["frozen=(", "sinks=('jsnl',)", "sinks=(3,)"])
def test_a_training_with_such_a_field_leaves_nothing(tmp_path, capsys, change):
    words = ["train", "--config=ln2023", f"--workdir={tmp_path}/run", "--json"]
    code = main([*words, f"--config.train.{change}"])
    assert code in (1, 2) and not (tmp_path / "run").exists()
    said = json.loads(capsys.readouterr().out)["error"]
    assert "config.train." in said or "sinks" in said


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_no_configs_are_refused(tmp_path, capsys, name):
    path = tmp_path / "recipe.py"
    path.write_text(FILES[name])
    words = ["train", f"--config={path}", f"--workdir={tmp_path}/run", "--json"]
    assert main(words) in (1, 2)
    said = json.loads(capsys.readouterr().out)["error"]
    assert "config" in said and len(said) < 600, said
    assert not (tmp_path / "run").exists()


def test_every_recipe_has_fields_of_the_right_types():
    names = configs.recipes()
    assert len(names) > 5
    for name in names:
        configs.check_types(configs.load(name))
