"""The exponential mechanism over a finite set: ``P(out | in) ∝ exp(ε u(in, out) / (2 Δ))`` [1]_.

References
----------
.. [1] McSherry, Talwar (2007). Mechanism design via differential privacy. FOCS.

>>> near = Exponential(epsilon=2.0, categories=[0, 1, 2], utility=lambda true, answer: -abs(true - answer))
>>> near.matrix().round(4).tolist()
[[0.5065, 0.3072, 0.1863], [0.2741, 0.4519, 0.2741], [0.1863, 0.3072, 0.5065]]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from pcm.private.selection import Selection

__all__ = ["Exponential"]


@final
@dataclass(frozen=True, init=False)
class Exponential(Selection):
    """Exponential mechanism by a public utility.

    Parameters
    ----------
    epsilon : float
    categories : list of labels
        Inputs, in the order of the variable's codes.
    utility : array ``[in][out]``, or function of (in, out) labels
        Public; how good an answer is.
    candidates : list of labels, optional
        Outputs, where they are not the categories.
    public : bool
        Declare categories public that look computed.

    Raises
    ------
    ArgumentError
        An ε that is not positive and finite, a utility of the wrong shape or that ignores the true value.

    Notes
    -----
    OpenDP draws it by Gumbel noise, whose map is zero-concentrated: ``cost()`` is ``ρ = ε² / 8``.

    Examples
    --------
    >>> same = Exponential(epsilon=1.0, categories=["no", "yes"], utility=[[1, 0], [0, 1]])
    >>> round(same.probability("yes", given="yes"), 6)  # half the ε of randomised response
    0.622459
    """

    measure: ClassVar[str] = "zero_concentrated_divergence"

    @property
    def rho(self) -> float:
        """``ε² / 8``: the loss of a selection has a range of ε, not 2 ε."""
        return self.epsilon**2 / 8.0

    def matrix(self) -> np.ndarray:
        """Softmax of the scores."""
        return self._normalised(np.exp(self.scores))
