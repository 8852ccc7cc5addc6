"""Writes discriminative.npz: the original's objective and gradient on some cases.

Needs torch and $SENSORIUM_PEERS, as the tests of parity do:

    python tests/golden/make_discriminative.py
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.originals import discriminative, peers  # noqa: E402

if __name__ == "__main__":
    peers.use(discriminative.REPOSITORY)
    values = [discriminative.original(case) for case in discriminative.cases()]
    arrays = {f"value{i}": value for i, (value, _) in enumerate(values)}
    arrays |= {f"gradient{i}": gradient for i, (_, gradient) in enumerate(values)}
    np.savez(Path(__file__).parent / "discriminative.npz", **arrays)
