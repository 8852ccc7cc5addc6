"""`python -m sensorium_jax` is `sensorium`."""

from sensorium_jax.cli import start

if __name__ == "__main__":
    start()
