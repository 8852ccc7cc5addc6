"""Damaged and hostile sources: one clear paragraph, exit code 1, nothing written."""

import os
import pickle
import shutil
import struct
import warnings
import zipfile

import h5py
import numpy as np
import pytest
import yaml

from sensorium_jax.cli import main
from support.processes import web
from support.recordings import foreign

DFF, MOVIE = "processing/ophys/DfOverF/dff", "stimulus/presentation/movie"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A sound source of every format."""
    root = tmp_path_factory.mktemp("whole")
    rec = foreign.recorded()
    with warnings.catch_warnings(action="ignore"):
        foreign.nwb(root / "a.nwb", rec)
    foreign.suite2p(root / "s2p", rec)
    foreign.beside(root, rec)
    foreign.experanto(root / "exp", rec)
    foreign.described(root / "y", rec)
    foreign.mp4(root / "y/film.mp4", np.repeat(np.repeat(rec.film_thw, 4, 1), 4, 2))
    return root


def truncated(path, share=0.6):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def inside(path, change):
    """Edit an HDF5 file."""
    with h5py.File(path, "a") as file:
        change(file)


def replace(path, values):
    """Another array under the same name."""

    def change(file):
        del file[path]
        file[path] = values

    return change


def link_outside(file):
    del file[f"{DFF}/data"]
    file[f"{DFF}/data"] = h5py.ExternalLink("/etc/other.h5", "x")


def link_behind_a_link(file):
    file["outside"] = h5py.ExternalLink("/etc/other.h5", "x")
    del file[f"{DFF}/data"]
    file[f"{DFF}/data"] = h5py.SoftLink("/outside")


def link_in_circles(file):
    del file[f"{DFF}/data"]
    file[f"{DFF}/data"] = h5py.SoftLink("/a")
    file["a"], file["b"] = h5py.SoftLink("/b"), h5py.SoftLink("/a")


def never_filled(file):
    del file[f"{DFF}/data"]
    file.create_dataset(f"{DFF}/data", (133, 1 << 33), "f4", chunks=(1, 1024))


def stored_elsewhere(file):
    del file[f"{DFF}/data"]
    external = [("/etc/passwd", 0, 133 * 8)]
    file.create_dataset(f"{DFF}/data", (133, 1), "f8", external=external)


def damage_chunk(path):
    """Overwrite compressed numbers, so that their checksum is wrong."""
    with h5py.File(path, "a") as file:
        values = file[f"{DFF}/data"][()]
        del file[f"{DFF}/data"]
        data = file.create_dataset(
            f"{DFF}/data", data=values, chunks=values.shape, compression="gzip"
        )
        chunk = data.id.get_chunk_info(0)
        where, size = chunk.byte_offset, chunk.size
    with open(path, "r+b") as file:
        file.seek(where)
        file.write(b"\xff" * size)


NWB = {
    "truncated": (truncated, "is no whole HDF5 file"),
    "html": (lambda p: p.write_text("<html>404</html>"), "It begins b'<html>404"),
    "empty": (lambda p: p.write_bytes(b""), "is no whole HDF5 file"),
    "no nwb": (lambda p: inside(p, lambda f: f.attrs.clear()), "but no NWB file"),
    "no film": (
        lambda p: inside(p, lambda f: f.__delitem__("stimulus/presentation/movie")),
        "Nothing in the file is known as a stimulus",
    ),
    "no data": (
        lambda p: inside(p, lambda f: f.__delitem__(f"{DFF}/data")),
        "is no series of data",
    ),
    "no clock": (
        lambda p: inside(p, lambda f: f.__delitem__(f"{DFF}/timestamps")),
        "has no 'starting_time'",
    ),
    "empty series": (
        lambda p: inside(p, replace(f"{DFF}/data", np.empty((0, 5)))),
        "has data of shape (0, 5)",
    ),
    "text": (
        lambda p: inside(p, replace(f"{DFF}/data", ["a"] * 133)),
        "Expected numbers [time] or [time, signals]",
    ),
    "frames of words": (
        lambda p: inside(p, replace(f"{MOVIE}/data", ["a"] * 160)),
        "holds numbers but no frames",
    ),
    "time goes back": (
        lambda p: inside(p, replace(f"{DFF}/timestamps", np.arange(133)[::-1] * 1.0)),
        "go back from 132 to 131 s",
    ),
    "time is NaN": (
        lambda p: inside(p, replace(f"{DFF}/timestamps", np.full(133, np.nan))),
        "133 of the 133 times",
    ),
    "too few times": (
        lambda p: inside(p, replace(f"{DFF}/timestamps", np.arange(99.0))),
        "has 133 samples but 99 timestamps",
    ),
    "milliseconds": (
        lambda p: inside(p, replace(f"{DFF}/timestamps", 1e4 + 1e3 * np.arange(133.0))),
        "do not overlap in time",
    ),
    "NaN everywhere": (
        lambda p: inside(p, replace(f"{DFF}/data", np.full((133, 5), np.nan))),
        "every one of the 5 units is NaN",
    ),
    "link outside": (lambda p: inside(p, link_outside), "lies in another file"),
    "two links": (lambda p: inside(p, link_behind_a_link), "lies in another file"),
    "circle": (lambda p: inside(p, link_in_circles), "leads in circles"),
    "never filled": (lambda p: inside(p, never_filled), "claims 4.57e+03 GB"),
    "stored elsewhere": (
        lambda p: inside(p, stored_elsewhere),
        "keeps its numbers in other files",
    ),
    "broken chunk": (damage_chunk, "is damaged"),
    "backward trials": (
        lambda p: inside(p, replace("intervals/trials/stop_time", np.zeros(8))),
        "Trial 0 of intervals/trials goes from 2 to 0 s",
    ),
    "no tier train": (
        lambda p: inside(
            p, lambda f: f.create_dataset("intervals/trials/tier", data=["test"] * 8)
        ),  # fmt: skip
        "has the tiers test, none of them 'train'",
    ),
}


def pickled(path, value):
    with open(path, "wb") as file:
        shape = {"descr": "|O", "fortran_order": False, "shape": (foreign.NEURONS,)}
        np.lib.format.write_array_header_1_0(file, shape)
        pickle.dump(value, file)


class Command:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch /tmp/never-made",)


def claims(path, shape, dtype="<f4"):
    """An .npy file whose header says more than there is."""
    with open(path, "wb") as file:
        header = {"descr": dtype, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(b"\0" * 64)


SUITE2P = {
    "spks.npy cut": (lambda p: truncated(p / "spks.npy"), "truncated"),
    "spks.npy claims": (
        lambda p: claims(p / "spks.npy", (1 << 40, 1 << 20)),
        "truncated",
    ),
    "no spks.npy": (lambda p: (p / "spks.npy").unlink(), "cannot be opened"),
    "spks.npy of objects": (
        lambda p: np.save(p / "spks.npy", np.array([{}], object)),
        "pickled Python objects",
    ),
    "spks.npy one-dimensional": (
        lambda p: np.save(p / "spks.npy", np.ones(5)),
        "time_axis is 1",
    ),
    "iscell.npy of others": (
        lambda p: np.save(p / "iscell.npy", np.ones((9, 2))),
        "but there are 5 ROIs",
    ),
    "no cells": (
        lambda p: np.save(p / "iscell.npy", np.zeros((5, 2))),
        "calls none of the ROIs a cell",
    ),
    "hostile stat.npy": (
        lambda p: pickled(p / "stat.npy", [Command()]),
        "system, which a file of numbers and names never needs",
    ),
    "hostile ops.npy": (lambda p: pickled(p / "ops.npy", Command()), "system"),
    "stat.npy cut": (lambda p: truncated(p / "stat.npy"), "was not read"),
    "stat.npy of others": (
        lambda p: np.save(p / "stat.npy", foreign.stat()[:2]),
        "describes 2 ROIs, but the traces have 5",
    ),
    "stat.npy without places": (
        lambda p: np.save(p / "stat.npy", np.array([{"npix": 1}] * 5, object)),
        "has no middle (med)",
    ),
    "ops.npy without a rate": (
        lambda p: np.save(p / "ops.npy", {"Ly": 3}),
        "says no frame rate",
    ),
}


def screen(key, **changes):
    """Change the .yml of one item, or of the whole screen."""

    def change(folder):
        path = folder / f"screen/{key}.yml"
        meta = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump(meta | changes))

    return change


def responses(**changes):
    def change(folder):
        path = folder / "responses/meta.yml"
        meta = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump(meta | changes))

    return change


def outside_by_name(folder):
    screen("meta", use_stimuli_names=True)(folder)
    for path in (folder / "screen/meta").iterdir():
        meta = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump(meta | {"stimulus_name": "../../secret"}))


EXPERANTO = {
    "no timestamps": (
        lambda p: (p / "screen/timestamps.npy").unlink(),
        "cannot be opened",
    ),
    "times go back": (
        lambda p: np.save(p / "screen/timestamps.npy", np.arange(152.0)[::-1]),
        "go back",
    ),
    "broken yaml": (
        lambda p: (p / "responses/meta.yml").write_text("a: [1"),
        "is no YAML that can be read",
    ),
    "yaml that runs": (
        lambda p: (p / "responses/meta.yml").write_text(
            "!!python/object/apply:os.system ['true']"
        ),
        "is no YAML that can be read",
    ),
    "other modality": (screen("meta/00000", modality="odour"), "Unknown modality"),
    "frames overlap": (screen("meta/00000", num_frames=99), "but the next begins"),
    "a word for a number": (
        screen("meta/00002", first_frame_idx="x"),
        "Expected a number",
    ),
    "names lead outside": (outside_by_name, "nothing outside of them is read"),
    "a film cut short": (
        lambda p: truncated(p / "screen/data/00000.npy"),
        "truncated",
    ),
    "a film of fewer frames": (
        lambda p: np.save(p / "screen/data/00002.npy", np.ones((3, 6, 8), np.uint8)),
        "has 3 frames, its .yml says 18",
    ),
    "a later film missing": (
        lambda p: (p / "screen/data/00008.npy").unlink(),
        "cannot be opened",
    ),
    "memory of another size": (
        responses(is_mem_mapped=True, n_timestamps=5),
        "data.mem is missing",
    ),
    "rate of zero": (responses(sampling_rate=0.0), "0.0 samples per second"),
    "other signals": (responses(n_signals=9), "Expected numbers [time, 9]"),
    "objects as numbers": (
        responses(is_mem_mapped=True, dtype="object"),
        "dtype is 'object'",
    ),
}


def line(**changes):
    """Change lines of the description."""

    def change(folder):
        path = folder / "mine.yaml"
        lines = dict(x.split(": ", 1) for x in path.read_text().splitlines())
        path.write_text("\n".join(f"{k}: {v}" for k, v in (lines | changes).items()))

    return change


def npz(folder, content, name="x.npy", encrypted=False):
    """An .npz whose member holds any bytes."""
    path = folder / "x.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    if encrypted:
        data = bytearray(path.read_bytes())
        central = data.rindex(b"PK\x01\x02")
        data[central + 8] |= 1
        path.write_bytes(bytes(data))
    line(responses="{file: x.npz, rate: 7}")(folder)


def objects(folder):
    np.savez(folder / "x.npz", x=np.array([Command()], object))
    line(responses="{file: x.npz, rate: 7}")(folder)


def bomb(folder):
    """A member that claims 4 GB."""
    npz(folder, b"\0" * 999)
    data = bytearray((folder / "x.npz").read_bytes())
    central = data.rindex(b"PK\x01\x02")
    data[central + 24 : central + 28] = struct.pack("<I", 4_000_000_000)
    (folder / "x.npz").write_bytes(bytes(data))


def matlab(folder, content):
    (folder / "x.mat").write_bytes(content)
    line(responses="{file: x.mat, variable: dff, rate: 7}")(folder)


def movie(change):
    def changed(folder):
        line(stimulus="{file: film.mp4, start: 2}")(folder)
        change(folder / "film.mp4")

    return changed


def cut_in_the_middle(path):
    """Lose the pictures but keep the table of them, which comes first here."""
    content = path.read_bytes()
    begin = content.index(b"mdat") + 4
    path.write_bytes(content[: begin + 400] + b"\0" * 5000)


def huge_picture(folder):
    """A .png whose header claims 60,000 x 60,000 pixels."""
    place = folder / "frames"
    place.mkdir()
    import zlib

    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    (place / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    line(stimulus="{file: frames, rate: 10}")(folder)


def playlist(path):
    """A list of other addresses under a movie's name."""
    path.write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")


ARRAYS = {
    "unknown key": (line(stimulis="film.npy"), "Unknown key 'stimulis'. Did you mean"),
    "unknown key inside": (
        line(responses="{file: dff.npy, rat: 7}"),
        "Unknown key 'rat'. Did you mean 'rate'",
    ),
    "no responses": (line(responses="null"), "says no responses"),
    "a list": (lambda p: (p / "mine.yaml").write_text("- 1"), "holds list"),
    "broken yaml": (lambda p: (p / "mine.yaml").write_text("a: {"), "is no YAML file"),
    "yaml that runs": (
        lambda p: (p / "mine.yaml").write_text("a: !!python/name:os.system"),
        "is no YAML file",
    ),
    "no such file": (line(responses="{file: no.npy, rate: 7}"), "does not exist"),
    "other kind": (line(responses="{file: x.doc, rate: 7}"), "is of a kind"),
    "no clock": (line(responses="dff.npy"), "Nothing says when"),
    "negative rate": (line(responses="{file: dff.npy, rate: -7}"), "-7.0 samples"),
    "a word as rate": (line(responses="{file: dff.npy, rate: a}"), "Expected a number"),
    "too many times": (
        line(responses="{file: dff.npy, times: eye_times.npy}"),
        "has 133 samples, but there are 437 times",
    ),
    "time is not first": (
        lambda p: (
            np.save(p / "dff.npy", np.ones((5, 133))),
            line(responses="{file: dff.npy, times: dff_times.npy}")(p),
        ),
        "Its axis 1 has",
    ),
    "times of the film": (
        line(stimulus="{file: film.npy, times: eye_times.npy}"),
        "has 160 frames, but there are 437 times",
    ),
    "no film but rows": (line(stimulus="{file: dff.npy, rate: 7}"), "Expected a stack"),
    "a wide pupil": (
        line(pupil="{file: dff.npy, times: dff_times.npy}"),
        "pupil has 5 columns",
    ),
    "ids of others": (line(ids="film_times.npy"), "ids are 160 of type"),
    "places of others": (line(coordinates="dff.npy"), "coordinates have shape"),
    "npy cut": (lambda p: truncated(p / "dff.npy"), "truncated"),
    "npy is html": (
        lambda p: (p / "dff.npy").write_text("<!DOCTYPE html>"),
        "a text file, not .npy",
    ),
    "npz cut": (
        lambda p: (npz(p, b"\x93NUMPY"), truncated(p / "x.npz")),
        "is no whole .npz",
    ),
    "npz without an array": (lambda p: npz(p, b"hello"), "is no array"),
    "npz of objects": (objects, "holds Python objects, which are not read"),
    "npz encrypted": (lambda p: npz(p, b"\x93NUMPY", encrypted=True), "is encrypted"),
    "npz bomb": (bomb, "claims 4 GB"),
    "mat of text": (lambda p: matlab(p, b"hello" * 99), "is no whole MATLAB file"),
    "mat 7.3 cut": (
        lambda p: matlab(p, b"MATLAB 7.3 MAT-file".ljust(600)),
        "is no whole HDF5 file",
    ),
    "trials without ends": (
        lambda p: (p / "trials.csv").write_text("start\n1\n"),
        "has the columns start",
    ),
    "trials of words": (
        lambda p: (p / "trials.csv").write_text("start,stop\na,b\n"),
        "Expected start and stop",
    ),
    "ragged trials": (
        lambda p: (p / "trials.csv").write_text("start,stop\n1,2,3\n"),
        "is no table",
    ),
    "movie cut": (movie(truncated), "cannot be read as a film"),
    "movie is html": (
        movie(lambda p: p.write_text("<html>")),
        "cannot be read as a film",
    ),
    "movie is a list": (movie(playlist), "cannot be read as a film"),
    "movie of zeros": (movie(cut_in_the_middle), "film.mp4"),
    "huge picture": (huge_picture, "0.png"),
}

EVERY = [
    *(("a.nwb", *case, name) for name, case in NWB.items()),
    *(("s2p/plane0", *case, name) for name, case in SUITE2P.items()),
    *(("exp", *case, name) for name, case in EXPERANTO.items()),
    *(("y", *case, name) for name, case in ARRAYS.items()),
]
CASES = [pytest.param(*case[:3], id=f"{case[0]} {case[3]}") for case in EVERY]


def tried(source, out, capsys, *flags):
    """Exit code and the words on standard error of an import into a new folder."""
    code = main(["import", str(source), str(out), "--no-figure", *map(str, flags)])
    stdout, err = capsys.readouterr()
    return code, stdout, err


@pytest.mark.parametrize("part, damage, words", CASES)
def test_one_paragraph_and_nothing_written(
    whole, tmp_path, capsys, part, damage, words
):
    copy = tmp_path / "source"
    copied = whole / part
    (shutil.copytree if copied.is_dir() else shutil.copy)(copied, copy)
    source, flags = copy, []
    if part == "a.nwb":
        source = copy.rename(tmp_path / "a.nwb")
    damage(source)
    if part == "y":
        source = copy / "mine.yaml"
    if part == "s2p/plane0":
        film, times = whole / "film.npy", whole / "film_times.npy"
        flags = ["--stimulus", film, "--stimulus-times", times]
    code, out, err = tried(source, tmp_path / "out", capsys, *flags)
    assert (code, out) == (1, "") and words in err, err
    (line_,) = [x for x in err.splitlines() if x.startswith("sensorium: ")]
    assert "Traceback" not in err and len(line_) < 900
    assert not (tmp_path / "out").exists()
    assert not os.path.exists("/tmp/never-made")


def test_there_are_many():
    assert len(CASES) > 60


def test_sources_that_are_nothing(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    for name, words in {
        "absent.nwb": "does not exist",
        "empty": "is a folder of another kind",
        "notes.txt": "is of another kind",
    }.items():
        code, _, err = tried(tmp_path / name, tmp_path / "out", capsys)
        assert code == 1 and words in err and "Expected an .nwb file" in err


def test_addresses_that_give_something_else(tmp_path, capsys):
    (tmp_path / "page.nwb").write_text("<html>gone</html>")
    with web.served(tmp_path) as url:
        code, _, err = tried(f"{url}/page.nwb", tmp_path / "out", capsys)
        assert code == 1 and "It begins b'<html>gone" in err
        code, _, err = tried(f"{url}/absent.nwb", tmp_path / "out", capsys)
        assert code == 1 and "answered 404" in err
    assert not (tmp_path / "out").exists()


def test_names_of_recordings_are_folders_and_nothing_else(whole, tmp_path, capsys):
    for name in ("../up", "a/b", "data", "", ".", "x y"):
        code, _, err = tried(whole / "a.nwb", tmp_path / "out", capsys, "--name", name)
        assert (name == "" and code == 0) or (code == 1 and "cannot name" in err)
    path = whole / "y/mine.yaml"
    odd = path.read_text().replace("name: fish", "name: ../../evil")
    (whole / "y/odd.yaml").write_text(odd)
    assert tried(whole / "y/odd.yaml", tmp_path / "odd", capsys)[0] == 0
    assert [p.name for p in (tmp_path / "odd").iterdir()] == ["evil"]
