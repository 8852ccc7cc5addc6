"""Names of the 2022 baselines, CNN and LN, both tracks.

sinzlab/sensorium (MIT), https://github.com/sinzlab/sensorium. Willeke et al. 2022.
"""

from sensorium_jax.zoo.published.common import CONSTANTS, GAUSSIAN, SHIFTER, norm
from sensorium_jax.zoo.published.names import Row

TABLE = (
    Row(
        "core.features.layer{i}.conv.weight", "params/core/layer{i}/conv/kernel", "conv"
    ),
    Row("core.features.layer{i}.conv.bias", "params/core/layer{i}/conv/bias"),
    *(
        row
        for theirs, ours, order in (
            ("in_depth_conv", "pointwise_in", "pointwise"),
            ("spatial_conv", "depthwise", "depthwise"),
            ("out_depth_conv", "pointwise_out", "pointwise"),
        )
        for row in (
            Row(
                f"core.features.layer{{i}}.ds_conv.{theirs}.weight",
                f"params/core/layer{{i}}/conv/{ours}/kernel",
                order,
            ),
            Row(
                f"core.features.layer{{i}}.ds_conv.{theirs}.bias",
                f"params/core/layer{{i}}/conv/{ours}/bias",
            ),
        )
    ),
    *norm("core.features.layer{i}.norm", "core/layer{i}/norm"),
    *GAUSSIAN,
    *SHIFTER,
)
CONSTANTS = CONSTANTS
FIRST = "core.features.layer0.conv.weight"
# The published files were made before the original gave its convolutions biases.
ZEROS = r"params/core/layer\d+/conv/.*bias"
