import numpy as np
import pytest

from sensorium_jax.data.store.build import convert
from sensorium_jax.run.train import train
from support.processes import runs
from support.processes.web import served
from support.recordings import tiny

STEPS = 2
RECIPE = """
from support.recordings import tiny

def get_config():
    config = tiny.recipe("ln2023", "{root}", steps={steps})
    config.model.changes = {{
        "core": {{**tiny.NARROW_2D, "layers": 1}}, "shifter": None,
    }}
    return config
"""


def trained(folder, root):
    """What a run on this path or URL ends with: every array, and its score."""
    folder.mkdir()
    recipe = folder / "recipe.py"
    recipe.write_text(RECIPE.format(root=root, steps=STEPS))
    outcome = train(str(recipe), str(folder / "run"))
    assert outcome.data["step"] == STEPS and np.isfinite(outcome.data["score"])
    return runs.state(folder, STEPS), outcome.data["score"]


# Of ml_collections, which reads the recipe.
@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
def test_a_store_over_http_trains_as_a_local_one(tmp_path):
    tree = tiny.films(tmp_path / "tree", 2)
    convert(tree, tmp_path / "store", durable=False)
    local, score = trained(tmp_path / "local", tmp_path / "store")
    with served(tmp_path) as url:
        remote, judged = trained(tmp_path / "remote", f"{url}/store")
    runs.same(local, remote)
    assert judged == score
    assert any(name.startswith("params") for name in local), sorted(local)
