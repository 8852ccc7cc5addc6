"""`sensorium launch`, for a checkout that is not installed: the same words follow.

python experiments/launch.py experiments/campaigns/scaling.py --workdir runs/scaling
"""

import sys

from sensorium_jax.cli import start

if __name__ == "__main__":
    sys.argv.insert(1, "launch")
    start()
