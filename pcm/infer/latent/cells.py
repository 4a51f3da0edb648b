r"""Values that a unit has in part: which cells of a site are open, and the density of the others.

A site of several numbers a unit (an event, or a plate inside the unit) may be known in some cells. The open ones alone
are unobserved: the joint density of all cells, as a function of the open ones, is what the seen ones say of them.
Where nothing below them was observed and no open cell depends on a seen one, the open ones are drawn from their
mechanism, and the seen ones keep their density. Cells that the support ties to each other (a simplex, one-hot rows)
are open or seen together.

>>> import pyro.distributions as dist, torch
>>> fn = dist.Normal(torch.zeros(2, 3), 1.0).to_event(1)
>>> cell_log_prob(fn, torch.zeros(2, 3)).shape, fn.log_prob(torch.zeros(2, 3)).shape
(torch.Size([2, 3]), torch.Size([2]))
>>> tied(dist.MultivariateNormal.support), tied(dist.Dirichlet.support)
(0, 1)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from pyro.distributions.torch_distribution import ExpandedDistribution, MaskedDistribution
from torch import Tensor
from torch.distributions import Independent, biject_to, constraints

from pcm.infer.latent.between import Between, by_row
from pcm.infer.latent.coordinates import by_unit, flat, free_shape, is_real, site_log_prob, spread, unflat
from pcm.program import Site

__all__ = ["Cells", "cell_log_prob", "log_jacobian", "tied", "why_whole"]


def tied(support: Any) -> int:
    """How many trailing event dims a support ties together."""
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support.event_dim


def why_whole(site: Site, empty: Tensor) -> str | None:
    """Why the empty elements of a site, ``(unit, *inner, *event)``, cannot be missing alone; None where they can."""
    whole = site.joint if site.support is None or site.discrete else tied(site.support)
    blocks = empty.flatten(-whole) if whole else empty[..., None]
    if bool((blocks.any(-1) == blocks.all(-1)).all()):
        return None
    return f"the values of one {site.family} are tied to each other"


def cell_log_prob(fn: Any, value: Tensor, of: Callable[[Any, Tensor], Tensor] = site_log_prob) -> Tensor:
    """Log density of each independent cell, ``(*inner, unit, *event)`` less the dims that one distribution spans.

    ``of`` gives that of the distribution under ``to_event``, ``expand`` and ``mask``.
    """
    if isinstance(fn, Independent | ExpandedDistribution):
        return cell_log_prob(fn.base_dist, value, of)
    if isinstance(fn, MaskedDistribution):
        term = cell_log_prob(fn.base_dist, value, of)
        mask = torch.as_tensor(fn._mask)
        extra = term.dim() - len(fn.batch_shape)
        return torch.where(mask.reshape(*mask.shape, *([1] * extra)), term, 0.0) if mask.dim() else term * mask
    return of(fn, value)


def log_jacobian(site: Site, support: Any, free: Tensor, made: Tensor, open_: Tensor, units: int) -> Tensor:
    """``log |∂ value / ∂ free|`` over the open cells (a mask like the values), ``(unit,)``."""
    if is_real(support):
        return torch.zeros(units, dtype=free.dtype)
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    term = biject_to(support).log_abs_det_jacobian(free, made)
    for _ in range(open_.dim() - term.dim()):
        open_ = open_.any(-1)
    return by_unit(_over_event(torch.where(open_, term, 0.0), site), site, units)


class Cells:
    """Which cells of sites are open, and where these stand in a unit's vector.

    Parameters
    ----------
    sites : dict of name to Site
    holes : dict of name to bool tensor ``(*inner, unit, *event)``
        Empty cells of sites that some unit has in part (all true for units that lack the site).
    """

    def __init__(self, sites: dict[str, Site], holes: dict[str, Tensor]) -> None:
        self.sites, self.holes = sites, holes
        cells = {name: by_row(hole, sites[name]) for name, hole in holes.items()}
        self.partly = {name: hole.any(1) & ~hole.all(1) for name, hole in cells.items()}
        self.used = {name: self.free(name).any(0).nonzero().flatten() for name in holes if not sites[name].discrete}

    def narrowed(self, place: Tensor) -> Cells:
        """Those of the units at ``place``, with the same coordinates."""
        axes = {name: len(self.sites[name].inner) for name in self.holes}
        made = Cells(self.sites, {name: hole.index_select(axes[name], place) for name, hole in self.holes.items()})
        made.used = self.used
        return made

    def open(self, mask: Tensor, name: str) -> Tensor:
        """The cells that are missing in the units of a mask, like the site's values."""
        wide = spread(mask, self.sites[name])
        return wide & self.holes[name] if name in self.holes else wide

    def dependent(self, name: str) -> Tensor | None:
        """Units where an open cell and a seen one stand in one distribution, ``(unit,)``."""
        if name not in self.holes or not self.sites[name].joint:
            return None
        hole = self.holes[name].flatten(-self.sites[name].joint)
        mixed = hole.any(-1) & ~hole.all(-1)
        return by_row(mixed, self.sites[name]).any(1)

    # -- coordinates -------------------------------------------------------------------------------------------------

    def free(self, name: str) -> Tensor:
        """Which unconstrained coordinates of a site with holes are open, ``(unit, coordinate)``."""
        hole, site = self.holes[name], self.sites[name]
        ties = tied(site.support)
        if ties:
            shape = free_shape(site)[len(site.event) - ties :]
            hole = hole.flatten(-ties).any(-1).reshape(*hole.shape[:-ties], *([1] * ties))
            hole = hole.expand(*hole.shape[:-ties], *shape)
        return flat(hole, site, len(self.partly[name]))

    def width(self, name: str) -> int:
        """How many coordinates of a site are open in some unit; they are the ones that stand in the vector."""
        return len(self.used[name]) if name in self.used else self.whole(name)

    def taken(self, columns: Tensor, name: str) -> Tensor:
        """Of all coordinates of a site ``(unit, coordinate)``, those that stand in the vector."""
        return columns[:, self.used[name]] if name in self.used else columns

    def placed(self, columns: Tensor, name: str, units: int) -> Tensor:
        """Coordinates in the vector as the site's ``(*inner, unit, *free)``; zero where none is open."""
        site = self.sites[name]
        if name in self.used:
            where = torch.full((self.whole(name),), columns.shape[-1])
            where[self.used[name]] = torch.arange(columns.shape[-1])
            columns = torch.cat([columns, torch.zeros_like(columns[..., :1])], -1)[..., where]
        return unflat(columns, site, units)

    # -- density -----------------------------------------------------------------------------------------------------

    def log_prob(
        self, hidden: Tensor, fn: Any, value: Tensor, name: str, between: Tensor | None, laws: Between
    ) -> Tensor:
        """A site's log density ``(*inner, unit)``: of what units see of it alone, where the rest is drawn (``hidden``).

        The cells of ``between`` count with the log probability of their intervals.
        """
        site = self.sites[name]
        part = hidden & self.partly[name] if name in self.partly else None
        if between is None and (part is None or not bool(part.any())):
            return site_log_prob(fn, value)
        blank = self.open(hidden, name)
        if between is None:
            each = cell_log_prob(fn, value)
        else:
            each = cell_log_prob(fn, value, partial(laws.log_prob, name, between))
            blank = blank & ~between
        for _ in range(site.joint):
            blank = blank.any(-1)
        return _over_event(torch.where(blank, 0.0, each), site)

    def whole(self, name: str) -> int:
        """How many coordinates a site has."""
        site = self.sites[name]
        return math.prod(site.inner) * math.prod(free_shape(site))


def _over_event(term: Tensor, site: Site) -> Tensor:
    """Cells ``(*inner, unit, …)`` summed to ``(*inner, unit)``."""
    extra = term.dim() - len(site.inner) - 1
    return term.flatten(-extra).sum(-1) if extra > 0 else term
