"""TransformedDistribution: the base's equation followed by bijective transforms, ``x = T(f(u))``.

Noise is the base's, whether ``T`` increases or decreases. A base inside ``Independent`` or ``expand`` is unwrapped; the
base must itself be continuous and invertible, every transform bijective.

>>> import torch
>>> from torch.distributions import AffineTransform, ExpTransform, Normal, TransformedDistribution
>>> fn = TransformedDistribution(Normal(0.0, 1.0), [ExpTransform(), AffineTransform(1.0, -2.0)])
>>> TransformedCoupling().abduct(fn, torch.tensor([-1.0])).tolist()
[0.0]
"""

from __future__ import annotations

from typing import Any, ClassVar, final

import torch
from torch import Tensor

from pcm.couplings import registry
from pcm.couplings.coupling import Coupling
from pcm.errors import CouplingError

__all__ = ["TransformedCoupling"]


@final
class TransformedCoupling(Coupling):
    """Bijective transforms of a base that has an invertible coupling of its own."""

    name: ClassVar[str] = "monotone"
    families = (torch.distributions.TransformedDistribution, torch.distributions.LogisticNormal)

    def noise_event(self, fn: Any) -> torch.Size:
        """What the base's noise has beyond the batch of ``fn``."""
        coupling, base = registry.resolve(fn.base_dist)
        shape = base.batch_shape + coupling.noise_event(base)
        # an expanded base was unwrapped: its dims count from the right
        events = len(fn.base_dist.batch_shape) + len(fn.base_dist.event_shape) - len(fn.batch_shape)
        return shape[len(shape) - events :] if events else torch.Size()

    def validate(self, fn: Any, site: str | None = None) -> None:
        """Refuse transforms that are not bijective, and bases without an invertible equation."""
        family = type(fn).__name__
        where = registry.at_site(site)
        for transform in fn.transforms:
            if not transform.bijective:
                raise CouplingError(
                    f"{where}{family} was asked for its noise, but {type(transform).__name__} is not one to one; use a "
                    "bijective transform, or make the untransformed variable a site and this one pyro.deterministic.",
                    site=site,
                    family=family,
                )
        coupling, base = registry.resolve(fn.base_dist, site=site)
        if not coupling.invertible:
            raise CouplingError(
                f"{where}{family} transforms a {type(base).__name__}, whose value does not determine its noise; make "
                f"the {type(base).__name__} a site of its own and this one pyro.deterministic.",
                site=site,
                family=family,
            )

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """``T(f(noise))``."""
        coupling, base = registry.resolve(fn.base_dist)
        return _forward(fn, coupling.push(base, noise))

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """The base's noise of ``T^-1(value)``."""
        coupling, base = registry.resolve(fn.base_dist)
        return coupling.abduct(base, _backward(fn, value))

    def tail(self, fn: Any, value: Tensor) -> Tensor:
        """The base's tail of ``T^-1(value)``, mirrored where ``T`` decreases."""
        coupling, base = registry.resolve(fn.base_dist)
        return _sign(fn) * coupling.tail(base, _backward(fn, value))

    def quantile(self, fn: Any, at: Tensor) -> Tensor:
        """``T`` of the base's quantile."""
        coupling, base = registry.resolve(fn.base_dist)
        return _forward(fn, coupling.quantile(base, _sign(fn) * at))

    def fresh(self, fn: Any, uniform: Tensor) -> Tensor:
        """The base's fresh noise."""
        coupling, base = registry.resolve(fn.base_dist)
        return coupling.fresh(base, uniform)

    def transport(self, fn: Any, value: Tensor, other: Any, uniform: Tensor | None = None) -> Tensor:
        """``T'(transport of T^-1(value))``; to the bit ``value`` where both equations return the same."""
        coupling, base = registry.resolve(fn.base_dist)
        new_base = registry.resolve(other.base_dist)[1]
        inner = _backward(fn, value)
        moved = _forward(other, coupling.transport(base, inner, new_base))
        # transforms do not show their parameters; where nothing changed, both maps give one result
        return torch.where(moved == _forward(fn, inner), value, moved)


def _sign(fn: Any) -> Any:
    """1 where the transforms together increase, -1 where they decrease."""
    sign: Any = 1
    for transform in fn.transforms:
        sign = sign * transform.sign
    return sign


def _forward(fn: Any, value: Tensor) -> Tensor:
    for transform in fn.transforms:
        value = transform(value)
    return value


def _backward(fn: Any, value: Tensor) -> Tensor:
    for transform in reversed(fn.transforms):
        value = transform.inv(value)
    return value
