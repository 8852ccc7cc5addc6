"""Units, batches, and that neurons are asked alone without being asked differently."""

import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax import asking, insilico
from sensorium_jax.errors import UserError
from sensorium_jax.insilico import batches, subjects, units
from support.cells import cells, true_cells
from support.quick import quick  # noqa: F401


def test_sizes_in_pixels_and_degrees():
    subject = insilico.subject(cells(), degrees=0.5, fps=30)
    assert units.pixels("8deg", subject) == 16 and units.pixels("7px", subject) == 7
    assert units.pixels(3, subject) == 3
    assert units.per_pixel("0.04cpd", subject) == pytest.approx(0.02)
    assert units.per_pixel("0.1cpp", subject) == 0.1
    assert units.hertz("2Hz", subject) == 2 and units.hertz("0.1cpf", subject) == 3
    bare = insilico.subject(cells())
    for wrong, words in (
        (lambda: units.pixels("8deg", bare), "--degrees-per-pixel"),
        (lambda: units.per_pixel("1cpd", bare), "--degrees-per-pixel"),
        (lambda: units.hertz("2Hz", bare), "--fps"),
        (lambda: units.pixels("8cm", bare), "expected a number, with px or deg"),
    ):
        with pytest.raises(UserError, match=words):
            wrong()


def test_the_screen_is_in_the_units_of_the_twin():
    screen = insilico.subject(cells()).screen
    assert (screen.black, screen.white, screen.grey) == (0, 255, 120)
    assert screen.low == -3 and screen.swing == 3 and screen.shown(1.0) == 160
    bare = insilico.subject(cells()._replace(raw=()))
    assert (bare.screen.black, bare.screen.white) == (-1.75, 2.26)


def test_what_contradicts_a_twin_is_refused():
    truth = true_cells("simple", 2)
    assert insilico.subject(truth).fps == 30
    with pytest.raises(UserError, match="25 frames per second were given"):
        insilico.subject(truth, fps=25)
    with pytest.raises(UserError, match="takes 2 number"):
        insilico.subject(truth, behavior=[1.0])


def test_a_clip_of_its_own_neuron_is_answered_as_all_neurons_are():
    truth = true_cells("complex", 3)
    subject = insilico.subject(truth)
    x = np.random.default_rng(0).uniform(0, 255, (4, 6, 36, 64, 1)).astype(np.float32)
    every = np.asarray(subject.rates(jnp.asarray(x)))
    neuron_b = np.array([2, 0, 1, 2], np.int32)
    want = np.stack([every[i, :, n] for i, n in enumerate(neuron_b)])
    got = subject.each(jnp.asarray(x), jnp.asarray(neuron_b))
    np.testing.assert_allclose(got, want, rtol=1e-5)
    some = truth.only(0, [2, 0])
    for name, one in truth.weights[0].filters._asdict().items():
        np.testing.assert_array_equal(
            getattr(some.weights[0].filters, name), one[[2, 0]]
        )
    with pytest.raises(UserError, match="numbers 0 to 2"):
        truth.only(0, [3])


def test_true_cells_can_be_moved_to_the_middle():
    truth = true_cells("simple", 2)
    moved = subjects.centered(insilico.subject(truth))
    power = moved.twin.weights[0].filters.even_np.reshape(2, 36, 64) ** 2
    total = power.sum((1, 2))
    x = (power.sum(1) * np.arange(64)).sum(1) / total
    y = (power.sum(2) * np.arange(36)).sum(1) / total
    np.testing.assert_allclose(np.stack([x, y], 1), [[31.5, 17.5]] * 2, atol=1)
    assert not moved.twin.weights[0].eye_22.any()
    assert subjects.centered(insilico.subject(cells())) is None


def test_windows_are_cut_and_joined_inside():
    class Windows:
        """Only its first neuron answers, with the mean of a window's light."""

        mice, neurons, frame_shape = ("w",), (1,), (4, 5, 1)
        asking = asking.Asking(mode="window", frames=3, hop=1, causal=False)
        lost_frames = 2

        def respond(self, video_bthwc, **_):
            return video_bthwc.mean((1, 2, 3))[:, None, :]

    subject = insilico.subject(Windows())
    x = np.random.default_rng(0).normal(size=(2, 7, 4, 5, 1)).astype(np.float32)
    got = np.asarray(subject.each(jnp.asarray(x), jnp.zeros(2, jnp.int32)))
    light = x.mean((2, 3, 4))
    want = np.stack([light[:, i : i + 3].mean(1) for i in range(5)], 1)
    np.testing.assert_allclose(got, want, atol=1e-6)
    assert subject.lost == 2 and not subject.causal


def test_batches_follow_memory_and_results_do_not():
    rows = np.random.default_rng(0).normal(size=(21, 40)).astype(np.float32)

    def one(x_bd):
        return jnp.tanh(x_bd[:, :, None] * x_bd[:, None, :]).sum(2)

    sizes, outs = [], []
    for memory in (None, 5000.0):
        outs.append(batches.every(one, rows, memory=memory, tell=sizes.append))
    assert sizes[0] >= 21 > sizes[1] >= 1
    np.testing.assert_allclose(outs[0], outs[1], rtol=1e-5, atol=1e-6)
    with pytest.raises(UserError, match="--memory"):
        batches.every(one, rows, memory=10.0)
