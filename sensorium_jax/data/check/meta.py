"""Faults of a session's facts: tiers, neurons and other columns."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from sensorium_jax.data.release.tree import TIERS
from sensorium_jax.errors import did_you_mean
from sensorium_jax.findings import Fault, error, warning
from sensorium_jax.io.npy import AGAIN, folder_files, load, not_numbers
from sensorium_jax.rules import RELEASES, TRAIN, UNUSED, Rules

ONE_PER_TRIAL = "write one tier per trial file, in the order of the file numbers"
ONE_PER_NEURON = "write one row per neuron, in the order of the responses"


def tiers(
    folder: Path, numbers: Sequence[int], rules: Rules, faults: list[Fault]
) -> dict[int, str]:
    """The tier of each trial file as far as it can be told."""
    path = folder / TIERS
    if not path.exists():
        faults.append(
            error(path, "missing tiers: the file is not there", ONE_PER_TRIAL)
        )
        return {}
    values = load(path)
    if isinstance(values, Fault):
        faults.append(values)
        return {}
    if values.dtype.kind not in "US" or values.ndim != 1:
        faults.append(
            error(
                path,
                f"wrong dtype or shape: {values.dtype} {values.shape}, expected text "
                "with one entry per trial",
                ONE_PER_TRIAL,
            )
        )
        return {}
    values = values.astype(str)
    faults.extend(_names(path, values, rules))
    if not numbers:
        return {}
    if max(numbers) < len(values):
        rows = {i: str(values[i]) for i in numbers}
        faults.extend(_unfiled(path, values, rows))
    elif len(numbers) == len(values):
        rows = dict(zip(numbers, map(str, values), strict=True))
    else:
        finding = f"short tiers: {len(values)} for {len(numbers)} trial files"
        if len(values) > len(numbers):
            finding = f"{len(values)} tiers for files numbered up to {max(numbers)}"
        faults.append(error(path, finding, ONE_PER_TRIAL))
        return {}
    faults.extend(_splits(path, list(rows.values()), rules))
    return rows


def _names(path: Path, values: np.ndarray, rules: Rules) -> Iterator[Fault]:
    odd = set(values.tolist()) - set(rules.tiers) if rules.tiers else ()
    for name in sorted(odd):
        count = int((values == name).sum())
        yield error(
            path,
            f"unknown tier '{name}' of {count} trials",
            f"{did_you_mean(name, rules.tiers)}Known: {', '.join(rules.tiers)}; "
            "own recordings may have others (--rules own)",
        )


def _unfiled(path: Path, values: np.ndarray, rows: dict[int, str]) -> Iterator[Fault]:
    lost = [i for i, tier in enumerate(values) if i not in rows and tier != UNUSED]
    if lost:
        yield warning(
            path,
            f"{len(lost)} trials have a tier but no files, the first is {lost[0]}",
            f"fine if left out on purpose; else {AGAIN}",
        )


def _splits(path: Path, values: list[str], rules: Rules) -> Iterator[Fault]:
    if TRAIN not in values:
        yield error(
            path,
            f"no training trials; the tiers are {', '.join(sorted(set(values)))}",
            f"mark the trials to train on as '{TRAIN}'",
        )
    if rules.validating(values) is None:
        usual = rules.validation or RELEASES[rules.layout].validation
        yield warning(
            path,
            "no validation trials, so no run can tell its best step",
            f"mark some trials as '{usual[0]}', or judge by those that train: "
            f"config.validate.tier={TRAIN}",
        )


def columns(folder: Path, trials: int) -> Iterator[Fault]:
    """Other arrays with a row per trial; unknown ones are welcome."""
    rows = None
    for path in folder_files(folder / "meta/trials"):
        if path.suffix != ".npy" or path.stem == "tiers":
            continue
        values = load(path)
        if isinstance(values, Fault):
            # Pickled extra columns are left alone by every reader.
            yield (
                values._replace(level="warning")
                if "object" in values.finding
                else (values)
            )
            continue
        rows = len(values) if values.ndim else 1
        if rows < trials:
            yield warning(
                path,
                f"short column: {rows} rows for {trials} trials",
                "it is left out; write one row per trial",
            )


def units(folder: Path, neurons: int | None) -> Iterator[Fault]:
    """Unit ids, coordinates and other arrays with a row per neuron."""
    place = folder / "meta/neurons"
    for path in folder_files(place):
        if path.suffix != ".npy":
            continue
        values = load(path)
        if isinstance(values, Fault):
            known = path.stem in ("unit_ids", "cell_motor_coordinates")
            pickled = "object" in values.finding and not known
            yield values._replace(level="warning") if pickled else values
        elif path.stem == "unit_ids":
            yield from _unit_ids(path, values, neurons)
        elif path.stem == "cell_motor_coordinates":
            yield from _coordinates(path, values, neurons)
        elif neurons is not None and values.ndim and len(values) != neurons:
            yield warning(
                path,
                f"{len(values)} rows for {neurons} neurons",
                f"not used; {ONE_PER_NEURON}",
            )
    for name, loss in (
        ("unit_ids", "submissions need them"),
        ("cell_motor_coordinates", "readouts start without positions"),
    ):
        if not (place / f"{name}.npy").exists():
            yield warning(place / f"{name}.npy", f"missing: {loss}", ONE_PER_NEURON)


def _unit_ids(path: Path, ids: np.ndarray, neurons: int | None) -> Iterator[Fault]:
    whole = ids.dtype.kind in "iu" or (
        ids.dtype.kind == "f" and bool(np.all(ids == np.round(ids)))
    )
    if not whole or ids.ndim != 1:
        yield error(
            path,
            f"wrong dtype or shape: {ids.dtype} {ids.shape}, expected whole numbers",
            ONE_PER_NEURON,
        )
        return
    if neurons is not None and len(ids) != neurons:
        yield error(path, f"{len(ids)} unit ids for {neurons} neurons", ONE_PER_NEURON)
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        yield error(
            path,
            f"duplicate unit ids: {int((counts > 1).sum())} occur more than once, "
            f"the first is {values[counts > 1][0]}",
            "give every neuron its own id",
        )


def _coordinates(path: Path, x: np.ndarray, neurons: int | None) -> Iterator[Fault]:
    wrong = not_numbers(path, x.dtype)
    if wrong:
        yield wrong
    elif x.ndim != 2 or not 2 <= x.shape[1] <= 3:
        yield error(path, f"shape {x.shape}, expected (neurons, 3)", ONE_PER_NEURON)
    elif neurons is not None and len(x) != neurons:
        size = "short" if len(x) < neurons else "long"
        yield error(
            path,
            f"{size} coordinates: {len(x)} rows for {neurons} neurons",
            ONE_PER_NEURON,
        )
    elif not np.isfinite(x).all():
        rows = int((~np.isfinite(x)).any(1).sum())
        yield error(
            path,
            f"NaN or infinity in {rows} rows",
            "write micrometres, or delete the file",
        )
