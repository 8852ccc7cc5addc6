"""Reports print, serialize, tabulate and plot themselves, all with the same numbers."""

import csv
import json

import numpy as np
import pytest

from sensorium_jax.scoring import paired, suites, tables
from sensorium_jax.scoring.accumulate import measure
from sensorium_jax.scoring.predict import stream
from sensorium_jax.scoring.tables import Report
from sensorium_jax.scoring.trials import planned
from support.recordings.of_lengths import FIT, session

KEYS = (  # on which scripts rely
    *("single_trial", "single_trial_interval", "single_trial_over_mice"),
    *("single_trial_over_mice_interval", "to_average", "to_average_over_mice"),
    *("ceiling", "ceiling_over_mice", "ceiling_from", "ceiling_from_repeats"),
    *("fraction_of_ceiling", "fraction_of_ceiling_interval", "feve", "feve_median"),
    *("neurons", "undefined", "trials", "stimuli_shown"),
)
WHOLE = ("poisson", "bits_per_spike", "bits_per_spike_median", "depths")


class Answers:
    def __init__(self, power):
        self.power = power

    def respond(self, video_bthwc, behavior_btk, *_, first_frame_b=0):
        x_bt = np.abs(behavior_btk[..., 0]) ** self.power
        return np.stack([x_bt + n for n in range(3)], -1)


@pytest.fixture(scope="module")
def report():
    mice = [session((30,) * 6, name=n, same=[(0, 1)]) for n in ("a<b", "second")]
    plans = [planned(s, np.arange(6)) for s in mice]
    twins = [Answers(power) for power in (1, 2)]
    first, second = (measure(stream(t, plans), plans, fit=FIT) for t in twins)
    against = paired.compare(first, second, model="other")
    scores = suites.report(first)._replace(against=against)
    return Report({"oracle": scores, "test": scores._replace(against=None)})


def test_json_has_the_names_of_old_and_the_null(report):
    found = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert list(found) == ["oracle", "test"]
    one = found["oracle"]
    assert {*KEYS, *WHOLE, "null", "null_interval", "mice", "stimuli"} <= set(one)
    assert one["null"] == report.tiers["oracle"].all.null
    low, high = one["single_trial_interval"]
    assert low < one["single_trial"] < high
    assert {*KEYS, "null"} <= set(one["mice"]["a<b"])
    assert one["against"]["model"] == "other"
    assert set(one["against"]["mice"]) == {"a<b", "second"}
    assert "against" not in found["test"]


def test_text_has_a_table_per_tier(report):
    text = str(report)
    tiers = text.split("\n\n")
    assert len(tiers) == 2
    heads, whole, *_ = tiers[0].splitlines()
    assert heads.split()[0] == "oracle" and "null" in heads.split()
    scores = report.tiers["oracle"]
    at = heads.index("null") + len("null")
    assert whole[:at].endswith(f"{scores.all.null:.3f}")
    for name in ("  a<b", "  second", "  unknown", "over mice", "against other"):
        assert name in tiers[0]
    assert "against" not in tiers[1]
    assert len(repr(report)) < 300 and "single_trial=" in repr(report)


def test_html_has_the_same_cells_and_escapes_them(report):
    page = report._repr_html_()
    scores = report.tiers["oracle"]
    rows = 2 * (1 + len(scores.parts()))
    assert page.count("<table>") == 2 and page.count("<tr>") == rows
    assert "a&lt;b" in page and "a<b" not in page
    assert f"<td>{scores.all.single_trial:.3f}</td>" in page
    assert scores.all._repr_html_().count("<tr>") == 2


def test_rows_go_into_a_csv(report, tmp_path):
    tables.write_csv(tmp_path / "x.csv", report.rows())
    assert [p.name for p in tmp_path.iterdir()] == ["x.csv"]
    with open(tmp_path / "x.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["tier"], r["of"], r["name"]) for r in rows[:4]] == [
        ("oracle", "all", "all"),
        ("oracle", "mouse", "a<b"),
        ("oracle", "mouse", "second"),
        ("oracle", "stimulus", "unknown"),
    ]
    scores = report.tiers["oracle"]
    assert float(rows[0]["null"]) == scores.all.null
    assert float(rows[0]["poisson"]) == scores.poisson
    assert rows[1]["poisson"] == ""


def test_figures_hold_score_null_and_ceiling(report):
    for shown in (report, report.tiers["oracle"], report.tiers["oracle"].all):
        (axis,) = shown.figure().axes
        labels = axis.get_legend_handles_labels()[1]
        assert any("null" in label for label in labels)
        assert any("ceiling" in label for label in labels)
        lengths = [bar.get_width() for bar in axis.patches]
        assert report.tiers["oracle"].all.single_trial in lengths
