import random
import resource
import signal
import subprocess
import time

import pytest

from support.processes import runs
from support.recordings import tiny


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return tiny.films(tmp_path_factory.mktemp("films"), 2)


def killed(folder, films, kills, *, seed=0, **options):
    """Run to the end through that many kills at random moments.

    Every other one may come while the run starts: imports, compiles, restores.
    """
    random.seed(seed)
    for i in range(kills):
        process = runs.spawn(folder, films, **options)
        if i % 2:
            await_line(folder, process)
        time.sleep(random.random() * (1 if i % 2 else 8))
        assert process.poll() is None, "it ended before it was killed"
        process.kill()
        process.wait()
    assert runs.finish(runs.spawn(folder, films, **options)) == [0], runs.words(folder)


def await_line(folder, process):
    """Until the run has logged something more, or ended."""
    before = runs.steps_logged(folder)
    runs.until(lambda: process.poll() is not None or runs.steps_logged(folder) > before)


def test_a_killed_run_ends_bit_identical(films, tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert runs.finish(runs.spawn(whole, films, steps=40)) == [0], runs.words(whole)
    process = runs.spawn(cut, films, steps=40)
    runs.until(lambda: any(runs.saved(cut)) or process.poll() is not None)
    assert process.poll() is None
    runs.stop(process, signal.SIGKILL)
    process.wait()
    assert runs.saved(cut)[-1] < 40
    assert runs.finish(runs.spawn(cut, films, steps=40)) == [0], runs.words(cut)
    runs.same(runs.state(whole), runs.state(cut))


@pytest.mark.soak
def test_ten_random_kills_change_nothing(films, tmp_path):
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    long = {"steps": 1500, "EVERY": 100}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert runs.finish(runs.spawn(whole, films, **long), timeout=900) == [0]
    killed(cut, films, 10, **long)
    runs.same(runs.state(whole), runs.state(cut))
    assert (whole / "run/log.jsonl").read_text().count("loss") == (
        cut / "run/log.jsonl"
    ).read_text().count("loss")


@pytest.mark.soak
@pytest.mark.parametrize("after", [0.5, 2, 4, 6, 8, 10, 12, 16])
def test_sigterm_at_any_time_exits_well(films, tmp_path, after):
    process = runs.spawn(tmp_path, films, steps=100_000)
    time.sleep(after)
    runs.stop(process)
    code = runs.finish(process, timeout=60)[0]
    said = runs.words(tmp_path)
    # Before Python has reached the command there is nobody to catch the signal.
    assert code == 0 or (after < 1 and code == -signal.SIGTERM), said
    assert "Traceback" not in said


@pytest.mark.soak
def test_a_full_disk_stops_with_words_and_the_run_goes_on_later(films, tmp_path):
    process = runs.spawn(tmp_path, films, steps=100_000, said=subprocess.PIPE)
    runs.until(lambda: any(runs.saved(tmp_path)))
    # No file may grow any more, which the system reports as it does a full disk.
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))
    said = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 1 and "is unharmed" in said, said
    assert "Traceback" not in said, said
    before = runs.saved(tmp_path)
    assert before
    rest = runs.spawn(tmp_path, films, steps=100_000)
    runs.until(lambda: runs.saved(tmp_path)[-1] > before[-1] or rest.poll() is not None)
    runs.stop(rest)
    assert runs.finish(rest) == [0], runs.words(tmp_path)


def test_a_run_that_cannot_start_says_so_in_one_line(tmp_path):
    done = subprocess.run(
        runs.command(tmp_path, "--config.train.rate=fast"),
        capture_output=True,
        text=True,
        timeout=60,
        env=runs.PATHS | {"ROOT": "nowhere", "STEPS": "1"},
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
