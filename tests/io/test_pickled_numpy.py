"""Pickled arrays are read without running anything that they ask for."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from sensorium_jax.errors import UserError
from sensorium_jax.io import pickled_numpy
from sensorium_jax.io.pickled import Refused
from support.recordings import foreign


def saved(path, value, protocol=4):
    """An .npy file of objects by numpy's own header and any protocol."""
    array = np.empty((), object)
    array[()] = value
    array = value if isinstance(value, np.ndarray) else array
    with open(path, "wb") as file:
        header = {"descr": "|O", "fortran_order": False, "shape": array.shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(pickle.dumps(array, protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_what_suite2p_saves_is_read(tmp_path, protocol):
    rois = foreign.stat()
    read = pickled_numpy.read(saved(tmp_path / "stat.npy", rois, protocol))
    assert len(read) == len(rois)
    for mine, roi in zip(read, rois, strict=True):
        assert mine.keys() == roi.keys()
        for key, value in roi.items():
            array = pickled_numpy.array(mine[key])
            np.testing.assert_array_equal(array, value)
            assert array.dtype == np.asarray(value).dtype


def test_as_numpy_saves_it_by_itself(tmp_path):
    ops = {"fs": 7.5, "n": np.int64(3), "x": np.arange(6).reshape(2, 3).T, "s": "a"}
    np.save(tmp_path / "ops.npy", ops)
    read = pickled_numpy.read(tmp_path / "ops.npy")
    assert read["s"] == "a" and pickled_numpy.array(read["fs"]) == 7.5
    np.testing.assert_array_equal(pickled_numpy.array(read["x"]), ops["x"])
    assert pickled_numpy.array(read["n"]) == 3


def test_dates_and_paths_are_passed_over(tmp_path):
    from datetime import datetime

    ops = {"date": datetime(2024, 1, 1), "path": Path("a/b"), "fs": 3.0}
    read = pickled_numpy.read(saved(tmp_path / "ops.npy", ops))
    assert read["fs"] == 3.0
    with pytest.raises(Refused, match="where numbers belong"):
        pickled_numpy.array(read["date"])


class Runs:
    """Asks for a call when it is unpickled."""

    def __init__(self, function, *arguments):
        self.asked = function, arguments

    def __reduce__(self):
        return self.asked


HOSTILE = {
    "a command": (Runs(os.system, "touch {}"), "system"),
    "code": (Runs(eval, "open({!r}, 'w')"), "builtins.eval"),
    "an import": (Runs(__import__, "os"), "builtins.__import__"),
    "inside a dictionary": ({"med": Runs(exec, "1")}, "builtins.exec"),
    "numpy's own loader": (Runs(np.load, "x", None, True), "load"),
}


@pytest.mark.parametrize("value, words", HOSTILE.values(), ids=HOSTILE)
def test_what_asks_for_a_call_is_refused_in_words(tmp_path, value, words):
    mark = tmp_path / "mark"
    if isinstance(value, Runs):
        function, arguments = value.asked
        arguments = [a.format(str(mark)) if type(a) is str else a for a in arguments]
        value = Runs(function, *arguments)
    path = saved(tmp_path / "stat.npy", value)
    with pytest.raises(UserError, match=words) as caught:
        pickled_numpy.read(path)
    assert "Nothing in it was run" in str(caught.value) and not mark.exists()


def numbers(content, dtype=("f4", "<"), shape=(2,)):
    return pickled_numpy.Array(shape, pickled_numpy.Dtype(*dtype), False, content)


@pytest.mark.parametrize(
    "value, words",
    [
        (numbers(b"1234"), "has 4 bytes"),
        (numbers(b"12345678", ("O8", "|")), "elements of type object"),
        (numbers(b"12345678", ("zz", "<")), "unknown to numpy"),
        (numbers(b"", shape=(1 << 40, 1 << 40)), "has 0 bytes"),
        ({"a": 1}, "a dict where numbers belong"),
        (None, "a NoneType where numbers belong"),
    ],
)
def test_numbers_that_cannot_be(value, words):
    with pytest.raises(Refused, match=words):
        pickled_numpy.array(value)


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "no .npy file"),
        (b"<!DOCTYPE html>", "no .npy file"),
        (b"\x93NUMPY\x01\x00", "no .npy file"),
    ],
)
def test_what_is_no_file_of_objects(tmp_path, content, words):
    path = tmp_path / "stat.npy"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        pickled_numpy.read(path)


def test_cut_short_or_plain(tmp_path):
    whole = saved(tmp_path / "stat.npy", foreign.stat()).read_bytes()
    for size in range(80, len(whole) - 1, 97):
        (tmp_path / "cut.npy").write_bytes(whole[:size])
        with pytest.raises(UserError, match="was not read"):
            pickled_numpy.read(tmp_path / "cut.npy")
    np.save(tmp_path / "plain.npy", np.arange(3))
    with pytest.raises(UserError, match="expected Python objects"):
        pickled_numpy.read(tmp_path / "plain.npy")


def test_elements_must_be_as_many_as_the_shape_says(tmp_path):
    content = saved(tmp_path / "stat.npy", foreign.stat()).read_bytes()
    wrong = content.replace(b"K\x05\x85", b"K\x09\x85", 1)
    assert wrong != content
    (tmp_path / "stat.npy").write_bytes(wrong)
    with pytest.raises(UserError, match="has 5 elements"):
        pickled_numpy.read(tmp_path / "stat.npy")
