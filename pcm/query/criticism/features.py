"""What a test looks at: smooth functions of a variable's ranks, or of its categories, bounded and orthonormal.

A continuous variable enters by the Legendre polynomials of its ranks, so that no outlier has leverage and no scale
matters; one with few values by an indicator of each,

    psi_j(u) = sqrt(2 j + 1) P_j(2 u - 1),   u in (0, 1),

orthonormal under the uniform law. Columns come centred, with mean square one, the most linear first.

>>> import numpy as np
>>> columns = smooth(np.random.default_rng(0).normal(size=500), 3)
>>> bool(np.allclose(columns.T @ columns / 500, np.eye(3)))
True
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

__all__ = ["FEW_VALUES", "interaction", "legendre", "levels_of", "normal_scores", "orthonormal", "ranks", "smooth"]

#: A variable with at most this many different values enters by an indicator of each.
FEW_VALUES = 8
#: Units that a value needs to have an indicator of its own.
FEW_UNITS = 10
#: Indicators of a variable with very many categories.
MOST_LEVELS = 12


def legendre(u: np.ndarray, degree: int) -> np.ndarray:
    """``psi_1(u) … psi_degree(u)`` along a new last axis."""
    x = 2.0 * u - 1.0
    before, now = np.ones_like(x), x
    found = [now]
    for order in range(1, degree):
        before, now = now, ((2 * order + 1) * x * now - order * before) / (order + 1)
        found.append(now)
    return np.stack(found, -1) * np.sqrt(2.0 * np.arange(1, degree + 1) + 1.0)


def ranks(column: np.ndarray) -> np.ndarray:
    """Mid-ranks in (0, 1), ``[unit]``."""
    return (rankdata(column) - 0.5) / len(column)


def normal_scores(column: np.ndarray) -> np.ndarray:
    """The first two Hermite polynomials of the normal scores of a column, ``[unit, 2]``.

    Of jointly normal variables these are linear and quadratic functions of the variables themselves.
    """
    score = ndtri(ranks(column))
    return np.stack([score, (score * score - 1.0) / np.sqrt(2.0)], 1)


def levels_of(column: np.ndarray, categorical: bool) -> np.ndarray | None:
    """The values that get an indicator (all but the most frequent one), or None where the variable is smooth."""
    values, counts = np.unique(column, return_counts=True)
    if not categorical and len(values) > FEW_VALUES:
        return None
    order = np.argsort(-counts, kind="stable")[1:MOST_LEVELS]
    return np.sort(values[order[counts[order] >= FEW_UNITS]])


def smooth(column: np.ndarray, degree: int, categorical: bool = False) -> np.ndarray:
    """Orthonormal functions of one column, ``[unit, function]``; none where it does not vary.

    Parameters
    ----------
    column : numpy.ndarray, shape (unit,)
    degree : int
        Number of polynomials of a continuous variable.
    categorical : bool
        Whether its numbers are codes without an order.
    """
    levels = levels_of(column, categorical)
    if levels is None:
        return orthonormal(legendre(ranks(column), degree))
    marks = (column[:, None] == levels).astype(float)
    if not categorical and len(levels) > 1:
        marks = np.concatenate([column[:, None].astype(float), marks], 1)
    return orthonormal(marks)


def orthonormal(columns: np.ndarray, beyond: Sequence[np.ndarray] = ()) -> np.ndarray:
    """Columns centred, made orthogonal to those of ``beyond`` and to each other in their order, mean square one."""
    units = len(columns)
    found = columns - columns.mean(0)
    size = np.sqrt((found**2).mean(0))
    found = found[:, size > 1e-9 * (1.0 + np.abs(columns).max(initial=0.0))]
    if not found.shape[1]:
        return found
    found = found / np.sqrt((found**2).mean(0))
    if beyond:
        known = np.linalg.qr(np.concatenate(beyond, 1))[0]
        found = found - known @ (known.T @ found)
        found = found[:, (found**2).mean(0) > 1e-3]
        if not found.shape[1]:
            return found
    q, r = np.linalg.qr(found)
    pivots = np.abs(np.diagonal(r)) / np.sqrt(units)
    return (q * np.sign(np.diagonal(r)))[:, pivots > 1e-3] * np.sqrt(units)


def interaction(first: np.ndarray, second: np.ndarray, most: int = 2) -> np.ndarray:
    """Products of the first functions of two variables, beyond both variables' own functions, ``[unit, product]``."""
    products = first[:, :most, None] * second[:, None, :most]
    return orthonormal(products.reshape(len(first), -1), (first, second))
