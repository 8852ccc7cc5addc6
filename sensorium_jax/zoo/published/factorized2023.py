"""Names of the factorized 3-D baseline of 2023 (Turishcheva et al. 2024)."""

from sensorium_jax.zoo.published.common import CONSTANTS, GAUSSIAN, SHIFTER, norm
from sensorium_jax.zoo.published.names import Row

TABLE = (
    *(
        row
        for suffix, layer in (("", "layer0"), ("_{i}", "layer{i}"))
        for part in ("spatial", "temporal")
        for row in (
            Row(
                f"core.features.{layer}.conv_{part}{suffix}.weight",
                f"params/core/{layer}/{part}/kernel",
                part,
            ),
            Row(
                f"core.features.{layer}.conv_{part}{suffix}.bias",
                f"params/core/{layer}/{part}/bias",
            ),
        )
    ),
    *norm("core.features.layer{i}.norm", "core/layer{i}/norm"),
    *GAUSSIAN,
    *SHIFTER,
)
CONSTANTS = CONSTANTS
FIRST = "core.features.layer0.conv_spatial.weight"
ZEROS = None
