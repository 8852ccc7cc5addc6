"""One small recording of known signals, written in the formats that the field has.

Signals are functions of time, so that what an import should find is known at any
moment: neuron n is 2 + sin(2 pi (0.2 + 0.1 n) t + n), running 3 + cos(t), the pupil
at (150 + sin(t), 100 + cos(t)).
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

NEURONS, FRAME = 5, (6, 8)
TRIAL, TRIALS = 2.0, 8  # seconds of a trial; two films are shown twice
FPS, IMAGING, RUNNING, EYE = 10.0, 7.0, 50.0, 23.0  # samples per second
CUT = 2.0  # seconds of recording before the first trial


def activity(seconds, neurons=NEURONS):
    """Responses [t, n] at any times."""
    n = np.arange(neurons)
    return 2 + np.sin(2 * np.pi * (0.2 + 0.1 * n) * np.asarray(seconds)[:, None] + n)


def running(seconds):
    return 3 + np.cos(np.asarray(seconds))


def pupil(seconds):
    t = np.asarray(seconds)
    return np.stack([150 + np.sin(t), 100 + np.cos(t)], axis=1)


class Recorded(NamedTuple):
    """What was shown and measured, every signal at its own times."""

    film_thw: np.ndarray
    film_s: np.ndarray
    imaging_s: np.ndarray
    running_s: np.ndarray
    eye_s: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    shown: tuple[int, ...]  # which film each trial showed


def recorded(*, trials=TRIALS, seed=0, jitter=0.0):
    """A recording of `trials` trials; the last two show the first two films again."""
    rng = np.random.default_rng(seed)
    frames = round(TRIAL * FPS)
    shown = (*range(trials - 2), 0, 1)
    films = rng.integers(0, 256, (trials, frames, *FRAME), dtype=np.uint8)
    film_thw = np.concatenate([films[i] for i in shown])
    film_s = CUT + np.arange(len(film_thw)) / FPS
    starts = CUT + np.arange(trials) * TRIAL
    end = CUT + trials * TRIAL + 1

    def clock(rate, start):
        times = np.arange(start, end, 1 / rate)
        return times + rng.uniform(-jitter, jitter, len(times)) / rate

    return Recorded(
        film_thw,
        film_s,
        clock(IMAGING, 0.1),
        clock(RUNNING, 0.03),
        clock(EYE, 0.011),
        starts,
        starts + TRIAL,
        shown,
    )


def nwb(path, rec, *, tiers=None, change=None):
    """An NWB file by pynwb: a film, dF/F, running, a pupil, trials."""
    from datetime import UTC, datetime

    import pynwb
    from pynwb import behavior as b, ophys

    file = pynwb.NWBFile(
        session_description="test",
        identifier="one",
        session_start_time=datetime(2024, 1, 1, tzinfo=UTC),
    )
    device = file.create_device(name="scope")
    channel = ophys.OpticalChannel(
        name="green", description="green", emission_lambda=520.0
    )
    plane = file.create_imaging_plane(
        name="plane",
        optical_channel=channel,
        description="V1",
        device=device,
        excitation_lambda=920.0,
        indicator="GCaMP6s",
        location="V1",
    )
    cells = ophys.PlaneSegmentation(
        name="cells", description="cells", imaging_plane=plane
    )
    for n in range(NEURONS):
        mask = np.zeros((10, 12))
        mask[n + 1, 2 * n] = 1
        cells.add_roi(image_mask=mask, id=100 + n)
    module = file.create_processing_module("ophys", "imaging")
    module.add(ophys.ImageSegmentation(plane_segmentations=[cells]))
    region = cells.create_roi_table_region(
        description="all", region=list(range(NEURONS)), name="rois"
    )
    relative = ophys.DfOverF()
    module.add(relative)
    relative.add_roi_response_series(
        ophys.RoiResponseSeries(
            name="dff",
            data=activity(rec.imaging_s),
            rois=region,
            unit="a.u.",
            timestamps=rec.imaging_s,
        )
    )
    file.add_stimulus(
        pynwb.image.ImageSeries(
            name="movie", data=rec.film_thw, unit="n.a.", timestamps=rec.film_s
        )
    )
    actions = file.create_processing_module("behavior", "behavior")
    speed = pynwb.TimeSeries(
        name="speed", data=running(rec.running_s), unit="cm/s", timestamps=rec.running_s
    )
    actions.add(b.BehavioralTimeSeries(name="running", time_series=speed))
    gaze = b.SpatialSeries(
        name="gaze",
        data=pupil(rec.eye_s),
        reference_frame="camera",
        timestamps=rec.eye_s,
    )
    actions.add(b.EyeTracking(name="eye", spatial_series=gaze))
    if tiers is not None:
        file.add_trial_column(name="tier", description="use")
    for i, (start, stop) in enumerate(zip(rec.starts, rec.stops, strict=True)):
        more = {} if tiers is None else {"tier": tiers[i]}
        file.add_trial(start_time=start, stop_time=stop, **more)
    if change:
        change(file)
    with pynwb.NWBHDF5IO(str(path), "w") as out:
        out.write(file)
    return path


def suite2p(folder, rec, *, cells=None, planes=1):
    """A suite2p folder by numpy, as suite2p saves it: stat and ops are pickles."""
    for p in range(planes):
        plane = Path(folder) / f"plane{p}"
        plane.mkdir(parents=True)
        traces = activity(rec.imaging_s).T.astype(np.float32)
        np.save(plane / "spks.npy", traces)
        np.save(plane / "F.npy", traces + 7)
        np.save(plane / "Fneu.npy", np.full_like(traces, 10))
        is_cell = np.ones((NEURONS, 2))
        if cells is not None:
            is_cell[:, 0] = np.isin(np.arange(NEURONS), cells)
        np.save(plane / "iscell.npy", is_cell)
        np.save(plane / "stat.npy", stat())
        ops = {"fs": IMAGING, "Ly": 32, "meanImg": np.ones((4, 4), np.float32)}
        np.save(plane / "ops.npy", ops | {"data_path": ["x"], "nonrigid": True})
    np.save(Path(folder) / "frames.npy", rec.imaging_s)
    return Path(folder)


def stat():
    """What suite2p says of each ROI, as an array of dictionaries."""
    pixels = np.arange(4, dtype=np.int32)
    rois = [
        {
            "ypix": pixels,
            "xpix": pixels + n,
            "lam": np.ones(4, np.float32),
            "med": [3 + n, 2 * n],
            "npix": 4,
            "radius": np.float64(2.5),
            "overlap": np.zeros(4, bool),
            "footprint": np.float32(1),
        }
        for n in range(NEURONS)
    ]
    return np.array(rois, object)


def beside(folder, rec):
    """Files for what suite2p does not know; as flags of the command line."""
    folder = Path(folder)
    np.save(folder / "film.npy", rec.film_thw)
    np.save(folder / "film_times.npy", rec.film_s)
    np.save(folder / "speed.npy", running(rec.running_s))
    np.save(folder / "speed_times.npy", rec.running_s)
    rows = [f"{a},{b}" for a, b in zip(rec.starts, rec.stops, strict=True)]
    (folder / "trials.csv").write_text("\n".join(["start,stop", *rows]))
    return {
        "stimulus": str(folder / "film.npy"),
        "stimulus_times": str(folder / "film_times.npy"),
        "behavior": str(folder / "speed.npy"),
        "behavior_times": str(folder / "speed_times.npy"),
        "trials": str(folder / "trials.csv"),
    }


def experanto(folder, rec, *, tiers=None, memory=False):
    """An experiment in experanto's layout: films with blanks between, three devices."""
    import yaml

    folder = Path(folder)
    screen = folder / "screen"
    (screen / "data").mkdir(parents=True)
    (screen / "meta").mkdir()
    times, first, item = [], 0, 0
    frames = round(TRIAL * FPS)

    def note(**meta):
        text = yaml.safe_dump({"image_size": list(FRAME), **meta})
        (screen / "meta" / f"{item:05d}.yml").write_text(text)

    for i, start in enumerate(rec.starts):
        # The last two frames of each trial are a blank screen.
        film = rec.film_thw[i * frames : (i + 1) * frames - 2]
        np.save(screen / "data" / f"{item:05d}.npy", film)
        tier = tiers[i] if tiers is not None else "train"
        note(modality="video", first_frame_idx=first, num_frames=len(film), tier=tier)
        times.extend(start + np.arange(len(film)) / FPS)
        first, item = first + len(film), item + 1
        note(modality="blank", first_frame_idx=first, interleave_value=128, tier=tier)
        times.append(start + len(film) / FPS)
        first, item = first + 1, item + 1
    np.save(screen / "timestamps.npy", np.array(times))
    (screen / "meta.yml").write_text(yaml.safe_dump({"modality": "screen"}))
    eye = lambda s: np.hstack([pupil(s), 9 + np.sin(2 * s)[:, None]])  # noqa: E731
    run = lambda s: running(s)[:, None]  # noqa: E731
    devices = (("responses", activity, IMAGING), ("eye_tracker", eye, EYE))
    for name, values, rate in (*devices, ("treadmill", run, RUNNING)):
        sequence(folder / name, values, rate, rec.stops[-1] + 1, memory=memory)
    return folder


def sequence(place, values, rate, end, *, memory=False, shifts=None):
    """A device that samples steadily from 0.05 s on."""
    import yaml

    place.mkdir(parents=True)
    seconds = 0.05 + np.arange(int(end * rate)) / rate
    data = np.asarray(values(seconds), np.float64)
    meta = {
        "modality": "sequence",
        "sampling_rate": rate,
        "start_time": 0.05,
        "end_time": float(seconds[-1]),
        "n_signals": data.shape[1],
        "n_timestamps": len(data),
        "is_mem_mapped": memory,
        "dtype": "float64",
        "phase_shift_per_signal": shifts is not None,
    }
    if shifts is not None:
        (place / "meta").mkdir()
        np.save(place / "meta/phase_shifts.npy", shifts)
    (place / "meta.yml").write_text(yaml.safe_dump(meta))
    if memory:
        data.tofile(place / "data.mem")
    else:
        np.save(place / "data.npy", data)


def described(folder, rec):
    """Arrays in .npy files and the YAML file that describes them."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    beside(folder, rec)
    np.save(folder / "dff.npy", activity(rec.imaging_s))
    np.save(folder / "dff_times.npy", rec.imaging_s)
    np.save(folder / "eye.npy", pupil(rec.eye_s))
    np.save(folder / "eye_times.npy", rec.eye_s)
    path = folder / "mine.yaml"
    path.write_text(
        "name: fish\n"
        "stimulus: {file: film.npy, times: film_times.npy}\n"
        "responses: {file: dff.npy, times: dff_times.npy}\n"
        "behavior: [{file: speed.npy, times: speed_times.npy}]\n"
        "pupil: {file: eye.npy, times: eye_times.npy}\n"
        "trials: trials.csv\n"
    )
    return path


def bring(source, out, *, figure=False, **flags):
    """Import through the function behind the verb; drawing takes the longest."""
    from sensorium_jax.run.bring import bring as run

    out = None if out is None else str(out)
    return run(str(source), out, figure=figure, **flags)


def opened(out, name):
    """A session that was imported."""
    from sensorium_jax.data.recordings import Recordings

    return Recordings.open(Path(out) / name)[0]


def is_whole(session, rec, *, frames=None, neurons=range(NEURONS), rows=None):
    """Whether a session holds what was recorded: equal films, signals as functions.

    Signals sampled several times a period are known to a few percent between samples.
    """
    per_trial = round(TRIAL * FPS)
    frames = frames or per_trial
    for row in range(len(rec.starts)) if rows is None else rows:
        begin = row * per_trial
        film = rec.film_thw[begin : begin + frames]
        np.testing.assert_array_equal(session.read("videos", row)[..., 0], film)
        seconds = rec.starts[row] + np.arange(frames) / FPS
        responses = session.read("responses", row)
        expected = activity(seconds)[:, list(neurons)]
        np.testing.assert_allclose(responses, expected, atol=0.12)
        if session.behaviors:
            speed = session.read("behavior", row)[:, -1]
            np.testing.assert_allclose(speed, running(seconds), atol=0.02)
        if session.has_pupil:
            eye = session.read("pupil_center", row)
            np.testing.assert_allclose(eye, pupil(seconds), atol=0.02)
    return True


def mp4(path, film_thw, *, rate=FPS, codec="libx264rgb", form="rgb24"):
    """A film as a movie by PyAV; without loss, unless another codec is asked for."""
    import av

    lossless = codec == "libx264rgb"
    with av.open(str(path), "w") as container:
        options = {"qp": "0"} if lossless else {}
        stream = container.add_stream(codec, rate=int(rate), options=options)
        stream.height, stream.width = film_thw.shape[1:3]
        stream.pix_fmt = form if lossless else "yuv420p"
        stream.codec_context.gop_size = 7
        for frame_hw in film_thw:
            image = np.repeat(frame_hw[..., None], 3, axis=-1)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
