"""Which noise an observed deterministic column is solved for: explicit-noise programs, ``x = f(parents, u)``.

In every unit that has the column and lacks something above it, one missing continuous site is its *carrier*: the map
from the carrier to the column must be one to one whatever the rest is. That is tried, not assumed: the program is run
with the carrier at quantiles of its law and everything else that is missing at random values. A noise that only this
column reads is preferred, then an affine map.

>>> import pyro, pyro.distributions as dist, torch
>>> from pcm.infer.latent.space import Space
>>> from pcm.program import Program
>>> from pcm.worlds import WorldPlan
>>> def square():
...     u = pyro.sample("u", dist.Normal(0.0, 1.0))
...     pyro.deterministic("x", u**2)
>>> program, hole = Program(square), torch.ones(1, dtype=torch.bool)
>>> with program.sealed():
...     Space(program, WorldPlan(program.structure, {}), {"x": torch.ones(1)}, {"u": hole}, 1, solved={"x": hole})
Traceback (most recent call last):
    ...
pcm.errors.EvidenceError: column 'x' cannot be solved for what the program computes it from: it both rises and falls ...
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import networkx as nx
import torch
from torch import Tensor
from torch.distributions import biject_to

from pcm.couplings import unwrap
from pcm.errors import EvidenceError, listed
from pcm.program import Site, is_deterministic

if TYPE_CHECKING:
    from pcm.infer.latent.space import Space

__all__ = ["Link", "Links", "find_links"]

#: Units, and random values of the rest for each, at which a map is tried.
TRIED, TIMES = 24, 3

#: Quantiles of the carrier at which a map is tried.
LEVELS = (1e-4, 1e-3, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97, 0.99, 0.999, 1 - 1e-4)


@dataclass(frozen=True)
class Link:
    """In the units of ``mask``, ``column`` is solved for ``carrier``."""

    column: str
    carrier: str
    mask: Tensor
    affine: bool


@dataclass(frozen=True)
class Links:
    """What becomes of every deterministic column that was observed below something missing.

    Attributes
    ----------
    levels : tuple of tuple of Link
        Those of a level are solved together, after the levels before.
    matched : dict of column to bool tensor ``(unit,)``
        Units in which the column has no carrier: values of what is missing that do not give it are impossible.
    settled : dict of column to bool tensor ``(unit,)``
        Units in which nothing above the column is missing: there it can only be checked.
    carried : dict of carrier to bool tensor ``(unit,)``
    """

    levels: tuple[tuple[Link, ...], ...] = ()
    matched: Mapping[str, Tensor] = field(default_factory=dict)
    settled: Mapping[str, Tensor] = field(default_factory=dict)
    carried: Mapping[str, Tensor] = field(default_factory=dict)

    def narrowed(self, place: Tensor) -> Links:
        """The same for the units at ``place``."""

        def part(masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: mask[place] for name, mask in masks.items() if bool(mask[place].any())}

        levels = [[replace(link, mask=link.mask[place]) for link in level] for level in self.levels]
        levels = [tuple(link for link in level if bool(link.mask.any())) for level in levels]
        return Links(tuple(filter(None, levels)), part(self.matched), part(self.settled), part(self.carried))


def find_links(space: Space, parameters: Mapping[str, Tensor]) -> Links:
    """A carrier for every column and unit that needs one.

    Raises
    ------
    EvidenceError
        Where a column is one to one in nothing that is missing, or columns would have to be solved together.
    """
    above = _above(space)
    taken = {name: torch.zeros(space.units, dtype=torch.bool) for name in space.missing}
    links: list[Link] = []
    matched: dict[str, Tensor] = {}
    settled: dict[str, Tensor] = {}
    for column, seen in space.solved.items():
        reach = above[column]
        need = seen & torch.stack([torch.zeros_like(seen), *reach.values()]).any(0)
        if bool((seen & ~need).any()):
            settled[column] = seen & ~need
        rest = need.clone()
        reasons: dict[str, str] = {}
        free = {name: mask & ~taken[name] for name, mask in reach.items()}
        for carrier, affine, reason in _ranked(space, column, free, need, parameters):
            if reason:
                reasons[carrier] = reason
                continue
            mask = rest & free[carrier]
            if bool(mask.any()):
                links.append(Link(column, carrier, mask, affine))
                taken[carrier] |= mask
                rest = rest & ~mask
        for carrier, reason in reasons.items():
            _refuse(space, column, carrier, rest & free[carrier], reason)
        if bool(rest.any()):
            matched[column] = rest
    carried = {name: mask for name, mask in taken.items() if bool(mask.any())}
    return Links(_levels(links, above), matched, settled, carried)


def _above(space: Space) -> dict[str, dict[str, Tensor]]:
    """For each deterministic site, the missing sites that it is computed from and the units in which they are."""
    graph, found = space.plan.graph, {}
    for name in nx.topological_sort(graph):
        if space.sites[name].kind != "deterministic" or name in space.plan.sets:
            continue
        reach: dict[str, Tensor] = {}
        for parent in graph.predecessors(name):
            if parent in space.missing:
                new = {parent: space.missing[parent]}
            elif parent in found:
                seen = space.solved.get(parent)
                known = parent in space.known and seen is None
                new = {} if known else {n: m if seen is None else m & ~seen for n, m in found[parent].items()}
            else:
                continue
            for other, mask in new.items():
                reach[other] = reach[other] | mask if other in reach else mask
        found[name] = {other: mask for other, mask in reach.items() if bool(mask.any())}
    return found


def _ranked(
    space: Space, column: str, reach: Mapping[str, Tensor], need: Tensor, parameters: Mapping[str, Tensor]
) -> list[tuple[str, bool, str]]:
    """Continuous sites above a column, best carrier first: name, whether the map is affine, why it will not do."""
    graph, order = space.plan.graph, list(space.sites)

    def tier(name: str) -> tuple[bool, bool]:
        return list(graph.successors(name)) != [column], bool(list(graph.predecessors(name)))

    names = [name for name in reach if not space.sites[name].discrete and bool((reach[name] & need).any())]
    found: list[tuple[str, bool, str]] = []
    for rank in sorted({tier(name) for name in names}):
        tried, rest = [], need
        for name in (name for name in names if tier(name) == rank and bool((reach[name] & rest).any())):
            affine, reason = _tried(space, column, name, reach[name] & rest, parameters)
            tried.append((bool(reason), not affine, -order.index(name), name, reason))
            need = need if reason else need & ~reach[name]
        found += [(name, not bent, reason) for _, bent, _, name, reason in sorted(tried)]
        if not bool(need.any()):
            break
    return found


def _tried(
    space: Space, column: str, carrier: str, units: Tensor, parameters: Mapping[str, Tensor]
) -> tuple[bool, str]:
    """Whether the map from carrier to column is affine, and why it is not one to one ("" where it is)."""
    end, start = space.sites[column], space.sites[carrier]
    if (end.inner, end.event) != (start.inner, start.event):
        return False, f"has the shape {(*end.inner, *end.event)} a unit, and '{carrier}' {(*start.inner, *start.event)}"
    if start.event and biject_to(start.support).inverse_shape(torch.Size(start.event)) != start.event:
        return False, f"depends on '{carrier}', whose cells are tied to each other"
    rows = units.nonzero().flatten()
    rows = rows[torch.linspace(0, len(rows) - 1, min(TRIED, len(rows))).long()]
    grid, count = len(LEVELS), len(rows) * TIMES
    rows = rows.repeat_interleave(TIMES).repeat(grid)  # (grid, trial)
    generator = torch.Generator().manual_seed(1)
    uniform = {
        name: 0.02 + 0.96 * torch.rand((*space.sites[name].inner, count, *space.sites[name].noise), generator=generator)
        for name in space.missing
    }
    uniform = {name: torch.cat([value] * grid, len(space.sites[name].inner)) for name, value in uniform.items()}
    levels = torch.tensor(LEVELS).repeat_interleave(count)
    uniform[carrier] = levels.reshape(-1, *([1] * len(start.noise))).expand_as(uniform[carrier])
    trial = _Trial(space, parameters, rows, uniform)
    try:
        value = trial.run(column, carrier, None)[1]
        made, back = torch.func.vjp(lambda at: trial.run(column, carrier, at)[0], value.detach())  # type: ignore[assignment]
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
    return bool(((slope - slope[:1]).abs() <= 1e-12 * slope.abs()).all()), ""


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
        self.missing = {name: mask[rows] for name, mask in space.missing.items()}
        self.solved = {name: mask[rows] for name, mask in space.solved.items()}

    def run(self, column: str, carrier: str, at: Tensor | None) -> tuple[Tensor, Tensor]:
        """The column as the program computes it, and the carrier's value."""
        sites, sets, found = self.space.sites, self.space.plan.sets, {}

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
                if name == column:
                    found[name] = value
                    raise _Reached
                return self._seen(name, site, value)
            if name not in self.missing:
                return self.known[name]
            if name == carrier:
                found[name] = self._drawn(site, msg["fn"]) if at is None else at
                return found[name]
            hidden = self.missing[name].reshape(-1, *([1] * len(site.event)))
            return torch.where(hidden, self._drawn(site, msg["fn"]), self.known[name])

        covariates = {name: self.known[name] for name in self.space.program.structure.covariates}
        with suppress(_Reached):
            self.space.program.execute(act, self.units, covariates)
        return found[column], found[carrier]

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


def _refuse(space: Space, column: str, carrier: str, units: Tensor, reason: str) -> None:
    if not bool(units.any()):
        return
    rows = units.nonzero().flatten().tolist()
    raise EvidenceError(
        f"column '{column}' cannot be solved for what the program computes it from: it {reason}. Give '{carrier}', "
        f"drop '{column}', or write its randomness into a pyro.sample statement ({len(rows)} of {space.units} units).",
        column=column,
        rows=rows,
    )


def _levels(links: list[Link], above: Mapping[str, Mapping[str, Tensor]]) -> tuple[tuple[Link, ...], ...]:
    """Links in the order in which they can be solved: those whose column another's carrier moves come after it."""
    order = nx.DiGraph()
    order.add_nodes_from(range(len(links)))
    for place, link in enumerate(links):
        for other, before in enumerate(links):
            moved = above[link.column].get(before.carrier)
            if other != place and moved is not None and bool((moved & link.mask & before.mask).any()):
                order.add_edge(other, place)
    try:
        generations = list(nx.topological_generations(order))
    except nx.NetworkXUnfeasible:
        names = sorted({links[place].column for cycle in nx.simple_cycles(order) for place in cycle})
        raise EvidenceError(
            f"columns {listed(names)} share their noises, so that they would have to be solved together, which is not "
            f"supported: write one of them as a pyro.sample statement, or drop it.",
            column=names[0],
            rows=[],
        ) from None
    return tuple(tuple(links[place] for place in generation) for generation in generations)
