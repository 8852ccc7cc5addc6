"""Pages of what experiments on twins found, a few neurons on each."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.figure import Figure

NEURONS = 10  # on a page
STEPS = 8  # frames of a film, or pictures of a ring, that are drawn


class Shown(Protocol):
    """What is drawn of a result; see insilico.record.Result."""

    @property
    def experiment(self) -> str:
        """Which experiment it is."""
        ...

    @property
    def about(self) -> Mapping[str, Any]:
        """How it was asked."""
        ...

    @property
    def neurons(self) -> np.ndarray:
        """Numbers of the neurons."""
        ...

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """Arrays of all neurons."""
        ...

    @property
    def shared(self) -> Mapping[str, np.ndarray]:
        """What neurons have in common."""
        ...


def page(result: Shown) -> Figure:
    """The page of any experiment."""
    draw = PAGES[result.experiment]
    if not len(result.neurons):
        figure = Figure(figsize=(4, 1), layout="constrained")
        figure.suptitle(f"{result.experiment}: no neuron answered", fontsize=9)
        return figure
    figure = draw(result)
    mouse = result.about.get("mouse", "")
    figure.suptitle(f"{result.experiment} of {mouse}", fontsize=9)
    return figure


def tuning(result: Shown) -> Figure:
    """A row of curves for each neuron, and grey's rate as a line."""
    names = [k for k in result.arrays if k.endswith("_curve")]
    some = _some(result)
    shape = (len(some), len(names))
    figure = Figure(figsize=(1.7 * len(names), 1.2 * len(some)), layout="constrained")
    axes = figure.subplots(*shape, squeeze=False)
    for i, row in zip(some, axes, strict=True):
        for axis, name in zip(row, names, strict=True):
            _curve(axis, result, name, i)
        row[0].set_ylabel(f"neuron {result.neurons[i]}", fontsize=7)
    for axis, name in zip(axes[0], names, strict=True):
        title = name.removesuffix("_curve").replace("_", " x ")
        axis.set_title(title, fontsize=7)
    return figure


def _curve(axis, result: Shown, name: str, i: int) -> None:
    y = result.arrays[name][i]
    axis.tick_params(labelsize=5)
    plain = name.removesuffix("_curve")
    if y.ndim == 2 and plain == "plaid":
        axis.imshow(y, "viridis", origin="lower", aspect="auto")
        axis.set(xticks=[], yticks=[])
        return
    x = result.shared["size" if plain == "size_contrast" else plain]
    lines = y if y.ndim == 2 else y[None]
    for k, line in enumerate(lines):
        shade = 0.7 * (1 - (k + 1) / len(lines))
        axis.plot(x, line, ".-", color=str(shade), lw=0.8, ms=2)
    blank = result.arrays.get("blank")
    if blank is not None:
        axis.axhline(float(blank[i]), color="C1", lw=0.6)
    axis.set_ylim(bottom=min(0.0, float(y.min())))


def fields(result: Shown) -> Figure:
    """The linear field at its strongest frame, its course, and the fitted Gaussian."""
    some = _some(result)
    figure = Figure(figsize=(7, 1.3 * len(some)), layout="constrained")
    axes = figure.subplots(len(some), 3, squeeze=False)
    for i, row in zip(some, axes, strict=True):
        field = result.arrays["field"][i]
        best = int((field**2).sum((1, 2)).argmax())
        _map(row[0], field[best])
        row[0].set_ylabel(f"neuron {result.neurons[i]}", fontsize=7)
        row[1].imshow(result.arrays["envelope"][i], "magma")
        names = ("x", "y", "sigma_long", "sigma_short", "turn")
        _ellipse(row[1], *(float(result.arrays[k][i]) for k in names))
        row[1].set(xticks=[], yticks=[])
        row[2].plot(np.sqrt((field**2).sum((1, 2))), ".-", lw=0.8, ms=2)
        row[2].tick_params(labelsize=5)
    for axis, title in zip(axes[0], ("field", "map and fit", "frames"), strict=True):
        axis.set_title(title, fontsize=7)
    return figure


def _ellipse(axis, x, y, long, short, turn) -> None:
    t = np.linspace(0, 2 * np.pi, 60)
    u, v = 2 * long * np.cos(t), 2 * short * np.sin(t)
    cos, sin = np.cos(turn), np.sin(turn)
    axis.plot(x + cos * u - sin * v, y + sin * u + cos * v, "c", lw=0.8)


def _map(axis, image: np.ndarray) -> None:
    top = max(float(np.abs(image).max()), 1e-12)
    axis.imshow(image, "RdBu_r", vmin=-top, vmax=top)
    axis.set(xticks=[], yticks=[])


def _some(result: Shown) -> range:
    return range(min(len(result.neurons), NEURONS))


def optimal(result: Shown) -> Figure:
    """Each neuron's stimuli, as frames, and how the objective grew."""
    some = _some(result)
    stimulus = result.arrays["stimulus"]
    several = stimulus.ndim == 6
    first = stimulus[0][:, 0] if several else stimulus[0]
    at = np.unique(np.linspace(0, len(first) - 1, STEPS).round().astype(int))
    figure = Figure(figsize=(8, 0.9 * len(some) + 0.4), layout="constrained")
    axes = figure.subplots(len(some), len(at) + 1, squeeze=False)
    screen = result.about["screen"]
    for i, row in zip(some, axes, strict=True):
        frames = stimulus[i][:, 0] if several else stimulus[i][at]
        for axis, frame in zip(row, frames, strict=False):
            away = np.abs(frame - screen["grey"]).max() or 1.0
            low, high = screen["grey"] - away, screen["grey"] + away
            axis.imshow(frame.mean(-1), "gray", vmin=low, vmax=high)
        for axis in row[:-1]:
            axis.set(xticks=[], yticks=[], frame_on=False)
        row[0].set_ylabel(str(result.neurons[i]), fontsize=7)
        row[-1].plot(result.arrays["history"][i], "k", lw=0.8)
        row[-1].axhline(float(result.arrays["blank"][i]), color="C1", lw=0.6)
        row[-1].tick_params(labelsize=5)
        _said(row[-1], result, i)
    checked = ", on the second model" if "check_response" in result.arrays else ""
    axes[0, -1].set_title(f"objective (grey){checked}", fontsize=6)
    return figure


def _said(axis, result: Shown, i: int) -> None:
    """The rate that was reached, and that of a second model that was asked too."""
    names = [k for k in ("response", "check_response") if k in result.arrays]
    words = ", ".join(f"{float(np.mean(result.arrays[k][i])):.2f}" for k in names)
    axis.text(0.97, 0.1, words, transform=axis.transAxes, ha="right", fontsize=5)


def states(result: Shown) -> Figure:
    """Gain at every level, and how gains are spread over neurons."""
    figure = Figure(figsize=(6, 2.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    levels, gain = result.shared["levels"], result.arrays["gain"]
    left.plot(levels, gain.T, color="0.6", lw=0.6)
    left.plot(levels, np.median(gain, axis=0), "k", lw=1.5)
    left.set(xlabel=f"signal {result.about['signal']}", ylabel="gain")
    right.hist(result.arrays["log_gain_slope"], 30, color="0.4")
    right.set(xlabel="log gain per unit of the signal", ylabel="neurons")
    return figure


def rings(result: Shown) -> Figure:
    """The stimuli of each ring, and the rate around it."""
    some, ring = _some(result), result.arrays["ring"]
    at = np.unique(np.linspace(0, ring.shape[1] - 1, STEPS).round().astype(int))
    figure = Figure(figsize=(8, 0.9 * len(some) + 0.4), layout="constrained")
    axes = figure.subplots(len(some), len(at) + 1, squeeze=False)
    grey = result.about["screen"]["grey"]
    for i, row in zip(some, axes, strict=True):
        away = np.abs(ring[i] - grey).max() or 1.0
        for axis, k in zip(row, at, strict=False):
            frame = ring[i, k, -1].mean(-1)
            axis.imshow(frame, "gray", vmin=grey - away, vmax=grey + away)
            axis.set(xticks=[], yticks=[], frame_on=False)
        row[0].set_ylabel(str(result.neurons[i]), fontsize=7)
        row[-1].plot(
            result.shared["ring"], result.arrays["ring_curve"][i], "k.-", lw=0.8
        )
        row[-1].set_ylim(bottom=0)
        row[-1].tick_params(labelsize=5)
    return figure


def ranks(result: Shown) -> Figure:
    """Rates of the best and worst, and the pictures themselves where they were kept."""
    kept = {k: result.arrays.get(f"{k}_picture") for k in ("best", "worst")}
    rows = [(k, v) for k, v in kept.items() if v is not None]
    if not rows:
        figure = Figure(figsize=(5, 3), layout="constrained")
        _rates(figure.subplots(), result, range(len(result.neurons)))
        return figure
    some, most = _some(result), min(rows[0][1].shape[1], 3)
    found = result.arrays.get("mei_stimulus")
    titles = [k for k, _ in rows for _ in range(most)] + ["mei"] * (found is not None)
    size = (1.3 * (len(titles) + 1), 0.9 * len(some) + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(some), len(titles) + 1, squeeze=False)
    for i, row in zip(some, axes, strict=True):
        pictures = [v[i, k] for _, v in rows for k in range(most)]
        if found is not None:
            film = found[i] if found.ndim == 5 else found[i, 0]
            away = np.abs(film - result.about["screen"]["grey"]).sum((1, 2, 3))
            pictures.append(film[int(np.nan_to_num(away).argmax())])
        for axis, picture in zip(row, pictures, strict=False):
            if np.isfinite(picture).all():
                axis.imshow(picture.mean(-1), "gray")
            axis.set(xticks=[], yticks=[], frame_on=False)
        row[0].set_ylabel(str(result.neurons[i]), fontsize=7)
        _rates(row[-1], result, [i])
    for axis, title in zip(axes[0], titles, strict=False):
        axis.set_title(title, fontsize=7)
    return figure


def clusters(result: Shown) -> Figure:
    """A gallery of the stimuli, and what each does to each cluster."""
    stimulus = result.shared["stimulus"]
    k, frames = stimulus.shape[:2]
    at = np.unique(np.linspace(0, frames - 1, STEPS).round().astype(int))
    height = max(0.75 * k + 0.5, 3)
    figure = Figure(figsize=(1.1 * len(at) + 5, height), layout="constrained")
    sides: Any = figure.subfigures(1, 2, width_ratios=[1.1 * len(at), 5])
    left, right = sides
    axes = left.subplots(k, len(at), squeeze=False)
    grey, sizes = result.about["screen"]["grey"], result.shared["size"]
    for i, row in enumerate(axes):
        away = np.abs(stimulus[i] - grey).max() or 1.0
        for axis, t in zip(row, at, strict=True):
            image = stimulus[i, t].mean(-1)
            axis.imshow(image, "gray", vmin=grey - away, vmax=grey + away)
            axis.set(xticks=[], yticks=[], frame_on=False)
        row[0].set_ylabel(f"{i} [{sizes[i]}]", fontsize=7)
    matrix = result.shared["confusion_column_diagonal"]
    axis = right.subplots()
    image = axis.imshow(matrix, "RdBu_r", vmin=-1, vmax=1)
    axis.set(xlabel="cluster", ylabel="stimulus", xticks=range(k), yticks=range(k))
    axis.tick_params(labelsize=6)
    bar = right.colorbar(image, ax=axis, shrink=0.6)
    bar.set_label("mean rate, by that to the own stimulus", fontsize=7)
    words = [f"objective {result.about['objective']:.2f}"]
    for name, label in (("agreement", "ARI between seeds"), ("ari", "ARI to types")):
        if result.about.get(name) is not None:
            words.append(f"{label} {result.about[name]:.2f}")
    axis.set_title(", ".join(words), fontsize=7)
    return figure


def assigned(result: Shown) -> Figure:
    """The posterior of every neuron, and what more repeats bring."""
    figure = Figure(figsize=(7, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    cluster = result.arrays["cluster"]
    order = np.lexsort((-result.arrays["confidence"], cluster))
    posterior = result.arrays["posterior"][order]
    left.imshow(posterior, "magma", aspect="auto", vmin=0, vmax=1)
    left.set(xlabel="cluster", ylabel="neuron, by its cluster")
    repeats = result.shared["repeats"]
    right.plot(repeats, result.shared["accuracy"], "k.-", label="same cluster")
    sure = result.arrays["confidence_curve"].mean(0)
    right.plot(repeats, sure, "C0.-", label="mean posterior")
    if "ari" in result.shared:
        right.plot(repeats, result.shared["ari"], "C1.-", label="ARI to types")
    against = result.about["accuracy_against"]
    right.set(xlabel="responses to each stimulus", ylim=(0, 1.02))
    right.set_title(f"compared with {against}", fontsize=7)
    right.legend(fontsize=6)
    return figure


def movies(result: Shown) -> Figure:
    """Frames that were shown over those that were read back, and the correlations."""
    shown, movie = result.shared["shown"], result.shared["movie"]
    some, frames = min(len(shown), 3), shown.shape[1]
    at = np.unique(np.linspace(0, frames - 1, STEPS + 2)[1:-1].round().astype(int))
    width = max(1.25 * len(at), 4.0)
    size = (width + 3.6, max(1.6 * some + 0.4, 3.0))
    figure = Figure(figsize=size, layout="constrained")
    sides: Any = figure.subfigures(1, 2, width_ratios=[width, 3.6])
    left, right = sides
    axes = left.subplots(2 * some, len(at), squeeze=False)
    screen, seen = result.about["screen"], result.shared["seen"]
    levels = {"vmin": screen["black"], "vmax": screen["white"]}
    outside = np.asarray(seen < result.about["mask"])[None, :, :, None]
    for i in range(some):
        # What the neurons do not see is anything, and is left grey.
        read = np.where(outside, screen["grey"], movie[-1, i])
        for row, film in ((2 * i, shown[i]), (2 * i + 1, read)):
            for axis, t in zip(axes[row], at, strict=True):
                axis.imshow(film[t].mean(-1), "gray", **levels)
                _border(axis, seen, result.about["mask"])
                axis.set(xticks=[], yticks=[], frame_on=False)
        axes[2 * i, 0].set_ylabel(f"trial {result.shared['trial'][i]}", fontsize=7)
        axes[2 * i + 1, 0].set_ylabel("read back", fontsize=7)
    for axis, t in zip(axes[0], at, strict=True):
        axis.set_title(f"frame {t}", fontsize=6)
    _by_count(right.subplots(), result)
    return figure


def _border(axis, seen_hw: np.ndarray, level: float) -> None:
    """Around the pixels that are compared."""
    inside = (seen_hw >= level).astype(float)
    if 0 < inside.mean() < 1:
        axis.contour(inside, [0.5], colors="C1", linewidths=0.5)


def probes(result: Shown) -> Figure:
    """How well labels are read, spectra, and how alike representations are."""
    decoding, names = result.about["decoding"], result.about["compared"]
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    at = np.arange(len(decoding))
    left.barh(at, [d["accuracy"] for d in decoding], color="0.6")
    for y, d in zip(at, decoding, strict=True):
        left.plot([d["null"], d["null_high"]], [y, y], "C0", lw=2)
    labels = [f"{d['of'][:18]}: {d['label']}" for d in decoding]
    left.set_yticks(at, labels, fontsize=6)
    left.invert_yaxis()
    left.set(xlim=(0, 1.02), xlabel="told right (blue: permuted labels, to 95 %)")
    for row in result.about["spectra"]:
        values = np.asarray(result.shared[f"spectrum/{row['of']}"])
        rank = 1 + np.flatnonzero(values > 0)
        slope = "-" if row["exponent"] is None else f"{row['exponent']:.2f}"
        share = values[rank - 1] / values[values > 0].sum()
        middle.loglog(rank, share, lw=0.9, label=f"{row['of'][:18]}: {slope}")
    middle.set(xlabel="dimension", ylabel="share of variance")
    middle.legend(fontsize=6, title="exponent", title_fontsize=6)
    if len(names) > 1:
        right.imshow(result.shared["alignment"], "magma", vmin=0, vmax=1)
        for i, row in enumerate(result.shared["alignment"]):
            for j, value in enumerate(row):
                right.text(j, i, f"{value:.2f}", ha="center", fontsize=6, color="C0")
        short = [f"{i + 1} {name[:18]}" for i, name in enumerate(names)]
        right.set_yticks(range(len(names)), short, fontsize=6)
        right.set_xticks(range(len(names)), [str(i + 1) for i in range(len(names))])
        right.set_title("alignment (CKA)", fontsize=7)
    else:
        right.imshow(result.shared["dissimilarity"][0], "viridis")
        right.set_title("dissimilarity of stimuli", fontsize=7)
    for axis in (left, middle, right):
        axis.tick_params(labelsize=6)
        axis.xaxis.label.set_size(7)
    return figure


def _by_count(axis, result: Shown) -> None:
    """The correlation over the number of neurons, beside what explains nothing."""
    counts = result.shared["counts"]
    correlation = result.shared["correlation"]
    axis.plot(counts, correlation, color="0.8", lw=0.6)
    mean = np.nanmean(correlation, 1)
    axis.plot(counts, mean, "ko-", ms=3, label="read back")
    shuffled = result.shared["shuffled"]
    if np.isfinite(shuffled).any():
        other = np.nanmean(shuffled, 1)
        axis.plot(counts, other, "C0o--", ms=3, label="from other trials")
    if "mean_movie_correlation" in result.shared:
        level = float(np.nanmean(result.shared["mean_movie_correlation"]))
        axis.axhline(level, color="C1", lw=0.8, label="mean training film")
    axis.set_xscale("log")
    axis.set_xticks(counts, [str(n) for n in counts], fontsize=7)
    axis.minorticks_off()
    axis.set(xlabel="neurons", ylabel="pixel correlation with what was shown")
    axis.legend(fontsize=7)


def _rates(axis, result: Shown, some: Sequence[int]) -> None:
    for name, color in (("best", "C3"), ("worst", "C0")):
        axis.plot(result.arrays[f"{name}_rate"][some].T, ".-", color=color, lw=0.6)
    mean = float(result.arrays["mean"][some].mean())
    axis.axhline(mean, color="0.5", ls=":", lw=0.8)
    one = result.arrays.get("mei_response")
    if one is not None and len(some) == 1 and np.isfinite(one[some]).all():
        axis.axhline(float(np.mean(one[some])), color="C2", lw=0.8)
    axis.tick_params(labelsize=5)
    if len(some) > 1:
        axis.set(xlabel="rank (best red, worst blue)", ylabel="rate")


PAGES = {
    "cluster": clusters,
    "assign": assigned,
    "reconstruct": movies,
    "probe": probes,
    "tune": tuning,
    "rf": fields,
    "mei": optimal,
    "state": states,
    "invariance": rings,
    "screen": ranks,
}
