"""Dirichlet: a chain of conditional Betas (stick-breaking), the triangular (Knothe-Rosenblatt) map.

With ``r_k = x_k + ... + x_K`` what is left before component k, and ``b_k = a_(k+1) + ... + a_K``,

    x_k / r_k ~ Beta(a_k, b_k), independent for k = 1..K-1,

so each component is the increasing map of its own noise given the components before it; their order is part of the
equation. Noise is K - 1 signed log tails. Remainders are summed from the small end and Beta quantiles kept as
logarithms of the nearer end, so components far below 1e-16 survive the round trip with all their digits.

>>> import torch
>>> from torch.distributions import Dirichlet
>>> fn = Dirichlet(torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64))
>>> value = torch.tensor([1e-30, 0.25, 0.75], dtype=torch.float64)
>>> noise = DirichletCoupling().abduct(fn, value)
>>> [round(x, 6) for x in (DirichletCoupling().push(fn, noise) / value).tolist()]
[1.0, 1.0, 1.0]
"""

from __future__ import annotations

from typing import Any, ClassVar, final

import torch
from torch import Tensor

from pcm.couplings import tail
from pcm.couplings.coupling import Coupling
from pcm.couplings.finite import compact_batch
from pcm.couplings.parameters import identical
from pcm.couplings.special import beta_quantile_log, beta_tail

__all__ = ["DirichletCoupling"]


@final
class DirichletCoupling(Coupling):
    """``x_k = r_k I^-1(u_k; a_k, b_k)``; values are (batch, component), noise (batch, component - 1)."""

    name: ClassVar[str] = "triangular"
    families = (torch.distributions.Dirichlet,)

    def noise_event(self, fn: Any) -> torch.Size:
        """``(component - 1,)``."""
        return torch.Size([fn.event_shape[-1] - 1])

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """Stick-breaking by Beta quantiles."""
        share = beta_quantile_log(noise, *_shapes(fn))
        left = torch.cumsum(tail.log_sf(share), -1)
        before = torch.cat([torch.zeros_like(left[..., :1]), left], -1)
        logs = torch.cat([tail.log_cdf(share), torch.zeros_like(left[..., :1])], -1)
        return torch.exp(before + logs).to(fn.concentration.dtype)

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Beta tail of each component's share of what is left."""
        left = _rest(value)
        here, after = value[..., :-1], left[..., 1:]
        total = left[..., :-1]
        # nothing left: any share gives 0
        empty = total <= 0
        whole = torch.where(empty, 1.0, total)
        p, q = torch.where(empty, 0.5, here / whole), torch.where(empty, 0.5, after / whole)
        return beta_tail(p, q, *_shapes(fn))

    def fresh(self, fn: Any, uniform: Tensor) -> Tensor:
        """Tails of the uniforms."""
        return tail.from_uniform(uniform)

    def transport(self, fn: Any, value: Tensor, other: Any, uniform: Tensor | None = None) -> Tensor:
        """Through the noise; ``value`` itself where the parameters agree."""
        old, new = compact_batch(fn.concentration), compact_batch(other.concentration)
        if identical(old, new):
            return value
        return torch.where((old == new).all(-1, keepdim=True), value, self.push(other, self.abduct(fn, value)))


def _rest(parts: Tensor) -> Tensor:
    """``parts_k + ... + parts_K`` for every k."""
    return torch.flip(torch.cumsum(torch.flip(parts, (-1,)), -1), (-1,))


def _shapes(fn: Any) -> tuple[Tensor, Tensor]:
    """``a_k`` and ``b_k`` for k = 1..K-1; (batch, component - 1)."""
    concentration = compact_batch(fn.concentration)
    return concentration[..., :-1], _rest(concentration)[..., 1:]
