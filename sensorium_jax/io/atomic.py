"""One .npy file: written whole or not at all."""

import os
from pathlib import Path
from typing import Any

import numpy as np


def save_npy(path: str | Path, array: Any, partial: str | Path | None = None) -> None:
    """Write one .npy so that a kill leaves the whole file or none."""
    path = Path(path)
    folder = Path(partial) if partial else path.parent
    folder.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{path.parent.name}-{path.name}.{os.getpid()}"
    try:
        with open(temporary, "wb") as file:
            np.save(file, np.asarray(array))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
