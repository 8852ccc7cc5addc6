"""Whether predictions are in normalized units and of the neurons that they name.

Nothing in a file says so, but the mean of what is predicted of a neuron follows the
mean that the neuron's training trials had.
"""

from collections.abc import Iterator

import numpy as np

from sensorium_jax.data import statistics
from sensorium_jax.data.session import RESPONSES
from sensorium_jax.findings import Fault, error, warning
from sensorium_jax.submission.expected import JudgedMouse

FEWEST = 30  # neurons below which chance decides
ENOUGH = 0.2  # log ratio of raw to normalized rates that tells them apart
SPREAD = 0.1  # std of log rates below which neurons are alike, and order does not show
NEARER = 0.5  # untrained models are near neither


def unit_faults(name: str, mouse: JudgedMouse, mean_n: np.ndarray) -> Iterator[Fault]:
    """Compare the mean prediction of every neuron with its mean response."""
    session = mouse.session
    normalized_n = statistics.mean_rates(session).astype(np.float64)
    stored = np.asarray(session.statistics[RESPONSES].mean, np.float64)
    raw_n = np.nanmean(np.atleast_2d(stored), axis=0)
    raw_n = np.broadcast_to(raw_n, normalized_n.shape)
    # Where trials are few the factors of frames are noise, which no model foresees: it
    # then predicts about the mean response times the mean factor.
    steady_n = raw_n * statistics.precision(session).mean(0)
    there = (mean_n > 0) & (normalized_n > 0) & (raw_n > 0)
    if there.sum() < 1:
        return
    logs = [np.log(x[there]) for x in (mean_n, normalized_n, raw_n, steady_n)]
    to_normalized, to_raw = (np.median(np.abs(logs[0] - x)) for x in logs[1:3])
    apart = np.median(np.abs(logs[1] - logs[2]))
    if apart > ENOUGH and to_raw < NEARER * to_normalized:
        finding = (
            f"unnormalized: mean predictions of {session.name} are nearer to raw than "
            "to normalized responses"
        )
        remedy = "multiply raw predictions by the response precision of their frame"
        yield warning(name, finding, remedy)
    elif there.sum() >= FEWEST and min(x.std() for x in logs[:2]) > SPREAD:
        follows = max(rank_correlation(logs[0], x) for x in logs[1:])
        if follows < min(0.3, 4 / np.sqrt(there.sum())):
            finding = (
                f"mean predictions of {session.name} do not follow mean responses "
                f"(rank correlation {follows:.2f}): neurons reordered without "
                "their ids, or another mouse"
            )
            remedy = "write predictions in the order of neuron_ids"
            yield error(name, finding, remedy)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's correlation; ties keep the order in which they stand."""
    x, y = (np.argsort(np.argsort(z, kind="stable")) for z in (a, b))
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / (x * x).sum())
