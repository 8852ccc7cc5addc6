"""Checkpoints: orbax, asynchronous and atomic, each with a card that explains it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from sensorium_jax.checkpoints import digests
from sensorium_jax.checkpoints.card import read_card
from sensorium_jax.checkpoints.layout import STATE, STEPS, card_path
from sensorium_jax.checkpoints.write import handlers, kept_leaves, parts
from sensorium_jax.errors import UserError
from sensorium_jax.training.mesh import shard
from sensorium_jax.training.saving import aside
from sensorium_jax.training.saving.disk import (
    FULL,
    check_space,
    disk_error,
    of_the_disk,
    one_voice,
)
from sensorium_jax.trees import is_row, named_leaves, unflatten

# Seconds that a save may take. The library reads the clock of the day, which may jump
# while a save runs; a disk that fails says so itself, and hosts watch each other.
PATIENCE = 10 * 365 * 24 * 3600


class BestUntilThen(NamedTuple):
    """Keeps, for each of the last n checkpoints, the best one until then.

    That is the one its card names, and which a run that goes on from there may bring
    back, where a newer checkpoint is damaged.
    """

    n: int

    def should_preserve(
        self, checkpoints: Sequence[Any], *, context: Any
    ) -> list[bool]:
        """As orbax asks: for each checkpoint, in their order, whether it stays."""
        ranks = [(info.metrics or {}).get("rank", -1) for info in checkpoints]
        last = range(max(len(ranks) - self.n, 0), len(ranks))
        best = {max(ranks[: i + 1]) for i in last} - {-1}
        return [rank in best for rank in ranks]


@contextmanager
def open_manager(workdir: str | Path, *, keep: int = 2) -> Iterator[Any]:
    """The checkpoints of a run: the last `keep` and the best by score.

    Saving runs behind training; leaving the context waits for it to be complete. Steps
    whose small files are damaged are set aside first.
    """
    folder = Path(workdir).absolute() / STEPS
    aside.screen(folder)
    preserve = policies.AnyPreservationPolicy(
        [policies.LatestN(keep), BestUntilThen(keep)]
    )
    manager = ocp.CheckpointManager(
        folder,
        item_handlers=handlers(),
        options=ocp.CheckpointManagerOptions(
            cleanup_tmp_directories=True,
            best_fn=lambda metrics: metrics["rank"],
            preservation_policy=preserve,
            # Made ahead, folders would be waited for by threads of the library, for
            # minutes where the save fails first, and the process could not end.
            async_options=ocp.options.AsyncOptions(
                timeout_secs=PATIENCE, create_directories_asynchronously=False
            ),
        ),
    )
    with one_voice():
        try:
            yield manager
            wait(manager)
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise disk_error(folder, error) from error
        finally:
            # A save that failed has been raised; closing would raise it again.
            with suppress(OSError, ValueError):
                manager.close()


def save(
    manager: Any,
    step: int,
    state: Any,
    card: dict,
    score: float | None,
    *,
    improved: bool = False,
) -> None:
    """Start saving; the state may be donated to the next step at once.

    The best checkpoint is the last that improved, by the run's own rule: a score
    within its tolerance must not displace it.
    """
    metrics: dict[str, float] = {"rank": step if improved else -1}
    if score is not None:
        metrics["score"] = float(score)
    check_space(manager.directory, state)
    held = digests.of_leaves(kept_leaves(state))
    sealed = digests.sealed(card, aside.joined(held))
    try:
        manager.save(step, args=parts(state, sealed), metrics=metrics)
    except (OSError, ValueError) as error:  # of the save before, or of this one
        raise told(manager, error) from error


def wait(manager: Any) -> None:
    """Until the save on its way is complete; a full disk is said in words."""
    try:
        manager.wait_until_finished()
    except (OSError, ValueError) as error:
        raise told(manager, error) from error


def told(manager: Any, error: Exception) -> Exception:
    """A failed save in words; what is not the disk's fault stays what it is."""
    return disk_error(manager.directory, error) if of_the_disk(error) else error


def resume(manager: Any, like: Any) -> tuple[Any, dict]:
    """The newest state that is whole, as `like`, and its card.

    Damaged steps are set aside with a warning, so that the run goes on from the one
    before and saves them again.
    """
    while True:
        step = manager.latest_step()
        try:
            return restore(manager, like, step)
        except digests.DamagedError as error:
            if jax.process_index() == 0:
                left = len(manager.all_steps()) > 1
                aside.put_aside(Path(manager.directory), step, str(error), left=left)
            aside.together("aside")
            manager.reload()


def restore(
    manager: Any,
    like: Any,
    step: int | None = None,
    *,
    rows: Sequence[int | None] | None = None,
) -> tuple[Any, dict]:
    """The state of a step (the last by default) as `like`, and its card.

    `like` is a state of arrays on their shardings; the mesh may differ from the one
    that saved it, and with it how many empty mice fill up M. `rows` says which saved
    row each row of `like` takes (rows_of finds them by name), None for its own; by
    default rows stay in place. What recordings say of themselves ('info') and an older
    version did not keep stays as it is in `like`. A step whose arrays are not what was
    written is a DamagedError.
    """
    step = manager.latest_step() if step is None else step
    if step is None:
        raise UserError(f"No checkpoint in {manager.directory}.")
    folder = Path(manager.directory) / str(step)
    card = read_card(card_path(folder))
    expected = digests.opened(card, str(folder))
    with digests.reading(folder):
        saved = saved_shapes(manager, step)
    if expected is not None and (wrong := digests.other_leaves(expected, saved)):
        raise digests.damaged(folder, wrong)
    later = {n for n in named_leaves(like) if n.startswith("info/") and n not in saved}
    names = {n: x for n, x in kept_leaves(like).items() if n not in later}
    check_leaves(manager, names, saved)
    moved = {
        name
        for name, x in names.items()
        if is_row(name) and (rows is not None or saved[name] != x.shape)
    }
    target = {
        name: jax.ShapeDtypeStruct(
            saved[name] if name in moved else x.shape,
            x.dtype,
            sharding=shard.everywhere(x.sharding) if name in moved else x.sharding,
        )
        for name, x in names.items()
    }
    leaves = checked(manager, step, target, expected, card)
    for name in moved:
        x = names[name]
        place = jax.jit(shard.take_rows, static_argnums=2, out_shardings=x.sharding)
        leaves[name] = place(leaves[name], x, None if rows is None else tuple(rows))
    every = {**named_leaves(like), **{name: leaves[name] for name in names}}
    state = jax.tree.unflatten(jax.tree.structure(like), every.values())
    return state, {k: v for k, v in card.items() if k != digests.DIGESTS}


def checked(
    manager: Any,
    step: int,
    target: dict[str, Any],
    expected: dict[str, digests.Digest] | None,
    card: dict,
) -> dict[str, Any]:
    """The leaves of a step, each held against its checksum; all processes agree."""
    folder = Path(manager.directory) / str(step)
    failure, leaves = None, {}
    try:
        with digests.reading(folder):
            state = ocp.args.StandardRestore(unflatten(target))
            read = manager.restore(step, args=ocp.args.Composite(state=state))
            leaves = named_leaves(read[STATE])
    except digests.DamagedError as error:
        failure = error
    if expected is None:
        digests.say_unchecked(folder)
    elif failure is None:
        mice = [mouse["name"] for mouse in card.get("mice", ())]
        wrong = digests.differences(expected, leaves, mice)
        failure = digests.damaged(folder, wrong) if wrong else None
    if aside.anywhere(failure is not None):
        elsewhere = digests.damaged(folder, ["arrays that another process reads"])
        raise failure or elsewhere
    return leaves


def rows_of(card: dict, names: Sequence[str], mice: int) -> list[int | None]:
    """For each of `mice` rows, the card's row of the mouse of that name, or None."""
    known = [mouse["name"] for mouse in card["mice"]]
    found = [known.index(name) if name in known else None for name in names]
    return found + [None] * (mice - len(names))


def saved_shapes(manager: Any, step: int) -> dict[str, tuple[int, ...]]:
    """Shape of every saved leaf by name; reads no array."""
    found = manager.item_metadata(step)[STATE]
    return {name: tuple(x.shape) for name, x in named_leaves(found.tree).items()}


def check_leaves(manager: Any, names: dict, saved: dict) -> None:
    """Refuse a checkpoint whose leaves are others, or of other shapes but for rows."""
    wrong = [
        f"{n} is {saved.get(n, 'missing')}, expected {x.shape}"
        for n, x in names.items()
        if saved.get(n) != x.shape and not (n in saved and is_row(n))
    ]
    wrong += [f"{n} is not expected" for n in saved if n not in names]
    if wrong:
        raise UserError(
            f"The checkpoint in {manager.directory} is of another model or optimizer: "
            f"{'; '.join(wrong[:3])}{' ...' if len(wrong) > 3 else ''}. Use the config "
            "it was made with, or start over with --fresh."
        )
