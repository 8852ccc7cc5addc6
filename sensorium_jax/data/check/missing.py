"""Faults of what is said to be missing: meta/trials/missing.npy."""

from collections.abc import Iterator, Mapping

import numpy as np

from sensorium_jax.data.check.trials import Scan
from sensorium_jax.data.release.tree import TIERS
from sensorium_jax.data.session import MISSING, RESPONSES
from sensorium_jax.findings import Fault, error, warning
from sensorium_jax.io.npy import load, mapped
from sensorium_jax.rules import TRAIN, UNUSED

AGAIN = "write the recording again with NaN where responses are missing"


def read(
    scan: Scan, neurons: int | None, faults: list[Fault]
) -> Mapping[int, np.ndarray]:
    """Which neurons [n] miss each trial file; nothing where none do."""
    path = scan.folder / f"meta/trials/{MISSING}.npy"
    if not path.exists() or neurons is None or not scan.numbers:
        return {}
    values, tiers = load(path), load(scan.folder / TIERS)
    if isinstance(values, Fault) or isinstance(tiers, Fault):
        return {}  # told by those who look at every column
    expected = (len(tiers), neurons)
    if values.dtype != bool or values.shape != expected:
        words = f"{values.dtype} of shape {values.shape}, expected bool {expected}"
        faults.append(error(path, words, f"{AGAIN}, trials by neurons"))
        return {}
    numbers = scan.numbers
    rows = numbers if numbers[-1] < len(values) else range(len(numbers))
    pairs = zip(numbers, rows, strict=True)
    return {i: values[row] for i, row in pairs if values[row].any()}


def faults(scan: Scan, tiers: Mapping[int, str], whole: set[int]) -> Iterator[Fault]:
    """Responses that are not zero though missing; then how much is missing, in words.

    whole are the trials whose files are read.
    """
    if not scan.missing:
        return
    for number in sorted(whole & set(scan.missing)):
        gone_n = scan.missing[number]
        known = scan.headers[RESPONSES].get(number)
        if known is None or known.shape[:1] != gone_n.shape:
            continue
        responses = mapped(scan.file(RESPONSES, number))
        if isinstance(responses, Fault):
            continue  # told by those who look at every trial
        odd = int(
            np.nan_to_num(responses[gone_n]).any(tuple(range(1, responses.ndim))).sum()
        )
        if odd:
            yield error(
                scan.file(RESPONSES, number),
                f"{odd} neurons respond that {MISSING}.npy says are missing there",
                AGAIN,
            )
    used = [i for i in scan.numbers if tiers.get(i) != UNUSED]
    train = [i for i in used if tiers.get(i) == TRAIN]
    share = sum(scan.missing[i].mean() for i in used if i in scan.missing)
    words = f"{share / max(len(used), 1):.2%} of the responses are missing"
    lost = 0
    if train and all(i in scan.missing for i in train):
        lost = int(np.all([scan.missing[i] for i in train], axis=0).sum())
    if lost:
        words += f"; {lost} neurons miss every training trial"
    remedy = "fine: they count in no loss and no score"
    if lost:
        remedy += "; nothing can be learned of those neurons, leave them out"
    yield warning(scan.folder / f"meta/trials/{MISSING}.npy", words, remedy)
