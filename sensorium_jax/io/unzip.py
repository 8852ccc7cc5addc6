"""Unpacks an archive into a folder that appears whole or not at all.

An archive comes from elsewhere: every name, type and size in it is checked before the
first byte is written.
"""

import re
import shutil
import stat
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from sensorium_jax.errors import UserError
from sensorium_jax.io import archive as zips, atomic, regular
from sensorium_jax.io.archive import BadArchive
from sensorium_jax.progress import Bar, bar

# Recordings of hidden trials are zeros and shrink 1000-fold, one by one; a whole
# recording shrinks a few times at most.
MAX_RATIO = 100
RATIO_FROM = 16 << 20  # bytes unpacked below which the ratio says nothing
MAX_BYTES = 500 << 30
MAX_FILES = 1_000_000
CHUNK = 1 << 20
LITTER = ("__MACOSX", ".DS_Store")


def damage(archive: str | Path, *, whole: bool = True) -> str:
    """What keeps an archive from being read, in words; nothing where all is well.

    whole reads every member and compares its checksum, else only the list of them.
    """
    try:
        with zips.opened(archive, str(archive)) as opened:
            size = regular.check(archive)
            most = max(RATIO_FROM, MAX_RATIO * size)
            zips.listed(opened, str(archive), size, most=most)
            broken = opened.testzip() if whole else None
    except Exception as problem:  # bytes of any kind raise errors of any kind
        return f"{problem or type(problem).__name__}"
    return f"{broken} is damaged" if broken else ""


def unzip(
    archive: str | Path,
    folder: str | Path,
    *,
    max_ratio: float = MAX_RATIO,
    max_bytes: int = MAX_BYTES,
) -> Path:
    """Unpack archive as folder, which must not exist yet; return folder.

    An archive that holds a single folder becomes that folder. Refused: names that leave
    the folder, links and devices, encrypted or doubled members, and more bytes than
    max_bytes or max_ratio times the archive. Nothing is left behind on refusal.
    """
    archive, folder = Path(archive), Path(folder)
    if folder.exists():
        raise UserError(f"{folder} exists already. Delete it or choose another place.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    working = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(working, ignore_errors=True)
    try:
        with zips.opened(archive, str(archive)) as opened:
            members = _inspected(opened, archive, max_ratio, max_bytes)
            need = sum(m.file_size for m in members.values())
            atomic.need_space(folder.parent, need, "to unpack")
            working.mkdir()
            with bar(f"unpack {folder.name}", need, unit="B") as progress:
                for name, member in members.items():
                    _extract(opened, member, working / name, progress)
        atomic.put(_single(working, members), folder)
    except (NotImplementedError, RuntimeError) as error:  # compression, encryption
        raise BadArchive(f"{archive} cannot be unpacked: {error}.") from error
    except UserError:
        raise
    except (*zips.FAILURES, ValueError, OSError) as error:
        if getattr(error, "errno", None):  # of the disk, not of what is unpacked
            raise
        raise _broken(archive, zips.words(error)) from error
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return folder


def _inspected(
    opened: zipfile.ZipFile, archive: Path, max_ratio: float, max_bytes: int
) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """Members by path, without litter and folders; raises on anything hostile."""
    members: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for member in opened.infolist():
        name = PurePosixPath(member.filename)
        if any(part in LITTER or part.startswith("._") for part in name.parts):
            continue
        wrong = _wrong(member)
        if wrong is None and name in members:
            wrong = "occurs twice"
        if wrong:
            raise _hostile(archive, f"its member {member.filename[:200]!r} {wrong}")
        if not member.is_dir():
            members[name] = member
    _check_parents(archive, members)
    size = sum(m.file_size for m in members.values())
    packed = archive.stat().st_size
    if wrong := zips.overlap(opened.infolist(), packed):
        raise _hostile(archive, wrong)
    if len(members) > MAX_FILES or size > max_bytes:
        raise _hostile(
            archive, f"it would unpack to {len(members)} files of {size / 1e9:.1f} GB"
        )
    if size > max(RATIO_FROM, max_ratio * packed):
        raise _hostile(
            archive,
            f"it would unpack to {size / 1e9:.1f} GB from {packed / 1e6:.1f} MB, more "
            f"than {max_ratio:.0f} times its size",
        )
    if not members:
        raise _broken(archive, "it holds no files")
    return members


def _wrong(member: zipfile.ZipInfo) -> str | None:
    """What is dangerous about one member, if anything."""
    name, parts = member.filename, PurePosixPath(member.filename).parts
    kind = stat.S_IFMT(member.external_attr >> 16)
    if not parts or name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "has an absolute path"
    if ".." in parts or "\\" in name or "\0" in name:
        return "would be written outside the folder"
    if not name.isprintable():
        return "has a name with control characters"
    if max(len(part.encode()) for part in parts) > 255:
        return "has a name too long for a file"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    if member.flag_bits & 1:
        return "is encrypted"
    return None


def _check_parents(archive: Path, paths: Iterable[PurePosixPath]) -> None:
    names = set(paths)
    for name in names:
        for parent in name.parents:
            if parent in names:
                raise _hostile(archive, f"its member '{parent}' is a file and a folder")


def _extract(
    opened: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, progress: Bar
) -> None:
    """Write one member; reading it to its end checks its CRC."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with opened.open(member) as source, open(path, "xb") as target:
        while block := source.read(CHUNK):
            size += len(block)
            if size > member.file_size:
                raise zipfile.BadZipFile(f"'{member.filename}' is larger than it says")
            target.write(block)
            progress.add(len(block))
    if size != member.file_size:
        raise zipfile.BadZipFile(f"'{member.filename}' is shorter than it says")


def _single(working: Path, names: Iterable[PurePosixPath]) -> Path:
    """The one folder that everything lies in, or else the working folder."""
    tops = {name.parts[0] for name in names if len(name.parts) > 1}
    flat = any(len(name.parts) == 1 for name in names)
    return working / tops.pop() if len(tops) == 1 and not flat else working


def _hostile(archive: Path, why: str) -> BadArchive:
    return BadArchive(
        f"{archive} was not unpacked: {why}. It is not an archive of recordings as the "
        "organizers made them; do not trust it, and download from the original address."
    )


def _broken(archive: Path, why: str) -> BadArchive:
    with regular.opened(archive) as file:
        begins = file.read(60)
    hint = ""
    if begins[:2] != b"PK" and begins.isascii():
        hint = f" It begins with {begins.decode()!r}: a page or pointer, not the file."
    return BadArchive(
        f"{archive} is not a whole zip archive: {why}.{hint} Download it again."
    )
