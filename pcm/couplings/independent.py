"""Independent: fresh noise in the other world; rung 2, on purpose.

The equation is the family's own, but nothing a unit showed is carried over: ``abduct`` returns new noise, and
``P(x' = k | x)`` is the other world's own probability. What it answers is an interventional question asked of a unit.

>>> import torch
>>> from torch.distributions import Bernoulli
>>> from pcm.couplings import resolve
>>> coupling, fn = resolve(Bernoulli(torch.tensor(0.5)), "independent")
>>> coupling.rung, coupling.transition(fn, torch.tensor(1.0), Bernoulli(torch.tensor(0.25))).tolist()
(2, [0.75, 0.25])
"""

from __future__ import annotations

from typing import Any, ClassVar, final

import pyro.distributions as dist
import torch
from torch import Tensor

from pcm.couplings.coupling import Coupling
from pcm.couplings.finite import FINITE, at_outcome, log_table, outcomes, size
from pcm.couplings.parameters import quiet_log_prob

__all__ = ["Independent"]


@final
class Independent(Coupling):
    """Fresh noise pushed through a family's default coupling ``inner``; one instance a family."""

    name: ClassVar[str] = "independent"
    rung: ClassVar[int] = 2

    def __init__(self, inner: Coupling, family: type) -> None:
        self.inner = inner
        self._family = family
        self._finite = issubclass(family, FINITE)
        self._others: dict[Coupling, Independent] = {}

    @property
    def families(self) -> tuple[type, ...]:
        """The one family that this instance serves."""
        return (self._family,)

    @property
    def discrete(self) -> bool:
        """As of the default coupling."""
        return self.inner.discrete

    def specialised(self, fn: Any, site: str | None = None) -> Coupling:
        """Of the default coupling's own specialisation."""
        inner = self.inner.specialised(fn, site)
        if inner is self.inner:
            return self
        return self._others.setdefault(inner, Independent(inner, self._family))

    def validate(self, fn: Any, site: str | None = None) -> None:
        """As of the default coupling."""
        self.inner.validate(fn, site)

    def noise_event(self, fn: Any) -> torch.Size:
        """As of the default coupling."""
        return self.inner.noise_event(fn)

    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """As the default coupling does."""
        return self.inner.push(fn, noise)

    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """New noise from ``uniform``; the value is not read."""
        if uniform is None:
            raise TypeError("the independent coupling needs `uniform`: its noise in the other world is new")
        return self.inner.fresh(fn, uniform)

    def fresh(self, fn: Any, uniform: Tensor) -> Tensor:
        """As the default coupling does."""
        return self.inner.fresh(fn, uniform)

    def cardinality(self, fn: Any) -> int | None:
        """K of a finite family."""
        return size(fn) if self._finite else None

    def transition(self, fn: Any, value: Tensor, other: Any) -> Tensor:
        """The other world's own probabilities; (batch, category)."""
        if not self._finite:
            return super().transition(fn, value, other)
        table = torch.exp(log_table(other))
        return table.expand(_batch(fn, value, table) + table.shape[-1:])

    def probability(self, fn: Any, value: Tensor, other: Any, outcome: Tensor) -> Tensor:
        """The other world's own probability of ``outcome``."""
        if not self.discrete:
            return super().probability(fn, value, other, outcome)
        if self._finite:
            return at_outcome(self.transition(fn, value, other), other, outcome)
        value, outcome = torch.broadcast_tensors(value, outcome)
        return torch.exp(quiet_log_prob(other, outcome))

    def expectation(self, fn: Any, value: Tensor, other: Any) -> Tensor:
        """``E[x']``; shape of the value."""
        mean = torch.exp(log_table(other)) @ _numbers(other) if self._finite else _mean(other)
        return mean.expand(torch.broadcast_shapes(mean.shape, value.shape))


def _batch(fn: Any, value: Tensor, table: Tensor) -> torch.Size:
    shape = value.shape[:-1] if isinstance(fn, torch.distributions.OneHotCategorical) else value.shape
    return torch.broadcast_shapes(shape, table.shape[:-1])


def _mean(other: Any) -> Tensor:
    if isinstance(other, dist.MaskedMixture):  # Pyro's own writes in place, which vmap refuses
        mask: Any = other.mask
        return torch.where(mask, other.component1.mean, other.component0.mean)
    return other.mean


def _numbers(other: Any) -> Tensor:
    """Values of the codes 0..K-1; (category), one-hot: (category, category)."""
    table = log_table(other)
    return outcomes(other, torch.arange(table.shape[-1], device=table.device)).to(table.dtype)
