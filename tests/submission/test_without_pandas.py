"""A submission is written where pandas is not installed, with any pyarrow."""

import os
import subprocess
import sys

from support.processes.runs import PATHS

# pyarrow remembers whether there is pandas, so this needs a program of its own.
PROGRAM = """
import sys

class Without:
    def find_spec(self, name, *words):
        if name.split(".")[0] == "pandas":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Without())
import numpy as np
from sensorium_jax.submission import parquet2023

rng = np.random.default_rng(0)
answers = [
    parquet2023.FilmAnswer("dynamic1", trial, rng.random((3, 5)), np.arange(3))
    for trial in range(2)
]
for single, kind in ((False, np.float64), (True, np.float32)):
    assert parquet2023.write(sys.argv[1], answers, single=single) == 2
    file = parquet2023.table(sys.argv[1])
    for row, answer in zip(parquet2023.rows(file), answers, strict=True):
        assert row.values.dtype == kind
        wanted = answer.prediction_nt.astype(kind)
        np.testing.assert_array_equal(row.prediction_nt, wanted)
"""


def test_films_are_written_and_read_without_pandas(tmp_path):
    words = [sys.executable, "-c", PROGRAM, str(tmp_path / "a.parquet")]
    done = subprocess.run(words, env=os.environ | PATHS, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
