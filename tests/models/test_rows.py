import numpy as np
import pytest

from sensorium_jax import trees
from sensorium_jax.errors import UserError
from sensorium_jax.models import rows
from sensorium_jax.models.cores.stacked2d import Stacked2dCore
from sensorium_jax.models.encoder import Encoder
from sensorium_jax.models.parts.modulator import MLPModulator
from sensorium_jax.models.parts.shifter import MLPShifter
from sensorium_jax.models.readouts.gaussian import GaussianReadout
from support.models.mice import mice
from support.models.small import SMALL, Core, answer, inputs, start
from support.quick import quick  # noqa: F401


def test_adding_a_mouse_leaves_the_others_weights_bit_identical():
    two, three = mice([5, 9]), mice([5, 9, 12])
    few, many = start(two), start(three)
    assert few["params"]["readout"]["features"].shape == (2, 9, 4)
    for name, value in trees.named_leaves(few).items():
        longer = np.asarray(trees.named_leaves(many)[name])
        if trees.is_row(name) and name != "info/match_n":
            longer = longer[tuple(slice(0, n) for n in value.shape)]
            np.testing.assert_array_equal(value, longer, err_msg=name)
        elif not trees.is_row(name):
            np.testing.assert_array_equal(value, longer, err_msg=name)


def test_adding_a_mouse_leaves_the_others_predictions_bit_identical():
    # Not the toy core: its fused sums round by the number of mice.
    encoder = SMALL.clone(core=Stacked2dCore(3, 4, 3, 3, layers=1))
    few, many = (start(mice(n), encoder) for n in ([5, 9], [5, 9, 12]))
    a = answer(few, inputs("ab"), train=True, encoder=encoder, exact=True)
    b = answer(many, inputs("abc"), train=True, encoder=encoder, exact=True)
    np.testing.assert_array_equal(a[0, ..., :5], b[0, ..., :5])
    np.testing.assert_array_equal(a[1, ..., :9], b[1, ..., :9])


def test_a_mouse_keeps_weights_and_noise_in_any_row():
    v = start(mice([5, 9, 12]))
    turned = start(mice([12, 5, 9], names="cab"))
    a = answer(v, inputs("abc"), train=True)
    b = answer(turned, inputs("cab"), train=True)
    np.testing.assert_array_equal(a[0, ..., :5], b[1, ..., :5])
    np.testing.assert_array_equal(a[2, ..., :12], b[0, ..., :12])


def test_rows_are_selected_added_and_replaced():
    v = start(mice([5, 9, 12]))
    x, full = inputs("abc"), answer(v, inputs("abc"))
    picked = rows.select_rows(v, [2, 0])
    some = answer(picked, [s[[2, 0]] for s in x])
    np.testing.assert_allclose(some, full[[2, 0]], rtol=1e-5)
    extra = start(mice([14], names="d"), seed=3)
    grown = rows.add_rows(v, extra)
    assert grown["params"]["readout"]["features"].shape == (4, 14, 4)
    wide = answer(grown, inputs("abcd"))
    np.testing.assert_allclose(wide[:3, ..., :12], full, rtol=1e-5)
    swapped = rows.replace_rows(grown, extra, [1])
    again = answer(swapped, inputs("adcd"))
    np.testing.assert_array_equal(again[1], again[3])
    np.testing.assert_array_equal(again[0], wide[0])
    shared = [n for n in trees.named_leaves(v["params"]) if n.startswith("core/")]
    frozen = trees.mask(v["params"], "(readout|shifter|modulator)/.*")
    assert [n for n, on in trees.named_leaves(frozen).items() if not on] == shared


def test_rows_that_do_not_fit_are_refused():
    v = start(mice([5, 9]))
    with pytest.raises(UserError, match="rows 0 to 1"):
        rows.select_rows(v, [0, 2])
    wider = Encoder(
        Core(features=6),
        GaussianReadout(),
        shifter=MLPShifter(),
        modulator=MLPModulator(),
        behavior_as_channels=True,
    )
    with pytest.raises(UserError, match="only the number of neurons may differ"):
        rows.add_rows(v, start(mice([9], names="c"), wider))
    with pytest.raises(UserError, match="1 new mice cannot fill 2 rows"):
        rows.replace_rows(v, start(mice([9], names="c")), [0, 1])
