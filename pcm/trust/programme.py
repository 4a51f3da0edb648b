"""The quadratic programme behind a price: the least risk among weights that meet linear equations.

``min_w wᵀΣw − 2 bᵀw   subject to   |Cw − d| ≤ t``. Without tolerance the stationary point of its Lagrangian is a linear
system; with it the dual is separable in its penalty and solved coordinate by coordinate. A multiplier is what a unit of
the right-hand side costs: the shadow price of that requirement.

>>> import numpy as np
>>> first = np.array([[[1.0, 0.0]]])
>>> weights, multipliers, met = least_risk(np.eye(2)[None], np.array([[2.0, 1.0]]), first, np.zeros((1, 1)))
>>> weights.round(9).tolist(), multipliers.round(9).tolist(), met.tolist()
([[0.0, 1.0]], [[4.0]], [True])
"""

from __future__ import annotations

import numpy as np

__all__ = ["SLACK", "least_risk", "solve_symmetric"]

#: Below this, relative to their size, numbers count as zero.
SLACK = 1e-9
_SWEEPS = 10_000


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
        free = solve_symmetric(covariance, towards)
        inverse = np.linalg.pinv(covariance, rcond=1e-11, hermitian=True)
        bridge = inverse @ rows.swapaxes(-1, -2)
        gram = rows @ bridge
        over = _apply(rows, free) - values
        multipliers = np.zeros((draws, equations))
        diagonal = np.maximum(np.einsum("dee->de", gram), 1e-300)
        for _ in range(_SWEEPS):
            before = multipliers.copy()
            for e in range(equations):
                rest = (
                    2 * over[:, e] - _apply(gram[:, e : e + 1], multipliers)[:, 0] + diagonal[:, e] * multipliers[:, e]
                )
                multipliers[:, e] = np.sign(rest) * np.maximum(np.abs(rest) - 2 * slack[e], 0) / diagonal[:, e]
            if np.abs(multipliers - before).max() <= 1e-13 * (1 + np.abs(multipliers).max()):
                break
        weights = free - _apply(bridge, multipliers) / 2
    left = np.abs(_apply(rows, weights) - values) - slack
    met = (left <= 1e-7 * (1 + np.abs(values).max(-1, keepdims=True))).all(-1)
    return weights, multipliers, met


def solve_symmetric(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Least-norm solution of ``matrix x = right`` for positive semi-definite matrices, a system a draw."""
    if not matrix.shape[-1]:
        return np.zeros_like(right)
    return _apply(np.linalg.pinv(matrix, rcond=1e-11, hermitian=True), right)


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
