"""Bayesian linear and logistic regression: a Gaussian posterior over the weights.

A number: evidence-maximised ridge (MacKay 1992, as scikit-learn's ``BayesianRidge`` has it). Classes: the multinomial
logistic likelihood with a Gaussian prior, its mode by scikit-learn, and Laplace's approximation there: the precision
is ``Σ_i (diag(p_i) - p_i p_iᵀ) ⊗ x_i x_iᵀ + I / s²``.

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> x = rng.normal(size=(2_000, 1))
>>> y = (rng.random(2_000) < 1 / (1 + np.exp(-x[:, 0]))) * 1.0
>>> chance = Linear().fit(x, y, classes=2).members(np.array([[1.0]]), 100).mean
>>> chance.shape, bool(abs(chance[:, 0, 1].mean() - 0.731) < 0.03)
((100, 1, 2), True)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, solve_triangular
from scipy.special import softmax
from sklearn.linear_model import BayesianRidge, LogisticRegression

from pcm.predict.families.family import Array, Family, Fitted, Members, by_member, checked, gaussian_atoms

__all__ = ["Linear"]


@dataclass(frozen=True)
class Linear(Family):
    """Bayesian linear regression of a number, Bayesian logistic regression of classes.

    Parameters
    ----------
    degree : int
        2 adds squares and products of the inputs.
    prior_sd : float
        Of each standardised input's weight in the log odds; a linear regression finds its own.
    """

    degree: int = 1
    prior_sd: float = 10.0
    name = "linear"

    def fit(self, x: Array, y: Array, *, classes: int | None = None, seed: int = 0) -> Fitted:
        x, y = checked(x, y, classes, least=3)
        scale = Scale.of(self._expand(x))
        if classes is None:
            return _LinearFit(self, scale, *_ridge(scale(self._expand(x)), y), seed)
        mode, spread = _logistic(scale(self._expand(x)), y, classes, self.prior_sd)
        return _LogisticFit(self, scale, mode, spread, seed)

    def _expand(self, x: Array) -> Array:
        if self.degree < 2:
            return x
        first, second = np.triu_indices(x.shape[-1])
        return np.concatenate([x, x[..., first] * x[..., second]], -1)


@dataclass(frozen=True)
class Scale:
    """Standardises inputs; a constant input becomes 0."""

    mean: Array
    sd: Array

    @classmethod
    def of(cls, x: Array) -> Scale:
        """The scale of these rows."""
        sd = x.std(0)
        return cls(x.mean(0), np.where(sd > 1e-12 * (1 + np.abs(x.mean(0))), sd, np.inf))

    def __call__(self, x: Array) -> Array:
        return (x - self.mean) / self.sd

    def folded(self, weights: Array) -> tuple[Array, Array]:
        """Intercepts ``(…)`` and weights ``(…, input)`` of inputs as they are, from those of standardised ones."""
        rest = weights[..., 1:] / self.sd
        return weights[..., 0] - rest @ self.mean, rest


@dataclass(frozen=True)
class _LinearFit(Fitted):
    family: Linear
    scale: Scale
    weights: Array  # (weight,), the intercept first
    factor: Array  # (weight, weight): its product with its transpose is their covariance
    sd: float
    seed: int

    def members(self, x: Array, count: int) -> Members:
        weights = self.weights + balanced(self.seed, count, len(self.weights)) @ self.factor.T
        first, rest = self.scale.folded(weights)
        found = np.matmul(self.family._expand(by_member(x, count)), rest[:, :, None])[..., 0]
        return Members(np.add(found, first[:, None], out=found), gaussian_atoms(self.sd))


@dataclass(frozen=True)
class _LogisticFit(Fitted):
    family: Linear
    scale: Scale
    mode: Array  # (class, weight)
    spread: Array  # (class * weight, class * weight), a factor of the covariance
    seed: int

    def members(self, x: Array, count: int) -> Members:
        weights = self.mode + (balanced(self.seed, count, self.mode.size) @ self.spread.T).reshape(
            count, *self.mode.shape
        )
        first, rest = self.scale.folded(weights)
        odds = np.matmul(self.family._expand(by_member(x, count)), rest.swapaxes(1, 2)) + first[:, None]
        return Members(softmax(odds, axis=-1))


def with_ones(x: Array) -> Array:
    """A column of ones before the inputs, the last dim."""
    return np.concatenate([np.ones((*x.shape[:-1], 1)), x], -1)


def balanced(seed: int, count: int, width: int) -> Array:
    """Standard normal draws ``(count, width)`` whose mean is 0, so that the members' mean is the posterior's."""
    normal = np.random.default_rng(seed).standard_normal((count, width))
    return normal - normal.mean(0) if count > 1 else 0 * normal


def _ridge(x: Array, y: Array) -> tuple[Array, Array, float]:
    """Weights, a factor of their covariance, and the noise's sd."""
    if x.shape[1] == 0 or not x.any():
        sd = float(y.std(ddof=1))
        zeros = np.zeros(1 + x.shape[1])
        factor = np.diag(zeros)
        factor[0, 0] = sd / np.sqrt(len(y))
        zeros[0] = y.mean()
        return zeros, factor, sd
    found = BayesianRidge(max_iter=1_000, tol=1e-8).fit(x, y)
    sd = float(found.alpha_**-0.5)
    factor = np.zeros((1 + x.shape[1],) * 2)
    factor[0, 0] = sd / np.sqrt(len(y))  # inputs are centred: the intercept is apart from the rest
    eigenvalues, vectors = np.linalg.eigh(found.sigma_)
    factor[1:, 1:] = vectors * np.sqrt(np.maximum(eigenvalues, 0.0))
    return np.concatenate([[found.intercept_], found.coef_]), factor, sd


def _logistic(x: Array, y: Array, classes: int, prior_sd: float) -> tuple[Array, Array]:
    """Mode ``(class, weight)`` and a factor of Laplace's covariance."""
    design = with_ones(x)
    width = design.shape[1]
    present = np.unique(y).astype(int)
    mode = np.zeros((classes, width))
    mode[np.setdiff1d(np.arange(classes), present), 0] = -np.log(2.0 * len(y))  # unseen: less than once
    if len(present) > 1:
        found = LogisticRegression(C=prior_sd**2, max_iter=2_000, tol=1e-8).fit(x, y) if x.shape[1] else None
        if found is None:
            shares = np.bincount(y.astype(int), minlength=classes) / len(y)
            mode[present, 0] = np.log(shares[present])
        elif len(present) == 2:
            mode[present[1]] = np.concatenate([found.intercept_, found.coef_[0]])
        else:
            mode[present] = np.concatenate([found.intercept_[:, None], found.coef_], 1)
    chance = softmax(design @ mode.T, axis=1)
    precision = np.eye(classes * width) / prior_sd**2
    for one in range(classes):
        for other in range(one + 1):
            weight = chance[:, one] * ((one == other) - chance[:, other])
            block = (design * weight[:, None]).T @ design
            rows, columns = slice(one * width, (one + 1) * width), slice(other * width, (other + 1) * width)
            precision[rows, columns] += block
            if one != other:
                precision[columns, rows] += block.T
    lower = cho_factor(precision, lower=True)[0]
    spread = solve_triangular(np.tril(lower), np.eye(classes * width), lower=True).T
    return mode, spread
