import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sensorium_jax.cli import main
from sensorium_jax.data.check.check import check, inspect
from sensorium_jax.data.store.build import convert
from support.recordings.spoiled import (
    FRAMES,
    IDS,
    NAMES,
    STD,
    TIERFILE,
    TRIALS,
    R,
    all_hidden,
    array,
    as_type,
    bytes_of,
    colour,
    cut,
    edit,
    extra,
    gap,
    gone,
    locked,
    locked_folder,
    nested,
    no_modality,
    other_frames,
    pickled,
    put,
    self_link,
    session,
    tail_of_std,
    tier_names,
    twice,
    unpadded_bytes,
    unused_gap,
    upward_link,
)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    root = tmp_path_factory.mktemp("trees")
    for year in (2022, 2023):
        for mouse in (0, 1):
            session(root / str(year), year, mouse)
    return root


@pytest.fixture
def tree(pristine, tmp_path):
    def copy(year):
        shutil.copytree(pristine / str(year), tmp_path / "data")
        return tmp_path / "data" / NAMES[year].format(0)

    return copy


B, V = "data/behavior/2.npy", "data/VIDEO/2.npy"
VSTD, RSTD, BSTD = (STD.format(w) for w in ("VIDEO", "responses", "behavior"))
FAULTS = {
    "truncated": (bytes_of(R, lambda b: b[:-7]), "truncated"),
    "truncated header": (bytes_of(R, lambda b: b[:20]), "header"),
    "empty": (bytes_of(R, lambda b: b""), "empty"),
    "text": (bytes_of(R, lambda b: b"1.0, 2.0\n"), "text"),
    "empty tiers": (bytes_of(TIERFILE, lambda b: b""), "empty"),
    "text std": (bytes_of(RSTD, lambda b: b"1.0"), "text"),
    "pickled": (pickled, "pickled"),
    "text dtype": (array(R, lambda x: x.astype("U8")), "wrong dtype"),
    "bool dtype": (array(V, lambda x: x > 9), "wrong dtype"),
    "integer dtype": (array(R, lambda x: np.nan_to_num(x).astype(int)), "wrong dtype"),
    "complex": (array(R, lambda x: x.astype(complex)), "complex"),
    "complex std": (array(RSTD, lambda x: x.astype(complex)), "complex"),
    "neurons": (array(R, lambda x: x[:-1]), "wrong neuron count"),
    "behavior rows": (array(B, lambda x: x[:-1]), "wrong row count"),
    "pupil rows": (
        array("data/pupil_center/2.npy", lambda x: np.concatenate([x, x])[:3]),
        "wrong row count",
    ),
    "missing trial": (gone(R), "missing trial"),
    "missing video": (gone(V), "missing trial"),
    "missing responses": (gone("data/responses"), "missing folder"),
    "missing videos": (gone("data/VIDEO"), "missing folder"),
    "missing behavior": (gone("data/behavior"), "missing folder"),
    "missing pupil": (gone("data/pupil_center"), "missing folder"),
    "missing statistics": (gone("meta/statistics/responses"), "missing statistics"),
    "missing std": (gone(VSTD), "missing statistics"),
    "missing tiers": (gone(TIERFILE), "missing tiers"),
    "short tiers": (array(TIERFILE, lambda x: x[:-1]), "short tiers"),
    "unknown tier": (tier_names(lambda t: ["trian", *t[1:]]), "Did you mean 'train'"),
    "number tiers": (array(TIERFILE, lambda x: np.arange(TRIALS)), "wrong dtype"),
    "no training": (
        tier_names(lambda t: [x.replace("train", t[6]) for x in t]),
        "no training",
    ),
    "NaN inside": (array(R, put(np.nan, 3)), "NaN"),
    "one NaN": (array(V, put(np.nan, 0, 0, 0)), "NaN"),
    "NaN behavior": (array(B, put(np.nan, 1)), "NaN"),
    "infinity": (array(R, put(np.inf, 3)), "infinity"),
    "infinite video": (array(V, put(-np.inf, 0, 1, 1)), "infinity"),
    "negative": (array(R, put(-0.5, 0)), "negative responses"),
    "zero responses": (array(R, lambda x: x * 0), "all-zero"),
    "zero std": (array(RSTD, put(0, 3)), "zero std"),
    "zero video std": (array(VSTD, lambda x: x * 0), "zero std"),
    "zero behavior std": (array(BSTD, put(0, 1)), "zero std"),
    "negative std": (array(RSTD, put(-1, 3)), "negative std"),
    "NaN std": (array(RSTD, put(np.nan, 3)), "NaN std"),
    "NaN mean": (array(VSTD.replace("std", "mean"), lambda x: x * np.nan), "NaN mean"),
    "std shape": (array(RSTD, lambda x: x[:-1]), "another shape"),
    "video std shape": (array(VSTD, lambda x: np.ones((5, 4, 3))), "another shape"),
    "duplicate ids": (array(IDS, put(3, 4)), "duplicate unit ids"),
    "few ids": (array(IDS, lambda x: x[:-2]), "unit ids for 9 neurons"),
    "short coordinates": (
        array("meta/neurons/cell_motor_coordinates.npy", lambda x: x[:-1]),
        "short coordinates",
    ),
    "bright": (array(V, put(300, 0, 0, 0)), "outside 0-255"),
    "dark": (array(V, put(-20, 0, 0, 0)), "outside 0-255"),
    "frame sizes": (other_frames, "frame size"),
    "one frame size": (array(V, lambda x: x[:, :5]), "wrong frame size"),
    "same twice": (twice, "duplicate session"),
    "unreadable": (locked, "unreadable file"),
    "unreadable folder": (locked_folder, "unreadable folder"),
    "link to itself": (self_link, "symbolic link loop"),
    "link upwards": (upward_link, "symbolic link loop"),
}
DYNAMIC = {
    "length": (array(R, cut(17)), "wrong length"),
    "length of video": (array(V, cut(17)), "wrong length"),
    "unpadded": (array(R, cut(FRAMES)), "wrong length"),
    "time first": (array(R, np.transpose), "time first"),
    "time first video": (array(V, lambda x: np.moveaxis(x, -1, 0)), "time first"),
    "time first behavior": (array(B, np.transpose), "time first"),
    "NaN frame": (array(R, put(np.nan, ..., 5)), "NaN inside"),
    "NaN video frame": (array(V, put(np.nan, ..., 5)), "NaN inside"),
    "zero std at once": (array(RSTD, put(0, 3, 5)), "zero std"),
    "NaN std at once": (array(RSTD, put(np.nan, 3, 5)), "NaN std"),
    "early end": (array(B, put(np.nan, ..., slice(4, None))), "wrong length"),
}
CASES = [
    *(pytest.param(year, *case, id=f"{name}-{year}") for name, case in FAULTS.items()
      for year in (2022, 2023)),
    *(pytest.param(2023, *case, id=name) for name, case in DYNAMIC.items()),
]  # fmt: skip


@pytest.mark.parametrize("year, plant, words", CASES)
def test_faults_are_named_with_file_and_remedy(tree, capsys, year, plant, words):
    mouse = tree(year)
    file = plant(mouse, year)
    try:
        code = main(["check", str(mouse.parent)])
    finally:
        for path in mouse.rglob("*"):
            if not path.is_symlink() and not os.stat(path).st_mode & 0o444:
                path.chmod(0o755)
    lines = capsys.readouterr().out.splitlines()
    hits = [x for x in lines if x.startswith("error") and words in x and file in x]
    assert code == 1 and hits, "\n".join(lines)
    assert len(hits[0].split("  ")) >= 4  # level, file, finding, remedy


def test_every_file_time_first_blames_the_files(tree):
    mouse = tree(2023)
    for what in ("responses", "videos", "behavior", "pupil_center"):
        for path in (mouse / "data" / what).iterdir():
            edit(path, lambda x: np.moveaxis(x, -1, 0))
    found = {
        Path(f.file).parent.name for f in check(mouse) if "time first" in f.finding
    }
    assert found == {"responses", "videos", "behavior", "pupil_center"}


CLEAN = {
    "as written": lambda mouse, year: None,
    "float64": as_type(np.float64),
    "Fortran": as_type(np.float32, "F"),
    "big endian": as_type(">f4"),
    "NaN tails": tail_of_std,
    "gaps": gap,
    "gap of tier none": unused_gap,
    "extra columns": extra,
    "no config": lambda mouse, year: (mouse / "config.json").unlink(),
    "no pupil": no_modality("pupil_center"),
    "no behavior": no_modality("behavior"),
    "hidden tiers": all_hidden,
    "colour": colour,
    "nested": nested,
    "whole numbers": unpadded_bytes,
}


@pytest.mark.parametrize("deep", [False, True], ids=["fast", "deep"])
@pytest.mark.parametrize("year", [2022, 2023])
@pytest.mark.parametrize("plant", CLEAN.values(), ids=CLEAN)
def test_what_is_fine_passes(tree, plant, year, deep):
    mouse = tree(year)
    plant(mouse, year)
    faults = check(mouse.parent, deep=deep)
    assert not [f for f in faults if f.level == "error"], faults


def test_pristine_trees_have_not_even_warnings(pristine):
    assert check(pristine / "2022") == check(pristine / "2023") == []


def test_silent_neuron_is_a_warning(tree):
    mouse = tree(2023)
    for i in range(TRIALS):
        edit(
            mouse / f"data/responses/{i}.npy",
            lambda x: np.where(np.arange(len(x))[:, None] == 3, x * 0, x),
        )
    edit(mouse / RSTD, put(0, 3))
    levels = {f.level: f.finding for f in check(mouse)}
    assert list(levels) == ["warning"] and "never change" in levels["warning"]


def test_a_wrong_zero_among_honest_ones_is_found(tree):
    mouse = tree(2023)
    for i in range(TRIALS):
        edit(mouse / f"data/responses/{i}.npy", put(0, slice(0, 8), slice(FRAMES)))
    edit(mouse / RSTD, put(0, slice(0, 8)))
    assert {f.level for f in check(mouse)} == {"warning"}
    edit(mouse / RSTD, put(0, 8, 11))
    (fault,) = (f for f in check(mouse) if f.level == "error")
    assert "zero std in 1 of" in fault.finding


def test_sparse_pictures_may_be_silent_together(tree):
    mouse = tree(2022)
    edit(mouse / R, lambda x: x * 0)
    assert [f.level for f in check(mouse)] == ["error"]
    for i in range(TRIALS):
        if i != 2:
            edit(mouse / f"data/responses/{i}.npy", put(0, slice(1, None)))
    assert {f.level for f in check(mouse) if "all-zero" in f.finding} == {"warning"}


def test_many_alike_become_one_line(tree):
    mouse = tree(2022)
    for path in (mouse / "data/responses").iterdir():
        edit(path, lambda x: x - 5)
    faults = check(mouse)
    assert len(faults) == 6 and "4 more" in faults[-1].finding


def test_beyond_the_budget_trials_are_sampled_and_edges_still_read(tree):
    mouse = tree(2023)
    edit(mouse / "data/responses/4.npy", put(-9, 4, 4))  # neither first nor last row
    edit(mouse / "data/responses/5.npy", put(-9, 0, 4))
    edit(mouse / "data/responses/6.npy", lambda x: x * 0)
    fast = inspect(mouse, budget=1000)
    assert [Path(f.file).name for f in fast.faults] == ["5.npy", "6.npy"]
    assert "edges" in fast.read
    deep = inspect(mouse, budget=1000, deep=True)
    assert [Path(f.file).name for f in deep.faults] == ["4.npy", "5.npy", "6.npy"]


def test_json_is_one_object(tree, capsys):
    mouse = tree(2023)
    (mouse / R).write_bytes(b"")
    assert main(["check", str(mouse), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["errors"] == 1 and found["faults"][0]["file"] == R


@pytest.mark.parametrize("path", ["absent", "file.zip", "empty"])
def test_no_recordings_is_a_fault_too(tmp_path, path):
    (tmp_path / "file.zip").write_bytes(b"PK")
    (tmp_path / "empty").mkdir()
    assert main(["check", str(tmp_path / path)]) == 1


def test_damaged_archives_are_findings(tree):
    root = tree(2023).parent
    path = root / "mouse.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(5000) + b"data")
    (fault,) = check(path)
    assert fault.remedy == "unpack it first"
    assert not check(root)
    whole = path.read_bytes()
    for damaged in (whole[:-9], whole[:60] + b"x" + whole[61:], b"", b"PK\x05\x06"):
        path.write_bytes(damaged)
        (fault,) = check(path)
        assert fault.level == "error" and "damaged zip" in fault.finding
        (fault,) = check(root)
        assert fault.level == "warning" and "damaged zip" in fault.finding


def test_garbage_never_raises(tree):
    mouse = tree(2023)
    rng = np.random.default_rng(0)
    for path in sorted(mouse.rglob("*.npy")):
        data = bytearray(path.read_bytes())
        for _ in range(3):
            data[rng.integers(len(data))] = rng.integers(256)
        path.write_bytes(data[: rng.integers(1, len(data))])
    assert not [f for f in check(mouse) if "checked further" in f.finding]


def test_store_answers_for_itself(tree, tmp_path):
    mouse = tree(2022)
    convert(mouse.parent, tmp_path / "store")
    assert check(tmp_path / "store") == []
    victim = max((tmp_path / "store").rglob("c/*/*"), key=lambda p: p.stat().st_size)
    victim = next(p for p in [victim, *victim.rglob("*")] if p.is_file())
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    (fault,) = check(tmp_path / "store")
    assert fault.level == "error" and "checksum" in fault.finding
    assert fault.file == str(victim.relative_to(tmp_path / "store"))
    (tmp_path / "store/zarr.json").write_text("{")
    assert any("opened as a store" in f.finding for f in check(tmp_path / "store"))
