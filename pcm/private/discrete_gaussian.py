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

from dataclasses import dataclass
from typing import Any, ClassVar, final

from torch import Tensor

from pcm.couplings import DiscreteGaussian as Law
from pcm.private.noise import GaussianNoise
from pcm.private.sampler import accounting

__all__ = ["DiscreteGaussian"]


@final
@dataclass(frozen=True, init=False)
class DiscreteGaussian(GaussianNoise):
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

    @property
    def event(self) -> Any:
        """Zero-concentrated (dp-accounting has no event of its own for it)."""
        return accounting().ZCDpEvent(self.rho)

    def around(self, loc: Tensor) -> Any:
        """``DiscreteGaussian(loc, scale)``."""
        return Law(loc, self.scale)

    def _check_noise(self, asked: str) -> None:
        super()._check_noise(asked)
        self.around(Tensor([0.0]))  # the law's own limits on the scale
