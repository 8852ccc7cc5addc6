"""What the fields of a recipe make of loss and penalties."""

from types import SimpleNamespace

import numpy as np
import pytest

from sensorium_jax.errors import UserError
from sensorium_jax.models.cores.rotation2d import RotationEquivariant2dCore
from sensorium_jax.models.encoder import Encoder
from sensorium_jax.models.parts import penalties
from sensorium_jax.models.parts.gru import ConvGRU
from sensorium_jax.models.parts.modulator import LogGain, MLPModulator
from sensorium_jax.models.parts.shifter import StaticAffineShifter
from sensorium_jax.models.readouts.attention import AttentionReadout
from sensorium_jax.models.readouts.factorized import FactorizedReadout, factorized_l1
from sensorium_jax.models.readouts.gaussian import GaussianReadout
from sensorium_jax.run import config as configs
from sensorium_jax.run.objective import make_objective, make_penalty
from sensorium_jax.training.losses import loss
from support.models.small import SMALL, Core
from support.models.toy import random_batch

INFO = SimpleNamespace(
    mice=3, trials_m=np.array([100, 50, 9]), train_trials_m=np.array([64, 36, 4])
)
RATES, BATCH = random_batch()
DATA = BATCH.responses_mbtn, BATCH.valid_mbt, BATCH.neurons_mn


def found(**options):
    config = configs.load("factorized2023")
    config.train.update(**options)
    # The step hands over only the frames that the model answers.
    late = {n: getattr(BATCH, n)[:, :, 2:] for n in ("responses_mbtn", "valid_mbt")}
    return make_objective(config, INFO, 3)(RATES, BATCH._replace(**late), 4)


def test_the_official_scale_counts_every_tier_or_training_only():
    plain = loss.summed(loss.poisson_terms, RATES, *DATA)
    np.testing.assert_allclose(found(), np.sqrt(INFO.trials_m / 4) * plain, rtol=1e-5)
    train = np.sqrt(INFO.train_trials_m / 4) * plain
    np.testing.assert_allclose(found(scale_trials="train"), train, rtol=1e-5)
    np.testing.assert_allclose(found(scale_loss=False), plain, rtol=1e-5)
    with pytest.raises(UserError, match="Unknown trials 'val'.*scale_trials"):
        found(scale_trials="val")


def test_other_losses_by_name():
    plain = loss.summed(loss.mse_terms, RATES, *DATA, mean=True)
    got = found(loss="mse", mean_loss=True, scale_loss=False)
    np.testing.assert_allclose(got, plain, rtol=1e-5)
    with pytest.raises(UserError, match="Unknown loss 'mae'"):
        found(loss="mae")


def test_correlation_is_added_with_its_weight():
    plain = loss.summed(loss.poisson_terms, RATES, *DATA)
    lack = np.sum(1 - loss.correlation(RATES, *DATA), 1, where=BATCH.neurons_mn)
    got = found(correlation_weight=10.0, scale_loss=False)
    np.testing.assert_allclose(got, plain + 10 * lack, rtol=1e-5)


def test_burn_in_leaves_out_the_first_answers_of_a_window():
    late = BATCH.valid_mbt.copy()
    late[:, :, :5] = False  # two frames have no answer, three are left out
    plain = loss.summed(loss.poisson_terms, RATES, DATA[0], late, DATA[2])
    got = found(burn_in=3, scale_loss=False)
    np.testing.assert_allclose(got, plain, rtol=1e-5)


@pytest.mark.parametrize(("per_mouse", "times"), [(True, 2), (False, 1)])
def test_the_core_is_penalized_for_every_mouse_or_once(per_mouse, times):
    config = configs.load("ln2023")
    config.train.core_per_mouse = per_mouse
    config.train.penalties = (("core/kernel", "l1", 0.5),)
    penalty = make_penalty(config, SMALL)
    params = {"core": {"kernel": np.full((2, 3), -2.0, np.float32)}}
    cost = penalty(params, BATCH.neurons_mn, BATCH.neurons_mn.any(1))
    np.testing.assert_allclose(cost, times * 0.5 * 12)


def cost_of(encoder, name, pattern, params):
    """The named penalty of weight 1 on these parameters."""
    config = configs.load("ln2023")
    config.train.penalties = ((pattern, name, 1.0),)
    penalty = make_penalty(config, encoder)
    return penalty(params, BATCH.neurons_mn, BATCH.neurons_mn.any(1))


def test_penalties_of_rotated_kernels_know_the_core():
    config = configs.load("gru2023")
    rng = np.random.default_rng(0)
    layers = {
        f"layer{i}": {"conv": {"coefficients": rng.normal(size=(6, 8, 2))}}
        for i in (0, 1)
    }
    costs = []
    for rotations in (4, 8):
        core = RotationEquivariant2dCore(1, 2, 3, 3, rotations=rotations)
        penalty = make_penalty(config, SMALL.clone(core=core))
        params = {"core": layers}
        costs.append(penalty(params, BATCH.neurons_mn, BATCH.neurons_mn.any(1)))
    assert costs[0] != costs[1]
    with pytest.raises(UserError, match="Unknown penalty 'rotated.*core: Core"):
        make_penalty(config, SMALL)


OFFERED = {  # what each part offers, by part
    "core": (RotationEquivariant2dCore(1, 2, 3, 3), {"rotated_laplace_l2norm"}),
    "gru": (ConvGRU(2, 2, 3, 3), {"gru_l1"}),
    "readout": (FactorizedReadout(), {"readout_l1", "factorized_l1"}),
    "shifter": (StaticAffineShifter(), {"shifter_l2"}),
    "modulator": (MLPModulator(), {"modulator_l1"}),
}


def test_every_part_offers_its_penalties():
    encoder = Encoder(**{part: module for part, (module, _) in OFFERED.items()})
    offered = encoder.penalties
    assert offered.keys().isdisjoint(penalties.GENERAL)
    for part, (_, names) in OFFERED.items():
        assert all(offered[name][0].startswith(f"{part}/") for name in names)
    for readout in (GaussianReadout(), AttentionReadout()):
        assert "readout_l1" in encoder.clone(readout=readout).penalties
    assert "readout_l1" not in SMALL.clone(readout=GaussianReadout(shared=3)).penalties
    assert "modulator_l1" in encoder.clone(modulator=LogGain()).penalties


def test_a_readout_is_penalized_as_it_is_applied():
    rng = np.random.default_rng(1)
    leaves = {
        "spatial": rng.normal(size=(3, 6, 4, 5)).astype(np.float32),
        "features": rng.normal(size=(3, 6, 2)).astype(np.float32),
    }
    for options in ({}, {"normalize": False, "constrain_positive": True}):
        encoder = SMALL.clone(readout=FactorizedReadout(**options))
        cost = cost_of(encoder, "factorized_l1", "readout/.*", {"readout": leaves})
        want = factorized_l1(leaves, BATCH.neurons_mn, **options)
        np.testing.assert_allclose(cost, want.sum(), rtol=1e-5)


def test_a_penalty_is_refused_for_leaves_that_it_is_not_offered_for():
    params = {"readout": {"bias": np.ones((3, 6)), "features": np.ones((3, 6, 4))}}
    assert cost_of(SMALL, "readout_l1", "readout/features", params) == 4 * (6 + 3)
    with pytest.raises(UserError, match="'readout_l1' of readout/bias.*features"):
        cost_of(SMALL, "readout_l1", "readout/.*", params)


def test_names_of_penalties_are_given_once():
    class Taken(Core):
        penalties = {"l1": (".*", penalties.GENERAL["l1"])}

    with pytest.raises(UserError, match="Taken offers a penalty 'l1'.*is taken"):
        make_penalty(configs.load("ln2023"), SMALL.clone(core=Taken()))
