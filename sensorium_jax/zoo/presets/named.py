"""Every preset by name."""

from typing import Any

from sensorium_jax.zoo.presets import baselines
from sensorium_jax.zoo.presets.winners import dwiseneuro

PRESETS: dict[str, dict[str, Any]] = {**baselines.PRESETS, **dwiseneuro.PRESETS}
