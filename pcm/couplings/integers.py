"""Laws on the integers, monotone: the discrete quantile coupling from a tail, a quantile and partial means.

``x`` is the smallest ``k`` with ``F(k) >= u``; the noise of an observed ``k`` is uniform on ``(F(k - 1), F(k)]``, kept
as a signed log tail. Unit counterfactuals are overlaps of such intervals,

    P(x' = j | x = k) = |(F(k-1), F(k)] ∩ (F'(j-1), F'(j)]| / |(F(k-1), F(k)]|,

and their mean is a difference of partial means ``sum_{j <= m} j p(j)``.

>>> import torch
>>> from torch.distributions import Poisson
>>> from pcm.couplings.counts import PoissonCoupling
>>> coupling, two, three = PoissonCoupling(), Poisson(torch.tensor(2.0)), Poisson(torch.tensor(3.0))
>>> round(coupling.expectation(two, torch.tensor(0.0), three).item(), 6)
0.632121
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from pcm.couplings import tail
from pcm.couplings.coupling import Coupling

__all__ = ["Integers"]


class Integers(Coupling):
    """Quantile coupling of integers; a family adds its tail, its quantile, and its partial means."""

    name: ClassVar[str] = "monotone"
    discrete: ClassVar[bool] = True

    @abstractmethod
    def tail(self, fn: Any, value: Tensor) -> Tensor:
        """Signed log tail of ``P(X <= value)``, ``-inf`` below the support; the broadcast shape."""

    @abstractmethod
    def quantile(self, fn: Any, at: Tensor) -> Tensor:
        """Smallest integer whose tail is at least ``at``; the broadcast shape."""

    @abstractmethod
    def partial_mean(self, fn: Any, low: Tensor, high: Tensor) -> Tensor:
        """``sum of j P(X = j) over low < j <= high``; the broadcast shape."""

    @abstractmethod
    def parameter(self, fn: Any) -> Tensor:
        """A parameter; values have its dtype."""

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """Smallest integer whose tail is at least the noise."""
        return self.quantile(fn, noise).to(self.parameter(fn).dtype)

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """The noise at a fraction ``uniform`` of the interval of ``value``."""
        if uniform is None:
            raise TypeError("abducting an integer needs `uniform`: many noises give the same value")
        return tail.between(self.tail(fn, value - 1.0), self.tail(fn, value), uniform)

    def fresh(self, fn: Any, uniform: Tensor) -> Tensor:
        """Tail of the uniform."""
        return tail.from_uniform(uniform)

    def probability(self, fn: Any, value: Tensor, other: Any, outcome: Tensor) -> Tensor:
        """Overlap of the two intervals of noise, as a share of the factual one; the broadcast shape."""
        low, high = self.tail(fn, value - 1.0), self.tail(fn, value)
        start, end = self.tail(other, outcome - 1.0), self.tail(other, outcome)
        return tail.mass(torch.maximum(low, start), torch.minimum(high, end)) / tail.mass(low, high)

    def expectation(self, fn: Any, value: Tensor, other: Any) -> Tensor:
        """``E[x' | x = value]``, exact; the broadcast shape."""
        low, high = self.tail(fn, value - 1.0), self.tail(fn, value)
        first = self.quantile(other, torch.nextafter(low, torch.full_like(low, torch.inf)))
        last = self.quantile(other, high)
        # the two end values are reached in part, those strictly between them wholly
        ends = first * tail.mass(low, torch.minimum(self.tail(other, first), high))
        ends = ends + last * tail.mass(torch.maximum(self.tail(other, last - 1.0), low), high)
        mean = (ends + self.partial_mean(other, first, last - 1.0)) / tail.mass(low, high)
        return torch.where(first == last, first, torch.clamp(mean, min=first, max=last))
