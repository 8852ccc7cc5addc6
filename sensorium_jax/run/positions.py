"""Where readouts begin: from the training trials, from cortex, or from measurements."""

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax import progress
from sensorium_jax.asking import Asking
from sensorium_jax.data.session import Session
from sensorium_jax.errors import UserError, unknown
from sensorium_jax.maps import fields, fit, moments, reduce
from sensorium_jax.models.readouts import start
from sensorium_jax.normalize import seen_shape
from sensorium_jax.rules import TRAIN
from sensorium_jax.run import passes
from sensorium_jax.training.mesh import shard

DATA, CORTEX, OFFICIAL = "data", "cortex", "official"
CHOICES = (DATA, CORTEX, OFFICIAL)
MEASURED = 0.5  # pixels: how well a measured field is known
USUAL = 1 / 12  # of the frame's shorter side: SD of a field that nobody measured


class Start(NamedTuple):
    """Where the neurons of one mouse look, in grid units: -1 to 1 over the frame.

    -1 is the middle of the first pixel of the recorded frame, 1 that of the last, x
    before y.
    """

    position_n2: np.ndarray
    spread_n2: np.ndarray  # SD of what is not known of it
    width_n: np.ndarray  # SD of the field, in pixels of the recorded frame
    confidence_n: np.ndarray  # probability that the position is right


def starts(sessions: Sequence[Session], how: str = DATA) -> tuple[Start, ...]:
    """Where the neurons of each mouse look, from one pass over its training trials.

    how: "data" (each neuron's maps, and where cells lie in cortex), or "cortex" (the
    line through the sure ones, for all of them). Fields that were measured take the
    place of estimates; where all were, no trial is read.
    """
    if how not in (DATA, CORTEX):
        raise unknown(
            "start of the readouts", how, CHOICES, "Set config.readout.start."
        )
    bare = [s for s in sessions if how == CORTEX and s.coordinates_n3 is None]
    if bare:
        raise UserError(
            f"{bare[0].where} does not say where its neurons lie in cortex. Set "
            "config.readout.start to data."
        )
    mice = passes.mice(sessions)
    rows = [m.session.trials_of(TRAIN) for m in mice]
    todo = [not _measured(m.session).all() for m in mice]
    steps = [
        m.steps(r) for m, r, wanted in zip(mice, rows, todo, strict=True) if wanted
    ]
    every = []
    # Every process computes for itself, on one device of its own.
    with (
        jax.set_mesh(shard.alone()),
        progress.bar("Mapping neurons", sum(steps)) as bar,
    ):
        for mouse, trials, wanted in zip(mice, rows, todo, strict=True):
            maps = _maps(mouse, trials, bar) if wanted else None
            every.append(_start(mouse.session, maps, how))
    return tuple(every)


def _measured(session: Session) -> np.ndarray:
    """Which neurons have a measured field, [N]."""
    fields_n3 = session.fields_n3
    if fields_n3 is None:
        return np.zeros(session.neurons, bool)
    return np.asarray(np.isfinite(fields_n3[:, :2]).all(1))


def _maps(mouse: passes.Mouse, rows: np.ndarray, bar: progress.Bar) -> fields.Fields:
    def counted():
        for batch in mouse.batches(rows):
            yield batch
            bar.add(note=mouse.session.name)

    seen = moments.gather(mouse.plan, counted(), mouse.normalized())
    return fit.find_fields(mouse.plan, seen, mouse.info)[0]


def _start(session: Session, maps: fields.Fields | None, how: str) -> Start:
    """One mouse, with what was measured in the place of what is estimated."""
    known = _measured(session)
    n, frame = session.neurons, session.frame_shape
    to_grid = fields.grid_units(frame)
    if maps is None:
        none, usual = np.zeros((n, 2)), np.full(n, USUAL * min(frame[:2]))
        own = Start(none, none + 1, usual, np.zeros(n))
    else:
        own = Start(maps.center_n2, maps.spread_n2, maps.width_n, maps.confidence_n)
    if session.fields_n3 is not None:
        given = np.nan_to_num(session.fields_n3)
        wide = np.where(given[:, 2] > 0, given[:, 2], own.width_n)
        own = Start(
            np.where(known[:, None], given[:, :2] * to_grid - 1, own.position_n2),
            np.where(known[:, None], MEASURED * to_grid, own.spread_n2),
            np.where(known, wide, own.width_n),
            np.where(known, 1.0, own.confidence_n),
        )
    if how == DATA:
        return own
    if maps is not None and not known.any():
        place, spread = maps.cortex_n2, maps.cortex_spread_2
    else:
        center = (own.position_n2 + 1) / to_grid
        error = ((own.spread_n2 / to_grid) ** 2).mean(1)
        plan = reduce.choose(frame, still=True)
        line = fields.retinotopy(center, error, session.coordinates_n3, plan)
        place, spread = line.center_n2 * to_grid - 1, line.spread * to_grid
    return own._replace(
        position_n2=place, spread_n2=np.broadcast_to(spread, place.shape)
    )


def begin(
    how: str,
    encoder: Any,
    asking: Asking,
    variables: Any,
    sessions: Sequence[Session],
) -> Any:
    """Variables whose readouts begin where the data say; unchanged if official."""
    if how == OFFICIAL:
        return variables
    every = same_everywhere(starts(sessions, how))
    say(how, every)
    info = variables["info"]
    shape = info["neurons_n"].shape
    center, spread = np.zeros((*shape, 2)), np.ones((*shape, 2))
    width = np.ones(shape)
    frame = sessions[0].frame_shape
    to_grid = fields.grid_units(frame)
    for m, one in enumerate(every):
        n = len(one.width_n)
        center[m, :n] = (one.position_n2 + 1) / to_grid
        spread[m, :n] = one.spread_n2 / to_grid
        width[m, :n] = one.width_n
    seen = seen_shape(frame, asking.scale, asking.canvas)
    places = start.on_maps(
        seen_pixels(center, frame, asking),
        spread * asking.scale,
        width * asking.scale,
        encoder.core,
        seen,
    )
    size, _ = start.map_pixels(encoder.core, seen)
    params = variables["params"]
    old, info = jax.tree.map(np.asarray, (params["readout"], dict(info)))
    with jax.set_mesh(shard.alone()):
        new = start.begin_at(encoder.readout, old, info, places, size)
    new = jax.tree.map(jnp.asarray, new)
    return {**variables, "params": {**params, "readout": new}}


def seen_pixels(
    center_mn2: np.ndarray, frame: tuple[int, int, int], asking: Asking
) -> np.ndarray:
    """From pixels of a recorded frame to pixels of the frame as a core sees it."""
    k = 1 / asking.scale
    shrunk = seen_shape(frame, asking.scale)
    canvas = asking.canvas or shrunk[:2]
    before = [(canvas[1] - shrunk[1]) // 2, (canvas[0] - shrunk[0]) // 2]
    return (center_mn2 - (k - 1) / 2) / k + np.array(before)


def same_everywhere(every: tuple[Start, ...]) -> tuple[Start, ...]:
    """What the first process found: machines of other kinds may differ in rounding."""
    if jax.process_count() == 1:
        return every
    from jax.experimental import multihost_utils

    told = multihost_utils.broadcast_one_to_all(every)
    return tuple(Start(*map(np.asarray, one)) for one in told)


def free(how: str, readout: dict[str, Any]) -> dict[str, Any]:
    """Changes of the model's readout without which positions cannot begin freely."""
    if how not in CHOICES:
        raise unknown(
            "start of the readouts", how, CHOICES, "Set config.readout.start."
        )
    if how == OFFICIAL or not readout.get("predictor") or readout.get("free_offset"):
        return {}
    print(
        f"note: readouts begin at positions from {how}, so these are free and not "
        "predicted from cortex (readout.predictor)",
        file=sys.stderr,
    )
    return {"readout.predictor": None}


def say(how: str, every: Sequence[Start]) -> None:
    """Tell how sure the positions are."""
    neurons = sum(len(s.confidence_n) for s in every)
    sure = sum(int((s.confidence_n > 0.5).sum()) for s in every)
    words = "" if how == DATA else ", all moved to the line through cortex"
    print(
        f"note: {sure} of {neurons} neurons have a sure field{words}", file=sys.stderr
    )
