"""Ours against the official loaders, on trees of both releases, every tier."""

import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest

from sensorium_jax import normalize
from sensorium_jax.data import statistics
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.release.write import SessionWriter

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]

HIDDEN = ["live_test_main", "live_test_bonus", "final_test_main", "final_test_bonus"]
TIERS_2023 = [*["train"] * 4, "oracle", "oracle", *HIDDEN, "none"]
TIERS_2022 = [*["train"] * 5, "validation", "validation", "test", "final_test"]
# One trial is longer than any for training: it ends where the statistics do.
LENGTHS = [70, 70, 66, 58, 75, 60, 59, 68, 70, 57, 61]
ABSENT = ("nnfabrik", "h5py", "torchvision", "wandb", "tqdm")  # not needed to load
ORIGINALS = ("neuralpredictors", "sensorium")
R = np.random.default_rng(3)


class StubFinder:
    """Stands in for packages that the originals import and loading does not use."""

    def __init__(self, names):
        self.names = names

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        module = MagicMock()
        module.__path__ = []
        return module

    def exec_module(self, module):
        pass


@pytest.fixture(scope="module")
def peers():
    pytest.importorskip("torch", reason="the official loaders need torch")
    pytest.importorskip("skimage", reason="the official loaders need scikit-image")
    folder = os.environ.get("SENSORIUM_PEERS", "")
    place = Path(folder) / "sinzlab"
    if not folder or not (place / "neuralpredictors").is_dir():
        pytest.skip("set SENSORIUM_PEERS to a folder with sinzlab/neuralpredictors")
    # Other tests may have stubs and originals of their own: set them aside meanwhile.
    ours = {n: m for n, m in sys.modules.items() if mine(n)}
    for name in ours:
        del sys.modules[name]
    path = [str(place / "neuralpredictors"), str(place / "sensorium")]
    finder = StubFinder([s for s in ABSENT if importlib.util.find_spec(s) is None])
    sys.path[:0] = path
    sys.meta_path.append(finder)
    yield place
    sys.meta_path.remove(finder)
    for folder in path:
        sys.path.remove(folder)
    for name in filter(mine, list(sys.modules)):
        del sys.modules[name]
    sys.modules.update(ours)


def mine(module):
    return module.split(".")[0] in (*ABSENT, *ORIGINALS)


def write(folder, year, tiers, frame_shape, *, layout="per_neuron", behaviors=2, **kw):
    n = 11
    writer = SessionWriter(
        folder, rules=str(year), neurons=n, frame_shape=frame_shape, **kw
    )
    lengths = LENGTHS if year == 2023 else [1] * len(tiers)
    for i, (tier, t) in enumerate(zip(tiers, lengths, strict=True)):
        responses = R.gamma(0.3, 3, (t, n)) * ([1] * (n - 1) + [1e-4])
        writer.add(
            i,
            R.integers(0, 256, (t, *frame_shape)),
            responses,
            R.gamma(2, 20, (t, behaviors)),
            R.normal(150, 4, (t, 2)),
            hidden="test" in tier,
        )
    meta = {"area": ["V1"] * n, "layer": ["L2/3"] * n}
    meta |= {k: np.arange(n) for k in ("animal_ids", "sessions", "scan_idx")}
    ids = np.array([f"image{i}" for i in range(len(tiers))])
    columns = {"frame_image_id": ids, "frame_image_class": ids, "trial_idx": ids}
    writer.finish(
        tiers,
        coordinates=R.normal(size=(n, 3)),
        unit_columns=meta,
        columns=columns,
        layout=layout,
    )


def ours(session, row, frames=slice(None), scale=1.0):
    """Normalized video, responses, behavior and pupil of some frames, time first."""
    info = statistics.video_stats([session])
    which = np.arange(session.reader.length(row))[frames]
    raw = [session.read(w, row, frames) for w in ("videos", "responses")]
    mean, std = (normalize.at_frames(x[0], which) for x in info)
    video = normalize.shrink(normalize.standardize(raw[0], mean, std), scale)
    responses = normalize.scale_responses(
        raw[1], normalize.at_frames(statistics.precision(session), which)
    )
    rows = {w: statistics.row_stats(session, w) for w in ("behavior", "pupil_center")}
    cut = {w: [normalize.at_frames(x, which) for x in v[:2]] for w, v in rows.items()}
    signals = [
        normalize.standardize(session.read(what, row, frames), *cut[what])
        for what in rows
    ]
    return video, responses, *signals


def vary_files(folder):
    """What real folders hold: doubles, Fortran order, NaN tails of unequal length."""
    for i, path in enumerate(sorted((folder / "data").glob("*/*.npy"))):
        x = np.load(path).astype([np.float32, np.float64][i % 2])
        x[..., x.shape[-1] - i % 3 :] = np.nan
        if "responses" in str(path) and not x[..., 0].any():
            x = np.nan_to_num(x)
        np.save(path, np.asfortranarray(x) if i % 5 < 2 else x)


def real_statistics(folder):
    """Statistics that differ per pixel and frame, NaN where no trial reaches."""
    place = folder / "meta/statistics"
    for what in ("videos", "behavior", "pupil_center"):
        for kind in ("mean", "std"):
            path = place / what / "all" / f"{kind}.npy"
            x = np.load(path)
            np.save(path, x * R.uniform(0.5, 1.5, x.shape))


@pytest.mark.parametrize("layout", ["per_neuron", "per_frame", "per_pixel_and_frame"])
def test_2023(peers, tmp_path, layout):
    from neuralpredictors.data import transforms as theirs
    from neuralpredictors.data.datasets import MovieFileTreeDataset

    folder = tmp_path / "dynamic1-2-3-Video-x"
    written = layout.replace("per_pixel_and_", "per_")
    write(folder, 2023, TIERS_2023, (12, 16, 1), layout=written, pad_to=81)
    vary_files(folder)
    if written != layout:
        real_statistics(folder)
    keys = ["videos", "responses", "behavior", "pupil_center"]
    start, frames = 3, 51
    for window in (None, slice(start, start + frames)):
        official = MovieFileTreeDataset(str(folder), *keys)
        axes = dict.fromkeys(keys, -1)
        cut = theirs.CutVideos(max_frame=None, frame_axis=axes, target_groups=keys)
        flips = [theirs.ChangeChannelsOrder((1, 0), in_name=k) for k in keys[1:]]
        official.transforms += [
            theirs.NeuroNormalizer(official, in_name="videos"),
            theirs.Subsample(np.arange(11), target_index=0),
            cut,
            theirs.ChangeChannelsOrder((2, 0, 1), in_name="videos"),
            *flips,
        ]
        if window:
            step = theirs.Subsequence(frames=frames, channel_first=(), offset=start)
            official.transforms.append(step)
        official.transforms += [
            *flips,
            theirs.ExpandChannels("videos"),
            theirs.AddBehaviorAsChannels("videos"),
            theirs.ToTensor(False),
        ]
        session = Recordings.open(tmp_path)[0]
        for tier in sorted(set(TIERS_2023)):
            for row in session.trials_of(tier):
                x = official[int(session.files[row])]
                video, responses, behavior, pupil = ours(
                    session, row, window or slice(None)
                )
                compare(x.videos[0], video[..., 0])
                compare(x.videos[1:].permute(1, 2, 3, 0)[:, 5, 5], behavior)
                compare(x.responses.T, responses)
                compare(x.behavior.T, behavior)
                compare(x.pupil_center.T, pupil)


def test_2022(peers, tmp_path):
    from sensorium.datasets.mouse_loaders import static_loader

    folder = tmp_path / "static1-2-3-GrayImageNet-x"
    write(folder, 2022, TIERS_2022, (144, 256, 1), behaviors=3)
    session = Recordings.open(tmp_path)[0]
    key, loaders = static_loader(
        str(folder),
        batch_size=1,
        include_behavior=True,
        include_eye_position=True,
        add_behavior_as_channels=True,
        scale=0.25,
        cuda=False,
        get_key=True,
    )
    assert key == "1-2-3"
    for tier in sorted(set(TIERS_2022)):
        rows = session.trials_of(tier).tolist()
        found = [ours(session, row, scale=0.25) for row in rows]
        batches = list(loaders[tier])
        assert len(batches) == len(found)
        for x in batches:
            near = [
                np.abs(f[0][0, ..., 0] - x.images[0, 0].numpy()).max() for f in found
            ]
            video, responses, behavior, pupil = found[int(np.argmin(near))]
            compare(x.images[0, 0], video[0, ..., 0])
            compare(x.images[0, 1:, 7, 7], behavior[0])
            compare(x.responses[0], responses[0])
            compare(x.behavior[0], behavior[0])
            compare(x.pupil_center[0], pupil[0])


def compare(official, found):
    official = official.numpy()
    assert official.shape == found.shape
    assert np.isfinite(official).all()
    np.testing.assert_allclose(found, official, rtol=1e-5, atol=1e-5)
