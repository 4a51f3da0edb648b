"""Are the parameters of a site allowed, and is a value one its distribution can take?

Pyro's own validation is off while programs run under ``vmap``, so both checks are made here, eagerly: one reduction a
parameter (expanded scalars are read as one number), one or two a value. The offending rows are looked for only once
something is wrong.

>>> import pyro.distributions as dist, torch
>>> check_distribution(dist.Normal(torch.zeros(3), torch.tensor([1.0, -1.0, 2.0])), "dose")
Traceback (most recent call last):
    ...
pcm.errors.SupportError: site 'dose': Normal needs scale to be finite and positive; found -1.0 (rows 1). ...
"""

from __future__ import annotations

import math
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from pcm.couplings.finite import compact_batch
from pcm.couplings.parameters import compact
from pcm.couplings.registry import unwrap
from pcm.errors import SupportError

__all__ = ["check_distribution", "check_value", "support_in_words"]

_SHOWN = 5
_SKIPPED = ("covariance_matrix", "precision_matrix")
"""Redundant with ``scale_tril``, whose factorisation has succeeded."""


def check_distribution(fn: Any, site: str | None = None) -> None:
    """Check the parameters of a distribution, through wrappers, transforms and bases.

    Parameters
    ----------
    fn : Distribution
        Batch dims are ``[inner plates…, unit]``.
    site : str, optional
        The site's name, for the message.

    Raises
    ------
    SupportError
        A parameter is NaN, infinite (only ``logits`` may be) or outside its constraint. Fields: ``site``,
        ``parameter``, ``value`` (the first offending), ``rows`` (first offending unit indices), ``support``.
    """
    fn, events = unwrap(fn)
    if isinstance(fn, torch.distributions.TransformedDistribution):
        _check_base(fn, events, site)
    given = fn.__dict__
    for name, constraint in type(fn).arg_constraints.items():
        if name in given and name not in _SKIPPED and isinstance(given[name], Tensor):
            _check_parameter(fn, name, given[name], constraint, events, site)
    if isinstance(fn, torch.distributions.Uniform):
        low, high = torch.broadcast_tensors(compact(fn.low), compact(fn.high))
        if not bool((low < high).all()):
            _refuse_parameter(fn, "high", fn.high, ~(fn.low < fn.high), "above low", events, site)
    if isinstance(fn, torch.distributions.MultivariateNormal):
        factor = fn._unbroadcasted_scale_tril
        if not bool(torch.isfinite(factor).all()):
            bad = ~torch.isfinite(factor).all(-1).all(-1)
            _refuse_parameter(fn, "scale_tril", factor[..., 0, 0], bad, "finite", events, site)


def check_value(fn: Any, value: Tensor, site: str | None = None) -> None:
    """Check that a value can come from a distribution.

    Parameters
    ----------
    fn : Distribution
        What the site has as its ``fn``, wrapped or bare.
    value : Tensor
        ``[inner plates…, unit, event…]``.
    site : str, optional
        The site's name, for the message.

    Raises
    ------
    SupportError
        A value is NaN, infinite or outside the support. Fields: ``site``, ``value`` (first offending), ``rows``
        (first offending unit indices), ``support`` (in words).
    """
    fn, events = unwrap(fn)
    support = fn.support
    inner, depth = support, events
    while isinstance(inner, constraints.independent):
        depth += inner.reinterpreted_batch_ndims
        inner = inner.base_constraint
    if not _inside(inner, value):
        bad = ~_allowed(inner, value)
        depth += inner.event_dim
        first = bad.nonzero()
        shown = value[tuple(first[0].tolist())] if len(first) else value.new_tensor(math.nan)
        shown = shown.tolist() if shown.dim() else shown.item()
        rows = _rows(bad, depth - inner.event_dim)
        words = support_in_words(support)
        raise SupportError(
            f"{_at(site)}a value of {type(fn).__name__} must be {words}; found {shown}{_in_rows(rows)}. Correct the "
            "value, or the distribution.",
            site=site,
            value=shown,
            rows=rows,
            support=words,
        )


def support_in_words(constraint: Any) -> str:
    """``"0 or 1"``, ``"integers 0..3"``, ``"positive reals"``, …"""
    if isinstance(constraint, constraints.independent):
        return support_in_words(constraint.base_constraint)
    if constraint is constraints.boolean:
        return "0 or 1"
    low, high = _bounds(constraint)
    if isinstance(constraint, constraints.integer_interval):
        return f"integers {_range(low, integer=True)}..{_range(high, integer=True)}"
    if constraint.is_discrete and low is not None:
        return f"integers from {_range(low, integer=True)}"
    if isinstance(constraint, type(constraints.one_hot)):
        return "a row with a single 1 and 0 elsewhere"
    if isinstance(constraint, type(constraints.real)):
        return "finite reals"
    if low is None:
        return f"inside {constraint}"
    if high is not None:
        return f"reals between {_range(low)} and {_range(high)}"
    strict = isinstance(constraint, constraints.greater_than)
    if _range(low) == "0":
        return "positive reals" if strict else "reals from 0"
    return f"reals {'above' if strict else 'from'} {_range(low)}"


# -- parameters --------------------------------------------------------------------------------------------------------


def _check_base(fn: Any, events: int, site: str | None) -> None:
    base = fn.base_dist
    if len(base.event_shape) or len(fn.event_shape):
        # the unit dim is found from the left of the event dims of the whole
        events += len(fn.event_shape)
        base, inner = unwrap(base)
        events -= len(base.event_shape)
        events = max(events, inner)
    if isinstance(base, torch.distributions.Distribution):
        check_distribution(dist.Independent(base, events) if events else base, site)


def _check_parameter(fn: Any, name: str, parameter: Tensor, constraint: Any, events: int, site: str | None) -> None:
    depth = constraint.event_dim
    small = compact_batch(parameter) if depth else compact(parameter)
    if not small.numel():
        return
    low, high = torch.aminmax(small)
    low, high = low.item(), high.item()
    infinite = name == "logits" or isinstance(fn, dist.Delta)
    ok = low == low and (infinite or (low > -math.inf and high < math.inf))
    if ok and not _whole_range(constraint, low, high):
        ok = _elementwise(constraint, small)
    if ok:
        return
    full = parameter
    bad = torch.isnan(full) if infinite else ~torch.isfinite(full)
    if not isinstance(constraint, type(constraints.real_vector)) and not constraint.is_discrete or depth == 0:
        bad = bad | ~_allowed(constraint, full, depth)
    words = _requirement(constraint, infinite)
    _refuse_parameter(fn, name, full, bad, words, events + depth, site)


def _whole_range(constraint: Any, low: float, high: float) -> bool:
    """Whether finite extremes already prove the constraint."""
    if constraint in (constraints.real, constraints.real_vector) or constraints.is_dependent(constraint):
        return True
    if constraint is constraints.simplex:  # torch has normalised the rows
        return low >= 0
    if constraint.is_discrete:
        return False
    lower, upper = _bounds(constraint)
    if not isinstance(lower, int | float) or not isinstance(upper, int | float | None):
        return False
    above = low > lower if isinstance(constraint, constraints.greater_than) else low >= lower
    return above and (upper is None or high <= upper)


def _elementwise(constraint: Any, tensor: Tensor) -> bool:
    return bool(constraint.check(tensor).all())


def _allowed(constraint: Any, tensor: Tensor, depth: int | None = None) -> Tensor:
    """Elementwise (event dims reduced) whether a tensor satisfies a constraint and is finite."""
    depth = constraint.event_dim if depth is None else depth
    finite = torch.isfinite(tensor)
    for _ in range(depth):
        finite = finite.all(-1)
    checked = constraint.check(tensor)
    return finite & checked if not depth or checked.dim() == finite.dim() else finite


def _refuse_parameter(
    fn: Any, name: str, parameter: Tensor, bad: Tensor, words: str, events: int, site: str | None
) -> None:
    rows = _rows(bad, max(events - (parameter.dim() - bad.dim()), 0))
    first = bad.nonzero()
    found = parameter[tuple(first[0].tolist())] if len(first) else parameter.flatten()[0]
    found = found.tolist() if found.dim() else found.item()
    raise SupportError(
        f"{_at(site)}{type(fn).__name__} needs {name} to be {words}; found {found}{_in_rows(rows)}. Correct the "
        "program, or the values that it reads.",
        site=site,
        parameter=name,
        value=found,
        rows=rows,
        support=words,
    )


def _requirement(constraint: Any, infinite: bool) -> str:
    finite = "a number" if infinite else "finite"
    if constraint in (constraints.real, constraints.real_vector) or constraints.is_dependent(constraint):
        return finite
    if constraint is constraints.simplex:
        return "probabilities"
    if constraint is constraints.ordered_vector:
        return "finite and increasing"
    low, high = _bounds(constraint)
    if constraint.is_discrete:
        return f"an integer from {_range(low, integer=True)}" if low is not None else "an integer"
    if high is not None:
        return f"between {_range(low)} and {_range(high)}"
    if low is not None:
        strict = isinstance(constraint, constraints.greater_than)
        return f"{finite} and {'positive' if strict and _range(low) == '0' else f'from {_range(low)}'}"
    return f"inside {constraint}"


# -- values ------------------------------------------------------------------------------------------------------------


def _inside(constraint: Any, value: Tensor) -> bool:
    """Whether every value satisfies the support: one reduction, and one more for integers."""
    if not value.numel():
        return True
    if constraint is constraints.boolean:
        return bool(((value == 0) | (value == 1)).all())
    if constraint.event_dim:
        return bool(_allowed(constraint, value).all())
    lower, upper = _bounds(constraint)
    if isinstance(constraint, type(constraints.real)) or lower is not None:
        low, high = torch.aminmax(value)
        low, high = low.item(), high.item()
        if not (low > -math.inf and high < math.inf):
            return False
        if constraint.is_discrete and value.is_floating_point() and not bool((value == value.floor()).all()):
            return False
        if lower is None:
            return True
        least, most = _extreme(lower, torch.amax), _extreme(upper, torch.amin)
        above = low > least if isinstance(constraint, constraints.greater_than) else low >= least
        if above and high <= most:
            return True
    return bool(_allowed(constraint, value).all())


def _extreme(bound: Any, reduce: Any) -> float:
    """The tightest of per-unit bounds; infinite where there is none."""
    if bound is None:
        return math.inf
    return reduce(compact(bound)).item() if isinstance(bound, Tensor) else float(bound)


def _bounds(constraint: Any) -> tuple[Any, Any]:
    """Lower and upper bound, numbers or tensors; None where there is none."""
    return getattr(constraint, "lower_bound", None), getattr(constraint, "upper_bound", None)


# -- words -------------------------------------------------------------------------------------------------------------


def _rows(bad: Tensor, depth: int) -> list[int]:
    """First offending indices along the unit dim, the one before ``depth`` event dims; empty without units."""
    if bad.dim() <= depth:
        return []
    bad = bad.flatten(bad.dim() - depth - 1 + 1).any(-1) if depth else bad
    bad = bad.reshape(-1, bad.shape[-1]).any(0)
    return bad.nonzero().flatten()[:_SHOWN].tolist()


def _range(bound: Any, integer: bool = False) -> str:
    """A bound in words; where it differs between units, the range of it."""
    if not isinstance(bound, Tensor):
        return f"{bound:g}"
    low, high = (each.item() for each in torch.aminmax(compact(bound)))
    return f"{low:g}" if low == high else f"({low:g} to {high:g}, by unit)"


def _in_rows(rows: list[int]) -> str:
    return f" (rows {', '.join(map(str, rows))}{', …' if len(rows) == _SHOWN else ''})" if rows else ""


def _at(site: str | None) -> str:
    return f"site '{site}': " if site is not None else ""
