"""Stores made to write elsewhere, to fill memory, to hang, or to lie to a check."""

import io
import json
import os
import shutil
import zipfile

import numpy as np
import pytest

from sensorium_jax.data.check.check import inspect
from sensorium_jax.data.store.build import convert
from support.processes import attacked
from support.processes.attacked import Case
from support.recordings import tiny

MOUSE = "dynamic0"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A store of one mouse."""
    root = tmp_path_factory.mktemp("sound")
    tiny.films(root / "tree", 1, frames=8, size=(4, 5))
    convert(root / "tree", root / "store", durable=False)
    return root / "store"


def edit(path, change):
    """Change what a JSON file says."""
    said = json.loads(path.read_text())
    path.write_text(json.dumps(change(said) or said))


def head(**facts):
    """Facts of the mouse."""
    return lambda store: edit(
        store / MOUSE / "zarr.json", lambda x: x["attributes"].update(facts)
    )


def listed(*names):
    """The mice that the store names."""
    return lambda store: edit(
        store / "zarr.json",
        lambda x: x["attributes"]["sensorium"].update(sessions=list(names)),
    )


def renamed(name):
    """Named so in the list, and by the mouse itself."""

    def plant(store):
        listed(name)(store)
        head(name=name)(store)
        if "\0" not in name and not name.startswith("/"):
            target = store / name
            if not target.exists():
                shutil.copytree(store / MOUSE, target)

    return plant


def root(**facts):
    """What the store says of itself."""
    return lambda store: edit(
        store / "zarr.json", lambda x: x["attributes"]["sensorium"].update(**facts)
    )


def complete(**facts):
    return lambda store: edit(
        store / MOUSE / "complete.json", lambda x: x.update(**facts)
    )


def mark(**facts):
    """What the file of the only group says."""
    return lambda store: edit(
        store / MOUSE / "groups/00000.json", lambda x: x.update(**facts)
    )


def array(what, **facts):
    return lambda store: edit(
        store / MOUSE / what / "zarr.json", lambda x: x.update(facts)
    )


def codec(name):
    def change(said):
        said["codecs"][0]["configuration"]["codecs"].append({"name": name})

    return lambda store: edit(store / MOUSE / "responses/zarr.json", change)


def chunks(*shape):
    def change(said):
        said["codecs"][0]["configuration"]["chunk_shape"] = list(shape)

    return lambda store: edit(store / MOUSE / "responses/zarr.json", change)


def text(name, content):
    return lambda store: (store / name.format(MOUSE)).write_bytes(content)


def blank(store):
    with open(store / "zarr.json", "a") as file:
        file.write(" ")


def pipe(name):
    def plant(store):
        (store / name.format(MOUSE)).unlink()
        os.mkfifo(store / name.format(MOUSE))

    return plant


def endless(name):
    def plant(store):
        (store / name.format(MOUSE)).unlink()
        (store / name.format(MOUSE)).symlink_to("/dev/zero")

    return plant


def sparse(name):
    return lambda store: os.truncate(store / name.format(MOUSE), 1 << 40)


def meta(**changes):
    """Arrays of meta.npz; None leaves one out."""

    def plant(store):
        path = store / MOUSE / "meta.npz"
        with np.load(path) as file:
            arrays = {k: file[k] for k in file.files} | {
                k.replace("__", "/"): v for k, v in changes.items()
            }
        kept = {k: v for k, v in arrays.items() if v is not None}
        np.savez_compressed(path, **kept)

    return plant


def member(name, content, repeats=1):
    """One more member of meta.npz; many zeros pack into little."""

    def plant(store):
        with (
            zipfile.ZipFile(
                store / MOUSE / "meta.npz", "a", zipfile.ZIP_DEFLATED, compresslevel=1
            ) as archive,
            archive.open(name, "w", force_zip64=True) as out,
        ):
            out.write(content)
            for _ in range(repeats - 1):
                out.write(bytes(1 << 20))

    return plant


def header(shape, descr="<f4"):
    out = io.BytesIO()
    said = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, said)
    return out.getvalue()


DEEP = b"[" * 100_000 + b"]" * 100_000
LONG = b'{"a": "' + b"x" * (20 << 20) + b'"}'
GROUP = "{}/groups/00000.json"
REFUSED = {
    "an absolute name": (renamed("/tmp/sensorium-elsewhere"), "Expected letters"),
    "a name upward": (renamed("../elsewhere"), "Expected letters"),
    "a name with a folder": (renamed("a/b"), "Expected letters"),
    "a hidden name": (renamed(".ssh"), "Expected letters"),
    "a name with escapes": (renamed("a\x1b[2J"), "Expected letters"),
    "a name with a new line": (renamed("a\nb"), "Expected letters"),
    "an empty name": (listed(""), "Expected letters"),
    "a long name": (listed("a" * 5000), "Expected letters"),
    "a name twice": (listed(MOUSE, MOUSE), "twice"),
    "two cases of a name": (listed(MOUSE, MOUSE.upper()), "twice"),
    "a number for a name": (listed(7), "Expected letters"),
    "no list of names": (root(sessions="ab"), "a list of names"),
    "another name inside": (head(name="other"), "is named"),
    "a page": (text("zarr.json", b"<html>404</html>"), "a web page"),
    "a page inside": (text("{}/zarr.json", b"<html>404</html>"), "a web page"),
    "deep": (text("zarr.json", DEEP), "lists inside lists"),
    "deep inside": (text("{}/complete.json", DEEP), "lists inside lists"),
    "a bare number": (text("zarr.json", b"7"), "a JSON object"),
    "no text": (text("{}/zarr.json", b"\xff\xfe\x00"), "cannot be read as JSON"),
    "a number of 5000 digits": (
        text("{}/zarr.json", b'{"a": ' + b"9" * 5000 + b"}"),
        "cannot be read",
    ),
    "long": (text("zarr.json", LONG), "bytes"),
    "another group": (
        text("zarr.json", b'{"attributes": {}}'),
        "not a store of recordings",
    ),
    "a version in words": (root(version="1"), "version"),
    "a pipe": (pipe("zarr.json"), "a pipe"),
    "a pipe inside": (pipe("{}/meta.npz"), "a pipe"),
    "a pipe for a shard": (pipe("{}/responses/c/0/0/0"), "a pipe"),
    "a pipe for an array": (pipe("{}/videos/zarr.json"), "a pipe"),
    "a device": (endless("zarr.json"), "a device"),
    "a device for a shard": (endless("{}/responses/c/0/0/0"), "a device"),
    "a device for columns": (endless("{}/meta.npz"), "a device"),
    "a terabyte of nothing": (sparse("{}/meta.npz"), "bytes"),
    "a terabyte of header": (sparse("{}/zarr.json"), "bytes"),
    "frames without end": (head(frames=1 << 60), "frames"),
    "frames below zero": (head(frames=-8), "frames"),
    "frames that are true": (head(frames=True), "frames"),
    "pixels without end": (head(frame_shape=[1 << 20, 1 << 20, 1]), "at most 4 GB"),
    "two axes": (head(frame_shape=[4, 5]), "frame_shape"),
    "behaviors below zero": (head(behaviors=-1), "behaviors"),
    "behaviors without end": (head(behaviors=1 << 39), "4 GB"),
    "a strange kind": (head(kind="../x"), "kind"),
    "types in words": (head(dtypes="uint8"), "dtypes"),
    "objects for types": (
        head(dtypes={"videos": "object", "responses": "float32"}),
        "the type of videos",
    ),
    "rules that are none": (head(rules=[1]), "rules"),
    "an infinite rate": (head(frames_per_second=1e400), "frames_per_second"),
    "a rate of 400 digits": (head(frames_per_second=10**400), "frames_per_second"),
    "a skip of 400 digits": (head(rules={"name": "own", "skip": 10**400}), "skip"),
    "labels in words": (complete(labelled="yes"), "labelled"),
    "too many labels": (complete(labelled=[True] * 99), "tiers"),
    "not whole": (
        lambda s: (s / MOUSE / "complete.json").unlink(),
        "not converted to its end",
    ),
    "gigabytes of zeros": (
        member("columns/x.npy", header((16, 1 << 23)), 500),
        "would unpack to",
    ),
    "a claim": (member("columns/x.npy", header((16, 1 << 40))), "claims"),
    "a shape below zero": (member("columns/x.npy", header((-16, 4))), "shape"),
    "objects": (member("columns/x.npy", header((16,), "|O")), "Python objects"),
    "a member that is no array": (member("columns/x.npy", b"hello"), "is no array"),
    "a member nobody knows": (meta(other=np.zeros(3)), "only what convert writes"),
    "a column upward": (
        member("columns/../x.npy", header((16,)) + bytes(64)),
        "without folders",
    ),
    "no tiers": (meta(tiers=None), "no tiers"),
    "tiers of numbers": (meta(tiers=np.arange(16)), "tiers has"),
    "tiers of no letters": (
        meta(tiers=np.full(16, 0x7FFFFFFF, "u4").view("<U1")),
        "letters",
    ),
    "lengths beyond": (meta(lengths=np.full(16, 9)), "lengths"),
    "lengths below zero": (meta(lengths=np.full(16, -1)), "lengths"),
    "lengths of another count": (meta(lengths=np.zeros(3, int)), "lengths"),
    "a video of a later trial": (meta(first_shown=np.r_[1, 1:16]), "first_shown"),
    "a video before the first": (meta(first_shown=np.r_[-1, 1:16]), "first_shown"),
    "a video beyond the last": (meta(first_shown=np.r_[:15, 99]), "first_shown"),
    "a video by two steps": (meta(first_shown=np.r_[0, 0, 1, 3:16]), "first_shown"),
    "a video of other frames": (
        meta(first_shown=np.r_[0, 0, 2:16], lengths=np.r_[8, 7, [8] * 14]),
        "first_shown",
    ),
    "ids in two axes": (meta(unit_ids=np.zeros((5, 2), int)), "unit_ids"),
    "coordinates of others": (meta(coordinates=np.zeros((9, 3), "f4")), "coordinates"),
    "a statistic nobody knows": (
        meta(statistics__videos__odd=np.zeros(1)),
        "only what convert writes",
    ),
    "statistics of others": (
        meta(statistics__responses__std=np.ones((8, 99), "f4")),
        "statistics",
    ),
    "statistics of text": (
        meta(statistics__responses__std=np.full(5, "a")),
        "statistics",
    ),
    "no statistics": (meta(statistics__responses__std=None), "no std"),
    "no archive": (text("{}/meta.npz", b"hello" * 99), "no whole .npz"),
    "an empty archive": (text("{}/meta.npz", b""), "no whole .npz"),
    "an array below zero": (array("responses", shape=[16, -8, 5]), "it has shape"),
    "an array of another rank": (array("responses", shape=[16, 8]), "it has shape"),
    "a larger array": (array("responses", shape=[1 << 40, 8, 5]), "it has shape"),
    "an array of another type": (
        array("responses", data_type="float64"),
        "it has shape",
    ),
    "an unknown codec": (codec("exec"), "its codecs"),
    "a codec that is no object": (array("responses", codecs=[7]), "its codecs"),
    "no codecs": (array("responses", codecs=[]), "its codecs"),
    "chunks below zero": (chunks(1, -20, 5), "its chunks"),
    "chunks without end": (chunks(1 << 20, 1 << 20, 1 << 20), "chunks of"),
    "another store inside": (
        array("responses", storage_transformers=[{"name": "x"}]),
        "storage_transformers",
    ),
    "a group for an array": (array("responses", node_type="group"), "no array"),
    "a deep array": (text("{}/responses/zarr.json", DEEP), "lists inside lists"),
    "a cut shard": (
        lambda s: os.truncate(s / MOUSE / "responses/c/0/0/0", 100),
        "cannot be read",
    ),
    "an empty shard": (text("{}/responses/c/0/0/0", b""), "cannot be read"),
    "noise for a shard": (
        text("{}/responses/c/0/0/0", bytes(range(256)) * 40),
        "cannot be read",
    ),
}
CHECKED = {
    "a shard with another byte": lambda s: flip(s / MOUSE / "responses/c/0/0/0"),
    "a rate changed": head(frames_per_second=25.0),
    "another codec": codec("crc32c"),
    "other chunks": chunks(1, 4, 5),
    "a mark that lists nothing": mark(files={}),
    "a mark that leads away": mark(files={"../../x": [0, ""]}),
    "a mark of other lengths": mark(lengths=[3] * 16),
    "a mark that is a page": text(GROUP, b"<html>"),
    "a deep mark": text(GROUP, DEEP),
    "a pipe for a mark": pipe(GROUP),
    "an endless mark": endless(GROUP),
    "headers that lead away": complete(headers={"../x": [0, ""]}),
    "blanks in the root": blank,
}


def flip(path):
    content = bytearray(path.read_bytes())
    content[50] ^= 1
    path.write_bytes(content)


@attacked.HALVES
def test_stores_are_refused_in_words(sound, tmp_path, half):
    cases = []
    for i, name, (plant, said) in attacked.of_half(REFUSED, half):
        store = tmp_path / f"{i}" / "store"
        shutil.copytree(sound, store)
        plant(store)
        cases.append(Case(name, ("store", str(store)), said))
    healthy = [Case("sound", ("store", str(sound)))]
    problems = attacked.run(tmp_path, cases, healthy=healthy)
    assert not problems, "\n".join(problems)


def test_check_and_convert_of_hostile_stores(sound, tmp_path):
    """The command itself: check, and convert from a store and into one."""
    cases = []
    for i, (name, plant) in enumerate(CHECKED.items()):
        store = tmp_path / f"{i}" / "store"
        shutil.copytree(sound, store)
        plant(store)
        cases.append(Case(f"check {name}", ("check", str(store)), "error"))
    for i, (name, (plant, said)) in enumerate(list(REFUSED.items())[:9]):
        store = tmp_path / f"from{i}" / "store"
        shutil.copytree(sound, store)
        plant(store)
        out = str(tmp_path / f"from{i}" / "out" / "x")
        cases.append(Case(f"convert {name}", ("convert", str(store), out), said))
    away = tmp_path / "away"
    away.mkdir()
    for name, plant in INTO.items():
        store = tmp_path / name / "out" / "store"
        shutil.copytree(sound, store)
        plant(store, away)
        words = ("convert", str(sound), str(store), "--verify")
        cases.append(
            Case(f"convert into {name}", words, "link" if "link" in name else "")
        )
    healthy = [Case("sound", ("check", str(sound)))]
    problems = attacked.run(tmp_path, cases, healthy=healthy)
    # A target that is mended ends well; nothing outside of it may have changed.
    assert not [p for p in problems if "ended in 0" not in p], "\n".join(problems)


def marked_away(store, away):
    (away / "c").mkdir()
    (away / "c/0").write_text("precious")
    sums = {f"../../../{away.name}/c/0": [0, ""]}
    edit(store / MOUSE / "groups/00000.json", lambda x: x.update(files=sums))


def linked_away(what):
    def plant(store, away):
        shutil.rmtree(store / MOUSE / what)
        (store / MOUSE / what).symlink_to(away)

    return plant


INTO = {
    "marks": marked_away,
    "a link for an array": linked_away("responses"),
    "a link for the groups": linked_away("groups"),
}


def test_a_store_of_before_is_warned_about(sound, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(sound, store)
    assert not [f for f in inspect(store).faults if "checksums" in f.finding]
    edit(store / MOUSE / "complete.json", lambda x: x.pop("headers") and None)
    report = inspect(store)
    assert report.clean
    assert "no checksums of zarr.json" in report.faults[0].finding
