"""Which noise an observed deterministic column is solved for: explicit-noise programs, ``x = f(parents, u)``.

In every unit that has the column and lacks something above it, one missing continuous site is its *carrier*: the map
from the carrier to the column must be one to one whatever the rest is. That is tried, not assumed: the program is run
with the carrier at quantiles of its law and everything else that is missing at random values. A noise that only this
column reads is preferred, then an affine map. Columns that share their noises (``s = a + b``, ``d = a − b``) make a
system, which must be one to one as a whole.

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
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import networkx as nx
import torch
from torch import Tensor

from pcm.errors import EvidenceError, listed
from pcm.infer.latent.trials import one_to_one, together

if TYPE_CHECKING:
    from pcm.infer.latent.space import Space

__all__ = ["Link", "Links", "find_links"]

#: Of a site that some units have in part.
PARTLY = "some of its values are recorded and others not: give all, or none"


@dataclass(frozen=True)
class Link:
    """In the units of ``mask``, ``column`` is solved for ``carrier``; links of one ``system`` jointly, 0 alone."""

    column: str
    carrier: str
    mask: Tensor
    affine: bool
    system: int = 0


@dataclass(frozen=True)
class Links:
    """What becomes of every deterministic column that was observed below something missing.

    Attributes
    ----------
    levels : tuple of tuple of Link
        Those of a level are solved at once, after the levels before.
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
        Where a column is one to one in nothing that is missing, or columns that share their noises are not one to one
        in them together.
    """
    above = _above(space)
    nothing = torch.zeros(space.units, dtype=torch.bool)
    usable = {name: ~space.cells.partly.get(name, nothing) for name in space.missing}
    links: dict[tuple[str, str], Link] = {}
    matched: dict[str, Tensor] = {}
    settled: dict[str, Tensor] = {}
    for column, seen in space.solved.items():
        reach = above[column]
        need = seen & torch.stack([nothing, *reach.values()]).any(0)
        if bool((seen & ~need).any()):
            settled[column] = seen & ~need
        rest = need.clone()
        reasons: dict[str, str] = {}
        free = {name: mask & usable[name] & ~_taken(links, name, nothing) for name, mask in reach.items()}
        for carrier, affine, reason in _ranked(space, column, free, need, parameters):
            if reason:
                reasons[carrier] = reason
                continue
            mask = rest & free[carrier]
            if bool(mask.any()):
                links[column, carrier] = Link(column, carrier, mask, affine)
                rest = rest & ~mask
        rest = _rematched(space, column, rest, above, links, parameters)
        for carrier, reason in reasons.items():
            _refuse(space, column, carrier, rest & free[carrier], reason)
        for name, mask in reach.items():
            _refuse(space, column, name, rest & mask & ~usable[name], f"depends on '{name}', of which {PARTLY}")
        if bool(rest.any()):
            matched[column] = rest
    carried = {name: _taken(links, name, nothing) for name in space.missing}
    carried = {name: mask for name, mask in carried.items() if bool(mask.any())}
    return Links(_levels(space, list(links.values()), above, parameters), matched, settled, carried)


def _taken(links: Mapping[tuple[str, str], Link], name: str, nothing: Tensor) -> Tensor:
    """Units in which a site carries a column."""
    return torch.stack([nothing, *(link.mask for (_, carrier), link in links.items() if carrier == name)]).any(0)


def _rematched(
    space: Space,
    column: str,
    rest: Tensor,
    above: Mapping[str, Mapping[str, Tensor]],
    links: dict[tuple[str, str], Link],
    parameters: Mapping[str, Tensor],
) -> Tensor:
    """Give a column carriers that others hold, where those find another one; the units in which that cannot be.

    An augmenting path of a bipartite matching, for all units alike that have the same links and the same open sites.
    """
    names = [name for name in space.missing if not space.sites[name].discrete]
    if not bool(rest.any()) or not names or not links:
        return rest
    where = rest.nonzero().flatten()
    open_ = {(c, n): above[c][n][where] for c in above for n in names if n in above[c]}
    pattern = torch.stack([*open_.values(), *(link.mask[where] for link in links.values())], 1)
    kinds, which = torch.unique(pattern, dim=0, return_inverse=True)
    left = torch.zeros_like(rest)
    for kind in range(len(kinds)):
        rows = where[which == kind]
        mask = torch.zeros_like(rest).index_fill(0, rows, True)
        held = {link.carrier: link.column for link in links.values() if bool(link.mask[rows[0]])}
        fresh: dict[str, tuple[str, bool]] = {}

        def find(wanting: str, seen: set[str], mask: Tensor = mask, held: dict = held, fresh: dict = fresh) -> bool:
            for name in names:
                here = above[wanting].get(name)
                partly = name in space.cells.partly
                if name in seen or partly or here is None or not bool((here & mask).any()):
                    continue
                affine, reason = one_to_one(space, wanting, name, mask, parameters)
                if reason:
                    continue
                seen.add(name)
                if name not in held or find(held[name], seen):
                    fresh[wanting] = name, affine
                    return True
            return False

        if not find(column, set()):
            left |= mask
            continue
        for (other, carrier), link in list(links.items()):
            if other in fresh:
                links[other, carrier] = replace(link, mask=link.mask & ~mask)
        for other, (carrier, affine) in fresh.items():
            link = links.get((other, carrier), Link(other, carrier, torch.zeros_like(mask), affine))
            links[other, carrier] = replace(link, mask=link.mask | mask, affine=link.affine and affine)
        for key in [key for key, link in links.items() if not bool(link.mask.any())]:
            del links[key]
    return left


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
            affine, reason = one_to_one(space, column, name, reach[name] & rest, parameters)
            tried.append((bool(reason), not affine, -order.index(name), name, reason))
            need = need if reason else need & ~reach[name]
        found += [(name, not bent, reason) for _, bent, _, name, reason in sorted(tried)]
        if not bool(need.any()):
            break
    return found


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


def _levels(
    space: Space, links: list[Link], above: Mapping[str, Mapping[str, Tensor]], parameters: Mapping[str, Tensor]
) -> tuple[tuple[Link, ...], ...]:
    """Links in the order in which they can be solved: those whose column another's carrier moves come after it.

    Those that move each other's columns make a system.
    """
    order = nx.DiGraph()
    order.add_nodes_from(range(len(links)))
    for place, link in enumerate(links):
        for other, before in enumerate(links):
            moved = above[link.column].get(before.carrier)
            if other != place and moved is not None and bool((moved & link.mask & before.mask).any()):
                order.add_edge(other, place)
    joined = nx.condensation(order)
    levels = []
    for generation in nx.topological_generations(joined):
        level: list[Link] = []
        for node in generation:
            members = [links[place] for place in sorted(joined.nodes[node]["members"])]
            level += members if len(members) == 1 else _system(space, members, 1 + node, parameters)
        levels.append(tuple(level))
    return tuple(levels)


def _system(space: Space, links: list[Link], number: int, parameters: Mapping[str, Tensor]) -> list[Link]:
    """Links that are to be solved jointly, where that can be done."""
    affine, reason = together(space, links, parameters)
    if not reason:
        return [replace(link, affine=affine, system=number) for link in links]
    columns = list(dict.fromkeys(link.column for link in links))
    rows = torch.stack([link.mask for link in links]).any(0).nonzero().flatten().tolist()
    carriers = listed(list(dict.fromkeys(link.carrier for link in links)))
    raise EvidenceError(
        f"columns {listed(columns)} share their noises and cannot be solved for them together: they {reason}. Give one "
        f"of {carriers}, drop a column, or write its randomness into a pyro.sample statement ({len(rows)} of "
        f"{space.units} units).",
        column=columns[0],
        rows=rows,
    )
