"""Files appear whole or not at all, and room is asked for before it is needed."""

import errno

import pytest

from sensorium_jax.errors import UserError
from sensorium_jax.io import atomic


@pytest.mark.parametrize("apart", [False, True], ids=["beside", "apart"])
@pytest.mark.parametrize("durable", [False, True], ids=["", "durable"])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, apart, durable):
    options = {"partial": tmp_path / ".partial" if apart else None, "durable": durable}
    atomic.write(tmp_path / "new/note", "first", **options)
    with (
        pytest.raises(ZeroDivisionError),
        atomic.whole(tmp_path / "new/note", **options) as temporary,
    ):
        temporary.write_text("half")
        raise ZeroDivisionError
    assert (tmp_path / "new/note").read_text() == "first"
    atomic.write_json(tmp_path / "new/note", {"a": 1}, **options)
    assert (tmp_path / "new/note").read_text() == '{\n "a": 1\n}\n'
    files = [p.name for p in tmp_path.rglob("*") if p.is_file()]
    assert files == ["note"]


def test_what_killed_writers_of_a_file_left_is_deleted(tmp_path):
    folder = tmp_path / "a[1]"
    folder.mkdir()
    for left in (".a[1]-x.csv.77", ".a[1]-y.csv.77", ".a[1]-x.csv.part", "x.csv"):
        (folder / left).touch()
    atomic.discard_left(folder / "x.csv")
    names = sorted(p.name for p in folder.iterdir())
    assert names == [".a[1]-x.csv.part", ".a[1]-y.csv.77", "x.csv"]


def test_too_little_room_is_said_before_anything_begins(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("U", (), {"free": 10**9}))
    atomic.need_space(tmp_path, 10**9, "for the film")
    with pytest.raises(UserError, match=r"1.00 GB free, 2.50 GB .* for the film. Free"):
        atomic.need_space(tmp_path, 25 * 10**8, "for the film")
    with pytest.raises(UserError, match="for the film. Use float16"):
        atomic.need_space(tmp_path, 25 * 10**8, "for the film", "Use float16.")


def test_a_place_for_a_result_is_known_before_the_work(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.touch()
    for path, folder in ((tmp_path / "a/b", True), (tmp_path / "a/b.csv", False)):
        atomic.need_place(path, folder=folder)
    atomic.need_place(file, folder=False)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    for path, folder in ((file, True), (file / "a", True), (file / "a", False)):
        with pytest.raises(UserError, match="file is a file, expected a folder"):
            atomic.need_place(path, folder=folder)
    with pytest.raises(UserError, match="is a folder, expected a file"):
        atomic.need_place(tmp_path, folder=False)

    def refuse(dir):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(atomic.tempfile, "TemporaryFile", refuse)
    with pytest.raises(UserError, match="Nothing can be written .*Read-only"):
        atomic.need_place(tmp_path / "a", folder=True)
