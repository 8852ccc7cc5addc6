"""Ridge regression from moments: one eigen-decomposition serves every strength.

The covariance of a mouse's stimuli is shared by its neurons, so that weights of any
strength and neuron are two matrix products away. Strengths are in units of the mean
eigenvalue of the stimulus, the same for every recording.
"""

from typing import NamedTuple

import numpy as np

from sensorium_jax.maps.moments import Centered

FREE = 10.0  # SD of a signal among pixels of SD 1: signals are hardly shrunk


class Spectrum(NamedTuple):
    """Stimuli and responses of one mouse, seen along the axes of the stimulus."""

    centered: Centered
    scale_d: np.ndarray  # what features are multiplied by
    value_d: np.ndarray  # variances along the axes
    axis_de: np.ndarray  # scaled features to axes
    cross_en: np.ndarray  # covariances along the axes with responses
    unit: float  # strength 1


def spectrum(c: Centered, signals: int = 0) -> Spectrum:
    """Decompose the moments of one mouse; the last `signals` columns are signals."""
    variance_d = np.maximum(np.diag(c.xx_de), 0)
    features = len(variance_d) - signals
    unit = max(float(variance_d[:features].mean()), 1e-12)
    scale_d = np.ones(len(variance_d))
    still = variance_d[features:] <= 1e-12 * unit
    deviation = np.sqrt(np.where(still, 1.0, variance_d[features:]))
    scale_d[features:] = np.where(still, 0.0, FREE * np.sqrt(unit) / deviation)
    value_d, axis_de = np.linalg.eigh(c.xx_de * scale_d[:, None] * scale_d)
    cross_en = axis_de.T @ (c.xy_dn * scale_d[:, None])
    return Spectrum(c, scale_d, np.maximum(value_d, 0), axis_de, cross_en, unit)


def rounded(s: Spectrum) -> Spectrum:
    """The same in float32, for products with thousands of neurons."""
    value, axis, cross = (np.asarray(x, np.float32) for x in s[2:5])
    return Spectrum(
        s.centered, s.scale_d.astype(np.float32), value, axis, cross, s.unit
    )


def weights(s: Spectrum, strength: float) -> np.ndarray:
    """Weights [D, N] of the features as they are, at one strength."""
    shrunk_en = s.cross_en / (s.value_d + strength * s.unit)[:, None]
    return s.scale_d[:, None] * (s.axis_de @ shrunk_en)


def noise(s: Spectrum, strength: float) -> tuple[np.ndarray, float]:
    """Variance of each weight where responses are noise of variance 1, and its rank.

    The rank is how many of the features vary on their own, as a share of all.
    """
    along_e = s.value_d / (s.value_d + strength * s.unit) ** 2 / s.centered.frames
    variance_d = s.scale_d**2 * ((s.axis_de**2) @ along_e)
    rank = along_e.sum() ** 2 / max(float((along_e**2).sum()), 1e-300)
    return variance_d, float(rank / len(along_e))


def correlation(
    weights_dn: np.ndarray, xx_de: np.ndarray, held: Centered
) -> np.ndarray:
    """Correlation [N] of linear predictions with responses that were held out.

    xx_de is the covariance of the features: that of the training trials, which is known
    better than that of a few held out.
    """
    power_n = np.einsum("dn,dn->n", weights_dn, xx_de @ weights_dn)
    product_n = np.einsum("dn,dn->n", weights_dn, held.xy_dn)
    below = np.sqrt(np.maximum(power_n * held.yy_n, 1e-30))
    return np.where(power_n > 0, product_n / below, 0.0)
