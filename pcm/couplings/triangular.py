"""MultivariateNormal: ``x = loc + L z`` with ``L`` the Cholesky factor, the triangular (Knothe-Rosenblatt) map.

Each component is the increasing map of its own noise given the components before it; their order is part of the
equation. Noise is standard normal, shaped like the value.

>>> import torch
>>> from torch.distributions import MultivariateNormal
>>> fn = MultivariateNormal(torch.zeros(2), scale_tril=torch.tensor([[2.0, 0.0], [1.0, 1.0]]))
>>> TriangularCoupling().abduct(fn, torch.tensor([2.0, 3.0])).tolist()
[1.0, 2.0]
"""

from __future__ import annotations

from typing import Any, ClassVar, final

import torch
from torch import Tensor

from pcm.couplings.coupling import Coupling
from pcm.couplings.finite import compact_batch
from pcm.couplings.parameters import identical

__all__ = ["TriangularCoupling"]


@final
class TriangularCoupling(Coupling):
    """``x = loc + L z``, ``z ~ N(0, I)``; values and noise are (batch, component)."""

    name: ClassVar[str] = "triangular"
    families = (torch.distributions.MultivariateNormal,)

    def noise_event(self, fn: Any) -> torch.Size:
        """The event shape."""
        return fn.event_shape

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """``loc + L noise``."""
        return compact_batch(fn.loc) + _apply(fn._unbroadcasted_scale_tril, noise.to(fn.loc.dtype))

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """``L^-1 (value - loc)``."""
        factor = fn._unbroadcasted_scale_tril
        centred = (value - compact_batch(fn.loc)).unsqueeze(-1)
        return torch.linalg.solve_triangular(factor, centred, upper=False).squeeze(-1)

    def fresh(self, fn: Any, uniform: Tensor) -> Tensor:
        """Standard normal quantiles."""
        return torch.special.ndtri(uniform)

    def transport(self, fn: Any, value: Tensor, other: Any, uniform: Tensor | None = None) -> Tensor:
        """``value + (loc' - loc) + (L' - L) z``; to the bit ``value`` where the parameters agree."""
        old, new = fn._unbroadcasted_scale_tril, other._unbroadcasted_scale_tril
        moved = value + (compact_batch(other.loc) - compact_batch(fn.loc))
        return moved if identical(old, new) else moved + _apply(new - old, self.abduct(fn, value))


def _apply(factor: Tensor, noise: Tensor) -> Tensor:
    return (factor @ noise.unsqueeze(-1)).squeeze(-1)
