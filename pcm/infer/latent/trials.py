"""Trials of the maps from what is missing to observed columns: one to one or not, straight or bent.

The program is run with the carriers at places of their laws and everything else that is missing at random values; its
derivatives there tell.

>>> from pcm.infer.latent.trials import one_to_one

References
----------
Gale & Nikaido, "The Jacobian matrix and global univalence of mappings", Mathematische Annalen 159 (1965).
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributions import biject_to

from pcm.couplings import unwrap
from pcm.errors import listed
from pcm.infer.latent.coordinates import is_real
from pcm.program import Site, is_deterministic

if TYPE_CHECKING:
    from pcm.infer.latent.links import Link
    from pcm.infer.latent.space import Space

__all__ = ["one_to_one", "together"]

#: Units, and random values of the rest for each, at which a map is tried.
TRIED, TIMES = 24, 3

#: Quantiles of the carrier at which a map is tried.
LEVELS = (1e-4, 1e-3, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97, 0.99, 0.999, 1 - 1e-4)

#: Joint places of several carriers, and the share of its rows' lengths below which a determinant is none.
PLACES, SINGULAR = 48, 1e-10

#: Carriers of a bent system up to which its minors are tried in all orders.
LARGEST = 4


def one_to_one(
    space: Space, column: str, carrier: str, units: Tensor, parameters: Mapping[str, Tensor]
) -> tuple[bool, str]:
    """Whether the map from carrier to column is affine, and why it is not one to one ("" where it is)."""
    end, start = space.sites[column], space.sites[carrier]
    if (end.inner, end.event) != (start.inner, start.event):
        return False, f"has the shape {(*end.inner, *end.event)} a unit, and '{carrier}' {(*start.inner, *start.event)}"
    if start.event and biject_to(start.support).inverse_shape(torch.Size(start.event)) != start.event:
        return False, f"depends on '{carrier}', whose cells are tied to each other"
    generator, grid = torch.Generator().manual_seed(1), len(LEVELS)
    rows, count, uniform = _prepared(space, units, grid, generator)
    levels = torch.tensor(LEVELS).repeat_interleave(count)
    uniform[carrier] = levels.reshape(-1, *([1] * len(start.noise))).expand_as(uniform[carrier])
    trial = _Trial(space, parameters, rows, uniform)
    try:
        value = trial.run((column,), (carrier,))[carrier]
        made, back = torch.func.vjp(lambda at: trial.run((column,), (), {carrier: at})[column], value.detach())  # type: ignore[assignment]
        slope = back(torch.ones_like(made))[0]
        weight = torch.rand(made.shape, generator=generator, dtype=made.dtype)
        mixed = (back(weight)[0] - weight * slope).abs() > 1e-9 * (1 + slope.abs())
    except RuntimeError as error:
        return False, f"cannot be differentiated in '{carrier}' ({error})"
    axis = len(end.inner)
    value, made, slope = (part.movedim(axis, 0).reshape(grid, count, -1) for part in (value, made, slope))
    if not bool(torch.isfinite(made).all() & torch.isfinite(slope).all()):
        return False, f"is not finite for some values of '{carrier}'"
    if bool(mixed.any()):
        return False, f"mixes the cells of '{carrier}', so that it is not solved cell by cell"
    if bool((slope > 0).any(0).logical_and((slope < 0).any(0)).any()):
        return False, f"both rises and falls with '{carrier}': more than one value of it gives the same {column}"
    if bool((slope == 0).any()):
        return False, f"does not change with '{carrier}' over part of its range"
    straight = is_real(start.support)  # the map is solved in unconstrained coordinates
    return straight and bool(((slope - slope[:1]).abs() <= 1e-12 * slope.abs()).all()), ""


def together(space: Space, links: Sequence[Link], parameters: Mapping[str, Tensor]) -> tuple[bool, str]:
    """Whether columns are affine in their carriers jointly, and why they are not one to one ("" where they are).

    The carriers are tried at many joint places of their laws. Sufficient on a rectangle: that the Jacobian, relative to
    that at one place, has a positive definite symmetric part everywhere; or that all its principal minors are positive
    (Gale & Nikaido 1965).
    """
    carriers, columns = (
        list(dict.fromkeys(names)) for names in zip(*((k.carrier, k.column) for k in links), strict=True)
    )
    shapes = {(space.sites[name].inner, space.sites[name].event) for name in (*carriers, *columns)}
    if len(shapes) > 1:
        return False, f"and {listed(carriers)} have different shapes, and are solved cell by cell"
    size, generator = len(carriers), torch.Generator().manual_seed(2)
    rows, count, uniform = _prepared(space, torch.stack([link.mask for link in links]).any(0), PLACES, generator)
    for name in carriers:
        places = 1e-3 + (1 - 2e-3) * torch.rand(uniform[name].shape, generator=generator)
        places.narrow(len(space.sites[name].inner), 0, count).fill_(0.5)
        uniform[name] = places
    trial = _Trial(space, parameters, rows, uniform)
    try:
        at = {name: value.detach() for name, value in trial.run(columns, carriers).items() if name in carriers}
        made, back = torch.func.vjp(lambda given: trial.run(columns, (), given), at)  # type: ignore[assignment]
        blank = {name: torch.zeros_like(value) for name, value in made.items()}
        slopes = {name: back({**blank, name: torch.ones_like(made[name])})[0] for name in columns}
        weight = torch.rand(made[columns[0]].shape, generator=generator, dtype=made[columns[0]].dtype)
        turned = {name: back({**blank, name: weight})[0] for name in columns}
    except RuntimeError as error:
        return False, f"cannot be differentiated in {listed(carriers)} ({error})"
    for column, name in itertools.product(columns, carriers):
        mixed = (turned[column][name] - weight * slopes[column][name]).abs() > 1e-9 * (1 + slopes[column][name].abs())
        if bool(mixed.any()):
            return False, f"mix the cells of '{name}', and are solved cell by cell"
    axis = len(space.sites[columns[0]].inner)
    jacobian = torch.zeros(1, dtype=space.program.dtype)  # (place, trial, cell, equation, carrier)
    inside = torch.zeros(PLACES * count, size, dtype=torch.bool)
    for link in links:
        place, here = carriers.index(link.carrier), link.mask[rows]
        row = torch.stack([slopes[link.column][name].movedim(axis, 0).reshape(len(rows), -1) for name in carriers], -1)
        row = torch.where(here[:, None, None], row, 0.0)
        jacobian = jacobian + row[:, :, None] * torch.eye(size, dtype=row.dtype)[place][:, None]
        inside[:, place] |= here
    both = (inside[:, None, :, None] & inside[:, None, None, :]).reshape(PLACES, count, 1, size, size)
    jacobian = torch.where(both, jacobian.reshape(PLACES, count, -1, size, size), torch.eye(size, dtype=jacobian.dtype))
    if not bool(torch.isfinite(jacobian).all()):
        return False, f"are not finite for some values of {listed(carriers)}"
    determinant, sizes = torch.linalg.det(jacobian), jacobian.norm(dim=-1).prod(-1)
    none = determinant.abs() <= SINGULAR * sizes
    if bool(none.any()):
        kind = "do not determine" if bool(none.all(0).any()) else "do not everywhere determine"
        return False, f"{kind} {listed(carriers)}: one of them says what the others say (their Jacobian is singular)"
    if bool((determinant > 0).any(0).logical_and((determinant < 0).any(0)).any()):
        return False, f"are given by more than one value of {listed(carriers)} (the determinant changes sign)"
    if bool(((jacobian - jacobian[:1]).abs() <= 1e-12 * jacobian.abs().amax((-2, -1), keepdim=True)).all()):
        return all(is_real(space.sites[name].support) for name in carriers), ""
    relative = torch.linalg.solve(jacobian[:1], jacobian)
    steady = (torch.linalg.eigvalsh(relative + relative.mT)[..., 0] > 0).all(0)
    if not bool((steady | _minors(jacobian)).all()):
        return False, f"cannot be shown to be given by one value of {listed(carriers)} only"
    return False, ""


def _minors(jacobian: Tensor) -> Tensor:
    """Whether, in some order of the columns and with some signs of them, all principal minors are positive at every
    place, ``(trial, cell)``; nowhere for systems that are too large to try all orders."""
    size = jacobian.shape[-1]
    found = torch.zeros(jacobian.shape[1:3], dtype=torch.bool)
    for order in itertools.permutations(range(size)) if size <= LARGEST else ():
        turned = jacobian[..., order, :]
        turned = turned * turned[:1].diagonal(dim1=-2, dim2=-1).sign()[..., None]
        good = ~found
        for count in range(1, size + 1):
            for chosen in itertools.combinations(range(size), count):
                good &= (torch.linalg.det(turned[..., chosen, :][..., chosen]) > 0).all(0)
        found |= good
    return found


def _prepared(
    space: Space, units: Tensor, grid: int, generator: torch.Generator
) -> tuple[Tensor, int, dict[str, Tensor]]:
    """Rows ``(grid × trial,)`` to try a map on, how many trials there are, and uniforms of all that is missing.

    These are the same at every place of the grid.
    """
    rows = units.nonzero().flatten()
    rows = rows[torch.linspace(0, len(rows) - 1, min(TRIED, len(rows))).long()]
    count = len(rows) * TIMES
    uniform = {
        name: 0.02 + 0.96 * torch.rand((*space.sites[name].inner, count, *space.sites[name].noise), generator=generator)
        for name in space.missing
    }
    uniform = {name: torch.cat([value] * grid, len(space.sites[name].inner)) for name, value in uniform.items()}
    return rows.repeat_interleave(TIMES).repeat(grid), count, uniform


class _Reached(Exception):
    """Unwinds a run once the column is computed."""


class _Trial:
    """The program on a few units, with everything that is missing at given quantiles."""

    def __init__(
        self, space: Space, parameters: Mapping[str, Tensor], rows: Tensor, uniform: Mapping[str, Tensor]
    ) -> None:
        self.space, self.parameters, self.uniform, self.units = space, parameters, uniform, len(rows)
        taken = {name: (value, len(space.sites[name].inner)) for name, value in space.known.items()}
        self.known = {name: value.index_select(axis, rows) for name, (value, axis) in taken.items()}
        cells = space.cells.narrowed(rows)
        self.missing = {name: mask[rows] for name, mask in space.missing.items()}
        self.empty = {name: cells.open(mask, name) for name, mask in self.missing.items()}
        self.solved = {name: mask[rows] for name, mask in space.solved.items()}

    def run(
        self, columns: Collection[str], drawn: Collection[str], at: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """The columns as the program computes them with carriers at given values, and the carriers ``drawn``."""
        sites, sets, given, found = self.space.sites, self.space.plan.sets, at or {}, {}

        def act(msg: Any) -> Tensor:
            name = msg["name"]
            if name in self.parameters:
                return self.parameters[name]
            site = sites.get(name)
            if site is None:
                return msg["value"]
            if name in sets:
                return self.known[name]
            if is_deterministic(msg):
                value = msg["value"].expand(site.shape(self.units))
                if name in columns:
                    found[name] = value
                    if all(column in found for column in columns):
                        raise _Reached
                return self._seen(name, site, value)
            if name not in self.missing:
                return self.known[name]
            if name in given:
                return given[name]
            if name in drawn:
                found[name] = self._drawn(site, msg["fn"])
                return found[name]
            return torch.where(self.empty[name], self._drawn(site, msg["fn"]), self.known[name])

        covariates = {name: self.known[name] for name in self.space.program.structure.covariates}
        with suppress(_Reached):
            self.space.program.execute(act, self.units, covariates)
        return found

    def _seen(self, name: str, site: Site, value: Tensor) -> Tensor:
        if name not in self.known:
            return value
        if name not in self.solved:
            return self.known[name]
        return torch.where(self.solved[name].reshape(-1, *([1] * len(site.event))), self.known[name], value)

    def _drawn(self, site: Site, fn: Any) -> Tensor:
        coupling, bare = site.coupling, unwrap(fn)[0]
        assert coupling is not None
        value = coupling.push(bare, coupling.fresh(bare, self.uniform[site.name]))
        return value.expand(site.shape(self.units)).to(site.dtype)
