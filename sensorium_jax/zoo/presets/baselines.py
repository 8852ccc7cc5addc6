"""Named models as plain data: which parts, and what they are called with.

`kind` picks the class in zoo/assemble.py, the rest are its arguments; a part that is
None is left out. Input channels follow from the recordings: video, then behavior and
pupil where `behavior_as_channels` and `pupil_as_channels` say so. `inputs` are those of
the original (rows, columns, channels of the video as recorded; behavior signals), used
where no recordings are given. `asking` says how the model must be asked where that is
not the default of asking.Asking; recipes may change it.
"""

from typing import Any

CNN2022 = {
    "kind": "stacked2d",
    "hidden_channels": 64,
    "input_kernel": 9,
    "hidden_kernel": 7,
    "layers": 4,
    "pad_input": False,
    "depth_separable": True,
    "stack": -1,
    "momentum": 0.9,
    "conv_bias": False,
}
LN2022 = CNN2022 | {"layers": 3, "linear": True}
PREDICTOR = {"hidden": 30, "hidden_layers": 1, "tanh": True}
READOUT2022 = {
    "kind": "gaussian",
    "init_mu_range": 0.3,
    "init_sigma": 0.1,
    "predictor": PREDICTOR,
}
READOUT2023 = READOUT2022 | {"init_mu_range": 0.2, "init_sigma": 1.0}
SHIFTER = {"kind": "mlp", "hidden": 5, "layers": 3}
PICTURES = {"frame_shape": (144, 256, 1), "behaviors": 0}
PICTURES_PLUS = {"frame_shape": (144, 256, 1), "behaviors": 3}
QUARTER = {"scale": 0.25}  # the kit of 2022 shrinks its pictures to 36 x 64
VIDEOS = {"frame_shape": (36, 64, 1), "behaviors": 2}

PRESETS: dict[str, dict[str, Any]] = {
    "cnn2022": {
        "equals": "CNN baseline of SENSORIUM 2022",
        "core": CNN2022,
        "readout": READOUT2022,
        "inputs": PICTURES,
        "asking": QUARTER,
    },
    "cnn2022_plus": {
        "equals": "CNN baseline of SENSORIUM+ 2022",
        "core": CNN2022,
        "readout": READOUT2022,
        "shifter": SHIFTER,
        "behavior_as_channels": True,
        "inputs": PICTURES_PLUS,
        "asking": QUARTER,
    },
    "ln2022": {
        "equals": "LN baseline of SENSORIUM 2022",
        "core": LN2022,
        "readout": READOUT2022,
        "inputs": PICTURES,
        "asking": QUARTER,
    },
    "ln2022_plus": {
        "equals": "LN baseline of SENSORIUM+ 2022",
        "core": LN2022,
        "readout": READOUT2022,
        "shifter": SHIFTER,
        "behavior_as_channels": True,
        "inputs": PICTURES_PLUS,
        "asking": QUARTER,
    },
    "factorized2023": {
        "equals": "factorized 3-D baseline of SENSORIUM 2023",
        "core": {
            "kind": "factorized3d",
            "hidden_channels": (32, 64, 128),
            "input_spatial_kernel": 11,
            "input_temporal_kernel": 11,
            "hidden_spatial_kernel": 5,
            "hidden_temporal_kernel": 5,
            "layers": 3,
            "momentum": 0.7,
        },
        "readout": READOUT2023,
        "shifter": SHIFTER,
        "behavior_as_channels": True,
        "inputs": VIDEOS,
    },
    "gru2023": {
        "equals": "GRU baseline of SENSORIUM 2023",
        "core": {
            "kind": "rotation2d",
            "hidden_channels": 8,
            "input_kernel": 9,
            "hidden_kernel": 7,
            "layers": 4,
            "rotations": 8,
            "pad_input": False,
            "stack": -1,
            "final_nonlinearity": False,
            "momentum": 0.9,
        },
        "gru": {"features": 64, "input_kernel": 9, "hidden_kernel": 9},
        "readout": READOUT2023,
        "shifter": SHIFTER,
        "behavior_as_channels": True,
        "inputs": VIDEOS,
    },
    "basic3d2023": {
        "equals": "full 3-D model of the SENSORIUM 2023 tutorial",
        "core": {
            "kind": "basic3d",
            "hidden_channels": (64, 64),
            "input_kernel": 9,
            "hidden_kernel": (9, 7, 7),
            "layers": 2,
            "padding": True,
            "momentum": 0.7,
        },
        "readout": READOUT2023,
        "shifter": SHIFTER,
        "behavior_as_channels": True,
        "inputs": VIDEOS,
    },
    "ln2023": {
        "equals": "none: the 2022 LN read frame by frame, with behavior and pupil",
        "core": LN2022,
        "readout": READOUT2022,
        "shifter": SHIFTER,
        "behavior_as_channels": True,
        "inputs": VIDEOS,
    },
    "demo": {
        "equals": "none: small and fast, for the simulated cortex",
        "core": {"kind": "temporal_bases"},
        "readout": {
            "kind": "gaussian",
            "init_sigma": 0.04,
            "predictor": {"hidden_layers": 0, "tanh": False, "from_middle": True},
            "free_offset": True,
            "log_bias": True,
        },
        "shifter": {"kind": "mlp", "hidden": 5, "layers": 2, "from_zero": True},
        "modulator": {"kind": "log_gain", "hidden": 8},
        "output": {"kind": "exp"},
        "inputs": VIDEOS,
        # The judges' factor of every frame is noise where trials are few.
        "asking": {"units": "per_neuron"},
    },
    "own": {
        "equals": "none: for any recording; recipe own chooses its sizes",
        "core": {"kind": "energy"},
        "readout": {
            "kind": "gaussian",
            "init_sigma": 0.04,
            "predictor": None,
            "softplus_bias": True,
        },
        "shifter": {"kind": "mlp", "hidden": 5, "layers": 2, "from_zero": True},
        "modulator": {"kind": "log_gain", "hidden": 8},
        "output": {"kind": "softplus"},
        "inputs": VIDEOS,
        "asking": {"units": "per_neuron"},
    },
}
