"""YAML, foreign files and recipes made to run, to grow, or to hang."""

import os
import struct
import zipfile

import numpy as np
import pytest
import yaml

from support.processes import attacked
from support.processes.attacked import Case

SOUND = {
    "stimulus": {"file": "film.npy", "rate": 10},
    "responses": {"file": "dff.npz", "variable": "dff", "rate": 10},
}
LAUGHS = "a0: &a0 [1, 2]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30)
)
MERGES = "b0: &b0 {x: 1}\n" + "".join(
    f"b{i}: &b{i} {{<<: [{', '.join([f'*b{i - 1}'] * 9)}]}}\n" for i in range(1, 12)
)
WRITTEN = {
    "laughs": (LAUGHS, "lists inside lists"),
    "merges": (MERGES, "merges keys"),
    "deep": ("a: " + "[" * 90_000, "no YAML file"),
    "in itself": ("stimulus: &a [*a]\nresponses: b", "lists inside lists"),
    "runs": ("a: !!python/object/apply:os.system ['touch x']", "no YAML file"),
    "a name": ("a: !!python/name:os.system", "no YAML file"),
    "a long number": ("stimulus: " + "9" * 5000 + "\nresponses: b", "no YAML file"),
    "a date that is none": ("stimulus: 2001-99-99\nresponses: b", "no YAML file"),
    "a list for a key": ("? [a]\n: b", "no YAML file"),
    "escapes": ('"a\\e[2J": 1', "Unknown key"),
    "long": ("a: " + "x" * (1 << 19), "bytes"),
    "no text": ("\0\1\2", "no YAML file"),
    "nothing": ("", "Expected keys"),
    "two documents": ("a: 1\n---\nb: 2", "no YAML file"),
}


def written(**changes):
    return lambda place: (place / "mine.yaml").write_text(
        yaml.safe_dump(SOUND | changes)
    )


def film(name):
    return written(stimulus={"file": name, "rate": 10})


def beside(name, make, plant):
    def act(place):
        (place / name).unlink(missing_ok=True)
        make(place / name)
        plant(place)

    return act


def claims(path):
    """A member whose own header says more than the archive does."""
    np.savez(path, dff=np.zeros((40, 3)))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"(40, 3)", b"(-9, 3)"))


def noise(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("dff.npy", os.urandom(9999))
    content = bytearray(path.read_bytes())
    content[60:600] = bytes(540)
    path.write_bytes(content)


def device(path):
    path.symlink_to("/dev/zero")


def long_list(path):
    np.savez(path, dff=np.zeros((40, 3)))
    content = bytearray(path.read_bytes())
    at = content.rfind(b"PK\5\6")
    struct.pack_into("<I", content, at + 12, 100 << 20)
    path.write_bytes(content)


PLANTED = {
    "pipe": (beside("film.npy", os.mkfifo, written()), "a pipe"),
    "device": (beside("film.npy", device, written()), "a device"),
    "npz pipe": (beside("dff.npz", os.mkfifo, written()), "a pipe"),
    "npz claims": (beside("dff.npz", claims, written()), "is no array"),
    "npz noise": (beside("dff.npz", noise, written()), "is no array"),
    "npz list": (beside("dff.npz", long_list, written()), "list of its members"),
    "csv pipe": (beside("t.csv", os.mkfifo, written(trials="t.csv")), "a pipe"),
    "mp4 pipe": (beside("f.mp4", os.mkfifo, film("f.mp4")), "a pipe"),
    "hdf5 pipe": (beside("f.h5", os.mkfifo, film("f.h5")), "a pipe"),
    "mat pipe": (beside("f.mat", os.mkfifo, film("f.mat")), "a pipe"),
    "yaml pipe": (beside("mine.yaml", os.mkfifo, lambda _: None), "a pipe"),
    "yaml device": (beside("mine.yaml", device, lambda _: None), "a device"),
    "nwb pipe": (lambda p: os.mkfifo(p / "x.nwb"), "a pipe"),
    "nwb device": (lambda p: device(p / "x.nwb"), "a device"),
}
FLAGS = {
    "a regex that is none": ("--config.train.frozen=((", "no regular expression"),
    "an unknown sink": ("--config.train.sinks=('tensorbord',)", "Did you mean"),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    place = tmp_path_factory.mktemp("described") / "out"
    filled(place)
    written()(place)
    return place


def filled(place):
    place.mkdir(parents=True)
    np.save(place / "film.npy", np.zeros((400, 4, 5), np.uint8))
    np.savez(place / "dff.npz", dff=np.ones((400, 3)))


def test_descriptions(sound, tmp_path):
    cases = []
    plants = {
        name: (lambda place, text=text: (place / "mine.yaml").write_text(text), said)
        for name, (text, said) in WRITTEN.items()
    }
    for i, (name, (plant, said)) in enumerate({**plants, **PLANTED}.items()):
        place = tmp_path / str(i)
        filled(place)
        plant(place)
        source = next(place.glob("*.nwb"), place / "mine.yaml")
        words = ("import", str(source), str(tmp_path / "out"), "--dry-run")
        cases.append(Case(name, words, said))
    words = ("import", str(sound / "mine.yaml"), str(tmp_path / "out"), "--dry-run")
    healthy = [Case("sound", words)]
    problems = attacked.run(tmp_path, cases, healthy=healthy)
    assert not problems, "\n".join(problems)


@pytest.mark.soak
def test_recipes(tmp_path):
    out = str(tmp_path / "out" / "run")
    cases = [
        Case(n, ("train", "--config", "demo", "--workdir", out, flag), said)
        for n, (flag, said) in FLAGS.items()
    ]
    problems = attacked.run(tmp_path, cases, healthy=[])
    assert not problems, "\n".join(problems)
