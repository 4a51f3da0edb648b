r"""The matched predictor: least squared risk of a linear prediction whose average responses are the target's.

    minimise ‖y - V w‖²  subject to  D w = t,

``V`` the inputs with a column of ones, ``D`` how each input responds to each source, ``t`` how the target does: the
programme of :mod:`pcm.requirement.programme`. Weights have the Gaussian posterior of least squares, restricted to the
constraint.

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> v = rng.normal(size=(100_000, 2))
>>> y = v @ [1.0, 2.0] + 0.1 * rng.normal(size=100_000)
>>> weights, _, _ = constrained(v, y, np.array([[0.0, 1.0, 1.0]]), np.array([0.0]))
>>> (weights.round(1) + 0.0).tolist()
[0.0, -0.5, 0.5]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pcm.errors import QueryError
from pcm.predict.families.family import Array, Fitted, Members, by_member, checked, gaussian_atoms
from pcm.predict.families.linear import balanced, with_ones
from pcm.predict.response import Response
from pcm.requirement.programme import least_risk

__all__ = ["constrained", "fit_matched"]


def fit_matched(
    design: Array,
    outcome: Array,
    effects: Sequence[Response],
    read: Callable[[pd.DataFrame], Array],
    seed: int,
) -> Fitted:
    """The matched predictor on rows ``design``; ``read`` makes such rows of the sources' units."""
    design, outcome = checked(design, outcome, None, least=3)
    change = np.array([(read(each.high) - read(each.low)).mean(0) for each in effects]).reshape(-1, design.shape[1])
    pinned = np.array([float(each.of_target) for each in effects])
    weights, factor, sd = constrained(design, outcome, np.pad(change, ((0, 0), (1, 0))), pinned)
    return _MatchedFit(weights, factor, sd, seed)


def constrained(design: Array, outcome: Array, change: Array, pinned: Array) -> tuple[Array, Array, float]:
    """Weights (intercept first), a factor of their covariance, and the noise's sd.

    Raises
    ------
    QueryError
        No weights meet the constraints.
    """
    v = with_ones(design)
    gram, towards = v.T @ v / len(v), v.T @ outcome / len(v)
    found, _, met = least_risk(gram[None], towards[None], change[None], pinned[None])
    weights, inverse = found[0], np.linalg.pinv(v.T @ v, hermitian=True)
    if len(pinned):
        inner = np.linalg.pinv(change @ inverse @ change.T, hermitian=True, rcond=1e-10)
        if not met[0]:
            raise QueryError(
                "no linear prediction from these inputs responds to the sources as the target does: none of them "
                "carries the change. Take target='faithful', and see gaps()."
            )
        inverse = inverse - inverse @ change.T @ inner @ change @ inverse
    left = outcome - v @ weights
    sd = float(np.sqrt(left @ left / max(len(v) - v.shape[1] + len(pinned), 1)))
    eigenvalues, vectors = np.linalg.eigh((inverse + inverse.T) / 2)
    return weights, sd * vectors * np.sqrt(np.maximum(eigenvalues, 0.0)), sd


@dataclass(frozen=True)
class _MatchedFit(Fitted):
    weights: Array
    factor: Array
    sd: float
    seed: int

    def members(self, x: Array, count: int) -> Members:
        weights = self.weights + balanced(self.seed, count, len(self.weights)) @ self.factor.T
        return Members(np.matmul(with_ones(by_member(x, count)), weights[:, :, None])[..., 0], gaussian_atoms(self.sd))
