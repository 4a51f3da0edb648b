"""Between the values of one site, ``(*inner, unit, *event)``, and a unit's vector of unconstrained coordinates.

>>> import torch
>>> from pcm.program.structure import Site
>>> flat(torch.tensor([1.0, 2.0]), Site("x", "variable"), 2).shape
torch.Size([2, 1])
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import biject_to, constraints

from pcm.couplings import unwrap
from pcm.couplings.parameters import given_logits
from pcm.program import Site

__all__ = [
    "by_unit",
    "flat",
    "free_shape",
    "from_mechanism",
    "is_real",
    "middle",
    "site_log_prob",
    "spread",
    "unflat",
    "weighed",
]


def site_log_prob(fn: Any, value: Tensor) -> Tensor:
    """Log density; of a distribution given by ``probs`` without torch's clamping, so that the impossible stays so."""
    if isinstance(fn, torch.distributions.Bernoulli) and not given_logits(fn):
        return torch.where(value > 0.5, torch.log(fn.probs), torch.log1p(-fn.probs))
    if isinstance(fn, torch.distributions.Categorical) and not given_logits(fn):
        logs = torch.log(fn.probs)
        shape = torch.broadcast_shapes(logs.shape[:-1], value.shape)
        return logs.expand(*shape, -1).gather(-1, value.long().expand(shape)[..., None]).squeeze(-1)
    return fn.log_prob(value)


def free_shape(site: Site) -> tuple[int, ...]:
    """Shape of a site's event in the unconstrained coordinates of its support."""
    return tuple(biject_to(site.support).inverse_shape(torch.Size(site.event))) if site.event else ()


def is_real(support: Any) -> bool:
    """Whether a support is its own coordinates."""
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support is constraints.real


def spread(mask: Tensor, site: Site) -> Tensor:
    """A mask over units against values ``(*inner, unit, *event)``."""
    return mask.reshape(*mask.shape, *([1] * len(site.event)))


def by_unit(term: Tensor, site: Site, units: int) -> Tensor:
    """A log density ``(*inner, unit)`` (or broadcastable to it) summed over the plates inside a unit."""
    full = term.expand(torch.broadcast_shapes(term.shape, (*site.inner, units)))
    return full.reshape(-1, units).sum(0) if site.inner else full


def flat(value: Tensor, site: Site, units: int) -> Tensor:
    """Coordinates ``(*inner, unit, *free)`` as ``(unit, coordinate)``."""
    full = value.expand(*site.inner, units, *free_shape(site))
    return full.movedim(len(site.inner), 0).reshape(units, -1)


def unflat(columns: Tensor, site: Site, units: int) -> Tensor:
    """The inverse of :func:`flat`."""
    return columns.reshape(units, *site.inner, *free_shape(site)).movedim(0, len(site.inner))


def middle(site: Site, units: int) -> Tensor:
    """Uniforms of the median."""
    return torch.full((*site.inner, units, *site.noise), 0.5)


def from_mechanism(site: Site, fn: Any, uniform: Tensor, units: int) -> Tensor:
    """The site's value at uniforms, by its coupling."""
    coupling, bare = site.coupling, unwrap(fn)[0]
    assert coupling is not None
    return coupling.push(bare, coupling.fresh(bare, uniform)).expand(site.shape(units))


def weighed(msg: Any, term: Tensor) -> Tensor:
    """A log density with the program's own mask and scale."""
    if msg["mask"] is not None:
        term = term * msg["mask"]
    return term if msg["scale"] is None or isinstance(msg["scale"], float) else term * msg["scale"]
