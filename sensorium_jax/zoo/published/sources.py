"""Where the authors keep their weights, and what those files are."""

from typing import NamedTuple

BASE = (
    "https://raw.githubusercontent.com/sinzlab/sensorium/"
    "c433fed25f234724fd9adf0cef3c260a2068b1fa/"
    "notebooks/model_tutorial/model_checkpoints/pretrained"
)
LICENSE = "MIT, Copyright (c) 2024 Sensorium GitHub Contributors"
PAGE = "https://github.com/sinzlab/sensorium"


class File(NamedTuple):
    """One published checkpoint."""

    name: str
    size: int  # bytes
    sha256: str


FILES = {
    "cnn2022": File(
        "sensorium_sota_model.pth",
        2_383_728,
        "7a87989732c34068fe10aaf1dd2c0421cb47cb1693b4f95a5e0e381632456173",
    ),
    "cnn2022_plus": File(
        "sensorium_p_sota_model.pth",
        2_380_702,
        "2c82812e8193ce72896d37e0ca6a5bf688ec3e284ba1e27dad8040ee21da274a",
    ),
    "ln2022": File(
        "sensorium_ln_model.pth",
        2_334_280,
        "4a243d8b76b9a523563c58530414bc6da5778be0448c7ec37b9d1a010989114a",
    ),
    "ln2022_plus": File(
        "sensorium_p_ln_model.pth",
        2_331_190,
        "786723be498d87f676459f7fd9e975df61d7c86295dda8ea3afae8a29dc1d161",
    ),
}
