"""MaskedMixture, monotone: the quantile coupling of whichever of two laws the mask selects.

The mask is known, so a unit's law is one component's; its noise is its rank in that law, as a signed log tail. Where
the mask differs between worlds the unit moves to the value of the same rank in the other component.

>>> import torch
>>> import pyro.distributions as dist
>>> one, zero = (dist.Normal(torch.tensor(loc, dtype=torch.float64), scale) for loc, scale in ((10.0, 2.0), (0.0, 1.0)))
>>> old, new = dist.MaskedMixture(torch.tensor([True, True]), zero, one), dist.MaskedMixture(
...     torch.tensor([True, False]), zero, one)
>>> moved = MaskedCoupling().transport(old, torch.tensor([12.0, 12.0], dtype=torch.float64), new)
>>> [round(x, 9) for x in moved.tolist()]
[12.0, 1.0]
"""

from __future__ import annotations

from typing import Any, final

import pyro.distributions as dist
import torch
from torch import Tensor

from pcm.couplings import registry
from pcm.couplings.counts import Counts
from pcm.couplings.coupling import Coupling
from pcm.couplings.quantile import Quantile
from pcm.couplings.wrapped import has_quantiles
from pcm.errors import CouplingError

__all__ = ["MaskedCounts", "MaskedCoupling"]


@final
class MaskedCoupling(Quantile):
    """Quantile coupling of the selected one of two continuous laws; noise is a signed log tail."""

    families = (dist.MaskedMixture,)

    def specialised(self, fn: Any, site: str | None = None) -> Coupling:
        """Counts have a coupling of their own."""
        return _COUNTS if registry.resolve(fn.component0, site=site)[0].discrete else self

    def validate(self, fn: Any, site: str | None = None) -> None:
        """Refuse vectors, one discrete component beside a continuous one, and laws without a quantile function."""
        _validate(fn, site)

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """The selected component's quantile."""
        (zero, fn0), (one, fn1) = _both(fn)
        return _select(fn, zero.quantile(fn0, noise), one.quantile(fn1, noise))

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """The selected component's tail."""
        (zero, fn0), (one, fn1) = _both(fn)
        return _select(fn, zero.tail(fn0, value), one.tail(fn1, value))

    def transport(self, fn: Any, value: Tensor, other: Any, uniform: Tensor | None = None) -> Tensor:
        """The component's own transport where the mask stays, else through the rank."""
        (zero, fn0), (one, fn1) = _both(fn)
        (_, new0), (_, new1) = _both(other)
        kept = _select(fn, zero.transport(fn0, value, new0), one.transport(fn1, value, new1))
        return torch.where(fn.mask == other.mask, kept, self.push(other, self.abduct(fn, value)))


@final
class MaskedCounts(Counts):
    """The same for two laws of counts."""

    families = (dist.MaskedMixture,)

    def validate(self, fn: Any, site: str | None = None) -> None:
        """Refuse vectors, one discrete component beside a continuous one, and laws without a quantile function."""
        _validate(fn, site)

    def parameter(self, fn: Any) -> Tensor:
        """The parameter of component 0; values have its dtype."""
        coupling, component = registry.resolve(fn.component0)
        assert isinstance(coupling, Counts)
        return coupling.parameter(component)

    def tail(self, fn: Any, value: Tensor) -> Tensor:
        """The selected component's tail."""
        (zero, fn0), (one, fn1) = _both(fn)
        return _select(fn, zero.tail(fn0, value), one.tail(fn1, value))

    def quantile(self, fn: Any, at: Tensor) -> Tensor:
        """The selected component's quantile."""
        (zero, fn0), (one, fn1) = _both(fn)
        return _select(fn, zero.quantile(fn0, at), one.quantile(fn1, at))

    def partial_mean(self, fn: Any, low: Tensor, high: Tensor) -> Tensor:
        """The selected component's partial mean."""
        (zero, fn0), (one, fn1) = _both(fn)
        assert isinstance(zero, Counts) and isinstance(one, Counts)
        return _select(fn, zero.partial_mean(fn0, low, high), one.partial_mean(fn1, low, high))


_COUNTS = MaskedCounts()


def _both(fn: Any) -> tuple[tuple[Coupling, Any], tuple[Coupling, Any]]:
    return registry.resolve(fn.component0), registry.resolve(fn.component1)


def _select(fn: Any, zero: Tensor, one: Tensor) -> Tensor:
    return torch.where(fn.mask, one, zero)


def _validate(fn: Any, site: str | None) -> None:
    zero, fn0 = registry.resolve(fn.component0, site=site)
    one, fn1 = registry.resolve(fn.component1, site=site)
    served = all(has_quantiles(each, Counts) for each in (zero, one))
    if fn.event_shape or zero.discrete is not one.discrete or not served:
        raise CouplingError(
            f"{registry.at_site(site)}a MaskedMixture of {type(fn0).__name__} and {type(fn1).__name__} has no "
            "structural equation here: both components must be laws of one number with a quantile function, both "
            "continuous or both counts. Make each component a site of its own and the value "
            "pyro.deterministic(torch.where(mask, one, zero)).",
            site=site,
            family=type(fn).__name__,
        )
