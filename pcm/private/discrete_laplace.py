"""The discrete Laplace (geometric) mechanism on whole numbers: ``P(noise = d) ∝ e^(-|d| / scale)`` [1]_.

    ε = (high - low) / scale.

References
----------
.. [1] Ghosh, Roughgarden, Sundararajan (2009). Universally utility-maximizing privacy mechanisms. STOC.

>>> mechanism = DiscreteLaplace(scale=2.0, bounds=(0, 4))
>>> mechanism.epsilon
2.0
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

from torch import Tensor

from pcm.couplings import DiscreteLaplace as Law
from pcm.private.noise import LaplaceNoise
from pcm.private.sampler import accounting

__all__ = ["DiscreteLaplace"]


@final
@dataclass(frozen=True, init=False)
class DiscreteLaplace(LaplaceNoise):
    """Discrete Laplace noise on a bounded whole number.

    Parameters
    ----------
    scale, epsilon : float
        One of the two; ``scale = (high - low) / epsilon``.
    bounds, clip, clamp, public
        As of :class:`pcm.private.Laplace`, in whole numbers.

    Raises
    ------
    ArgumentError
        A loss that is not positive and finite, bounds that are no plain whole numbers.

    Examples
    --------
    >>> DiscreteLaplace(epsilon=1.0, bounds=(0, 1), clamp=(0, 1)).matrix().round(4).tolist()
    [[0.7311, 0.2689], [0.2689, 0.7311]]
    """

    integer: ClassVar[bool] = True

    @property
    def event(self) -> Any:
        """Discrete Laplace of sensitivity ``high - low``."""
        return accounting().DiscreteLaplaceDpEvent(1.0 / self.scale, int(self.width))

    def around(self, loc: Tensor) -> Any:
        """``DiscreteLaplace(loc, scale)``."""
        return Law(loc, self.scale)
