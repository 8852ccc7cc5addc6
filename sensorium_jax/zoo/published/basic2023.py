"""Names of the full 3-D model of the 2023 tutorial."""

from sensorium_jax.zoo.published.common import CONSTANTS, GAUSSIAN, SHIFTER, norm
from sensorium_jax.zoo.published.names import Row

TABLE = (
    *(
        row
        for suffix, layer in (("", "layer0"), ("_{i}", "layer{i}"))
        for row in (
            Row(
                f"core.features.{layer}.conv{suffix}.weight",
                f"params/core/{layer}/conv/kernel",
                "conv",
            ),
            Row(
                f"core.features.{layer}.conv{suffix}.bias",
                f"params/core/{layer}/conv/bias",
            ),
        )
    ),
    *norm("core.features.layer{i}.norm", "core/layer{i}/norm"),
    *GAUSSIAN,
    *SHIFTER,
)
CONSTANTS = CONSTANTS
FIRST = "core.features.layer0.conv.weight"
ZEROS = None
