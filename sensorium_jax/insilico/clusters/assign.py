"""Which cluster a new neuron belongs to, from a few recorded responses to the stimuli.

The neurons of a cluster have a mean profile over all stimuli, and scatter around it. A
new neuron has an unknown offset and gain: its mean responses are offset + gain *
profile with gain >= 0, within the cluster's scatter and the noise of its own recording.
The posterior over clusters follows by Bayes, with the clusters' sizes as the prior.
"""

from typing import NamedTuple

import numpy as np

from sensorium_jax.errors import UserError
from sensorium_jax.insilico import batches, optimal
from sensorium_jax.insilico.clusters import partition
from sensorium_jax.insilico.optimal import Aim
from sensorium_jax.insilico.record import Result
from sensorium_jax.insilico.subjects import Subject, split

SURE = 0.95  # of the posterior that is called sure
PASSES = 3  # of the weighted fit
TINY = 1e-12


class Profiles(NamedTuple):
    """What is known of K clusters and their S = K stimuli."""

    mean_ks: np.ndarray  # mean normalized rate of cluster k to stimulus s
    scatter_ks: np.ndarray  # SD of a cluster's neurons around it
    share_k: np.ndarray


def profiles(result: Result) -> Profiles:
    """Of a result of `cluster`."""
    labels_n, rates_ns = result["cluster"], result["response_by_stimulus"]
    count = rates_ns.shape[1]
    # A neuron's gain is free below, so that scatter is what gains do not explain.
    rates_ns = rates_ns / np.maximum(np.linalg.norm(rates_ns, axis=1), TINY)[:, None]
    means, scatters, sizes = [], [], []
    pooled = np.zeros(count)
    for k in range(count):
        own = rates_ns[labels_n == k]
        means.append(own.mean(0))
        pooled += ((own - own.mean(0)) ** 2).sum(0)
        scatters.append(((own - own.mean(0)) ** 2).sum(0))
        sizes.append(len(own))
    size_k = np.array(sizes, float)
    pooled = pooled / max(len(rates_ns) - count, 1)
    # Small clusters borrow their scatter from the others.
    scatter = (np.stack(scatters) + 2 * pooled) / (size_k[:, None] + 1)
    return Profiles(np.stack(means), np.sqrt(scatter), size_k / size_k.sum())


def posterior(responses_rsn: np.ndarray, known: Profiles) -> np.ndarray:
    """Probabilities [N, K] of clusters, from R responses to each stimulus.

    NaN stands for what was not recorded; every stimulus needs a response or more.
    """
    y = np.asarray(responses_rsn, np.float64)
    count_sn = np.isfinite(y).sum(0)
    if not count_sn.all():
        s, n = np.argwhere(count_sn == 0)[0]
        raise UserError(
            f"Neuron {n} has no response to stimulus {s}. Show every stimulus once at "
            "least, or leave the neuron out."
        )
    mean_sn = np.nanmean(y, 0)
    noise_n, free_n = _noise(y, mean_sn, count_sn)
    variance_sn = noise_n[None] / count_sn
    log_kn = np.stack(
        [
            _evidence(mean_sn, variance_sn, free_n, mean_s, scatter_s)
            for mean_s, scatter_s in zip(known.mean_ks, known.scatter_ks, strict=True)
        ]
    )
    log_kn = log_kn + np.log(np.maximum(known.share_k, TINY))[:, None]
    odds_kn = np.exp(log_kn - log_kn.max(0))
    return (odds_kn / odds_kn.sum(0)).T


def _noise(y, mean_sn, count_sn) -> tuple[np.ndarray, np.ndarray]:
    """Variance of single responses, [N], and how many responses it is known from.

    From repeats; one response more, before any repeat, counts all variance as noise.
    """
    within_n = np.nansum((y - mean_sn[None]) ** 2, (0, 1))
    level_n = np.nanmean(y, (0, 1))
    everything_n = np.nanmean((y - level_n) ** 2, (0, 1))
    free_n = np.maximum(count_sn - 1, 0).sum(0) + 1.0
    floor_n = 1e-6 * np.maximum(everything_n, TINY)
    return np.maximum((within_n + everything_n) / free_n, floor_n), free_n


def _line(mean_sn, weight_sn, profile_s):
    """Offset, gain >= 0 and the fit of the weighted line through a profile."""
    x_s1 = profile_s[:, None]
    total = weight_sn.sum(0)
    middle = (weight_sn * x_s1).sum(0) / total
    level = (weight_sn * mean_sn).sum(0) / total
    away = x_s1 - middle[None]
    power = (weight_sn * away**2).sum(0)
    gain_n = (weight_sn * away * (mean_sn - level)).sum(0) / np.maximum(power, TINY)
    gain_n = np.maximum(gain_n, 0.0)
    return level, gain_n, level + gain_n * away


def _evidence(mean_sn, variance_sn, free_n, profile_s, scatter_s) -> np.ndarray:
    """Log likelihood [N] of mean responses under one cluster, at the best line.

    A Student distribution, as the variance is known from few responses only.
    """
    total_sn = variance_sn
    for _ in range(PASSES):
        _, gain_n, fit_sn = _line(mean_sn, 1 / total_sn, profile_s)
        total_sn = variance_sn + (gain_n[None] * scatter_s[:, None]) ** 2
    away_n = ((mean_sn - fit_sn) ** 2 / total_sn).sum(0)
    # The line takes two of the stimuli's degrees of freedom.
    power_n = (free_n + max(len(mean_sn) - 2, 1)) / 2
    return -0.5 * np.log(total_sn).sum(0) - power_n * np.log1p(away_n / free_n)


def driven(result: Result, subject: Subject, neurons=None) -> tuple[np.ndarray, list]:
    """The full procedure through a twin: who is driven most by which stimulus.

    Returns mean rates [N, S] of neurons of any twin of the same frames, and their
    numbers. The cluster of each is the largest.
    """
    asked, _ = split(subject, neurons)
    about = result.about
    stimulus = np.asarray(result["stimulus"], np.float32)
    if stimulus.shape[2:] != subject.frame:
        sizes = [" x ".join(map(str, s)) for s in (stimulus.shape[2:], subject.frame)]
        raise UserError(
            f"The stimuli are {sizes[0]}, this model sees {sizes[1]}. Take a model of "
            "the same frames."
        )
    aim, burn = Aim(**{**about["aim"], "off": ()}), int(about["burn"])
    whole = asked == list(range(subject.neurons))
    some = subject if whole else subject.only(asked)
    rates = optimal.all_answers_of(some, aim, burn)
    return batches.every(rates, some.screen.contrast(stimulus)).T, asked


def assign(
    result: Result,
    responses_rsn: np.ndarray,
    *,
    full_n: np.ndarray | None = None,
    labels_n: np.ndarray | None = None,
    draws: int = 20,
    seed: int = 0,
) -> Result:
    """Types of new neurons [N] from responses [R, S, N], and how many repeats it takes.

    full_n are the neurons' clusters by the full procedure, labels_n their true types,
    where one of these is known; without, all repeats stand for the full procedure.
    """
    y = _checked(responses_rsn, result)
    known, repeats = profiles(result), len(y)
    whole_nk = posterior(y, known)
    cluster_n = whole_nk.argmax(1)
    rng = np.random.default_rng([seed, 3])
    target_n = cluster_n if full_n is None else np.asarray(full_n)
    surest_nr, right_nr = np.zeros((2, len(cluster_n), repeats))
    agree_r, label_r = np.zeros((2, repeats))
    for r in range(repeats):
        times = draws if r + 1 < repeats else 1
        for _ in range(times):
            some = posterior(y[rng.permutation(repeats)[: r + 1]], known)
            surest_nr[:, r] += some.max(1) / times
            right_nr[:, r] += (some.argmax(1) == target_n) / times
            if labels_n is not None:
                ari = partition.rand_index(some.argmax(1), labels_n)
                label_r[r] += ari / times
        agree_r[r] = right_nr[:, r].mean()
    sure_nr = surest_nr >= SURE
    # From this repeat on it stays sure.
    needed_n = repeats - np.cumprod(sure_nr[:, ::-1], 1).sum(1) + 1.0
    arrays = {
        "cluster": cluster_n,
        "confidence": whole_nk.max(1),
        "repeats_needed": np.where(sure_nr[:, -1], needed_n, np.nan),
        "posterior": whole_nk,
        "best_stimulus": np.nanmean(y, 0).argmax(0),
        "confidence_curve": surest_nr,
        "agreement_curve": right_nr,
    }
    shared = {"repeats": np.arange(1, repeats + 1), "accuracy": agree_r}
    against = "all repeats" if full_n is None else "the full procedure"
    about = {"mouse": "new neurons", "repeats": repeats, "stimuli": y.shape[1]}
    about |= {"accuracy_against": against, "draws": draws, "seed": seed, "sure": SURE}
    about |= {"accuracy": agree_r.tolist(), "stimuli_of": dict(result.about)["mouse"]}
    if full_n is not None:
        arrays["full"] = target_n
    if labels_n is not None:
        arrays["label"] = np.unique(labels_n, return_inverse=True)[1]
        shared["ari"] = label_r
        about["ari"] = label_r.tolist()
    return Result("assign", about, np.arange(len(cluster_n)), arrays, shared)


def _checked(responses_rsn: np.ndarray, result: Result) -> np.ndarray:
    y = np.asarray(responses_rsn, np.float64)
    stimuli = result["response_by_stimulus"].shape[1]
    if y.ndim != 3 or y.shape[1] != stimuli:
        raise UserError(
            f"The responses have shape {y.shape}; expected [repeats, {stimuli} "
            "stimuli, neurons], stimuli in the order of the result."
        )
    return y
