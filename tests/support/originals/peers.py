"""The original PyTorch code, importable: stubs for what its modules only mention."""

import importlib.util
import os
import sys
import types
import warnings
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

REPOSITORIES = {  # owner/name: the packages it brings
    "sinzlab/neuralpredictors": ("neuralpredictors",),
    "sinzlab/sensorium": ("sensorium",),
    "ecker-lab/sensorium_2023": ("sensorium",),
    "lRomul/sensorium": ("src",),
    "ecker-lab/most-discriminative-stimuli": ("controversialstimuli",),
    "sinzlab/mei": ("mei",),
    "sinzlab/insilico-stimuli": ("insilico_stimuli",),
}
STUBS = {  # where the package is missing
    "nnfabrik": {},
    "nnfabrik.utility": {},
    "nnfabrik.utility.nn_helpers": {
        "set_random_seed": lambda *_: None,
        "get_dims_for_loader_dict": lambda *_: {},
    },
    "nnfabrik.builder": dict.fromkeys(("get_data", "get_model", "get_trainer")),
    "torchvision": {},
    "IPython": {"get_ipython": lambda: None},
    "wandb": {},
    "argus": {},
    "tqdm": {"tqdm": lambda iterable, **_: iterable},
}


def use(*repositories: str) -> None:
    """Make the packages of these repositories (owner/name) importable, with stubs.

    Skips the running test, saying why, where $SENSORIUM_PEERS has no such checkout.
    Two of them call their package `sensorium`; the last one asked for wins.
    """
    root = os.environ.get("SENSORIUM_PEERS")
    if not root:
        pytest.skip("SENSORIUM_PEERS is not set; it names the folder of the originals")
    pytest.importorskip("torch", reason="the originals need torch")
    for name, members in STUBS.items():
        if name not in sys.modules and not _installed(name):
            module = types.ModuleType(name)
            module.__path__ = []  # so that submodules may be imported
            module.__spec__ = ModuleSpec(name, None)  # torch asks for it
            vars(module).update(members)
            sys.modules[name] = module
    for repository in repositories:
        path = Path(root) / repository
        if not path.is_dir():
            pytest.skip(f"$SENSORIUM_PEERS has no {repository}; clone it there")
        for package in REPOSITORIES[repository]:
            _forget(package, path)
        # A package without __init__ loses to one with it, wherever that is on the path.
        rivals = [
            str(Path(root) / other)
            for other, brings in REPOSITORIES.items()
            if set(brings) & set(REPOSITORIES[repository])
        ]
        sys.path[:] = [entry for entry in sys.path if entry not in rivals]
        sys.path.insert(0, str(path))
    # The originals warn about their own deprecations, at import and in use.
    warnings.filterwarnings(
        "ignore", module=r"(neuralpredictors|sensorium|src|controversialstimuli)\..*"
    )


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _forget(package: str, path: Path) -> None:
    """Unload a package of that name that came from elsewhere."""
    loaded = [n for n in sys.modules if n == package or n.startswith(package + ".")]
    homes = [
        home
        for name in loaded
        for home in (
            getattr(sys.modules[name], "__file__", None),
            *getattr(sys.modules[name], "__path__", ()),
        )
        if home is not None
    ]
    if not all(home.startswith(str(path)) for home in homes):
        for name in loaded:
            del sys.modules[name]
