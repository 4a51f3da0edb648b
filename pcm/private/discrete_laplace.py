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
from pcm.private.additive import Additive
from pcm.private.checks import check_loss
from pcm.private.sampler import accounting

__all__ = ["DiscreteLaplace"]


@final
@dataclass(frozen=True, init=False)
class DiscreteLaplace(Additive):
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

    def __init__(
        self,
        scale: float | None = None,
        *,
        epsilon: float | None = None,
        bounds: tuple[int, int],
        clip: bool = False,
        clamp: tuple[int | None, int | None] | None = None,
        public: bool = False,
    ) -> None:
        name, number = check_loss("DiscreteLaplace", scale=scale, epsilon=epsilon)
        self._set(name, number, bounds, clip, clamp, public)

    @property
    def epsilon(self) -> float:
        """``(high - low) / scale``."""
        return self.width / self.scale

    @property
    def event(self) -> Any:
        """Discrete Laplace of sensitivity ``high - low``."""
        return accounting().DiscreteLaplaceDpEvent(1.0 / self.scale, int(self.width))

    def make(self, dp: Any) -> Any:
        """``make_laplace`` on integers."""
        return dp.m.make_laplace

    def around(self, loc: Tensor) -> Any:
        """``DiscreteLaplace(loc, scale)``."""
        return Law(loc, self.scale)
