"""Names of DwiseNeuro, the winner of 2023.

lRomul/sensorium (MIT), https://github.com/lRomul/sensorium.
"""

from sensorium_jax.zoo.published.common import norm
from sensorium_jax.zoo.published.names import Row

BLOCK, OURS = "core.blocks.{2k+1}", "core/block{k}"
TABLE = (
    Row("core.stem.0.weight", "params/core/stem/kernel", "point3d"),
    *norm("core.stem.1.bn", "core/stem_norm"),
    *(
        row
        for theirs, ours, order in (
            ("conv_pw", "expand", "point3d"),
            ("spat_covn_dw", "spatial", "depthwise_spatial"),
            ("temp_covn_dw", "temporal", "depthwise_temporal"),
            ("conv_pwl", "project", "point3d"),
        )
        for row in (
            Row(f"{BLOCK}.{theirs}.0.weight", f"params/{OURS}/{ours}/kernel", order),
            *norm(f"{BLOCK}.{theirs}.1.bn", f"{OURS}/{ours}_norm"),
        )
    ),
    *(
        row
        for theirs, ours in (("conv_reduce", "reduce"), ("conv_expand", "expand"))
        for row in (
            Row(
                f"{BLOCK}.se.{theirs}.weight",
                f"params/{OURS}/gate/{ours}/kernel",
                "point3d",
            ),
            Row(f"{BLOCK}.se.{theirs}.bias", f"params/{OURS}/gate/{ours}/bias"),
        )
    ),
    *norm(f"{BLOCK}.bn_sc.bn", f"{OURS}/shortcut_norm"),
    Row(
        "cortex.layers.{i}.conv.weight",
        "params/core/cortex/layer{i}/kernel",
        "in_two_groups",
    ),
    *norm("cortex.layers.{i}.bn.bn", "core/cortex/layer{i}/norm"),
    *norm("cortex.layers.{i}.bn_sc.bn", "core/cortex/layer{i}/shortcut_norm"),
    Row("readouts.{mouse}.layer.1.weight", "params/readout/features", "rows"),
    Row("readouts.{mouse}.layer.1.bias", "params/readout/bias"),
)
CONSTANTS = (r".*\.num_batches_tracked", r"core\.blocks\.\d+\.inv_freq")
FIRST = "core.stem.0.weight"
ZEROS = None
