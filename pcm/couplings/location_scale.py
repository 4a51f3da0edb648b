"""Location-scale families: ``x = loc + scale * z`` with ``z`` of the family's standard law.

The increasing map is the quantile coupling, with noise ``z = (x - loc) / scale`` instead of a quantile. A value
travels between worlds by the difference of the two equations,

    x' = x + (loc' - loc) + (x - loc) * (scale' / scale - 1),

which returns ``x`` to the bit where the parameters agree, and is ``x + (loc' - loc)`` alone where the scales do.

>>> import torch
>>> from torch.distributions import Normal
>>> NormalCoupling().transport(Normal(1.0, 2.0), torch.tensor([1.0, 3.0]), Normal(0.0, 1.0)).tolist()
[0.0, 1.0]
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar, final

import pyro.distributions as dist
import torch
from torch import Tensor

from pcm.couplings.coupling import Coupling
from pcm.couplings.parameters import compact, identical, plain
from pcm.couplings.special import normal_quantile
from pcm.couplings.tail import from_hazard, from_logit, from_probabilities, hazard, to_cdf

__all__ = [
    "CauchyCoupling",
    "GumbelCoupling",
    "LaplaceCoupling",
    "LocationScale",
    "LogisticCoupling",
    "NormalCoupling",
    "UniformCoupling",
    "normal_log_sf",
    "shift_scale",
]


class LocationScale(Coupling):
    """``x = loc + scale * z``; a family adds its standard quantile function."""

    name: ClassVar[str] = "monotone"

    @staticmethod
    @abstractmethod
    def standard(uniform: Tensor) -> Tensor:
        """Quantile function of the standard law, accurate in both tails; same shape."""

    @staticmethod
    @abstractmethod
    def standard_tail(z: Tensor) -> Tensor:
        """Signed log tail of the standard law at ``z``; same shape."""

    @staticmethod
    @abstractmethod
    def standard_quantile(tail: Tensor) -> Tensor:
        """The inverse of :meth:`standard_tail`; same shape."""

    def location(self, fn: Any) -> Tensor:
        """``loc``; shape (batch), compact."""
        return compact(fn.loc)

    def scale(self, fn: Any) -> Tensor:
        """``scale``; shape (batch), compact."""
        return compact(fn.scale)

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """``loc + scale * noise``."""
        loc = self.location(fn)
        return torch.addcmul(loc, noise, self.scale(fn)).to(loc.dtype)

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """``(value - loc) / scale``."""
        return (value - self.location(fn)) / self.scale(fn)

    def fresh(self, fn: Any, uniform: Tensor) -> Tensor:
        """The standard law's quantile."""
        return self.standard(uniform)

    def tail(self, fn: Any, value: Tensor) -> Tensor:
        """Tail of the standard law at the noise."""
        return self.standard_tail(self.abduct(fn, value))

    def quantile(self, fn: Any, at: Tensor) -> Tensor:
        """Value of the standard law's quantile."""
        return self.push(fn, self.standard_quantile(at))

    def transport(self, fn: Any, value: Tensor, other: Any, uniform: Tensor | None = None) -> Tensor:
        """``value + (loc' - loc) + (value - loc)(scale' / scale - 1)``."""
        return shift_scale(value, self.location(fn), self.scale(fn), self.location(other), self.scale(other))


def shift_scale(value: Tensor, loc: Tensor, scale: Tensor, new_loc: Tensor, new_scale: Tensor) -> Tensor:
    """``value + (new_loc - loc) + (value - loc) * (new_scale / scale - 1)``, in two passes where the scales agree."""
    shift = new_loc - loc
    # reading a full tensor of scales to compare it would cost what it saves; expanded scalars were made compact
    if scale is new_scale or (scale.dim() == 0 and new_scale.dim() == 0 and identical(scale, new_scale)):
        if shift.shape == value.shape and shift.dtype == value.dtype and type(shift) is Tensor and plain():
            return shift.add_(value)  # the shift is ours: no third buffer
        return value + shift
    stretch = (new_scale / scale).sub_(1.0)  # in place: fresh pages cost more than the arithmetic
    if shift.shape == stretch.shape == value.shape and shift.dtype == value.dtype and type(shift) is Tensor and plain():
        return (value - loc).mul_(stretch).add_(shift).add_(value)
    return torch.addcmul(value + shift, value - loc, stretch)


def _size(z: Tensor) -> Tensor:
    """``|z|``, with a slope at 0 too: the two halves of a tail meet there, and ``abs`` has slope 0."""
    return torch.where(z > 0, z, -z)


def normal_log_sf(size: Tensor) -> Tensor:
    """``log Phi(-size)`` for ``size >= 0``; same shape."""
    # torch.special.log_ndtr has no batching rule
    return torch.log(0.5 * torch.special.erfcx(size * math.sqrt(0.5))) - 0.5 * size * size


@final
class NormalCoupling(LocationScale):
    """Normal: ``x = loc + scale * z``, ``z ~ N(0, 1)``."""

    families = (torch.distributions.Normal,)

    @staticmethod
    def standard(uniform: Tensor) -> Tensor:
        """Standard normal quantile."""
        return torch.special.ndtri(uniform)

    @staticmethod
    def standard_tail(z: Tensor) -> Tensor:
        """``log Phi(-|z|)`` with the sign of ``z``."""
        log = normal_log_sf(_size(z))
        return torch.where(z > 0, -log, log)

    @staticmethod
    def standard_quantile(tail: Tensor) -> Tensor:
        """Standard normal quantile."""
        return normal_quantile(tail)


@final
class CauchyCoupling(LocationScale):
    """Cauchy: ``x = loc + scale * z``, ``z = tan(pi (u - 1/2))``."""

    families = (torch.distributions.Cauchy,)

    @staticmethod
    def standard(uniform: Tensor) -> Tensor:
        """``-cot(pi u)``."""
        # the cotangent of the nearer end keeps the tails: u - 1/2 forgets a small u
        lower = uniform < 0.5
        cotangent = 1.0 / torch.tan(math.pi * torch.where(lower, uniform, 1.0 - uniform))
        return torch.where(lower, -cotangent, cotangent)

    @staticmethod
    def standard_tail(z: Tensor) -> Tensor:
        """``log(acot |z| / pi)`` with the sign of ``z``."""
        log = torch.log(torch.atan2(torch.ones_like(z), _size(z)) / math.pi)
        return torch.where(z > 0, -log, log)

    @staticmethod
    def standard_quantile(tail: Tensor) -> Tensor:
        """``cot(pi e^-|t|)`` with the sign of ``t``."""
        cotangent = 1.0 / torch.tan(math.pi * torch.exp(-tail.abs()))
        return torch.where(tail > 0, cotangent, -cotangent)


@final
class LaplaceCoupling(LocationScale):
    """Laplace: ``x = loc + scale * z``, ``|z|`` exponential."""

    families = (torch.distributions.Laplace,)

    @staticmethod
    def standard(uniform: Tensor) -> Tensor:
        """``sign(u - 1/2) * -log(2 min(u, 1 - u))``."""
        lower = uniform < 0.5
        log = torch.log(2.0 * torch.where(lower, uniform, 1.0 - uniform))
        return torch.where(lower, log, -log)

    @staticmethod
    def standard_tail(z: Tensor) -> Tensor:
        """``z`` moved away from 0 by ``log 2``."""
        return torch.where(z > 0, z + math.log(2.0), z - math.log(2.0))

    @staticmethod
    def standard_quantile(tail: Tensor) -> Tensor:
        """``t`` moved towards 0 by ``log 2``."""
        return torch.where(tail > 0, tail - math.log(2.0), tail + math.log(2.0))


@final
class GumbelCoupling(LocationScale):
    """Gumbel (of maxima): ``x = loc + scale * z``, ``z = -log(-log u)``."""

    families = (torch.distributions.Gumbel,)

    @staticmethod
    def standard(uniform: Tensor) -> Tensor:
        """``-log(-log u)``."""
        return -torch.log(-torch.log(uniform))

    @staticmethod
    def standard_tail(z: Tensor) -> Tensor:
        """Mirror of the tail at hazard ``e^-z``."""
        return -from_hazard(torch.exp(-z))

    @staticmethod
    def standard_quantile(tail: Tensor) -> Tensor:
        """``-log`` of the mirrored tail's hazard."""
        return -torch.log(hazard(-tail))


@final
class LogisticCoupling(LocationScale):
    """Logistic: ``x = loc + scale * z``, ``z = log(u / (1 - u))``."""

    families = (dist.Logistic,)

    @staticmethod
    def standard(uniform: Tensor) -> Tensor:
        """``log(u / (1 - u))``."""
        return torch.log(uniform) - torch.log1p(-uniform)

    @staticmethod
    def standard_tail(z: Tensor) -> Tensor:
        """Tail of ``sigmoid(z)``."""
        return from_logit(z)

    @staticmethod
    def standard_quantile(tail: Tensor) -> Tensor:
        """``log u - log(1 - u)``."""
        size = tail.abs() + torch.log1p(-torch.exp(-tail.abs()))
        return torch.where(tail > 0, size, -size)


@final
class UniformCoupling(LocationScale):
    """Uniform: ``x = low + (high - low) * u``."""

    families = (torch.distributions.Uniform,)

    @staticmethod
    def standard(uniform: Tensor) -> Tensor:
        """``u``."""
        return uniform

    @staticmethod
    def standard_tail(z: Tensor) -> Tensor:
        """Tail of ``z``, 0 below 0 and 1 above 1."""
        inside = torch.clamp(z, 0.0, 1.0)
        return from_probabilities(inside, 1.0 - inside)

    @staticmethod
    def standard_quantile(tail: Tensor) -> Tensor:
        """``u``."""
        return to_cdf(tail)

    def location(self, fn: Any) -> Tensor:
        """``loc``; shape (batch), compact."""
        return compact(fn.low)

    def scale(self, fn: Any) -> Tensor:
        """``scale``; shape (batch), compact."""
        return compact(fn.high) - compact(fn.low)
