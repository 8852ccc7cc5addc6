"""Results of experiments, true cells and lists of stimuli that others have written."""

import json
import os

import numpy as np
import pytest

from sensorium_jax.errors import UserError
from sensorium_jax.insilico.record import Result
from sensorium_jax.scoring import kinds
from sensorium_jax.simulation.cortex.neurons import Neurons
from support.processes import attacked
from support.processes.attacked import Case
from support.recordings import in_memory

HEADER = "zarr.json"


def said(path, **words):
    """Other attributes of a group."""
    header = json.loads((path / HEADER).read_text())
    header["attributes"] |= words
    (path / HEADER).write_text(json.dumps(header))


def listed(names):
    return lambda path: said(path, arrays=names)


def huge(path):
    array = path / "of_neurons/x" / HEADER
    header = json.loads(array.read_text())
    array.write_text(json.dumps(header | {"shape": [1 << 40, 2]}))


def deep(path):
    (path / HEADER).write_text("[" * 100_000)


def pipe(name):
    def plant(path):
        (path / name).unlink()
        os.mkfifo(path / name)

    return plant


GROUPS = {
    "arrays upward": (listed(["../../x"]), "outside of it"),
    "arrays elsewhere": (listed(["/etc"]), "outside of it"),
    "arrays in a number": (listed(3), "no result"),
    "an array that is not there": (listed(["y"]), "no result"),
    "failures without a number": (lambda p: said(p, failed={"x": 1}), "no result"),
    "an array of terabytes": (huge, "claims"),
    "deep": (deep, "lists inside lists"),
    "a pipe": (pipe(HEADER), "a pipe"),
    "a pipe for an array": (pipe(f"of_neurons/x/{HEADER}"), "a pipe"),
}
CELLS = 3
SHAPES = {"coordinates_n3": (CELLS, 3), "center_n2": (CELLS, 2), "eye_22": (2, 2)}
TRUTHS = {
    "cells of two numbers": {"sigma": np.zeros(2)},
    "cells in words": {"sigma": np.full(CELLS, "a")},
    "kinds without letters": {"kind": np.full(CELLS, 0x7FFFFFFF, "u4").view("<U1")},
    "no cells": {"kind": np.zeros(0, "U1")},
    "two years": {"year": np.array([2022, 2023])},
}


def cells(**changes):
    every = {name: np.zeros(SHAPES.get(name, CELLS)) for name in Neurons._fields}
    return every | {"kind": np.full(CELLS, "a"), "year": 2023} | changes


def test_results_and_truths(tmp_path):
    one = Result("x", {}, np.arange(3), {"x": np.ones((3, 2))}, {"y": np.ones(2)})
    cases = []
    for name, (plant, words) in GROUPS.items():
        path = one.save(tmp_path / name / "x.zarr")
        plant(path)
        cases.append(Case(name, ("result", str(path)), words))
    for name, changes in TRUTHS.items():
        place = tmp_path / name / "dynamic0/meta/ground_truth"
        place.mkdir(parents=True)
        np.savez(place / "neurons.npz", **cells(**changes))
        cases.append(Case(name, ("truth", str(tmp_path / name)), "neurons.npz"))
    healthy = [Case("sound", ("result", str(one.save(tmp_path / "sound.zarr"))))]
    problems = attacked.run(tmp_path, cases, healthy=healthy)
    assert not problems, "\n".join(problems)


LISTS = {
    "words": b"trial,stimulus\nseven,x\n",
    "a long number": b"trial,stimulus\n" + b"9" * 5000 + b",x\n",
    "half a line": b"trial,stimulus\n4\n",
    "no text": b"trial,stimulus\n4,\xff\n",
    "a long word": b"trial,stimulus\n4," + b"x" * 200_000 + b"\n",
    "nothing": b"",
}


@pytest.mark.parametrize("name", [*LISTS, "a pipe"])
def test_lists_of_stimuli(tmp_path, name):
    path, session = tmp_path / "types.csv", in_memory.session()
    if name in LISTS:
        path.write_bytes(LISTS[name])
    else:
        os.mkfifo(path)
    with pytest.raises(UserError, match="types.csv"):
        kinds.kinds(session, np.arange(1), np.zeros(1, int), str(path))
