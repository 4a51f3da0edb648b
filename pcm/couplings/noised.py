"""How the engine sees private noise: a site's distribution that carries its mechanism, and evidence of such a site.

The layers below :mod:`pcm.private` know no mechanism. They see a :class:`Noised` distribution, which is its base in
every respect and has a ``mechanism``, and :class:`Reported` values, which say by which mechanism they came about: what
was observed of a noised site must have come from that very mechanism, or be declared public.

>>> import torch, pyro.distributions as dist
>>> fn = Noised(dist.Normal(torch.zeros(3), 1.0), "a mechanism")
>>> mechanism_of(fn.expand([2, 3]).to_event(1)), mechanism_of(dist.Normal(0.0, 1.0))
('a mechanism', None)
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

__all__ = ["Noised", "Reported", "mechanism_of", "noised_of"]


class Noised(TorchDistribution):
    """A distribution that is the exact law of a private mechanism's answer.

    Parameters
    ----------
    base_dist : Distribution
        The law; this distribution is it in every respect.
    mechanism : hashable
        Mechanisms are compared with ``==``.
    origin : Tensor, optional
        The true value where the law clips it first, and ``ends`` the bounds: there the law has kinks in it.
    ends : tuple of number
    """

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType]

    def __init__(
        self,
        base_dist: Any,
        mechanism: Hashable,
        *,
        origin: Tensor | None = None,
        ends: tuple[float, ...] = (),
        validate_args: bool | None = None,
    ) -> None:
        self.base_dist, self.mechanism = base_dist, mechanism
        self.origin, self.ends = None if origin is None else origin.expand(base_dist.batch_shape), ends
        super().__init__(base_dist.batch_shape, base_dist.event_shape, validate_args=validate_args)

    def __repr__(self) -> str:
        return f"Noised({self.base_dist}, {self.mechanism!r})"

    @property
    def support(self) -> Any:
        """The base's."""
        return self.base_dist.support

    @property
    def has_rsample(self) -> bool:
        """The base's."""
        return self.base_dist.has_rsample

    @property
    def mean(self) -> Tensor:
        """The base's."""
        return self.base_dist.mean

    @property
    def variance(self) -> Tensor:
        """The base's."""
        return self.base_dist.variance

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same law over a larger batch."""
        law = self.base_dist.expand(torch.Size(batch_shape))
        return Noised(law, self.mechanism, origin=self.origin, ends=self.ends, validate_args=False)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """The base's, from torch's generator: simulated noise, never a release."""
        return self.base_dist.sample(torch.Size(sample_shape))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """The base's."""
        return self.base_dist.rsample(torch.Size(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """The base's."""
        return self.base_dist.log_prob(value)


class Reported:
    """Answers of a mechanism, or values declared public: a typed column, not a plain one.

    Attributes
    ----------
    values : array
        ``[unit]``: labels or numbers.
    index : pandas.Index
        Names of the units.
    mechanism : hashable or None
        Where they came from; None for public values.
    """

    #: Whether the engine may condition on them.
    evidence: ClassVar[bool] = True

    def __init__(self, values: Any, index: pd.Index, mechanism: Any) -> None:
        array = np.array(values)
        array.flags.writeable = False
        self.values, self.index, self.mechanism = array, index, mechanism

    def __len__(self) -> int:
        return len(self.values)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.values.flags.writeable = False  # pickle forgets it

    def codes(self) -> np.ndarray:
        """The values as the numbers that a program has for them."""
        return self.values if self.mechanism is None else self.mechanism.encode(self.values)


def mechanism_of(fn: Any) -> Any:
    """The mechanism that a site's distribution carries, through wrappers; None where it has none."""
    found = noised_of(fn)
    return None if found is None else found.mechanism


def noised_of(fn: Any) -> Noised | None:
    """The :class:`Noised` within a site's distribution, through wrappers."""
    while fn is not None and not isinstance(fn, Noised):
        fn = getattr(fn, "base_dist", None)
    return fn
