"""Categorical, OneHotCategorical, OrderedLogistic, BetaBinomial, monotone: the quantile coupling over a finite table.

Codes are taken in order: outcome k is reached where the noise ``u`` lies in ``(F(k - 1), F(k)]``. Right for ordered
outcomes (the default of OrderedLogistic and BetaBinomial); of an unordered categorical it is a choice (its default is
Gumbel-max).
Noise is a signed log tail; an outcome strictly inside with less than about 1e-16 of probability, so that the two ends
of its interval are one number, cannot be told from its neighbour.

>>> import torch
>>> from torch.distributions import Categorical
>>> old, new = Categorical(torch.tensor([0.5, 0.3, 0.2])), Categorical(torch.tensor([0.2, 0.3, 0.5]))
>>> [round(x, 6) for x in OrderedCoupling().transition(old, torch.tensor(0), new).tolist()]
[0.4, 0.6, 0.0]
"""

from __future__ import annotations

from typing import Any, ClassVar, final

import pyro.distributions as dist
import torch
from torch import Tensor

from pcm.couplings import tail
from pcm.couplings.coupling import Coupling
from pcm.couplings.finite import at_outcome, codes, compact_batch, expected, log_table, outcomes, size
from pcm.couplings.parameters import compact

__all__ = ["OrderedCoupling"]


@final
class OrderedCoupling(Coupling):
    """Quantile coupling over the codes 0..K-1; noise is shaped like the code."""

    name: ClassVar[str] = "monotone"
    families = (
        torch.distributions.Categorical,
        torch.distributions.OneHotCategorical,
        dist.OrderedLogistic,
        dist.BetaBinomial,
    )
    discrete: ClassVar[bool] = True

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """The code of the interval in which the noise lies."""
        return outcomes(fn, (noise.unsqueeze(-1) > _ends(fn)[..., :-1]).sum(-1))

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """The noise at a fraction ``uniform`` of the interval of ``value``."""
        if uniform is None:
            raise TypeError("abducting a category needs `uniform`: many noises give the same value")
        return tail.between(*_interval(fn, value), uniform)

    def fresh(self, fn: Any, uniform: Tensor) -> Tensor:
        """Tail of the uniform."""
        return tail.from_uniform(uniform)

    def cardinality(self, fn: Any) -> int | None:
        """K."""
        return size(fn)

    def transition(self, fn: Any, value: Tensor, other: Any) -> Tensor:
        """Overlaps of the factual interval with every outcome's; (batch, category)."""
        return _overlaps(*_interval(fn, value), other)

    def transition_after(self, fn: Any, value: Tensor, middle: Any, at: Tensor, other: Any) -> Tensor:
        """Overlaps of what the intervals of two worlds share with every outcome's; (batch, category)."""
        (low, high), (least, most) = _interval(fn, value), _interval(middle, at)
        return _overlaps(torch.maximum(low, least), torch.minimum(high, most), other)

    def probability(self, fn: Any, value: Tensor, other: Any, outcome: Tensor) -> Tensor:
        """Entry of :meth:`transition`."""
        return at_outcome(self.transition(fn, value, other), other, outcome)

    def expectation(self, fn: Any, value: Tensor, other: Any) -> Tensor:
        """Mean code (of one-hot rows: the transition itself)."""
        return expected(self.transition(fn, value, other), other)


def _ends(fn: Any) -> Tensor:
    """Signed log tail of ``F(k)`` for k = 0..K-1, the last ``inf``; (batch, category), the batch compact."""
    if isinstance(fn, dist.OrderedLogistic):
        inner = tail.from_logit(compact_batch(fn.cutpoints) - compact(fn.predictor).unsqueeze(-1))
    else:
        mass = torch.exp(log_table(fn))
        below = torch.cumsum(mass, -1)[..., :-1]
        above = torch.flip(torch.cumsum(torch.flip(mass, (-1,)), -1), (-1,))[..., 1:]
        # each sum rounds on its own; the ends must not decrease
        inner = torch.cummax(tail.from_probabilities(below, above), -1).values
    return torch.cat([inner, torch.full_like(inner[..., :1], torch.inf)], -1)


def _interval(fn: Any, value: Tensor) -> tuple[Tensor, Tensor]:
    """Signed log tails of ``F(k - 1)`` and ``F(k)`` of each value; (batch)."""
    ends, code = _ends(fn), codes(fn, value)
    picked = torch.arange(ends.shape[-1], device=ends.device) == code.unsqueeze(-1)
    high = torch.where(picked, ends, -torch.inf).amax(-1)
    before = picked.roll(-1, -1)
    low = torch.where(before, ends, torch.inf).amin(-1)
    return torch.where(code == 0, -torch.inf, low), high


def _overlaps(low: Tensor, high: Tensor, other: Any) -> Tensor:
    """The share of each outcome's interval in the interval between two signed log tails; (batch, category)."""
    low, high = low.unsqueeze(-1), high.unsqueeze(-1)
    ends = _ends(other)
    starts = torch.cat([torch.full_like(ends[..., :1], -torch.inf), ends[..., :-1]], -1)
    total = tail.mass(low, high)
    overlap = tail.mass(torch.maximum(low, starts), torch.minimum(high, ends))
    # an interval too narrow for its noise is a point: it lies in one outcome's interval
    point = ((high > starts) & (high <= ends)).to(overlap.dtype)
    return torch.where(total > 0, overlap / torch.where(total > 0, total, 1.0), point)
