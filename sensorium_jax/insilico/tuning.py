"""Tuning: how rates depend on the parameters of a stimulus, and what that says.

Gratings over the whole frame are shown once for all neurons: orientation (films: the
direction that they drift in), spatial and temporal frequency, each at several phases.
Stimuli of a size lie where each neuron looks and have its best orientation and
frequencies; they are computed for that neuron alone.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.errors import unknown
from sensorium_jax.insilico import batches, fields, record, stimuli
from sensorium_jax.insilico.record import Result
from sensorium_jax.insilico.stimuli import Frame, Product
from sensorium_jax.insilico.subjects import Subject, counted, need, split
from sensorium_jax.insilico.units import hertz

Array = Any
SHARED = ("orientation", "frequency", "tf")  # curves of gratings over the whole frame
OWN = ("size", "contrast", "size_contrast", "plaid")
CURVES = (*SHARED, *OWN)
FLAT = "its rate is flat: no grating changes it"


class Values(NamedTuple):
    """What is shown; frequencies in cycles per pixel, tfs in Hz, sizes in pixels."""

    orientations: int = 12  # over half a turn, or directions over a whole one (films)
    frequencies: Sequence[float] = (0.03, 0.05, 0.08, 0.12, 0.18)
    tfs: Sequence[float] = (1.0, 2.0, 4.0)
    phases: int = 4
    sizes: Sequence[float] = ()  # diameters; () for nine up to the frame's longer side
    contrasts: Sequence[float] = (0.06, 0.12, 0.25, 0.5, 0.75, 1.0)
    contrast: float = 1.0  # of what is not varied in contrast
    seconds: float = 0.5  # that are counted of a film


def tune(
    subject: Subject,
    neurons: Sequence[int] | None = None,
    values: Values | None = None,
    *,
    curves: Sequence[str] = CURVES,
    draws: int = 1000,
    seed: int = 0,
    centers_n2: np.ndarray | None = None,
    memory: float | None = None,
    tell: Callable[[int], None] | None = None,
) -> Result:
    """Curves, preferred values and indices of each neuron, with permutation tests.

    centers_n2 (x, y in pixels) says where the neurons look; without, it is found from
    gradients. draws are permutations of the tests.
    """
    values = sized(subject, values or Values())
    for name in curves:
        if name not in CURVES:
            raise unknown("curve", name, CURVES)
    _check(subject, values, curves)
    asked, failed = split(subject, neurons)
    show = Show(subject, asked, memory, tell)
    grid = gratings(subject, values)
    rates = _phases_last(grid, show.shared(grid, values), subject)
    blank_n = show.blank(values)
    flat_n = np.ptp(rates.reshape(len(asked), -1), axis=1) <= 1e-6 * np.abs(
        rates.reshape(len(asked), -1)
    ).max(1)
    arrays, best = _of_gratings(grid, rates, draws, seed, films=subject.films)
    arrays["blank"] = blank_n
    shared = {k: np.asarray(v, np.float64) for k, v in grid.values.items()}
    wanted = [name for name in OWN if name in curves]
    if wanted:
        if centers_n2 is None:
            centers_n2 = fields.fit(
                fields.gradients(*(subject, asked, 4, 1.0, seed, memory)).envelope_nhw
            ).center_n2
        shuffle = (draws, seed)
        more, axes = _of_patches(
            show, values, best, centers_n2, blank_n, wanted, shuffle
        )
        arrays, shared = arrays | more, shared | axes
        arrays |= {"x": centers_n2[:, 0], "y": centers_n2[:, 1]}
    left = {f"{name}_curve" for name in SHARED if name not in curves}
    arrays = {k: v for k, v in arrays.items() if k not in left}
    about = {**subject.about(), **_plain(values), "seed": seed, "draws": draws}
    about |= {"lengths": "pixels", "frequencies": "cycles per pixel", "tf_unit": "Hz"}
    result = Result("tune", about, np.array(asked), arrays, shared, failed)
    return record.keep(result, ~flat_n, lambda _: FLAT)


class Show(NamedTuple):
    """Whom stimuli are shown to, and how many at a time."""

    subject: Subject
    neurons: Sequence[int]
    memory: float | None = None
    tell: Callable[[int], None] | None = None

    def shared(self, grid: Product, values: Values) -> np.ndarray:
        """Rates of all neurons to stimuli that all are shown, [N, ...] as the grid."""
        some = self.subject.only(self.neurons)
        frame, count = film(self.subject, values.seconds)

        def one(parameters):
            video = drawn(self.subject, grid.kind, frame, parameters)
            return counted(some.rates(video), count)

        rates_sn = batches.every(one, grid.parameters(), **self._options)
        return rates_sn.T.reshape(len(self.neurons), *grid.shape).astype(np.float64)

    def own(
        self,
        grid: Product,
        given: Mapping[str, np.ndarray],
        values: Values,
    ) -> np.ndarray:
        """Rates [N, ...] as the grid, each neuron with parameters [N] of its own."""
        n, s = len(self.neurons), grid.count
        rows = {k: np.tile(v, n) for k, v in grid.parameters().items()}
        rows |= {k: np.repeat(np.asarray(v, np.float32), s) for k, v in given.items()}
        neuron = np.repeat(np.asarray(self.neurons, np.int32), s)
        one = _own(self.subject, grid.kind, values.seconds)
        rates = batches.every(one, (rows, neuron), **self._options)
        return rates.reshape(n, *grid.shape).astype(np.float64)

    def blank(self, values: Values) -> np.ndarray:
        """Rates to grey, [N]."""
        return self.shared(Product("grating", {"contrast": [0.0]}), values)[:, 0]

    @property
    def _options(self) -> dict[str, Any]:
        return {"memory": self.memory, "tell": self.tell}


@lru_cache(maxsize=16)
def _own(subject: Subject, kind: str, seconds: float) -> Callable[..., Array]:
    """Rates [B] to stimuli of a kind, each shown to a neuron of its own."""
    frame, count = film(subject, seconds)

    def one(both):
        parameters, neuron_b = both
        video = drawn(subject, kind, frame, parameters)
        return counted(subject.each(video, neuron_b), count)

    return one


def film(subject: Subject, seconds: float = 0.5) -> tuple[Frame, int]:
    """How long a stimulus is shown, and how many of its last frames are counted.

    The frames before are as many as a rate depends on, so that no onset is counted.
    """
    h, w, _ = subject.frame
    if not subject.films:
        return Frame(h, w), 1
    count = max(1, round(seconds * (subject.fps or 30.0)))
    return Frame(h, w, subject.memory - 1 + count, subject.fps or 30.0), count


def drawn(
    subject: Subject, kind: str, frame: Frame, parameters: Mapping[str, Array]
) -> Array:
    """Input of the twin [B, T, H, W, C]; contrast 1 is all that fits around grey."""
    z_bthw = subject.screen.swing * stimuli.draw(kind, frame, parameters)
    z_bthwc = jnp.broadcast_to(z_bthw[..., None], (*z_bthw.shape, subject.frame[2]))
    return subject.screen.shown(z_bthwc)


def gratings(subject: Subject, values: Values) -> Product:
    """Gratings over the whole frame: every combination of what is varied."""
    turn = 2 * np.pi if subject.films else np.pi
    angles = turn * np.arange(values.orientations) / values.orientations
    phases = 2 * np.pi * np.arange(values.phases) / values.phases
    every: dict[str, Sequence[float]] = {
        "orientation": angles.tolist(),
        "frequency": list(values.frequencies),
        "phase": phases.tolist(),
        "contrast": [values.contrast],
    }
    if subject.films:
        every = {**every, "tf": list(values.tfs)}
    return Product("grating", every)


def _phases_last(grid: Product, rates: np.ndarray, subject: Subject) -> np.ndarray:
    """Rates [N, orientation, frequency, tf, phase]."""
    if not subject.films:
        return rates[..., 0].transpose(0, 1, 2, 3)[:, :, :, None]
    return rates[..., 0, :].transpose(0, 1, 2, 4, 3)


def _of_gratings(
    grid: Product, rates: np.ndarray, draws: int, seed: int, *, films: bool
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Curves through the best grating, and indices; rates [N, D, F, V, P]."""
    n = len(rates)
    angles = np.asarray(grid.values["orientation"])
    mean = rates.mean(-1)
    at = np.unravel_index(mean.reshape(n, -1).argmax(1), mean.shape[1:])
    rows = np.arange(n)
    by_angle = rates[rows, :, at[1], at[2]]  # [N, D, P]
    curve_nd = by_angle.mean(-1)
    osi, dsi, angle = selectivity(curve_nd, angles, films=films)
    out = {
        "orientation": angle[0],
        "osi": osi,
        "osi_p": permutation(by_angle, angles, 2, draws, seed),
        "orientation_curve": curve_nd,
        "frequency": np.asarray(grid.values["frequency"])[at[1]],
        "frequency_curve": mean[rows, at[0], :, at[2]],
    }
    if films:
        out |= {
            "direction": angle[1],
            "dsi": dsi,
            "dsi_p": permutation(by_angle, angles, 1, draws, seed),
            "tf": np.asarray(grid.values["tf"])[at[2]],
            "tf_curve": mean[rows, at[0], at[1], :],
        }
    else:
        phases = np.exp(1j * np.asarray(grid.values["phase"]))
        peak_np = rates[rows, at[0], at[1], at[2]]
        total = np.maximum(np.abs(peak_np).sum(1), 1e-30)
        out["modulation"] = 2 * np.abs(peak_np @ phases) / total
    best = {
        "orientation": angles[at[0]],
        "frequency": out["frequency"],
        **({"tf": out["tf"]} if films else {}),
    }
    return out, best


def _of_patches(
    show: Show,
    values: Values,
    best: Mapping[str, np.ndarray],
    centers_n2: np.ndarray,
    blank_n: np.ndarray,
    curves: Sequence[str],
    shuffle: tuple[int, int],
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Curves of stimuli of a size, where each neuron looks; shuffle: draws and seed."""
    phases = (2 * np.pi * np.arange(values.phases) / values.phases).tolist()
    given = {**best, "x": centers_n2[:, 0], "y": centers_n2[:, 1]}
    sizes, contrasts = list(values.sizes), list(values.contrasts)
    out: dict[str, np.ndarray] = {}

    def ask(kind: str, every: Mapping[str, Sequence[float]], more=()) -> np.ndarray:
        grid = Product(kind, {**every, "phase": phases})
        return show.own(grid, {**given, **dict(more)}, values)

    size_nsp = ask("patch", {"contrast": [values.contrast], "size": sizes})[:, 0]
    size_ns = size_nsp.mean(-1)
    size_n = np.asarray(sizes)[size_ns.argmax(1)]
    out |= {"size": size_n, "size_curve": size_ns}
    out["surround_suppression"] = suppression(size_ns, blank_n)
    best_np = size_nsp[np.arange(len(size_nsp)), size_ns.argmax(1)]
    out["surround_suppression_p"] = lower(best_np, size_nsp[:, -1], *shuffle)
    own = {"size": size_n}
    if "contrast" in curves:
        curve = ask("patch", {"contrast": contrasts}, own.items()).mean(-1)
        out |= {"contrast_curve": curve, "c50": half(curve, contrasts, blank_n)}
    if "size_contrast" in curves:
        both = ask("patch", {"contrast": contrasts, "size": sizes}).mean(-1)
        out["size_contrast_curve"] = both
        out["size_by_contrast"] = np.asarray(sizes)[both.argmax(2)]
        each = [suppression(both[:, i], blank_n) for i in range(len(contrasts))]
        out["suppression_by_contrast"] = np.stack(each, 1)
    if "plaid" in curves:
        steps = [0.0, *(c / 2 for c in contrasts)]
        pair = {"contrast": steps, "contrast_second": steps}
        plaid_p = ask("plaid_of_gratings", pair, own.items())
        plaid = plaid_p.mean(-1)
        alone, second = plaid[:, -1, 0] - blank_n, plaid[:, 0, -1] - blank_n
        together = plaid[:, -1, -1] - blank_n
        out["plaid_curve"] = plaid
        out["cross_orientation_suppression"] = 1 - _share(together, alone)
        ends = plaid_p[:, -1, 0], plaid_p[:, -1, -1]
        out["cross_orientation_suppression_p"] = lower(*ends, *shuffle)
        out["cross_orientation_summation"] = _share(together, alone + second)
        axes = {"plaid_contrast": np.asarray(steps)}
    else:
        axes = {}
    if "size" not in curves:
        out = {k: v for k, v in out.items() if k != "size_curve"}
    axes |= {"size": np.asarray(sizes, float), "contrast": np.asarray(contrasts)}
    return out, axes


def selectivity(
    curve_nd: np.ndarray, angles_d: np.ndarray, *, films: bool
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """OSI, DSI and (preferred orientation, preferred direction) by vector sums.

    OSI is |sum r exp(2ia)| / sum r, DSI the same of exp(ia) (Mazurek et al. 2014);
    negative rates count as zero.
    """
    positive = np.maximum(curve_nd, 0)
    total = np.maximum(positive.sum(1), 1e-30)
    twice = positive @ np.exp(2j * angles_d)
    once = positive @ np.exp(1j * angles_d) if films else np.zeros(len(curve_nd))
    orientation = (np.angle(twice) / 2) % np.pi
    return (
        np.abs(twice) / total,
        np.abs(once) / total,
        (orientation, np.angle(once) % (2 * np.pi)),
    )


def permutation(
    rates_ndp: np.ndarray, angles_d: np.ndarray, order: int, draws: int, seed: int
) -> np.ndarray:
    """How often shuffled labels are as selective, [N]: (1 + count) / (1 + draws).

    What is shuffled are the angles of all stimuli, phase by phase, as the blocks of a
    recording would be; order 2 tests orientations, 1 directions.
    """
    n, d, p = rates_ndp.shape
    flat = np.maximum(rates_ndp, 0).reshape(n, d * p)
    turns = np.repeat(np.exp(1j * order * angles_d), p)
    # Rounding must not decide between what is equal.
    seen = np.abs(flat @ turns) * (1 - 1e-9)
    rng = np.random.default_rng([seed, order])
    count = np.zeros(n)
    for _ in range(draws):
        count += np.abs(flat @ rng.permutation(turns)) >= seen
    return (1 + count) / (1 + draws)


def suppression(curve_ns: np.ndarray, blank_n: np.ndarray) -> np.ndarray:
    """How far the last value lies below the highest, over the rate to grey, 0..1."""
    above = curve_ns - blank_n[:, None]
    return 1 - _share(above[:, -1], above.max(1))


def lower(high_np: np.ndarray, low_np: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """How often shuffled labels put the second as far below the first, [N].

    Both are rates at the same phases; what is shuffled is which of the two stimuli they
    belong to. As in permutation, (1 + count) / (1 + draws).
    """
    p = high_np.shape[1]
    both = np.concatenate([high_np, low_np], 1)
    apart = high_np.mean(1) - low_np.mean(1)
    seen = apart - 1e-9 * np.abs(apart)
    rng = np.random.default_rng([seed, 3])
    count = np.zeros(len(both))
    for _ in range(draws):
        some = both[:, rng.permutation(2 * p)]
        count += some[:, :p].mean(1) - some[:, p:].mean(1) >= seen
    return (1 + count) / (1 + draws)


def half(
    curve_nc: np.ndarray, contrasts: Sequence[float], blank_n: np.ndarray
) -> np.ndarray:
    """The contrast at half of the highest rate over that to grey, between values."""
    above = curve_nc - blank_n[:, None]
    out = np.full(len(curve_nc), np.nan)
    at = np.concatenate([[0.0], contrasts])
    for i, row in enumerate(above):
        y = np.concatenate([[0.0], row])
        over = np.flatnonzero(y >= y.max() / 2)
        if y.max() > 0 and over[0] > 0:
            k = over[0]
            share = (y.max() / 2 - y[k - 1]) / (y[k] - y[k - 1])
            out[i] = at[k - 1] + share * (at[k] - at[k - 1])
    return out


def search(
    subject: Subject,
    neurons: Sequence[int],
    grid: Product,
    *,
    seconds: float = 0.5,
    memory: float | None = None,
    tell: Callable[[int], None] | None = None,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The best of many stimuli for each neuron: its parameters [N] and its rate [N].

    Every combination is shown once to all neurons; of equal ones the first is kept.
    """
    stimuli.check(grid.kind, list(grid.values))
    need(subject, neurons)
    some, (frame, count) = subject.only(neurons), film(subject, seconds)

    def one(parameters):
        return counted(some.rates(drawn(subject, grid.kind, frame, parameters)), count)

    rows, every = grid.parameters(), np.arange(len(neurons))
    best_n, at_n = np.full(len(neurons), -np.inf), np.zeros(len(neurons), int)
    for part, rates_sn in batches.through(one, rows, memory=memory, tell=tell):
        top_n = rates_sn.argmax(0)
        value_n = rates_sn[top_n, every]
        better = value_n > best_n
        best_n = np.where(better, value_n, best_n)
        at_n = np.where(better, part.start + top_n, at_n)
    return {name: values[at_n] for name, values in rows.items()}, best_n


def refine(
    subject: Subject,
    neurons: Sequence[int],
    kind: str,
    start: Mapping[str, np.ndarray],
    *,
    free: Sequence[str],
    steps: int = 100,
    rate: float = 0.02,
    seconds: float = 0.5,
    memory: float | None = None,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The best stimulus of a kind by gradient from a start: parameters [N] and rates.

    free are the parameters that may change, by steps of `rate` of their scale (a
    length's own size, a radian, a pixel for places).
    """
    stimuli.check(kind, list(start))
    need(subject, neurons)
    frame, count = film(subject, seconds)
    begin = {k: np.asarray(v, np.float32) for k, v in start.items()}
    scales = {k: _scale(k, begin[k]) for k in free}

    def ascend(rows):
        begin_b, scale_b, neuron_b = rows

        def rates(moved):
            at = {
                k: v + scale_b[k] * moved[k] if k in moved else v
                for k, v in begin_b.items()
            }
            video = drawn(subject, kind, frame, at)
            return counted(subject.each(video, neuron_b), count), at

        def step(carry, decay):
            moved, first, second, top, best = carry
            (_, (value, at)), slope = jax.value_and_grad(
                lambda m: (lambda r: (r[0].sum(), r))(rates(m)), has_aux=True
            )(moved)
            better = value > top
            best = {k: jnp.where(better, at[k], best[k]) for k in best}
            first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, slope)
            second = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g**2, second, slope)
            moved = jax.tree.map(
                lambda x, m, v: x + 10 * rate * decay * m / (jnp.sqrt(v) + 1e-12),
                *(moved, first, second),
            )
            return (moved, first, second, jnp.maximum(top, value), best), None

        zero = {k: jnp.zeros_like(begin_b[k]) for k in free}
        low = jnp.full(neuron_b.shape, -jnp.inf)
        decay = jnp.linspace(1.0, 0.05, steps)
        carry = (zero, zero, zero, low, dict(begin_b))
        (_, _, _, top, best), _ = jax.lax.scan(step, carry, decay)
        return best, top

    rows = (begin, scales, np.asarray(neurons, np.int32))
    return batches.every(ascend, rows, memory=memory)


def sized(subject: Subject, values: Values) -> Values:
    """The values with diameters that fit the frame, where none are given."""
    if len(values.sizes):
        return values
    longest = max(subject.frame[:2])
    sizes = np.geomspace(min(4, longest / 4), longest, 9).round(1).tolist()
    return values._replace(sizes=sizes)


def _scale(name: str, value_n: np.ndarray) -> np.ndarray:
    if name in ("x", "y", "orientation", "phase", "angle"):
        return np.full_like(value_n, 1.0)
    return np.maximum(np.abs(value_n), 1e-3).astype(np.float32)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    positive = whole > 1e-12
    return np.where(positive, part / np.where(positive, whole, 1.0), np.nan)


def _check(subject: Subject, values: Values, curves: Sequence[str]) -> None:
    if set(OWN) & set(curves):
        h, w, _ = subject.frame
        stimuli.check_size(Frame(h, w), max(values.sizes), "A stimulus")
    if subject.films:
        for tf in values.tfs:
            hertz(tf, subject)


def _plain(values: Values) -> dict[str, Any]:
    return {
        k: [float(x) for x in v] if isinstance(v, Sequence) else v
        for k, v in values._asdict().items()
    }
