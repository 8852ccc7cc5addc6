"""What the judges of either year expect: file names, mice, trials, lengths, neurons.

Pictures go into the csv files of 2022, films into the parquet files of 2023. Elsewhere
in this room only these two kinds are told apart.
"""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.data.session import Session
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.rules import FILMS, PICTURES, RELEASE_OF, RELEASES, UNUSED

SCORED = "Video-9b4f6a1a067fe51e15306b9628efea20"  # the five mice of the final ranking
NAMES = ("server", "kit")


class Track(NamedTuple):
    """One competition: what it shows, and the server's names of its files by tier."""

    kind: str
    files: Mapping[str, str]


_PICTURES = {
    "test": "submission_file_live_test.csv",
    "final_test": "submission_file_final_test.csv",
}
TRACKS = {
    "main": Track(
        FILMS,
        {
            "live_test_main": "predictions_live_main.parquet.brotli",
            "final_test_main": "predictions_final_main.parquet.brotli",
        },
    ),
    "bonus": Track(
        FILMS,
        {
            "live_test_bonus": "predictions_live_test_bonus_ood.parquet.brotli",
            "final_test_bonus": "predictions_final_test_bonus_ood.parquet.brotli",
        },
    ),
    "sensorium": Track(PICTURES, _PICTURES),
    "sensorium+": Track(PICTURES, _PICTURES),
}
SCANS = {"sensorium": "26872-17-20", "sensorium+": "27204-5-13"}  # of 2022


def track(name: str) -> Track:
    """The track of a name."""
    if name not in TRACKS:
        raise unknown("track", name, TRACKS, "Give --track.")
    return TRACKS[name]


def year(kind: str) -> int:
    """The year whose file format holds pictures or films."""
    return int(RELEASE_OF[kind])


def file_name(name: str, tier: str, names: str = "server") -> str:
    """The file of one tier of a track: the server's name, or the starter kit's."""
    chosen = track(name)
    if names not in NAMES:
        raise unknown("kind of file names", names, NAMES, "Give --names.")
    if chosen.kind == PICTURES:
        return chosen.files.get(tier, f"submission_file_{tier}.csv")
    if names == "server" and tier in chosen.files:
        return chosen.files[tier]
    if tier in chosen.files:
        kit = "ood" if name == "bonus" else name
        return f"predictions_file_{tier}_{kit}_track.parquet.brotli"
    return f"predictions_{tier}.parquet.brotli"


def tier_of(path: Any) -> str | None:
    """The tier that a file's name speaks of; None where it says nothing."""
    base = PurePath(str(path)).name
    tiers = [tier for rules in RELEASES.values() for tier in rules.tiers]
    for name in TRACKS:
        for tier in dict.fromkeys(tiers):
            if base in {file_name(name, tier, kind) for kind in NAMES}:
                return tier
    return None


class JudgedMouse(NamedTuple):
    """One mouse as a submission names it."""

    session: Session
    rows: Mapping[Any, int]  # row of the trial table by what stands in trial_indices

    @property
    def ids_n(self) -> np.ndarray:
        """Unit ids in the order of the recording."""
        return self.session.unit_ids_n

    def tier(self, key: Any) -> str | None:
        """The tier of a trial; None where the mouse has no such trial."""
        row = self.rows.get(key)
        return None if row is None else str(self.session.tiers[row])

    def keys(self, tier: str) -> list[Any]:
        """Every trial of a tier, in the order of the recording."""
        return [k for k, row in self.rows.items() if self.session.tiers[row] == tier]

    def frames(self, key: Any) -> int:
        """How many frames a submission holds of a trial."""
        length = self.session.reader.length(self.rows[key])
        return max(length - self.session.rules.skip, 0)


def mouse(session: Session) -> JudgedMouse:
    """A session's trials by the number that a submission gives them."""
    if session.rules.kind == FILMS:
        return JudgedMouse(session, {int(f): i for i, f in enumerate(session.files)})
    given = session.columns.get("trial_idx", session.files)
    keys = np.asarray(given).tolist()
    return JudgedMouse(session, {str(f): i for i, f in enumerate(keys)})


def mice(sessions: Sequence[Session], kind: str) -> dict[str, JudgedMouse]:
    """The mice by name that saw pictures, or films."""
    return {s.name: mouse(s) for s in sessions if s.rules.kind == kind}


def image_ids(session: Session) -> np.ndarray:
    """The picture of every trial of 2022; trials with one number show one picture."""
    if "frame_image_id" not in session.columns:
        raise UserError(
            f"{session.where} has no meta/trials/frame_image_id.npy, which says what "
            "each trial shows. Fetch the recording again, or add the file."
        )
    return np.asarray(session.columns["frame_image_id"])


def scored(sessions: Sequence[Session], tier: str, kind: str) -> list[Session]:
    """The sessions that a file of a tier must hold.

    Of the 2023 release only the replacement mice are ranked; of other recordings every
    mouse that has the tier.
    """
    fit = [s for s in sessions if s.rules.kind == kind]
    if not fit:
        other = year(sessions[0].rules.kind)
        raise UserError(
            f"The recordings are of {other}, the track is of {year(kind)}. Give "
            "recordings of that year with --data, or another --track."
        )
    ranked = [s for s in fit if s.name.endswith(SCORED)]
    if ranked and tier in RELEASES["2023"].hidden:
        fit = ranked
    having = [s for s in fit if np.any(s.tiers == tier)]
    if not having:
        tiers = {str(t) for s in fit for t in s.tiers} - {UNUSED}
        raise unknown("tier", tier, tiers, "No mouse of the recordings has it.")
    return having


def picture_mouse(sessions: Sequence[Session], name: str | None = None) -> Session:
    """The one mouse that a file of 2022 is about, by part of its name."""
    fit = [s for s in sessions if name is None or name in s.name]
    if len(fit) != 1:
        raise UserError(
            f"{len(fit)} of the recorded mice fit '{name or 'any'}': "
            f"{', '.join(s.name for s in sessions)}. A file of 2022 holds one mouse; "
            "name it with --mouse."
        )
    return fit[0]
