"""Names of DwiseNeuro, the winner of 2023.

lRomul/sensorium (MIT), https://github.com/lRomul/sensorium.
"""

import numpy as np

from sensorium_jax.zoo.published.common import norm
from sensorium_jax.zoo.published.names import Read, Row

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
# In the order of the author's readouts; neurons of each.
MICE = {
    "dynamic29515-10-12-Video-9b4f6a1a067fe51e15306b9628efea20": 7863,
    "dynamic29623-4-9-Video-9b4f6a1a067fe51e15306b9628efea20": 7908,
    "dynamic29647-19-8-Video-9b4f6a1a067fe51e15306b9628efea20": 8202,
    "dynamic29712-5-9-Video-9b4f6a1a067fe51e15306b9628efea20": 7939,
    "dynamic29755-2-8-Video-9b4f6a1a067fe51e15306b9628efea20": 8122,
    "dynamic29156-11-10-Video-8744edeac3b4d1ce16b680916b5267ce": 7440,
    "dynamic29228-2-10-Video-8744edeac3b4d1ce16b680916b5267ce": 7928,
    "dynamic29234-6-9-Video-8744edeac3b4d1ce16b680916b5267ce": 8285,
    "dynamic29513-3-5-Video-8744edeac3b4d1ce16b680916b5267ce": 7671,
    "dynamic29514-2-9-Video-8744edeac3b4d1ce16b680916b5267ce": 7495,
}
STAGES = {7: "dwise2023", 6: "dwise2023_distill"}  # by expansion
EXPAND = "params/core/block0/expand/kernel"
CONSTANTS = (r".*\.num_batches_tracked", r"core\.blocks\.\d+\.inv_freq")
FIRST = "core.stem.0.weight"
ZEROS = None


def expansion(found: Read) -> int:
    """How many times as wide a block is inside; 0 where the file has none."""
    kernel = found.shared.get(EXPAND, np.zeros((1, 0)))
    return kernel.shape[1] // kernel.shape[0]


def of_mice(found: Read) -> Read:
    """Mice by their names, without the output that fills up an odd number of neurons.

    The first half of the neurons reads the first half of the features. A file of other
    mice than the author's does not say which numbers are odd: all outputs stay.
    """
    order = sorted(found.mice, key=lambda name: (len(name), name))
    rows = [len(found.mice[name].get("params/readout/bias", ())) for name in order]
    known = dict(MICE)
    if rows != [count + count % 2 for count in MICE.values()]:
        known = {f"mouse{name}": n for name, n in zip(order, rows, strict=True)}
    mice = {}
    for name, (called, count) in zip(order, known.items(), strict=True):
        half = -(-count // 2)
        at = np.arange(count, dtype=np.int32)
        own = {leaf: x[:count] for leaf, x in found.mice[name].items()}
        mice[called] = own | {"info/match_n": 2 * (at % half) + at // half}
    return found._replace(mice=mice)
