from functools import cache

import jax
import numpy as np
import optax
import pytest

from sensorium_jax import trees
from sensorium_jax.checkpoints.write import save
from sensorium_jax.errors import UserError
from sensorium_jax.models.rows import mouse_rows
from sensorium_jax.run import build, config as configs
from sensorium_jax.run.train import run_card, train
from sensorium_jax.training.state import variables_of
from sensorium_jax.training.step import Tally, make_step
from sensorium_jax.zoo.load import load as load_twin
from support.quick import quickly
from support.recordings import tiny
from support.traces import traces_of

# These begin with another run; those of mixed batches have test_mixed.py.
FOLLOW = ("finetune_new_mouse", "dwise2023", "dwise2023_distill")
RECIPES = [name for name in tiny.NARROW if name not in FOLLOW]


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Folders of pictures and of films."""
    folder = tmp_path_factory.mktemp("recordings")
    return {
        "pictures": tiny.pictures(folder / "pictures"),
        "films": tiny.films(folder / "films", 2),
        "new": tiny.films(folder / "new", 1, seed=1),
    }


@pytest.fixture(scope="module")
def wide_roots(tmp_path_factory):
    """The same with frames of the usual size, for the slow tests."""
    folder = tmp_path_factory.mktemp("wide")
    return {
        "pictures": tiny.pictures(folder / "pictures", size=(144, 256)),
        "films": tiny.films(folder / "films", 2, size=(36, 64), frames=40),
    }


def data(roots, name):
    return roots["pictures" if name in tiny.PICTURES else "films"]


def take_steps(config):
    """The losses of all steps, the first and the last state.

    Steps need no implicit transfers, once the first has placed its constants.
    """
    made, losses = build.parts(config), []
    with quickly(), jax.set_mesh(made.mesh), traces_of("train_step") as traces:
        state = made.start()
        first = jax.tree.map(np.asarray, state)
        none = jax.device_put(Tally.zero(), state.step.sharding)
        for batch in made.batches(0):
            with jax.transfer_guard("disallow" if losses else "allow"):
                state, tally = made.step(state, batch, none)
            losses.append(float(tally.loss))
    assert len(traces) == 1
    return losses, first, state


def score_of(config, state):
    """What validation says of a state."""
    made = build.parts(config)
    with quickly(), jax.set_mesh(made.mesh):
        return made.validate(state).score


def moved(first, state):
    """Names of the parameters and statistics that changed."""
    old, new = (
        trees.named_leaves({"params": s.params, "stats": s.batch_stats})
        for s in (first, state)
    )
    return {n for n in old if not np.array_equal(old[n], new[n])}


def test_every_recipe_is_tested():
    assert set(configs.recipes()) == set(tiny.NARROW)


# These take a step in test_golden_recipes.py, and all train at full width in the slow
# suite; generalization2022 is cnn2022 in every field. Whole runs of cnn2022_plus are in
# test_kinds.py, steps of factorized2023 in test_mesh.py.
STEPPED = (
    "ln2022",
    "cnn2022",
    "cnn2022_plus",
    "gru2023",
    "factorized2023",
    "generalization2022",
)


@pytest.mark.parametrize("name", [r for r in RECIPES if r not in STEPPED])
def test_a_recipe_trains(roots, name):
    config = tiny.recipe(name, data(roots, name))
    if name == "ln2023":  # one of them on as many devices as there are
        config.mesh.update(mouse=0, data=0)
    losses, first, state = take_steps(config)
    assert len(losses) == 3 and np.isfinite(losses).all()
    assert -1 <= score_of(config, state) <= 1
    changed = moved(first, state)
    still = {
        n for n in trees.named_leaves(first.params) if f"params/{n}" not in changed
    }
    # A bias before a norm does nothing; an eye shift of zero begins at zero.
    assert not [n for n in still if "bias" not in n and "shifter" not in n], still


@pytest.mark.soak
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_at_full_width(wide_roots, name):
    config = tiny.recipe(name, data(wide_roots, name), narrow=False)
    config.mesh.update(mouse=0, data=0)  # as many devices as there are
    config.train.update(batch=2, frames=1 if name in tiny.PICTURES else 39)
    losses, _, state = take_steps(config)
    assert len(losses) == 3 and np.isfinite(losses).all()
    assert np.isfinite(score_of(config, state))


def run_of(name, root, folder):
    """A run of a recipe on narrow layers."""
    path = folder / "recipe.py"
    path.write_text(
        "from support.recordings import tiny\n"
        "def get_config():\n"
        f"    return tiny.recipe({name!r}, {str(root)!r})\n"
    )
    with quickly():
        train(str(path), str(folder / "run"))
    return str(folder / "run")


def kept(name, root, folder):
    """A model of a recipe as a run would leave it, with weights of no training."""
    config = tiny.recipe(name, root)
    made, rng = build.parts(config), np.random.default_rng(0)

    def draw(path, leaf):
        x = rng.normal(0, 0.3, leaf.shape).astype(leaf.dtype)
        return x * x + 0.5 if path.endswith("/var") else x

    with jax.set_mesh(made.mesh):
        variables = variables_of(jax.eval_shape(made.start))
    info = mouse_rows(made.stream.info)
    variables = trees.map_named(draw, variables) | {"info": info}
    return str(save(folder, variables, run_card(name, config, made)))


def test_new_mice_learn_on_a_core_that_stays(roots, tmp_path):
    """Of a model here; the next test begins with a run."""
    begin = kept("factorized2023", roots["films"], tmp_path / "kept")
    twin = load_twin(begin)
    config = tiny.recipe("finetune_new_mouse", roots["new"])
    with pytest.raises(UserError, match="random values"):
        take_steps(config)
    config.model.start = begin
    losses, first, state = take_steps(config)
    assert np.isfinite(losses).all()
    for name, value in trees.named_leaves(twin.variables["batch_stats"]).items():
        got = trees.named_leaves(state.batch_stats)[name]
        np.testing.assert_array_equal(got, value, err_msg=name)
    for name, value in trees.named_leaves(twin.variables["params"]["core"]).items():
        got = trees.named_leaves(state.params["core"])[name]
        np.testing.assert_array_equal(got, value, err_msg=name)
    changed = moved(first, state)
    assert changed and all("readout" in n or "shifter" in n for n in changed)
    both = tiny.recipe("finetune_new_mouse", roots["films"])
    both.model.start = begin
    with quickly():
        begun = build.parts(both).start()
    known = twin.variables["params"]["readout"]["features"]
    np.testing.assert_array_equal(begun.params["readout"]["features"], known)
    wider = tiny.recipe("finetune_new_mouse", roots["new"])
    wider.model.start = begin
    wider.model.changes.core.hidden_channels = (3, 5)
    with quickly(), pytest.raises(UserError, match="factorized2023.*hidden_channels"):
        build.parts(wider).start()


def test_weights_of_other_units_are_refused(roots, tmp_path):
    begin = run_of("demo", roots["films"], tmp_path)
    config = tiny.recipe("finetune_new_mouse", roots["new"])
    config.model.update(name="demo", start=begin)
    config.model.changes = tiny.NARROW["demo"]
    config.data.response_scaling = "per_frame"
    with quickly(), pytest.raises(UserError, match="was per_neuron there"):
        build.parts(config).start()
    config.data.response_scaling = ""
    config.train.update(steps=1, frames=8)
    losses, _, state = take_steps(config)  # of a model with another core's names
    assert np.isfinite(losses).all()
    core = load_twin(begin).variables["params"]["core"]
    for name, value in trees.named_leaves(core).items():
        got = trees.named_leaves(state.params["core"])[name]
        np.testing.assert_array_equal(got, value, err_msg=name)


@pytest.mark.soak
def test_new_mice_learn_at_full_width(wide_roots, tmp_path):
    path = tmp_path / "recipe.py"
    path.write_text(
        "from support.recordings import tiny\n"
        "def get_config():\n"
        f"    root = {str(wide_roots['films'])!r}\n"
        "    config = tiny.recipe('factorized2023', root, steps=1, narrow=False)\n"
        "    config.mesh.update(mouse=0, data=0)\n"
        "    config.train.update(batch=2, frames=39)\n"
        "    return config\n"
    )
    train(str(path), str(tmp_path / "run"))
    root = tiny.films(tmp_path / "new", 1, seed=1, size=(36, 64), frames=40)
    config = tiny.recipe("finetune_new_mouse", root, narrow=False)
    config.mesh.update(mouse=0, data=0)
    config.train.update(batch=2, frames=39)
    config.model.start = str(tmp_path / "run")
    losses, first, state = take_steps(config)
    assert len(losses) == 3 and np.isfinite(losses).all()
    assert not [name for name in moved(first, state) if "core" in name]


@pytest.fixture(scope="module")
def of(roots):
    """Two steps of cnn2022 without a shifter, with options of training."""

    @cache
    def steps(**options):
        config = tiny.recipe("cnn2022", roots["pictures"], steps=2)
        config.model.changes["shifter"] = None
        config.train.update(scale_loss=False, mean_loss=True, **options)
        return take_steps(config)

    return steps


def test_recomputed_layers_and_bfloat16_change_little(of):
    plain, _, state = of()
    again, _, same = of(remat=True)  # statistics move once, as without
    np.testing.assert_allclose(again, plain, rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0.05, atol=1e-3),
        state.batch_stats,
        same.batch_stats,
    )
    low, _, state = of(precision="bfloat16")
    np.testing.assert_allclose(low, plain, rtol=0.02)
    assert low != plain
    leaves = jax.tree.leaves((state.params, state.batch_stats))
    assert {leaf.dtype for leaf in leaves} == {np.dtype("float32")}


def test_parts_and_clips_reach_the_step(roots, monkeypatch):
    """What they do there is tested in test_step.py and test_optimizer.py."""
    given = []

    def kept(*arguments, **options):
        given.append((arguments[-1], options))
        return make_step(*arguments, **options)

    monkeypatch.setattr(build, "make_step", kept)
    config = tiny.recipe("ln2023", roots["films"])
    config.train.update(accumulate=2, adaptive_clip=0.01, betas=(0.9, 0.999))
    build.parts(config)
    ((optimizer, options),) = given
    assert options["accumulate"] == 2
    params, grads = {"w": np.ones(4, "f")}, {"w": np.full(4, 100, "f")}
    _, state = jax.jit(optimizer.update)(grads, optimizer.init(params), params)
    mean = optax.tree.get(state, "mu")["w"]  # of clipped gradients
    np.testing.assert_allclose(mean, (1 - 0.9) * 0.01, rtol=1e-5)


@pytest.mark.soak
def test_parts_and_clipped_gradients_change_little(of):
    plain, _, _ = of()
    parts, _, _ = of(accumulate=2)  # batch norm sees the parts one by one
    np.testing.assert_allclose(parts, plain, rtol=0.1)
    assert parts != plain
    clipped, _, _ = of(adaptive_clip=0.01)
    assert clipped[0] == plain[0] and clipped[1] != plain[1]


def test_the_official_crop_is_drawn_anew_each_time(tmp_path):
    config = tiny.recipe("ln2023", tiny.films(tmp_path, 1, frames=100), steps=1)
    config.validate.window = "random80"
    config.validate.skip = 50
    made = build.parts(config)
    with quickly(), jax.set_mesh(made.mesh):
        state = made.start()
        one, again = made.validate(state), made.validate(state)
        later = made.validate(state._replace(step=state.step + 1))
    assert one == again and np.isfinite(one.score)
    assert later.score != one.score
