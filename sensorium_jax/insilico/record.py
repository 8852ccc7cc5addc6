"""What an experiment found, neuron by neuron, and how it was asked."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax.errors import UserError
from sensorium_jax.insilico import zarr
from sensorium_jax.insilico.zarr import AGAIN
from sensorium_jax.io import npy, plain_json, regular
from sensorium_jax.io.atomic import whole
from sensorium_jax.text import align, cell, html_table

ROWS = 12  # neurons that are printed
WORDS = "words.json"  # name inside the .npz of what is no array
SPARE = 1 << 20  # bytes
KINDS = NPZ, ZARR = (".npz", ".zarr")  # what results are kept in


@dataclass(frozen=True)
class Result:
    """Arrays of N neurons by name, and what they are of.

    `result["name"]` is an array of all neurons, [N, ...]; `shared` holds what they have
    in common, such as the values along a curve. Neurons that failed are in `failed`
    with the reason, and in no array.
    """

    experiment: str
    about: Mapping[str, Any]  # units, seed, behavior and pupil used, options
    neurons: np.ndarray
    arrays: Mapping[str, np.ndarray]
    shared: Mapping[str, np.ndarray] = field(default_factory=dict)
    failed: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> np.ndarray:
        """An array by its name."""
        return self.arrays[name] if name in self.arrays else self.shared[name]

    @property
    def scalars(self) -> dict[str, np.ndarray]:
        """What is one number for each neuron."""
        return {k: v for k, v in self.arrays.items() if v.ndim == 1}

    def row(self, neuron: int) -> int:
        """Where a neuron stands in the arrays."""
        return int(np.flatnonzero(self.neurons == neuron)[0])

    def as_dict(self) -> dict[str, Any]:
        """What JSON has: the numbers of every neuron, no larger arrays."""
        values = {k: [_plain(x) for x in v] for k, v in self.scalars.items()}
        return {
            "experiment": self.experiment,
            "about": dict(self.about),
            "neurons": [int(n) for n in self.neurons],
            **values,
            "failed": {str(n): words for n, words in self.failed.items()},
            "notes": list(self.notes),
        }

    def rows(self) -> list[list[str]]:
        """A table of the first neurons, with a head."""
        names = list(self.scalars)
        heads = ["neuron", *(name.replace("_", " ") for name in names)]
        some = range(min(len(self.neurons), ROWS))
        table = [
            [str(self.neurons[i]), *(cell(_plain(self.arrays[k][i])) for k in names)]
            for i in some
        ]
        return [heads, *table]

    def __str__(self) -> str:
        """A table, and what must be said beside it."""
        lines = [f"{self.experiment}: {len(self.neurons)} neurons of {self._mouse}"]
        lines += align(self.rows()) if len(self.neurons) else []
        more = len(self.neurons) - ROWS
        lines += [f"... and {more} more"] if more > 0 else []
        lines += [f"neuron {n} failed: {words}" for n, words in self.failed.items()]
        return "\n".join([*lines, *(f"note: {words}" for words in self.notes)])

    def __repr__(self) -> str:
        """One line."""
        failed = f", {len(self.failed)} failed" if self.failed else ""
        count = len(self.neurons)
        return f"Result({self.experiment}, {count} neurons of {self._mouse}{failed})"

    def _repr_html_(self) -> str:
        return html_table(self.rows())

    @property
    def _mouse(self) -> str:
        return str(self.about.get("mouse", "a mouse"))

    def figure(self) -> Any:
        """A page of pictures of it."""
        from sensorium_jax.plots import insilico as plots

        return plots.page(self)

    def save(self, path: str | Path) -> Path:
        """Write everything into one .npz file, or a zarr group where it ends so."""
        words = {
            "experiment": self.experiment,
            "about": dict(self.about),
            "failed": {str(n): w for n, w in self.failed.items()},
            "notes": list(self.notes),
        }
        arrays = {f"of_neurons/{k}": v for k, v in self.arrays.items()}
        arrays |= {f"shared/{k}": v for k, v in self.shared.items()}
        arrays["neurons"] = self.neurons
        plain = json.dumps(words, default=float)
        if Path(path).suffix == ZARR:
            return zarr.save(path, arrays, json.loads(plain))
        arrays[WORDS] = np.array(plain)
        with whole(path) as part, open(part, "wb") as file:
            np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
        return Path(path)


def load(path: str | Path) -> Result:
    """What was saved, in either form."""
    path = Path(path)
    try:
        if path.is_dir():
            parts, words = zarr.load(path)
        else:
            # Written without compression; small results may still gain a little.
            parts = npy.archive_of(path, SPARE + 2 * regular.check(path))
            words = plain_json.loads(str(parts[WORDS]).encode(), str(path), AGAIN)
        return _result(parts, words)
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{path} is no result of an experiment ({error}). Expected what an "
            f"experiment of sensorium wrote. {AGAIN}"
        ) from None


def _result(parts: Mapping[str, np.ndarray], words: Mapping[str, Any]) -> Result:
    return Result(
        str(words["experiment"]),
        dict(words["about"]),
        parts["neurons"],
        _below(parts, "of_neurons/"),
        _below(parts, "shared/"),
        {int(n): str(w) for n, w in words["failed"].items()},
        tuple(map(str, words["notes"])),
    )


def join(parts: Sequence[Result]) -> Result:
    """One result of several, of other neurons of one experiment."""
    full = [p for p in parts if len(p.neurons)] or list(parts[:1])
    failed: dict[int, str] = {}
    for part in parts:
        failed |= part.failed
    joined = {k: np.concatenate([p.arrays[k] for p in full]) for k in full[0].arrays}
    return replace(
        full[0],
        neurons=np.concatenate([p.neurons for p in full]),
        arrays=joined,
        failed=dict(sorted(failed.items())),
        notes=tuple(dict.fromkeys(note for p in parts for note in p.notes)),
    )


def keep(result: Result, kept_n: np.ndarray, reasons: Callable[[int], str]) -> Result:
    """The result of the neurons that are kept; the others failed for a reason."""
    kept_n = np.asarray(kept_n, bool)
    failed = {int(n): reasons(int(n)) for n in result.neurons[~kept_n]}
    return replace(
        result,
        neurons=result.neurons[kept_n],
        arrays={k: v[kept_n] for k, v in result.arrays.items()},
        failed=dict(sorted({**result.failed, **failed}.items())),
    )


def _below(parts: Mapping[str, np.ndarray], start: str) -> dict[str, np.ndarray]:
    return {k.removeprefix(start): v for k, v in parts.items() if k.startswith(start)}


def _plain(x: Any) -> Any:
    """A number as JSON has it; what is not known is None."""
    value = x.item() if hasattr(x, "item") else x
    return None if isinstance(value, float) and not np.isfinite(value) else value
