"""Counts, monotone: Poisson, Binomial, Geometric, NegativeBinomial, GammaPoisson by the discrete quantile coupling.

The coupling is that of :mod:`pcm.couplings.integers`. The mean of a unit counterfactual needs no sum, because partial
means of these families are tails of a sibling: ``sum_{j <= m} j p(j)`` is the mean times ``F(m - 1)`` of
Poisson(rate), Binomial(n - 1, p), NegativeBinomial(r + 1, p).

>>> import torch
>>> from torch.distributions import Poisson
>>> coupling, two, three = PoissonCoupling(), Poisson(torch.tensor(2.0)), Poisson(torch.tensor(3.0))
>>> noise = coupling.abduct(two, torch.tensor(0.0), torch.tensor(0.5))
>>> coupling.push(two, noise).item(), coupling.push(three, noise).item()
(0.0, 1.0)
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, final

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from pcm.couplings import tail
from pcm.couplings.finite import constant_count
from pcm.couplings.integers import Integers
from pcm.couplings.parameters import compact, given_logits, logit
from pcm.couplings.special import (
    beta_tail,
    binomial_quantile,
    gamma_tail,
    negative_binomial_quantile,
    poisson_quantile,
)

__all__ = [
    "BinomialCoupling",
    "Counts",
    "GammaPoissonCoupling",
    "GeometricCoupling",
    "NegativeBinomialCoupling",
    "PoissonCoupling",
]


class Counts(Integers):
    """Quantile coupling of counts: integers from 0; a family adds its tail, its quantile, and its partial means."""

    def parameter(self, fn: Any) -> Tensor:
        """The parameter that was given; values have its dtype."""
        return fn.logits if given_logits(fn) else fn.probs


@final
class PoissonCoupling(Counts):
    """Poisson: ``F(k) = Q(k + 1, rate)``."""

    families = (torch.distributions.Poisson,)

    def parameter(self, fn: Any) -> Tensor:
        """``rate``."""
        return fn.rate

    def tail(self, fn: Any, value: Tensor) -> Tensor:
        """Tail of ``Q(value + 1, rate)``."""
        inside = -gamma_tail(compact(fn.rate), torch.clamp(value, min=0.0) + 1.0)
        return torch.where(value < 0, -torch.inf, inside)

    def quantile(self, fn: Any, at: Tensor) -> Tensor:
        """Smallest count by galloping search."""
        return poisson_quantile(at, compact(fn.rate))

    def partial_mean(self, fn: Any, low: Tensor, high: Tensor) -> Tensor:
        """``rate * P(low - 1 < X <= high - 1)``."""
        return compact(fn.rate) * tail.mass(self.tail(fn, low - 1.0), self.tail(fn, high - 1.0))


@final
class BinomialCoupling(Counts):
    """Binomial: ``F(k) = I_(1-p)(n - k, k + 1)``."""

    families = (torch.distributions.Binomial,)

    def tail(self, fn: Any, value: Tensor) -> Tensor:
        """Tail of ``I_(1-p)(n - value, value + 1)``."""
        return _binomial_tail(value, compact(fn.total_count), *_probabilities(fn))

    def quantile(self, fn: Any, at: Tensor) -> Tensor:
        """Smallest count by galloping search."""
        return binomial_quantile(at, compact(fn.total_count), *_probabilities(fn))

    def partial_mean(self, fn: Any, low: Tensor, high: Tensor) -> Tensor:
        """``n p * P(low - 1 < Y <= high - 1)`` with ``Y ~ Binomial(n - 1, p)``."""
        n, (p, q) = compact(fn.total_count), _probabilities(fn)
        return n * p * tail.mass(_binomial_tail(low - 1.0, n - 1, p, q), _binomial_tail(high - 1.0, n - 1, p, q))

    def cardinality(self, fn: Any) -> int | None:
        """``total_count + 1`` where it is one number."""
        count = constant_count(fn)
        return None if count is None else count + 1

    def transition(self, fn: Any, value: Tensor, other: Any) -> Tensor:
        """Overlaps of the factual interval with every outcome's."""
        return self._overlaps(self.tail(fn, value - 1.0), self.tail(fn, value), other)

    def transition_after(self, fn: Any, value: Tensor, middle: Any, at: Tensor, other: Any) -> Tensor:
        """Overlaps of what the intervals of two worlds share with every outcome's; (batch, category)."""
        low = torch.maximum(self.tail(fn, value - 1.0), self.tail(middle, at - 1.0))
        return self._overlaps(low, torch.minimum(self.tail(fn, value), self.tail(middle, at)), other)

    def _overlaps(self, low: Tensor, high: Tensor, other: Any) -> Tensor:
        """The share of each outcome's interval in the interval between two signed log tails; (batch, category)."""
        count = constant_count(other)
        if count is None:
            raise TypeError("a Binomial whose total_count differs between units has no table of transitions")
        outcome = torch.arange(count + 1, dtype=low.dtype, device=low.device)
        low, high = low.unsqueeze(-1), high.unsqueeze(-1)
        p, q = (each.unsqueeze(-1) for each in _probabilities(other))
        ends = _binomial_tail(outcome, torch.tensor(float(count), dtype=low.dtype), p, q)
        ends = ends.expand(torch.broadcast_shapes(ends.shape, (*low.shape[:-1], 1)))
        starts = torch.cat([torch.full_like(ends[..., :1], -torch.inf), ends[..., :-1]], -1)
        total = tail.mass(low, high)
        overlap = tail.mass(torch.maximum(low, starts), torch.minimum(high, ends))
        return overlap / torch.where(total > 0, total, 1.0)


class NegativeBinomials(Counts):
    """``F(k) = I_(1-p)(r, k + 1)``; a family says what its ``r``, ``p`` and ``1 - p`` are."""

    @abstractmethod
    def read(self, fn: Any) -> tuple[Tensor, Tensor, Tensor]:
        """``r``, ``p``, ``1 - p``; shape (batch), compact."""

    def tail(self, fn: Any, value: Tensor) -> Tensor:
        """Tail of ``I_(1-p)(r, value + 1)``."""
        return _negative_binomial_tail(value, *self.read(fn))

    def quantile(self, fn: Any, at: Tensor) -> Tensor:
        """Smallest count by galloping search."""
        return negative_binomial_quantile(at, *self.read(fn))

    def partial_mean(self, fn: Any, low: Tensor, high: Tensor) -> Tensor:
        """``r p / (1 - p) * P(low - 1 < Y <= high - 1)`` with ``Y ~ NegativeBinomial(r + 1, p)``."""
        r, p, q = self.read(fn)
        inside = tail.mass(
            _negative_binomial_tail(low - 1.0, r + 1, p, q), _negative_binomial_tail(high - 1.0, r + 1, p, q)
        )
        return r * p / q * inside


@final
class NegativeBinomialCoupling(NegativeBinomials):
    """Negative binomial: failures ``r = total_count``, ``p = probs``."""

    families = (torch.distributions.NegativeBinomial,)

    def read(self, fn: Any) -> tuple[Tensor, Tensor, Tensor]:
        """``total_count``, ``p``, ``1 - p``."""
        return compact(fn.total_count), *_probabilities(fn)


@final
class GammaPoissonCoupling(NegativeBinomials):
    """Gamma-Poisson: the negative binomial of ``r = concentration``, ``p = 1 / (1 + rate)``."""

    families = (dist.GammaPoisson,)

    def parameter(self, fn: Any) -> Tensor:
        """``rate``."""
        return fn.rate

    def read(self, fn: Any) -> tuple[Tensor, Tensor, Tensor]:
        """``concentration``, ``1 / (1 + rate)``, ``rate / (1 + rate)``."""
        rate = compact(fn.rate)
        return compact(fn.concentration), 1.0 / (1.0 + rate), rate / (1.0 + rate)


@final
class GeometricCoupling(Counts):
    """Geometric (failures before the first success): ``1 - F(k) = (1 - p)^(k + 1)``, all in closed form."""

    families = (torch.distributions.Geometric,)

    def tail(self, fn: Any, value: Tensor) -> Tensor:
        """Tail at survival ``exp(-(value + 1) hazard)``."""
        return tail.from_hazard((value + 1.0) * _hazard(fn))

    def quantile(self, fn: Any, at: Tensor) -> Tensor:
        """``ceil(hazard of the noise / hazard) - 1``, corrected for rounding."""
        step = _hazard(fn)
        guess = torch.clamp(torch.ceil(tail.hazard(at) / step) - 1.0, min=0.0)
        # rounding is off by one at most; T(k) decides, as it does in abduction
        guess = torch.where(tail.from_hazard(guess * step) >= at, guess - 1.0, guess)
        guess = torch.where(tail.from_hazard((guess + 1.0) * step) < at, guess + 1.0, guess)
        return torch.clamp(guess, min=0.0)

    def partial_mean(self, fn: Any, low: Tensor, high: Tensor) -> Tensor:
        """``(1 - p) / p * P(low - 1 < Y <= high - 1)`` with ``Y ~ NegativeBinomial(2, 1 - p)``."""
        p, q = _probabilities(fn)
        two = torch.full_like(p, 2.0)
        inside = tail.mass(
            _negative_binomial_tail(low - 1.0, two, q, p), _negative_binomial_tail(high - 1.0, two, q, p)
        )
        return q / p * inside


def _probabilities(fn: Any) -> tuple[Tensor, Tensor]:
    """``p`` and ``1 - p``, each accurate where it is small; shape (batch), compact."""
    if given_logits(fn):
        odds = compact(fn.logits)
        return torch.sigmoid(odds), torch.sigmoid(-odds)
    probs = compact(fn.probs)
    return probs, 1.0 - probs


def _hazard(fn: Any) -> Tensor:
    """``-log(1 - p)``; shape (batch), compact."""
    return -logsigmoid(-compact(logit(fn))) if given_logits(fn) else -torch.log1p(-compact(fn.probs))


def _binomial_tail(count: Tensor, n: Tensor, p: Tensor, q: Tensor) -> Tensor:
    inner = torch.minimum(torch.clamp(count, min=0.0), torch.clamp(n - 1.0, min=0.0))
    inside = beta_tail(q, p, torch.clamp(n - inner, min=1.0), inner + 1.0)
    return torch.where(count < 0, -torch.inf, torch.where(count >= n, torch.inf, inside))


def _negative_binomial_tail(count: Tensor, r: Tensor, p: Tensor, q: Tensor) -> Tensor:
    inside = beta_tail(q, p, torch.where(r > 0, r, 1.0), torch.clamp(count, min=0.0) + 1.0)
    return torch.where(count < 0, -torch.inf, torch.where(r > 0, inside, torch.inf))
