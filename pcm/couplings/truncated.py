"""``Truncated(base, low, high)``: a law of one number conditioned to lie in an interval, and its quantile coupling.

Pyro and torch have no truncated normal (nor any other). With the base's distribution function ``F``,

    P(X <= x) = (F(x) - F(low)) / (F(high) - F(low)),     log p(x) = log p_base(x) - log(F(high) - F(low)),

for counts with ``F(low - 1)`` in the place of ``F(low)``: both bounds may be taken. Everything is computed from
logarithms of sums of positive terms, so a normal truncated to 40 standard deviations out is exact. Noise is the signed
log tail of the truncated law, not the base's: a unit keeps its rank among those that pass the bounds.

>>> import torch, pyro.distributions as dist
>>> fn = Truncated(dist.Normal(torch.tensor(0.0, dtype=torch.float64), 1.0), low=40.0)
>>> coupling = TruncatedCoupling()
>>> value = coupling.push(fn, torch.log(torch.tensor(0.5, dtype=torch.float64)))
>>> round(value.item(), 6), round(coupling.push(fn, coupling.abduct(fn, value)).item(), 6)
(40.017314, 40.017314)
"""

from __future__ import annotations

import math
from typing import Any, final

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pcm.couplings import registry, tail
from pcm.couplings.counts import Counts
from pcm.couplings.coupling import Coupling
from pcm.couplings.parameters import compact, concrete, quiet_log_prob
from pcm.couplings.quantile import Quantile
from pcm.couplings.solve import smallest
from pcm.couplings.wrapped import check_base, read_base
from pcm.errors import ArgumentError

__all__ = ["Truncated", "TruncatedCounts", "TruncatedCoupling"]


class Truncated(TorchDistribution):
    """A distribution of one number, conditioned on ``low <= x <= high``.

    Parameters
    ----------
    base : Distribution
        Scalar, with a monotone coupling: the continuous families of one number, and counts.
    low, high : float or Tensor, optional
        Bounds (batch), both of which a count can take; none where not given.

    Raises
    ------
    ArgumentError
        ``base`` is a vector or has no quantile function, no bound is given, or ``low`` is not below ``high``.

    Examples
    --------
    >>> import torch, pyro.distributions as dist
    >>> weight = Truncated(dist.Normal(torch.tensor(70.0), 15.0), low=30.0, high=200.0)
    >>> round(weight.log_prob(torch.tensor(70.0)).item(), 4)
    -3.6232
    """

    # bounds may be infinite; they are checked together with the base
    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType]

    def __init__(
        self,
        base: Any,
        low: float | Tensor | None = None,
        high: float | Tensor | None = None,
        *,
        validate_args: bool | None = None,
    ) -> None:
        asked = f"Truncated({type(base).__name__}, low={_short(low)}, high={_short(high)})"
        coupling = read_base(asked, base, Counts, low, high)
        like = base.mean if coupling.discrete else _reference(base)
        self.low = torch.as_tensor(-math.inf if low is None else low, dtype=like.dtype, device=like.device)
        self.high = torch.as_tensor(math.inf if high is None else high, dtype=like.dtype, device=like.device)
        shape = torch.broadcast_shapes(base.batch_shape, self.low.shape, self.high.shape)
        self.base = base.expand(shape) if base.batch_shape != shape else base
        self.low, self.high = self.low.expand(shape), self.high.expand(shape)
        bounds = compact(self.low), compact(self.high)
        # counts may be held to one value
        order = torch.less_equal if coupling.discrete else torch.less
        if all(map(concrete, bounds)) and not bool(order(*bounds).all()):
            raise ArgumentError(f"{asked}: low must be below high for every unit.")
        super().__init__(shape, torch.Size(), validate_args=validate_args)

    @constraints.dependent_property(event_dim=0)
    def support(self) -> Any:
        """The base's support between the bounds."""
        base = self.base.support
        if base.is_discrete:
            low = torch.maximum(torch.ceil(self.low), _bound(base, "lower_bound", self.low))
            return constraints.integer_interval(low, torch.floor(self.high))
        low = torch.maximum(self.low, _bound(base, "lower_bound", self.low))
        high = torch.minimum(self.high, _bound(base, "upper_bound", self.high))
        bounded = [bool(torch.isfinite(compact(each)).all()) if concrete(each) else True for each in (low, high)]
        if all(bounded):
            return constraints.interval(low, high)
        return constraints.greater_than_eq(low) if bounded[0] else constraints.less_than(high)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same law over a larger batch."""
        new: Any = self._get_checked_instance(Truncated, _instance)
        shape = torch.Size(batch_shape)
        new.base, new.low, new.high = self.base.expand(shape), self.low.expand(shape), self.high.expand(shape)
        TorchDistribution.__init__(new, shape, torch.Size(), validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def log_mass(self) -> Tensor:
        """Log probability of the bounds under the base, shape (batch)."""
        return tail.log_mass(*_limits(self))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density, ``-inf`` outside the bounds."""
        if self._validate_args:
            self._validate_sample(value)
        inside = (value >= self.low) & (value <= self.high)
        return torch.where(inside, quiet_log_prob(self.base, value) - self.log_mass, -torch.inf)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """By the quantile function."""
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            uniform = torch.rand(shape, dtype=torch.float64, device=self.low.device)
            coupling, fn = registry.resolve(self)
            return coupling.push(fn, coupling.fresh(fn, uniform.clamp(min=2.0**-54))).expand(shape)

    @property
    def mean(self) -> Tensor:
        """Mean of truncated counts (of continuous laws there is no general formula)."""
        coupling, base = registry.resolve(self.base)
        if not isinstance(coupling, Counts):
            raise NotImplementedError
        low = torch.clamp(torch.ceil(self.low) - 1.0, min=-1.0)
        high = torch.where(torch.isinf(self.high), coupling.quantile(base, torch.full_like(low, 700.0)), self.high)
        return coupling.partial_mean(base, low, torch.floor(high)) / tail.mass(*_limits(self))


@final
class TruncatedCoupling(Quantile):
    """Quantile coupling of a truncated continuous law; noise is its signed log tail."""

    families = (Truncated,)

    def specialised(self, fn: Any, site: str | None = None) -> Coupling:
        """Counts have a coupling of their own."""
        return _COUNTS if registry.resolve(fn.base, site=site)[0].discrete else self

    def validate(self, fn: Any, site: str | None = None) -> None:
        """Refuse a base without a quantile function."""
        check_base(fn, fn.base, Counts, site)

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """Base's quantile between the bounds."""
        coupling, base = registry.resolve(fn.base)
        value = coupling.quantile(base, _widen(fn, noise))
        return torch.minimum(torch.maximum(value, compact(fn.low)), compact(fn.high))

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Tail of ``(F(value) - F(low)) / (F(high) - F(low))``."""
        return _narrow(fn, value)

    def transport(self, fn: Any, value: Tensor, other: Any, uniform: Tensor | None = None) -> Tensor:
        """Value of the same rank; to the bit ``value`` where the laws agree."""
        rank = _narrow(fn, value)
        return torch.where(_narrow(other, value) == rank, value, self.push(other, rank))


@final
class TruncatedCounts(Counts):
    """The same for counts, whose noise is uniform over the interval of the value."""

    families = (Truncated,)

    def validate(self, fn: Any, site: str | None = None) -> None:
        """Refuse a base without a quantile function."""
        check_base(fn, fn.base, Counts, site)

    def parameter(self, fn: Any) -> Tensor:
        """The bounds; values have their dtype."""
        return fn.low

    def tail(self, fn: Any, value: Tensor) -> Tensor:
        """Tail of ``(F(value) - F(low - 1)) / (F(high) - F(low - 1))``."""
        return _narrow(fn, value)

    def quantile(self, fn: Any, at: Tensor) -> Tensor:
        """The base's quantile between the bounds, checked against the tail that abduction uses."""
        coupling, base = registry.resolve(fn.base)
        near = coupling.quantile(base, _widen(fn, at)).to(torch.float64)
        least, most = torch.ceil(compact(fn.low)), torch.floor(compact(fn.high))
        near = torch.minimum(torch.maximum(near, least), most)
        low = torch.maximum(near - 3.0, torch.clamp(least, min=0.0) - 1.0)
        return smallest(lambda count: _narrow(fn, count) - at, low, torch.minimum(near + 2.0, most))

    def partial_mean(self, fn: Any, low: Tensor, high: Tensor) -> Tensor:
        """The base's, over the probability of the bounds."""
        coupling, base = registry.resolve(fn.base)
        assert isinstance(coupling, Counts)
        low, high = torch.maximum(low, torch.ceil(compact(fn.low)) - 1.0), torch.minimum(high, compact(fn.high))
        return coupling.partial_mean(base, low, torch.maximum(low, high)) / tail.mass(*_limits(fn))


_COUNTS = TruncatedCounts()


def _limits(fn: Any) -> tuple[Tensor, Tensor]:
    """Base's tails at the bounds: what lies between them can be had."""
    coupling, base = registry.resolve(fn.base)
    low, high = compact(fn.low), compact(fn.high)
    # a bound that does not bind is not looked up: outside the support there is no answer, at infinity no derivative
    bottom, top = _bound(fn.base.support, "lower_bound", low), _bound(fn.base.support, "upper_bound", high)
    loose, idle = low <= bottom, high >= top
    inside = torch.where(torch.isinf(bottom), torch.where(torch.isinf(top), 0.0, top - 1.0), bottom + 1.0)
    inside = torch.where(torch.isinf(bottom) | torch.isinf(top), inside, 0.5 * (bottom + top))
    if coupling.discrete:
        low, high = torch.ceil(low) - 1.0, torch.floor(high)
    start = coupling.tail(base, torch.where(loose, inside, low))
    end = coupling.tail(base, torch.where(idle, inside, high))
    return torch.where(loose, -torch.inf, start), torch.where(idle, torch.inf, end)


def _narrow(fn: Any, value: Tensor) -> Tensor:
    """Truncated law's tail of a value, ``-inf`` below the bounds and ``inf`` above."""
    coupling, base = registry.resolve(fn.base)
    start, end = _limits(fn)
    inner = torch.minimum(torch.maximum(coupling.tail(base, value), start), end)
    total = tail.log_mass(start, end)
    rank = tail.from_logs(tail.log_mass(start, inner) - total, tail.log_mass(inner, end) - total)
    if coupling.discrete:
        return torch.where(inner >= end, torch.inf, rank)
    return rank


def _widen(fn: Any, at: Tensor) -> Tensor:
    """Base's tail at the truncated law's tail: sums of positive terms in either tail, so nothing cancels."""
    start, end = _limits(fn)
    total = tail.log_mass(start, end)
    below = _either(tail.log_cdf(start), tail.log_cdf(at) + total)
    above = _either(tail.log_sf(end), tail.log_sf(at) + total)
    return tail.from_logs(below, above)


def _either(first: Tensor, second: Tensor) -> Tensor:
    """``log(e^first + e^second)``; unlike torch's, with a second derivative where one of them is far below."""
    low, high = torch.minimum(first, second), torch.maximum(first, second)
    return high + torch.log1p(torch.exp(low - high))


def _reference(base: Any) -> Tensor:
    """A tensor whose dtype values have."""
    while hasattr(base, "base_dist"):
        base = base.base_dist
    held = [each for each in vars(base).values() if isinstance(each, Tensor) and each.is_floating_point()]
    return held[0] if held else torch.zeros(())


def _bound(support: Any, name: str, like: Tensor) -> Tensor:
    """A bound of the base's support, infinite where it has none (or one for each component)."""
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    found = getattr(support, name, None)
    if isinstance(found, Tensor) and found.dim() > like.dim() > 0:
        found = None
    none = -math.inf if name == "lower_bound" else math.inf
    return torch.as_tensor(none if found is None else found, dtype=like.dtype, device=like.device)


def _short(bound: Any) -> str:
    return f"tensor of shape {tuple(bound.shape)}" if isinstance(bound, Tensor) and bound.dim() else str(bound)
