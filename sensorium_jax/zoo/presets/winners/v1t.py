"""V1T: a vision transformer for SENSORIUM+ 2022, by the defaults of its command.

What differs from that: readout biases start at mean rates, the original's at zero.
bryanlimy/V1T (MIT), https://github.com/bryanlimy/V1T.
"""

from typing import Any

from sensorium_jax.zoo.presets.baselines import (
    PICTURES_PLUS,
    QUARTER,
    READOUT2022,
    SHIFTER,
)

PRESETS: dict[str, dict[str, Any]] = {
    "v1t2022": {
        "equals": "V1T, for SENSORIUM+ 2022",
        "core": {"kind": "v1t"},
        "readout": READOUT2022,
        "shifter": SHIFTER,
        "behavior_as_channels": True,
        "pupil_as_channels": True,
        "inputs": PICTURES_PLUS,
        "asking": QUARTER,
    },
}
