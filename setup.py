"""Package metadata and dependencies; build and tool settings lie in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
package = (here / "sensorium_jax/__init__.py").read_text()
version = re.search(r'__version__ = "(.+)"', package)

extras = {
    "formats": ["h5py>=3.11", "scipy", "pyyaml", "av>=14"],
    "torch": ["torch>=2.13", "scipy", "scikit-image", "pandas"],
    "wandb": ["wandb"],
    "slurm": ["submitit>=1.5"],
    "search": ["optuna>=4"],
    "colab": ["ipywidgets"],
    "dev": [
        "pytest>=8",
        "pytest-xdist",
        "ruff>=0.14",
        "basedpyright>=1.30",
        "pandas",
        "scipy",
        "h5py>=3.11",
        "pyyaml",
        "av>=14",
        "pynwb>=3",
        "zarr>=3",
    ],
}

setup(
    name="sensorium-jax",
    version=version[1],
    description="The JAX home of the SENSORIUM benchmarks",
    long_description=(here / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["sensorium_jax", "sensorium_jax.*"]),
    package_data={"sensorium_jax": ["py.typed", "report/page.css", "report/page.js"]},
    install_requires=[
        "jax>=0.10",
        "jaxlib>=0.10",
        "flax>=0.12",
        "optax>=0.2.5",
        "orbax-checkpoint>=0.12",
        "tensorstore>=0.1.84",
        "ml-collections>=1.1",
        "numpy>=2.0",
        "absl-py>=2.0",
        "pyarrow>=17",
        "rich>=13",
        "tensorboardX>=2.6.2.2",
        "matplotlib>=3.9",
    ],
    extras_require=extras
    | {"all": sorted({p for group in extras.values() for p in group})},
    project_urls={},  # once the repository has an address, notebooks have badges
    entry_points={"console_scripts": ["sensorium=sensorium_jax.cli:start"]},
)
