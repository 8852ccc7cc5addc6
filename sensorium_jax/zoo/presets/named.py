"""Every preset by name."""

from typing import Any

from sensorium_jax.zoo.presets import baselines
from sensorium_jax.zoo.presets.winners import dwiseneuro, v1t, viv1t

PRESETS: dict[str, dict[str, Any]] = {
    **baselines.PRESETS,
    **dwiseneuro.PRESETS,
    **viv1t.PRESETS,
    **v1t.PRESETS,
}
