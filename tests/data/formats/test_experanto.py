"""Experanto: screens with blanks and tiers, sequences at rates of their own."""

import json

import numpy as np
import pytest
import yaml

from sensorium_jax.cli import main
from sensorium_jax.errors import UserError
from support.recordings import foreign

TIERS = ["train"] * 5 + ["validation", "validation", "test"]
FRAMES = 18  # of a film; then the screen is blank


@pytest.fixture(scope="module")
def rec():
    return foreign.recorded()


@pytest.mark.parametrize("memory", [False, True], ids=["npy", "mem"])
def test_an_experiment_is_read_back(rec, tmp_path, memory):
    folder = foreign.experanto(tmp_path / "exp", rec, tiers=TIERS, memory=memory)
    outcome = foreign.bring(folder, tmp_path / "out")
    assert "the first two columns of eye_tracker" in outcome.text
    session = foreign.opened(tmp_path / "out", "exp")
    assert foreign.is_whole(session, rec, frames=FRAMES)
    assert session.tiers.tolist() == TIERS
    seconds = rec.starts[1] + np.arange(FRAMES) / foreign.FPS
    size = 9 + np.sin(2 * seconds)
    np.testing.assert_allclose(session.read("behavior", 1)[:, 0], size, atol=0.04)


def test_combined_metadata_stands_for_single_files(rec, tmp_path):
    folder = foreign.experanto(tmp_path / "exp", rec, tiers=TIERS)
    files = sorted((folder / "screen/meta").iterdir())
    combined = {f.stem: yaml.safe_load(f.read_text()) for f in files}
    (folder / "screen/combined_meta.json").write_text(json.dumps(combined))
    for file in files:
        file.unlink()
    foreign.bring(folder, tmp_path / "out")
    session = foreign.opened(tmp_path / "out", "exp")
    assert foreign.is_whole(session, rec, frames=FRAMES)


def test_repeats_validate_where_tiers_are_not_wanted(rec, tmp_path):
    folder = foreign.experanto(tmp_path / "exp", rec)
    foreign.bring(folder, tmp_path / "out", tiers="none")
    tiers = foreign.opened(tmp_path / "out", "exp").tiers.tolist()
    assert tiers == ["oracle"] * 2 + ["train"] * 4 + ["oracle"] * 2


def test_cutting_instead_of_items_shows_the_blanks(rec, tmp_path):
    folder = foreign.experanto(tmp_path / "exp", rec)
    foreign.bring(folder, tmp_path / "out", trials="none", trial_seconds=4.0)
    session = foreign.opened(tmp_path / "out", "exp")
    video = session.read("videos", 0)[..., 0]
    np.testing.assert_array_equal(video[:FRAMES], rec.film_thw[:FRAMES])
    assert (video[FRAMES:20] == 128).all()
    np.testing.assert_array_equal(video[20 : 20 + FRAMES], rec.film_thw[20:][:FRAMES])


def test_images_are_held_as_films_or_become_pictures(rec, tmp_path):
    folder = foreign.experanto(tmp_path / "exp", rec)
    screen = folder / "screen"
    for place in (screen / "data", screen / "meta"):
        for file in place.iterdir():
            file.unlink()
    for i in range(8):  # half a second each, half a second blank
        image = {"modality": "image", "image_size": [6, 8], "tier": TIERS[i]}
        image["first_frame_idx"] = 2 * i
        blank = image | {"modality": "blank", "first_frame_idx": 2 * i + 1}
        for number, meta in ((2 * i, image), (2 * i + 1, blank)):
            path = screen / f"meta/{number:05d}.yml"
            path.write_text(yaml.safe_dump(meta))
        np.save(screen / f"data/{2 * i:05d}.npy", rec.film_thw[i])
    np.save(screen / "timestamps.npy", 2 + np.arange(16) / 2)
    foreign.bring(folder, tmp_path / "out", name="films")
    session = foreign.opened(tmp_path / "out", "films")
    assert session.reader.length(3) == 15
    held = session.read("videos", 3)[..., 0]
    assert (held == rec.film_thw[3]).all() and session.tiers.tolist() == TIERS
    window = (0.05, 0.45)
    foreign.bring(folder, tmp_path / "out", name="p", pictures=True, window=window)
    pictures = foreign.opened(tmp_path / "out", "p")
    assert pictures.rules.kind == "pictures" and pictures.trials == 8
    np.testing.assert_array_equal(
        pictures.read("videos", 5)[0, ..., 0], rec.film_thw[5]
    )


def test_phase_shifts_move_every_signal_by_its_own(rec, tmp_path):
    folder = foreign.experanto(tmp_path / "exp", rec)
    for file in (folder / "responses").iterdir():
        file.unlink()
    (folder / "responses").rmdir()
    shifts = np.linspace(0, 0.12, foreign.NEURONS)

    def late(seconds):
        columns = [foreign.activity(seconds + s)[:, n] for n, s in enumerate(shifts)]
        return np.stack(columns, axis=1)

    end = rec.stops[-1] + 1
    foreign.sequence(folder / "responses", late, foreign.IMAGING, end, shifts=shifts)
    foreign.bring(folder, tmp_path / "out")
    session = foreign.opened(tmp_path / "out", "exp")
    assert foreign.is_whole(session, rec, frames=FRAMES)


def test_spikes_are_counted(rec, tmp_path):
    folder = foreign.experanto(tmp_path / "exp", rec)
    place = folder / "responses"
    rng = np.random.default_rng(0)
    spikes = [np.sort(rng.uniform(0, 19, 50)) for _ in range(3)]
    np.save(place / "spikes.npy", np.concatenate(spikes))
    meta = {"modality": "spikes", "spike_indices": [0, 50, 100, 150], "n_signals": 3}
    meta |= {"start_time": 0.0, "end_time": 19.0}
    (place / "meta.yml").write_text(yaml.safe_dump(meta))
    foreign.bring(folder, tmp_path / "out")
    session = foreign.opened(tmp_path / "out", "exp")
    edges = rec.starts[1] + (np.arange(FRAMES + 1) - 0.5) / foreign.FPS
    expected = np.stack([np.histogram(s, edges)[0] for s in spikes], axis=1)
    np.testing.assert_array_equal(session.read("responses", 1), expected)


def test_list_and_devices_by_name(rec, tmp_path, capsys):
    folder = foreign.experanto(tmp_path / "exp", rec)
    assert main(["import", str(folder), "--list"]) == 0
    out = capsys.readouterr().out
    assert "8 video, 8 blank" in out and "eye_tracker" in out
    with pytest.raises(UserError, match="Unknown device 'treadmil'.*'treadmill'"):
        foreign.bring(folder, tmp_path / "out", behavior="treadmil")
    with pytest.raises(UserError, match="has columns 0 to 2; 2-5 was asked"):
        foreign.bring(folder, tmp_path / "out", pupil="eye_tracker:2-5")
