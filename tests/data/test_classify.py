import numpy as np
import pytest

from sensorium_jax.data.stimuli.classify import KINDS, classify
from support.recordings import stimuli as other

FRESH = 1000  # clips that were never looked at while the thresholds were set


def confusion(count, start=FRESH):
    """Rows are the truth, the last column is no label."""
    columns = [*KINDS, None]
    table = np.zeros((len(KINDS), len(columns)), int)
    for row, kind in enumerate(KINDS):
        for i in range(count):
            guess = classify(other.clip(kind, start + i, frames=120))
            table[row, columns.index(guess.label)] += 1
    head = " ".join(f"{str(k)[:10]:>10}" for k in columns)
    print(f"\n{'':16}{head}")
    for kind, row in zip(KINDS, table, strict=True):
        print(f"{kind:16}" + " ".join(f"{n:10d}" for n in row))
    return table


def test_labels_clips_of_another_generator():
    table = confusion(8)
    assert np.trace(table) >= 0.95 * table.sum() - 1, table
    assert (np.diag(table) >= 6).all(), table


@pytest.mark.soak
def test_labels_many_clips_of_another_generator():
    table = confusion(50, start=3000)
    assert np.trace(table) >= 0.95 * table.sum(), table


@pytest.mark.parametrize("number", range(3))
def test_abstains_from_what_is_none_of_them(number):
    for name, video_thw in other.foreign(number).items():
        guess = classify(video_thw)
        assert guess.label is None, (name, guess)


def test_larger_frames_and_nan_tails_change_nothing():
    video_thw = other.clip("random_dots", FRESH + 90, frames=100)
    large = np.repeat(np.repeat(video_thw, 2, axis=1), 2, axis=2)
    padded = np.full((120, 36, 64, 1), np.nan, np.float32)
    padded[:100, ..., 0] = video_thw
    plain = classify(video_thw)
    assert plain.label == "random_dots"
    for same in (large, padded):
        guess = classify(same)
        assert guess.label == plain.label
        np.testing.assert_allclose(guess.features, plain.features, rtol=1e-4)


def test_confidence_bounds_the_labels():
    video_thw = other.clip("natural_movie", FRESH + 91, frames=60)
    guess = classify(video_thw)
    assert guess.label == "natural_movie" and 0.5 <= guess.confidence <= 1
    assert classify(video_thw, least=1.01).label is None
    assert set(guess.fits) == set(KINDS)


def test_a_single_blank_frame_and_one_picture():
    assert classify(np.full((1, 36, 64), 90.0)).label is None
    picture = other.waves(other.rng_of(5), 72)[None, :36, :64]
    assert classify(picture).label == "natural_images"


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (2, 2), (3, 3), (7, 5), (200, 5)])
@pytest.mark.parametrize("frames", [1, 2, 16])
def test_frames_of_a_few_pixels_have_no_label(size, frames):
    rng = np.random.default_rng(0)
    for video_thw in (
        rng.integers(0, 256, (frames, *size)),
        np.repeat(rng.integers(0, 256, (1, *size)), frames, axis=0),
    ):
        guess = classify(video_thw)
        assert guess.label is None and np.isfinite(guess.features).all()
