"""What a world needs: which sites are kept, set or replayed, and which of them stay random.

Only descendants of what changed are replayed; every other site keeps its factual value. A replayed site whose noise
is not a point given its value (discrete sites, ``independent`` couplings), and a stochastic intervention, leave their
descendants random: an expectation then runs over their joint assignments where those are few, else over draws.

>>> import pyro, pyro.distributions as dist
>>> from pcm.program import Program
>>> from pcm.worlds.intervention import read_interventions
>>> def chain():
...     a = pyro.sample("a", dist.Normal(0.0, 1.0))
...     b = pyro.sample("b", dist.Bernoulli(logits=a))
...     pyro.sample("c", dist.Normal(b, 1.0))
>>> structure = Program(chain).structure
>>> plan = WorldPlan(structure, read_interventions({"a": 1.0}, structure, (), {}))
>>> plan.replayed, plan.randomness["c"]
(('b', 'c'), ('b',))
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from functools import cached_property

import networkx as nx
from torch import Tensor

from pcm.couplings import resolve
from pcm.errors import InterventionError
from pcm.graph import CausalGraph
from pcm.program import Structure
from pcm.worlds.intervention import Baseline, Function, Intervention, PerUnit, Stochastic, Target

__all__ = ["MAX_ASSIGNMENTS", "REFERENCE", "WorldPlan", "intervened_graph"]

#: Joint assignments of discrete ancestors up to which an expectation is exact.
MAX_ASSIGNMENTS = 4096

#: What the reference world's copy of a site is called, behind the site's name.
REFERENCE = "@reference"


def intervened_graph(structure: Structure, interventions: Mapping[Target, Intervention]) -> CausalGraph:
    """The graph after ``do``: a set variable is read into only by what its intervention reads."""
    return WorldPlan(structure, interventions).graph.copy()


def _intervened(structure: Structure, reads: Mapping[Target, tuple[str, ...]]) -> CausalGraph:
    graph = structure.graph.copy()
    for target, names in reads.items():
        if isinstance(target, tuple):
            parent, child = target
            if parent not in names:
                graph.remove_edge(parent, child)
            graph.add_edges_from((name, child, {"inert": False}) for name in names if name != parent)
            continue
        if target not in names:  # a shift keeps its natural mechanism
            graph.remove_edges_from(list(graph.in_edges(target)))
        graph.add_edges_from((name, target, {"inert": False}) for name in names if name != target)
        graph.nodes[target]["intervened"] = True
    return graph


class _Shape:
    """What a plan knows from which targets are set and what they read, whatever the values; one a kind of query."""

    def __init__(
        self,
        structure: Structure,
        reads: Mapping[Target, tuple[str, ...]],
        drawn: frozenset[Target],
        active: frozenset[Target],
    ) -> None:
        sites = structure.sites
        self.graph = _intervened(structure, reads)
        below = {name: nx.descendants(self.graph, name) for name in sites}
        start = {target[1] if isinstance(target, tuple) else target for target in active}
        self.changed = frozenset(start.union(*(below[name] for name in start)))
        moved = frozenset().union(*(below[name] for name in start))
        edged = {target[1] for target in active if isinstance(target, tuple)}
        self.natural = frozenset(target for target, names in reads.items() if target in names)
        # a shifted site whose mechanism sees nothing new has its observed value as its natural one
        self.replayed = tuple(
            name
            for name in structure.stochastic
            if name in self.changed and (name not in reads or (name in self.natural and name in moved | edged))
        )
        fresh = {target[1] if isinstance(target, tuple) else target for target in drawn}
        self.sources = tuple(
            name
            for name, site in sites.items()
            if name in self.changed
            and (
                name in fresh or (name in self.replayed and site.coupling is not None and not site.coupling.invertible)
            )
        )
        self.randomness = {
            name: tuple(source for source in self.sources if source == name or name in below[source]) for name in sites
        }


class WorldPlan:
    """Which sites one world keeps, sets and replays.

    Parameters
    ----------
    structure : Structure
    interventions : dict of target to intervention
        All that are in force.
    active : set of targets, optional
        Those that differ from the factual world (all of them by default): evidence may come from a world that was
        intervened on itself.
    reference : WorldPlan, optional
        The world whose values ``Baseline`` interventions take.
    """

    def __init__(
        self,
        structure: Structure,
        interventions: Mapping[Target, Intervention],
        active: Collection[Target] | None = None,
        reference: WorldPlan | None = None,
    ) -> None:
        self.structure, self.reference = structure, reference
        self.active = frozenset(interventions if active is None else active)
        self.interventions = dict(interventions)
        self.sets = {target: action for target, action in interventions.items() if isinstance(target, str)}
        self.edges: dict[str, dict[str, Intervention]] = {}
        for target, action in interventions.items():
            if isinstance(target, tuple):
                self.edges.setdefault(target[1], {})[target[0]] = action

    @cached_property
    def afresh(self) -> tuple[str, ...]:
        """Sites whose noise does not carry over from the reference world: they read something else there, and their
        coupling is ``independent``."""
        if self.reference is None:
            return ()
        sites, apart = self.structure.sites, self.apart(self.reference)
        return tuple(name for name in apart if (coupling := sites[name].coupling) is not None and coupling.rung < 3)

    def apart(self, other: WorldPlan) -> tuple[str, ...]:
        """Sites whose mechanism sees something else in the other world, in program order.

        ``Baseline`` interventions take their values from ``other``.
        """
        moved: set[str] = set()  # sites whose value differs
        found: list[str] = []
        for name in self.structure.sites:
            mine, theirs = self.edges.get(name, {}), other.edges.get(name, {})
            sees = any(
                _sees_apart(parent, mine.get(parent), theirs.get(parent), moved)
                for parent in self.structure.graph.predecessors(name)
            )
            if sees:
                found.append(name)
            action = self.sets.get(name)
            if isinstance(action, Baseline):
                continue
            reads = {name} if action is None else set(_reads(action))
            if action is not other.sets.get(name) or reads & (moved | ({name} if sees else set())):
                moved.add(name)
        return tuple(found)

    def reference_noise(self, uniform: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Uniforms of the reference world: those of this one, but for sites whose noise is drawn afresh."""
        return {**uniform, **{n: uniform[n + REFERENCE] for n in self.afresh if n + REFERENCE in uniform}}

    def check_units(self, units: int) -> None:
        """Raise unless every value per unit has as many values as there are units."""
        if self.reference is not None:
            self.reference.check_units(units)
        for target, action in self.interventions.items():
            if isinstance(action, PerUnit):
                found = action.value.shape[self._unit_axis(target, action)]
                if found != units:
                    raise InterventionError(
                        f"do({target}=…) gives {found} values, one a unit, to {units} units.", site=target
                    )

    def narrow(self, units: slice | Tensor) -> WorldPlan:
        """The plan for these units alone, a slice or an index of them."""

        def part(target: Target, action: Intervention) -> Intervention:
            if not isinstance(action, PerUnit):
                return action
            return PerUnit(action.value[(*[slice(None)] * self._unit_axis(target, action), units)])

        parts = {target: part(target, action) for target, action in self.interventions.items()}
        reference = None if self.reference is None else self.reference.narrow(units)
        return WorldPlan(self.structure, parts, self.active, reference)

    def _unit_axis(self, target: Target, action: PerUnit) -> int:
        site = self.structure.sites[target if isinstance(target, str) else target[0]]
        return len(site.inner) if action.value.dim() == 1 + len(site.inner) + len(site.event) else 0

    @cached_property
    def _shape(self) -> _Shape:
        reads = {t: _reads(a) for t, a in self.interventions.items()}
        drawn = frozenset(t for t, a in self.interventions.items() if isinstance(a, Stochastic))
        key = (tuple(reads.items()), drawn, self.active)
        cache = self.structure.plans
        if key not in cache:
            if len(cache) > 256:
                cache.clear()
            cache[key] = _Shape(self.structure, reads, drawn, self.active)
        return cache[key]

    @property
    def graph(self) -> CausalGraph:
        """The graph under the interventions; not to be changed."""
        return self._shape.graph

    @property
    def changed(self) -> frozenset[str]:
        """Sites whose value may differ from the factual one."""
        return self._shape.changed

    @property
    def replayed(self) -> tuple[str, ...]:
        """Changed sites that keep their mechanism (and those shifted from their natural value), in program order."""
        return self._shape.replayed

    @property
    def natural(self) -> frozenset[str]:
        """Set sites whose intervention reads the value they would have had."""
        return self._shape.natural

    @property
    def sources(self) -> tuple[str, ...]:
        """Sites that are random given the evidence, in program order."""
        return self._shape.sources

    @cached_property
    def randomness(self) -> dict[str, tuple[str, ...]]:
        """For each variable, the random sites it depends on (itself included), in program order."""
        own = self._shape.randomness
        if self.reference is None:
            return own
        found = {name: set(sources) for name, sources in own.items()}
        for target, action in self.interventions.items():
            if isinstance(action, Baseline):
                parent, child = (target, target) if isinstance(target, str) else target
                for name in {child, *nx.descendants(self.graph, child)}:
                    found[name] |= set(self.reference.randomness[parent])
        return {name: tuple(s for s in self.structure.sites if s in sources) for name, sources in found.items()}

    @property
    def taken(self) -> frozenset[str]:
        """Variables whose values are taken from the reference world."""
        return frozenset(
            target if isinstance(target, str) else target[0]
            for target, action in self.interventions.items()
            if isinstance(action, Baseline)
        )

    def borrowed(self, name: str) -> tuple[str, ...]:
        """Random sites of the reference world behind what ``name`` takes from there, itself or through others."""
        if self.reference is None:
            return ()
        above, found = {name, *nx.ancestors(self.graph, name)}, set()
        for target, action in self.interventions.items():
            parent, child = (target, target) if isinstance(target, str) else target
            if isinstance(action, Baseline) and child in above:
                found.update(self.reference.randomness[parent])
        return tuple(site for site in self.structure.sites if site in found)

    def joins(self, source: str) -> bool:
        """Whether the law of a site's values here and in the reference world, given what was seen, is known."""
        assert self.reference is not None
        if isinstance(self.sets.get(source), Stochastic) or isinstance(self.reference.sets.get(source), Stochastic):
            return False
        site = self.structure.sites[source]
        return source in self.afresh or (site.coupling is not None and site.coupling.chained(site.cardinality))

    def branches(self, name: str) -> dict[str, int] | None:
        """Finite random sites above ``name`` with their cardinalities, those of the reference world under the name
        ``site@reference``; None where they are too many or not finite."""
        own = self._shape.randomness[name]
        return self._few(tuple(source for source in own if source != name), own, self.borrowed(name))

    def branches_of_both(self, name: str) -> dict[str, int] | None:
        """As :meth:`branches` for ``name`` and its value in the reference world together, its own noise enumerated."""
        assert self.reference is not None
        own = self._shape.randomness[name]
        return self._few(own, own, self.reference.randomness[name])

    def _few(self, mine: tuple[str, ...], present: tuple[str, ...], borrowed: tuple[str, ...]) -> dict[str, int] | None:
        """Cardinalities of random sites of this world (of those ``present``) and of the reference world, if few."""
        if any(source in borrowed and not self.joins(source) for source in present):
            return None
        found = {source: self.categories(source) for source in mine}
        if self.reference is not None:
            found |= {source + REFERENCE: self.reference.categories(source) for source in borrowed}
        counts = {source: count for source, count in found.items() if count is not None}
        return counts if len(counts) == len(found) and math.prod(counts.values()) <= MAX_ASSIGNMENTS else None

    def draws_edges(self, name: str) -> bool:
        """Whether a distribution is given to an edge into the variable."""
        return any(isinstance(action, Stochastic) for action in self.edges.get(name, {}).values())

    def categories(self, source: str) -> int | None:
        """How many values a random site can take, None where it has to be drawn."""
        site, action = self.structure.sites[source], self.sets.get(source)
        if self.draws_edges(source):
            return None
        if site.inner or (site.event and not site.one_hot) or source in self.natural:
            return None
        if isinstance(action, Stochastic):
            coupling, bare = resolve(action.distribution, None, source)
            return coupling.cardinality(bare) if coupling.discrete else None
        return site.cardinality


def _reads(action: Intervention | None) -> tuple[str, ...]:
    """What an intervention reads in its own world."""
    return action.reads if isinstance(action, Function) else ()


def _sees_apart(parent: str, mine: Intervention | None, theirs: Intervention | None, moved: Collection[str]) -> bool:
    """Whether a child may read another value along an edge than it does in the other world, where ``moved`` differ."""
    if isinstance(mine, Baseline):
        return theirs is not None
    if mine is None and theirs is None:
        return parent in moved
    return mine is not theirs or any(name in moved for name in _reads(mine))
