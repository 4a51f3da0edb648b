"""What a torch constraint allows, elementwise: bounds, integers, words; and the fast test of a tensor against it.

Most constraints are an interval of reals or integers: their test is one reduction (``aminmax``, which carries NaN),
and for integers one more. Any other constraint is asked itself.

>>> import torch
>>> from torch.distributions import constraints
>>> domain = read(constraints.integer_interval(0, 3))
>>> domain.words, satisfied(domain, torch.tensor([0.0, 3.0])), satisfied(domain, torch.tensor([0.5]))
('integers 0..3', True, False)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from pcm.couplings.parameters import compact

__all__ = ["Domain", "UpTo", "WholeNumbers", "offending", "read", "satisfied", "whole_numbers"]


class WholeNumbers(constraints.Constraint):
    """The integers, negative ones too; torch has no such constraint.

    >>> whole_numbers.check(torch.tensor([-2.0, 0.5])).tolist()
    [True, False]
    """

    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        """Elementwise."""
        return torch.isfinite(value) & (value == value.floor())


whole_numbers = WholeNumbers()


class UpTo(constraints.less_than):
    """Reals up to a bound that can be taken; torch has the open one only.

    >>> UpTo(1.0).check(torch.tensor([1.0, 2.0])).tolist()
    [True, False]
    """

    def check(self, value: Tensor) -> Tensor:
        """Elementwise."""
        return value <= self.upper_bound


@dataclass(frozen=True)
class Domain:
    """Elementwise domain of a tensor.

    Attributes
    ----------
    constraint : object
        The torch constraint; asked itself where ``simple`` is False.
    low, high : float or Tensor
        Bounds, infinite where there is none.
    open_low, open_high : bool
        Whether the bound itself is excluded.
    integer, infinite : bool
        Integers only; infinities allowed.
    simple : bool
        Whether bounds and integers say it all.
    words : str
        For a message: ``"0 or 1"``, ``"positive reals"``.
    """

    constraint: Any
    low: Any = -math.inf
    high: Any = math.inf
    open_low: bool = False
    open_high: bool = False
    integer: bool = False
    infinite: bool = False
    simple: bool = True
    words: str = ""

    @property
    def unbounded(self) -> bool:
        """Whether every finite real lies in it."""
        return (
            self.simple
            and not self.integer
            and not isinstance(self.low, Tensor)
            and not isinstance(self.high, Tensor)
            and self.low == -math.inf
            and self.high == math.inf
        )

    @property
    def events(self) -> int:
        """Trailing dims that one check of ``constraint`` reduces; 0 where the domain is elementwise."""
        return 0 if self.simple else self.constraint.event_dim


_known: dict[tuple[int, bool], tuple[Any, Domain]] = {}
"""Domains of constraints with constant bounds, most of which are torch's own singletons."""


def read(constraint: Any, infinite: bool = False) -> Domain:
    """The domain of a constraint; of a dependent one (it has no bounds yet) the finite reals."""
    known = _known.get((id(constraint), infinite))
    if known is not None and known[0] is constraint:
        return known[1]
    domain = _read(constraint, infinite)
    if not isinstance(domain.low, Tensor) and not isinstance(domain.high, Tensor) and len(_known) < 256:
        _known[id(constraint), infinite] = constraint, domain
    return domain


def _read(constraint: Any, infinite: bool) -> Domain:
    while isinstance(constraint, constraints.independent):
        constraint = constraint.base_constraint
    if constraints.is_dependent(constraint) or isinstance(constraint, type(constraints.real)):
        return Domain(constraint, infinite=infinite, words="numbers" if infinite else "finite reals")
    if isinstance(constraint, type(constraints.boolean)):
        return Domain(constraint, 0.0, 1.0, integer=True, words="0 or 1")
    if isinstance(constraint, WholeNumbers):
        return Domain(constraint, integer=True, words="whole numbers")
    low, high = getattr(constraint, "lower_bound", None), getattr(constraint, "upper_bound", None)
    if low is None and high is None:
        return Domain(constraint, simple=False, words=_named(constraint))
    open_low = isinstance(constraint, constraints.greater_than)
    open_high = isinstance(constraint, constraints.less_than | constraints.half_open_interval)
    open_high = open_high and not isinstance(constraint, UpTo)
    integer = bool(constraint.is_discrete)
    if integer:
        words = f"integers from {_number(low)}" if high is None else f"integers {_number(low)}..{_number(high)}"
    elif low is None:
        words = f"reals {'below' if open_high else 'up to'} {_number(high)}"
    elif high is not None:
        words = f"reals between {_number(low)} and {_number(high)}"
    elif open_low and _number(low) == "0":
        words = "positive reals"
    else:
        words = f"reals {'above' if open_low else 'from'} {_number(low)}"
    low, high = -math.inf if low is None else low, math.inf if high is None else high
    return Domain(constraint, low, high, open_low, open_high, integer, words=words)


def satisfied(domain: Domain, tensor: Tensor) -> bool:
    """Whether every element lies in the domain."""
    if not tensor.numel():
        return True
    if tensor.dtype == torch.bool:
        tensor = tensor.to(torch.uint8)
    if domain.simple:
        low, high = (each.item() for each in torch.aminmax(tensor))
        if low != low or (not domain.infinite and not (low > -math.inf and high < math.inf)):
            return False
        least, most = _tightest(domain.low, torch.amax), _tightest(domain.high, torch.amin)
        above = low > least if domain.open_low else low >= least
        below = high < most if domain.open_high else high <= most
        if above and below:
            return not domain.integer or not tensor.is_floating_point() or _whole(tensor, low, high)
        if not isinstance(domain.low, Tensor) and not isinstance(domain.high, Tensor):
            return False
    return not bool(offending(domain, tensor).any())


def _whole(tensor: Tensor, low: float, high: float) -> bool:
    """Whether all are whole numbers; of numbers in [0, 1] that is when their squares sum to the same (no temporary)."""
    if low >= 0.0 and high <= 1.0 and tensor.dim() == 1 and tensor.is_contiguous() and tensor.dtype == torch.float64:
        return bool(torch.dot(tensor, tensor) == tensor.sum())
    return bool((tensor == tensor.floor()).all())


def offending(domain: Domain, tensor: Tensor) -> Tensor:
    """Mask of what lies outside: elementwise, or with the constraint's event dims reduced."""
    if not domain.simple:
        finite = torch.isfinite(tensor)
        for _ in range(domain.events):
            finite = finite.all(-1)
        return ~(finite & domain.constraint.check(tensor))
    bad = torch.isnan(tensor) if domain.infinite else ~torch.isfinite(tensor)
    bad = bad | (tensor <= domain.low if domain.open_low else tensor < domain.low)
    bad = bad | (tensor >= domain.high if domain.open_high else tensor > domain.high)
    return bad | (tensor != tensor.floor()) if domain.integer and tensor.is_floating_point() else bad


def _tightest(bound: Any, reduce: Any) -> float:
    """The strictest of bounds that may differ between units."""
    return reduce(compact(bound)).item() if isinstance(bound, Tensor) else float(bound)


def _number(bound: Any) -> str:
    """A bound in words; where it differs between units, its range."""
    if not isinstance(bound, Tensor):
        return f"{bound:g}"
    low, high = (each.item() for each in torch.aminmax(compact(bound)))
    return f"{low:g}" if low == high else f"({low:g} to {high:g}, by unit)"


def _named(constraint: Any) -> str:
    known = {
        type(constraints.simplex): "rows of numbers from 0 that sum to 1",
        type(constraints.one_hot): "a row with a single 1 and 0 elsewhere",
        type(constraints.lower_cholesky): "lower triangular with a positive diagonal",
        type(constraints.positive_definite): "positive definite",
    }
    increasing = getattr(type(constraint), "__name__", "") in ("_OrderedVector", "OrderedVector")
    return known.get(type(constraint), "increasing" if increasing else f"inside {constraint}")
