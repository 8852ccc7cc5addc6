"""Which format a source has, by what it is made of."""

from pathlib import Path
from types import ModuleType

from sensorium_jax.data.formats import arrays, experanto, nwb, suite2p
from sensorium_jax.errors import UserError

EXPECTED = (
    "Expected an .nwb file or its URL, a folder of suite2p (plane0/F.npy), a folder of "
    "experanto (screen/meta.yml), or a .yaml file that describes arrays "
    "(docs/importing.md)"
)


def form_of(source: str) -> ModuleType:
    """The module of a source's format: its opened and listed read it."""
    if source.startswith(("http://", "https://")):
        return nwb
    path = Path(source)
    if not path.exists():
        raise UserError(f"{source} does not exist. {EXPECTED}.")
    if path.is_dir():
        for form in (experanto, suite2p):
            if form.is_source(path):
                return form
        raise UserError(f"{source} is a folder of another kind. {EXPECTED}.")
    if path.suffix.lower() in (".yaml", ".yml"):
        return arrays
    if path.suffix.lower() in nwb.SUFFIXES:
        return nwb
    raise UserError(f"{source} is of another kind. {EXPECTED}.")
