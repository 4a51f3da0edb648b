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

import math
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from pcm.couplings import tail
from pcm.couplings.coupling import Coupling
from pcm.couplings.parameters import compact, concrete, given_logits, logit, plain

__all__ = ["BernoulliCoupling"]

_MANY = 10_000  # values from which passes cost more than calls


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
        return tail.between(*_interval(fn, value), uniform)

    def fresh(self, fn: Any, uniform: Tensor) -> Tensor:
        """Tail of the uniform."""
        return tail.from_uniform(uniform)

    def cardinality(self, fn: Any) -> int | None:
        """2."""
        return 2

    def transition(self, fn: Any, value: Tensor, other: Any) -> Tensor:
        """``P(x' = 0 | x)`` and ``P(x' = 1 | x)``, each accurate where it is small; (batch, 2)."""
        return torch.stack([_reach_zero(fn, value, other), _reach_one(fn, value, other)], -1)

    def transition_after(self, fn: Any, value: Tensor, middle: Any, at: Tensor, other: Any) -> Tensor:
        """What the noises of two worlds' values share, below and above the third's threshold; (batch, 2)."""
        (low, high), (least, most) = _interval(fn, value), _interval(middle, at)
        low, high, threshold = torch.maximum(low, least), torch.minimum(high, most), _threshold(other)
        zero = tail.mass(low, torch.minimum(high, threshold))
        one = tail.mass(torch.maximum(low, threshold), high)
        total = zero + one
        return torch.stack([zero, one], -1) / torch.where(total > 0, total, 1.0).unsqueeze(-1)

    def probability(self, fn: Any, value: Tensor, other: Any, outcome: Tensor) -> Tensor:
        """``P(x' = outcome | x = value)``; the broadcast shape."""
        if outcome.dim() == 0 and concrete(outcome):
            return (_reach_one if outcome.item() > 0.5 else _reach_zero)(fn, value, other)
        return _choose(outcome, _reach_zero(fn, value, other), _reach_one(fn, value, other))

    def expectation(self, fn: Any, value: Tensor, other: Any) -> Tensor:
        """``P(x' = 1 | x = value)``; shape of the value."""
        return _reach_one(fn, value, other)


def _reach_one(fn: Any, value: Tensor, other: Any) -> Tensor:
    if given_logits(fn) or given_logits(other):
        return _by_odds(value, compact(logit(fn)), compact(logit(other)))
    return _by_probabilities(value, compact(fn.probs), compact(other.probs))


def _reach_zero(fn: Any, value: Tensor, other: Any) -> Tensor:
    """The same with the outcomes' names exchanged; ``1 - _reach_one`` would lose a small probability."""
    if given_logits(fn) or given_logits(other):
        return _by_odds(1.0 - value, -compact(logit(fn)), -compact(logit(other)))
    return _by_probabilities(1.0 - value, 1.0 - compact(fn.probs), 1.0 - compact(other.probs))


def _by_probabilities(value: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """``min(p, p') / p`` of a 1, ``max(p' - p, 0) / (1 - p)`` of a 0."""
    tiny = torch.finfo(p.dtype).tiny  # 0 / 0 where the value had probability 0
    stay = torch.minimum(p, q) / torch.clamp(p, min=tiny)
    gain = torch.clamp(q - p, min=0.0) / torch.clamp(1.0 - p, min=tiny)
    return _choose(value, gain, stay)


def _by_odds(value: Tensor, old: Tensor, new: Tensor) -> Tensor:
    """``min(1, sigmoid(l') / sigmoid(l))`` of a 1, ``sigmoid(l') (1 - e^-max(0, l' - l))`` of a 0."""
    if value.numel() > _MANY and value.dtype == old.dtype == new.dtype and old.shape == new.shape and plain():
        found = _by_odds_in_place(value, old, new)
        if math.isfinite(float(found.sum())):
            return found
    # the limits keep inf - inf and 0 / 0 away, where probabilities underflow
    old, new = torch.clamp(old, -700.0, 700.0), torch.clamp(new, -700.0, 700.0)
    # in place on buffers made here: fresh pages cost more than the arithmetic
    gain = _limited(new - old, least=0.0).neg_().expm1_()
    q = new.sigmoid_()
    stay = _limited(q / old.sigmoid_(), most=1.0)
    return _choose(value, (q * gain).neg_(), stay)


def _by_odds_in_place(value: Tensor, old: Tensor, new: Tensor) -> Tensor:
    """``P(stay) = min(1, sigmoid(s l') / sigmoid(s l))`` in the fewest passes; exact to 1e-16, not relatively so."""
    sign = value.mul(2.0).sub_(1.0)
    stay = torch.mul(sign, new).sigmoid_().div_(sign.mul_(old).sigmoid_()).clamp_(max=1.0)
    return torch.sub(1.0, stay, out=sign).lerp_(stay, value)


def _limited(tensor: Tensor, least: float | None = None, most: float | None = None) -> Tensor:
    """Clamped, in place where that can be (``clamp_`` has no batching rule)."""
    return tensor.clamp_(least, most) if plain() else tensor.clamp(least, most)


def _choose(value: Tensor, zero: Tensor, one: Tensor) -> Tensor:
    """``one`` where the value is 1, else ``zero``; a third of the time of ``torch.where`` with its comparison."""
    return torch.lerp(zero, one, value.to(zero.dtype))


def _interval(fn: Any, value: Tensor) -> tuple[Tensor, Tensor]:
    """Signed log tails between which the noise of each value lies; (batch)."""
    threshold, one = _threshold(fn), value > 0.5
    return torch.where(one, threshold, -torch.inf), torch.where(one, torch.inf, threshold)


def _threshold(fn: Any) -> Tensor:
    """Signed log tail of ``P(x = 0)``; shape (batch)."""
    if given_logits(fn):
        return tail.from_logit(-compact(fn.logits))
    probs = compact(fn.probs)
    return tail.from_probabilities(1.0 - probs, probs)
