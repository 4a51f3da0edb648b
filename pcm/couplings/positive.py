"""Positive families and Kumaraswamy: closed-form equations, accurate in both tails.

Each family's noise is its standard law ``z`` (exponential, half-normal, normal, …), never a quantile, so that no tail
is lost; a value travels by the ratio of the two equations and comes back to the bit where the parameters agree.

============  ===================================  ======================================================
family        equation                             transport
============  ===================================  ======================================================
Exponential   ``x = z / rate``                     ``x * (rate / rate')``
HalfNormal    ``x = scale * z``                    ``x * (scale' / scale)``
HalfCauchy    ``x = scale * z``                    ``x * (scale' / scale)``
LogNormal     ``x = exp(loc + scale z)``           ``x * exp((loc' - loc) + (log x - loc)(scale'/scale - 1))``
Weibull       ``x = scale * z^(1/k)``              ``x * (scale'/scale) * (x/scale)^(k/k' - 1)``
Pareto        ``x = scale * exp(z/alpha)``         ``x * (scale'/scale) * (x/scale)^(alpha/alpha' - 1)``
Kumaraswamy   ``x = (1 - e^(-z/b))^(1/a)``         through ``z``
============  ===================================  ======================================================

>>> import torch
>>> from torch.distributions import Exponential
>>> ExponentialCoupling().transport(Exponential(2.0), torch.tensor([700.0]), Exponential(1.0)).tolist()
[1400.0]
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from pcm.couplings import tail
from pcm.couplings.coupling import Coupling
from pcm.couplings.location_scale import NormalCoupling, normal_log_sf
from pcm.couplings.parameters import compact
from pcm.couplings.special import normal_quantile

__all__ = [
    "ExponentialCoupling",
    "HalfCauchyCoupling",
    "HalfNormalCoupling",
    "Hazard",
    "KumaraswamyCoupling",
    "LogNormalCoupling",
    "ParetoCoupling",
    "Scale",
    "WeibullCoupling",
]


class Scale(Coupling):
    """``x = scale * z`` with ``z > 0``; a family adds its standard quantile function."""

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
    def standard_quantile(at: Tensor) -> Tensor:
        """The inverse of :meth:`standard_tail`; same shape."""

    def tail(self, fn: Any, value: Tensor) -> Tensor:
        """Tail of the standard law at the noise."""
        return self.standard_tail(self.abduct(fn, value))

    def quantile(self, fn: Any, at: Tensor) -> Tensor:
        """Value of the standard law's quantile."""
        return self.push(fn, self.standard_quantile(at))

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """``scale * noise``."""
        scale = compact(fn.scale)
        return (noise * scale).to(scale.dtype)

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """``value / scale``."""
        return value / compact(fn.scale)

    def fresh(self, fn: Any, uniform: Tensor) -> Tensor:
        """The standard law's quantile."""
        return self.standard(uniform)

    def transport(self, fn: Any, value: Tensor, other: Any, uniform: Tensor | None = None) -> Tensor:
        """``value * (scale' / scale)``."""
        return value * (compact(other.scale) / compact(fn.scale))


class Hazard(Coupling):
    """Increasing maps of ``z ~ Exponential(1)``, which is the hazard ``-log(1 - u)``."""

    name: ClassVar[str] = "monotone"

    def fresh(self, fn: Any, uniform: Tensor) -> Tensor:
        """``-log(1 - uniform)``."""
        return -torch.log1p(-uniform)

    def tail(self, fn: Any, value: Tensor) -> Tensor:
        """Tail at the hazard."""
        return tail.from_hazard(self.abduct(fn, value))

    def quantile(self, fn: Any, at: Tensor) -> Tensor:
        """Value of the hazard of the tail."""
        return self.push(fn, tail.hazard(at))


@final
class ExponentialCoupling(Hazard):
    """Exponential: ``x = z / rate``, ``z ~ Exponential(1)``."""

    families = (torch.distributions.Exponential,)

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """``noise / rate``."""
        rate = compact(fn.rate)
        return (noise / rate).to(rate.dtype)

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """``value * rate``."""
        return value * compact(fn.rate)

    def transport(self, fn: Any, value: Tensor, other: Any, uniform: Tensor | None = None) -> Tensor:
        """``value * (rate / rate')``."""
        return value * (compact(fn.rate) / compact(other.rate))


@final
class HalfNormalCoupling(Scale):
    """Half-normal: ``x = scale * z``, ``z = |N(0, 1)|``."""

    families = (torch.distributions.HalfNormal,)

    @staticmethod
    def standard(uniform: Tensor) -> Tensor:
        """``sqrt(2) erfinv(u)``, in the upper tail ``-ndtri((1 - u) / 2)``."""
        upper = uniform > 0.5
        near = math.sqrt(2.0) * torch.erfinv(torch.where(upper, 0.5, uniform))
        return torch.where(upper, -torch.special.ndtri((1.0 - uniform) / 2.0), near)

    @staticmethod
    def standard_tail(z: Tensor) -> Tensor:
        """From ``erf(z / sqrt(2))`` and ``2 Phi(-z)``."""
        return tail.from_logs(torch.log(torch.erf(z / math.sqrt(2.0))), math.log(2.0) + normal_log_sf(z))

    @staticmethod
    def standard_quantile(at: Tensor) -> Tensor:
        """``sqrt(2) erfinv(u)``, in the upper tail the normal quantile at half of ``1 - u``."""
        upper = at > 0
        near = math.sqrt(2.0) * torch.erfinv(torch.where(upper, 0.5, torch.exp(-at.abs())))
        return torch.where(upper, normal_quantile(at.abs() + math.log(2.0)), near)


@final
class HalfCauchyCoupling(Scale):
    """Half-Cauchy: ``x = scale * z``, ``z = tan(pi u / 2)``."""

    families = (torch.distributions.HalfCauchy,)

    @staticmethod
    def standard(uniform: Tensor) -> Tensor:
        """``tan(pi u / 2)``, in the upper tail ``1 / tan(pi (1 - u) / 2)``."""
        upper = uniform > 0.5
        tangent = torch.tan(0.5 * math.pi * torch.where(upper, 1.0 - uniform, uniform))
        return torch.where(upper, 1.0 / tangent, tangent)

    @staticmethod
    def standard_tail(z: Tensor) -> Tensor:
        """From ``2 atan(z) / pi`` and ``2 acot(z) / pi``."""
        one = torch.ones_like(z)
        return tail.from_probabilities(2.0 / math.pi * torch.atan(z), 2.0 / math.pi * torch.atan2(one, z))

    @staticmethod
    def standard_quantile(at: Tensor) -> Tensor:
        """``tan(pi u / 2)``, in the upper tail ``1 / tan(pi (1 - u) / 2)``."""
        tangent = torch.tan(0.5 * math.pi * torch.exp(-at.abs()))
        return torch.where(at > 0, 1.0 / tangent, tangent)


@final
class LogNormalCoupling(Coupling):
    """Log-normal: ``x = exp(loc + scale * z)``, ``z ~ N(0, 1)``."""

    name: ClassVar[str] = "monotone"
    families = (torch.distributions.LogNormal,)

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """``exp(loc + scale * noise)``."""
        loc = compact(fn.loc)
        return torch.exp(torch.addcmul(loc, noise, compact(fn.scale))).to(loc.dtype)

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """``(log value - loc) / scale``."""
        return (torch.log(value) - compact(fn.loc)) / compact(fn.scale)

    def fresh(self, fn: Any, uniform: Tensor) -> Tensor:
        """Standard normal quantile."""
        return torch.special.ndtri(uniform)

    def tail(self, fn: Any, value: Tensor) -> Tensor:
        """Tail of the normal law at the noise."""
        return NormalCoupling.standard_tail(self.abduct(fn, value))

    def quantile(self, fn: Any, at: Tensor) -> Tensor:
        """Value of the normal law's quantile."""
        return self.push(fn, normal_quantile(at))

    def transport(self, fn: Any, value: Tensor, other: Any, uniform: Tensor | None = None) -> Tensor:
        """``value * exp((loc' - loc) + (log value - loc)(scale' / scale - 1))``."""
        loc, stretch = compact(fn.loc), compact(other.scale) / compact(fn.scale) - 1.0
        return value * torch.exp(compact(other.loc) - loc + (torch.log(value) - loc) * stretch)


@final
class WeibullCoupling(Hazard):
    """Weibull: ``x = scale * z^(1 / concentration)``, ``z ~ Exponential(1)``."""

    families = (torch.distributions.Weibull,)

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """``scale * noise^(1 / concentration)``."""
        scale = compact(fn.scale)
        return (scale * noise ** (1.0 / compact(fn.concentration))).to(scale.dtype)

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """``(value / scale)^concentration``."""
        return (value / compact(fn.scale)) ** compact(fn.concentration)

    def transport(self, fn: Any, value: Tensor, other: Any, uniform: Tensor | None = None) -> Tensor:
        """``value * (scale' / scale) * (value / scale)^(k / k' - 1)``."""
        power = compact(fn.concentration) / compact(other.concentration) - 1.0
        return _stretch(value, compact(fn.scale), compact(other.scale), power)


@final
class ParetoCoupling(Hazard):
    """Pareto: ``x = scale * exp(z / alpha)``, ``z ~ Exponential(1)``."""

    families = (torch.distributions.Pareto,)

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """``scale * exp(noise / alpha)``."""
        scale = compact(fn.scale)
        return (scale * torch.exp(noise / compact(fn.alpha))).to(scale.dtype)

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """``alpha * log(value / scale)``."""
        scale = compact(fn.scale)
        # the difference is exact near the scale, where a quotient would round the excess away
        return compact(fn.alpha) * torch.log1p((value - scale) / scale)

    def transport(self, fn: Any, value: Tensor, other: Any, uniform: Tensor | None = None) -> Tensor:
        """``value * (scale' / scale) * (value / scale)^(alpha / alpha' - 1)``."""
        power = compact(fn.alpha) / compact(other.alpha) - 1.0
        return _stretch(value, compact(fn.scale), compact(other.scale), power)


@final
class KumaraswamyCoupling(Hazard):
    """Kumaraswamy: ``x = (1 - exp(-z / b))^(1 / a)``, ``z ~ Exponential(1)``, ``a, b`` the concentrations 1 and 0."""

    families = (torch.distributions.Kumaraswamy,)

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """``(1 - exp(-noise / b))^(1 / a)``."""
        a = compact(fn.concentration1)
        return torch.exp(_log_one_minus_exp(-noise / compact(fn.concentration0)) / a).to(a.dtype)

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """``-b * log(1 - value^a)``."""
        return -compact(fn.concentration0) * _log_one_minus_exp(compact(fn.concentration1) * torch.log(value))

    def transport(self, fn: Any, value: Tensor, other: Any, uniform: Tensor | None = None) -> Tensor:
        """Through the noise; ``value`` itself where the parameters agree."""
        a, b = compact(fn.concentration1), compact(fn.concentration0)
        same = (a == compact(other.concentration1)) & (b == compact(other.concentration0))
        return torch.where(same, value, self.push(other, self.abduct(fn, value)))


def _stretch(value: Tensor, scale: Tensor, new_scale: Tensor, power: Tensor) -> Tensor:
    return value * (new_scale / scale) * (value / scale) ** power


def _log_one_minus_exp(x: Tensor) -> Tensor:
    """``log(1 - e^x)`` for ``x <= 0``, accurate at both ends."""
    near = x > -math.log(2.0)
    return torch.where(near, torch.log(-torch.expm1(torch.where(near, x, -1.0))), torch.log1p(-torch.exp(x)))
