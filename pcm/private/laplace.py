"""The Laplace mechanism: ``answer = value + Laplace(scale)``, with ``ε = (high - low) / scale`` [1]_.

References
----------
.. [1] Dwork, McSherry, Nissim, Smith (2006). Calibrating noise to sensitivity in private data analysis. TCC.

>>> mechanism = Laplace(epsilon=0.5, bounds=(0.0, 10.0))
>>> mechanism.scale, mechanism.epsilon
(20.0, 0.5)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import pyro.distributions as dist
from torch import Tensor

from pcm.private.noise import LaplaceNoise
from pcm.private.sampler import accounting

__all__ = ["Laplace"]


@final
@dataclass(frozen=True, init=False)
class Laplace(LaplaceNoise):
    """Laplace noise on a bounded number.

    Parameters
    ----------
    scale, epsilon : float
        One of the two; ``scale = (high - low) / epsilon``.
    bounds : tuple of number
        Public bounds ``(low, high)`` of the input.
    clip : bool
        Move inputs beyond the bounds to them; else they are refused.
    clamp : tuple, optional
        Move answers beyond these ends to them; either may be None.
    public : bool
        Declare bounds public that look computed.

    Raises
    ------
    ArgumentError
        A loss that is not positive and finite, bounds that are no plain numbers.

    Examples
    --------
    >>> Laplace(scale=1.0, bounds=(0, 1), clamp=(0, 1)).probability(0, given=0)
    0.5
    """

    discrete: ClassVar[bool] = False

    @property
    def event(self) -> Any:
        """Laplace, its scale in units of the width."""
        return accounting().LaplaceDpEvent(self.scale / self.width)

    def around(self, loc: Tensor) -> Any:
        """``Laplace(loc, scale)``."""
        return dist.Laplace(loc, self.scale)
