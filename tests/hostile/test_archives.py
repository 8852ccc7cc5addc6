"""Zip archives of recordings that would unpack elsewhere, twice, or without end."""

import os
import stat
import struct
import warnings
import zipfile

from support.processes import attacked
from support.processes.attacked import Case


def make(*members, compression=zipfile.ZIP_DEFLATED):
    def plant(path):
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in (("m/good", b"good"), *members):
                archive.writestr(name, content)

    return plant


def special(kind):
    info = zipfile.ZipInfo("m/a")
    info.external_attr = (kind | 0o777) << 16
    return info


def bomb(path):
    """A megabyte that would be a gigabyte."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("m/a", "w", force_zip64=True) as out,
    ):
        for _ in range(200):
            out.write(bytes(1 << 20))


def overlapping(path):
    """A thousand members that share their bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/0", os.urandom(1 << 20))
        first = archive.getinfo("m/0")
        for i in range(1, 1000):
            member = zipfile.ZipInfo(f"m/{i}")
            for field in ("CRC", "compress_size", "file_size", "header_offset"):
                setattr(member, field, getattr(first, field))
            member.compress_type = first.compress_type
            archive.filelist.append(member)


def doubled(path):
    with warnings.catch_warnings(action="ignore"):
        make(("m/a", b"x"), ("m/a", b"y"))(path)


def changed(at, value):
    """Another word in the record at the end of the archive."""

    def plant(path):
        make()(path)
        content = bytearray(path.read_bytes())
        end = content.rfind(b"PK\5\6")
        struct.pack_into("<I", content, end + at, value)
        path.write_bytes(content)

    return plant


def encrypted(path):
    make(("m/a", b"x"))(path)
    content = bytearray(path.read_bytes())
    at = content.find(b"PK\1\2")
    content[at + 8] |= 1
    path.write_bytes(content)


def method(number):
    def plant(path):
        make(("m/a", b"x" * 99))(path)
        content = bytearray(path.read_bytes())
        for mark, offset in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
            at = content.find(mark)
            while at >= 0:
                struct.pack_into("<H", content, at + offset, number)
                at = content.find(mark, at + 1)
        path.write_bytes(content)

    return plant


def noise(compression):
    def plant(path):
        make(("m/a", os.urandom(5000)), compression=compression)(path)
        content = bytearray(path.read_bytes())
        content[200:1200] = bytes(1000)
        path.write_bytes(content)

    return plant


ARCHIVES = {
    "upward": (make(("m/../../evil", b"x")), "outside the folder"),
    "absolute": (make(("/evil", b"x")), "absolute path"),
    "drive": (make(("C:/evil", b"x")), "absolute path"),
    "escapes": (make(("m/a\x1b[2J", b"x")), "control characters"),
    "a line": (make(("m/a\nb", b"x")), "control characters"),
    "a link": (make((special(stat.S_IFLNK), b"/etc")), "a link or a device"),
    "a pipe inside": (make((special(stat.S_IFIFO), b"")), "a link or a device"),
    "a long name": (make(("m/" + "a" * 300, b"x")), "too long"),
    "a file and a folder": (make(("m/a", b"x"), ("m/a/b", b"y")), "file and a folder"),
    "doubled": (doubled, "occurs twice"),
    "a bomb": (bomb, "would unpack to"),
    "overlapping": (overlapping, "overlap"),
    "a long list of members": (changed(12, 100 << 20), "list of its members"),
    "a list elsewhere": (changed(16, 1 << 30), "before its beginning"),
    "encrypted": (encrypted, "encrypted"),
    "an unknown compression": (method(97), "cannot be unpacked"),
    "another compression": (method(14), "not"),
    "noise in deflate": (noise(zipfile.ZIP_DEFLATED), "not a whole zip"),
    "noise in bzip2": (noise(zipfile.ZIP_BZIP2), "not a whole zip"),
    "noise in lzma": (noise(zipfile.ZIP_LZMA), "not a whole zip"),
    "nothing": (lambda p: p.write_bytes(b""), "not a whole zip"),
    "a page": (lambda p: p.write_bytes(b"<html>log in"), "a page or pointer"),
    "no members": (lambda p: p.write_bytes(b"PK\5\6" + bytes(18)), "no files"),
    "a pipe": (os.mkfifo, "a pipe"),
    "a device": (lambda p: p.symlink_to("/dev/zero"), "a device"),
    "a folder": (lambda p: p.mkdir(), "Check the path"),
}


def test_archives(tmp_path):
    cases = []
    (tmp_path / "out").mkdir()
    for i, (name, (plant, said)) in enumerate(ARCHIVES.items()):
        plant(tmp_path / f"{i}.zip")
        words = ("unzip", str(tmp_path / f"{i}.zip"), str(tmp_path / f"out/{i}"))
        cases.append(Case(name, words, said))
    make()(tmp_path / "good.zip")
    words = ("unzip", str(tmp_path / "good.zip"), str(tmp_path / "out/good"))
    healthy = [Case("good", words)]
    problems = attacked.run(tmp_path, cases, healthy=healthy)
    left = [p.name for p in (tmp_path / "out").iterdir()]
    assert not problems and left == ["good"], "\n".join([*problems, *left])
