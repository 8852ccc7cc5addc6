"""The command `sensorium evaluate`: the judges' numbers, and a leaderboard."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensorium_jax import progress
from sensorium_jax.data.session import Session
from sensorium_jax.errors import unknown
from sensorium_jax.io import atomic
from sensorium_jax.run import Outcome
from sensorium_jax.run.score import opened, true_rates
from sensorium_jax.scoring import accumulate, suites, tables, trials
from sensorium_jax.scoring.tables import TierScores
from sensorium_jax.submission.read import Submission, submissions
from sensorium_jax.text import align, cell

NUMBERS = (
    "single_trial",
    "single_trial_median",
    "single_trial_over_mice",
    "null",
    "to_average",
    "to_average_over_mice",
    "ceiling",
    "feve",
)
COLUMNS = (
    *("rank", "file", "year", "tier"),
    *NUMBERS,
    *("mice", "trials", "undefined"),
)


@dataclass(frozen=True)
class Verdict:
    """The numbers of one file."""

    file: str
    year: int  # whose format it has
    tier: str
    scores: TierScores
    hidden: Sequence[str]  # mice whose responses nobody has
    missing: Sequence[str]  # mice of the tier that the file leaves out

    def as_dict(self) -> dict[str, Any]:
        """What JSON has: the numbers beside what they are of."""
        found = self.scores.as_dict()
        for numbers in found["mice"].values():
            numbers["stimuli"] = numbers["stimuli_shown"]
        names = {"file": self.file, "year": self.year, "tier": self.tier}
        left = {"hidden": list(self.hidden), "missing": list(self.missing)}
        return {**names, **found, **left}

    def lines(self) -> list[str]:
        """The table of the tier."""
        return [self.file, *self.scores.lines(self.tier)]

    def __str__(self) -> str:
        """The table of the tier."""
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return self.scores.html(self.tier)


def evaluate(
    files: Sequence[str],
    data: str,
    *,
    ground_truth: str | None = None,
    tier: str | None = None,
    mouse: str | None = None,
    stimuli: str = "classifier",
    ceiling: str = "auto",
    rules: str | None = None,
    csv: str | None = None,
) -> Outcome:
    """Score files and rank those of one tier by single-trial correlation."""
    if csv is not None:
        atomic.need_place(csv, folder=False)
    sessions = opened(data, rules).sessions
    tiers = {str(t) for s in sessions for t in s.tiers} - {"none"}
    if tier is not None and tier not in tiers:
        raise unknown("tier", tier, tiers, "No mouse of the recordings has it.")
    truth: Any = ground_truth
    if ground_truth is not None and not Path(ground_truth).is_file():
        truth = opened(ground_truth, rules).sessions
    found: list[Verdict] = []
    for file in files:
        options: dict[str, Any] = {"truth": truth, "tier": tier, "mouse": mouse}
        found += verdicts(file, sessions, stimuli=stimuli, ceiling=ceiling, **options)
    found.sort(key=lambda v: (v.year, v.tier, -v.scores.all.single_trial))
    rows = list(_ranked(found))
    if csv is not None:
        tables.write_csv(csv, rows)
    entries = [row | v.as_dict() for row, v in zip(rows, found, strict=True)]
    return Outcome({"files": entries}, "\n".join([*_table(rows), *_notes(found)]))


def verdicts(
    path: str | Path,
    sessions: Sequence[Session],
    *,
    stimuli: str = "classifier",
    ceiling: str = "auto",
    draws: int = suites.DRAWS,
    **options: Any,
) -> Iterator[Verdict]:
    """Score a submission, or each in a zip; a row of predictions in memory at a time.

    options go to submission.read.submissions: truth, tier, mouse. Repeats are found by
    equal films, or by picture numbers.
    """
    for submission in submissions(path, sessions, **options):
        s = submission
        scores = _scores(s, sessions, stimuli, ceiling, draws)
        yield Verdict(s.file, s.year, s.tier, scores, s.hidden, s.missing)


def _scores(
    submission: Submission,
    sessions: Sequence[Session],
    stimuli: str,
    ceiling: str,
    draws: int,
) -> TierScores:
    mice = [s for s in sessions if s.name in submission.rows]
    plans = [trials.planned(s, submission.rows[s.name], stimuli=stimuli) for s in mice]
    count = sum(len(plan.rows) for plan in plans)
    stream = progress.track(submission.predictions, "Scoring", count)
    measured = accumulate.measure(stream, plans, truth=true_rates(mice, ceiling))
    return suites.report(measured, draws=draws)


def _ranked(verdicts: Sequence[Verdict]) -> Iterator[dict[str, Any]]:
    rank, last = 0, None
    for v in verdicts:
        rank = rank + 1 if (v.year, v.tier) == last else 1
        last = (v.year, v.tier)
        row = {"rank": rank, "file": v.file, "year": v.year, "tier": v.tier}
        row |= {name: getattr(v.scores.all, name) for name in NUMBERS}
        counts = {"trials": v.scores.all.trials, "undefined": v.scores.all.undefined}
        yield row | {"mice": len(v.scores.mice)} | counts


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    used = [c for c in COLUMNS if any(row[c] is not None for row in rows)]
    return align([used, *([cell(row[c], 4) for c in used] for row in rows)], left=4)


def _notes(verdicts: Sequence[Verdict]) -> list[str]:
    lines = []
    for v in verdicts:
        for word, mice in (("hidden", v.hidden), ("not in the file", v.missing)):
            if mice:
                lines.append(f"{v.file}: {word}, not scored: {', '.join(mice)}")
        a = v.scores.all
        if a.undefined:
            words = f"{a.undefined} of {a.neurons} neurons have no correlation"
            lines.append(f"{v.file}: {words}: scored 0")
        if a.null_interval is None:
            lines.append(f"{v.file}: null 0: {tables.NO_NULL}")
    return lines
