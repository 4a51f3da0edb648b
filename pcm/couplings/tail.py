"""Signed log tails: one float64 that keeps a quantile ``u`` accurate in both tails.

The noise of a quantile coupling is ``u ~ Uniform(0, 1)``, but ``u`` itself cannot say how close to 1 it is. It is kept
as its *signed log tail*

    t = log(u)          where u <= 1/2      (t <= -log 2, the lower tail)
    t = -log(1 - u)     where u >  1/2      (t >=  log 2, the upper tail)

which grows with ``u``, turns into ``-t`` under ``u -> 1 - u``, and has full relative precision in either tail, down to
probabilities of ``exp(-1e308)``. No ``t`` lies strictly between ``-log 2`` and ``log 2``.

>>> import torch
>>> t = from_uniform(torch.tensor([1e-300, 0.5, 0.75], dtype=torch.float64))
>>> [round(v, 4) for v in t.tolist()]
[-690.7755, -0.6931, 1.3863]
>>> to_cdf(t)[0].item() < 1.0000001e-300
True
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

__all__ = [
    "between",
    "from_hazard",
    "from_logit",
    "from_logs",
    "from_probabilities",
    "from_uniform",
    "hazard",
    "log_cdf",
    "log_mass",
    "log_sf",
    "mass",
    "to_cdf",
    "to_sf",
]

_LOG_2 = math.log(2.0)


def from_uniform(uniform: Tensor) -> Tensor:
    """Signed log tail of a uniform in (0, 1); same shape."""
    upper = uniform > 0.5
    log = torch.log(torch.where(upper, 1.0 - uniform, uniform))
    return torch.where(upper, -log, log)


def from_probabilities(cdf: Tensor, sf: Tensor) -> Tensor:
    """Signed log tail from ``u`` and ``1 - u``, each accurate where it is small; same shape."""
    upper = cdf > sf
    log = torch.log(torch.where(upper, sf, cdf))
    return torch.where(upper, -log, log)


def from_logit(logit: Tensor) -> Tensor:
    """Signed log tail of ``u = sigmoid(logit)``; same shape."""
    log = logsigmoid(-logit.abs())
    return torch.where(logit > 0, -log, log)


def to_cdf(tail: Tensor) -> Tensor:
    """``u``, accurate where it is small; same shape."""
    return torch.where(tail < 0, torch.exp(tail), -torch.expm1(-tail.abs()))


def to_sf(tail: Tensor) -> Tensor:
    """``1 - u``, accurate where it is small; same shape."""
    return to_cdf(-tail)


def hazard(tail: Tensor) -> Tensor:
    """``-log(1 - u)``, the standard exponential variate at ``u``: full relative precision on (0, inf); same shape."""
    lower = tail < 0
    return torch.where(lower, -torch.log1p(-torch.exp(torch.where(lower, tail, -1.0))), tail)


def from_hazard(hazard: Tensor) -> Tensor:
    """Signed log tail where ``-log(1 - u)`` is ``hazard``; ``-inf`` at 0 and below; same shape."""
    hazard = torch.clamp(hazard, min=0.0)
    upper = hazard > _LOG_2
    return torch.where(upper, hazard, torch.log(-torch.expm1(-torch.where(upper, 1.0, hazard))))


def from_logs(log_cdf: Tensor, log_sf: Tensor) -> Tensor:
    """Signed log tail from ``log u`` and ``log(1 - u)``, each accurate where it is the smaller; the broadcast shape."""
    return torch.where(log_cdf > log_sf, -log_sf, log_cdf)


def log_cdf(tail: Tensor) -> Tensor:
    """``log u``; same shape."""
    return torch.where(tail < 0, tail, torch.log1p(-torch.exp(-tail.abs())))


def log_sf(tail: Tensor) -> Tensor:
    """``log(1 - u)``; same shape."""
    return log_cdf(-tail)


def log_mass(low: Tensor, high: Tensor) -> Tensor:
    """Logarithm of :func:`mass`, also where that underflows; ``-inf`` where the interval is empty."""
    high = torch.maximum(low, high)
    same_side = (low > 0) | (high < 0)
    gap = torch.where((low == high) | ~same_side, 0.0, low - high)
    one_sided = -torch.minimum(low.abs(), high.abs()) + torch.log(-torch.expm1(gap))
    one_sided = torch.where(low == high, -torch.inf, one_sided)
    outside = torch.exp(-low.abs()) + torch.exp(-high.abs())
    return torch.where(same_side, one_sided, torch.log1p(-torch.where(same_side, 0.0, outside)))


def mass(low: Tensor, high: Tensor) -> Tensor:
    """Probability that the noise lies in ``(low, high]``; 0 where the interval is empty.

    Parameters
    ----------
    low, high : Tensor
        Signed log tails (``-inf`` and ``inf`` allowed), broadcasting against each other.

    Returns
    -------
    Tensor
        Probability, of the broadcast shape, with full relative precision where both ends are in one tail.
    """
    high = torch.maximum(low, high)
    same_side = (low > 0) | (high < 0)
    # e^high - e^low in the lower tail, e^-low - e^-high in the upper one: the outer factor is the larger term
    outer = torch.exp(-torch.minimum(low.abs(), high.abs()))
    # inf - inf (an empty interval at either end of the line) must read as a gap of 0
    gap = torch.where(low == high, 0.0, low - high)
    return torch.where(same_side, outer * -torch.expm1(gap), 1.0 - torch.exp(-low.abs()) - torch.exp(-high.abs()))


def between(low: Tensor, high: Tensor, uniform: Tensor) -> Tensor:
    """The noise in ``(low, high]`` below which a fraction ``uniform`` of the interval's probability lies.

    The result never leaves the interval, whatever the rounding: a discrete value pulled back to noise is pushed to
    itself again.

    Parameters
    ----------
    low, high : Tensor
        Signed log tails (``-inf`` and ``inf`` allowed), ``low < high``.
    uniform : Tensor
        In (0, 1).

    Returns
    -------
    Tensor
        Signed log tail, of the broadcast shape.
    """
    low, high, uniform = torch.broadcast_tensors(low, high, uniform)
    lower, upper = high < 0, low > 0
    # one tail: mirror the upper one, so that both read  log(v + (1 - v) e^gap) + nearer  with gap <= 0
    nearer = torch.where(upper, -low, high)
    gap = torch.where(lower | upper, low - high, -1.0)
    keep = torch.where(upper, 1.0 - uniform, uniform)
    rest = torch.where(upper, uniform, 1.0 - uniform)
    wide = torch.log(keep + rest * torch.exp(gap))
    narrow = torch.log1p(rest * torch.expm1(torch.clamp(gap, min=-1.0)))
    one_sided = nearer + torch.where(gap < -_LOG_2, wide, narrow)
    one_sided = torch.where(upper, -one_sided, one_sided)
    # both sides of 1/2
    below, above = torch.exp(-low.abs()), torch.exp(-high.abs())
    inside = 1.0 - below - above
    straddling = from_probabilities(below + uniform * inside, above + (1.0 - uniform) * inside)
    drawn = torch.where(lower | upper, one_sided, straddling)
    return torch.minimum(torch.maximum(drawn, torch.nextafter(low, torch.full_like(low, torch.inf))), high)
