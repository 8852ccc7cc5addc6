"""Where things that can be made again are kept for a user: weights, programs."""

import os
from pathlib import Path


def cache() -> Path:
    """$SENSORIUM_CACHE, or a folder under ~/.cache."""
    root = os.environ.get("SENSORIUM_CACHE")
    if root:
        return Path(root).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "sensorium_jax"
