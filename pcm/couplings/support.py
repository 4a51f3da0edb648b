"""The support of a distribution as one domain, also where it is made of others whose own supports do not say it.

A mixture takes what any of its components can take, a zero-inflated law also takes 0, and a masked mixture takes, per
unit, what the selected component can.

>>> import torch
>>> from torch.distributions import Categorical, MixtureSameFamily, Uniform
>>> ends = Uniform(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 5.0]))
>>> domain(MixtureSameFamily(Categorical(torch.ones(2)), ends)).words
'reals between 0 and 5'
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from pcm.couplings.domain import Domain, read
from pcm.couplings.parameters import compact

__all__ = ["domain"]


def domain(fn: Any) -> Domain:
    """Domain of the values of a bare distribution."""
    if isinstance(fn, torch.distributions.MixtureSameFamily):
        found = domain(fn.component_distribution)
        if not found.simple:
            return found
        return _described(replace(found, low=_over(found.low, torch.amin), high=_over(found.high, torch.amax)))
    if isinstance(fn, dist.ZeroInflatedDistribution):
        found = domain(fn.base_dist)
        below = _least(found.low) >= 0
        return _described(replace(found, low=0.0, open_low=False)) if below else found
    if isinstance(fn, dist.MaskedMixture):
        zero, one = domain(fn.component0), domain(fn.component1)
        if not (zero.simple and one.simple):
            return zero
        if (zero.low, zero.high, zero.words) == (one.low, one.high, one.words):
            return zero
        either = Domain(None, integer=zero.integer and one.integer, words="what its component can take")
        return replace(either, low=_chosen(fn, zero.low, one.low), high=_chosen(fn, zero.high, one.high))
    while hasattr(fn, "base_dist") and type(fn).__name__ in ("Independent", "ExpandedDistribution"):
        fn = fn.base_dist
    return read(fn.support)


def _over(bound: Any, reduce: Any) -> Any:
    """The loosest of the components' bounds."""
    return reduce(compact(bound), -1) if isinstance(bound, Tensor) and bound.dim() else bound


def _chosen(fn: Any, zero: Any, one: Any) -> Tensor:
    return torch.where(fn.mask, torch.as_tensor(one, dtype=torch.float64), torch.as_tensor(zero, dtype=torch.float64))


def _least(bound: Any) -> float:
    return compact(bound).amin().item() if isinstance(bound, Tensor) else float(bound)


def _described(found: Domain) -> Domain:
    """Words that fit the changed bounds."""
    low, high = _number(found.low), _number(found.high)
    kind = "integers" if found.integer else "reals"
    if high == "inf":
        words = kind if low == "-inf" else f"{kind} from {low}" if not found.open_low else f"{kind} above {low}"
        words = "positive reals" if words == "reals above 0" else "finite reals" if words == "reals" else words
    else:
        words = f"integers {low}..{high}" if found.integer else f"reals between {low} and {high}"
    return replace(found, words=words)


def _number(bound: Any) -> str:
    if not isinstance(bound, Tensor):
        return f"{bound:g}"
    least, most = (each.item() for each in torch.aminmax(compact(bound)))
    return f"{least:g}" if least == most else f"({least:g} to {most:g}, by unit)"
