import stat
import zipfile

import numpy as np
import pytest

from sensorium_jax.errors import UserError
from sensorium_jax.io.unzip import BadArchive, unzip


def make(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def link(name, kind=stat.S_IFLNK):
    info = zipfile.ZipInfo(name)
    info.external_attr = (kind | 0o777) << 16
    return info


def left(folder):
    return sorted(p.name for p in folder.iterdir())


def test_single_folder_becomes_the_folder(tmp_path):
    members = [("m/", ""), ("m/data/0.npy", b"zero"), ("m/config.json", b"{}")]
    litter = [("__MACOSX/m/._0.npy", b"x"), ("m/data/._0.npy", b"x")]
    zipped = make(tmp_path / "m.zip", members + litter)
    folder = unzip(zipped, tmp_path / "out/mouse")
    files = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert files == {"data/0.npy", "config.json"}
    assert (folder / "data/0.npy").read_bytes() == b"zero"
    assert left(tmp_path / "out") == ["mouse"]


def test_flat_archive_keeps_its_names(tmp_path):
    zipped = make(tmp_path / "m.zip", [("data/0.npy", b"0"), ("meta/1.npy", b"1")])
    assert left(unzip(zipped, tmp_path / "mouse")) == ["data", "meta"]


HOSTILE = {
    "parent": [("m/../../evil", b"x")],
    "absolute": [("/evil", b"x")],
    "drive": [("C:/evil", b"x")],
    "symbolic link": [(link("m/a"), b"/etc"), ("m/a/passwd", b"x")],
    "device": [(link("m/a", stat.S_IFCHR), b"")],
    "fifo": [(link("m/a", stat.S_IFIFO), b"")],
    "file and folder": [("m/a", b"x"), ("m/a/b", b"y")],
    "long name": [("m/" + "a" * 300, b"x")],
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE)
def test_hostile_members_leave_nothing_behind(tmp_path, members):
    zipped = make(tmp_path / "m.zip", [("m/good.npy", b"good"), *members])
    with pytest.raises(BadArchive, match="not unpacked"):
        unzip(zipped, tmp_path / "in/mouse")
    assert left(tmp_path / "in") == []
    assert left(tmp_path) == ["in", "m.zip"]


def test_backslash_name_is_refused(tmp_path):
    zipped = make(tmp_path / "m.zip", [("m/good", b"x"), ("m/..=evil", b"x")])
    zipped.write_bytes(zipped.read_bytes().replace(b"..=evil", b"..\\evil"))
    with pytest.raises(BadArchive, match="outside"):
        unzip(zipped, tmp_path / "mouse")


def test_doubled_member_is_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"):
        zipped = make(tmp_path / "m.zip", [("m/a", b"x"), ("m/a", b"y")])
    with pytest.raises(BadArchive, match="occurs twice"):
        unzip(zipped, tmp_path / "mouse")


def test_bombs_are_refused_before_a_byte_is_written(tmp_path):
    zipped = make(tmp_path / "m.zip", [(f"m/{i}", bytes(1 << 18)) for i in range(70)])
    with pytest.raises(BadArchive, match="times its size"):
        unzip(zipped, tmp_path / "mouse")
    with pytest.raises(BadArchive, match="would unpack to 70 files"):
        unzip(zipped, tmp_path / "mouse", max_bytes=1000)
    assert left(tmp_path) == ["m.zip"]


def test_zeros_of_hidden_responses_are_no_bomb(tmp_path):
    noise = np.random.default_rng(0).bytes(1 << 19)
    zipped = make(tmp_path / "m.zip", [("m/0", bytes(1 << 24)), ("m/1", noise)])
    assert (unzip(zipped, tmp_path / "mouse") / "0").stat().st_size == 1 << 24


def test_understated_size_is_refused(tmp_path):
    zipped = make(tmp_path / "m.zip", [("m/a", bytes(5000))])
    size = (5000).to_bytes(4, "little")
    zipped.write_bytes(zipped.read_bytes().replace(size, (50).to_bytes(4, "little")))
    with pytest.raises(BadArchive):
        unzip(zipped, tmp_path / "mouse")
    assert left(tmp_path) == ["m.zip"]


@pytest.mark.parametrize("cut", [-10, 40, 0])
def test_truncated_archive_is_refused(tmp_path, cut):
    zipped = make(tmp_path / "m.zip", [("m/a", b"abc" * 100)])
    zipped.write_bytes(zipped.read_bytes()[:cut])
    with pytest.raises(BadArchive, match="not a whole zip"):
        unzip(zipped, tmp_path / "mouse")
    assert left(tmp_path) == ["m.zip"]


def test_flipped_byte_is_refused(tmp_path):
    zipped = make(tmp_path / "m.zip", [("m/a", b"abcdef")], zipfile.ZIP_STORED)
    zipped.write_bytes(zipped.read_bytes().replace(b"abcdef", b"abcdeg"))
    with pytest.raises(BadArchive, match="CRC"):
        unzip(zipped, tmp_path / "mouse")
    assert left(tmp_path) == ["m.zip"]


def test_page_instead_of_archive_is_quoted(tmp_path):
    page = tmp_path / "m.zip"
    page.write_text("<html>Please log in</html>")
    with pytest.raises(BadArchive, match="Please log in"):
        unzip(page, tmp_path / "mouse")


def test_existing_folder_is_not_touched(tmp_path):
    zipped = make(tmp_path / "m.zip", [("m/a", b"x")])
    (tmp_path / "mouse").mkdir()
    with pytest.raises(UserError, match="exists"):
        unzip(zipped, tmp_path / "mouse")
    assert left(tmp_path / "mouse") == []


def test_full_disk_is_told_before_unpacking(tmp_path, monkeypatch):
    zipped = make(tmp_path / "m.zip", [("m/a", b"x" * 1000)])
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(UserError, match="Free some space"):
        unzip(zipped, tmp_path / "mouse")
    assert left(tmp_path) == ["m.zip"]
