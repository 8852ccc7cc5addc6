"""`python -m sensorium_jax.cli` is `sensorium`."""

import sys

from sensorium_jax.cli import main

sys.exit(main())
