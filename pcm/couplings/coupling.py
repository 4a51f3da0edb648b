"""What a coupling is: the structural equation behind a distribution.

A site ``x ~ fn(parents)`` is the equation ``x = push(fn, u)`` with noise ``u`` of a fixed law, independent of the
parents. A :class:`Coupling` says how noise is pushed to a value, how a value is pulled back to (the law of) its
noise, and how a value travels from one world's ``fn`` to another's: ``transport = push(other, abduct(fn, value))``.

Every coupling works elementwise on a *bare* distribution: wrappers (``Independent``, ``mask``, ``expand``) are taken
off by :func:`pcm.couplings.registry.resolve`, and an ``Independent``'s event dims are then trailing value dims.
Shapes: values are ``[inner plates…, unit, event…]``; noise is the value's shape followed by ``noise_event(fn)``
(``(category,)`` for Gumbels), so a coupling of scalars has noise shaped like the value.
All methods run under ``torch.func.vmap`` (over draws): no ``.item()``, no Python branch on a tensor's value.

>>> import pyro.distributions as dist, torch
>>> from pcm.couplings import resolve
>>> coupling, fn = resolve(dist.Normal(torch.zeros(2), 1.0).to_event(1))
>>> coupling.name, coupling.invertible
('monotone', True)
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

__all__ = ["Coupling"]


class Coupling(ABC):
    """Structural equation of one family of distributions; stateless, one shared instance a class.

    Attributes
    ----------
    name : str
        What the equation is called where users meet it: ``"monotone"``, ``"gumbel_max"``, ``"triangular"``,
        ``"deterministic"``, ``"independent"``.
    families : tuple of type
        Distribution classes it serves (subclasses too, unless they have an entry of their own).
    discrete : bool
        Values are discrete; then ``abduct`` needs ``uniform`` and draws from the noise's law given the value.
    rung : int
        3, or 2 where the noise does not carry over to another world (``independent``).
    pointwise : bool
        A continuous value determines its noise. False where it leaves some open (which component of a mixture it came
        from, what lies behind an atom); then ``abduct`` needs ``uniform`` as if the values were discrete.
    longest_chain : float
        Categories up to which ``transition_after`` is worth its cost.
    """

    name: ClassVar[str]
    families: ClassVar[tuple[type, ...]]
    discrete: ClassVar[bool] = False
    rung: ClassVar[int] = 3
    pointwise: ClassVar[bool] = True
    longest_chain: ClassVar[float] = math.inf

    @property
    def invertible(self) -> bool:
        """Whether a value determines its noise, so that ``abduct`` is a point and ``transport`` needs no draw."""
        return self.pointwise and not self.discrete and self.rung == 3

    @property
    def univariate(self) -> bool:
        """Whether ``tail`` and ``quantile`` are there, so that mixtures and truncations can be made of the law."""
        return type(self).tail is not Coupling.tail

    def specialised(self, fn: Any, site: str | None = None) -> Coupling:
        """The coupling for this very ``fn``, where that depends on what it is made of (a mixture of counts)."""
        return self

    def noise_event(self, fn: Any) -> torch.Size:
        """Trailing dims the noise has beyond the value's *batch* dims (none for scalars).

        The noise of a bare ``fn`` has the shape ``fn.batch_shape + noise_event(fn)``, the batch broadcast to the
        value's. One that is kept in another form (:meth:`spread`) may be longer once it was pulled back.
        """
        return torch.Size()

    def breadth(self, fn: Any) -> int:
        """How many numbers are held for one value while it is drawn or averaged over."""
        return max(1, math.prod(self.noise_event(fn)))

    def spread(self, fn: Any, noise: Tensor) -> Tensor:
        """The noise as numbers of a fixed law, where it is kept in another form; a row a value."""
        return noise

    def validate(self, fn: Any, site: str | None = None) -> None:
        """Refuse (:class:`~pcm.errors.CouplingError`) an ``fn`` of the family that the equation cannot serve."""
        return None

    @abstractmethod
    def push(self, fn: Any, noise: Tensor) -> Tensor:
        """Value ``f(parents, noise)``."""

    @abstractmethod
    def abduct(self, fn: Any, value: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Noise that gives ``value`` under ``fn``; where many do, the one ``uniform`` in (0, 1) picks by their law."""

    @abstractmethod
    def fresh(self, fn: Any, uniform: Tensor) -> Tensor:
        """Noise of its own law from ``uniform`` in (0, 1), same shape as the noise."""

    def transport(self, fn: Any, value: Tensor, other: Any, uniform: Tensor | None = None) -> Tensor:
        """The value in the world of ``other`` of a unit that had ``value`` in the world of ``fn``."""
        return self.push(other, self.abduct(fn, value, uniform))

    # -- laws of one number only -------------------------------------------------------------------------------------

    def tail(self, fn: Any, value: Tensor) -> Tensor:
        """Signed log tail (:mod:`pcm.couplings.tail`) of ``P(X <= value)``; the broadcast shape."""
        raise TypeError(f"{type(self).__name__} has no distribution function")

    def quantile(self, fn: Any, at: Tensor) -> Tensor:
        """Smallest value whose tail is at least ``at``; the broadcast shape."""
        raise TypeError(f"{type(self).__name__} has no quantile function")

    # -- discrete couplings only ---------------------------------------------------------------------------------

    def cardinality(self, fn: Any) -> int | None:
        """Number of categories K with values 0..K-1 (or one-hot rows), None where the support is not finite."""
        return None

    def transition(self, fn: Any, value: Tensor, other: Any) -> Tensor:
        """``P(x' = k | x = value)`` for k = 0..K-1, in closed form, shape value's batch + ``(category,)``."""
        raise TypeError(f"{type(self).__name__} has no transition probabilities")

    def chained(self, categories: int | None) -> bool:
        """Whether :meth:`transition_after` is there for that many categories."""
        known = type(self).transition_after is not Coupling.transition_after
        return known and categories is not None and categories <= self.longest_chain

    def transition_after(self, fn: Any, value: Tensor, middle: Any, at: Tensor, other: Any) -> Tensor:
        """``P(x'' = k | x = value, x' = at)`` where ``middle`` and ``other`` are two further worlds' distributions; as
        :meth:`transition`, any where the condition is impossible."""
        raise TypeError(f"{type(self).__name__} has no transition probabilities over three worlds")

    def probability(self, fn: Any, value: Tensor, other: Any, outcome: Tensor) -> Tensor:
        """``P(x' = outcome | x = value)`` in closed form; ``outcome`` broadcasts against the value's batch."""
        raise TypeError(f"{type(self).__name__} has no transition probabilities")

    def expectation(self, fn: Any, value: Tensor, other: Any) -> Tensor:
        """``E[x' | x = value]`` in closed form, outcomes as their numbers; shape of the value."""
        raise TypeError(f"{type(self).__name__} has no expectation in closed form")
