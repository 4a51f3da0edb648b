"""``Censored(base, low, high)``: a law of one number whose values beyond a bound are recorded as the bound.

    x = min(max(z, low), high),  z ~ base:   P(x = low) = P(z <= low),   P(x = high) = P(z >= high),

between the bounds the base's own density. Detection limits, top-coded incomes, clamped noisy answers. The law is a
density with two atoms (of a discrete base, a table). A value between the bounds determines the noise of a continuous
base, a bound leaves an interval of it.

>>> import torch, pyro.distributions as dist
>>> fn = Censored(dist.Normal(torch.tensor(0.0, dtype=torch.float64), 1.0), low=0.0)
>>> [round(fn.log_prob(torch.tensor(x, dtype=torch.float64)).exp().item(), 4) for x in (0.0, 1.0)]
[0.5, 0.242]
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, final

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pcm.couplings import registry, tail
from pcm.couplings.coupling import Coupling
from pcm.couplings.domain import UpTo
from pcm.couplings.integers import Integers
from pcm.couplings.parameters import compact, quiet_log_prob
from pcm.couplings.quantile import Quantile
from pcm.couplings.wrapped import check_base, read_base
from pcm.errors import ArgumentError

__all__ = ["Censored", "CensoredCoupling", "CensoredIntegers"]


class Censored(TorchDistribution):
    """A distribution of one number, its values clamped to ``low <= x <= high``.

    Parameters
    ----------
    base : Distribution
        Scalar, with a monotone coupling: the continuous families of one number, and laws on the integers.
    low, high : float, optional
        Bounds; none where not given. Of integers, whole numbers.

    Raises
    ------
    ArgumentError
        ``base`` is a vector or has no quantile function, no bound is given, or ``low`` is not below ``high``.

    Examples
    --------
    >>> import torch, pyro.distributions as dist
    >>> titre = Censored(dist.LogNormal(torch.tensor(0.0), 1.0), low=1.0)
    >>> round(titre.log_prob(torch.tensor(1.0)).exp().item(), 4)
    0.5
    """

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType]

    def __init__(
        self, base: Any, low: float | None = None, high: float | None = None, *, validate_args: bool | None = None
    ) -> None:
        asked = f"Censored({type(base).__name__}, low={low}, high={high})"
        coupling = read_base(asked, base, Integers, low, high)
        self.low, self.high = (-math.inf if low is None else float(low)), (math.inf if high is None else float(high))
        if not self.low < self.high:
            raise ArgumentError(f"{asked}: low must be below high.")
        if coupling.discrete and any(math.isfinite(end) and end != math.floor(end) for end in (self.low, self.high)):
            raise ArgumentError(f"{asked}: bounds of integers are whole numbers.")
        self.base = base
        super().__init__(base.batch_shape, torch.Size(), validate_args=validate_args)

    @constraints.dependent_property(event_dim=0)
    def support(self) -> Any:
        """What lies between the bounds."""
        if registry.resolve(self.base)[0].discrete:
            return constraints.integer_interval(self.low, self.high)
        if math.isfinite(self.low) and math.isfinite(self.high):
            return constraints.interval(self.low, self.high)
        return constraints.greater_than_eq(self.low) if math.isfinite(self.low) else UpTo(self.high)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same law over a larger batch."""
        new: Any = self._get_checked_instance(Censored, _instance)
        shape = torch.Size(batch_shape)
        new.base, new.low, new.high = self.base.expand(shape), self.low, self.high
        TorchDistribution.__init__(new, shape, torch.Size(), validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def mean(self) -> Tensor:
        """Mean of censored integers (of continuous laws there is no general formula)."""
        coupling, base = registry.resolve(self)
        if not isinstance(coupling, CensoredIntegers):
            raise NotImplementedError
        low = torch.full_like(self.base.mean, -torch.inf)
        return coupling.partial_mean(base, low, -low)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density between the bounds, log probability at them, ``-inf`` outside."""
        if self._validate_args:
            self._validate_sample(value)
        coupling, base = registry.resolve(self.base)
        low, high = _ends(self)
        inside = (value > self.low) & (value < self.high)
        # where the base is not asked, any value of its support will do
        asked = torch.where(
            inside, value, coupling.quantile(base, torch.full((), -math.log(2.0), dtype=torch.float64)).to(value.dtype)
        )
        at_bound = torch.where(value == self.low, tail.log_cdf(low), tail.log_sf(high))
        outside = (value < self.low) | (value > self.high)
        return torch.where(inside, quiet_log_prob(self.base, asked), torch.where(outside, -torch.inf, at_bound))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """The base's, clamped."""
        return torch.clamp(self.base.sample(sample_shape), self.low, self.high)


@final
class CensoredCoupling(Quantile):
    """Quantile coupling of a censored continuous law; a bound's noise is drawn from its interval."""

    families = (Censored,)
    pointwise: ClassVar[bool] = False

    def specialised(self, fn: Any, site: str | None = None) -> Coupling:
        """Integers have a coupling of their own."""
        return _INTEGERS if registry.resolve(fn.base, site=site)[0].discrete else self

    def validate(self, fn: Any, site: str | None = None) -> None:
        """Refuse a base without a quantile function."""
        check_base(fn, fn.base, Integers, site)

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """The base's quantile, clamped."""
        coupling, base = registry.resolve(fn.base)
        return torch.clamp(coupling.quantile(base, noise), fn.low, fn.high)

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Tail of the value; of a bound the noise at a fraction ``uniform`` of its interval."""
        if uniform is None:
            raise TypeError("abducting a censored value needs `uniform`: many noises give a bound")
        coupling, base = registry.resolve(fn.base)
        low, high = _ends(fn)
        point = coupling.tail(base, torch.clamp(value, fn.low, fn.high))
        point = torch.where(value <= fn.low, tail.between(torch.full_like(low, -torch.inf), low, uniform), point)
        return torch.where(value >= fn.high, tail.between(high, torch.full_like(high, torch.inf), uniform), point)

    def tail(self, fn: Any, value: Tensor) -> Tensor:
        """The base's between the bounds."""
        return _tail(fn, value)


@final
class CensoredIntegers(Integers):
    """The same for integers, whose noise is uniform over the interval of the value."""

    families = (Censored,)

    def validate(self, fn: Any, site: str | None = None) -> None:
        """Refuse a base without a quantile function."""
        check_base(fn, fn.base, Integers, site)

    def parameter(self, fn: Any) -> Tensor:
        """The base's."""
        coupling, base = registry.resolve(fn.base)
        assert isinstance(coupling, Integers)
        return coupling.parameter(base)

    def tail(self, fn: Any, value: Tensor) -> Tensor:
        """The base's between the bounds."""
        return _tail(fn, value)

    def quantile(self, fn: Any, at: Tensor) -> Tensor:
        """The base's, clamped."""
        coupling, base = registry.resolve(fn.base)
        return torch.clamp(coupling.quantile(base, at), fn.low, fn.high)

    def partial_mean(self, fn: Any, low: Tensor, high: Tensor) -> Tensor:
        """The base's strictly between the bounds, and the bounds' own shares."""
        coupling, base = registry.resolve(fn.base)
        assert isinstance(coupling, Integers)
        start = torch.clamp(low, min=fn.low)
        total = coupling.partial_mean(base, start, torch.maximum(start, torch.clamp(high, max=fn.high - 1.0)))
        bottom, top = _ends(fn)
        if math.isfinite(fn.low):
            total = total + torch.where((low < fn.low) & (high >= fn.low), fn.low * tail.to_cdf(bottom), 0.0)
        if math.isfinite(fn.high):
            total = total + torch.where((low < fn.high) & (high >= fn.high), fn.high * tail.to_sf(top), 0.0)
        return total


_INTEGERS = CensoredIntegers()


def _ends(fn: Any) -> tuple[Tensor, Tensor]:
    """Base's tails of ``P(z <= low)`` and of ``P(z < high)``, compact."""
    coupling, base = registry.resolve(fn.base)
    like = compact(base.mean) if coupling.discrete else torch.zeros((), dtype=torch.float64)
    step = 1.0 if coupling.discrete else 0.0
    low = coupling.tail(base, like.new_tensor(fn.low)) if math.isfinite(fn.low) else like.new_tensor(-torch.inf)
    high = (
        coupling.tail(base, like.new_tensor(fn.high - step)) if math.isfinite(fn.high) else like.new_tensor(torch.inf)
    )
    return low, high


def _tail(fn: Any, value: Tensor) -> Tensor:
    coupling, base = registry.resolve(fn.base)
    inner = coupling.tail(base, torch.clamp(value, fn.low, fn.high))
    return torch.where(value < fn.low, -torch.inf, torch.where(value >= fn.high, torch.inf, inner))
