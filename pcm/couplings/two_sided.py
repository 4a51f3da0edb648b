"""``DiscreteLaplace(loc, scale)`` and ``DiscreteGaussian(loc, scale)``: integer noise around an integer, monotone.

    DiscreteLaplace:   p(k) = (1 - q) / (1 + q) * q^|k - loc|,   q = e^(-1 / scale),   variance 2 q / (1 - q)^2,
    DiscreteGaussian:  p(k) = exp(-(k - loc)^2 / (2 scale^2)) / Z.

The laws of the discrete Laplace and Gaussian mechanisms [1]_ [2]_, and of integer measurement error. The discrete
Laplace is in closed form; the discrete Gaussian's distribution function is a table, made once a scale. Where scales
agree, the quantile coupling is the mechanism's own equation ``x = loc + noise``: values move with ``loc``.

References
----------
.. [1] Inusah, Kozubowski (2006). A discrete analogue of the Laplace distribution. J. Stat. Plan. Inference 136.
.. [2] Canonne, Kamath, Steinke (2020). The discrete Gaussian for differential privacy. NeurIPS.

>>> import torch
>>> round(DiscreteLaplace(torch.tensor(0.0, dtype=torch.float64), 2.0).variance.item(), 12)
7.835396178066
>>> round(DiscreteGaussian(torch.tensor(0.0, dtype=torch.float64), 0.7).variance.item(), 14)
0.48880563042859
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple, final

import numpy as np
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.utils import broadcast_all

from pcm.couplings import tail
from pcm.couplings.domain import whole_numbers
from pcm.couplings.integers import Integers
from pcm.couplings.parameters import compact
from pcm.couplings.solve import smallest
from pcm.errors import ArgumentError

__all__ = ["DiscreteGaussian", "DiscreteGaussianCoupling", "DiscreteLaplace", "DiscreteLaplaceCoupling"]

MAX_SCALE = 100_000.0
"""Largest scale of a discrete Gaussian: its table has about 80 entries a unit of scale."""

_REACH = 38.7
"""Standard deviations after which a normal density underflows."""


class _Around(TorchDistribution):
    """A symmetric law on the integers around ``loc``."""

    support = whole_numbers  # pyright: ignore[reportAssignmentType]
    loc: Tensor

    @property
    def mean(self) -> Tensor:
        """``loc``."""
        return self.loc

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """By the quantile function."""
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            uniform = torch.rand(shape, dtype=torch.float64, device=self.loc.device).clamp(min=2.0**-54)
            coupling: Integers = _LAPLACE if isinstance(self, DiscreteLaplace) else _GAUSSIAN
            return coupling.push(self, tail.from_uniform(uniform)).expand(shape)


class DiscreteLaplace(_Around):
    """Integers with probability proportional to ``e^(-|k - loc| / scale)``.

    Parameters
    ----------
    loc : Tensor
        Whole numbers, (batch).
    scale : float or Tensor
        Positive.

    Examples
    --------
    >>> import torch
    >>> fn = DiscreteLaplace(torch.tensor(3.0), 1.0)
    >>> [round(fn.log_prob(torch.tensor(k)).exp().item(), 4) for k in (2.0, 3.0, 4.0)]
    [0.17, 0.4621, 0.17]
    """

    arg_constraints = {"loc": whole_numbers, "scale": constraints.positive}  # noqa: RUF012  # pyright: ignore

    def __init__(self, loc: Tensor | float, scale: Tensor | float, *, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, torch.Size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same law over a larger batch."""
        new: Any = self._get_checked_instance(DiscreteLaplace, _instance)
        shape = torch.Size(batch_shape)
        new.loc, new.scale = self.loc.expand(shape), self.scale.expand(shape)
        TorchDistribution.__init__(new, shape, torch.Size(), validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def variance(self) -> Tensor:
        """``2 q / (1 - q)^2``."""
        rate = 1.0 / self.scale
        return 2.0 * torch.exp(-rate) / torch.expm1(-rate) ** 2

    def log_prob(self, value: Tensor) -> Tensor:
        """Log probability."""
        if self._validate_args:
            self._validate_sample(value)
        rate = 1.0 / self.scale
        # (1 - q) / (1 + q)
        return torch.log(torch.tanh(0.5 * rate)) - (value - self.loc).abs() * rate


class DiscreteGaussian(_Around):
    """Integers with probability proportional to ``exp(-(k - loc)^2 / (2 scale^2))``.

    Parameters
    ----------
    loc : Tensor
        Whole numbers, (batch).
    scale : float
        One number for all units, up to 100,000.

    Raises
    ------
    ArgumentError
        A scale that is not positive, not finite, or too large for a table.

    Examples
    --------
    >>> import torch
    >>> fn = DiscreteGaussian(torch.tensor(3.0), 1.0)
    >>> [round(fn.log_prob(torch.tensor(k)).exp().item(), 4) for k in (2.0, 3.0, 4.0)]
    [0.242, 0.3989, 0.242]
    """

    arg_constraints = {"loc": whole_numbers}  # noqa: RUF012  # pyright: ignore[reportAssignmentType]

    def __init__(self, loc: Tensor | float, scale: float, *, validate_args: bool | None = None) -> None:
        if not (isinstance(scale, float | int) and 0.0 < scale <= MAX_SCALE):
            raise ArgumentError(
                f"DiscreteGaussian(scale={scale!r}): the scale is one positive number, at most {MAX_SCALE:,.0f}; above "
                "that, a Normal with a continuity correction is the same to 1e-10."
            )
        self.loc = torch.as_tensor(loc, dtype=loc.dtype if isinstance(loc, Tensor) else torch.get_default_dtype())
        self.scale = float(scale)
        super().__init__(self.loc.shape, torch.Size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same law over a larger batch."""
        new: Any = self._get_checked_instance(DiscreteGaussian, _instance)
        shape = torch.Size(batch_shape)
        new.loc, new.scale = self.loc.expand(shape), self.scale
        TorchDistribution.__init__(new, shape, torch.Size(), validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def variance(self) -> Tensor:
        """``sum of k^2 p(k)``."""
        return torch.full_like(self.loc, _table(self.scale).variance)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log probability."""
        if self._validate_args:
            self._validate_sample(value)
        return -0.5 * ((value - self.loc) / self.scale) ** 2 - _table(self.scale).log_total


@final
class DiscreteLaplaceCoupling(Integers):
    """Discrete Laplace: ``F(d) = q^-d / (1 + q)`` below 0, ``1 - q^(d + 1) / (1 + q)`` from 0."""

    families = (DiscreteLaplace,)

    def parameter(self, fn: Any) -> Tensor:
        """``loc``."""
        return fn.loc

    def tail(self, fn: Any, value: Tensor) -> Tensor:
        """Tail of the distance from ``loc``."""
        return _laplace_tail(value - compact(fn.loc), compact(fn.scale))

    def quantile(self, fn: Any, at: Tensor) -> Tensor:
        """Closed form, corrected for rounding."""
        scale = compact(fn.scale)
        rest = torch.log1p(torch.exp(-1.0 / scale))
        below = torch.clamp(torch.ceil(scale * (at + rest)), max=0.0)
        above = torch.clamp(torch.ceil(scale * (at - rest)) - 1.0, min=0.0)
        guess = torch.where(at < 0, below, above)
        # rounding is off by one at most; T(d) decides, as it does in abduction
        guess = torch.where(_laplace_tail(guess - 1.0, scale) >= at, guess - 1.0, guess)
        guess = torch.where(_laplace_tail(guess, scale) < at, guess + 1.0, guess)
        return compact(fn.loc) + guess

    def partial_mean(self, fn: Any, low: Tensor, high: Tensor) -> Tensor:
        """``loc`` times the mass, and the distances' own partial mean."""
        loc, scale = compact(fn.loc), compact(fn.scale)
        inside = tail.mass(self.tail(fn, low), self.tail(fn, high))
        return loc * inside + _laplace_moment(high - loc, scale) - _laplace_moment(low - loc, scale)


@final
class DiscreteGaussianCoupling(Integers):
    """Discrete Gaussian: by the table of its distribution function."""

    families = (DiscreteGaussian,)

    def parameter(self, fn: Any) -> Tensor:
        """``loc``."""
        return fn.loc

    def tail(self, fn: Any, value: Tensor) -> Tensor:
        """Entry of the table at the distance from ``loc``."""
        table = _table(fn.scale)
        return _entry(table.tails, value - compact(fn.loc), table.reach, -torch.inf, torch.inf)

    def quantile(self, fn: Any, at: Tensor) -> Tensor:
        """By bisection of the table."""
        loc, table = compact(fn.loc), _table(fn.scale)
        start = torch.zeros_like(at)
        found = smallest(
            lambda d: _entry(table.tails, d, table.reach, -torch.inf, torch.inf) - at,
            start - table.reach - 1.0,
            start + table.reach,
        )
        return loc + found

    def partial_mean(self, fn: Any, low: Tensor, high: Tensor) -> Tensor:
        """``loc`` times the mass, and the distances' own partial mean."""
        loc, table = compact(fn.loc), _table(fn.scale)
        inside = tail.mass(self.tail(fn, low), self.tail(fn, high))
        moment = [_entry(table.moments, each - loc, table.reach, 0.0, 0.0) for each in (low, high)]
        return loc * inside + moment[1] - moment[0]


_LAPLACE = DiscreteLaplaceCoupling()
_GAUSSIAN = DiscreteGaussianCoupling()


def _laplace_tail(distance: Tensor, scale: Tensor) -> Tensor:
    rest = torch.log1p(torch.exp(-1.0 / scale))
    return torch.where(distance < 0, distance / scale - rest, (distance + 1.0) / scale + rest)


def _laplace_moment(distance: Tensor, scale: Tensor) -> Tensor:
    """``sum of j p(j) over j <= distance`` of the law around 0: the same on both sides, by symmetry."""
    ends = torch.where(distance < 0, -distance, distance + 1.0)
    open_end = torch.isinf(ends)
    ends = torch.where(open_end, 1.0, ends)
    q, less = torch.exp(-1.0 / scale), -torch.expm1(-1.0 / scale)
    inside = torch.exp(-ends / scale) * (ends * less + q) / ((1.0 + q) * less)
    return torch.where(open_end, 0.0, -inside)


class _Table(NamedTuple):
    """A discrete Gaussian around 0 for ``-reach <= d <= reach``."""

    reach: int
    log_total: float
    variance: float
    tails: Tensor
    moments: Tensor


@lru_cache(maxsize=8)
def _table(scale: float) -> _Table:
    reach = math.ceil(_REACH * scale)
    distance = np.arange(-reach, 1, dtype=np.float64)  # the lower half, far to near
    log_weight = -0.5 * (distance / scale) ** 2
    weight = np.exp(log_weight)
    total = 2.0 * math.fsum(weight[:-1]) + 1.0
    variance = 2.0 * math.fsum(distance**2 * weight) / total
    # log F(d) for d < 0; far terms first, so that none is lost
    below = np.logaddexp.accumulate(log_weight[:-1]) - math.log(total)
    tails = np.concatenate([below, -below[::-1], [np.inf]])  # F(d) = 1 - F(-d - 1)
    moment = np.cumsum(distance * weight)[:-1] / total
    moments = np.concatenate([moment, moment[::-1], [0.0]])
    return _Table(reach, math.log(total), variance, torch.from_numpy(tails), torch.from_numpy(moments))


def _entry(table: Tensor, distance: Tensor, reach: int, below: float, above: float) -> Tensor:
    found = table[(torch.clamp(torch.nan_to_num(distance), -reach, reach) + reach).long()]
    return torch.where(distance < -reach, below, torch.where(distance >= reach, above, found))
