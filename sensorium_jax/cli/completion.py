"""The verb completion: a script after which a shell completes verbs and flags."""

import argparse
from typing import Any

from sensorium_jax.cli.explained import verbs as every_verb
from sensorium_jax.cli.verb import add
from sensorium_jax.run import Outcome

SHELLS = ("bash", "zsh")
SCRIPT = """\
_sensorium() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}"
  local verb="${{COMP_WORDS[1]}}" words=""
  [[ $verb == zoo ]] && verb="zoo ${{COMP_WORDS[2]}}"
  if [[ $COMP_CWORD -eq 1 ]]; then
    words="{verbs}"
  elif [[ $COMP_CWORD -eq 2 && ${{COMP_WORDS[1]}} == zoo ]]; then
    words="{actions}"
  else
    case "$verb $before" in
{choices}
    esac
  fi
  if [[ -z $words && $word == -* ]]; then
    case "$verb" in
{flags}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _sensorium sensorium
"""


def completion_verb(verbs: Any, parser: argparse.ArgumentParser) -> None:
    """For the completion of all others; parser is that of the whole command."""

    def call(a, _):
        words = script(parser, a.shell)
        return Outcome({"shell": a.shell, "script": words}, words.rstrip())

    words = "Print a script after which bash or zsh completes verbs, flags and choices."
    verb = add(verbs, "completion", words, call)
    verb.add_argument(
        "shell", choices=SHELLS, help="whose startup file the line goes into"
    )


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The functions that a shell reads; files are completed where no word is known."""
    every = dict(every_verb(parser))
    names = [name for name in every if " " not in name]
    actions = [name.partition(" ")[2] for name in every if " " in name]
    choices, flags = [], []
    for name, verb in every.items():
        known = verb._option_string_actions
        flags.append(f'      "{name}") words="{" ".join(known)}" ;;')
        for flag, action in known.items():
            if action.choices:
                words = " ".join(map(str, action.choices))
                choices.append(f'      "{name} {flag}") words="{words}" ;;')
    body = SCRIPT.format(
        verbs=" ".join(names),
        actions=" ".join(actions),
        choices="\n".join(choices),
        flags="\n".join(flags),
    )
    first = "autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else ""
    return first + body
