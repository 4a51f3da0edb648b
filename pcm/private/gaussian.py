"""The Gaussian mechanism: ``answer = value + N(0, scale²)``, with ``ρ = (high - low)² / (2 scale²)`` [1]_.

Its guarantee is zero-concentrated: no pure ε; a ledger converts it at its δ.

References
----------
.. [1] Bun, Steinke (2016). Concentrated differential privacy. TCC.

>>> mechanism = Gaussian(rho=0.5, bounds=(0.0, 10.0))
>>> mechanism.scale, mechanism.rho, mechanism.epsilon
(10.0, 0.5, inf)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import pyro.distributions as dist
from torch import Tensor

from pcm.private.noise import GaussianNoise
from pcm.private.sampler import accounting

__all__ = ["Gaussian"]


@final
@dataclass(frozen=True, init=False)
class Gaussian(GaussianNoise):
    """Normal noise on a bounded number.

    Parameters
    ----------
    scale, rho : float
        One of the two; ``scale = (high - low) / sqrt(2 rho)``.
    bounds, clip, clamp, public
        As of :class:`pcm.private.Laplace`.

    Raises
    ------
    ArgumentError
        A loss that is not positive and finite, bounds that are no plain numbers.

    Examples
    --------
    >>> round(Gaussian(scale=1.0, bounds=(0, 1)).probability(0.0, given=0), 6)
    0.398942
    """

    discrete: ClassVar[bool] = False

    @property
    def event(self) -> Any:
        """Gaussian, its scale in units of the width."""
        return accounting().GaussianDpEvent(self.scale / self.width)

    def around(self, loc: Tensor) -> Any:
        """``Normal(loc, scale)``."""
        return dist.Normal(loc, self.scale)
