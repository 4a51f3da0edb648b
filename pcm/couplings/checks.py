"""Are the parameters of a site allowed, and is a value one that its distribution can take?

Pyro's own validation is off while programs run under ``vmap``, so both checks are made here, eagerly: one reduction a
parameter (an expanded scalar is one number), one or two a value. The offending rows are looked for only once
something is wrong.

>>> import pyro.distributions as dist, torch
>>> check_distribution(dist.Normal(torch.zeros(3), torch.tensor([1.0, -1.0, 2.0]), validate_args=False), "dose")
Traceback (most recent call last):
    ...
pcm.errors.SupportError: site 'dose': the scale of Normal must be positive reals; found -1.0 (row 1). ...
"""

from __future__ import annotations

import math
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from pcm.couplings import registry, support
from pcm.couplings.censored import Censored
from pcm.couplings.domain import Domain, offending, read, satisfied
from pcm.couplings.finite import compact_batch
from pcm.couplings.parameters import compact, given_logits
from pcm.couplings.registry import at_site, unwrap
from pcm.couplings.truncated import Truncated
from pcm.errors import SupportError

__all__ = ["check_distribution", "check_value", "unremarkable"]

_SHOWN = 5
_DERIVED = ("covariance_matrix", "precision_matrix", "log_density")
"""Not read: a matrix's factorisation has succeeded, and a Delta's density is no parameter of its law."""


def unremarkable(fn: Any) -> bool:
    """Whether any finite value is possible and no parameter is left to look at but a finite one: the commonest case, a
    Normal with one positive scale, at a tenth of what the checks below take."""
    if not isinstance(fn, torch.distributions.Normal):
        return False
    scale = compact(fn.scale)
    return scale.dim() == 0 and 0.0 < scale.item() < math.inf


def check_distribution(fn: Any, site: str | None = None, *, finite: bool = True) -> None:
    """Check the parameters of a distribution, through wrappers, transforms and bases.

    Parameters
    ----------
    fn : Distribution
        Batch dims are ``[inner plates…, unit]``.
    site : str, optional
        The site's name, for the message.
    finite : bool
        Whether parameters that may be any real are read too; a caller who checks what it computes from them need not.

    Raises
    ------
    SupportError
        A parameter is NaN, infinite (only ``logits`` may be) or outside its constraint. Fields: ``site``,
        ``parameter``, ``value`` (the first offending), ``rows`` (first offending unit indices), ``support``.
    """
    fn, events = unwrap(fn)
    if not finite and _plainly_allowed(fn):
        return
    _check(fn, events, site, finite)


def check_value(fn: Any, value: Tensor, site: str | None = None, *, finite: bool = True) -> None:
    """Check that a value can come from a distribution.

    Parameters
    ----------
    fn : Distribution
        What the site has as its ``fn``, wrapped or bare.
    value : Tensor
        ``[inner plates…, unit, event…]``.
    site : str, optional
        The site's name, for the message.
    finite : bool
        Whether values that may be any real are read too; a caller who knows them to be finite need not.

    Raises
    ------
    SupportError
        A value is NaN, infinite or outside the support. Fields: ``site``, ``value`` (the first offending), ``rows``
        (first offending unit indices), ``support`` (in words).
    """
    fn, events = unwrap(fn)
    domain = support.domain(fn)
    if (not finite and domain.unbounded) or satisfied(domain, value):
        return
    found, rows = _first(domain, value, events + len(fn.event_shape) - domain.events)
    raise SupportError(
        f"{at_site(site)}a value of {type(fn).__name__} must be {domain.words}; found {found}{_in_rows(rows)}. Correct "
        "the value, or the distribution.",
        site=site,
        value=found,
        rows=rows,
        support=domain.words,
    )


def _plainly_allowed(fn: Any) -> bool:
    """Whether the two commonest families have nothing left to look at: one positive scale, or log odds."""
    return unremarkable(fn) or (isinstance(fn, torch.distributions.Bernoulli) and given_logits(fn))


def _check(fn: Any, events: int, site: str | None, finite: bool) -> None:
    family = type(fn)
    named = fn.arg_constraints
    inner = _parts(fn)
    if inner:
        for part, further in inner:
            bare, more = unwrap(part)
            _check(bare, events + further + more, site, finite)
        named = {name: each for name, each in named.items() if name in ("gate", "gate_logits")}
    elif isinstance(fn, torch.distributions.TransformedDistribution) and not named:
        base, _ = unwrap(fn.base_dist)
        shape = len(fn.base_dist.batch_shape) + len(fn.base_dist.event_shape)
        _check(base, events + shape - len(fn.batch_shape) - len(base.event_shape), site, finite)
        return
    # a one-hot keeps its parameters in an inner Categorical
    owner = fn.__dict__.get("_categorical", fn)
    both = "probs" in owner.__dict__ and "logits" in owner.__dict__
    derived = (*_DERIVED, "probs" if given_logits(owner) else "logits") if both else _DERIVED
    for name, constraint in named.items():
        # lazy conversions (logits of probs) are not called into being; plain properties only rename
        here = name in owner.__dict__ or (owner is fn and type(getattr(family, name, None)) is property)
        parameter = getattr(owner, name) if here and name not in derived else None
        if not isinstance(parameter, Tensor):
            continue
        bounds = constraint
        if isinstance(constraint, type(constraints.simplex)):
            bounds = constraints.nonnegative  # torch has normalised the rows
        elif isinstance(fn, torch.distributions.Uniform):
            bounds = constraints.real  # each end names the other: looked at together, below
        domain = read(bounds, infinite=name in ("logits", "gate_logits") or isinstance(fn, dist.Delta))
        if not finite and domain.unbounded:
            continue
        trailing = max(parameter.dim() - len(fn.batch_shape), 0)
        if not satisfied(domain, compact_batch(parameter) if domain.events else compact(parameter)):
            _refuse(fn, name, domain, parameter, events + trailing - domain.events, site)
    if isinstance(fn, torch.distributions.Uniform):
        if not bool((compact(fn.low) < compact(fn.high)).all()):
            low, high = torch.broadcast_tensors(fn.low, fn.high)
            domain = Domain(None, low=low, open_low=True, words="above low")
            _refuse(fn, "high", domain, high, events, site)
    elif isinstance(fn, Truncated):
        low, high = torch.broadcast_tensors(fn.low, fn.high)
        strict = not registry.resolve(fn)[0].discrete
        between = Domain(
            None, high=high, open_high=strict, infinite=True, words="below high" if strict else "up to high"
        )
        if not satisfied(between, low):
            _refuse(fn, "low", between, low, events, site)
    elif isinstance(fn, torch.distributions.MultivariateNormal):
        domain, factor = Domain(None, words="finite"), fn._unbroadcasted_scale_tril
        if not satisfied(domain, factor):
            _refuse(fn, "scale_tril", domain, factor, events + 2, site)


def _parts(fn: Any) -> list[tuple[Any, int]]:
    """The distributions that one is made of, and the dims that each has right of the batch."""
    if isinstance(fn, torch.distributions.MixtureSameFamily):
        return [(fn.mixture_distribution, 0), (fn.component_distribution, 1)]
    if isinstance(fn, dist.ZeroInflatedDistribution):
        return [(fn.base_dist, 0)]
    if isinstance(fn, dist.MaskedMixture):
        return [(fn.component0, 0), (fn.component1, 0)]
    return [(fn.base, 0)] if isinstance(fn, Truncated | Censored) else []


def _refuse(fn: Any, name: str, domain: Domain, parameter: Tensor, trailing: int, site: str | None) -> None:
    found, rows = _first(domain, parameter, trailing)
    raise SupportError(
        f"{at_site(site)}the {name} of {type(fn).__name__} must be {domain.words}; found {found}{_in_rows(rows)}. "
        "Correct the program, or the values that it reads.",
        site=site,
        parameter=name,
        value=found,
        rows=rows,
        support=domain.words,
    )


def _first(domain: Domain, tensor: Tensor, trailing: int) -> tuple[Any, list[int]]:
    """The first offending element, and the first offending units: indices of the dim before ``trailing`` others."""
    bad = offending(domain, tensor)
    where = bad.nonzero()
    found = tensor.broadcast_to(bad.shape + tensor.shape[bad.dim() :])[tuple(where[0].tolist())].tolist()
    if bad.dim() <= trailing:
        return found, []
    units = bad.reshape(-1, bad.shape[-1 - trailing], math.prod(bad.shape[bad.dim() - trailing :]))
    return found, units.any(-1).any(0).nonzero().flatten()[:_SHOWN].tolist()


def _in_rows(rows: list[int]) -> str:
    if not rows:
        return ""
    more = ", …" if len(rows) == _SHOWN else ""
    return f" (row{'s' * (len(rows) > 1)} {', '.join(map(str, rows))}{more})"
