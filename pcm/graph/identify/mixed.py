"""Graphs with latent common causes: projected onto the observed variables, split into districts.

A bidirected edge ``a ↔ b`` says that something unobserved moves both. A *district* (c-component) is a set of variables
joined by bidirected edges; the joint law factorises over districts, ``P(v) = Π_j Q[S_j]`` (Tian & Pearl 2002).

>>> import networkx as nx
>>> graph = project(nx.DiGraph([("u", "x"), ("u", "y"), ("x", "m"), ("m", "y")]), {"u"})
>>> graph.order, [sorted(district) for district in graph.districts(graph.order)]
(('x', 'm', 'y'), [['x', 'y'], ['m']])
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import networkx as nx

__all__ = ["MixedGraph", "project"]


@dataclass(frozen=True)
class MixedGraph:
    """An acyclic directed mixed graph over observed variables.

    Attributes
    ----------
    parents : dict of name to frozenset of names
        Keys in topological order.
    siblings : dict of name to frozenset of names
        Joined by a bidirected edge.
    """

    parents: dict[Any, frozenset[Any]]
    siblings: dict[Any, frozenset[Any]]

    @cached_property
    def order(self) -> tuple[Any, ...]:
        """The variables in topological order."""
        return tuple(self.parents)

    def sort(self, names: Collection[Hashable]) -> tuple[Any, ...]:
        """These variables in topological order."""
        return tuple(name for name in self.order if name in names)

    def ancestors(self, names: Collection[Hashable], within: Collection[Hashable]) -> frozenset[Any]:
        """The names and their ancestors in the subgraph of the variables ``within``."""
        within, found = set(within), set(names)
        stack = list(names)
        while stack:
            for parent in self.parents[stack.pop()]:
                if parent in within and parent not in found:
                    found.add(parent)
                    stack.append(parent)
        return frozenset(found)

    def district(self, name: Hashable, within: Collection[Hashable]) -> frozenset[Any]:
        """The district of a variable in the subgraph of the variables ``within``."""
        within, found, stack = set(within), {name}, [name]
        while stack:
            for other in self.siblings[stack.pop()]:
                if other in within and other not in found:
                    found.add(other)
                    stack.append(other)
        return frozenset(found)

    def districts(self, within: Collection[Hashable]) -> list[frozenset[Any]]:
        """The districts of the subgraph of the variables ``within``, by their first variable in topological order."""
        found: list[frozenset[Any]] = []
        for name in self.sort(within):
            if not any(name in district for district in found):
                found.append(self.district(name, within))
        return found

    def pillow(self, name: Hashable) -> frozenset[Any]:
        """The Markov pillow: what ``name`` depends on given all before it.

        With ``T`` the district of ``name`` among the variables up to it: ``(T ∪ pa(T)) − {name}``.
        """
        district = self.district(name, self.order[: self.order.index(name) + 1])
        return frozenset(district.union(*(self.parents[member] for member in district)) - {name})


def project(graph: nx.DiGraph, latent: Collection[Hashable]) -> MixedGraph:
    """The latent projection of a DAG: the same separations and effects among what is observed.

    Parameters
    ----------
    graph
        Acyclic.
    latent
        Nodes that are not observed.

    References
    ----------
    Verma & Pearl, "Equivalence and synthesis of causal models", UAI 1990.
    """
    latent = set(latent)
    seen: dict[Any, frozenset[Any]] = {}  # what is observed next below each latent node
    topological = list(nx.lexicographical_topological_sort(graph, {node: i for i, node in enumerate(graph)}.get))
    for node in reversed(topological):
        if node in latent:
            below = (seen[child] if child in latent else {child} for child in graph.succ[node])
            seen[node] = frozenset().union(*below)
    observed = [node for node in topological if node not in latent]
    parents: dict[Any, set[Any]] = {node: set() for node in observed}
    siblings: dict[Any, set[Any]] = {node: set() for node in observed}
    for node in observed:
        for child in graph.succ[node]:
            for reached in seen[child] if child in latent else (child,):
                parents[reached].add(node)
    for reached in seen.values():
        for one, other in combinations(reached, 2):
            siblings[one].add(other)
            siblings[other].add(one)
    return MixedGraph(
        {node: frozenset(found) for node, found in parents.items()},
        {node: frozenset(found) for node, found in siblings.items()},
    )
