"""The discrete Gaussian mechanism on whole numbers: ``P(noise = d) ∝ exp(-d² / (2 scale²))`` [1]_.

    ρ = (high - low)² / (2 scale²).

References
----------
.. [1] Canonne, Kamath, Steinke (2020). The discrete Gaussian for differential privacy. NeurIPS.

>>> mechanism = DiscreteGaussian(scale=2.0, bounds=(0, 4))
>>> mechanism.rho
2.0
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, final

from torch import Tensor

from pcm.couplings import DiscreteGaussian as Law
from pcm.private.additive import Additive
from pcm.private.checks import check_loss
from pcm.private.sampler import accounting

__all__ = ["DiscreteGaussian"]


@final
@dataclass(frozen=True, init=False)
class DiscreteGaussian(Additive):
    """Discrete Gaussian noise on a bounded whole number.

    Parameters
    ----------
    scale, rho : float
        One of the two; ``scale = (high - low) / sqrt(2 rho)``.
    bounds, clip, clamp, public
        As of :class:`pcm.private.Laplace`, in whole numbers.

    Raises
    ------
    ArgumentError
        A loss that is not positive and finite, bounds that are no plain whole numbers.

    Examples
    --------
    >>> round(DiscreteGaussian(scale=1.0, bounds=(0, 1)).probability(1, given=0), 6)
    0.241971
    """

    integer: ClassVar[bool] = True
    measure: ClassVar[str] = "zero_concentrated_divergence"
    metric: ClassVar[str] = "l2_distance"

    def __init__(
        self,
        scale: float | None = None,
        *,
        rho: float | None = None,
        bounds: tuple[int, int],
        clip: bool = False,
        clamp: tuple[int | None, int | None] | None = None,
        public: bool = False,
    ) -> None:
        name, number = check_loss("DiscreteGaussian", scale=scale, rho=rho)
        self._set(name, number, bounds, clip, clamp, public)
        self.around(Tensor([0.0]))  # the law's own limits on the scale

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
        """Zero-concentrated (dp-accounting has no event of its own for it)."""
        return accounting().ZCDpEvent(self.rho)

    def make(self, dp: Any) -> Any:
        """``make_gaussian`` on integers."""
        return dp.m.make_gaussian

    def around(self, loc: Tensor) -> Any:
        """``DiscreteGaussian(loc, scale)``."""
        return Law(loc, self.scale)
