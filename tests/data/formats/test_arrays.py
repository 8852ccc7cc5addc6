"""Arrays in files of every kind, and movies, by a description in YAML."""

import contextlib
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import zarr

from sensorium_jax.data.formats import films, lazy
from sensorium_jax.errors import UserError
from support.recordings import foreign


@pytest.fixture(scope="module")
def rec():
    return foreign.recorded()


@pytest.fixture
def place(tmp_path, rec):
    foreign.described(tmp_path / "y", rec)
    return tmp_path / "y"


def describe(place, **changes):
    """The description with other lines; None leaves one out."""
    path = place / "mine.yaml"
    lines = dict(x.split(": ", 1) for x in path.read_text().splitlines())
    lines |= changes
    text = [f"{k}: {v}" for k, v in lines.items() if v is not None]
    path.write_text("\n".join(text))
    return path


def brought(place, rec, **changes):
    """What the changed description becomes."""
    foreign.bring(describe(place, **changes), place / "out")
    session = foreign.opened(place / "out", "fish")
    assert foreign.is_whole(session, rec)
    return session


def test_npy(place, rec):
    session = brought(place, rec)
    assert session.coordinates_n3 is None
    assert session.unit_ids_n.tolist() == list(range(foreign.NEURONS))


def test_time_last_and_ids_and_coordinates(place, rec):
    x = foreign.activity(rec.imaging_s)
    np.save(place / "dff.npy", np.ascontiguousarray(x.T))
    np.save(place / "ids.npy", np.arange(5.0) + 30)
    np.save(place / "xy.npy", np.arange(10).reshape(5, 2))
    turned = "{file: dff.npy, times: dff_times.npy, time_axis: 1}"
    more = {"ids": "ids.npy", "coordinates": "{file: xy.npy}"}
    session = brought(place, rec, responses=turned, **more)
    assert session.unit_ids_n.tolist() == [30, 31, 32, 33, 34]
    assert session.coordinates_n3[3].tolist() == [6, 7, 0]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(place, rec, save):
    x = foreign.activity(rec.imaging_s)
    save(place / "all.npz", dff=x, t=rec.imaging_s, other=np.zeros(3))
    spec = "{file: all.npz, variable: dff, times: {file: all.npz, variable: t}}"
    brought(place, rec, responses=spec)


def test_mat_of_either_kind(place, rec):
    x = foreign.activity(rec.imaging_s)
    scipy.io.savemat(place / "five.mat", {"dff": x.T, "t": rec.imaging_s})
    spec = (
        "{{file: {0}, variable: dff, time_axis: 1, times: {{file: {0}, variable: t}}}}"
    )
    brought(place, rec, responses=spec.format("five.mat"))
    # MATLAB 7.3: an HDF5 file with a block before it, and axes in reverse.
    with h5py.File(place / "seven.mat", "w", userblock_size=512) as file:
        file["dff"], file["t"] = x, rec.imaging_s[:, None]
    with open(place / "seven.mat", "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116))
    foreign.bring(
        describe(place, responses=spec.format("seven.mat")), place / "out", name="seven"
    )
    assert foreign.is_whole(foreign.opened(place / "out", "seven"), rec)


@pytest.mark.parametrize("version", [2, 3])
def test_zarr(place, rec, version):
    group = zarr.open_group(str(place / "x.zarr"), mode="w", zarr_format=version)
    x = foreign.activity(rec.imaging_s)
    group.create_array("dff", data=x, chunks=(20, 3))
    group.create_array("t", data=rec.imaging_s)
    spec = "{file: x.zarr, variable: dff, times: {file: x.zarr, variable: t}}"
    brought(place, rec, responses=spec)
    with pytest.raises(UserError, match="cannot be read as zarr .* dff, t"):
        lazy.opened(place / "x.zarr", "dfff", contextlib.ExitStack())


def test_hdf5_and_csv_with_several_columns(place, rec):
    with h5py.File(place / "x.h5", "w") as file:
        file["a/dff"] = foreign.activity(rec.imaging_s)
    eye = np.column_stack([rec.eye_s, foreign.pupil(rec.eye_s)])
    np.savetxt(place / "eye.csv", eye, header="t,x,y", delimiter=",", comments="")
    brought(
        place,
        rec,
        responses="{file: x.h5, variable: a/dff, times: dff_times.npy}",
        pupil="{file: eye.csv, variable: [x, y], times: {file: eye.csv, variable: t}}",
    )


def test_rates_and_starts_instead_of_times(place, rec):
    brought(
        place,
        rec,
        stimulus="{file: film.npy, rate: 10, start: 2}",
        responses="{file: dff.npy, rate: 7, start: 0.1}",
    )


def test_tables_of_arrays_with_tiers(place, rec):
    np.savez(place / "t.npz", a=rec.starts, b=rec.stops)
    spec = "{start: {file: t.npz, variable: a}, stop: {file: t.npz, variable: b}}"
    brought(place, rec, trials=spec)
    rows = [f"{a},{b},{t}" for a, b, t in zip(
        rec.starts, rec.stops, ["train"] * 6 + ["test"] * 2, strict=True)]  # fmt: skip
    (place / "trials.csv").write_text("\n".join(["start,stop,tier", *rows]))
    foreign.bring(describe(place, trials="trials.csv"), place / "out", name="tiers")
    tiers = foreign.opened(place / "out", "tiers").tiers.tolist()
    assert tiers == ["train"] * 6 + ["test"] * 2


def test_spikes_and_units(place, rec):
    rng = np.random.default_rng(0)
    times, units = rng.uniform(0, 19, 300), rng.integers(3, 6, 300)
    np.savez(place / "s.npz", t=times, u=units)
    spec = "{spike_times: {file: s.npz, variable: t}, "
    spec += "spike_units: {file: s.npz, variable: u}}"
    foreign.bring(describe(place, responses=spec), place / "out")
    session = foreign.opened(place / "out", "fish")
    edges = rec.starts[1] + (np.arange(21) - 0.5) / foreign.FPS
    expected = [np.histogram(times[units == u], edges)[0] for u in (3, 4, 5)]
    np.testing.assert_array_equal(session.read("responses", 1).T, expected)


def test_suite2p_responses_inside_a_description(place, rec):
    foreign.suite2p(place / "s2p", rec, cells=[0, 1])
    spec = "{suite2p: s2p, times: s2p/frames.npy}"
    foreign.bring(describe(place, responses=spec), place / "out")
    session = foreign.opened(place / "out", "fish")
    assert foreign.is_whole(session, rec, neurons=[0, 1])
    assert session.coordinates_n3[1].tolist() == [2, 4, 0]


def test_movies_are_decoded_by_number_whatever_was_read_before(place, rec):
    big = np.repeat(np.repeat(rec.film_thw, 4, 1), 4, 2)
    path = foreign.mp4(place / "film.mp4", big)
    movie = films.movie(path)
    assert (movie.count, movie.frame_shape) == (160, (24, 32, 1))
    np.testing.assert_allclose(movie.times_t, np.arange(160) / foreign.FPS, atol=1e-6)
    for first, stop in ((0, 3), (3, 9), (150, 160), (5, 6), (77, 99), (98, 101)):
        np.testing.assert_array_equal(movie.read(first, stop)[..., 0], big[first:stop])
    color = films.movie(path, color=True)
    assert color.frame_shape == (24, 32, 3)
    np.testing.assert_array_equal(color.read(4, 5)[0, ..., 2], big[4])
    foreign.bring(
        describe(place, stimulus="{file: film.mp4, start: 2}"),
        place / "out",
        size=foreign.FRAME,
    )
    assert foreign.is_whole(foreign.opened(place / "out", "fish"), rec)


def test_usual_movies_lose_a_little_only(place, rec):
    smooth = np.linspace(40, 200, 32)[None, None] + np.arange(30)[:, None, None]
    film = np.broadcast_to(smooth, (30, 24, 32)).astype(np.uint8)
    path = foreign.mp4(place / "film.mp4", film, codec="mpeg4")
    video = films.movie(path).read(10, 12)[..., 0].astype(int)
    assert np.abs(video - film[10:12]).mean() < 4


def test_folders_of_pictures_in_the_order_of_their_numbers(place, rec):
    from PIL import Image

    (place / "frames").mkdir()
    for i, frame in enumerate(rec.film_thw):
        Image.fromarray(frame).save(place / f"frames/frame{i}.png")
    (place / "frames/notes.txt").write_text("no picture")
    session = brought(place, rec, stimulus="{file: frames, times: film_times.npy}")
    assert session.frame_shape == (*foreign.FRAME, 1)


def test_arrays_are_read_in_parts_and_as_one(tmp_path):
    values = np.random.default_rng(0).normal(size=(7, 11, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", values)
    np.save(tmp_path / "f.npy", np.asfortranarray(values))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = values
    zarr.save(str(tmp_path / "x.zarr"), values)
    for name in ("x.npy", "f.npy", "x.h5", "x.zarr"):
        for axis in range(3):
            with contextlib.ExitStack() as stack:
                array = lazy.opened(tmp_path / name, None, stack, axis)
                expected = np.moveaxis(values, axis, 0)
                assert array.shape == expected.shape
                np.testing.assert_array_equal(array.read(1, 3), expected[1:3])
                np.testing.assert_array_equal(array.whole(), expected)


def test_the_description_in_the_docs_is_read(place, rec):
    page = Path(__file__).parents[3] / "docs/importing.md"
    (text,) = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.S)
    scipy.io.savemat(place / "session.mat", {"dff": foreign.activity(rec.imaging_s).T})
    eye = np.column_stack([rec.eye_s, foreign.pupil(rec.eye_s)])
    np.savetxt(place / "eye.csv", eye, header="t,x,y", delimiter=",", comments="")
    np.savez(place / "cells.npz", id=np.arange(5) + 7, xyz=np.ones((5, 3)))
    (place / "doc.yaml").write_text(text)
    foreign.bring(place / "doc.yaml", place / "out")
    session = foreign.opened(place / "out", "fish1")
    assert foreign.is_whole(session, rec)
    assert session.unit_ids_n.tolist() == [7, 8, 9, 10, 11]
