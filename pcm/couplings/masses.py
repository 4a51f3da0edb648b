"""Log-probabilities of many integers at once, also under ``vmap``, and of laws made of others part by part.

The distributions' own ``log_prob`` write in place here and there (a Geometric of probability 1, a masked mixture),
which ``vmap`` refuses, and look up their normaliser once a value.

>>> import torch
>>> log_masses(torch.distributions.Geometric(torch.tensor(0.5)), torch.arange(3.0)).exp().tolist()
[0.5, 0.25, 0.125]
"""

from __future__ import annotations

import math
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from pcm.couplings import registry, tail
from pcm.couplings.censored import Censored
from pcm.couplings.finite import count_masses
from pcm.couplings.mixture import log_weights
from pcm.couplings.parameters import compact, given_logits, quiet_log_prob
from pcm.couplings.truncated import Truncated
from pcm.couplings.zero_inflated import log_gate

__all__ = ["log_masses"]


def log_masses(fn: Any, count: Tensor) -> Tensor:
    """``log P(X = count)``, ``-inf`` outside the support.

    Parameters
    ----------
    fn : Distribution
        Bare or wrapped, of integers.
    count : Tensor
        Whole numbers that broadcast against the batch.

    Returns
    -------
    Tensor
        Of the broadcast shape.
    """
    coupling, fn = registry.resolve(fn)
    if isinstance(fn, torch.distributions.MixtureSameFamily):
        return torch.logsumexp(log_weights(fn) + log_masses(fn.component_distribution, count.unsqueeze(-1)), -1)
    if isinstance(fn, dist.MaskedMixture):
        mask: Any = fn.mask
        return torch.where(mask, log_masses(fn.component1, count), log_masses(fn.component0, count))
    if isinstance(fn, dist.ZeroInflatedDistribution):
        gate, rest = log_gate(fn)
        counted = rest + log_masses(fn.base_dist, count)
        return torch.where(count == 0, torch.logaddexp(gate, counted), counted)
    if isinstance(fn, Truncated):
        inside = (count >= fn.low) & (count <= fn.high)
        return torch.where(inside, log_masses(fn.base, count) - fn.log_mass, -torch.inf)
    if isinstance(fn, Censored):
        found = torch.where((count > fn.low) & (count < fn.high), log_masses(fn.base, count), -torch.inf)
        if math.isfinite(fn.low):
            low = torch.full_like(count, fn.low)
            found = torch.where(count == low, tail.log_cdf(coupling.tail(fn, low)), found)
        if math.isfinite(fn.high):
            high = torch.full_like(count, fn.high)
            found = torch.where(count == high, tail.log_sf(coupling.tail(fn, high - 1.0)), found)
        return found
    if isinstance(fn, torch.distributions.Binomial | dist.BetaBinomial):
        return count_masses(fn, count)
    if isinstance(fn, torch.distributions.Geometric):
        return _geometric(fn, count)
    support: Any = fn.support
    possible = support.check(count)
    # any possible value will do where none is asked for
    found = quiet_log_prob(fn, torch.where(possible, count, torch.zeros_like(count)))
    return torch.where(possible, found, -torch.inf)


def _geometric(fn: Any, count: Tensor) -> Tensor:
    """``k log(1 - p) + log p``."""
    if given_logits(fn):
        odds = compact(fn.logits)
        success, failure = logsigmoid(odds), logsigmoid(-odds)
    else:
        probs = compact(fn.probs)
        success, failure = torch.log(probs), torch.log1p(-probs)
    # 0 * inf where every trial succeeds
    found = torch.where(count == 0, 0.0, count * failure) + success
    return torch.where(count < 0, -torch.inf, found)
