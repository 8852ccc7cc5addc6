"""The JAX home of the SENSORIUM benchmarks."""

__version__ = "0.1.0.dev0"
