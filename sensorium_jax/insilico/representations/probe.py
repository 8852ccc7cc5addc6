"""Probes: what can be read from populations and cores, and how alike they are."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.errors import UserError
from sensorium_jax.insilico.record import Result
from sensorium_jax.insilico.representations import alike
from sensorium_jax.insilico.representations.decode import decode
from sensorium_jax.insilico.representations.shown import (
    PIECES,
    Gratings,
    Labelled,
    answers,
    labelled,
    noise_answers,
)
from sensorium_jax.insilico.representations.spectrum import spectrum
from sensorium_jax.insilico.subjects import Subject, split

LEAST = 10  # rows below which nothing is decoded


class Represented(NamedTuple):
    """One representation of the same S stimuli."""

    x_sd: np.ndarray  # what is decoded from
    stimuli: Labelled
    wide_sd: np.ndarray  # of as many different stimuli as there are, for the spectrum
    again_sd: np.ndarray | None = None  # a second repeat of those


class Options(NamedTuple):
    """How probes are made."""

    folds: int = 5
    draws: int = 200  # permutations of the labels
    seed: int = 0


def shown_gratings(
    subject: Subject,
    neurons: Sequence[int] | None = None,
    gratings: Gratings | None = None,
    *,
    core: bool = False,
    seed: int = 0,
    memory: float | None = None,
    pieces: int = PIECES,
) -> Represented:
    """Gratings and pieces of noise as a population's rates, or as a core, has them."""
    shown = gratings or Gratings()
    if not core:
        asked, _ = split(subject, neurons)
        whole = asked == list(range(subject.neurons))
        subject = subject if whole else subject.only(asked)
    x_sd = answers(subject, shown, core=core, memory=memory)
    more: dict[str, Any] = {"pieces": pieces, "seed": seed, "memory": memory}
    wide_sd = noise_answers(subject, core=core, **more)
    return Represented(x_sd, labelled(subject, shown), wide_sd)


def probe(
    subject: Subject,
    represented: Mapping[str, Represented],
    neurons: Sequence[int] | None = None,
    options: Options | None = None,
) -> Result:
    """Labels read from each representation, its spectrum, and how alike all are.

    Those that hold the same stimuli in the same order are compared. The first one's
    rows of neurons, where it has a column for each, give `explained_by`: the share of
    each neuron's variance over stimuli that a label explains.
    """
    o = options or Options()
    asked, failed = split(subject, neurons)
    if not represented:
        raise UserError("There is nothing to probe; give one representation at least.")
    _check(o)
    arrays: dict[str, np.ndarray] = {}
    shared: dict[str, np.ndarray] = {}
    decoding, spectra = [], []
    notes: list[str] = []
    for name, one in represented.items():
        rows, left = _decoded(name, one, o)
        decoding, notes = decoding + rows, notes + left
        fall = spectrum(one.wide_sd, one.again_sd)
        crossed = one.again_sd is not None
        row = {
            "of": name,
            "stimuli": len(one.wide_sd),
            "exponent": _known(fall.exponent),
        }
        row |= {"dimensions": fall.dimensions, "ranks": list(fall.ranks)}
        spectra.append({**row, "crossed": crossed})
        shared[f"spectrum/{name}"] = fall.values
        shared[f"representation/{name}"] = one.x_sd
    first = next(iter(represented.values()))
    if first.x_sd.shape[1] == len(asked):
        arrays = {
            f"explained_by_{label.replace(' ', '_')}": explained(first.x_sd, y_s)
            for label, y_s in first.stimuli.labels.items()
        }
    for label, y_s in first.stimuli.labels.items():
        shared[f"label/{label}"] = y_s
    same = _alike(represented)
    names = list(same)
    about = {**subject.about(), "decoding": decoding, "spectra": spectra}
    about |= {"compared": names, **o._asdict()}
    if len(names) > 1:
        cka, rsa, matrices = alike.every_pair(list(same.values()))
        shared |= {"alignment": cka, "rank_correlation": rsa, "dissimilarity": matrices}
    else:
        only = alike.dissimilarity(first.x_sd)
        shared |= {"dissimilarity": only[None]}
    return Result("probe", about, np.array(asked), arrays, shared, failed, tuple(notes))


def explained(x_sd: np.ndarray, label_s: np.ndarray) -> np.ndarray:
    """Share of each column's variance that lies between the labels, [D]."""
    x = np.asarray(x_sd, np.float64)
    x = x - x.mean(0)
    _, y_s, count = np.unique(label_s, return_inverse=True, return_counts=True)
    total = np.zeros((len(count), x.shape[1]))
    np.add.at(total, y_s, x)
    between = (total**2 / count[:, None]).sum(0)
    whole = (x**2).sum(0)
    return np.divide(between, whole, out=np.zeros_like(whole), where=whole > 1e-12)


def _decoded(
    name: str, one: Represented, o: Options
) -> tuple[list[dict[str, Any]], list[str]]:
    """A row for each label that can be told, and why others cannot; or none at all."""
    rows: list[dict[str, Any]] = []
    left: list[str] = []
    for label, y_s in one.stimuli.labels.items():
        # Rows without this label hold nothing to be told.
        known = y_s == y_s if y_s.dtype.kind == "f" else y_s != ""
        if known.sum() < LEAST:
            left.append(
                f"{int(known.sum())} rows have a label '{label}', at least {LEAST} are "
                "needed. Take more trials, or shorter windows."
            )
            continue
        some = (x[known] for x in (one.x_sd, y_s, one.stimuli.group_s))
        try:
            told = decode(*some, folds=o.folds, draws=o.draws, seed=o.seed)
        except UserError as error:
            left.append(str(error))
            continue
        rows.append({"of": name, "label": label, **told._asdict()})
    if not rows:
        why = left[0] if left else "Its stimuli differ in nothing that has a name."
        raise UserError(f"Nothing can be read from {name}. {why}")
    return rows, [f"{name}: {words}" for words in left]


def _alike(represented: Mapping[str, Represented]) -> dict[str, np.ndarray]:
    """Those whose stimuli are those of the first."""
    first = next(iter(represented.values()))
    return {
        name: one.x_sd
        for name, one in represented.items()
        if _same(first.stimuli, one.stimuli)
    }


def _same(a: Labelled, b: Labelled) -> bool:
    equal = np.array_equal(a.group_s, b.group_s) and list(a.labels) == list(b.labels)
    return equal and all(
        np.array_equal(x, y, equal_nan=x.dtype.kind == "f")
        for x, y in zip(a.labels.values(), b.labels.values(), strict=True)
    )


def _check(o: Options) -> None:
    if o.folds < 2 or o.draws < 1:
        raise UserError(
            f"{o.folds} folds and {o.draws} permutations: expected at least 2 folds "
            "and 1 permutation."
        )


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
