"""ZeroInflatedPoisson, ZeroInflatedNegativeBinomial, ZeroInflatedDistribution, monotone: over the law as a whole.

``F(x) = g [x >= 0] + (1 - g) F_base(x)``, the gate and the count being one mechanism with one noise: a unit's rank. A
zero says that the rank is at most ``F(0)``, not whether the gate made it. Where the gate should be a cause of its own,
write it as a Bernoulli site and the value as the count times the gate.

A continuous base (zero-inflated costs, say) has an atom at 0: other values determine their noise, a zero has an
interval of it, so the coupling draws (``pointwise`` is False).

>>> import torch
>>> import pyro.distributions as dist
>>> from pcm.couplings import resolve
>>> coupling, old = resolve(dist.ZeroInflatedPoisson(torch.tensor(2.0), gate=torch.tensor(0.5)))
>>> new = dist.ZeroInflatedPoisson(torch.tensor(2.0), gate=torch.tensor(0.0))
>>> coupling.probability(old, torch.tensor(0.0), new, torch.tensor(0.0)).item() < 0.24
True
"""

from __future__ import annotations

from typing import Any, ClassVar, final

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from pcm.couplings import registry, tail
from pcm.couplings.counts import Counts
from pcm.couplings.coupling import Coupling
from pcm.couplings.parameters import compact
from pcm.couplings.quantile import Quantile
from pcm.couplings.solve import smallest
from pcm.couplings.wrapped import check_base

__all__ = ["ZeroInflatedCoupling", "ZeroInflatedReals", "log_gate"]

_ADVICE = " Write the gate as a Bernoulli site of its own, and the value as the count times the gate."
_FAMILIES = (dist.ZeroInflatedDistribution, dist.ZeroInflatedPoisson, dist.ZeroInflatedNegativeBinomial)


@final
class ZeroInflatedCoupling(Counts):
    """Quantile coupling of counts with extra zeros."""

    families = _FAMILIES

    def specialised(self, fn: Any, site: str | None = None) -> Coupling:
        """A continuous base has a coupling of its own."""
        return self if registry.resolve(fn.base_dist, site=site)[0].discrete else _REALS

    def validate(self, fn: Any, site: str | None = None) -> None:
        """Refuse a base without a quantile function."""
        check_base(fn, fn.base_dist, Counts, site, _ADVICE)

    def parameter(self, fn: Any) -> Tensor:
        """The base's parameter; values have its dtype."""
        coupling, base = registry.resolve(fn.base_dist)
        assert isinstance(coupling, Counts)
        return coupling.parameter(base)

    def tail(self, fn: Any, value: Tensor) -> Tensor:
        """Tail of ``g + (1 - g) F_base(value)``, ``-inf`` below 0."""
        coupling, base = registry.resolve(fn.base_dist)
        return _inflated(fn, coupling.tail(base, value), value >= 0)

    def quantile(self, fn: Any, at: Tensor) -> Tensor:
        """The base's quantile, checked against the tail that abduction uses."""
        coupling, base = registry.resolve(fn.base_dist)
        near = coupling.quantile(base, _deflated(fn, at))
        shape = torch.broadcast_shapes(near.shape, compact(log_gate(fn)[0]).shape)
        near = near.to(torch.float64).expand(shape)
        return smallest(lambda count: self.tail(fn, count) - at, torch.clamp(near - 3.0, min=-1.0), near + 2.0)

    def partial_mean(self, fn: Any, low: Tensor, high: Tensor) -> Tensor:
        """``1 - g`` times the base's."""
        coupling, base = registry.resolve(fn.base_dist)
        assert isinstance(coupling, Counts)
        return torch.exp(log_gate(fn)[1]) * coupling.partial_mean(base, low, high)


@final
class ZeroInflatedReals(Quantile):
    """The same over a continuous base: a zero's noise is drawn from its interval, any other value's is a point."""

    families = _FAMILIES
    pointwise: ClassVar[bool] = False

    def validate(self, fn: Any, site: str | None = None) -> None:
        """Refuse a base without a quantile function."""
        check_base(fn, fn.base_dist, Counts, site, _ADVICE)

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """0 inside the atom's interval, else the base's quantile."""
        coupling, base = registry.resolve(fn.base_dist)
        low, high = self._atom(fn)
        below, above = _shrunk(fn, noise), _deflated(fn, noise)
        inner = torch.where(noise <= low, below, above)
        # inside the atom the base is asked for its median: any finite answer will do
        atom = (noise > low) & (noise <= high)
        value = coupling.quantile(base, torch.where(atom, tail.from_uniform(torch.full_like(inner, 0.5)), inner))
        return torch.where(atom, torch.zeros((), dtype=value.dtype), value)

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Tail of the value; of a zero the noise at a fraction ``uniform`` of its interval."""
        if uniform is None:
            raise TypeError("abducting a zero-inflated value needs `uniform`: many noises give a zero")
        coupling, base = registry.resolve(fn.base_dist)
        low, high = self._atom(fn)
        zero = value == 0
        # densities at 0 may be infinite: a zero is not looked up
        inner = coupling.tail(base, torch.where(zero, torch.ones_like(value), value))
        point = _inflated(fn, inner, value > 0)
        return torch.where(zero, tail.between(low, high, uniform), point)

    def tail(self, fn: Any, value: Tensor) -> Tensor:
        """Tail of ``g [value >= 0] + (1 - g) F_base(value)``."""
        coupling, base = registry.resolve(fn.base_dist)
        return _inflated(fn, coupling.tail(base, value), value >= 0)

    def _atom(self, fn: Any) -> tuple[Tensor, Tensor]:
        """The interval of noise that gives 0."""
        coupling, base = registry.resolve(fn.base_dist)
        at_zero = coupling.tail(base, torch.zeros((), dtype=torch.float64))
        ones = torch.ones((), dtype=torch.bool)
        return _inflated(fn, at_zero, ~ones), _inflated(fn, at_zero, ones)


_REALS = ZeroInflatedReals()


def log_gate(fn: Any) -> tuple[Tensor, Tensor]:
    """``log g`` and ``log(1 - g)``, as given; shape (batch), compact."""
    # the other is a cached conversion, made later
    if next(name for name in fn.__dict__ if name in ("gate", "gate_logits")) == "gate":
        gate = compact(fn.gate)
        # of a gate that never opens a finite logarithm: inf - inf would follow
        return torch.log(gate), torch.clamp(torch.log1p(-gate), min=-1e30)
    odds = compact(fn.gate_logits)
    return logsigmoid(odds), logsigmoid(-odds)


def _inflated(fn: Any, inner: Tensor, reached: Tensor) -> Tensor:
    """Tail of ``g [reached] + (1 - g) u`` from the base's tail."""
    gate, rest = log_gate(fn)
    with_gate = tail.from_logs(torch.logaddexp(gate, rest + tail.log_cdf(inner)), rest + tail.log_sf(inner))
    below = tail.from_logs(rest + tail.log_cdf(inner), torch.logaddexp(gate, rest + tail.log_sf(inner)))
    return torch.where(reached, with_gate, below)


def _deflated(fn: Any, at: Tensor) -> Tensor:
    """Base's tail where ``g + (1 - g) u`` has tail ``at``; ``-inf`` inside the gate."""
    gate, rest = log_gate(fn)
    lower = tail.log_cdf(at)
    ratio = torch.clamp(gate - lower, max=0.0)
    return tail.from_logs(lower + torch.log(-torch.expm1(ratio)) - rest, tail.log_sf(at) - rest)


def _shrunk(fn: Any, at: Tensor) -> Tensor:
    """Base's tail where ``(1 - g) u`` has tail ``at``; ``inf`` beyond."""
    gate, rest = log_gate(fn)
    upper = tail.log_sf(at)
    ratio = torch.clamp(gate - upper, max=0.0)
    return tail.from_logs(tail.log_cdf(at) - rest, upper + torch.log(-torch.expm1(ratio)) - rest)
