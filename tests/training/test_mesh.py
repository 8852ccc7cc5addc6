import json
import os
import subprocess
import sys

import numpy as np
import pytest

from support.processes import runs


def mesh_program(cases, *, timeout, quick=True, **options):
    """Results of mesh_program.py, one for each case (mice, mouse, data)."""
    words = json.dumps({"cases": cases, "quick": quick, **options})
    done = subprocess.run(
        [sys.executable, "-m", "support.processes.mesh_program", words],
        env=os.environ | runs.PATHS,
        timeout=timeout,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_mesh_of_eight_trains_as_one_device_does_and_only_reduces():
    # Three mice on two mouse rows, so that an empty one fills up; then the checkpoint
    # of one device goes on on the mesh, which has a row more.
    one, mesh = mesh_program([(3, 1, 1), (3, 2, 4)], timeout=500, move=True)
    assert (one["rows"], mesh["rows"]) == (3, 4)
    assert len(one["losses"]) == 5 and len(mesh["losses"]) == 2
    np.testing.assert_allclose(one["losses"][3:], mesh["losses"], rtol=1e-5)
    assert mesh["forbidden"] == []


MESHES = [(1, 1), (2, 1), (1, 4), (2, 4)]


@pytest.mark.soak
@pytest.mark.parametrize("mice", [3, 5, 7])
def test_every_mesh_trains_alike(mice):
    found = mesh_program([(mice, *mesh) for mesh in MESHES], timeout=1200)
    for got in found:
        assert len(got["losses"]) == 5 and got["forbidden"] == []
        np.testing.assert_allclose(got["losses"], found[0]["losses"], rtol=1e-5)


@pytest.mark.soak
@pytest.mark.parametrize("mice", [3, 5])
def test_checkpoints_move_between_meshes(mice):
    cases = [(mice, 2, 4), (mice, 1, 1), (mice, 4, 2), (mice, 2, 1)]
    first, *others = mesh_program(cases, timeout=1200, move=True)
    for got in others:
        np.testing.assert_allclose(got["losses"], first["losses"][3:], rtol=1e-5)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ("factorized2023", {}),
        ("factorized2023", {"accumulate": 2}),
        ("factorized2023", {"remat": True}),
        ("factorized2023", {"precision": "bfloat16"}),
        ("gru2023", {}),
        ("demo", {}),
        ("viv1t2023", {}),
        ("viv1t2023", {"remat": True}),
    ],
)
def test_the_optimized_program_only_reduces(recipe, options):
    batch = 16 if "accumulate" in options else 8
    found = mesh_program(
        [(5, 2, 4), (4, 1, 8)],
        timeout=1200,
        quick=False,
        recipe=recipe,
        steps=1,
        changes={"batch": batch, **options},
    )
    assert [got["forbidden"] for got in found] == [[], []]
