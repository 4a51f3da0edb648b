r"""Regressions on features that are conditional means, known through a few draws alone.

The observational optimum regresses ``E[Y | x]`` on monomials of ``μ(x) = E[φ | x]``. Where the inputs leave something
open, ``μ`` is seen through ``n`` draws of ``φ`` given ``x``, and the mean of these has a noise of ``Var(φ | x) / n``
that a regression takes for spread of the feature: its weights are too small (errors in variables). Here

- a monomial is estimated by the mean over tuples of *distinct* draws, ``Σ φ_a(i) φ_b(j) φ_c(k) / n(n−1)(n−2)`` with
  ``i ≠ j ≠ k``, of which each factor's noise is its own: ``E[m̂ | x] = m(μ(x))``;
- the draws are cut into two halves, independent given ``x``, and the normal equations join one with the other:
  ``E[m̂₁ m̂₂ᵀ] = E[m mᵀ]``, whereas ``E[m̂ m̂ᵀ]`` has the noise on top of it.

Both hold exactly, for any number of draws. Such a matrix need not be positive definite: directions of which the halves
say little in common (their *reliability*, the share of their spread that is no noise) are left out, below a limit that
cross-validation over units chooses.

>>> rng = np.random.default_rng(0)
>>> mu = rng.normal(size=20_000)
>>> draws = mu + rng.normal(size=(1, 2, 4, 20_000))  # a feature, two halves, four draws
>>> best = np.stack([mu**2, mu**2])
>>> fit = Regression(draws, best, degree=2)
>>> bool(abs(np.prod(best - fit(draws), 0).mean()) < 0.02)
True
>>> naive = np.polyfit(draws.mean((0, 1, 2)), best[0], 2)
>>> bool(np.mean((np.polyval(naive, draws.mean((0, 1, 2))) - best[0]) ** 2) > 0.1)
True
"""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
from scipy.special import expit

__all__ = ["Regression", "monomials", "split", "unbiased_monomials"]

#: Limits of reliability that are tried, and parts of the units that the trial leaves out in turn.
_LIMITS, _FOLDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4), 4


class Regression:
    """A polynomial in features, fitted to what is to be predicted.

    Parameters
    ----------
    features : numpy.ndarray (feature, half, draw, unit)
        Draws of each feature given what is read; see :func:`split`. Each half may be a single draw, or an average that
        is as good as exact.
    best : numpy.ndarray (half, unit)
        Two estimates of the conditional mean, independent of the other half's features.
    degree : int
    loss : "squared" or "log"
        With log loss the polynomial is that of the log-odds.
    """

    def __init__(self, features: np.ndarray, best: np.ndarray, degree: int, loss: str = "squared") -> None:
        self.degree, self.loss = degree, loss
        self._centre = features.mean((1, 2, 3))[:, None, None]
        spread = features.mean((1, 2)).std(-1)[:, None, None]
        self._spread = np.where(spread > 0, spread, 1.0)
        columns = self._columns(features)
        basis = _reliable(columns, best)
        if loss == "log":
            self.weights = basis @ _logistic(np.einsum("mb,hmu->hbu", basis, columns), best)
        else:
            self.weights = basis @ _solved(basis, *_equations(columns, best))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Two estimates of the prediction, ``(half, unit)``; of log-odds unbiased up to second order."""
        made = np.stack([self.weights @ column for column in self._columns(features)])
        return _chances(made) if self.loss == "log" else made

    def _columns(self, features: np.ndarray) -> np.ndarray:
        """``(half, monomial, unit)``."""
        return np.stack(
            [
                unbiased_monomials((features[:, half] - self._centre) / self._spread, self.degree)
                for half in range(features.shape[1])
            ]
        )


def split(values: np.ndarray) -> np.ndarray:
    """Two halves of draws, ``(…, half, draw, unit)``, of values ``(…, half, draw, unit)`` over halves of references.

    With several draws given the inputs each has references of its own, and a half is every other draw; with one, which
    the inputs determine, the halves are those of the references.
    """
    count = values.shape[-2] // 2
    if not count:
        return values
    each = values.mean(-3)[..., : 2 * count, :]
    return np.stack([each[..., 0::2, :], each[..., 1::2, :]], -3)


def monomials(values: np.ndarray, degree: int) -> np.ndarray:
    """Products of up to ``degree`` rows, the constant first: ``(monomial, unit)``."""
    return unbiased_monomials(values[:, None], degree)


def unbiased_monomials(draws: np.ndarray, degree: int) -> np.ndarray:
    """Products of up to ``degree`` means (three at most), from draws ``(feature, draw, unit)``: ``(monomial, unit)``.

    The mean over tuples of distinct draws; where there are fewer draws than factors, the product of means.

    >>> unbiased_monomials(np.array([[[1.0], [2.0], [4.0]]]), 3)[:, 0].round(9).tolist()  # (2 + 4 + 8) / 3, 1 · 2 · 4
    [1.0, 2.333333333, 4.666666667, 8.0]
    """
    count, mean = draws.shape[1], draws.mean(1)
    # of each draw's departure from the mean: sums of products then lose nothing where draws hardly differ
    apart = draws - mean[:, None]
    made = [np.ones(draws.shape[2])]
    second: dict[tuple[int, ...], np.ndarray] = {}
    for chosen in (
        c for power in range(1, degree + 1) for c in combinations_with_replacement(range(len(draws)), power)
    ):
        found = np.prod(mean[list(chosen)], 0)
        if len(chosen) == 2 and count > 1:
            second[chosen] = (apart[chosen[0]] * apart[chosen[1]]).sum(0) / (count * (count - 1))
            found = found - second[chosen]
        if len(chosen) == 3 and count > 2:
            a, b, c = chosen
            found = found - mean[a] * second[b, c] - mean[b] * second[a, c] - mean[c] * second[a, b]
            whole = (apart[a] * apart[b] * apart[c]).sum(0)
            found = found + 2 * whole / (count * (count - 1) * (count - 2))
        made.append(found)
    return np.array(made)


# -- private ---------------------------------------------------------------------------------------------------------


def _equations(columns: np.ndarray, best: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normal equations that join each half with the other: matrix and right-hand side."""
    cross = columns[0] @ columns[1].T
    return (cross + cross.T) / 2, (columns[0] @ best[1] + columns[1] @ best[0]) / 2


def _solved(basis: np.ndarray, matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.linalg.solve(basis.T @ matrix @ basis, basis.T @ right) if basis.shape[1] else np.zeros(0)


def _reliable(columns: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Directions ``(monomial, direction)`` that are linearly independent and reliable enough to be of use."""
    vectors, spread, _ = np.linalg.svd(columns.mean(0), full_matrices=False)
    kept = spread > 1e-9 * spread.max()
    white = vectors[:, kept] / spread[kept]
    # eigenvalues: 1 where the halves agree, 0 where they have nothing in common
    reliability, turned = np.linalg.eigh(white.T @ _equations(columns, best)[0] @ white)
    basis = white @ turned
    if reliability.min() > max(_LIMITS):
        return basis
    place = np.arange(columns.shape[2]) % _FOLDS
    parts = [_equations(columns[:, :, place == fold], best[:, place == fold]) for fold in range(_FOLDS)]
    parts = [(basis.T @ matrix @ basis, basis.T @ right) for matrix, right in parts]
    whole = sum(matrix for matrix, _ in parts), sum(right for _, right in parts)

    def lost(limit: float) -> float:
        some, total = reliability > limit, 0.0
        for matrix, right in parts:
            rest = (whole[0] - matrix)[np.ix_(some, some)]
            weights = np.linalg.lstsq(rest, (whole[1] - right)[some], rcond=None)[0]
            total += weights @ matrix[np.ix_(some, some)] @ weights - 2 * right[some] @ weights
        return float(total)

    return basis[:, reliability > min(_LIMITS, key=lost)]


def _chances(odds: np.ndarray) -> np.ndarray:
    """Logistic function of a mean known through two estimates ``(half, unit)``, less what their noise bends it by."""
    made = expit(odds)
    return made - made * (1 - made) * (1 - 2 * made) * (odds[0] - odds[1]) ** 2 / 4


def _logistic(columns: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """Weights of a logistic regression on probabilities, by Newton's method with a trace of ridge.

    One half's columns weigh the other half's residuals, ``columns`` being ``(half, column, unit)``.
    """
    weights, ridge = np.zeros(columns.shape[1]), 1e-6
    for _ in range(50):
        fitted = _chances(np.einsum("b,hbu->hu", weights, columns))
        slope = (columns * (chances - fitted)[::-1, None]).sum((0, 2)) / 2 - ridge * weights
        bent = expit(np.einsum("b,hbu->u", weights, columns) / 2)
        curve = (columns[0] * (bent * (1 - bent))) @ columns[1].T
        step = np.linalg.solve((curve + curve.T) / 2 + ridge * np.eye(len(weights)), slope)
        weights += step * min(1.0, 5.0 / (1e-12 + np.abs(np.einsum("b,hbu->hu", step, columns)).max()))
        if np.abs(step).max() < 1e-8 * (1 + np.abs(weights).max()):
            break
    return weights
