"""`sensorium assign`: types of new neurons from a few recorded responses."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.errors import UsageError, UserError
from sensorium_jax.findings import Fault
from sensorium_jax.insilico import optimal, subjects
from sensorium_jax.insilico.clusters import assign as types
from sensorium_jax.insilico.optimal import Aim
from sensorium_jax.insilico.record import Result
from sensorium_jax.insilico.subjects import Subject
from sensorium_jax.io import atomic, npy
from sensorium_jax.run import Outcome
from sensorium_jax.run.claimed import claim
from sensorium_jax.run.insilico.asked import (
    REQUEST,
    Asked,
    earlier,
    numbers,
    request,
    subject,
    written,
)
from sensorium_jax.run.insilico.cluster import known_types
from sensorium_jax.simulation import trials
from sensorium_jax.simulation.cortex.rates import Truth


def assign(
    asked: Asked,
    *,
    clusters: str,
    responses: str | None = None,
    repeats: int = 10,
    draws: int = 20,
) -> Outcome:
    """Type neurons by recorded responses to the stimuli of an earlier `cluster`.

    Recorded responses are a file; those of a simulated mouse (--truth) are recorded
    here. A model of the new neurons is asked what the full procedure would say.
    """
    result, folder = earlier(clusters, "cluster"), Path(asked.out)
    atomic.need_place(folder, folder=True)
    known = bool(asked.workdir or asked.model or asked.truth)
    one = subject(asked) if known else None
    if one is None and responses is None:
        raise UsageError(
            "Give recorded responses (--responses FILE), or a simulated mouse to "
            "record them from (--truth TREE)."
        )
    options: dict[str, Any] = {"clusters": clusters, "responses": responses}
    options |= {"repeats": repeats, "draws": draws}
    said: dict[str, Any] = {"experiment": "assign", "options": options}
    if one is not None:
        said = request("assign", asked, one, asked.neurons, options)
    claim(
        folder / REQUEST,
        said | {"seed": asked.seed},
        "another experiment, which differs in",
    )
    new = _new(asked, one, result, responses, repeats)
    assigned = types.assign(
        result,
        new.responses_rsn,
        full_n=new.full_n,
        labels_n=new.labels_n,
        draws=draws,
        seed=asked.seed,
    )
    final = folder / f"assign.{asked.format}"
    assigned.save(final)
    out = written(assigned, final, figure=asked.figure)
    text = "\n".join([_words(assigned), out.text])
    return Outcome(out.data, text, out.code)


class _New(NamedTuple):
    responses_rsn: np.ndarray
    full_n: np.ndarray | None  # clusters by the full procedure
    labels_n: np.ndarray | None  # true types


def _new(
    asked: Asked, one: Subject | None, result: Result, path: str | None, repeats: int
) -> _New:
    if one is None:
        assert path is not None
        return _New(read(path, result), None, None)
    moved = subjects.centered(one) if result.about["centered"] else None
    one = moved or one
    rates_ns, asked_n = types.driven(result, one, numbers(asked.neurons, one.neurons))
    labels = known_types(one)
    labels_n = None if labels is None else labels[asked_n]
    if path is not None:
        return _New(read(path, result), rates_ns.argmax(1), labels_n)
    if not isinstance(one.twin, Truth):
        raise UsageError(
            "A model has no recordings: give those of its neurons (--responses FILE)."
        )
    x = result["stimulus"]
    aim = Aim(**{**result.about["aim"], "off": ()})
    burn = int(result.about["burn"])
    shape = (len(x), burn, *x.shape[2:])
    x = np.concatenate([np.full(shape, one.screen.grey, x.dtype), x], 1)
    row = one.twin.row(one.mouse)
    all_rstn = trials.repeats(one.twin, row, x, repeats, asked.seed)
    length = x.shape[1] - burn
    y = [np.asarray(optimal.counted(stn, length, aim.count)) for stn in all_rstn]
    return _New(np.stack(y)[..., asked_n], rates_ns.argmax(1), labels_n)


def read(path: str, result: Result) -> np.ndarray:
    """Responses [R, S, N] of a file: an array, or one row for each presentation.

    An .npy file holds [repeats, stimuli, neurons]; an .npz file `responses`
    [presentations, neurons] and `stimulus_p`, as rig/show.npz has it.
    """
    words = (
        "Expected an .npy file [repeats, stimuli, neurons], or an .npz with responses "
        "[presentations, neurons] and stimulus_p [presentations]."
    )
    if not path.endswith(".npz"):
        array = npy.load(Path(path))
        if isinstance(array, Fault):
            raise UserError(f"{path} cannot be read ({array.finding}). {words}")
        return _numbers(path, array, 3, words)
    try:
        file = npy.archive_of(Path(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}). {words}") from None
    if not {"responses", "stimulus_p"} <= set(file):
        raise UserError(f"{path} holds {', '.join(file)}. {words}")
    y_pn = _numbers(path, file["responses"], 2, words)
    which_p = _numbers(path, file["stimulus_p"], 1, words).astype(int)
    count = result["response_by_stimulus"].shape[1]
    if not len(y_pn) or len(y_pn) != len(which_p):
        raise UserError(
            f"{path} has {len(y_pn)} responses and {len(which_p)} stimuli. {words}"
        )
    if which_p.min() < 0 or which_p.max() >= count:
        raise UserError(
            f"{path} has {len(y_pn)} responses and {len(which_p)} presentations of "
            f"stimuli {which_p.min()} to {which_p.max()}; there are {count}. {words}"
        )
    times = np.bincount(which_p, minlength=count)
    out = np.full((times.max(), count, y_pn.shape[1]), np.nan)
    for s in range(count):
        out[: times[s], s] = y_pn[which_p == s]
    return out


def _numbers(path: str, array: np.ndarray, rank: int, words: str) -> np.ndarray:
    if array.ndim != rank or array.dtype.kind not in "biuf":
        raise UserError(
            f"{path} holds {array.dtype} of shape {array.shape} where numbers on "
            f"{rank} axes belong. {words}"
        )
    return np.asarray(array, float)


def _words(result: Result) -> str:
    about = result.about
    accuracy = ", ".join(f"{x:.2f}" for x in about["accuracy"])
    lines = [
        f"the same cluster as {about['accuracy_against']} after 1 to "
        f"{about['repeats']} repeats: {accuracy}"
    ]
    if "ari" in about:
        ari = ", ".join(f"{x:.2f}" for x in about["ari"])
        lines.append(f"ARI to the known types: {ari}")
    needed = result["repeats_needed"]
    sure = np.isfinite(needed)
    if sure.any():
        lines.append(
            f"{sure.mean():.0%} of the neurons are sure ({about['sure']:g}), half of "
            f"these after {np.median(needed[sure]):.0f} repeats"
        )
    return "\n".join(lines)
