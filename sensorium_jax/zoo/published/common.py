"""Names shared by both years: batch norm, Gaussian readout, MLP shifter.

neuralpredictors (MIT), https://github.com/sinzlab/neuralpredictors.
"""

from sensorium_jax.zoo.published.names import Row


def norm(theirs: str, ours: str) -> tuple[Row, ...]:
    """Affine parameters and running statistics of one batch norm."""
    return (
        Row(f"{theirs}.weight", f"params/{ours}/scale"),
        Row(f"{theirs}.bias", f"params/{ours}/bias"),
        Row(f"{theirs}.running_mean", f"batch_stats/{ours}/mean"),
        Row(f"{theirs}.running_var", f"batch_stats/{ours}/var"),
    )


GAUSSIAN = (
    Row("readout.{mouse}.sigma", "params/readout/sigma", "sigma"),
    Row("readout.{mouse}._features", "params/readout/features", "features"),
    Row("readout.{mouse}._mu", "params/readout/mu", "point"),
    Row("readout.{mouse}.bias", "params/readout/bias"),
    Row("readout.{mouse}.source_grid", "info/coordinates_n2"),
    Row(
        "readout.{mouse}.mu_transform.{2j}.weight",
        "params/readout/predictor/layer{j}/kernel",
        "linear",
    ),
    Row(
        "readout.{mouse}.mu_transform.{2j}.bias",
        "params/readout/predictor/layer{j}/bias",
    ),
)

SHIFTER = (
    Row("shifter.{mouse}.mlp.{2j}.weight", "params/shifter/layer{j}/kernel", "linear"),
    Row("shifter.{mouse}.mlp.{2j}.bias", "params/shifter/layer{j}/bias"),
)

# Fixed filters and counters that the originals save beside what they learned.
CONSTANTS = (
    r"core\..*_regularizer\.laplace\.filter",
    r".*\.num_batches_tracked",
)
