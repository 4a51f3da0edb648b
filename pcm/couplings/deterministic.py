"""Delta: a point mass is the equation ``x = v`` without noise.

>>> import pyro.distributions as dist, torch
>>> DeltaCoupling().push(dist.Delta(torch.tensor([1.0, 2.0])), torch.zeros(2)).tolist()
[1.0, 2.0]
"""

from __future__ import annotations

from typing import Any, ClassVar, final

import pyro.distributions as dist
import torch
from torch import Tensor

from pcm.couplings.coupling import Coupling

__all__ = ["DeltaCoupling"]


@final
class DeltaCoupling(Coupling):
    """``x = v``; noise is zeros shaped like the value."""

    name: ClassVar[str] = "deterministic"
    families = (dist.Delta,)

    def noise_event(self, fn: Any) -> torch.Size:
        """The event shape."""
        return fn.event_shape

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """``v``."""
        return fn.v.expand(torch.broadcast_shapes(fn.v.shape, noise.shape))

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Zeros."""
        return torch.zeros_like(value, dtype=torch.float64)

    def fresh(self, fn: Any, uniform: Tensor) -> Tensor:
        """Zeros."""
        return torch.zeros_like(uniform)

    def transport(self, fn: Any, value: Tensor, other: Any, uniform: Tensor | None = None) -> Tensor:
        """``v'``."""
        return other.v.expand(torch.broadcast_shapes(other.v.shape, value.shape))
