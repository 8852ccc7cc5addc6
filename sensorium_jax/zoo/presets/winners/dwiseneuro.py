"""DwiseNeuro, 1st of SENSORIUM 2023: the models of its two stages of training.

It takes frames, behavior and pupil as recorded, every second frame of a film, in the
middle of a square canvas, and answers in the units of the recorded responses. A trial
is asked by every window it has; rates are the mean of all windows that cover a frame.
"""

from typing import Any

CORE = {
    "kind": "dwiseneuro",
    "features": (64, 64, 64, 64, 128, 128, 128, 256, 256),
    "strides": (2, 1, 1, 1, 2, 1, 1, 2, 1),
    "spatial_kernel": 3,
    "temporal_kernel": 5,
    "expansion": 7,
    "squeeze": 32,
    "cortex_features": (1024, 2048, 4096),
    "groups": 2,
    "drop_path": 0.1,
}
PARTS: dict[str, Any] = {
    "readout": {"kind": "grouped", "groups": 2, "drop": 0.4},
    "output": {"kind": "softplus", "beta": 0.07},
    "behavior_as_channels": True,
    "pupil_as_channels": True,
    "inputs": {"frame_shape": (36, 64, 1), "behaviors": 2},
    "asking": {
        "mode": "window",
        "frames": 16,
        "stride": 2,
        "hop": 1,
        "blend": "uniform",
        "inputs": "raw",
        "canvas": (64, 64),
        "units": "raw",
    },
}

PRESETS: dict[str, dict[str, Any]] = {
    "dwise2023": {
        "equals": "DwiseNeuro, 1st of SENSORIUM 2023, first stage (expansion 7)",
        "core": CORE,
        **PARTS,
    },
    "dwise2023_distill": {
        "equals": "DwiseNeuro, 1st of SENSORIUM 2023, distilled (expansion 6)",
        "core": CORE | {"expansion": 6},
        **PARTS,
    },
}
