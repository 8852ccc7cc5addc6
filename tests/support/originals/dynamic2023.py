"""The 2023 baselines of a golden case's configuration, and their penalties."""

from functools import partial

from sensorium_jax.models.cores.factorized3d import Factorized3dCore
from sensorium_jax.models.cores.rotation2d import RotationEquivariant2dCore, rotated
from sensorium_jax.models.encoder import Encoder
from sensorium_jax.models.parts.gru import ConvGRU
from sensorium_jax.models.parts.penalties import average, each
from sensorium_jax.models.parts.shifter import MLPShifter
from sensorium_jax.models.parts.smoothness import (
    depth_laplace_l2norm,
    group_sparsity,
    laplace_l2norm,
)
from sensorium_jax.models.readouts.gaussian import GaussianReadout
from sensorium_jax.models.readouts.readout import readout_l1
from sensorium_jax.training.losses.regularizer import Penalty


def build(config, **options):
    """Our encoder of the torch configuration."""
    gru = config["gru"]
    if gru is not None:
        gru = ConvGRU(
            gru["input_channels"],
            gru["rec_channels"],
            gru["input_kern"],
            gru["rec_kern"],
        )
    core = factorized if config["core_type"] == "3D_factorised" else equivariant
    return Encoder(
        core(config["core"]),
        GaussianReadout(),
        gru=gru,
        shifter=MLPShifter(),
        **options,
    )


def factorized(core):
    return Factorized3dCore(
        core["input_channels"],
        tuple(core["hidden_channels"]),
        tuple(core["spatial_input_kernel"]),
        core["temporal_input_kernel"],
        tuple(core["spatial_hidden_kernel"]),
        core["temporal_hidden_kernel"],
        core["layers"],
        momentum=core["momentum"],
    )


def equivariant(core):
    return RotationEquivariant2dCore(
        core["input_channels"],
        core["hidden_channels"],
        core["input_kern"],
        core["hidden_kern"],
        core["layers"],
        core["num_rotations"],
        pad_input=core["pad_input"],
        stack=core["stack"],
        final_nonlinearity=core["final_nonlinearity"],
        momentum=core["momentum"],
    )


def penalties(config, readout=0.5):
    """The baseline's penalties, the readout's last."""
    core = config["core"]
    if config["core_type"] == "3D_factorised":
        rules = [
            Penalty(
                "core/layer0/spatial/kernel",
                each(laplace_l2norm),
                core["gamma_input_spatial"],
            ),
            Penalty(
                "core/layer0/temporal/kernel",
                each(depth_laplace_l2norm),
                core["gamma_input_temporal"],
            ),
        ]
    else:
        turned = partial(rotated, rotations=core["num_rotations"])
        rules = [
            Penalty(
                "core/layer0/conv/coefficients",
                each(turned(laplace_l2norm, first=True)),
                core["gamma_input"],
            ),
            Penalty(
                "core/layer[^0]/conv/coefficients",
                average(turned(group_sparsity, first=False)),
                core["gamma_hidden"],
            ),
        ]
    return [*rules, Penalty("readout/features", readout_l1, readout)]
