import os
import signal

import pytest

from sensorium_jax.errors import UserError
from sensorium_jax.stop import stop_on_signals
from sensorium_jax.training.mesh import hosts

SLURM = {"SLURM_JOB_ID": "7", "SLURM_PROCID": "1"}


@pytest.mark.parametrize(
    ("env", "chips", "found"),
    [
        ({}, False, "none"),
        ({"SENSORIUM_COORDINATOR": "a:1", "SLURM_NTASKS": "2"}, False, "own"),
        (SLURM | {"SLURM_NTASKS": "2"}, False, "slurm"),
        (SLURM | {"SLURM_NTASKS": "1"}, False, "none"),
        ({"SLURM_NTASKS": "2"}, False, "none"),  # an allocation's shell, no task
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, True, "tpu"),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, True, "none"),
        ({}, True, "tpu"),  # a cloud machine tells through its metadata server
        ({"TPU_SKIP_MDS_QUERY": "1"}, True, "none"),  # a notebook has no such server
    ],
)
def test_launchers_are_recognized(env, chips, found):
    assert hosts.launcher(env, chips=chips) == found


@pytest.mark.parametrize(
    ("tasks", "nodes", "gpus", "devices"),
    [
        ("2", "2", "8", list(range(8))),  # one task per node: all its GPUs
        ("16", "2", "8", None),  # one task per GPU: jax gives each its own
        ("2", "2", "1", None),
        ("2", "2", "", None),
    ],
)
def test_a_slurm_task_alone_on_its_node_takes_all_gpus(tasks, nodes, gpus, devices):
    env = {
        "SLURM_NTASKS": tasks,
        "SLURM_NNODES": nodes,
        "SLURM_GPUS_ON_NODE": gpus,
    }
    assert hosts.local_devices(env) == devices


def test_chips_need_devices_and_the_library(tmp_path, monkeypatch):
    monkeypatch.setattr(hosts, "find_spec", lambda name: name)
    assert not hosts.has_chips(tmp_path)
    (tmp_path / "vfio").mkdir()
    (tmp_path / "vfio/vfio").touch()
    assert not hosts.has_chips(tmp_path)
    (tmp_path / "vfio/0").touch()
    assert hosts.has_chips(tmp_path)
    monkeypatch.setattr(hosts, "find_spec", lambda name: None)
    assert not hosts.has_chips(tmp_path)


@pytest.mark.parametrize("launcher", ["own", "slurm", "tpu"])
def test_jax_is_asked_to_connect_with_bounded_waits(monkeypatch, launcher):
    asked = {}
    monkeypatch.setattr(hosts.jax.distributed, "initialize", asked.update)
    monkeypatch.setattr(hosts, "has_chips", lambda: launcher == "tpu")
    env = {"SENSORIUM_HEARTBEAT_S": "9", "SENSORIUM_START_S": "8"}
    slurm = SLURM | {"SLURM_NTASKS": "2", "SLURM_NNODES": "2"}
    env |= {
        "own": dict(zip(hosts.OWN, ("a:1", "4", "3"), strict=True)),
        "slurm": slurm | {"SLURM_GPUS_ON_NODE": "4"},
        "tpu": {},
    }[launcher]
    hosts.connect(env)
    waits = {
        "initialization_timeout": 8,
        "heartbeat_timeout_seconds": 9,
        "shutdown_timeout_seconds": 9,
    }
    more = {
        "own": {"coordinator_address": "a:1", "num_processes": 4, "process_id": 3},
        "slurm": {"local_device_ids": [0, 1, 2, 3]},
        "tpu": {},
    }[launcher]
    assert asked == waits | more


def test_half_a_description_is_refused():
    with pytest.raises(UserError, match="not SENSORIUM_PROCESSES"):
        hosts.connect({"SENSORIUM_COORDINATOR": "a:1", "SENSORIUM_PROCESS": "0"})


def test_peers_that_never_come_are_said_in_words(monkeypatch):
    def initialize(**_):
        raise RuntimeError("deadline exceeded")

    monkeypatch.setattr(hosts.jax.distributed, "initialize", initialize)
    env = dict(zip(hosts.OWN, ("a:1", "2", "0"), strict=True))
    with pytest.raises(UserError, match="did not find each other within 300 s"):
        hosts.connect(env)


def test_memory_is_not_blamed_on_a_peer():
    lost, memory = RuntimeError("Gloo closed"), RuntimeError("RESOURCE_EXHAUSTED: 9 GB")
    assert "lost a peer" in hosts.failed(lost)
    words = hosts.failed(memory)
    assert "out of memory" in words and "peer" not in words


def test_an_early_signal_is_repeated():
    with stop_on_signals() as stopper:
        os.kill(os.getpid(), signal.SIGTERM)
        stopper.asked = False
        hosts.tell_again()
        assert stopper.asked
