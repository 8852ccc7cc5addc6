"""What every verb's --help says beside its flags: an example, and defaults."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from sensorium_jax import configs

EXAMPLES = {
    "doctor": "sensorium doctor --quick",
    "demo": "sensorium demo",
    "info": "sensorium info data/demo --figure page.png",
    "check": "sensorium check data/2023",
    "download": "sensorium download 2023-new --to data/2023 --dry-run",
    "convert": "sensorium convert data/2023 data/2023.store",
    "import": "sensorium import session.nwb mine",
    "simulate": "sensorium simulate data/tiny --preset tiny",
    "train": "sensorium train --config own --workdir runs/demo "
    "--config.data.root=data/demo --config.train.budget=4min",
    "ensemble": "sensorium ensemble runs/a runs/b --out models/both",
    "zoo": "sensorium zoo list",
    "zoo list": "sensorium zoo list",
    "zoo show": "sensorium zoo show factorized2023 --data data/2023",
    "zoo import": "sensorium zoo import model.pth --arch gru2023 --out models/mine",
    "zoo fetch": "sensorium zoo fetch cnn2022",
    "launch": "sensorium launch experiments/campaigns/scaling.py --workdir runs/many",
    "runs": "sensorium runs runs/many --sort score",
    "score": "sensorium score --data data/demo --workdir runs/demo --tier all",
    "report": "sensorium report runs/demo",
    "predict": "sensorium predict --data data/demo --workdir runs/demo --out rates",
    "study": "sensorium study --data data/demo --workdir runs/study",
    "submit": "sensorium submit --data data/2023 --workdir runs/f --out upload",
    "evaluate": "sensorium evaluate upload/predictions_main.zip --data data/demo",
    "tune": "sensorium tune --workdir runs/demo --neurons 0-19 --out out/tune",
    "mei": "sensorium mei --workdir runs/demo --neurons 0-19 --out out/mei --mask 8px",
    "rf": "sensorium rf --workdir runs/demo --neurons 0-19 --out out/rf",
    "screen": "sensorium screen --workdir runs/demo --data data/demo --out out/screen",
    "state": "sensorium state --workdir runs/demo --signal 1 --levels 0 1 2 --out out",
    "invariance": "sensorium invariance --workdir runs/demo --neurons 3 --out out/ring",
    "cluster": "sensorium cluster --workdir runs/demo --clusters 8 --out out/kinds",
    "assign": "sensorium assign --workdir runs/demo --clusters out/kinds --out out/new "
    "--responses recorded.npy",
    "reconstruct": "sensorium reconstruct --workdir runs/demo --data data/demo "
    "--out out/movie",
    "probe": "sensorium probe --workdir runs/demo --data data/demo --out out/probe",
    "completion": 'eval "$(sensorium completion bash)"',
}


def explain(parser: argparse.ArgumentParser) -> None:
    """Give every verb its example, and every flag the default that it does not tell."""
    for name, verb in verbs(parser):
        if name in EXAMPLES:
            words = [verb.epilog, f"example:\n  {EXAMPLES[name]}"]
            verb.epilog = "\n\n".join(filter(None, words))
            verb.formatter_class = argparse.RawDescriptionHelpFormatter
        for action in verb._actions:
            _tell_default(action)


def _tell_default(action: argparse.Action) -> None:
    """Say in brackets what holds without the flag, unless its words end so already."""
    value, words = action.default, action.help or ""
    plain = isinstance(value, (str, int, float)) and not isinstance(value, bool)
    if plain and value not in ("", argparse.SUPPRESS) and not words.endswith(")"):
        told = f"{value:g}" if isinstance(value, float) else str(value)
        action.help = f"{words} ({told})".strip()


def verbs(
    parser: argparse.ArgumentParser, above: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every verb under its words, such as `score` and `zoo show`."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, verb in action.choices.items():
                yield f"{above}{name}", verb
                yield from verbs(verb, f"{above}{name} ")


def recipes() -> str:
    """Names of the recipes, without reading any."""
    folder = Path(configs.__file__).parent
    names = {p.stem for p in folder.rglob("*.py")} - {"__init__", "base"}
    return ", ".join(sorted(names))
