"""Runs on mixed batches: the winner's two stages, folds, and what is refused."""

import jax
import numpy as np
import pytest

from sensorium_jax import trees
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.data.stimuli.folds import split_fold
from sensorium_jax.errors import UserError
from sensorium_jax.run import build, mixed
from sensorium_jax.run.train import train
from sensorium_jax.training.step import Tally
from support.processes import runs
from support.quick import quickly
from support.recordings import tiny


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return tiny.films(tmp_path_factory.mktemp("films"), 2)


def recipe(root, name="dwise2023", **options):
    config = tiny.recipe(name, root, steps=4)
    config.train.update(checkpoint_every=2, keep=9, **options)
    return config


def steps(made, state, batches):
    """The state after the batches, and the losses."""
    losses = []
    for batch in batches:
        none = jax.device_put(Tally.zero(), state.step.sharding)
        state, tally = made.step(state, batch, none)
        losses.append(float(tally.loss))
    return state, losses


def test_the_first_stage_learns_and_goes_on_where_it_was(films):
    made = build.parts(recipe(films))
    with quickly(), jax.set_mesh(made.mesh):
        middle, first = steps(made, made.start(), made.batches(0, stop=2))
        kept = jax.tree.map(np.asarray, middle)
        whole, last = steps(made, middle, made.batches(2))
        # A process that was killed knows the state and the number of the step only.
        again = jax.device_put(kept, jax.tree.map(lambda x: x.sharding, whole))
        again, _ = steps(made, again, made.batches(2))
        score = made.validate(whole).score
    jax.tree.map(np.testing.assert_array_equal, whole, again)
    assert np.isfinite([*first, *last]).all() and -1 <= score <= 1
    old, new = (trees.named_leaves((s.params, s.batch_stats)) for s in (kept, whole))
    still = [name for name in old if np.array_equal(old[name], new[name])]
    assert not still
    assert not np.array_equal(*(s["0/core/stem/kernel"] for s in (old, new)))
    averaged = trees.named_leaves(whole.ema)
    assert averaged.keys() == trees.named_leaves(kept.ema).keys()


RECIPE = """
from support.recordings import tiny
def get_config():
    config = tiny.recipe({name!r}, {root!r}, steps=4)
    config.train.update(checkpoint_every=2, keep=9, **{options!r})
    return config
"""


@pytest.mark.soak
def test_both_stages_end_bit_identical_after_a_stop(films, tmp_path):
    """Each stage at once, and again from its middle where later steps were lost."""
    options = {}
    for name in ("dwise2023", "dwise2023_distill"):
        path, run = tmp_path / f"{name}.py", tmp_path / name
        path.write_text(RECIPE.format(root=str(films), name=name, options=options))
        with quickly():
            train(str(path), str(run / "run"))
            whole = runs.state(run)
            for step in runs.saved(run):
                if step > 2:
                    folder = run / "run/checkpoints" / str(step)
                    folder.rename(run / f"lost-{step}")
            assert runs.saved(run)[-1] == 2
            train(str(path), str(run / "run"))
        runs.same(whole, runs.state(run))
        options = {"teacher": str(run / "run")}


def test_folds_part_the_films(tmp_path):
    root = tiny.films(tmp_path, 2, train=36)
    config = recipe(root)
    config.data.fold = 1
    config.validate.hop = 3
    made = build.parts(config)
    shown, held = split_fold(Recordings.open(root).sessions, 1)
    names = made.stream.info.names
    for name, rows in zip(names, made.stream.rows, strict=True):
        np.testing.assert_array_equal(rows, shown[name])
        assert not set(rows) & set(held[name])
    assert made.judged_by == "val (skip 10, fold 1, hop 3)"


@pytest.mark.parametrize(
    ("section", "options", "words"),
    [
        ("train", {"accumulate": 2}, "accumulate is 2"),
        ("train", {"scale_loss": True}, "scale_loss is True"),
        ("train", {"teacher_share": 0.3}, "teacher_share 0.3"),
        ("train", {"cutmix": 1.5}, "cutmix is 1.5"),
        ("mesh", {"mouse": 2}, "mesh.mouse is 2"),
        ("data", {"mixed": False}, "only mixed batches"),
    ],
)
def test_what_mixed_batches_cannot_do_is_refused(section, options, words):
    config = tiny.recipe("dwise2023", "nowhere")
    config[section].update(**options)
    with pytest.raises(UserError, match=words):
        mixed.check(config)
