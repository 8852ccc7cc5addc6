"""One writer at a time for a folder."""

import errno
import fcntl
import os
import subprocess
import sys

import pytest

from sensorium_jax.errors import UserError
from sensorium_jax.io.lock import only_writer

HOLDING = """
import sys
from sensorium_jax.io.lock import only_writer
with only_writer(sys.argv[1], "run"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_has_one_writer_until_it_ends_or_dies(tmp_path):
    folder = tmp_path / "run"
    words = [sys.executable, "-c", HOLDING, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, **pipes) as other:
        assert other.stdout.readline() == b"held\n"
        with (
            pytest.raises(UserError, match="Another run is writing to"),
            only_writer(folder, "run"),
        ):
            pass
        other.kill()
    with only_writer(folder, "run"):
        assert [p.name for p in folder.iterdir()] == [".lock"]
    assert not any(folder.iterdir())


def test_a_disk_without_locks_is_written_to_all_the_same(tmp_path, monkeypatch):
    asked = []

    def refuse(*words):
        asked.append(words)
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with only_writer(tmp_path, "run"):
        assert len(asked) == 1 and (tmp_path / ".lock").exists()
    assert not any(tmp_path.iterdir())


def test_a_lock_file_that_its_holder_removed_holds_nothing(tmp_path, monkeypatch):
    """We opened it, its holder ended and removed it, and only then we locked it."""
    honest, tried = fcntl.flock, []

    def removed_first(*words):
        tried.append(words)
        if len(tried) == 1:
            (tmp_path / ".lock").unlink()
        return honest(*words)

    monkeypatch.setattr(fcntl, "flock", removed_first)
    with only_writer(tmp_path, "run"):
        assert len(tried) == 2 and (tmp_path / ".lock").exists()


@pytest.mark.parametrize("plant", ["pipe", "link"])
def test_a_lock_that_is_no_file_is_neither_waited_for_nor_followed(tmp_path, plant):
    folder = tmp_path / "run"
    folder.mkdir()
    if plant == "pipe":
        os.mkfifo(folder / ".lock")
    else:
        (folder / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=f"a {plant}, expected a file"):
        only_writer(folder, "run").__enter__()
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
