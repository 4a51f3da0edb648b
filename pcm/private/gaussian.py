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

import math
from dataclasses import dataclass
from typing import Any, ClassVar, final

import pyro.distributions as dist
from torch import Tensor

from pcm.private.additive import Additive
from pcm.private.checks import check_loss
from pcm.private.sampler import accounting

__all__ = ["Gaussian"]


@final
@dataclass(frozen=True, init=False)
class Gaussian(Additive):
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
    measure: ClassVar[str] = "zero_concentrated_divergence"
    metric: ClassVar[str] = "l2_distance"

    def __init__(
        self,
        scale: float | None = None,
        *,
        rho: float | None = None,
        bounds: tuple[float, float],
        clip: bool = False,
        clamp: tuple[float | None, float | None] | None = None,
        public: bool = False,
    ) -> None:
        name, number = check_loss("Gaussian", scale=scale, rho=rho)
        self._set(name, number, bounds, clip, clamp, public)

    @property
    def epsilon(self) -> float:
        """Infinite."""
        return math.inf

    @property
    def rho(self) -> float:
        """``(high - low)² / (2 scale²)``."""
        return 0.5 * (self.width / self.scale) ** 2

    @property
    def event(self) -> Any:
        """Gaussian, its scale in units of the width."""
        return accounting().GaussianDpEvent(self.scale / self.width)

    def make(self, dp: Any) -> Any:
        """``make_gaussian`` on floats."""
        return dp.m.make_gaussian

    def around(self, loc: Tensor) -> Any:
        """``Normal(loc, scale)``."""
        return dist.Normal(loc, self.scale)
