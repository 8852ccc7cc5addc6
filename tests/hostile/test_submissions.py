"""Submissions of either year that lie about rows, sizes, columns and archives."""

import os
import struct
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sensorium_jax.data.release.write import write_session
from sensorium_jax.submission import csv2022, parquet2023, zips
from support.processes import attacked
from support.processes.attacked import Case

NAME, FRAMES, NEURONS = "dynamic1", 56, 5
TIERS = ["train"] * 4 + ["oracle"] * 2
IDS = list(range(NEURONS))


def answers(rows=(4, 5)):
    rng = np.random.default_rng(0)
    for row in rows:
        rates = rng.gamma(1, 2, (NEURONS, FRAMES - 50))
        yield parquet2023.FilmAnswer(NAME, row, rates, np.arange(NEURONS))


def columns(**changes):
    """The columns of a sound table, some of them others."""
    rates = [a.prediction_nt.tolist() for a in answers()]
    given = {
        "mouse": [NAME, NAME],
        "trial_indices": [4, 5],
        "prediction": rates,
        "neuron_ids": [IDS, IDS],
    }
    return given | changes


def table(**changes):
    def plant(path):
        given = {k: v for k, v in columns(**changes).items() if v is not None}
        pq.write_table(pa.table(given), path)

    return plant


def twice(name):
    """A column that is there two times."""

    def plant(path):
        sound = pa.table(columns())
        arrays = [*sound.columns, sound.column(name)]
        pq.write_table(pa.Table.from_arrays(arrays, [*sound.column_names, name]), path)

    return plant


def many_rows(path):
    """A million rows in a few kilobytes."""
    count = 1_000_000
    empty = pa.ListArray.from_arrays(
        pa.array(np.zeros(count + 1, "i4")), pa.array([0.0])
    )
    nested = pa.ListArray.from_arrays(pa.array(np.zeros(count + 1, "i4")), empty)
    given = {
        "mouse": pa.DictionaryArray.from_arrays(np.zeros(count, "i4"), [NAME]),
        "trial_indices": np.zeros(count, "i8"),
        "prediction": nested,
        "neuron_ids": pa.ListArray.from_arrays(
            pa.array(np.zeros(count + 1, "i4")), pa.array([0], pa.uint32())
        ),
    }
    pq.write_table(pa.table(given), path, compression="brotli")


def a_long_row(path):
    """A row of sixty million zeros."""
    count = 20_000_000
    flat = pa.array(np.zeros(count, "f4"))
    inner = pa.ListArray.from_arrays(pa.array([0, count], pa.int32()), flat)
    given = columns() | {
        "mouse": [NAME],
        "trial_indices": [4],
        "prediction": pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), inner),
        "neuron_ids": [IDS],
    }
    pq.write_table(pa.table(given), path, compression="brotli")


def long_names(path):
    """A name of half a million letters that many rows share, and is there once."""
    n = 3000
    same = pa.array(np.zeros(n, np.int32))
    mice = pa.DictionaryArray.from_arrays(same, pa.array(["m" * 500_000]))
    rates, ids = pa.array([[[1.0]]] * n), pa.array([[1]] * n)
    arrays = [mice, pa.array(np.arange(n)), rates, ids]
    pq.write_table(pa.Table.from_arrays(arrays, parquet2023.COLUMNS), path)


def sound(path):
    parquet2023.write(path, answers(), tier="oracle")


def damaged(at, content):
    def plant(path):
        sound(path)
        whole = bytearray(path.read_bytes())
        place = at if at >= 0 else len(whole) + at
        whole[place : place + len(content)] = content
        path.write_bytes(whole)

    return plant


def zipped(*members, compression=zipfile.ZIP_DEFLATED):
    def plant(path):
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in members:
                archive.writestr(name, content)

    return plant


def bomb(path):
    """A zip of half a megabyte with a table of half a gigabyte."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("predictions_oracle.csv", "w", force_zip64=True) as out,
    ):
        out.write(b"trial_indices,image_ids,prediction,neuron_ids\n1,1,")
        for _ in range(100):
            out.write(b"0," * (1 << 19))


SHORT = [[[1.0] * 6] * 4 + [[1.0] * 5]] * 2
FILMS = {
    "a million rows": (many_rows, "1000000 rows"),
    "a long row": (a_long_row, "values in 1 rows"),
    "a long name": (long_names, "a name of 500000 letters"),
    "a number of 5000 digits": (
        table(trial_indices=["9" * 5000, "5"]),
        "a name of 5000 letters",
    ),
    "a number of 500 digits": (table(trial_indices=["9" * 500, "5"]), "unknown"),
    "a column twice": (twice("prediction"), "occurs 2 times"),
    "another twice": (twice("mouse"), "occurs 2 times"),
    "no prediction": (table(prediction=None), "missing column"),
    "no ids": (table(neuron_ids=None), "missing column"),
    "missing mice": (table(mouse=[None, NAME]), "extra mouse"),
    "missing trials": (table(trial_indices=[None, 5]), "unknown trials"),
    "missing predictions": (table(prediction=[None, [[1.0] * 6] * 5]), "no prediction"),
    "missing neurons": (table(prediction=[[None] * 5] * 2), "is of type"),
    "missing values": (table(prediction=[[[None, 1.0] * 3] * 5] * 2), "NaN"),
    "missing ids": (table(neuron_ids=[[None, *IDS[1:]], IDS]), "no neuron_ids"),
    "ids below zero": (table(neuron_ids=[[-1, *IDS[1:]], IDS]), "no unit"),
    "ragged": (table(prediction=SHORT), "different lengths"),
    "text": (table(prediction=[[["a"] * 6] * 5] * 2), "strings for numbers"),
    "deeper lists": (table(prediction=[[[[1.0]] * 6] * 5] * 2), "is of type"),
    "names with escapes": (table(mouse=["a\x1b[2J", NAME]), "extra mouse"),
    "trials with escapes": (table(trial_indices=["\x1b[2J", "5"]), "unknown trials"),
    "mice as numbers": (table(mouse=[1, 2]), "expected strings"),
    "a footer without end": (damaged(-8, struct.pack("<I", 1 << 31)), "footer claims"),
    "a damaged footer": (damaged(-300, b"\xff" * 100), "damaged parquet"),
    "damaged values": (damaged(8, b"\xff" * 60), "damaged"),
    "another end": (damaged(-4, b"PARE"), "truncated"),
    "empty": (lambda p: p.write_bytes(b""), "empty file"),
    "two bytes": (lambda p: p.write_bytes(b"PA"), "no parquet"),
    "bare marks": (lambda p: p.write_bytes(b"PAR1PAR1"), "damaged parquet"),
    "a page": (lambda p: p.write_bytes(b"<html>"), "no parquet"),
    "a pipe": (os.mkfifo, "is no file"),
    "a device": (lambda p: p.symlink_to("/dev/zero"), "is no file"),
    "a folder": (lambda p: p.mkdir(), "is no file"),
}
CSV = b"trial_indices,image_ids,prediction,neuron_ids\n"
PICTURES = {
    "no text": (CSV + b"1,1,\xff\xfe\xfd,[1]\n" * 2, "no "),
    "later no text": (CSV + b"1,1,[1],[1]\n" * 99 + b"\xff\n", "is no csv"),
    "a field of 5 MB": (CSV + b'1,1,"[' + b"1," * (5 << 19) + b']",[1]\n', "is no csv"),
    "long numbers": (CSV + b"1,1,[" + b"9" * 5000 + b"],[1]\n", "strings for numbers"),
    "other digits": (CSV + "1,1,[\u00b2],[1]\n".encode(), "strings for numbers"),
    "twenty million commas": (CSV + b"," * (20 << 20), "a line has more than"),
    "commas between quotes": (CSV + b'"\n",' * (4 << 20), "a line has more than"),
    "empty lines without end": (CSV + b"\n" * (20 << 20), "a line has more than"),
    "a million lines": (CSV + b"1,1,1,1\n" * 300_000, "more than 200000 lines"),
    "a column twice": (CSV[:-1] + b",mouse,mouse,prediction\n1,1,1,1\n", "occurs 2"),
    "short lines": (CSV + b"1\n2\n", "no prediction"),
    "open quotes": (CSV + b'1,1,"[1', "missing trials"),
    "no lines": (CSV, "no row"),
    "no columns": (b"\n", "missing column"),
}
ZIPS = {
    "bomb": (bomb, "would unpack to"),
    "nothing": (lambda p: p.write_bytes(b""), "readable zip"),
    "a page": (lambda p: p.write_bytes(b"<html>"), "readable zip"),
    "no table": (zipped(("readme.txt", b"x")), "no submission inside"),
    "upward": (zipped(("../../x.csv", CSV)), "a folder inside"),
    "absolute": (zipped(("/x.csv", CSV)), "a folder inside"),
    "a name with escapes": (zipped(("a\x1b[2J.csv", CSV)), "control characters"),
    "a long name": (zipped(("a" * 300 + ".csv", CSV)), "at most 200"),
    "a pipe": (os.mkfifo, "is no file"),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Recordings of films and of pictures."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for name, frames, rules, tiers in (
        ("films/" + NAME, FRAMES, "2023", TIERS),
        ("pictures/static1", 1, "2022", ["train"] * 4 + ["validation"] * 2),
    ):
        write_session(
            root / name,
            videos=rng.integers(0, 256, (6, frames, 4, 5)).astype(float),
            responses=rng.gamma(1, 2, (6, frames, NEURONS)),
            tiers=tiers,
            rules=rules,
        )
    return root


@attacked.HALVES
def test_submissions(data, tmp_path, half):
    films, pictures = str(data / "films"), str(data / "pictures")
    cases = []

    def add(name, path, recordings, said):
        cases.append(Case(name, ("validate", str(path), recordings), said))
        if name != "missing values":  # which score nothing, and are told
            cases.append(Case(f"read {name}", ("read", str(path), recordings)))

    for i, name, (plant, said) in attacked.of_half(FILMS, half):
        path = tmp_path / f"{i}.parquet"
        plant(path)
        add(name, path, films, said)
    for i, name, (content, said) in attacked.of_half(PICTURES, half):
        path = tmp_path / f"{i}.csv"
        path.write_bytes(content)
        add(f"csv {name}", path, pictures, said)
    for i, name, (plant, said) in attacked.of_half(ZIPS, half):
        path = tmp_path / f"{i}.zip"
        plant(path)
        add(f"zip {name}", path, pictures if "csv" in said else films, said)
    sound(tmp_path / "good.parquet")
    path = str(tmp_path / "good.parquet")
    for name in ("a column twice", "no ids", "ragged", "missing ids"):
        truth = str(tmp_path / f"truth{name}.parquet")
        FILMS[name][0](truth)
        cases.append(Case(f"truth with {name}", ("read", path, films, truth)))
    healthy = [
        Case("good", ("validate", path, films)),
        Case("read good", ("read", path, films)),
    ]
    problems = attacked.run(tmp_path, cases, healthy=healthy)
    assert not problems, "\n".join(problems)


def test_the_same_predictions_give_the_same_bytes(tmp_path):
    contents = []
    for day in (1, 2):
        folder = tmp_path / str(day)
        folder.mkdir()
        files = [folder / "a.parquet", folder / "b.csv"]
        sound(files[0])
        one = csv2022.PictureAnswer(1, 2, np.ones(3), np.arange(3))
        csv2022.write(files[1], [one])
        for file in files:
            os.utime(file, (day * 1e6, day * 1e9))
            file.chmod(0o600 if day == 1 else 0o644)
        packed = zips.pack(folder / "all.zip", files)
        contents.append([f.read_bytes() for f in (*files, packed)])
        with zipfile.ZipFile(packed) as archive:
            assert archive.namelist() == ["a.parquet", "b.csv"]
            assert archive.read("b.csv") == files[1].read_bytes()
    assert contents[0] == contents[1]
