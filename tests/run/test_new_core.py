"""The page about a core of one's own is true: its code and commands are run."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from sensorium_jax import trees
from sensorium_jax.cli import main
from sensorium_jax.zoo import outside
from sensorium_jax.zoo.load import load
from support.quick import quickly

PAGE = Path(__file__).parents[2] / "docs/new-core.md"
LESS = {  # so that the same commands take seconds less
    "simulate": ["--trials", "12"],
    "train": [
        "--config.mesh.mouse=1",  # programs for one device compile in half the time
        "--config.mesh.data=1",
        "--config.train.batch=2",
        "--config.train.frames=12",
        "--config.validate.trials=2",
    ],
    "score": ["--no-linear"],
}


def block(language):
    """The first block of code in that language."""
    found = re.search(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    assert found
    return found.group(1)


# Of ml_collections, which reads recipes.
@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
def test_the_page_trains_scores_and_submits(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(outside.ALLOWED, raising=False)
    Path("my_core.py").write_text(block("python"))
    for line in block("sh").replace("\\\n", " ").splitlines():
        program, *words = shlex.split(line)
        if program == "export":
            # Nobody has allowed it yet.
            refused = ["score", "--data", "data/tiny", "--workdir", "runs/mine"]
            assert main(refused) == 1
            assert f"{outside.ALLOWED}=my_core.py:MyCore" in capsys.readouterr().err
            monkeypatch.setenv(*words[0].split("="))
            continue
        assert program == "sensorium"
        words += LESS.get(words[0], [])
        with quickly():
            assert main(words) == 0, capsys.readouterr().err
    twin = load("runs/mine")
    core = trees.named_leaves(twin.variables["params"]["core"])
    assert core["space/kernel"].shape == (9, 9, 1, 8) and twin.lost_frames == 7
    assert all(np.isfinite(leaf).all() for leaf in core.values())
    assert list(Path("submission").iterdir())
