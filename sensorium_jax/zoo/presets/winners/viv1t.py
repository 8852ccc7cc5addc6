"""ViV1T, third in SENSORIUM 2023: as its published command trains it.

What differs from that: the original sees films as (x - mean) / (SD - mean) frame by
frame, which is a sign and a scale, and signals between 0 and 1; here both are
normalized as the judges do. bryanlimy/ViV1T (MIT), https://github.com/bryanlimy/ViV1T.
"""

from typing import Any

from sensorium_jax.zoo.presets.baselines import READOUT2023, SHIFTER, VIDEOS

PRESETS: dict[str, dict[str, Any]] = {
    "viv1t2023": {
        "equals": "ViV1T, 3rd of SENSORIUM 2023",
        # Eight places or frames attend at a time: whole clips take tens of GB.
        "core": {"kind": "viv1t", "together": 8},
        "readout": READOUT2023 | {"state": True},
        "shifter": SHIFTER,
        "output": {"kind": "exp"},
        "behavior_as_channels": True,
        "pupil_as_channels": True,
        "inputs": VIDEOS,
    },
}
