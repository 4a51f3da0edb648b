"""The quadratic programme behind a price: the least risk among weights that meet linear equations.

``min_w wᵀΣw − 2 bᵀw   subject to   |Cw − d| ≤ t``. Without tolerance the stationary point of its Lagrangian is a linear
system; with it, from the free optimum, the shortest way into a polytope: non-negative least squares (Lawson & Hanson
1974, chapter 23). A multiplier is what a unit of the right-hand side costs: the shadow price of that requirement.

>>> import numpy as np
>>> first = np.array([[[1.0, 0.0]]])
>>> weights, multipliers, met = least_risk(np.eye(2)[None], np.array([[2.0, 1.0]]), first, np.zeros((1, 1)))
>>> weights.round(9).tolist(), multipliers.round(9).tolist(), met.tolist()
([[0.0, 1.0]], [[4.0]], [True])
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

__all__ = ["SLACK", "least_risk", "solve_symmetric"]

#: Below this, relative to their size, numbers count as zero.
SLACK = 1e-9


def least_risk(
    covariance: np.ndarray,
    towards: np.ndarray,
    rows: np.ndarray,
    values: np.ndarray,
    tolerance: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Best weights under linear equations, a programme a draw.

    Parameters
    ----------
    covariance : numpy.ndarray (draw, input, input)
    towards : numpy.ndarray (draw, input)
        Covariance of the inputs with what is predicted.
    rows, values : numpy.ndarray (draw, equation, input) and (draw, equation)
    tolerance : numpy.ndarray (equation,), optional

    Returns
    -------
    weights : numpy.ndarray (draw, input)
    multipliers : numpy.ndarray (draw, equation)
        Decrease of the least risk a unit by which the right-hand side moves towards the free optimum.
    met : numpy.ndarray (draw,)
        Whether the equations can be met at all.
    """
    draws, equations = rows.shape[:2]
    slack = np.zeros(equations) if tolerance is None else tolerance
    if not equations:
        return solve_symmetric(covariance, towards), np.zeros((draws, 0)), np.ones(draws, bool)
    if not slack.any():
        weights, multipliers = _stationary(covariance, towards, rows, values)
    else:
        weights, multipliers = _shortest(covariance, towards, rows, values, slack)
    left = np.abs(_apply(rows, weights) - values) - slack
    met = (left <= 1e-7 * (1 + np.abs(values).max(-1, keepdims=True))).all(-1)
    return weights, multipliers, met


def solve_symmetric(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Least-norm solution of ``matrix x = right`` for positive semi-definite matrices, a system a draw."""
    if not matrix.shape[-1]:
        return np.zeros_like(right)
    return _apply(np.linalg.pinv(matrix, rcond=1e-11, hermitian=True), right)


def _shortest(
    covariance: np.ndarray, towards: np.ndarray, rows: np.ndarray, values: np.ndarray, slack: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The least distance ``(w − w₀)ᵀΣ(w − w₀)`` from the free optimum within the tolerances."""
    free = solve_symmetric(covariance, towards)
    weights, multipliers = free.copy(), np.zeros(values.shape)
    eigenvalues, vectors = np.linalg.eigh(covariance)
    for draw, each in enumerate(eigenvalues):
        kept = each > 1e-11 * max(each.max(initial=0.0), 1e-300)
        bridge = vectors[draw][:, kept] / np.sqrt(each[kept])  # w = w₀ + bridge x
        over = rows[draw] @ free[draw] - values[draw]
        sides = np.concatenate([rows[draw] @ bridge, -rows[draw] @ bridge])
        least = np.concatenate([-over - slack, over - slack])
        system = np.vstack([sides.T, least])
        found, _ = nnls(system, np.eye(len(system))[-1], maxiter=100 * len(least))
        left = system @ found - np.eye(len(system))[-1]
        if left[-1] > -1e-12:
            continue  # no weights meet them
        weights[draw] += bridge @ (left[:-1] / -left[-1])
        pushed = 2 * found / -left[-1]
        multipliers[draw] = pushed[len(over) :] - pushed[: len(over)]
    return weights, multipliers


def _stationary(
    covariance: np.ndarray, towards: np.ndarray, rows: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    draws, equations, inputs = rows.shape
    size = inputs + equations
    system = np.zeros((draws, size, size))
    system[:, :inputs, :inputs] = 2 * covariance
    system[:, :inputs, inputs:] = rows.swapaxes(-1, -2)
    system[:, inputs:, :inputs] = rows
    solved = _apply(np.linalg.pinv(system, rcond=1e-12), np.concatenate([2 * towards, values], -1))
    return solved[:, :inputs], solved[:, inputs:]


def _apply(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    return (matrix @ vector[..., None])[..., 0]
