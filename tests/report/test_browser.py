"""Pages in headless Chromium, at two widths and in both schemes; axe-core looks too."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from sensorium_jax.report import page
from sensorium_jax.report.contents import Runs
from sensorium_jax.scoring.tables import Comparison
from support import reports

LOOK = Path(__file__).with_name("look.js")
pytestmark = pytest.mark.pages


def one():
    return page.one(reports.run())


def several():
    runs = [reports.run(name=f"run {i} of <many>", seed=i) for i in range(5)]
    difference = (0.1, 0.0123, (0.01, 0.02), 0.01, 0.7, {})
    others = {run.name: Comparison(run.name, *difference) for run in runs[1:]}
    return page.several(Runs(runs, dict.fromkeys(runs[0].scores.tiers, others)))


@pytest.mark.parametrize("make", [one, several])
def test_a_browser_finds_nothing_wrong(make, tmp_path):
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    assert chromium, "Chromium is not installed: apt-get install chromium"
    path = tmp_path / "page.html"
    path.write_text(make())
    command = ["node", str(LOOK), chromium, str(path), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    looked = json.loads(done.stdout)
    assert len(looked) == 4 and len(list(tmp_path.glob("*.png"))) == 4
    for name, found in looked.items():
        assert found["said"] == [] and found["overflow"] <= 0, (name, found)
        assert found["bad"] == [] and found["smallest"] >= 10, (name, found)
        assert found["violations"] == [], (name, found)
        assert found["saved"], name
        assert found["played"] is not False and found["still"] is not False, name
        assert (found["played"] is None) == (make is several)
