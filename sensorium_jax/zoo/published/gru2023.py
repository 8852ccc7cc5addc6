"""Names of the GRU baseline of 2023 (Turishcheva et al. 2024)."""

from sensorium_jax.zoo.published.common import CONSTANTS, GAUSSIAN, SHIFTER, norm
from sensorium_jax.zoo.published.names import Row

TABLE = (
    Row(
        "core.features.layer{i}.hermite_conv.coeffs",
        "params/core/layer{i}/conv/coefficients",
    ),
    *norm("core.features.layer{i}.norm.batch_norm", "core/layer{i}/norm"),
    *(
        row
        for gate in ("reset", "update", "out")
        for side in ("input", "hidden")
        for row in (
            Row(
                f"gru_module.gru.{gate}_gate_{side}.weight",
                f"params/gru/{gate}_{side}/kernel",
                "conv",
            ),
            Row(
                f"gru_module.gru.{gate}_gate_{side}.bias",
                f"params/gru/{gate}_{side}/bias",
            ),
        )
    ),
    *GAUSSIAN,
    *SHIFTER,
)
# The basis is drawn from its formula, not read.
CONSTANTS = (*CONSTANTS, r"core\.features\.layer\d+\.hermite_conv\.rotate_hermite\..*")
FIRST = "core.features.layer0.hermite_conv.coeffs"
ZEROS = None
