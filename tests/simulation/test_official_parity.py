"""The official loaders read simulated trees of both years and see what ours sees."""

import importlib.util
import sys
import types

import numpy as np
import pytest

from sensorium_jax.data.recordings import Recordings
from sensorium_jax.simulation.write import simulate
from support.originals import peers

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]
TINY = {"preset": "tiny", "seed": 8}


@pytest.fixture(autouse=True)
def originals():
    """Both years' packages are called sensorium; the video files import h5py."""
    pytest.importorskip("skimage", reason="the official loaders need scikit-image")
    for name in [n for n in sys.modules if n.split(".")[0] == "sensorium"]:
        del sys.modules[name]
    if importlib.util.find_spec("h5py") is None:
        sys.modules.setdefault("h5py", types.ModuleType("h5py"))
    yield
    if not hasattr(sys.modules.get("h5py"), "__version__"):
        sys.modules.pop("h5py", None)


def test_the_official_video_loader_reads_a_simulation(tmp_path):
    peers.use("sinzlab/neuralpredictors", "ecker-lab/sensorium_2023")
    from sensorium.datasets.mouse_video_loaders import mouse_video_loader

    folders = simulate(tmp_path, **TINY)
    loaders = mouse_video_loader(
        paths=[f"{f}/" for f in folders],
        batch_size=1,
        scale=1,
        max_frame=None,
        frames=60,
        offset=-1,
        include_behavior=True,
        include_pupil_centers=True,
        cuda=False,
        to_cut=False,
    )
    session = Recordings.open(str(tmp_path)).sessions[0]
    assert set(loaders) == set(session.tiers)
    std = np.load(folders[0] / "meta/statistics/responses/all/std.npy")
    floor = 0.01 * np.nanmean(std)
    for tier in ("oracle", "live_test_main", "final_test_bonus"):
        rows = session.trials_of(tier)
        batches = list(loaders[tier][session.name])
        assert len(batches) == len(rows)
        for row, batch in zip(rows, batches, strict=True):
            trial = session.trial(int(row))
            official = batch.responses[0].numpy()
            assert official.shape == trial.responses_tn.T.shape
            assert np.isfinite(official).all()
            frames = official.shape[1]
            ours = trial.responses_tn.T / np.maximum(std, floor)[:, :frames]
            np.testing.assert_allclose(official, ours, rtol=1e-4, atol=1e-5)
            video = batch.videos[0, 0].numpy().ravel()
            assert np.corrcoef(video, trial.video_thwc.ravel())[0, 1] > 0.999


def test_the_official_picture_loader_reads_a_simulation(tmp_path):
    peers.use("sinzlab/neuralpredictors", "sinzlab/sensorium")
    from sensorium.datasets.mouse_loaders import static_loader

    folder = simulate(tmp_path, year=2022, **TINY)[0]
    key, loaders = static_loader(
        str(folder),
        batch_size=1,
        include_behavior=True,
        include_eye_position=True,
        scale=0.25,
        cuda=False,
        get_key=True,
    )
    session = Recordings.open(str(tmp_path)).sessions[0]
    assert key == "90001-1-1"
    for tier in ("validation", "test", "final_test"):
        batches = list(loaders[tier])
        rows = session.trials_of(tier)
        assert len(batches) == len(rows)
        ours = np.stack([session.trial(int(r)).responses_tn[0] for r in rows])
        theirs = np.stack([b.responses[0].numpy() for b in batches])
        ratio = (theirs.sum(0) + 1e-9) / (ours.sum(0) + 1e-9)
        # A response is divided by one number per neuron, whatever the trial's order.
        np.testing.assert_allclose(
            np.sort(theirs, 0), np.sort(ours * ratio, 0), rtol=1e-4, atol=1e-6
        )
        assert batches[0].images.shape == (1, 4, 36, 64)  # picture, behavior
