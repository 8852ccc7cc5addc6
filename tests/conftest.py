"""Strict arithmetic, two simulated devices and quick compiling for every test."""

import gc
import os
from importlib.metadata import version

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")

import jax  # noqa: E402
import pytest  # noqa: E402

from sensorium_jax.cli import compiling  # noqa: E402
from support.quick import quickly  # noqa: E402

compiling.short_way()
if version("jax").startswith("0.10."):  # others may not know the flag, and end there
    # The workers keep all cores busy, so programs are not cut up to be compiled.
    os.environ["XLA_FLAGS"] += " --xla_cpu_parallel_codegen_split_count=1"
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_num_cpu_devices", 2)

# The slow ones, and those whose claim is about the program that the compiler makes.
OPTIMIZED = ("optimized", "parity", "processes", "soak")


def pytest_collection_finish():
    """All that is there stays to the end: collecting garbage need not look at it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)  # tracing makes many objects that live for long


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Fixtures and test compile without optimization, unless marked."""
    with quickly(not any(map(item.get_closest_marker, OPTIMIZED))):
        return (yield)


@pytest.fixture(scope="session", autouse=True)
def compiled_once(tmp_path_factory):
    """Programs that are the same are compiled once, in processes of their own too."""
    settings = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compiled")),
        "jax_persistent_cache_min_compile_time_secs": 0.1,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            jax.config.update(name, value)
            patch.setenv(name.upper(), str(value))
        yield
