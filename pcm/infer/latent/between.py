r"""Cells that are known to lie in an interval: their laws there, and what these are worth as evidence.

A cell's *reference* is the law of that one number: its mechanism where cells are independent, and where they are
jointly normal its marginal. With ``F`` the reference's distribution function, the cell's coordinate is the normal score
``z`` of the reference truncated to the interval, ``x = F^-1(F(low) + Phi(z) (F(high) - F(low)))``, so that

    dx / dz = phi(z) (F(high) - F(low)) / f(x).

Of independent cells the reference's density ``f`` cancels the mechanism's, and ``F(high) - F(low)`` is left.

>>> import pyro.distributions as dist, torch
>>> fn = dist.MultivariateNormal(torch.zeros(2), torch.tensor([[4.0, 1.0], [1.0, 9.0]]))
>>> reference(fn, 1).scale.round(decimals=6).tolist()
[2.0, 3.0]
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from pcm.couplings import Truncated, resolve, unwrap
from pcm.couplings.location_scale import NormalCoupling
from pcm.infer.latent.coordinates import site_log_prob
from pcm.program import Site

__all__ = ["Between", "by_row", "reference", "standard_normal"]


def reference(fn: Any, joint: int) -> Any:
    """The law of one cell, batched like the values ``(*inner, unit, *event)``."""
    bare = unwrap(fn)[0]
    return dist.Normal(bare.mean, bare.variance.sqrt(), validate_args=False) if joint else bare


def by_row(cells: Tensor, site: Site) -> Tensor:
    """Cells ``(*inner, unit, *event)`` as ``(unit, cell)``."""
    cells = cells.movedim(len(site.inner), 0)
    return cells.reshape(len(cells), -1)


class Between:
    """The intervals of a space.

    Parameters
    ----------
    sites : dict of name to Site
    bounds : dict of name to two tensors ``(*inner, unit, *event)``
        Lowest and highest value, infinite for cells that know neither.

    Attributes
    ----------
    cells : dict of name to bool tensor ``(*inner, unit, *event)``
        Which cells lie in an interval.
    units : dict of name to bool tensor ``(unit,)``
        Which units have such a cell.
    """

    def __init__(self, sites: Mapping[str, Site], bounds: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        self.sites, self.bounds = sites, dict(bounds)
        self.cells = {name: (low > -torch.inf) | (high < torch.inf) for name, (low, high) in self.bounds.items()}
        self.units = {name: by_row(cells, sites[name]).any(1) for name, cells in self.cells.items()}

    def __contains__(self, name: str) -> bool:
        return name in self.bounds

    def narrowed(self, place: Tensor) -> Between:
        """Those of the units at ``place``."""
        bounds = {}
        for name, (low, high) in self.bounds.items():
            axis = len(self.sites[name].inner)
            bounds[name] = low.index_select(axis, place), high.index_select(axis, place)
        return Between(self.sites, bounds)

    def of(self, name: str, units: Tensor) -> Tensor:
        """A site's cells in an interval, of some units (a mask)."""
        return self.cells[name] & units.reshape(*units.shape, *([1] * len(self.sites[name].event)))

    def law(self, name: str, fn: Any) -> Truncated:
        """The reference of every cell, given its interval."""
        low, high = self.bounds[name]
        return Truncated(reference(fn, self.sites[name].joint).expand(low.shape), low, high, validate_args=False)

    def scored(self, name: str, fn: Any, score: Tensor) -> Tensor:
        """The values at normal scores of the truncated references."""
        coupling, bare = resolve(self.law(name, fn))
        return coupling.push(bare, NormalCoupling.standard_tail(score))

    def drawn(self, name: str, fn: Any, uniform: Tensor) -> Tensor:
        """The values at uniforms of the truncated references."""
        coupling, bare = resolve(self.law(name, fn))
        return coupling.push(bare, coupling.fresh(bare, uniform))

    def log_prob(self, name: str, cells: Tensor, bare: Any, value: Tensor) -> Tensor:
        """Log density, that of some ``cells`` replaced by the log probability of their intervals.

        Of jointly normal cells it is that of their values, less the reference's density and with its log probability
        of the interval: what :meth:`scored` leaves of the density in the coordinates.
        """
        law, joint = self.law(name, bare), self.sites[name].joint
        if not joint:
            return torch.where(cells, law.log_mass, site_log_prob(bare, value))
        other = law.log_mass - law.base.log_prob(value)
        return site_log_prob(bare, value) + torch.where(cells, other, 0.0).flatten(-joint).sum(-1)

    def outside(self, name: str, value: Tensor, units: Tensor) -> Tensor:
        """Units of a mask in which some cell of these values lies outside its interval, ``(unit,)``."""
        low, high = self.bounds[name]
        return by_row((value < low) | (value > high), self.sites[name]).any(1) & units


def standard_normal(score: Tensor) -> Tensor:
    """Log density of normal scores."""
    return -0.5 * score**2 - 0.5 * math.log(2 * math.pi)
