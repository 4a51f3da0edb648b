"""Is a value that a distribution *can* take one that it ever takes? Values of probability zero, found cheaply.

Supports are checked elsewhere (:mod:`pcm.couplings.checks`). What they do not say is a ``Bernoulli`` whose probability
is exactly 0 or 1, a category or a count of probability zero, a ``Delta`` elsewhere. A parameter that leaves nothing out
is seen by one reduction, and densities are computed only where one does.

>>> import pyro.distributions as dist, torch
>>> impossible(dist.Bernoulli(torch.tensor([0.0, 0.5])), torch.tensor([1.0, 1.0])).tolist()
[True, False]
>>> impossible(dist.Bernoulli(torch.tensor([0.1, 0.5])), torch.tensor([1.0, 1.0])) is None
True
"""

from __future__ import annotations

import math
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from pcm.couplings.parameters import compact, given_logits, quiet_log_prob
from pcm.couplings.registry import unwrap

__all__ = ["impossible"]

_GIVEN = ("probs", "rate", "gate", "concentration")


def impossible(fn: Any, value: Tensor) -> Tensor | None:
    """Mask of values that have probability zero, of the value's batch shape; None where there are none.

    Parameters
    ----------
    fn : Distribution
    value : Tensor
        In its support.
    """
    bare, events = unwrap(fn)
    if isinstance(bare, torch.distributions.Normal):
        return None  # the commonest; it leaves nothing out
    if isinstance(bare, dist.Delta):
        apart = (value - bare.v).abs() > 1e-6 * (1 + bare.v.abs())
        bad = apart.flatten(-bare.event_dim).any(-1) if bare.event_dim else apart
    elif isinstance(bare, torch.distributions.Categorical | torch.distributions.OneHotCategorical):
        inner = getattr(bare, "_categorical", bare)
        if given_logits(inner):
            least, logs = inner.logits.amin(), inner.logits
        else:
            least, logs = compact(inner.probs).amin().log(), torch.log(inner.probs)
        if float(least) > -torch.inf:
            return None
        code = value.argmax(-1) if inner is not bare else value.long()
        shape = torch.broadcast_shapes(logs.shape[:-1], code.shape)
        bad = logs.expand(*shape, -1).gather(-1, code.expand(shape)[..., None]).squeeze(-1) == -torch.inf
    elif isinstance(bare, torch.distributions.Bernoulli):
        chance = compact(bare.logits if given_logits(bare) else bare.probs)
        if given_logits(bare) and math.isfinite(float(chance.sum())):
            return None  # a sum is finite only where all its terms are: half the time of both ends
        low, high = torch.aminmax(chance)
        edge = (-torch.inf, torch.inf) if given_logits(bare) else (0.0, 1.0)
        if float(low) > edge[0] and float(high) < edge[1]:
            return None
        bad = torch.where(value > 0.5, chance == edge[0], chance == edge[1])
    elif isinstance(bare, torch.distributions.Binomial) and not given_logits(bare):
        chance = compact(bare.probs)
        low, high = torch.aminmax(chance)
        if float(low) > 0 and float(high) < 1:
            return None
        bad = ((chance == 0) & (value > 0)) | ((chance == 1) & (value < bare.total_count))
    elif getattr(bare.support, "is_discrete", False) and not _full(bare):
        bad = quiet_log_prob(bare, value) == -torch.inf
    else:
        return None
    if not bool(bad.any()):
        return None
    return bad.flatten(-events).any(-1) if events else bad


def _full(fn: Any) -> bool:
    """Whether no parameter that was given is at the end of what it may be."""
    parts = [fn, getattr(fn, "base_dist", fn), getattr(fn, "base", fn)]
    if given_logits(fn) and all(part is fn for part in parts):
        return True
    for part in parts:
        for name in _GIVEN:
            held = part.__dict__.get(name)
            if isinstance(held, Tensor) and held.numel():
                low, high = torch.aminmax(compact(held))
                if float(low) <= 0 or (name in ("probs", "gate") and float(high) >= 1):
                    return False
    return any(name in part.__dict__ for part in parts for name in _GIVEN)
