import os
import random
import resource
import signal
import subprocess
import time

import jax
import pytest

from sensorium_jax.run.train import train_recipe
from support.processes import runs, verbs
from support.processes.verbs import Verb
from support.processes.web import served
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


# Of ml_collections, which reads the recipe.
@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
def test_a_killed_run_ends_bit_identical(films, tmp_path, monkeypatch):
    """This process goes on with it, and knows only what lies in its folder."""
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    devices = {"JAX_NUM_CPU_DEVICES": jax.device_count()}
    process = runs.spawn(cut, films, steps=40, **devices)
    runs.until(lambda: any(runs.saved(cut)) or process.poll() is not None)
    assert process.poll() is None, runs.words(cut)
    runs.stop(process, signal.SIGKILL)
    process.wait()
    assert runs.saved(cut)[-1] < 40
    monkeypatch.setenv("ROOT", str(films))
    monkeypatch.setenv("STEPS", "40")
    for folder in (cut, whole):
        runs.command(folder)  # writes the recipe
        done = train_recipe(f"{folder}/recipe.py", f"{folder}/run")
        assert done.step == 40 and not done.stopped
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
    code = runs.finish(process, timeout=300)[0]
    said = runs.words(tmp_path)
    # Before Python has reached the command there is nobody to catch the signal.
    assert code == 0 or (after < 1 and code == -signal.SIGTERM), said
    assert "Traceback" not in said


@pytest.mark.soak
def test_a_full_disk_stops_with_words_and_the_run_goes_on_later(films, tmp_path):
    both = "--config.train.sinks=('jsonl','tensorboard')"
    process = runs.spawn(tmp_path, films, both, steps=100_000, said=subprocess.PIPE)
    runs.until(lambda: any(runs.saved(tmp_path)))
    # No file may grow any more, which the system reports as it does a full disk.
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))
    said = process.communicate(timeout=300)[0].decode()
    assert process.returncode == 1 and "is unharmed" in said, said
    assert "Traceback" not in said, said
    assert said.count("could not write") == 1 and len(said.splitlines()) < 12, said
    before = runs.saved(tmp_path)
    assert before
    rest = runs.spawn(tmp_path, films, steps=100_000)
    runs.until(lambda: runs.saved(tmp_path)[-1] > before[-1] or rest.poll() is not None)
    runs.stop(rest)
    assert runs.finish(rest) == [0], runs.words(tmp_path)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Simulated recordings, a run that was trained on them, and a mirror of zips."""
    root = tmp_path_factory.mktemp("world")
    simulated = simulate(root / "data")
    verbs.finished(simulated)
    mirror = verbs.zipped(next(root.glob("data/dynamic*")), root / "mirror")
    with served(mirror) as url:
        setting = {"data": root / "data", "run": root / "run", "url": url}
        verbs.finished(train(root / "run", setting))
        yield setting


def simulate(out, setting=None):
    words = ("simulate", str(out), "--preset", "tiny", "--trials", "24")
    return Verb(words, out)


def convert(out, setting):
    return Verb(("convert", str(setting["data"]), str(out)), out)


def download(out, setting):
    return Verb(
        ("download", verbs.NAME, "--to", str(out), "--from", setting["url"]), out
    )


def train(out, setting):
    fields = {
        "data.root": setting["data"],
        "train.steps": 24,
        "train.checkpoint_every": 8,
        "validate.every": 12,
        "validate.trials": 1,
    }
    changes = [f"--config.{name}={value}" for name, value in fields.items()]
    return Verb(("train", "--config", "demo", "--workdir", str(out), *changes), out)


def score(out, setting):
    words = ("score", "--data", str(setting["data"]), "--workdir", str(setting["run"]))
    return Verb((*words, "--tier", "oracle", "--csv", str(out / "scores.csv")), out)


def submit(out, setting):
    words = ("submit", "--data", str(setting["data"]), "--workdir", str(setting["run"]))
    return Verb((*words, "--out", str(out)), out)


VERBS = (simulate, convert, download, train, score, submit)


def results(out):
    """What a verb left, bit by bit; the arrays of a run's last step."""
    if (out / "checkpoints").is_dir():
        step = max((out / "checkpoints").glob("[0-9]*"), key=lambda p: int(p.name))
        return {name: x.tobytes() for name, x in runs.read_state(step).items()}
    return verbs.content(out)


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
def test_a_verb_that_was_ended_again_and_again_ends_the_same(
    world, tmp_path, verb, number
):
    """Seven times each, 42 kills and 42 Ctrl-C in all, over the whole time it takes."""
    whole = verb(tmp_path / "whole", world)
    whole.out.mkdir()
    took = verbs.finished(whole)
    expected = results(whole.out)
    assert expected
    cut = verb(tmp_path / "cut", world)
    cut.out.mkdir()
    times = int(os.environ.get("SENSORIUM_ENDED", "7"))
    seed = 10 * VERBS.index(verb) + number

    def is_same():
        return results(cut.out) == expected

    tally = verbs.interrupted(cut, times, number, took, is_same, seed=seed)
    print(f"{verb.__name__}, {signal.Signals(number).name}: {tally}")


@pytest.mark.processes
def test_the_first_ctrl_c_saves_and_the_second_ends_at_once(world, tmp_path):
    """Also while a program is compiled, when Python itself hears nothing."""
    verb = train(tmp_path / "run", world)
    endless = verb._replace(words=(*verb.words, "--config.train.steps=100000"))
    first = verbs.program(endless)
    runs.until(lambda: any((tmp_path / "run/checkpoints").glob("[0-9]*")))
    first.send_signal(signal.SIGINT)
    said = first.communicate(timeout=300)[0].decode()
    assert first.returncode == 130 and "stopped on request" in said, said
    for after in (0.5, 2.0, 4.0, 6.0):
        again = verbs.program(endless)
        runs.until(lambda p=again: verbs.listens(p))
        time.sleep(after)
        again.send_signal(signal.SIGINT)
        time.sleep(0.2)
        again.send_signal(signal.SIGINT)
        began = time.monotonic()
        said = again.communicate(timeout=300)[0].decode()
        took = time.monotonic() - began
        assert again.returncode == 130 and "Traceback" not in said, said
        print(f"the second Ctrl-C ended it in {took:.1f} s")
    log = tmp_path / "run/log.jsonl"
    before = log.read_text()
    last = verbs.program(endless)
    runs.until(lambda: log.read_text() != before)
    last.send_signal(signal.SIGINT)
    said = last.communicate(timeout=300)[0].decode()
    assert last.returncode == 130 and "damaged" not in said, said


@pytest.mark.processes
def test_few_open_files_end_in_words(world, tmp_path):
    for limit in (16, 24, 40, 64):
        verb = train(tmp_path / f"run{limit}", world)
        process = subprocess.Popen(
            [*runs.PROGRAM, *verb.words],
            env=os.environ | runs.PATHS | {"JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda n=limit: resource.setrlimit(
                resource.RLIMIT_NOFILE, (n, n)
            ),
        )
        said = process.communicate(timeout=600)[0].decode()
        assert process.returncode in (0, 1), said
        assert "Traceback" not in said, said


def test_a_run_that_cannot_start_says_so_in_one_line(tmp_path):
    done = subprocess.run(
        runs.command(tmp_path, "--config.train.rate=fast"),
        capture_output=True,
        text=True,
        timeout=300,
        env=runs.PATHS | {"ROOT": "nowhere", "STEPS": "1"},
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
