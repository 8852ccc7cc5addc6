"""Fetches the official recordings, one zip after the other, from their publishers.

Addresses are those of the organizers' repositories on GIN. The Deep Lake mirrors are
out of scope.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sensorium_jax.errors import UserError, unknown
from sensorium_jax.io.get import fetch_file
from sensorium_jax.io.served import ask
from sensorium_jax.io.unzip import BadArchive, unzip

LICENSE = (
    "The recordings are licensed CC BY-NC-ND 4.0 by their authors: give credit, no "
    "commercial use, do not share changed copies (a converted store is one). The "
    "organizers ask to be asked before you publish results on them."
)
GIN = "https://gin.g-node.org"
ADDRESSES = {
    "2023-new": f"{GIN}/pollytur/sensorium_2023_dataset/raw/master",
    "2023-old": f"{GIN}/pollytur/Sensorium2023Data/raw/master",
    "2022": f"{GIN}/cajal/Sensorium2022/raw/master",
}
_NEW = "Video-9b4f6a1a067fe51e15306b9628efea20"
_OLD = "Video-8744edeac3b4d1ce16b680916b5267ce"
_GRAY = "GrayImageNet-94c6ff995dac583098847cfecd43e7b6"
RECORDINGS = {
    "2023-new": tuple(
        f"dynamic{scan}-{_NEW}"
        for scan in ("29515-10-12", "29623-4-9", "29647-19-8", "29712-5-9", "29755-2-8")
    ),
    "2023-old": tuple(
        f"dynamic{scan}-{_OLD}"
        for scan in ("29156-11-10", "29228-2-10", "29234-6-9", "29513-3-5", "29514-2-9")
    ),
    "2022": tuple(
        f"static{scan}-{_GRAY}"
        for scan in (
            "26872-17-20",
            "27204-5-13",
            "21067-10-18",
            "22846-10-16",
            "23343-5-17",
            "23656-14-22",
            "23964-4-22",
        )
    ),
}


class Item(NamedTuple):
    """One recording to fetch."""

    name: str
    url: str


class Fetched(NamedTuple):
    """What became of one recording."""

    name: str
    url: str
    path: str
    state: str  # "there already", "planned" or "downloaded"
    size: int | None  # bytes of the zip, where the server says


def plan(what: str, *, source: str | None = None) -> tuple[Item, ...]:
    """What a word names: a release, a recording, or just its animal-session-scan.

    source replaces the official address by that of a mirror, a folder of the same zips;
    a mirror may hold recordings of other names.
    """
    if what in RECORDINGS:
        return tuple(_item(what, name, source) for name in RECORDINGS[what])
    for release, names in RECORDINGS.items():
        for name in names:
            short = re.sub(r"-[A-Z].*$", "", name)  # dynamic29515-10-12
            if what in (name, f"{name}.zip", short, re.sub(r"^[a-z]+", "", short)):
                return (_item(release, name, source),)
    if source and re.fullmatch(r"\w[\w.-]*", what):
        return (_item("", what.removesuffix(".zip"), source),)
    known = [*RECORDINGS, *(n for names in RECORDINGS.values() for n in names)]
    raise unknown("recording", what, known, "A name may be shortened to 29515-10-12.")


def _item(release: str, name: str, source: str | None) -> Item:
    base = (source or ADDRESSES[release]).rstrip("/")
    return Item(name, f"{base}/{name}.zip")


def download(
    what: str | Sequence[str],
    to: str | Path,
    *,
    dry_run: bool = False,
    source: str | None = None,
    keep_zips: bool = False,
    attempts: int = 8,
    stall: float = 60.0,
    pause: float = 1.0,
) -> list[Fetched]:
    """Download and unpack recordings into folders of `to`, one by one.

    A recording whose folder is there is left alone: folders appear only when whole. A
    run that ended early goes on where it stopped. dry_run only asks the server.
    """
    words = [what] if isinstance(what, str) else what
    items = dict.fromkeys(item for word in words for item in plan(word, source=source))
    to = Path(to)
    done = []
    for item in items:
        folder, archive = to / item.name, to / f"{item.name}.zip"
        state, size = "there already", None
        if not folder.exists():
            size = archive.stat().st_size if archive.exists() else None
            if dry_run:
                state, size = "planned", size or ask(item.url, stall=stall).size
            else:
                fetch_file(
                    item.url, archive, attempts=attempts, stall=stall, pause=pause
                )
                state, size = "downloaded", archive.stat().st_size
                _unpack(archive, folder)
                if not keep_zips:
                    archive.unlink()
        done.append(Fetched(item.name, item.url, str(folder), state, size))
    return done


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack, and take an archive that cannot be trusted out of the way."""
    try:
        unzip(archive, folder)
    except BadArchive as error:
        refused = archive.with_name(archive.name + ".refused")
        archive.replace(refused)
        raise UserError(f"{error} It was set aside as {refused.name}.") from error
