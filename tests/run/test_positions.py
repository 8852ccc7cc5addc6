"""Readouts begin where the data, cortex or measurements say; official stays."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.release.write import write_session
from sensorium_jax.data.store.build import convert
from sensorium_jax.errors import UserError
from sensorium_jax.models.readouts import start
from sensorium_jax.run import build, positions
from support.quick import quick  # noqa: F401
from support.recordings import tiny
from support.recordings.followed import NEURONS, followed, pixels

SIZE = (8, 10)
CORE = {"channels": (2, 2), "kernels": (3, 3), "lags": 3, "bases": 2, "contrast": 0}
UNKNOWN = 1  # the neuron of the first mouse whose field nobody measured


def in_pixels(one, size=SIZE):
    return (one.position_n2 + 1) / 2 * (np.array(size[::-1]) - 1)


def measured(mouse):
    """Fields by hand: of the first mouse all but one, of the second with widths."""
    at = pixels(mouse, SIZE).astype(float)
    if mouse:
        return {"receptive_fields": np.column_stack([at, np.full(len(at), 1.5)])}
    at[UNKNOWN] = np.nan
    return {"receptive_fields": at}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return followed(tmp_path_factory.mktemp("positions") / "data", size=SIZE)


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    folder = tmp_path_factory.mktemp("known") / "data"
    return followed(folder, size=SIZE, facts=measured)


@pytest.fixture(scope="module")
def found(recordings):
    return positions.starts(recordings.sessions)


def recipe(recordings, how="data", **changes):
    config = tiny.recipe("demo", recordings.path)
    config.model.changes = {"core": CORE, "shifter": None, "modulator": None} | changes
    config.data.mice = ()
    config.validate.skip = -1
    config.readout.start = how
    return config


def begun(config):
    parts = build.parts(config)
    with jax.set_mesh(parts.mesh):
        return parts, jax.device_get(parts.start().params["readout"])


def test_neurons_are_found_where_they_look(found):
    for mouse, one in enumerate(found):
        away = np.abs(in_pixels(one) - pixels(mouse, SIZE)).max(1)
        assert len(away) == NEURONS[mouse] and (away < 1).all()
        assert (one.confidence_n > 0.5).all() and (one.spread_n2 < 0.3).all()


def test_the_way_to_the_maps_is_that_of_the_core(tmp_path):
    """What moves a neuron's rate lies around its field, in pixels of the frame."""
    fields = np.array([[4, 3], [5, 4], [3, 4], [6, 3]])
    given = followed(
        tmp_path / "data",
        size=SIZE,
        facts=lambda m: {"receptive_fields": fields[: NEURONS[m]]},
    )
    core = {"kind": "stacked2d", "hidden_channels": 3, "layers": 2, "stack": -1}
    core |= {"input_kernel": 5, "hidden_kernel": 3, "pad_input": False}
    parts, readout = begun(recipe(given, core=core, readout={"init_sigma": 0.1}))
    state = parts.start()
    variables = {"params": {**state.params, "readout": readout}, "info": state.info}
    variables["batch_stats"] = state.batch_stats
    none = jnp.zeros((2, 1, 1, 0)), jnp.zeros((2, 1, 1, 2))

    @jax.jit
    def slope(video, neuron):
        def rate(video):
            rates = parts.encoder.apply(variables, video, *none, train=False)
            return rates[..., neuron].sum()

        return jax.grad(rate)(video)

    noise = jax.random.normal(jax.random.key(0), (2, 1, 1, *SIZE, 1))
    for neuron, (x, y) in enumerate(fields[: min(NEURONS)]):
        moved_mhw = np.abs(np.asarray(slope(noise, neuron))).sum((1, 2, 5)) > 1e-9
        for moved_hw in moved_mhw:
            rows, columns = (np.flatnonzero(moved_hw.any(a)) for a in (1, 0))
            assert len(rows) < SIZE[0] and rows[0] + rows[-1] == 2 * y
            assert columns[0] + columns[-1] == 2 * x


def test_what_was_measured_is_taken_and_kept_in_stores(known, tmp_path, monkeypatch):
    convert(known.path, tmp_path / "store")
    store = Recordings.open(tmp_path / "store")
    for recordings in (known, store):
        fields = recordings.mouse_info().fields_mn3
        assert fields.shape == (2, max(NEURONS), 3)
        np.testing.assert_array_equal(fields[1, :3, :2], pixels(1, SIZE))
        assert (fields[1, :3, 2] == 1.5).all() and np.isnan(fields[0, :, 2]).all()
        assert np.isnan(fields[0, UNKNOWN]).all() and np.isnan(fields[1, 3]).all()
    every = positions.starts(store.sessions)
    for mouse, one in enumerate(every):
        away = np.abs(in_pixels(one) - pixels(mouse, SIZE)).max(1)
        assert (np.delete(away, UNKNOWN if mouse == 0 else []) < 1e-5).all()
        assert (away < 1).all() and (one.confidence_n > 0.5).all()
    assert (every[1].width_n == 1.5).all()

    def refuse(*_):
        raise AssertionError("a pass over trials of whom all is known")

    monkeypatch.setattr(positions, "_maps", refuse)
    positions.starts(store.sessions[1:])


def test_fields_that_cannot_be_are_refused(tmp_path):
    options = {"videos": np.zeros((4, 3, *SIZE)), "responses": np.ones((4, 3, 2))}
    for fields, words in (
        (np.zeros((2, 4)), "have shape"),
        (np.full((2, 2), 90.0), "Convert degrees to pixels"),
        (np.zeros((3, 2)), "has 3 rows"),
    ):
        with pytest.raises(UserError, match=words):
            write_session(tmp_path / "x", receptive_fields=fields, **options)


def test_readouts_begin_there_on_a_mesh(recordings, found):
    config = recipe(recordings)
    config.mesh.update(mouse=1, data=2)
    parts, readout = begun(config)
    size, step = start.map_pixels(parts.encoder.core, (*SIZE, 1))
    for m, one in enumerate(found):
        # The core loses the same on both sides, so the middle stays where it is.
        frame = (np.array(SIZE[::-1]) - 1) / (step * (size - 1))
        place = np.clip(one.position_n2 * frame, -1, 1)
        n = NEURONS[m]
        np.testing.assert_allclose(readout["offset"][m, :n], place, atol=1e-5)
        assert not readout["offset"][m, n:].any() and not readout["sigma"][m, n:].any()
        wide = readout["sigma"][m, :n]
        assert (wide[:, [0, 1], [0, 1]] > 0).all() and wide.max() <= start.WIDEST
        assert not wide[:, [0, 1], [1, 0]].any()


def test_cortex_moves_all_to_its_line(recordings, found, tmp_path):
    """Here where cells lie says exactly where they look."""
    bare = recordings.sessions[0]
    for mouse, one in enumerate(positions.starts(recordings.sessions, "cortex")):
        assert np.abs(in_pixels(one) - pixels(mouse, SIZE)).max() < 0.7
        assert len(np.unique(one.spread_n2)) <= 2
    with pytest.raises(UserError, match="where its neurons lie"):
        positions.starts([replace(bare, coordinates_n3=None)], "cortex")


def test_official_is_what_it_was(recordings, monkeypatch):
    def refuse(*_):
        raise AssertionError("nobody asked for maps")

    monkeypatch.setattr(positions, "starts", refuse)
    _, readout = begun(recipe(recordings, "official"))
    assert not readout["offset"].any() and (np.abs(readout["sigma"]) <= 0.04).all()
    with pytest.raises(UserError, match="Did you mean 'data'"):
        build.parts(recipe(recordings, "dat"))


def test_positions_that_cortex_predicts_are_set_free(recordings, capsys):
    config = recipe(recordings, readout={"free_offset": False})
    parts = build.parts(config)
    assert "free and not predicted" in capsys.readouterr().err
    assert parts.changes["readout.predictor"] is None
    official = build.parts(
        recipe(recordings, "official", readout={"free_offset": False})
    )
    assert "readout.predictor" not in official.changes


def test_a_run_that_goes_on_maps_nothing(recordings, monkeypatch):
    def refuse(*_):
        raise AssertionError("maps of a run that has begun")

    parts = build.parts(recipe(recordings))
    monkeypatch.setattr(positions, "starts", refuse)
    assert parts.start(warm=False)
    with pytest.raises(AssertionError, match="has begun"):
        parts.start()
