"""What the command says of itself: help, completion, and to which terminals."""

import argparse
import os
import shlex
import subprocess
import sys

import pytest

from sensorium_jax import progress
from sensorium_jax.cli import build, main
from sensorium_jax.cli.completion import script
from sensorium_jax.cli.explained import EXAMPLES, recipes, verbs
from sensorium_jax.run import config

VERBS = dict(verbs(build()))


@pytest.mark.parametrize("name", VERBS)
def test_help_has_an_example_that_is_understood(name):
    assert name in EXAMPLES, f"give {name} an example in cli/explained.py"
    assert f"example:\n  {EXAMPLES[name]}\n" in VERBS[name].format_help()
    words = shlex.split(EXAMPLES[name].removeprefix('eval "$(').removesuffix(')"'))
    assert words[0] == "sensorium" and " ".join(words[1:]).startswith(name)
    _, rest = build().parse_known_args(words[1:])  # exits on what it cannot take
    assert all(word.startswith("--config.") for word in rest)


@pytest.mark.parametrize("name", VERBS)
def test_help_tells_what_holds_without_a_flag(name):
    for action in VERBS[name]._actions:
        if isinstance(action, argparse._SubParsersAction):
            continue
        assert action.help, f"{name} {action.option_strings or action.dest}: no words"
        plain = isinstance(action.default, (str, int, float))
        if plain and action.option_strings and action.nargs != 0 and action.default:
            assert action.help.endswith(")"), action.help


def test_help_fits_narrow_terminals(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    for verb in VERBS.values():
        assert verb.format_help()


def test_recipes_are_listed_where_they_are_chosen():
    assert recipes().split(", ") == sorted(config.recipes())
    words = " ".join(VERBS["train"].format_help().split())
    assert recipes() in words


def completed(line):
    """What bash offers for the last word of a line."""
    words = line.split(" ")
    program = script(build(), "bash") + (
        f"COMP_WORDS=({' '.join(shlex.quote(w) for w in words)})\n"
        f"COMP_CWORD={len(words) - 1}\n_sensorium\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    run = subprocess.run(
        ["bash", "--norc", "-c", program], capture_output=True, text=True, check=True
    )
    assert not run.stderr
    return run.stdout.split()


@pytest.mark.skipif(os.name != "posix", reason="needs bash")
def test_bash_completes_verbs_flags_and_choices(capsys):
    assert completed("sensorium sc") == ["score", "screen"]
    assert completed("sensorium zoo sh") == ["show"]
    assert completed("sensorium zoo import --a") == ["--arch"]
    assert completed("sensorium score --dr") == ["--draws"]
    assert completed("sensorium score --ceiling t") == ["truth"]
    assert completed("sensorium score --data x") == []  # files, by bash itself
    assert main(["completion", "zsh"]) == 0
    out = capsys.readouterr().out
    assert "bashcompinit" in out and "_sensorium sensorium" in out


@pytest.mark.parametrize("term, redraws", [("xterm", True), ("dumb", False)])
def test_dumb_terminals_get_no_bar(monkeypatch, term, redraws):
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert progress.watched() is redraws


BAR = """
from sensorium_jax.progress import bar
with bar("Counting", 2) as b:
    b.add(2)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("colors", [True, False])
def test_no_color_is_obeyed(colors):
    mine, theirs = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "60"}
    environment |= {} if colors else {"NO_COLOR": "1"}
    subprocess.run([sys.executable, "-c", BAR], stderr=theirs, env=environment)
    os.close(theirs)
    said = os.read(mine, 100_000).decode()
    assert "Counting" in said and ("\x1b[38;" in said or "\x1b[3" in said) is colors
