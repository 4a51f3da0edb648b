r"""One unobserved number a unit whose log density has kinks, and is quadratic between: Laplace noise, clipped noise.

Where a child ``w ~ Laplace(loc(x), b)`` of the unobserved ``x`` was observed, ``log p`` has a kink at the root of
``w = loc(x)``. Where the rest of ``log p`` is quadratic in ``x``, the integral is a sum, over the pieces between
kinks, of Gaussian integrals, each a difference of normal distribution functions (one kink: the Normal-Laplace
density). Where noise follows a clipped value, the curvature differs from piece to piece. The kinks are functions of the
program's parameters, and everything stays differentiable in them.

>>> import math, torch
>>> knots, reach = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
>>> x = piece_nodes(knots, reach)
>>> found = piece_integral(knots, reach, -0.5 * x**2 - x.abs())  # standard normal times Laplace
>>> exact = 0.5 + math.log(2 * math.sqrt(2 * math.pi)) + math.log(0.5 * math.erfc(1 / math.sqrt(2)))
>>> abs(float(found) - exact) < 1e-12
True
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from torch import Tensor

from pcm.couplings import Censored, noised_of, unwrap
from pcm.infer.latent.space import Space

__all__ = [
    "bent_integral",
    "panels",
    "piece_integral",
    "piece_nodes",
    "piece_probes",
    "piece_values",
    "residuals",
]

#: Families whose log density has a kink at ``loc``.
KINKED = (torch.distributions.Laplace, dist.AsymmetricLaplace)
#: Width of a piece, in standard deviations, below which its curvature is lost in rounding and Simpson's rule is exact.
SHORT = 1e-2
#: How far outside the kinks a quadratic is tried, in standard deviations.
OUTSIDE = (0.4, 3.3, 5.3, 9.1, 21.0)
#: Where between two kinks.
INSIDE = (0.2, 0.7)


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


def piece_nodes(knots: Tensor, reach: Tensor, *, bent: bool = False) -> Tensor:
    """Where the log density must be known: two places below the kinks, the kinks, one above; ``(…, node, unit)``.

    ``knots`` ``(…, kink, unit)`` ascend; ``reach`` ``(…, unit)`` is how far out to go. ``bent`` pieces have curvatures
    of their own: then also half-way between kinks, and two places above.
    """
    low, high, step = knots[..., :1, :], knots[..., -1:, :], reach.unsqueeze(-2)
    below = [low - 2 * step, low - step, knots]
    if not bent:
        return torch.cat([*below, high + step], -2)
    return torch.cat([*below, 0.5 * (knots[..., 1:, :] + knots[..., :-1, :]), high + step, high + 2 * step], -2)


def piece_probes(knots: Tensor, reach: Tensor) -> Tensor:
    """Places more in each piece ``(…, probe, unit)``, where a quadratic through its nodes must hold."""
    low, high, step = knots[..., :1, :], knots[..., -1:, :], reach.unsqueeze(-2)
    start, width = knots[..., :-1, :], knots.diff(dim=-2)
    inside = [start + share * width for share in INSIDE]
    return torch.cat(
        [*(low - share * step for share in OUTSIDE), *inside, *(high + share * step for share in OUTSIDE)], -2
    )


def piece_values(knots: Tensor, reach: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the quadratics through the bent :func:`piece_nodes` are at :func:`piece_probes` ``(…, probe, unit)``; their
    curvatures ``(…, piece, unit)``, of a piece too short for one the first one's; and how far one curvature for all
    would be off half-way, ``(…, piece, unit)``."""
    count, step = knots.shape[-2], reach.unsqueeze(-2)
    below = values[..., 2:3, :], values[..., 1:2, :], values[..., :1, :]  # from the kink outwards
    above = values[..., 1 + count : 2 + count, :], values[..., -2:-1, :], values[..., -1:, :]
    ends, middle = values[..., 2 : 2 + count, :], values[..., 2 + count : -2, :]
    one, other = ends[..., :-1, :], ends[..., 1:, :]

    def through(at: tuple[Tensor, Tensor, Tensor], share: float) -> Tensor:  # nodes at 0, 1, 2
        weights = 0.5 * (share - 1) * (share - 2), -share * (share - 2), 0.5 * share * (share - 1)
        return sum((w * value for w, value in zip(weights, at, strict=True)), torch.zeros(()))

    inside = [through((one, middle, other), 2 * share) for share in INSIDE]
    told = [*(through(below, share) for share in OUTSIDE), *inside, *(through(above, share) for share in OUTSIDE)]
    width = knots.diff(dim=-2)
    seconds = torch.cat(
        [below[0] - 2 * below[1] + below[2], one - 2 * middle + other, above[0] - 2 * above[1] + above[2]], -2
    )
    widths = torch.cat([step, 0.5 * width, step], -2)
    first = seconds[..., :1, :] / step**2
    short = widths <= 0.5 * SHORT * step
    curvatures = torch.where(short, first, seconds / torch.where(short, 1.0, widths) ** 2)
    return torch.cat(told, -2), curvatures, (seconds - first * widths**2).abs()


def bent_integral(knots: Tensor, reach: Tensor, values: Tensor) -> Tensor:
    """``log ∫ exp(f)`` ``(…, unit)`` of an ``f`` known at the bent :func:`piece_nodes`, quadratic between kinks."""
    count = knots.shape[-2]
    far, below, at = values[..., 0, :], values[..., 1, :], values[..., 2 : 2 + count, :]
    between, above, beyond = values[..., 2 + count : -2, :], values[..., -2, :], values[..., -1, :]
    terms = []
    for edge, near, out in ((at[..., 0, :], below, far), (at[..., -1, :], above, beyond)):
        precision = (2.0 * near - out - edge) / reach**2
        slope = (near - edge) / reach + 0.5 * precision * reach  # outwards
        terms.append(edge + _width(precision.sqrt()) + _half(slope / precision.sqrt()))
    for place in range(count - 1):
        one, middle, other = at[..., place, :], between[..., place, :], at[..., place + 1, :]
        width = knots[..., place + 1, :] - knots[..., place, :]
        short = width <= SHORT * reach
        width = torch.where(short, reach, width)
        precision = 4.0 * (2.0 * middle - one - other) / width**2
        root = torch.where(short, 1.0, precision).sqrt()
        start = -((other - one) / width + 0.5 * precision * width) / root
        inside = one + _width(root) + 0.5 * start**2 + _between(start, start + width * root)
        narrow = (knots[..., place + 1, :] - knots[..., place, :]).clamp(min=1e-300)
        simpson = torch.stack([one, middle + math.log(4.0), other]).logsumexp(0) + (narrow / 6.0).log()
        terms.append(torch.where(short, simpson, inside))
    return torch.stack(terms).logsumexp(0)


def piece_integral(knots: Tensor, reach: Tensor, values: Tensor) -> Tensor:
    """``log ∫ exp(f)`` ``(…, unit)`` of an ``f`` known at :func:`piece_nodes`, of one curvature between kinks."""
    far, below, above = values[..., 0, :], values[..., 1, :], values[..., -1, :]
    at = values[..., 2:-1, :]
    precision = (2.0 * below - far - at[..., 0, :]) / reach**2
    root = precision.sqrt()
    constant = _width(root)
    first = (at[..., 0, :] - below) / reach - 0.5 * precision * reach  # slope just below the lowest kink
    last = (above - at[..., -1, :]) / reach + 0.5 * precision * reach
    if knots.shape[-2] == 1:
        return at[..., 0, :] + constant + _both(first / root, last / root)
    terms = [at[..., 0, :] + constant + _half(-first / root), at[..., -1, :] + constant + _half(last / root)]
    for place in range(knots.shape[-2] - 1):
        width = knots[..., place + 1, :] - knots[..., place, :]
        empty = width * root <= 1e-9
        width = torch.where(empty, 1.0, width)
        slope = (at[..., place + 1, :] - at[..., place, :]) / width + 0.5 * precision * width
        start = -slope / root
        inside = at[..., place, :] + constant + 0.5 * start**2 + _between(start, start + width * root)
        terms.append(torch.where(empty, -torch.inf, inside))
    return torch.stack(terms).logsumexp(0)


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


def _width(root: Tensor) -> Tensor:
    """Logarithm of ``√(2π) σ``, for a root ``1 / σ`` of the precision."""
    return 0.5 * math.log(2 * math.pi) - root.log()


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
