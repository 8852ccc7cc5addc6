"""Reconstruction: films from single-trial responses, by how many neurons are read."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax.errors import UserError, unknown
from sensorium_jax.insilico import ascend, batches, subjects
from sensorium_jax.insilico.ascend import Climb
from sensorium_jax.insilico.constraints import Budget
from sensorium_jax.insilico.movies import invert, recorded as trials
from sensorium_jax.insilico.movies.invert import Fixed
from sensorium_jax.insilico.movies.likeness import Likeness, likeness
from sensorium_jax.insilico.movies.recorded import Recorded
from sensorium_jax.insilico.movies.seen import seen
from sensorium_jax.insilico.record import Result
from sensorium_jax.insilico.subjects import Subject
from sensorium_jax.normalize import at_frames

Array = Any
HOW = Climb(steps=100, rate=0.1, optimizer="adam", smooth=3.0, start=0.3)
ENSEMBLES = ("members", "answer")
TOGETHER = 4  # trials of one job, which is kept when it is done
MASK = 0.5  # of the best pixel, see seen


class Options(NamedTuple):
    """What is asked for beside the trials."""

    counts: tuple[int, ...] = ()  # of neurons; () for 10, 100, ... and all
    draws: int = 1  # random orders in which neurons are added
    starts: int = 2  # noises that a film begins with; the mean of their ends counts
    loss: str = "poisson"
    ensemble: str = "members"  # a film through each and their mean, or their mean rate
    climb: Climb = HOW
    smooth_time: float = 3.0  # SD of a Gaussian over the gradient, frames
    mask: float = MASK


class Job(NamedTuple):
    """Some trials, read from some neurons, through one model."""

    draw: int
    count: int
    member: int
    trials: tuple[int, ...]  # places among those that are reconstructed

    @property
    def name(self) -> str:
        """What tells it from the others."""
        first = self.trials[0]
        return f"{self.count}-{self.draw}-{self.member}-{first}"


class Prepared(NamedTuple):
    """A population, its models, its trials, and what is to be done."""

    members: tuple[Subject, ...]
    factors: tuple[Fixed, ...]  # of each member's rates, to the units of the responses
    recorded: Recorded  # of the neurons that are read at all
    neurons: np.ndarray  # their numbers
    order_dn: np.ndarray  # places of those, in the order in which they are added
    counts: tuple[int, ...]
    seen_hw: np.ndarray
    options: Options
    budget: Budget
    about: dict[str, Any]
    failed: dict[int, str]
    memory: float | None

    @property
    def mask_hw(self) -> np.ndarray:
        """The pixels that films are compared in."""
        return self.seen_hw >= self.options.mask


def prepare(
    subject: Subject,
    recorded: Recorded,
    neurons: Sequence[int] | None = None,
    options: Options | None = None,
    *,
    seed: int = 0,
    memory: float | None = None,
) -> Prepared:
    """Choose neurons, and measure where they look."""
    options = options or Options()
    asked, failed, counts = check(subject, recorded, neurons, options)
    draws = range(options.draws)
    orders = [np.random.default_rng([seed, d, 21]).permutation(asked) for d in draws]
    used = np.unique(np.concatenate([o[: counts[-1]] for o in orders]))
    place = {int(n): i for i, n in enumerate(used)}
    order_dn = np.array([[place[int(n)] for n in o[: counts[-1]]] for o in orders])
    members = tuple(_only(m, used) for m in _members(subject, options.ensemble))
    read, frames = recorded.only(used), np.arange(recorded.shape[0])
    factors = []
    for one in members:  # one that could not be narrowed has factors of all neurons
        mine = read if one.neurons == len(used) else recorded
        factors.append(np.asarray(at_frames(mine.factors[_units(one)], frames)))
    last_n = [f[-1] for f in factors]
    maps = [
        seen(one, factor_n, seed=seed, memory=memory)
        for one, factor_n in zip(members, last_n, strict=True)
    ]
    low, high = subject.screen.low, subject.screen.high
    about = {**subject.about(), **recorded.about, "seed": seed, "levels": "contrast"}
    about |= {"trials": recorded.number_s.tolist(), "members": len(members)}
    about |= {"starts": options.starts, "draws": options.draws}
    about |= {"loss": options.loss, "ensemble": options.ensemble, "mask": options.mask}
    climb = {k: v for k, v in options.climb._asdict().items() if k != "optimizer"}
    about |= {"smooth_time": options.smooth_time}
    about |= {"climb": climb, "optimizer": _word(options.climb.optimizer)}
    return Prepared(
        members,
        tuple(map(Fixed, factors)),
        read,
        used,
        order_dn,
        counts,
        np.mean(maps, 0),
        options,
        Budget(contrast=None, low=low, high=high),
        about,
        failed,
        memory,
    )


def check(
    subject: Subject,
    recorded: Recorded,
    neurons: Sequence[int] | None,
    options: Options,
) -> tuple[list[int], dict[int, str], tuple[int, ...]]:
    """Neurons, why others fail, and counts; refuses what cannot be read back."""
    if options.loss not in invert.LOSSES:
        raise unknown("loss", options.loss, invert.LOSSES)
    if options.ensemble not in ENSEMBLES:
        raise unknown("use of an ensemble", options.ensemble, ENSEMBLES)
    if min(options.draws, options.starts) < 1 or not 0 <= options.mask < 1:
        raise UserError(
            f"{options.draws} draws, {options.starts} starts and a mask of "
            f"{options.mask:g}: expected 1 or more of both, and a mask from 0 (every "
            "pixel) to less than 1."
        )
    ascend.check(options.climb)
    trials.check(recorded, subject)
    asked, failed = subjects.split(subject, neurons)
    return asked, failed, _counts(options, len(asked))


def jobs(prepared: Prepared) -> list[Job]:
    """Everything that is to be computed, few neurons first.

    All orders that take all neurons are the same, and only the first is done.
    """
    out, whole = [], len(prepared.neurons)
    groups = np.arange(len(prepared.recorded.number_s))
    for count in prepared.counts:
        draws = 1 if count == whole else prepared.options.draws
        for draw in range(draws):
            for member in range(len(prepared.members)):
                for start in range(0, len(groups), TOGETHER):
                    some = tuple(groups[start : start + TOGETHER].tolist())
                    out.append(Job(draw, count, member, some))
    return out


def solve(prepared: Prepared, job: Job) -> dict[str, np.ndarray]:
    """The films of one job, and how well they explain the responses."""
    read, at = prepared.recorded, list(job.trials)
    weight_n = np.zeros(len(prepared.neurons), np.float32)
    weight_n[prepared.order_dn[job.draw, : job.count]] = 1
    weight_bn = weight_n[None] * read.observed_sn[at]
    responses_btn = read.responses_stn[at]
    member = prepared.members[job.member]
    if member.neurons != len(prepared.neurons):
        weight_bn = _spread(weight_bn, prepared.neurons, member.neurons)
        responses_btn = _spread(responses_btn, prepared.neurons, member.neurons)
    o, factors = prepared.options, prepared.factors[job.member]
    once = {
        "number": np.asarray(at, np.int32),
        "behavior": read.behavior_stk[at].astype(np.float32),
        "pupil": read.pupil_st2[at].astype(np.float32),
        "responses": responses_btn.astype(np.float32),
        "weight": weight_bn.astype(np.float32),
    }
    rows = {k: np.repeat(v, o.starts, 0) for k, v in once.items()}
    rows["start"] = np.tile(np.arange(o.starts, dtype=np.int32), len(at))
    climb = (o.loss, o.climb, o.smooth_time, prepared.budget)
    seed = int(prepared.about["seed"])
    program = invert.program(member, factors, *climb, read.shape, seed)
    every = batches.every(program, rows, memory=prepared.memory)
    out = {
        k: np.mean(v.reshape(len(at), o.starts, *v.shape[1:]), 1)
        for k, v in every.items()
        if k != "history"
    }
    if member.neurons != len(prepared.neurons):
        out["rate_correlation"] = out["rate_correlation"][:, prepared.neurons]
    return out


def reconstruct(
    subject: Subject,
    recorded: Recorded,
    neurons: Sequence[int] | None = None,
    options: Options | None = None,
    *,
    seed: int = 0,
    memory: float | None = None,
    tell: Callable[[Job], None] | None = None,
) -> Result:
    """The films that best explain recorded responses, read from more and more neurons.

    The gradient of the loss between a model's rates and the responses moves a film from
    faint noise within what a screen can show (Bauer et al. 2026); behavior and gaze are
    those of the trial. Films are compared with those that were shown where the
    population looks, and so are those of other trials and the mean training film.
    """
    given = {"seed": seed, "memory": memory}
    prepared = prepare(subject, recorded, neurons, options, **given)
    parts = {}
    for job in jobs(prepared):
        parts[job] = solve(prepared, job)
        if tell is not None:
            tell(job)
    return summary(prepared, parts)


def summary(prepared: Prepared, parts: dict[Job, dict[str, np.ndarray]]) -> Result:
    """The result of finished jobs: a table by count, and the films themselves."""
    read, screen = prepared.recorded, prepared.members[0].screen
    shown = screen.contrast(read.video_sthwc)
    mask_hw, films = prepared.mask_hw, {}
    scores: list[dict[str, Any]] = []
    each = {"correlation_ks": [], "shuffled_ks": [], "loss_ks": []}
    for count in prepared.counts:
        by_draw = list(_films(prepared, parts, count))
        films[count] = by_draw[0]
        own = [[likeness(a, b, mask_hw) for a, b in _pairs(z, shown)] for z in by_draw]
        other = [_shuffled(z, shown, read.film_s, mask_hw) for z in by_draw]
        loss_s = np.mean(_of(prepared, parts, count, "loss"), 0)
        scores.append(_row(count, own, other, loss_s))
        each["correlation_ks"].append(np.mean([[x.all for x in d] for d in own], 0))
        each["shuffled_ks"].append(np.mean([[x.all for x in d] for d in other], 0))
        each["loss_ks"].append(loss_s)
    about = {**prepared.about, "table": scores}
    shared = {
        "counts": np.array(prepared.counts),
        "shown": read.video_sthwc.astype(np.float32),
        "movie": screen.shown(np.stack(list(films.values()))).astype(np.float32),
        "seen": prepared.seen_hw,
        "trial": read.number_s,
        **{k.removesuffix("_ks"): np.array(v) for k, v in each.items()},
    }
    if read.mean_thwc is not None:
        mean = screen.contrast(read.mean_thwc)
        same = [likeness(mean, film, mask_hw) for film in shown]
        shared |= {"mean_movie": read.mean_thwc.astype(np.float32)}
        shared |= {"mean_movie_correlation": np.array([x.all for x in same])}
        about["mean_movie"] = _means(same)
    most = prepared.counts[-1]
    chosen = prepared.order_dn[0]
    fit_n = np.mean(_of(prepared, parts, most, "rate_correlation"), 0).mean(0)
    arrays = {"added": np.arange(most), "rate_correlation": fit_n[chosen]}
    if about["members"] > 1:
        about["by_member"] = _by_member(prepared, parts, shown, mask_hw)
    order = np.argsort(prepared.neurons[chosen])
    arrays = {k: v[order] for k, v in arrays.items()}
    numbers = prepared.neurons[chosen][order]
    rest = (prepared.failed, read.notes)
    return Result("reconstruct", about, numbers, arrays, shared, *rest)


def _films(prepared: Prepared, parts, count: int) -> Iterator[np.ndarray]:
    """Of each draw the films [S, T, H, W, C], means over members."""
    for draw in sorted({j.draw for j in parts if j.count == count}):
        yield np.mean(_of(prepared, parts, count, "z", draw), 0)


def _of(prepared: Prepared, parts, count: int, name: str, draw: int = 0) -> np.ndarray:
    """What jobs of a count and a draw gave, [members, S, ...]."""
    every = []
    for member in range(len(prepared.members)):
        mine = [j for j in parts if j[:3] == (draw, count, member)]
        mine.sort(key=lambda j: j.trials)
        every.append(np.concatenate([parts[j][name] for j in mine]))
    return np.stack(every)


def _pairs(a_s: np.ndarray, b_s: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    return zip(a_s, b_s, strict=True)


def _shuffled(z, shown, film_s, mask_hw) -> list[Likeness]:
    """Each shown film beside the films that were read from trials of other films."""
    out = []
    for i, film in enumerate(shown):
        wrong = np.flatnonzero(film_s != film_s[i])
        others = _means([likeness(z[j], film, mask_hw) for j in wrong]).values()
        out.append(Likeness(*(np.nan if x is None else x for x in others)))
    return out


def _row(count: int, own, other, loss_s: np.ndarray) -> dict[str, Any]:
    """One line of the table; the SE is over trials."""
    all_s = np.mean([[x.all for x in draw] for draw in own], 0)
    flat = [x for draw in own for x in draw]
    wrong = [x for draw in other for x in draw]
    several = len(all_s) > 1
    error = float(np.std(all_s, ddof=1) / np.sqrt(len(all_s))) if several else None
    row = {"neurons": count, **_means(flat), "se": error}
    row |= {"shuffled": _means(wrong)["correlation"], "loss": float(loss_s.mean())}
    return row


def _means(several: Sequence[Likeness]) -> dict[str, float | None]:
    """Means of what is known; None where nothing is."""
    names = ("correlation", "frame_correlation", "time_correlation")
    columns = np.array(several, float).reshape(-1, len(names)).T
    known = [column[np.isfinite(column)] for column in columns]
    mean = (float(x.mean()) if x.size else None for x in known)
    return dict(zip(names, mean, strict=True))


def _by_member(prepared: Prepared, parts, shown, mask_hw) -> list[float | None]:
    """The correlation of each member's own films, of most neurons."""
    every = _of(prepared, parts, prepared.counts[-1], "z")
    return [
        _means([likeness(a, b, mask_hw) for a, b in _pairs(z, shown)])["correlation"]
        for z in every
    ]


def _counts(options: Options, most: int) -> tuple[int, ...]:
    """How many neurons are read, in rising order."""
    if not options.counts:
        tens = [10**k for k in range(1, 8) if 10**k < most]
        return (*tens, most)
    counts = tuple(sorted(set(options.counts)))
    if counts[0] < 1 or counts[-1] > most:
        raise UserError(
            f"{counts[0]} to {counts[-1]} neurons are to be read; {most} are there. "
            f"Give --counts from 1 to {most}."
        )
    return counts


def _members(subject: Subject, ensemble: str) -> tuple[Subject, ...]:
    """The models that films are sought through."""
    twins = getattr(subject.twin, "twins", ())
    if ensemble == "answer" or len(twins) < 2:
        return (subject,)
    return tuple(replace(subject, twin=twin) for twin in twins)


def _units(subject: Subject) -> str:
    return str(getattr(subject.twin, "units", subject.asking.units))


def _only(subject: Subject, neurons: np.ndarray) -> Subject:
    """The subject with these neurons; with all where they cannot be told apart."""
    if len(neurons) == subject.neurons:
        return subject
    try:
        return subject.only(neurons.tolist())
    except UserError:  # its readout mixes neurons
        return subject


def _spread(x: np.ndarray, neurons: np.ndarray, count: int) -> np.ndarray:
    """Values of some neurons among zeros for the others, along the last axis."""
    out = np.zeros((*x.shape[:-1], count), x.dtype)
    out[..., neurons] = x
    return out


def _word(value: Any) -> Any:
    return value if isinstance(value, (int, float, str)) else type(value).__name__
