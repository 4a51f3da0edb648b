"""Bernoulli, monotone: ``x = 1`` where the quantile noise exceeds ``1 - p``.

The unit counterfactual has a closed form, with ``l`` and ``l'`` the log odds and ``s = 2x - 1``:

    P(x' = x | x) = min(1, sigmoid(s l') / sigmoid(s l)),

and changing has probability ``sigmoid(-s l') * (1 - exp(-max(0, s (l - l'))))``, accurate however small.

>>> import torch
>>> from torch.distributions import Bernoulli
>>> b, c = Bernoulli(torch.tensor(0.5)), Bernoulli(torch.tensor(0.4))
>>> round(BernoulliCoupling().probability(b, torch.tensor(1.0), c, torch.tensor(1.0)).item(), 6)
0.8
"""

from __future__ import annotations

from typing import Any, ClassVar, final

import torch
from torch import Tensor

from pcm.couplings import tail
from pcm.couplings.coupling import Coupling
from pcm.couplings.parameters import compact, given_logits, logit

__all__ = ["BernoulliCoupling"]


@final
class BernoulliCoupling(Coupling):
    """Quantile coupling of two outcomes; noise is a signed log tail shaped like the value."""

    name: ClassVar[str] = "monotone"
    families = (torch.distributions.Bernoulli,)
    discrete: ClassVar[bool] = True

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """``1`` where the noise exceeds the tail of ``P(x = 0)``."""
        threshold = _threshold(fn)
        return (noise > threshold).to(threshold.dtype)

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """The noise at a fraction ``uniform`` of the interval of ``value``."""
        if uniform is None:
            raise TypeError("abducting a Bernoulli needs `uniform`: many noises give the same value")
        threshold, one = _threshold(fn), value > 0.5
        low = torch.where(one, threshold, -torch.inf)
        high = torch.where(one, torch.inf, threshold)
        return tail.between(low, high, uniform)

    def fresh(self, fn: Any, uniform: Tensor) -> Tensor:
        """Tail of the uniform."""
        return tail.from_uniform(uniform)

    def cardinality(self, fn: Any) -> int | None:
        """2."""
        return 2

    def transition(self, fn: Any, value: Tensor, other: Any) -> Tensor:
        """``P(x' = 0 | x)`` and ``P(x' = 1 | x)``; (batch, 2)."""
        one = self.expectation(fn, value, other)
        return torch.stack([1.0 - one, one], -1)

    def probability(self, fn: Any, value: Tensor, other: Any, outcome: Tensor) -> Tensor:
        """``P(x' = outcome | x = value)``; the broadcast shape."""
        one = self.expectation(fn, value, other)
        return torch.where(outcome > 0.5, one, 1.0 - one)

    def expectation(self, fn: Any, value: Tensor, other: Any) -> Tensor:
        """``P(x' = 1 | x = value)``; shape of the value."""
        if not given_logits(fn) and not given_logits(other):
            p, q = compact(fn.probs), compact(other.probs)
            # x = 1: min(p, p') / p;  x = 0: max(p' - p, 0) / (1 - p)
            stay = torch.minimum(p, q) / p
            gain = torch.clamp(q - p, min=0.0) / (1.0 - p)
            return torch.where(value > 0.5, stay, gain)
        old, new = compact(logit(fn)), compact(logit(other))
        # the floor only keeps 0 / 0 away where both probabilities underflow
        p, q = torch.sigmoid(torch.clamp(old, min=-700.0)), torch.sigmoid(torch.clamp(new, min=-700.0))
        stay = torch.clamp(q / p, max=1.0)
        gain = q * -torch.expm1(torch.clamp(old - new, max=0.0))
        return torch.where(value > 0.5, stay, gain)


def _threshold(fn: Any) -> Tensor:
    """Signed log tail of ``P(x = 0)``; shape (batch)."""
    if given_logits(fn):
        return tail.from_logit(-compact(fn.logits))
    probs = compact(fn.probs)
    return tail.from_probabilities(1.0 - probs, probs)
