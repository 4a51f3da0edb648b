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

from pcm.couplings import resolve
from pcm.graph import CausalGraph
from pcm.program import Structure
from pcm.worlds.intervention import Function, Intervention, Stochastic, Target

__all__ = ["MAX_ASSIGNMENTS", "WorldPlan", "intervened_graph"]

#: Joint assignments of discrete ancestors up to which an expectation is exact.
MAX_ASSIGNMENTS = 4096


def intervened_graph(structure: Structure, interventions: Mapping[Target, Intervention]) -> CausalGraph:
    """The graph after ``do``: a set variable is read into only by what its intervention reads."""
    graph = structure.graph.copy()
    for target, action in interventions.items():
        reads = action.reads if isinstance(action, Function) else ()
        if isinstance(target, tuple):
            parent, child = target
            if parent not in reads:
                graph.remove_edge(parent, child)
            graph.add_edges_from((read, child, {"inert": False}) for read in reads if read != parent)
            continue
        if target not in reads:  # a shift keeps its natural mechanism
            graph.remove_edges_from(list(graph.in_edges(target)))
        graph.add_edges_from((read, target, {"inert": False}) for read in reads if read != target)
        graph.nodes[target]["intervened"] = True
    return graph


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
    """

    def __init__(
        self,
        structure: Structure,
        interventions: Mapping[Target, Intervention],
        active: Collection[Target] | None = None,
    ) -> None:
        self.structure = structure
        self.active = frozenset(interventions if active is None else active)
        self.interventions = dict(interventions)
        self.sets = {target: action for target, action in interventions.items() if isinstance(target, str)}
        self.edges: dict[str, dict[str, Intervention]] = {}
        for target, action in interventions.items():
            if isinstance(target, tuple):
                self.edges.setdefault(target[1], {})[target[0]] = action

    @cached_property
    def graph(self) -> CausalGraph:
        return intervened_graph(self.structure, self.interventions)

    @cached_property
    def changed(self) -> frozenset[str]:
        """Sites whose value may differ from the factual one."""
        start = {target[1] if isinstance(target, tuple) else target for target in self.active}
        return frozenset(start.union(*(nx.descendants(self.graph, name) for name in start)))

    @cached_property
    def replayed(self) -> tuple[str, ...]:
        """Changed sites that keep their mechanism (and those shifted from their natural value), in program order."""
        return tuple(
            name
            for name in self.structure.stochastic
            if name in self.changed and (name not in self.sets or name in self.natural)
        )

    @cached_property
    def natural(self) -> frozenset[str]:
        """Set sites whose intervention reads the value they would have had."""
        return frozenset(n for n, action in self.sets.items() if isinstance(action, Function) and n in action.reads)

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """Sites that are random given the evidence, in program order."""
        found = []
        for name in self.structure.sites:
            coupling = self.structure.sites[name].coupling
            drawn = isinstance(self.sets.get(name), Stochastic) or any(
                isinstance(action, Stochastic) for action in self.edges.get(name, {}).values()
            )
            if drawn or (name in self.replayed and coupling is not None and not coupling.invertible):
                found.append(name)
        return tuple(found)

    @cached_property
    def randomness(self) -> dict[str, tuple[str, ...]]:
        """For each variable, the random sites it depends on (itself included), in program order."""
        own = set(self.sources)
        return {
            name: tuple(s for s in self.sources if s in own and (s == name or nx.has_path(self.graph, s, name)))
            for name in self.structure.sites
        }

    def branches(self, name: str) -> dict[str, int] | None:
        """Finite random sites above ``name`` with their cardinalities; None where they are too many or not finite."""
        found: dict[str, int] = {}
        for source in self.randomness[name]:
            if source == name:
                continue
            count = self.categories(source)
            if count is None:
                return None
            found[source] = count
        return found if math.prod(found.values()) <= MAX_ASSIGNMENTS else None

    def categories(self, source: str) -> int | None:
        """How many values a random site can take, None where it has to be drawn."""
        site, action = self.structure.sites[source], self.sets.get(source)
        if source in self.edges and any(isinstance(a, Stochastic) for a in self.edges[source].values()):
            return None
        if site.inner or (site.event and not site.one_hot) or source in self.natural:
            return None
        if isinstance(action, Stochastic):
            coupling, bare = resolve(action.distribution, None, source)
            return coupling.cardinality(bare) if coupling.discrete else None
        return site.cardinality
