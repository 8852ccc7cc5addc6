"""The twin that a command asks: one model, or several that answer as one."""

from collections.abc import Sequence
from typing import Any


def one_or_ensemble(names: Sequence[str], *, step: int | None = None) -> Any:
    """The twin of a run, a folder or a published model; the ensemble of several."""
    from sensorium_jax.zoo.load import load
    from sensorium_jax.zoo.twins.ensemble import ensemble

    twins = [load(name, step=step) for name in names]
    return twins[0] if len(twins) == 1 else ensemble(twins)
