"""Gamma, InverseGamma, Beta, StudentT: the quantile coupling through special functions.

Noise is the signed log tail of the quantile (:mod:`pcm.couplings.tail`), exact in both tails. Scales and locations are
taken out first, so that units whose shape parameters agree travel by the closed form and the special functions are
not called at all where no shape changes.

>>> import torch
>>> from torch.distributions import Gamma
>>> old, new = Gamma(torch.tensor(2.0), torch.tensor(1.0)), Gamma(torch.tensor(2.0), torch.tensor(3.0))
>>> GammaCoupling().transport(old, torch.tensor([45.0]), new).tolist()
[15.0]
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from pcm.couplings import tail
from pcm.couplings.coupling import Coupling
from pcm.couplings.location_scale import shift_scale
from pcm.couplings.parameters import compact, identical
from pcm.couplings.special import beta_quantile, beta_tail, gamma_quantile, gamma_tail, student_quantile

__all__ = ["BetaCoupling", "GammaCoupling", "InverseGammaCoupling", "Quantile", "StudentTCoupling"]


class Quantile(Coupling):
    """Couplings whose noise is the signed log tail of the value itself."""

    name: ClassVar[str] = "monotone"

    def fresh(self, fn: Any, uniform: Tensor) -> Tensor:
        """Tail of the uniform."""
        return tail.from_uniform(uniform)

    def tail(self, fn: Any, value: Tensor) -> Tensor:
        """The noise."""
        return self.abduct(fn, value)

    def quantile(self, fn: Any, at: Tensor) -> Tensor:
        """The value of the noise."""
        return self.push(fn, at)


@final
class GammaCoupling(Quantile):
    """Gamma and chi-square: ``x = P^-1(concentration, u) / rate``."""

    families = (torch.distributions.Gamma, torch.distributions.Chi2)

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """``P^-1(concentration, u) / rate``."""
        rate = compact(fn.rate)
        return (gamma_quantile(noise, compact(fn.concentration)) / rate).to(rate.dtype)

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Tail of ``P(concentration, rate * value)``."""
        return gamma_tail(value * compact(fn.rate), compact(fn.concentration))

    def transport(self, fn: Any, value: Tensor, other: Any, uniform: Tensor | None = None) -> Tensor:
        """``value * (rate / rate')`` where the concentrations agree, else through the quantile."""
        old, new = compact(fn.concentration), compact(other.concentration)
        scaled = value * (compact(fn.rate) / compact(other.rate))
        if identical(old, new):
            return scaled
        return torch.where(old == new, scaled, self.push(other, self.abduct(fn, value)))


@final
class InverseGammaCoupling(Quantile):
    """Inverse gamma: ``x = rate / P^-1(concentration, 1 - u)``, increasing in ``u``."""

    families = (torch.distributions.InverseGamma,)

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """``rate / P^-1(concentration, 1 - u)``."""
        rate = compact(fn.rate)
        return (rate / gamma_quantile(-noise, compact(fn.concentration))).to(rate.dtype)

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Tail of ``1 - P(concentration, rate / value)``."""
        return -gamma_tail(compact(fn.rate) / value, compact(fn.concentration))

    def transport(self, fn: Any, value: Tensor, other: Any, uniform: Tensor | None = None) -> Tensor:
        """``value * (rate' / rate)`` where the concentrations agree, else through the quantile."""
        old, new = compact(fn.concentration), compact(other.concentration)
        scaled = value * (compact(other.rate) / compact(fn.rate))
        if identical(old, new):
            return scaled
        return torch.where(old == new, scaled, self.push(other, self.abduct(fn, value)))


@final
class BetaCoupling(Quantile):
    """Beta: ``x = I^-1(u; concentration1, concentration0)``."""

    families = (torch.distributions.Beta,)

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """``I^-1(u; concentration1, concentration0)``."""
        a = compact(fn.concentration1)
        return beta_quantile(noise, a, compact(fn.concentration0)).to(a.dtype)

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Tail of ``I_value(concentration1, concentration0)``."""
        return beta_tail(value, 1.0 - value, compact(fn.concentration1), compact(fn.concentration0))

    def transport(self, fn: Any, value: Tensor, other: Any, uniform: Tensor | None = None) -> Tensor:
        """Through the quantile; ``value`` itself where the parameters agree."""
        a, b = compact(fn.concentration1), compact(fn.concentration0)
        c, d = compact(other.concentration1), compact(other.concentration0)
        if identical(a, c) and identical(b, d):
            return value
        return torch.where((a == c) & (b == d), value, self.push(other, self.abduct(fn, value)))


@final
class StudentTCoupling(Quantile):
    """Student's t: ``x = loc + scale * T^-1(u; df)``."""

    families = (torch.distributions.StudentT,)

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """``loc + scale * T^-1(u; df)``."""
        loc = compact(fn.loc)
        return torch.addcmul(loc, student_quantile(noise, compact(fn.df)), compact(fn.scale)).to(loc.dtype)

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Tail of the standardised value."""
        df, z = compact(fn.df), (value - compact(fn.loc)) / compact(fn.scale)
        return _student_tail(z, df)

    def transport(self, fn: Any, value: Tensor, other: Any, uniform: Tensor | None = None) -> Tensor:
        """Location-scale where the degrees of freedom agree, else through the quantile."""
        old, new = compact(fn.df), compact(other.df)
        moved = shift_scale(value, compact(fn.loc), compact(fn.scale), compact(other.loc), compact(other.scale))
        if identical(old, new):
            return moved
        return torch.where(old == new, moved, self.push(other, self.abduct(fn, value)))


def _student_tail(z: Tensor, df: Tensor) -> Tensor:
    """Signed log tail of the standard t law: ``2 min(u, 1 - u) = I_p(df / 2, 1 / 2)``, ``p = df / (df + z^2)``."""
    middle = z == 0.0
    beside = z - torch.where(middle, 1e-6, 0.0)  # for the slope: the derivative in p is infinite at p = 1
    square = beside * beside
    total = df + square
    inner = beta_tail(df / total, square / total, df / 2.0, torch.full_like(df, 0.5))
    positive = inner > 0
    log = torch.where(positive, torch.log1p(-torch.exp(-torch.where(positive, inner, 1.0))), inner) - math.log(2.0)
    log = log - torch.where(middle, log + math.log(2.0), 0.0).detach()
    return torch.where(z > 0, -log, log)
