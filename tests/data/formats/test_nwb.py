"""NWB files as pynwb writes them: read back equal, chosen by type or flag, streamed."""

import warnings

import h5py
import numpy as np
import pytest

from sensorium_jax.cli import main
from sensorium_jax.data.formats import nwb
from sensorium_jax.data.session import BEHAVIOR, RESPONSES
from sensorium_jax.errors import UserError
from support.processes import web
from support.recordings import foreign

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def rec():
    return foreign.recorded()


@pytest.fixture(scope="module")
def path(tmp_path_factory, rec):
    with warnings.catch_warnings(action="ignore"):
        return foreign.nwb(tmp_path_factory.mktemp("nwb") / "one.nwb", rec)


def write(path, rec, change=None, **options):
    with warnings.catch_warnings(action="ignore"):
        return foreign.nwb(path, rec, change=change, **options)


def test_a_file_is_read_back_by_types_alone(path, rec, tmp_path):
    foreign.bring(path, tmp_path)
    session = foreign.opened(tmp_path, "one")
    assert foreign.is_whole(session, rec) and session.video_dtype == np.uint8
    assert session.unit_ids_n.tolist() == [100, 101, 102, 103, 104]
    np.testing.assert_array_equal(session.coordinates_n3[:, 0], 2 * np.arange(5))
    np.testing.assert_array_equal(session.coordinates_n3[:, 1], np.arange(5) + 1)
    assert session.tiers.tolist() == ["oracle"] * 2 + ["train"] * 4 + ["oracle"] * 2


def test_list_names_what_each_could_be(path, capsys):
    assert main(["import", str(path), "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line for line in lines[1:]}
    for part, words in {
        "stimulus/presentation/movie": "ImageSeries 160x6x8 10 Hz n.a. stimulus",
        "processing/ophys/DfOverF/dff": "RoiResponseSeries 133x5 7 Hz a.u. responses",
        "processing/behavior/running/speed": "TimeSeries 949 50 Hz cm/s behavior",
        "processing/behavior/eye/gaze": "SpatialSeries 437x2 23 Hz meters pupil_center",
        "intervals/trials": "TimeIntervals 8 - start_time,stop_time trials",
    }.items():
        assert rows[part].split()[1:] == words.split()


def test_tiers_come_from_the_table_or_from_repeats(rec, tmp_path):
    tiers = ["train"] * 5 + ["validation"] * 2 + ["test"]
    path = write(tmp_path / "t.nwb", rec, tiers=tiers)
    foreign.bring(path, tmp_path)
    assert foreign.opened(tmp_path, "t").tiers.tolist() == tiers
    foreign.bring(path, tmp_path, tiers="none", name="u")
    assert set(foreign.opened(tmp_path, "u").tiers) == {"train", "oracle"}
    with pytest.raises(UserError, match="has no column 'use'"):
        foreign.bring(path, tmp_path, tiers="use", name="v")


def test_a_url_is_read_by_ranges_and_not_fetched_whole(path, rec, tmp_path):
    with h5py.File(path, "a") as file:  # much that nobody needs
        file.create_dataset("scratch/raw", data=np.zeros(40 << 20, np.uint8))
    with web.served(path.parent) as url:
        foreign.bring(f"{url}/one.nwb?token=secret", tmp_path)
        with nwb.hdf5.opened(f"{url}/one.nwb") as file:
            remote = file.id  # the file object below h5py counts its requests
            assert remote and "stimulus" in file
    session = foreign.opened(tmp_path, "one")
    assert foreign.is_whole(session, rec)
    config = (tmp_path / "one/config.json").read_text()
    assert "secret" not in config and "/one.nwb" in config


def test_an_address_without_a_name_takes_the_name_in_the_file(path, rec, tmp_path):
    (path.parent / "download").write_bytes(path.read_bytes())
    with web.served(path.parent) as url:
        outcome = foreign.bring(f"{url}/download", None, dry_run=True)
        assert outcome.data["name"] == "one"  # its identifier
        with h5py.File(path.parent / "download", "a") as file:
            file["general/session_id"] = "ses 7"
        outcome = foreign.bring(f"{url}/download", None, dry_run=True)
        assert outcome.data["name"] == "ses-7"


def test_spikes_of_units_are_counted_in_frames(rec, tmp_path):
    rng = np.random.default_rng(5)
    spikes = [np.sort(rng.uniform(0, 19, 60 + 9 * n)) for n in range(4)]

    def units(file):
        for n, times in enumerate(spikes):
            file.add_unit(spike_times=times, id=7 + n)

    path = write(tmp_path / "s.nwb", rec, units)
    with pytest.raises(UserError, match="2 things could be the response"):
        foreign.bring(path, tmp_path)
    foreign.bring(path, tmp_path, response="units")
    session = foreign.opened(tmp_path, "s")
    assert session.unit_ids_n.tolist() == [7, 8, 9, 10]
    edges = rec.starts[3] + (np.arange(21) - 0.5) / foreign.FPS
    expected = np.stack([np.histogram(s, edges)[0] for s in spikes], axis=1)
    np.testing.assert_array_equal(session.read(RESPONSES, 3), expected)


def shows_in_turn(session, rec):
    for row in range(4):
        film = rec.film_thw[20 * (row % 2) :][:20]
        np.testing.assert_array_equal(session.read("videos", row)[..., 0], film)
    assert set(session.tiers) == {"train", "oracle"}


def test_an_index_series_shows_pictures_of_a_container(rec, tmp_path):
    import pynwb
    from pynwb.base import ImageReferences

    def index(file):
        images = [
            pynwb.image.GrayscaleImage(name=f"i{i:02d}", data=rec.film_thw[i])
            for i in range(40)
        ]
        order = ImageReferences(name="order_of_images", data=images)
        every = pynwb.base.Images(name="all", images=images, order_of_images=order)
        file.add_stimulus_template(every)
        series = pynwb.image.IndexSeries(
            name="order",
            data=np.tile(np.arange(40, dtype=np.uint32), 4),
            unit="N/A",
            indexed_images=every,
            timestamps=rec.film_s,
        )
        file.add_stimulus(series)

    path = write(tmp_path / "i.nwb", rec, index)
    with pytest.raises(UserError, match=r"2 things could be the stimulus.*"):
        foreign.bring(path, tmp_path)
    foreign.bring(path, tmp_path, stimulus="stimulus/presentation/order")
    shows_in_turn(foreign.opened(tmp_path, "i"), rec)


def test_an_index_series_of_older_files_shows_frames_of_a_stack(rec, tmp_path):
    with h5py.File(write(tmp_path / "o.nwb", rec), "a") as file:
        movie = file["stimulus/presentation/movie"]
        stack = file.create_group("stimulus/templates/stack")
        stack.attrs["neurodata_type"] = "ImageSeries"
        stack["data"] = rec.film_thw[:40]
        series = file.create_group("stimulus/presentation/order")
        series.attrs["neurodata_type"] = "IndexSeries"
        series["data"] = np.tile(np.arange(40), 4)
        series["timestamps"] = movie["timestamps"]
        series["indexed_timeseries"] = h5py.SoftLink("/stimulus/templates/stack")
    listed = {e.path: e.use for e in nwb.listed(str(tmp_path / "o.nwb"))}
    assert listed["stimulus/templates/stack"] == "template"
    path = tmp_path / "o.nwb"
    foreign.bring(path, tmp_path, stimulus="stimulus/presentation/order")
    shows_in_turn(foreign.opened(tmp_path, "o"), rec)


def test_several_films_and_responses_of_several_planes_are_joined(rec, tmp_path):
    with h5py.File(write(tmp_path / "j.nwb", rec), "a") as file:
        movie = file["stimulus/presentation/movie"]
        for name, part in (("first", slice(80)), ("second", slice(80, None))):
            file.copy(movie, f"stimulus/presentation/{name}")
            group = file[f"stimulus/presentation/{name}"]
            for field in ("data", "timestamps"):
                values = movie[field][part]
                del group[field]
                group[field] = values
        traces = file["processing/ophys/DfOverF/dff"]
        file.copy(traces, "processing/ophys/DfOverF/late")
        late = file["processing/ophys/DfOverF/late"]
        late["timestamps"][...] = late["timestamps"][...] + 0.5
    foreign.bring(
        tmp_path / "j.nwb",
        tmp_path,
        stimulus="stimulus/presentation/second,stimulus/presentation/first",
        response="processing/ophys/DfOverF/dff,processing/ophys/DfOverF/late",
    )
    session = foreign.opened(tmp_path, "j")
    assert session.neurons == 10
    for row in range(8):
        film = rec.film_thw[20 * row :][:20]
        np.testing.assert_array_equal(session.read("videos", row)[..., 0], film)
    seconds = rec.starts[2] + np.arange(20) / foreign.FPS
    np.testing.assert_allclose(
        session.read(RESPONSES, 2)[:, 5:], foreign.activity(seconds - 0.5), atol=0.12
    )


def test_units_of_measure_and_columns_are_minded(rec, tmp_path):
    with h5py.File(write(tmp_path / "c.nwb", rec), "a") as file:
        data = file["processing/behavior/running/speed/data"]
        data.attrs["conversion"], data.attrs["offset"] = 0.01, 1.0
    foreign.bring(
        tmp_path / "c.nwb",
        tmp_path,
        behavior="processing/behavior/eye/gaze:1,processing/behavior/running/speed",
    )
    session = foreign.opened(tmp_path, "c")
    seconds = rec.starts[1] + np.arange(20) / foreign.FPS
    behavior = session.read(BEHAVIOR, 1)
    np.testing.assert_allclose(behavior[:, 0], foreign.pupil(seconds)[:, 1], atol=0.02)
    running = 0.01 * foreign.running(seconds) + 1
    np.testing.assert_allclose(behavior[:, 1], running, atol=1e-3)


def test_rates_instead_of_timestamps(rec, tmp_path):
    with h5py.File(write(tmp_path / "r.nwb", rec), "a") as file:
        group = file["processing/ophys/DfOverF/dff"]
        del group["timestamps"]
        group["starting_time"] = 0.1
        group["starting_time"].attrs["rate"] = foreign.IMAGING
    foreign.bring(tmp_path / "r.nwb", tmp_path)
    assert foreign.is_whole(foreign.opened(tmp_path, "r"), rec)


def outside(name, rec):
    import pynwb

    def change(file):
        series = pynwb.image.ImageSeries(
            name="clip",
            external_file=[name],
            format="external",
            starting_frame=[0],
            timestamps=rec.film_s,
            unit="n.a.",
        )
        file.add_stimulus(series)

    return change


def test_a_film_outside_of_the_file_is_read_beside_it_only(rec, tmp_path):
    big = np.repeat(np.repeat(rec.film_thw, 4, 1), 4, 2)
    foreign.mp4(tmp_path / "clip.mp4", big)
    path = write(tmp_path / "x.nwb", rec, outside("./clip.mp4", rec))
    choice = "stimulus/presentation/clip"
    foreign.bring(path, tmp_path, stimulus=choice, size=foreign.FRAME)
    assert foreign.is_whole(foreign.opened(tmp_path, "x"), rec)
    with h5py.File(path, "a") as file:
        file[choice]["external_file"][0] = "../clip.mp4"
    with pytest.raises(UserError, match="nothing outside of them is read"):
        foreign.bring(path, tmp_path, stimulus=choice, name="y")
