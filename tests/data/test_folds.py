"""Folds equal the winner's, no film straddles them, equal films are recognized."""

import importlib
import json
import os
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest

from sensorium_jax.axes import Trial
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.release.write import write_session
from sensorium_jax.data.stimuli import folds, hashes
from sensorium_jax.errors import UserError
from support.originals import peers
from support.recordings import in_memory

GOLDEN = Path(__file__).parent.parent / "golden" / "phash.json"


def clip(kind, seed, shape=(36, 64), frames=23):
    """A film made of integers only, the same on every machine."""
    rng = np.random.default_rng(seed)
    h, w = np.ogrid[: shape[0], : shape[1]]
    t = np.arange(frames)[:, None, None]
    a, b, c = (int(x) for x in rng.integers(1, 40, 3))
    if kind == "noise":
        return rng.integers(0, 256, (frames, *shape), np.uint8)
    if kind == "drift":
        return ((h * a + w * b + t * c) // 8 % 256).astype(np.uint8)
    if kind == "flash":
        picture = (h * w * a // 16 + w * b) % 256
        return np.where(t % 2 == 0, picture, 127).astype(np.uint8)
    return (((h - a) ** 2 + (w - b - t) ** 2 < 90) * 200).astype(np.uint8)


CASES = [
    (kind, seed, shape)
    for kind in ("noise", "drift", "flash", "disc")
    for seed, shape in ((0, (36, 64)), (1, (36, 64)), (2, (20, 31)), (3, (144, 256)))
]


def whole(film_thw):
    """Hash of a film that is in memory."""
    return hashes.film_hash(film_thw[hashes.looked_at(len(film_thw))])


def test_hashes_equal_the_golden_ones():
    golden = json.loads(GOLDEN.read_text())
    assert len(golden) == len(CASES)
    for case, expected in zip(CASES, golden, strict=True):
        assert whole(clip(*case)) == int(expected), case


def film_session(films, tiers, neurons=3, dtype=np.uint8):
    base = in_memory.session(
        neurons=neurons, tiers=tuple(tiers), lengths=(23,), video_dtype=dtype
    )
    for row, film in enumerate(films):
        t = len(film)
        base.reader.trials[row] = Trial(
            film[..., None], np.zeros((t, 2)), np.zeros((t, 2)), np.ones((t, neurons))
        )
    return base


def test_repeats_share_a_fold_and_folds_part_the_trials():
    films = [clip("noise", s, (4, 6)) for s in range(20)]
    order = [*range(20), 3, 3, 7]
    session = film_session(
        [films[i] for i in order], ["train"] * 20 + ["oracle"] * 2 + ["none"]
    )
    fold_t = folds.folds(session)
    assert fold_t[20] == fold_t[21] == fold_t[3] and fold_t[22] == -1
    assert set(fold_t[:20]) <= set(range(7)) and len(set(fold_t[:20])) > 3
    for row in range(20):
        expected = whole(films[row]) % 7
        assert fold_t[row] == expected
    fold = int(fold_t[3])
    train, held = folds.split_fold([session], fold)
    assert {3, 20, 21} <= set(held["mouse"]) and not {3, 20} & set(train["mouse"])
    both = np.union1d(train["mouse"], held["mouse"])
    np.testing.assert_array_equal(both, np.arange(22))


def test_tests_join_the_folds_only_where_labelled():
    tiers = ("train",) * 3 + ("live_test_main",) * 2
    shown = in_memory.session(tiers=tiers, hidden=False)
    hidden = in_memory.session(tiers=tiers)
    assert len(folds.fold_rows(shown)) == 3
    assert len(folds.fold_rows(shown, tests=True)) == 5
    assert len(folds.fold_rows(hidden, tests=True)) == 3


def test_repeats_are_recovered_however_stored():
    films = [clip("drift", s, (4, 6)) for s in range(3)]
    order = [0, 1, 0, 2, 1, 0]
    played = [films[i] for i in order]
    played[3] = played[3][:20]
    session = film_session(played, ["oracle"] * 6)
    floats = film_session(played, ["oracle"] * 6, dtype=np.float32)
    for row in range(6):
        keys = [folds.content_hash(s, row) for s in (session, floats)]
        assert keys[0] == keys[1]
    assert folds.stimuli(session, range(6)).tolist() == [0, 1, 0, 2, 1, 0]
    almost = films[0].astype(np.float32)
    almost[5, 1, 2] += 0.5
    session = film_session([films[0], almost], ["oracle"] * 2, dtype=np.float32)
    assert folds.stimuli(session, [0, 1]).tolist() == [0, 1]


def test_impossible_folds_are_named():
    session = film_session([clip("noise", 0, (4, 6))] * 3, ["train"] * 3)
    with pytest.raises(UserError, match="expected 0 to 6"):
        folds.split_fold([session], 7)
    fold = int(folds.folds(session)[0])
    with pytest.raises(UserError, match="trained on"):
        folds.split_fold([session], fold)


def test_very_short_films_have_a_hash():
    one = clip("drift", 0, (8, 8), 1)
    assert whole(one) == hashes.frame_hash(one[0])
    three = clip("drift", 0, (8, 8), 3)
    a, b, c = map(hashes.frame_hash, three)
    assert whole(three) == a ^ b ^ c


class Marks:
    """What imagehash.phash returns, as far as the original asks."""

    def __init__(self, marks):
        self.hash = marks


def pillow_phash(image):
    """imagehash.phash with its defaults, from Pillow and scipy."""
    from PIL import Image
    from scipy.fftpack import dct

    small = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS))
    low = dct(dct(small, axis=0), axis=1)[:8, :8]
    return Marks(low > np.median(low))


@pytest.fixture
def original(monkeypatch):
    """The winner's own modules; imagehash itself where it is installed."""
    try:
        import imagehash  # noqa: F401
    except ImportError:
        stand_in = types.ModuleType("imagehash")
        vars(stand_in)["phash"] = pillow_phash
        monkeypatch.setitem(sys.modules, "imagehash", stand_in)
    peers.use("lRomul/sensorium")
    # Its package imports its models, and they a framework that folds do not need.
    package = types.ModuleType("src")
    path = Path(os.environ["SENSORIUM_PEERS"]) / "lRomul/sensorium/src"
    vars(package).update(__path__=[str(path)], __file__=str(path / "__init__.py"))
    monkeypatch.setitem(sys.modules, "src", package)
    warnings.filterwarnings("ignore", "'mode' parameter is deprecated")
    yield importlib.import_module("src.data"), importlib.import_module("src.phash")
    for name in [n for n in sys.modules if n.startswith("src.")]:
        del sys.modules[name]


@pytest.mark.parity
def test_hashes_equal_the_winners(original):
    for kind in ("noise", "drift", "flash", "disc"):
        for seed in range(60):
            shape = ((36, 64), (20, 31), (50, 50))[seed % 3]
            film = clip(kind, seed, shape, 10 + seed)
            padded = np.full((*shape, 80), np.nan)
            padded[..., : len(film)] = np.moveaxis(film, 0, -1)
            expected = original[1].calculate_video_phash(padded)
            assert whole(film) == expected, (kind, seed)


@pytest.mark.parity
@pytest.mark.parametrize("new", [True, False])
def test_folds_equal_the_winners_on_a_tree(original, tmp_path, monkeypatch, new):
    rng = np.random.default_rng(0)
    films = [rng.integers(0, 256, (20 + i % 3, 36, 64)) for i in range(30)]
    order = [*range(30), 4, 4, 9]
    tiers = ["train"] * 20 + ["oracle"] * 6 + ["live_test_main"] * 6 + ["none"]
    write_session(
        tmp_path / "mouse",
        rules="2023",
        videos=[films[i] for i in order],
        responses=[rng.gamma(1, 2, (len(films[i]), 3)) for i in order],
        behavior=[rng.normal(size=(len(films[i]), 2)) for i in order],
        tiers=tiers,
        hide=("live_test_main",) if new else (),
        pad_to=24,
    )
    constants = importlib.import_module("src.constants")
    monkeypatch.setattr(constants, "sensorium_dir", tmp_path)
    monkeypatch.setattr(constants, "new_mice", ["mouse"] if new else [])
    # The array of tiers has room for their longest name.
    expected = original[0].get_folds_tiers("mouse", 7)
    found = folds.folds(Recordings.open(tmp_path)[0], tests=not new)
    theirs = [int(t[5:]) if t.startswith("fold_") else -1 for t in expected]
    assert found.tolist() == theirs
