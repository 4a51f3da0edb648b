r"""One unobserved number a unit under Laplace noise: its log density has kinks, and no curvature of theirs between.

Where a child ``w ~ Laplace(loc(x), b)`` of the unobserved ``x`` was observed, ``log p`` has a kink at the root of
``w = loc(x)``. Where the rest of ``log p`` is quadratic in ``x``, the integral is a sum, over the pieces between
kinks, of Gaussian integrals, each a difference of normal distribution functions (one kink: the Normal-Laplace
density). The kinks are functions of the program's parameters, and everything stays differentiable in them.

>>> import math, torch
>>> knots, reach = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
>>> x = piece_nodes(knots, reach)
>>> found = piece_integral(knots, reach, -0.5 * x**2 - x.abs()).log_integral  # standard normal times Laplace
>>> exact = 0.5 + math.log(2 * math.sqrt(2 * math.pi)) + math.log(0.5 * math.erfc(1 / math.sqrt(2)))
>>> abs(float(found) - exact) < 1e-12
True
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from torch import Tensor

from pcm.couplings import Censored, noised_of, unwrap
from pcm.infer.latent.space import Space

__all__ = ["Pieces", "panels", "piece_integral", "piece_nodes", "residuals"]

#: Families whose log density has a kink at ``loc``.
KINKED = (torch.distributions.Laplace, dist.AsymmetricLaplace)


def residuals(space: Space, parameters: Mapping[str, Tensor], vector: Tensor, codes: Tensor) -> Tensor:
    """What vanishes where a site's density has a kink, ``(kink, unit)``: ``value − loc``, and the ends of a clip."""
    found: list[Tensor] = []

    def seen(name: str, fn: Any, value: Tensor) -> None:
        hidden = space.barren.get(name)
        if hidden is not None and bool(hidden.all()):
            return
        site = space.sites[name]
        for apart in _bends(fn, value):
            full = apart.expand(site.shape(space.units))
            found.append(full.movedim(len(site.inner), -1).reshape(-1, space.units))

    space.watch(parameters, vector, codes, seen)
    return torch.cat(found) if found else torch.zeros(0, space.units, dtype=space.program.dtype)


def _bends(fn: Any, value: Tensor) -> list[Tensor]:
    """Zero where the density of a site bends; a private answer's true value is clipped after it was computed."""
    bare, _ = unwrap(fn)
    if isinstance(bare, Censored) and isinstance(bare.base, KINKED):
        bare = bare.base
    noised = noised_of(fn)
    clipped = None if noised is None else noised.origin
    if clipped is None:
        return [value - bare.loc] if isinstance(bare, KINKED) else []
    found = [clipped - end for end in noised.ends]  # pyright: ignore[reportOptionalMemberAccess]
    # an answer beyond the bounds has no kink of its own: a knot there does no harm
    return [value - clipped, *found] if isinstance(bare, KINKED) else found


@dataclass(frozen=True)
class Pieces:
    """The integral ``(…, unit)`` and the curvature ``(…, unit)`` between the kinks."""

    log_integral: Tensor
    precision: Tensor


def piece_nodes(knots: Tensor, reach: Tensor) -> Tensor:
    """Where the log density must be known: two places below the kinks, the kinks, one above; ``(…, node, unit)``.

    ``knots`` ``(…, kink, unit)`` ascend; ``reach`` ``(…, unit)`` is how far out to go.
    """
    low, high, step = knots[..., :1, :], knots[..., -1:, :], reach.unsqueeze(-2)
    return torch.cat([low - 2 * step, low - step, knots, high + step], -2)


def piece_integral(knots: Tensor, reach: Tensor, values: Tensor) -> Pieces:
    """``log ∫ exp(f)`` of an ``f`` known at :func:`piece_nodes`, quadratic between kinks with one curvature."""
    far, below, above = values[..., 0, :], values[..., 1, :], values[..., -1, :]
    at = values[..., 2:-1, :]
    precision = (2.0 * below - far - at[..., 0, :]) / reach**2
    root = precision.sqrt()
    constant = 0.5 * math.log(2 * math.pi) - root.log()
    first = (at[..., 0, :] - below) / reach - 0.5 * precision * reach  # slope just below the lowest kink
    last = (above - at[..., -1, :]) / reach + 0.5 * precision * reach
    if knots.shape[-2] == 1:
        return Pieces(at[..., 0, :] + constant + _both(first / root, last / root), precision)
    terms = [at[..., 0, :] + constant + _half(-first / root), at[..., -1, :] + constant + _half(last / root)]
    for place in range(knots.shape[-2] - 1):
        width = knots[..., place + 1, :] - knots[..., place, :]
        empty = width * root <= 1e-9
        width = torch.where(empty, 1.0, width)
        slope = (at[..., place + 1, :] - at[..., place, :]) / width + 0.5 * precision * width
        start = -slope / root
        inside = at[..., place, :] + constant + 0.5 * start**2 + _between(start, start + width * root)
        terms.append(torch.where(empty, -torch.inf, inside))
    return Pieces(torch.stack(terms).logsumexp(0), precision)


def panels(knots: Tensor, low: Tensor, high: Tensor, order: int) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre nodes and log weights ``(…, node, unit)`` on every stretch between kinks of ``[low, high]``."""
    place, weight = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(order))
    place, weight = 0.5 * (place + 1.0), 0.5 * weight
    low, high = low.unsqueeze(-2), high.unsqueeze(-2)
    ends = torch.cat([low, torch.minimum(torch.maximum(knots, low), high), high], -2)
    start, width = ends[..., :-1, None, :], ends.diff(dim=-2)[..., :, None, :]
    nodes = start + width * place[:, None]
    wide = width > 0
    log_weights = torch.where(wide, torch.where(wide, width, 1.0).log(), -torch.inf) + weight.log()[:, None]
    return nodes.flatten(-3, -2), log_weights.flatten(-3, -2)


def _half(start: Tensor) -> Tensor:
    """``log ∫_{−∞}^{start} φ / φ(start) · φ(0)``: log Φ plus half the square."""
    return torch.special.log_ndtr(start) + 0.5 * start**2


def _both(first: Tensor, last: Tensor) -> Tensor:
    """Logarithm of the two halves' sum; ``erfcx`` is quicker, and overflows where a half is all but everything."""
    if bool((torch.maximum(-first, last) > 30.0).any()):
        return torch.stack([_half(-first), _half(last)]).logsumexp(0)  # logaddexp has no second derivative out there
    halves = torch.special.erfcx(first * math.sqrt(0.5)) + torch.special.erfcx(-last * math.sqrt(0.5))
    return torch.log(0.5 * halves)


def _between(low: Tensor, high: Tensor) -> Tensor:
    """``log(Φ(high) − Φ(low))``, by the nearer tail."""
    flip = low > 0
    low, high = torch.where(flip, -high, low), torch.where(flip, -low, high)
    top = torch.special.log_ndtr(high)
    return top + torch.log(-torch.expm1(torch.special.log_ndtr(low) - top))
