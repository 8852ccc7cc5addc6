import json
import resource
import struct
import sys
import threading
import time
import types

import jax
import jax.numpy as jnp
import pytest
from tensorboardX.proto.event_pb2 import Event

from sensorium_jax.errors import UserError
from sensorium_jax.run.train import profiler
from sensorium_jax.training.log import LOG, open_log, read


def events(folder):
    """(step, name, value) of every scalar in the event files of a folder."""
    found = []
    for path in sorted(folder.glob("events.*")):
        data = path.read_bytes()
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + size])
            found += [(event.step, v.tag, v.simple_value) for v in event.summary.value]
            data = data[16 + size :]
    return found


def test_every_sink_gets_every_number(tmp_path):
    with open_log(tmp_path, 9, 0, sinks=("jsonl", "tensorboard")) as log:
        log(3, {"loss": 2.5})
        log(6, {"loss": 1.5, "score": 0.25})
    rows = [json.loads(s) for s in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(r["step"], r["loss"]) for r in rows] == [(3, 2.5), (6, 1.5)]
    wanted = [(3, "loss", 2.5), (6, "loss", 1.5), (6, "score", 0.25)]
    assert events(tmp_path / "tb") == wanted


def test_events_need_no_thread_and_no_clock(tmp_path, monkeypatch):
    """The clock is set back by a year; a thread that waits by it would end."""
    before, hours = threading.active_count(), iter([0, -8760, 8760, -8760, 0])
    honest = time.time
    monkeypatch.setattr(time, "time", lambda: honest() + 3600 * next(hours, 0))
    with open_log(tmp_path, 9, 0, sinks=("tensorboard",)) as log:
        for step in range(6):
            log(step, {"loss": 2.5})
        assert threading.active_count() == before
    assert [step for step, *_ in events(tmp_path / "tb")] == list(range(6))


def test_an_unknown_sink_is_named(tmp_path):
    with (
        pytest.raises(UserError, match="Unknown sink 'jsnl'. Did you mean 'jsonl'"),
        open_log(tmp_path, 9, 0, sinks=("jsnl",)),
    ):
        pass


def test_a_full_disk_is_raised_by_the_report_that_met_it(tmp_path, monkeypatch):
    monkeypatch.setattr("sensorium_jax.training.log.FLUSH_S", -1)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    with (
        pytest.raises(OSError, match="too large"),
        open_log(tmp_path, 9, 0, sinks=("tensorboard",)) as log,
    ):
        log(1, {"loss": 2.5})
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, limit[1]))
        try:
            log(2, {"loss": 2.5})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def test_a_disk_still_full_on_resume_takes_no_lines(tmp_path, monkeypatch):
    with open_log(tmp_path, 9, 0) as log:
        log(3, {"loss": 2.5})
    before = (tmp_path / "log.jsonl").read_text()

    def full(path, content):
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="No space"), open_log(tmp_path, 9, 3):
        pass
    assert (tmp_path / "log.jsonl").read_text() == before


@pytest.fixture
def wandb(monkeypatch):
    """A stand-in for the service that keeps what it is told."""
    runs = []

    class Run:
        def __init__(self, **options):
            self.options, self.rows, self.finished = options, [], False
            runs.append(self)

        def log(self, numbers, step):
            self.rows.append((step, numbers))

        def finish(self):
            self.finished = True

    module = types.ModuleType("wandb")
    module.init = Run
    monkeypatch.setitem(sys.modules, "wandb", module)
    return runs


def test_wandb_continues_a_run_and_knows_another_of_the_same_name(tmp_path, wandb):
    for parent in ("a", "a", "b"):
        folder = tmp_path / parent / "seed1"
        folder.mkdir(parents=True, exist_ok=True)
        with open_log(folder, 9, 0, sinks=("wandb",)) as log:
            log(3, {"loss": 2.5})
    first, again, other = wandb
    assert first.rows == [(3, {"loss": 2.5})] and first.finished
    assert first.options["name"] == other.options["name"] == "seed1"
    assert first.options["id"] == again.options["id"] != other.options["id"]


def test_wandb_missing_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with (
        pytest.raises(UserError, match=r"sensorium-jax\[wandb\]"),
        open_log(tmp_path, 9, 0, sinks=("wandb",)),
    ):
        pass


def test_a_profile_is_written_when_asked_for(tmp_path):
    for on in (False, True):
        with profiler(tmp_path, on=on):
            jax.block_until_ready(jnp.ones(3) + 1)
        assert bool(list(tmp_path.rglob("*.xplane.pb"))) == on


def test_numbers_are_read_back_and_nothing_else(tmp_path):
    assert read(tmp_path) == []
    lines = ['{"step": 3, "loss": 2.5, "name": "x", "bad": NaN}', '{"step": 4, "lo']
    lines += ["[1]", '{"loss": 1.0}', "[" * 100_000, '{"step": 6, "score": 1}']
    (tmp_path / LOG).write_text("\n".join(lines))
    wanted = [{"step": 3.0, "loss": 2.5}, {"step": 6.0, "score": 1.0}]
    assert read(tmp_path) == wanted
