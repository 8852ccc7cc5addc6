"""Trees of recordings with pipes, links, claims and names that lead elsewhere."""

import io
import json
import math
import os
import shutil

import numpy as np
import pytest

from support.processes import attacked
from support.processes.attacked import Case
from support.recordings import tiny

MOUSE = "dynamic0"
TIERS, IDS = "meta/trials/tiers.npy", "meta/neurons/unit_ids.npy"
STD = "meta/statistics/responses/all/std.npy"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    root = tmp_path_factory.mktemp("tree")
    return tiny.films(root / "tree", 1, frames=8, size=(4, 5))


def said(content):
    return lambda mouse: (mouse / "config.json").write_bytes(content)


def config(**facts):
    def plant(mouse):
        path = mouse / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | facts))

    return plant


def links(to):
    return config(links={"responses": to})


def array(name, values):
    return lambda mouse: np.save(mouse / name, values, allow_pickle=True)


def claim(name, shape, descr="<f4", body=b""):
    """A header that says more than the file holds."""
    out = io.BytesIO()
    given = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, given)
    return lambda mouse: (mouse / name).write_bytes(out.getvalue() + body)


def sparse(name, shape):
    """A file that is as long as it says, and holds nothing."""

    def plant(mouse):
        claim(name, shape)(mouse)
        begin = (mouse / name).stat().st_size
        os.truncate(mouse / name, begin + 4 * math.prod(shape))

    return plant


def raw(name, content):
    return lambda mouse: (mouse / name).write_bytes(content)


def instead(name, make):
    """Something else in the place of a file."""

    def plant(mouse):
        (mouse / name).unlink(missing_ok=True)
        make(mouse / name)

    return plant


def device(path):
    path.symlink_to("/dev/zero")


def circle(path):
    path.symlink_to(path)


def named(name):
    return lambda mouse: mouse.rename(mouse.with_name(name))


def column(name):
    return lambda mouse: np.save(mouse / "meta/neurons" / name, np.arange(5))


DEEP = b"[" * 200_000
R = "data/responses/0.npy"
INFO = {
    "config pipe": (instead("config.json", os.mkfifo), "a pipe"),
    "config device": (instead("config.json", device), "a device"),
    "config circle": (instead("config.json", circle), "cannot be read"),
    "config folder": (instead("config.json", os.mkdir), "config.json"),
    "config deep": (said(DEEP), "lists inside lists"),
    "config no JSON": (said(b"<html>"), "a web page"),
    "config long": (said(b" " * (5 << 20)), "bytes"),
    "config list": (said(b"[1]"), "not a JSON object"),
    "config bytes": (said(b"\xff\xfe\xfd"), "cannot be read"),
    "links upward": (links("../../elsewhere"), "inside data/"),
    "links absolute": (links("/etc"), "inside data/"),
    "links escapes": (links("a\x1b[2J"), "inside data/"),
    "links empty": (links(""), "inside data/"),
    "links long": (links("a/" * 5000), "inside data/"),
    "links number": (links(7), "inside data/"),
    "links list": (config(links=[1]), "links are"),
    "rate of 400 digits": (config(frames_per_second=10**400), "frames_per_second"),
    "rate NaN": (said(b'{"frames_per_second": NaN}'), "frames_per_second"),
    "skip of 400 digits": (config(rules={"skip": 10**400}), "skip"),
    "rules deep": (config(rules={"tiers": [["a"] * 9] * 9}), "tiers"),
    "rules unknown": (config(rules={"a\x1b[2J" * 99: 1}), "the field"),
    "tiers pipe": (instead(TIERS, os.mkfifo), "a pipe"),
    "tiers device": (instead(TIERS, device), "a device"),
    "tiers folder": (instead(TIERS, os.mkdir), "cannot be"),
    "tiers numbers": (array(TIERS, np.arange(16)), "Expected text"),
    "tiers table": (array(TIERS, np.full((16, 2), "train")), "Expected text"),
    "tiers scalar": (array(TIERS, np.array("train")), "Expected text"),
    "tiers objects": (array(TIERS, np.array(["a", None], object)), "pickled"),
    "tiers no letters": (
        array(TIERS, np.full(16, 0x7FFFFFFF, "u4").view("<U1")),
        "no letter",
    ),
    "tiers beyond unicode": (
        array(TIERS, np.full(16, 0x110000, "u4").view("<U1")),
        "no letter",
    ),
    "tiers no ascii": (array(TIERS, np.full(16, b"\xff\xfe")), "text"),
    "tiers claim": (claim(TIERS, (1 << 40,), "<U5"), "truncated"),
    "tiers overflow": (claim(TIERS, (1 << 62, 1 << 62), "<U5"), "impossible shape"),
    "tiers negative": (claim(TIERS, (-1,), "<U5"), "impossible shape"),
    "tiers of nothing": (claim(TIERS, (1 << 60,), "<U0"), "impossible shape"),
    "ids text": (array(IDS, np.full(5, "a")), "whole number"),
    "ids table": (array(IDS, np.zeros((5, 2))), "whole number"),
    "ids claim": (claim(IDS, (1 << 40,), "<i8"), "truncated"),
    "places text": (
        array("meta/neurons/cell_motor_coordinates.npy", np.full((5, 3), "a")),
        "Expected (neurons, 3)",
    ),
    "places flat": (
        array("meta/neurons/cell_motor_coordinates.npy", np.zeros(5)),
        "Expected (neurons, 3)",
    ),
    "std text": (array(STD, np.full(5, "a")), "Expected numbers"),
    "std empty": (array(STD, np.zeros((0, 5))), "Expected numbers"),
    "std objects": (array(STD, np.array([None], object)), "pickled"),
    "std pipe": (instead(STD, os.mkfifo), "a pipe"),
    "trial pipe": (instead(R, os.mkfifo), "a pipe"),
    "trial device": (instead(R, device), "a device"),
    "trial page": (raw(R, b"<html>"), "text file"),
    "trial empty": (raw(R, b""), "empty file"),
    "trial claim": (claim(R, (5, 1 << 40)), "truncated"),
    "trial negative": (claim(R, (-5, -8), body=bytes(160)), "impossible shape"),
    "trial nothing": (claim(R, (0, 8)), "may be empty"),
    "trial scalar": (claim(R, (), body=bytes(4)), "Expected"),
    "trial objects": (array(R, np.array([{}], object)), "pickled"),
    "trial text": (array(R, np.full((5, 8), "a")), "Expected numbers"),
    "trial dates": (array(R, np.zeros((5, 8), "M8[s]")), "Expected numbers"),
    "trial records": (array(R, np.zeros((5, 8), "i4,f4")), "Expected numbers"),
    "trial deep header": (
        raw(R, b"\x93NUMPY\x01\x00\xf0\x0f" + b"(" * 4080),
        "broken .npy header",
    ),
    "trial long header": (raw(R, b"\x93NUMPY\x02\x00\xff\xff\xff\x7f"), "broken"),
    "trial of 40 GB": (sparse(R, (5, 1 << 31)), "shorter trials"),
    "column of 130 GB": (sparse("meta/trials/x.npy", (16, 1 << 31)), "keep it"),
    "unit column of 1 GB": (sparse("meta/neurons/x.npy", (5, 50_000_000)), "keep it"),
    "tiers no name": (
        array(TIERS, np.array(["train"] * 15 + ["\ud800"])),
        "names a tier",
    ),
    "tiers long": (array(TIERS, np.array(["train"] * 15 + ["x" * 999])), "at most 200"),
    "ids NaN": (array(IDS, np.full(5, np.nan)), "NaN or infinity"),
    "behavior scalar": (claim("data/behavior/0.npy", (), body=bytes(4)), "Expected"),
    "number in other digits": (
        lambda m: (m / "data/videos/0.npy").rename(m / "data/videos/\u00b2.npy"),
        "differ in trial",
    ),
    "number of 30 digits": (
        lambda m: (m / "data/videos/0.npy").rename(m / f"data/videos/{'9' * 30}.npy"),
        "differ in trial",
    ),
    "a mouse with escapes": (named("a\x1b[2Jb"), "control characters"),
    "a mouse with a line": (named("a\nb"), "control characters"),
    "a column with escapes": (column("a\x1b[2J.npy"), "control characters"),
}
CHECK = ("config pipe", "tiers device", "tiers no letters", "trial pipe", "trial claim")
CHECK += (
    "number in other digits",
    "number of 30 digits",
    "trial of 40 GB",
    "trial negative",
    "config deep",
    "links upward",
    "std pipe",
)


@attacked.HALVES
def test_trees(sound, tmp_path, half):
    cases = []
    for i, name, (plant, words) in attacked.of_half(INFO, half):
        tree = tmp_path / f"{i}"
        shutil.copytree(sound, tree)
        plant(tree / MOUSE)
        cases.append(Case(f"info: {name}", ("info", str(tree)), words))
        if name in CHECK:
            cases.append(Case(f"check: {name}", ("check", str(tree)), "error"))
    circles = tmp_path / "circles"
    shutil.copytree(sound, circles)
    for i in range(60):
        (circles / f"link{i}").symlink_to(".")
    endless = tmp_path / "endless"
    shutil.copytree(sound, endless)
    sparse(R, (5, 100_000_000))(endless / MOUSE)
    words = ("convert", str(endless), str(tmp_path / "out" / "endless"))
    cases.append(Case("convert a trial of years", words, "Expected time last"))
    (tmp_path / "out").mkdir()
    healthy = [Case("links in circles", ("info", str(circles)))]
    odd = tmp_path / "odd"
    shutil.copytree(sound, odd)
    (odd / MOUSE).rename(odd / "mouse 1")
    words = ("convert", str(odd), str(tmp_path / "out" / "store"))
    cases.append(Case("convert a name with a space", words, "Expected letters"))
    healthy += [
        Case("info", ("info", str(sound))),
        Case("check", ("check", str(sound))),
    ]
    problems = attacked.run(tmp_path, cases, healthy=healthy)
    assert not problems, "\n".join(problems)
