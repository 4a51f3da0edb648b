"""One test for everything: are the mean products of scores and features zero, beyond chance and beyond the fit?

A *score* ``s_i`` of unit i is a function of its noise with mean zero and known covariance ``S_i`` given everything that
comes before it; a *feature* ``f_i`` is a function of what comes before. If the mechanism is right,

    m = (1/n) sum_i f_i ⊗ s_i,   E m = 0,   Cov m = (1/n²) sum_i f_i f_i' ⊗ S_i,

and ``m' (Cov m + V)^-1 m`` is at most chi-square with as many degrees of freedom as ``m`` has entries, where ``V`` is
the covariance of ``m`` over the posterior draws of the parameters, at whose mean ``m`` is taken. For units that were
not fitted to, ``Cov m + V`` is the covariance of ``m``; for those that were it is ``Cov m - V``, so the test then errs
on the side of the model, in the directions that the fit has used up anyway.

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> feature, score = rng.normal(size=(400, 1)), rng.normal(size=(1, 400, 1))
>>> found = Moments(feature, score).test(slice(0, 1))
>>> found.df, found.p > 0.01
(1, True)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

__all__ = ["Finding", "Moments", "quadratic"]


@dataclass(frozen=True)
class Finding:
    """A statistic, its degrees of freedom, its p-value, and the first entry's share of it."""

    statistic: float
    df: int
    p: float
    first: float = 1.0


def quadratic(mean: np.ndarray, covariance: np.ndarray) -> Finding:
    """``mean' covariance^-1 mean`` against the chi-square law, in the directions that vary at all."""
    scale = np.sqrt(np.clip(np.diagonal(covariance), 1e-300, None))
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    kept = values > 1e-8 * max(values.max(initial=0.0), 1e-300)
    if not kept.any() or not np.isfinite(mean).all():
        return Finding(0.0, 0, 1.0)
    part = (vectors[:, kept].T @ (mean / scale)) ** 2 / values[kept]
    statistic, df = float(part.sum()), int(kept.sum())
    alone = float((mean[0] / scale[0]) ** 2)
    return Finding(statistic, df, float(stats.chi2.sf(statistic, df)), min(1.0, alone / max(statistic, 1e-300)))


class Moments:
    """Mean products of features and scores, and their covariances.

    Parameters
    ----------
    features : numpy.ndarray, shape (unit, feature)
    scores : numpy.ndarray, shape (lane, unit, score)
        Under each draw of the parameters.
    covariance : numpy.ndarray, shape (unit, score, score), optional
        Of the scores; the identity by default.
    """

    def __init__(self, features: np.ndarray, scores: np.ndarray, covariance: np.ndarray | None = None) -> None:
        lanes, units, count = scores.shape
        self.features, self.covariance, self.units, self.count = features, covariance, units, count
        flat = scores.transpose(1, 0, 2).reshape(units, lanes * count)
        self.lanes = (features.T @ flat / units).reshape(-1, lanes, count).transpose(1, 0, 2)
        self.mean = self.lanes.mean(0)

    def test(self, part: slice) -> Finding:
        """Test of the features of ``part`` together, with every score."""
        features = self.features[:, part]
        mean = self.mean[part].ravel()
        if self.covariance is None:
            covariance = np.kron(features.T @ features, np.eye(self.count))
        else:
            covariance = np.einsum("ua,uij,ub->aibj", features, self.covariance, features, optimize=True)
            covariance = covariance.reshape(len(mean), len(mean))
        covariance = covariance / self.units**2
        if len(self.lanes) > 1:
            drawn = self.lanes[:, part].reshape(len(self.lanes), -1)
            covariance = covariance + np.cov(drawn, rowvar=False).reshape(covariance.shape)
        return quadratic(mean, covariance)
