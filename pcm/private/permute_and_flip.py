"""Permute-and-flip over a finite set [1]_: candidates in random order, each taken with chance ``e^(ε (u - u*) / 2Δ)``.

Never worse than the exponential mechanism. A candidate is reached when those before it were refused; with arrival
times uniform on (0, 1) and ``q`` that chance,

    P(r | in) = q_r ∫₀¹ ∏_{s ≠ r} (1 - t q_s) dt,

a polynomial in t, integrated exactly by Gauss and Legendre's rule.

References
----------
.. [1] McKenna, Sheldon (2020). Permute-and-flip: a new mechanism for differentially private selection. NeurIPS.

>>> near = PermuteAndFlip(epsilon=2.0, categories=[0, 1, 2], utility=lambda true, answer: -abs(true - answer))
>>> near.matrix().round(4).tolist()
[[0.5872, 0.2661, 0.1468], [0.242, 0.5161, 0.242], [0.1468, 0.2661, 0.5872]]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from pcm.private.selection import Selection

__all__ = ["PermuteAndFlip"]


@final
@dataclass(frozen=True, init=False)
class PermuteAndFlip(Selection):
    """Permute-and-flip by a public utility; parameters as for :class:`pcm.private.Exponential`.

    Raises
    ------
    ArgumentError
        An ε that is not positive and finite, a utility of the wrong shape or that ignores the true value.

    Examples
    --------
    >>> same = PermuteAndFlip(epsilon=1.0, categories=["no", "yes"], utility=[[1, 0], [0, 1]])
    >>> round(same.probability("yes", given="yes"), 6)
    0.696735
    """

    measure: ClassVar[str] = "max_divergence"

    def matrix(self) -> np.ndarray:
        """By quadrature, exact for polynomials of this degree."""
        chance = np.exp(self.scores)
        count = chance.shape[1]
        nodes, weights = np.polynomial.legendre.leggauss(count // 2 + 1)
        times, weights = 0.5 * (nodes + 1.0), 0.5 * weights
        refused = 1.0 - times[:, None, None] * chance  # [node, in, out]
        others = np.stack([np.delete(refused, out, axis=2).prod(2) for out in range(count)], -1)
        return self._normalised(chance * np.einsum("n,nio->io", weights, others))
