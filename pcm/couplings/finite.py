"""Finite discrete families as one table: log-probabilities over codes, and values to and from codes.

A finite family takes K outcomes, coded 0..K-1. Couplings of finite families (monotone over a table, Gumbel-max) work
on codes and the table alone; here is how each family gives them.

>>> import torch
>>> from torch.distributions import Bernoulli
>>> log_table(Bernoulli(torch.tensor(0.25))).exp().tolist()
[0.75, 0.25]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from pcm.couplings.parameters import all_lanes, compact, concrete, given_logits, log_probabilities, logit
from pcm.errors import CouplingError

__all__ = [
    "FINITE",
    "at_outcome",
    "codes",
    "compact_batch",
    "constant_count",
    "count_masses",
    "expected",
    "log_table",
    "outcomes",
    "size",
]

FINITE: tuple[type, ...] = (
    torch.distributions.Categorical,
    torch.distributions.OneHotCategorical,
    torch.distributions.Bernoulli,
    torch.distributions.Binomial,
    dist.OrderedLogistic,
    dist.BetaBinomial,
)


def constant_count(fn: Any) -> int | None:
    """``total_count`` of a Binomial where it is one readable number for all units, else None."""
    count = compact(fn.total_count)
    if not concrete(count):
        return None
    if count.dim() == 0:
        return int(count.item())
    low, high = torch.aminmax(count)
    return int(low.item()) if low.item() == high.item() else None


def size(fn: Any) -> int | None:
    """Number of outcomes K, or None where it is not one finite number."""
    if isinstance(fn, torch.distributions.Bernoulli):
        return 2
    if isinstance(fn, torch.distributions.Binomial | dist.BetaBinomial):
        count = constant_count(fn)
        return None if count is None else count + 1
    return log_probabilities(fn).shape[-1]


def log_table(fn: Any) -> Tensor:
    """Log-probability of each outcome; shape (batch, category), the batch compact.

    Of a Binomial or BetaBinomial whose ``total_count`` differs between units it is as wide as the largest needs, and
    ``-inf`` beyond each unit's own.

    Raises
    ------
    CouplingError
        Of a Binomial or BetaBinomial whose ``total_count`` cannot be read (tracing).
    """
    if isinstance(fn, torch.distributions.Bernoulli):
        if given_logits(fn):
            odds = compact(fn.logits)
            return torch.stack([logsigmoid(-odds), logsigmoid(odds)], -1)
        probs = compact(fn.probs)
        return torch.stack([torch.log1p(-probs), torch.log(probs)], -1)
    if isinstance(fn, torch.distributions.Binomial | dist.BetaBinomial):
        return _count_table(fn)
    if isinstance(fn, dist.OrderedLogistic):
        return _ordered_table(fn)
    return compact_batch(log_probabilities(fn))


def count_masses(fn: Any, count: Tensor) -> Tensor:
    """Log-probability of counts that broadcast against the batch, of a Binomial or BetaBinomial; ``-inf`` where there
    are none; the broadcast shape."""
    return _count_masses(fn, count, compact)


def codes(fn: Any, value: Tensor) -> Tensor:
    """Codes 0..K-1 (int64) of values; one-hot rows lose their trailing dim."""
    return value.argmax(-1) if _one_hot(fn) else value.long()


def outcomes(fn: Any, code: Tensor) -> Tensor:
    """Values of codes, in the dtype that ``fn.sample()`` has."""
    if _one_hot(fn):
        probabilities = log_probabilities(fn)
        kinds = torch.arange(probabilities.shape[-1], device=code.device)
        return (code.unsqueeze(-1) == kinds).to(probabilities.dtype)
    if isinstance(fn, torch.distributions.Bernoulli | torch.distributions.Binomial):
        return code.to((fn.logits if given_logits(fn) else fn.probs).dtype)
    if isinstance(fn, dist.BetaBinomial):
        return code.to(fn.concentration1.dtype)
    return code


def at_outcome(table: Tensor, other: Any, outcome: Tensor) -> Tensor:
    """Entry of a table (batch, category) at an outcome that broadcasts against the batch; 0 outside 0..K-1."""
    if isinstance(other, torch.distributions.OneHotCategorical):
        return (table * outcome).sum(-1)
    kinds = torch.arange(table.shape[-1], device=table.device)
    return torch.where(outcome.unsqueeze(-1) == kinds, table, 0.0).sum(-1)


def expected(table: Tensor, other: Any) -> Tensor:
    """Mean of the outcome under a table (batch, category); of one-hot rows the table itself."""
    if isinstance(other, torch.distributions.OneHotCategorical):
        return table
    return table @ torch.arange(table.shape[-1], dtype=table.dtype, device=table.device)


def compact_batch(table: Tensor) -> Tensor:
    """A table (batch, category) with expanded batch dims shrunk; the category dim stays."""
    strides = table.stride()
    if 0 not in strides[:-1]:
        return table
    return table[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in strides[:-1])]


def _one_hot(fn: Any) -> bool:
    return isinstance(fn, torch.distributions.OneHotCategorical)


def _largest_count(fn: Any) -> int:
    """``total_count``, the largest of any unit."""
    found = all_lanes(compact(fn.total_count))
    if found is None:
        family = type(fn).__name__
        instead = "use the 'monotone' coupling, or" if family == "Binomial" else "use"
        raise CouplingError(
            f"a {family} was asked for a table of its outcomes, and its total_count cannot be read here; {instead} one "
            "total_count for all units.",
            family=family,
        )
    return int(found.max().item()) if found.numel() else 0


def _count_table(fn: Any) -> Tensor:
    first = fn.concentration1 if isinstance(fn, dist.BetaBinomial) else logit(fn)
    k = torch.arange(_largest_count(fn) + 1, dtype=first.dtype, device=first.device)
    return _count_masses(fn, k, lambda parameter: compact(parameter).unsqueeze(-1))


def _count_masses(fn: Any, count: Tensor, lift: Callable[[Tensor], Tensor]) -> Tensor:
    n = lift(fn.total_count)
    possible = (count >= 0) & (count <= n)
    # any possible count will do where none is asked for
    k = torch.where(possible, count, 0.0)
    found = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    if isinstance(fn, dist.BetaBinomial):
        a, b = lift(fn.concentration1), lift(fn.concentration0)
        rising = torch.lgamma(a + k) + torch.lgamma(b + n - k) - torch.lgamma(a + b + n)
        found = found + rising + torch.lgamma(a + b) - torch.lgamma(a) - torch.lgamma(b)
    else:
        odds = lift(logit(fn))
        # 0 * inf where the probability is exactly 0 or 1
        success = torch.where(k == 0, 0.0, k * logsigmoid(odds))
        failure = torch.where(k == n, 0.0, (n - k) * logsigmoid(-odds))
        found = found + success + failure
    return torch.where(possible, found, -torch.inf)


def _ordered_table(fn: Any) -> Tensor:
    """From the cutpoints: the stored probabilities are differences and lose small ones."""
    odds = compact_batch(fn.cutpoints) - compact(fn.predictor).unsqueeze(-1)
    first, last = logsigmoid(odds[..., :1]), logsigmoid(-odds[..., -1:])
    high, low = odds[..., 1:], odds[..., :-1]
    # sigmoid(h) - sigmoid(l) = sigmoid(h) sigmoid(-l) (1 - e^(l - h))
    middle = logsigmoid(high) + logsigmoid(-low) + torch.log(-torch.expm1(low - high))
    return torch.cat([first, middle, last], -1)
