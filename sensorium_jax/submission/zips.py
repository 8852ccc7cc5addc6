"""Zip files as the judges want them: submissions at the top level, nothing else."""

import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from sensorium_jax.errors import UserError
from sensorium_jax.findings import Fault, error, warning
from sensorium_jax.io import archive as zips, atomic, unzip
from sensorium_jax.io.names import is_inside

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can say


def pack(path: str | Path, files: Sequence[Path]) -> Path:
    """Zip files without folders; they are compressed already, so they are stored."""
    with (
        atomic.whole(path) as part,
        zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive,
    ):
        for file in files:
            # Without the time of the file the same predictions give the same bytes.
            member = zipfile.ZipInfo(file.name, EPOCH)
            member.external_attr = 0o644 << 16
            member.file_size = file.stat().st_size
            with open(file, "rb") as source, archive.open(member, "w") as out:
                shutil.copyfileobj(source, out, 1 << 20)
    return Path(path)


def faults(path: Path) -> list[Fault]:
    """What is wrong with an archive, whatever its files hold."""
    problem = unzip.damage(path)
    if problem:
        return [error(path, f"no readable zip ({problem})", "zip the files again")]
    with zips.opened(path, str(path)) as archive:
        names = archive.namelist()
    found = []
    inside = [name for name in names if "/" in name]
    if inside:
        finding = f"a folder inside the zip: {inside[0]}"
        found.append(error(path, finding, "zip the files themselves, not their folder"))
    others = [n for n in names if not n.endswith("/") and not _table(n)]
    if others:
        finding = f"{others[0]} is neither a parquet nor a csv file"
        found.append(warning(path, finding, "leave it out of the zip"))
    if not any(map(_table, names)):
        found.append(error(path, "no submission inside", "zip the submitted files"))
    return found


def _table(name: str) -> bool:
    base = name.rsplit("/", 1)[-1]
    return ".parquet" in base or base.endswith(".csv")


def _file_name(path: Path, member: str) -> str:
    name = PurePosixPath(member).name
    if not is_inside(name):
        raise UserError(
            f"{path} holds a file with the name {name!r:.80}. Expected a name without "
            "control characters, at most 200 long. Zip the files again."
        )
    return name


@contextmanager
def unpacked(path: str | Path) -> Iterator[list[tuple[str, Path]]]:
    """The tables in a file: itself, or those of a zip on disk for as long as it lasts.

    Each comes with what to call it in a message.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} is no file. Expected a parquet, a csv or a zip.")
    archived = path.suffix == ".zip" or zipfile.is_zipfile(path)
    problem = unzip.damage(path) if archived else ""
    if problem:
        raise UserError(f"{path} is no readable zip ({problem}). Zip the files again.")
    if not archived:
        yield [(str(path), path)]
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        zips.opened(path, str(path)) as archive,
    ):
        need = sum(m.file_size for m in archive.infolist())
        atomic.need_space(folder, need, f"to unpack {path.name}")
        found = []
        for i, name in enumerate(filter(_table, archive.namelist())):
            target = Path(folder) / str(i) / _file_name(path, name)
            target.parent.mkdir()
            with archive.open(name) as source, open(target, "wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
            found.append((f"{path}:{name}", target))
        yield found
