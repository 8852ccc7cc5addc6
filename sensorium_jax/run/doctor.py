"""What `sensorium doctor` does: whether this machine can train a model."""

import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.data.release.write import write_session
from sensorium_jax.errors import UserError
from sensorium_jax.findings import Fault, counts, error, listed, warning
from sensorium_jax.io import atomic
from sensorium_jax.run import Outcome
from sensorium_jax.run.precision import advice as advised
from sensorium_jax.text import align

SETTINGS: Any = jax.config  # whose names its types do not tell
PACKAGE = "sensorium-jax"
LEAST_GB = 5.0  # free for a run's checkpoints
COARSE = 1e-5  # relative error of a product of matrices in float32
PLUGIN = re.compile(r"jax-cuda(\d+)-plugin")
SELF_TEST = (  # of a model that compiles quickly
    "--config.train.steps=2",
    "--config.train.batch=2",
    "--config.train.frames=8",
    "--config.train.sinks=('jsonl',)",
    "--config.validate.every=10000",
    '--config.model.json={"core": {"channels": [2, 2], "lags": 3, "bases": 2, '
    '"kernels": [3, 3]}}',
)


def doctor(*, quick: bool = False) -> Outcome:
    """Versions, devices, precision and disk; quick leaves out the test run."""
    installed = packages()
    faults = [*of_versions(installed), *of_devices(installed), *of_disk()]
    worst = precision()
    if worst > COARSE:
        remedy = (
            "Runs and models ask for more by themselves; set "
            "JAX_DEFAULT_MATMUL_PRECISION=highest where code of yours must agree"
        )
        words = f"products of float32 have a relative error of {worst:.1g}"
        faults.append(warning("precision", words, remedy))
    facts = {**machine(installed), "relative error of a product": f"{worst:.1g}"}
    if not quick:
        took, fault = self_test()
        facts["test run"] = f"{took:.1f} s"
        faults += [fault] if fault else []
    many = counts(faults)
    well = not many["errors"]
    verdict = "this machine can train" if well else "mend the errors before training"
    lines = [*align(list(facts.items()), left=2), ""]
    text = "\n".join(lines) + "\n" + listed(faults)
    text += f"{verdict}: {many['errors']} errors, {many['warnings']} warnings"
    found = {"well": well, **many, "faults": [f._asdict() for f in faults]}
    return Outcome({**found, "facts": facts}, text, int(not well))


def packages() -> dict[str, str]:
    """Versions of what is installed, by names in lower case."""
    pairs = ((d.metadata["Name"], d.version) for d in metadata.distributions())
    return {name.lower().replace("_", "-"): version for name, version in pairs if name}


def numbers(version: str) -> tuple[int, ...]:
    """A version as numbers that compare: 0.10.2 is (0, 10, 2)."""
    start = re.match(r"[\d.]*", version)
    return tuple(int(x) for x in (start[0] if start else "").split(".") if x)


def needed() -> dict[str, str]:
    """The lower bound of every package that this one needs."""
    try:
        lines = metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return {}
    found = {}
    for line in lines:
        match = re.fullmatch(r"([\w.-]+)\s*>=\s*([\d.]+)", line)
        if match:
            found[match[1].lower().replace("_", "-")] = match[2]
    return found


def of_versions(installed: Mapping[str, str]) -> Iterator[Fault]:
    """Packages that are too old, and combinations that are known to be bad."""
    for name, least in needed().items():
        have = installed.get(name)
        remedy = f"pip install --upgrade '{name}>={least}'"
        if have is None:
            yield error(name, f"is not installed, expected {least} or newer", remedy)
        elif numbers(have) < numbers(least):
            yield error(name, f"is {have}, expected {least} or newer", remedy)
    jax_, lib = installed.get("jax", ""), installed.get("jaxlib", "")
    if numbers(jax_)[:2] != numbers(lib)[:2]:
        words = f"is {lib or 'missing'} beside jax {jax_ or 'missing'}"
        remedy = "pip install --upgrade jax jaxlib, so that both are of one release"
        yield error("jaxlib", words, remedy)
    plugins = sorted(name for name in installed if PLUGIN.fullmatch(name))
    if len(plugins) > 1:
        words = f"two plugins for CUDA: {' and '.join(plugins)}"
        remedy = f"pip uninstall {plugins[0]}, whichever the driver is not for"
        yield error("CUDA", words, remedy)
    for name in plugins:
        if numbers(installed[name])[:3] != numbers(lib)[:3]:
            words = f"is {installed[name]} beside jaxlib {lib}, so GPUs are not used"
            remedy = f"pip install --upgrade 'jax[{name.split('-')[1]}]'"
            yield error(name, words, remedy)
    if "jax-metal" in installed:
        words = "lacks operations that models need, and answers wrongly without a word"
        yield error("jax-metal", words, "pip uninstall jax-metal, and train on the CPU")


def of_devices(installed: Mapping[str, str]) -> Iterator[Fault]:
    """GPUs that are there and not used, and settings that change numbers."""
    seen = {d.platform for d in jax.devices()}
    card = shutil.which("nvidia-smi") is not None
    if card and seen == {"cpu"} and os.environ.get("JAX_PLATFORMS", "") != "cpu":
        words = "nvidia-smi is there, and jax sees the CPU only"
        yield warning("devices", words, "pip install --upgrade 'jax[cuda13]'")
    if SETTINGS.jax_enable_x64:
        words = "JAX_ENABLE_X64 is set: twice the memory, and other numbers"
        yield warning("precision", words, "Unset JAX_ENABLE_X64")


def of_disk() -> Iterator[Fault]:
    """Folders that take no file or hardly any."""
    for folder in (Path.cwd(), Path(tempfile.gettempdir())):
        try:
            atomic.need_place(folder / "sensorium-doctor", folder=False)
        except UserError:
            words = "nothing can be written there"
            yield error(str(folder), words, "Change to a folder that can be written")
            continue
        free = atomic.free_bytes(folder) / 1e9
        if free < LEAST_GB:
            words = f"{free:.1f} GB are free, a run may need {LEAST_GB:.0f}"
            yield warning(str(folder), words, "Free some space, or train elsewhere")


def machine(installed: Mapping[str, str]) -> dict[str, str]:
    """What a report of a fault should say of the machine."""
    names = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", PACKAGE)
    kinds = [d.device_kind for d in jax.devices()]
    each = (f"{kinds.count(k)} x {k}" for k in dict.fromkeys(kinds))
    devices = ", ".join(each)
    precision = SETTINGS.jax_default_matmul_precision
    return {
        "python": platform.python_version(),
        **{name: installed.get(name, "not installed") for name in names},
        "system": f"{platform.system()} {platform.machine()}",
        "cores": str(len(os.sched_getaffinity(0))),
        "devices": devices,
        "matmul precision": str(precision or "default"),
        "precision of runs": advised(jax.devices()[0]) or "float32 is as fast as any",
        "disk here": f"{atomic.free_bytes(Path.cwd()) / 1e9:.1f} GB free",
    }


def precision() -> float:
    """The largest relative error of a product of matrices on the first device."""
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 256, 256))
    a32, b32 = a.astype(np.float32), b.astype(np.float32)
    exact = a32.astype(np.float64) @ b32.astype(np.float64)
    answer = np.asarray(jnp.asarray(a32) @ jnp.asarray(b32), np.float64)
    return float(np.abs(answer / exact - 1).max())


def self_test() -> tuple[float, Fault | None]:
    """Seconds of a run in a folder of its own: written, trained, saved, asked.

    And what went wrong, whatever it was.
    """
    began = time.monotonic()
    print("note: a short test run ...", file=sys.stderr, flush=True)
    # Whether it runs is asked, not how fast: nearly all of its time is compiling.
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    with tempfile.TemporaryDirectory() as folder:
        try:
            _run(Path(folder))
        except Exception as reason:
            words = f"failed: {type(reason).__name__}: {reason}"[:2000]
            remedy = "Mend what is named above; else report it with this output"
            return time.monotonic() - began, error("test run", words, remedy)
        finally:
            jax.config.update("jax_disable_most_optimizations", before)
    return time.monotonic() - began, None


def _run(folder: Path) -> None:
    from sensorium_jax.run.train import train_recipe
    from sensorium_jax.zoo import load

    rng = np.random.default_rng(0)
    trials, frames, neurons = 5, 16, 3
    facts: dict[str, Any] = {
        "videos": rng.integers(0, 256, (trials, frames, 9, 11)).astype(np.uint8),
        "responses": rng.gamma(1, 2, (trials, frames, neurons)),
        "tiers": ["train"] * 3 + ["val"] * 2,
    }
    write_session(folder / "data/mouse", **facts)
    changes = [f"--config.data.root={folder / 'data'}", *SELF_TEST]
    train_recipe("demo", str(folder / "run"), changes)
    twin = load.load(folder / "run")
    rates = np.asarray(twin.respond(facts["videos"][:1, ..., None]))
    if rates.shape[2] != neurons or not np.isfinite(rates).all():
        raise UserError(f"The model answered {rates.shape} numbers, not all finite.")
