"""Small recordings of either year, and the ways to spoil them."""

import shutil

import numpy as np

from sensorium_jax.data.release.write import write_session

TRIALS, FRAMES, NEURONS = 10, 20, 9
NAMES = {
    2023: "dynamic2951{}-1-1-Video-9b4f",
    2022: "static2720{}-5-13-GrayImageNet-94c",
}
TIERS = {
    2023: ["train"] * 6 + ["oracle"] * 2 + ["live_test_main"] * 2,
    2022: ["train"] * 6 + ["validation"] * 2 + ["test"] * 2,
}


def session(root, year, mouse, channels=1, *, behavior=True, pupil=True):
    rng = np.random.default_rng(mouse)
    frames, signals = (FRAMES, 2) if year == 2023 else (1, 3)
    count = NEURONS + mouse

    def each(make):
        return [make().astype(np.float32) for _ in range(TRIALS)]

    return write_session(
        root / NAMES[year].format(mouse),
        videos=each(lambda: rng.integers(0, 256, (frames, 6, 8, channels))),
        responses=each(lambda: rng.gamma(1, 1, (frames, count)) - 1e-8),
        behavior=each(lambda: rng.normal(30, 5, (frames, signals)))
        if behavior
        else None,
        pupil=each(lambda: rng.normal(150, 5, (frames, 2))) if pupil else None,
        tiers=TIERS[year],
        hide=TIERS[year][-1:],
        rules=str(year),
        pad_to=FRAMES + 4 if year == 2023 else None,
        coordinates=rng.integers(0, 500, (count, 3)),
        unit_ids=np.arange(count) + 100 * mouse,
        layout="per_frame" if year == 2023 else "per_neuron",
    )


def edit(path, change):
    """Rewrite an array; change gets it and returns it or edits it in place."""
    values = np.load(path)
    changed = change(values)
    np.save(path, values if changed is None else changed)


def put(value, *spot):
    def change(x):
        x[spot] = value

    return change


def cut(size):
    return lambda x: x[..., :size]


def video(year):
    return "videos" if year == 2023 else "images"


R = "data/responses/2.npy"
TIERFILE, IDS = "meta/trials/tiers.npy", "meta/neurons/unit_ids.npy"
STD = "meta/statistics/{}/all/std.npy"


def array(file, change):
    def plant(mouse, year):
        name = file.replace("VIDEO", video(year))
        edit(mouse / name, change)
        return name

    return plant


def bytes_of(file, change):
    def plant(mouse, year):
        path = mouse / file
        path.write_bytes(change(path.read_bytes()))
        return file

    return plant


def gone(file):
    def plant(mouse, year):
        name = file.replace("VIDEO", video(year))
        path = mouse / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        return name

    return plant


def pickled(mouse, year):
    np.save(mouse / R, np.array([{"a": 1}, None], object), allow_pickle=True)
    return R


def tier_names(change):
    def plant(mouse, year):
        edit(mouse / TIERFILE, lambda x: np.array(change([str(t) for t in x])))
        return TIERFILE

    return plant


def other_frames(mouse, year):
    other = mouse.parent / NAMES[year].format(1)
    for path in (other / "data" / video(year)).iterdir():
        edit(path, lambda x: x[:, :5] if year == 2022 else x[:5])
    shutil.rmtree(other / "meta/statistics" / video(year))
    source = mouse / "meta/statistics" / video(year)
    shutil.copytree(source, other / "meta/statistics" / video(year))
    for path in (other / "meta/statistics" / video(year)).rglob("*.npy"):
        edit(path, lambda x: x.ravel()[0])
    return f"{other.name}/data/{video(year)}"


def twice(mouse, year):
    shutil.copytree(mouse, mouse.with_name("another_name"))
    return mouse.name


def locked(mouse, year):
    (mouse / R).chmod(0)
    return R


def locked_folder(mouse, year):
    (mouse / "data/behavior").chmod(0)
    return "data/behavior"


def self_link(mouse, year):
    (mouse / R).unlink()
    (mouse / R).symlink_to("2.npy")
    return R


def upward_link(mouse, year):
    (mouse / "data/again").symlink_to(mouse.parent)
    return "data/again"


def as_type(dtype, order="C"):
    def plant(mouse, year):
        for path in (mouse / "data").rglob("*.npy"):
            edit(path, lambda x: np.asarray(x, dtype, order=order))

    return plant


def no_modality(what):
    def plant(mouse, year):
        for one in mouse.parent.iterdir():
            shutil.rmtree(one / "data" / what)
            shutil.rmtree(one / "meta/statistics" / what)

    return plant


def gap(mouse, year):
    for path in (mouse / "data").glob("*/3.npy"):
        path.unlink()
    edit(mouse / TIERFILE, lambda x: np.delete(x, 3))


def unused_gap(mouse, year):
    for path in (mouse / "data").glob("*/3.npy"):
        path.unlink()
    tier_names(lambda t: ["none" if i == 3 else x for i, x in enumerate(t)])(
        mouse, year
    )


def extra(mouse, year):
    np.save(mouse / "meta/trials/weather.npy", np.arange(TRIALS))
    np.save(mouse / "meta/neurons/depth.npy", np.arange(NEURONS))
    np.save(mouse / "meta/trials/odd.npy", np.array([{}], object), allow_pickle=True)


def colour(mouse, year):
    root = mouse.parent
    shutil.rmtree(root)
    session(root, year, 0, channels=2)


def nested(mouse, year):
    inner = mouse.parent / "archive" / mouse.name
    inner.parent.mkdir()
    shutil.move(mouse, inner)


def all_hidden(mouse, year):
    for i in (8, 9):
        edit(mouse / f"data/responses/{i}.npy", lambda x: x * 0)


def unpadded_bytes(mouse, year):
    for path in (mouse / "data" / video(year)).iterdir():
        edit(path, lambda x: (x[..., :FRAMES] if year == 2023 else x).astype(np.uint8))


def tail_of_std(mouse, year):
    if year == 2023:
        edit(mouse / STD.format("responses"), put(np.nan, ..., slice(FRAMES, None)))
