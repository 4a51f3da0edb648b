"""MixtureSameFamily, monotone: the quantile coupling of the mixture as a whole.

The unit's noise is its rank ``u = F(x) = sum_k w_k F_k(x)`` in the mixture, kept as a signed log tail; in another world
it has the value of the same rank, ``x' = F'^-1(u)``. Which component a unit came from plays no part: the curve ``F``
alone says where it goes. The other reading, the component as a latent choice that the unit keeps where it can, is the
coupling ``component`` (:mod:`pcm.couplings.component`); data cannot tell the two apart.

Both tails are weighted sums of the components' own, in logarithms, so neither loses precision. The quantile lies
between the components' quantiles at the same ``u``, and is found there by a bracketed search
(:mod:`pcm.couplings.solve`). In a gap between components, where the density is ``d``, a value is known to
``1e-16 / d``.

>>> import torch
>>> from torch.distributions import Categorical, MixtureSameFamily, Normal
>>> weights = Categorical(torch.tensor([0.5, 0.5], dtype=torch.float64))
>>> old = MixtureSameFamily(weights, Normal(torch.tensor([-2.0, 2.0], dtype=torch.float64), 1.0))
>>> new = MixtureSameFamily(weights, Normal(torch.tensor([-1.0, 3.0], dtype=torch.float64), 1.0))
>>> round(MixtureCoupling().transport(old, torch.tensor(2.0, dtype=torch.float64), new).item(), 4)
3.0
"""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

from pcm.couplings import registry, tail
from pcm.couplings.counts import Counts
from pcm.couplings.coupling import Coupling
from pcm.couplings.finite import compact_batch
from pcm.couplings.parameters import log_probabilities, quiet_log_prob
from pcm.couplings.quantile import Quantile
from pcm.couplings.solve import root, smallest
from pcm.couplings.wrapped import has_quantiles
from pcm.errors import CouplingError

__all__ = ["MixtureCounts", "MixtureCoupling", "log_weights"]


@final
class MixtureCoupling(Quantile):
    """``x = F^-1(u)`` with ``F`` the mixture's distribution function; noise is a signed log tail."""

    families = (torch.distributions.MixtureSameFamily,)

    def specialised(self, fn: Any, site: str | None = None) -> Coupling:
        """Counts have a coupling of their own."""
        return _COUNTS if registry.resolve(fn.component_distribution, site=site)[0].discrete else self

    def validate(self, fn: Any, site: str | None = None) -> None:
        """Refuse components that are vectors or have no distribution function here."""
        _validate(fn, site)

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """``F^-1`` of the noise."""
        return _inverse(fn, noise, None)

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Tail of ``sum_k w_k F_k(value)``."""
        return _mixture_tail(fn, value)

    def transport(self, fn: Any, value: Tensor, other: Any, uniform: Tensor | None = None) -> Tensor:
        """``F'^-1(F(value))``, the search starting at the value: to the bit ``value`` where the laws agree."""
        return _inverse(other, _mixture_tail(fn, value), value)


@final
class MixtureCounts(Counts):
    """The same for mixtures of counts, whose noise is uniform over the interval of the value."""

    families = (torch.distributions.MixtureSameFamily,)

    def validate(self, fn: Any, site: str | None = None) -> None:
        """Refuse components that are vectors or have no distribution function here."""
        _validate(fn, site)

    def tail(self, fn: Any, value: Tensor) -> Tensor:
        """Tail of ``sum_k w_k F_k(value)``."""
        return _mixture_tail(fn, value)

    def quantile(self, fn: Any, at: Tensor) -> Tensor:
        """Smallest count by bisection between the components' quantiles."""
        low, high, _ = _bracket(fn, at)
        return smallest(lambda count: _mixture_tail(fn, count) - at, low - 2.0, high + 1.0)

    def partial_mean(self, fn: Any, low: Tensor, high: Tensor) -> Tensor:
        """Weighted sum of the components' partial means."""
        coupling, component = registry.resolve(fn.component_distribution)
        assert isinstance(coupling, Counts)
        part = coupling.partial_mean(component, low.unsqueeze(-1), high.unsqueeze(-1))
        return (torch.exp(log_weights(fn)) * part).sum(-1)

    def parameter(self, fn: Any) -> Tensor:
        """The components' parameter; values have its dtype."""
        coupling, component = registry.resolve(fn.component_distribution)
        assert isinstance(coupling, Counts)
        return coupling.parameter(component)


_COUNTS = MixtureCounts()
_EPS = torch.finfo(torch.float64).eps


def log_weights(fn: Any) -> Tensor:
    """Log-weights of a mixture; (batch, component), the batch compact."""
    return compact_batch(log_probabilities(fn.mixture_distribution))


def _validate(fn: Any, site: str | None) -> None:
    coupling, component = registry.resolve(fn.component_distribution, site=site)
    family = type(component).__name__
    if fn.event_shape or not has_quantiles(coupling, Counts):
        found = "whose values are vectors" if fn.event_shape else "which has no one-to-one quantile function here"
        other = f"Use couplings={{'{site or '…'}': 'component'}}, or write" if coupling.invertible else "Write"
        raise CouplingError(
            f"{registry.at_site(site)}{type(fn).__name__} was asked for the quantile of the mixture (coupling "
            f"'monotone'), but its component is a {family}, {found}. {other} the component as a Categorical site of "
            "its own.",
            site=site,
            family=type(fn).__name__,
        )


def _logs(fn: Any, value: Tensor) -> tuple[Tensor, Tensor]:
    """``log F`` and ``log(1 - F)``; the broadcast shape."""
    coupling, component = registry.resolve(fn.component_distribution)
    parts, weights = coupling.tail(component, value.unsqueeze(-1)), log_weights(fn)
    # e^-|t| is the nearer tail, its complement the farther: one exponential serves both sides
    near = -parts.abs()
    far = torch.log1p(-torch.exp(near))
    lower = parts < 0
    return _log_sum(torch.where(lower, near, far) + weights), _log_sum(torch.where(lower, far, near) + weights)


def _log_sum(logs: Tensor) -> Tensor:
    """``log sum exp`` over the components; a maximum and a sum over slices, many times faster than over a short dim."""
    parts = logs.unbind(-1)
    peak = parts[0]
    for part in parts[1:]:
        peak = torch.maximum(peak, part)
    steady = torch.clamp(peak, min=-1.7e308)
    total = torch.exp(parts[0] - steady)
    for part in parts[1:]:
        total = total + torch.exp(part - steady)
    return steady + torch.log(total)


def _mixture_tail(fn: Any, value: Tensor) -> Tensor:
    return tail.from_logs(*_logs(fn, value))


def _bracket(fn: Any, at: Tensor) -> tuple[Tensor, Tensor, torch.dtype]:
    """Least and greatest of the components' quantiles (the mixture's lies between them), and the dtype of values."""
    coupling, component = registry.resolve(fn.component_distribution)
    ends = coupling.quantile(component, at.unsqueeze(-1))
    dtype, ends = ends.dtype, ends.to(torch.float64)
    # a component of weight 0 has no say
    idle = torch.isneginf(log_weights(fn))
    low = torch.where(idle, torch.inf, ends).amin(-1)
    return low, torch.where(idle, -torch.inf, ends).amax(-1), dtype


def _inverse(fn: Any, noise: Tensor, start: Tensor | None) -> Tensor:
    upper = noise > 0

    def miss(value: Tensor) -> Tensor:
        # on the logarithm of the noise's own side, where neither end is flat
        log_cdf, log_sf = _logs(fn, value)
        return torch.where(upper, -log_sf, log_cdf) - noise

    with torch.no_grad():
        low, high, dtype = _bracket(fn, noise)
        guess = None if start is None else start.to(torch.float64).expand(low.shape)
        found = root(miss, low, high, guess, noise=_EPS * noise.abs())
    if torch.is_grad_enabled() and any(each.requires_grad for each in (noise, *_parameters(fn))):
        found = _with_gradient(fn, found, noise)
    return found.to(dtype)


def _parameters(fn: Any) -> list[Tensor]:
    _, component = registry.resolve(fn.component_distribution)
    held = [*vars(component).values(), log_weights(fn)]
    return [each for each in held if isinstance(each, Tensor)]


def _with_gradient(fn: Any, value: Tensor, noise: Tensor) -> Tensor:
    """The value, with the derivatives that the implicit function theorem gives it in the noise and the parameters."""
    value = value.detach()
    slope = torch.exp(quiet_log_prob(fn, value) + noise.abs()).detach()
    miss = _mixture_tail(fn, value) - noise
    return value - (miss - miss.detach()) / slope
