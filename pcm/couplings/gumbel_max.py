"""Gumbel-max: ``x = argmax_k (log p_k + g_k)`` with standard Gumbel noise, the counterfactually stable coupling.

A finite outcome changes between worlds only if some other outcome became relatively more likely [1]_. Given ``x = i``
the noise is drawn top-down: with unit exponentials ``E_0, E_k``,

    g_i = -log(p_i E_0),   g_k = -log(p_k E_0 + E_k).

The unit counterfactual has a closed form. With ``c_k = p_k / p'_k`` and ``A(c) = 1 + sum_k max(0, p'_k c - p_k)``,

    P(x' = i | x = i) = 1 / A(c_i),
    P(x' = j | x = i) = p'_j * integral from c_j to c_i of dc / A(c)^2      (0 where c_j >= c_i).

(Arrival times ``e^-(log p'_k + g_k)``: given ``E_0 = w``, outcome k arrives at ``c_k w`` plus an exponential of rate
``p'_k``, and i at ``c_i w``; j comes first at time ``c w`` with density ``p'_j w exp(-w (A(c) - 1))``; integrate over
``w``.) ``A`` is linear between the sorted ``c_k``, so each piece of the integral is ``(c_b - c_a) / (A(c_a) A(c_b))``.
Few outcomes are sorted by comparing all pairs, elementwise over the units; many by ``torch.sort``.

References
----------
.. [1] Oberst, Sontag (2019). Counterfactual off-policy evaluation with Gumbel-max structural causal models. ICML.

>>> import torch
>>> from torch.distributions import Categorical
>>> p, q = Categorical(torch.tensor([0.5, 0.3, 0.2])), Categorical(torch.tensor([0.2, 0.3, 0.5]))
>>> [round(x, 5) for x in GumbelMax().transition(p, torch.tensor(0), q).tolist()]
[0.4, 0.13846, 0.46154]
"""

from __future__ import annotations

from typing import Any, ClassVar, final

import pyro.distributions as dist
import torch
from torch import Tensor

from pcm.couplings.coupling import Coupling
from pcm.couplings.finite import at_outcome, codes, expected, log_table, outcomes, size
from pcm.couplings.parameters import plain
from pcm.couplings.races import third_winner

__all__ = ["GumbelMax", "gumbels", "transition_table"]

_FEW = 8
_BLOCK = 32_768


@final
class GumbelMax(Coupling):
    """Gumbel-max over the table of a finite family; noise is (batch, category)."""

    name: ClassVar[str] = "gumbel_max"
    families = (
        torch.distributions.Categorical,
        torch.distributions.OneHotCategorical,
        torch.distributions.Bernoulli,
        dist.OrderedLogistic,
    )
    discrete: ClassVar[bool] = True
    longest_chain: ClassVar[float] = 6

    def noise_event(self, fn: Any) -> torch.Size:
        """``(category,)``."""
        return torch.Size([log_table(fn).shape[-1]])

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """``argmax_k (log p_k + g_k)``, as a value of the family."""
        return outcomes(fn, (log_table(fn) + noise).argmax(-1))

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Gumbels given that ``value`` won, top-down; (batch, category)."""
        if uniform is None:
            raise TypeError("abducting a discrete value needs `uniform`: many noises give the same value")
        return gumbels(log_table(fn), codes(fn, value), uniform)

    def fresh(self, fn: Any, uniform: Tensor) -> Tensor:
        """Standard Gumbels."""
        return -torch.log(-torch.log(uniform))

    def cardinality(self, fn: Any) -> int | None:
        """K."""
        return size(fn)

    def transition(self, fn: Any, value: Tensor, other: Any) -> Tensor:
        """The closed form; (batch, category)."""
        return transition_table(log_table(fn), codes(fn, value), log_table(other))

    def transition_after(self, fn: Any, value: Tensor, middle: Any, at: Tensor, other: Any) -> Tensor:
        """The closed form over three worlds (:mod:`pcm.couplings.races`); (batch, category)."""
        tables = [log_table(each) for each in (fn, middle, other)]
        return third_winner(transition_table, tables[0], codes(fn, value), tables[1], codes(middle, at), tables[2])

    def probability(self, fn: Any, value: Tensor, other: Any, outcome: Tensor) -> Tensor:
        """Entry of :meth:`transition`."""
        return at_outcome(self.transition(fn, value, other), other, outcome)

    def expectation(self, fn: Any, value: Tensor, other: Any) -> Tensor:
        """Mean code (of one-hot rows: the transition itself)."""
        return expected(self.transition(fn, value, other), other)


def gumbels(table: Tensor, code: Tensor, uniform: Tensor) -> Tensor:
    """Gumbels given that ``code`` won, top-down.

    Parameters
    ----------
    table : Tensor
        Normalised log-probabilities; (batch, category).
    code : Tensor
        The outcome, int64; (batch).
    uniform : Tensor
        In (0, 1); (batch, category).

    Returns
    -------
    Tensor
        (batch, category); ``table`` plus these has its maximum at ``code``.
    """
    chosen = code.unsqueeze(-1)
    exponential = -torch.log(uniform)
    picked = torch.arange(table.shape[-1], device=table.device) == chosen
    first = torch.where(picked, exponential, 0.0).sum(-1, keepdim=True)
    log_chosen = torch.where(picked, table, 0.0).sum(-1, keepdim=True)
    top = -torch.log(first) - log_chosen
    others = -torch.log(torch.exp(table) * first + exponential)
    # rounding must not lift another outcome over the chosen one: stay a few ulps below it
    peak = log_chosen + top
    ceiling = peak - table
    ceiling = ceiling - 8.0 * torch.finfo(ceiling.dtype).eps * (peak.abs() + table.abs() + 1.0)
    others = torch.where(torch.isneginf(table), others, torch.minimum(others, ceiling))
    return torch.where(picked, top, others)


def transition_table(log_p: Tensor, code: Tensor, log_q: Tensor) -> Tensor:
    """``P(x' = k | x = code)`` of the Gumbel-max coupling.

    Parameters
    ----------
    log_p, log_q : Tensor
        Normalised log-probabilities before and after; (batch, category).
    code : Tensor
        Factual outcome, int64; (batch).

    Returns
    -------
    Tensor
        (batch, category); rows sum to one.
    """
    kinds, units = log_p.shape[-1], code.shape[-1] if code.dim() == 1 else 0
    one, block = (_by_pairs, _BLOCK) if kinds <= _FEW else (_by_sort, 1 + _FEW * _BLOCK // kinds)
    if units <= 2 * block or not (log_p.shape[:-1] == log_q.shape[:-1] == code.shape and plain()):
        return one(log_p, code, log_q)
    # what one block needs stays in the cache
    parts = zip(log_p.split(block), code.split(block), log_q.split(block), strict=True)
    return torch.cat([one(*part) for part in parts])


def _by_sort(log_p: Tensor, code: Tensor, log_q: Tensor) -> Tensor:
    """By sorting the ``c_k``, whatever their number."""
    shape = torch.broadcast_shapes(log_p.shape, log_q.shape)
    p, q = torch.exp(log_p).expand(shape), torch.exp(log_q).expand(shape)
    # from logarithms, for both may be too small for a double; an outcome impossible after arrives never
    c = torch.where(torch.isneginf(log_q), torch.inf, torch.exp(log_p - log_q)).expand(shape)
    c_sorted, order = torch.sort(c, dim=-1)
    rate = torch.cumsum(torch.gather(q, -1, order), -1)
    spent = torch.cumsum(torch.gather(p, -1, order), -1)
    area = torch.where(torch.isinf(c_sorted), torch.inf, 1.0 + (rate * c_sorted - spent))
    gap = c_sorted[..., 1:] - c_sorted[..., :-1]
    moved = gap > 0
    # (c_b - c_a) / (A_a A_b) with A_b = A_a + rate (c_b - c_a); finite where c_b is infinite
    start = area[..., :-1]
    piece = 1.0 / (start * (start / torch.where(moved, gap, 1.0) + rate[..., :-1]))
    piece = torch.where(moved, piece, 0.0)
    integral = torch.cat([torch.zeros_like(c_sorted[..., :1]), torch.cumsum(piece, -1)], -1)
    area, integral = (torch.scatter(torch.zeros_like(c), -1, order, each) for each in (area, integral))

    picked = torch.arange(shape[-1], device=p.device) == code.unsqueeze(-1)
    reached = torch.where(picked, integral, 0.0).sum(-1, keepdim=True)
    return torch.where(picked, 1.0 / area, q * torch.clamp(reached - integral, min=0.0))


def _by_pairs(log_p: Tensor, code: Tensor, log_q: Tensor) -> Tensor:
    """The same elementwise over the units: a sorting network, and one comparison a pair of outcomes."""
    p, q = ([part.contiguous() for part in torch.exp(log).unbind(-1)] for log in (log_p, log_q))
    kinds = range(len(p))
    picked = [(code == k).to(p[0].dtype) for k in kinds]
    # an outcome impossible after arrives never; impossible in both worlds as well (0 / 0)
    never = 1e-8 * torch.finfo(p[0].dtype).max
    c = [torch.clamp(torch.nan_to_num(p[k] / q[k], nan=never, posinf=never), max=never) for k in kinds]
    own = _sum([picked[k] * c[k] for k in kinds])
    # the ends of the pieces, none later than the outcome's own
    ends = [torch.minimum(each, own) for each in c]
    for low, high in _network(len(p)):
        ends[low], ends[high] = torch.minimum(ends[low], ends[high]), torch.maximum(ends[low], ends[high])
    area = [1.0 + _sum([torch.clamp(q[k] * end - p[k], min=0.0) for k in kinds]) for end in ends]
    # integral from each end to the last, which is the outcome's own
    left = [torch.zeros_like(own)]
    for k in reversed(kinds[:-1]):
        left.append(left[-1] + (ends[k + 1] - ends[k]) / area[k + 1] / area[k])
    left.reverse()
    rows = []
    for j in kinds:
        # the longest of the integrals that start no earlier than c_j
        whole = left[0] * (ends[0] >= c[j])
        for k in kinds[1:-1]:
            whole = torch.maximum(whole, left[k] * (ends[k] >= c[j]))
        rows.append(torch.addcmul(q[j] * whole, picked[j], 1.0 / area[-1]))
    return torch.stack(torch.broadcast_tensors(*rows), -1)


def _sum(parts: list[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _network(size: int) -> list[tuple[int, int]]:
    """Pairs to compare and exchange so that ``size`` numbers come out sorted (odd-even transposition)."""
    if size == 3:
        return [(0, 1), (1, 2), (0, 1)]
    return [(low, low + 1) for turn in range(size) for low in range(turn % 2, size - 1, 2)]
