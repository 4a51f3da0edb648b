"""Layers of a directed acyclic graph and the order of variables within them.

``layer(v) = 1 + max layer(pa(v))``, then variables with more readers than parents move next to their first reader;
the order within layers is chosen to cross few edges.

>>> import networkx as nx
>>> ladder = build_ladder(nx.DiGraph([("a", "b"), ("b", "c"), ("a", "c")]), ["a", "b", "c"])
>>> ladder.layer["c"], len(ladder.chains["a", "c"])
(2, 1)
"""

from __future__ import annotations

import itertools
from bisect import bisect_right, insort
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import networkx as nx

__all__ = ["Ladder", "Placeholder", "build_ladder"]


@dataclass(frozen=True)
class Placeholder:
    """The place that an edge takes in a layer which it passes."""

    edge: tuple[Any, Any]
    layer: int


@dataclass
class Ladder:
    """A graph cut into layers.

    Attributes
    ----------
    rows
        Names and placeholders of each layer, in order.
    layer
        The layer of each.
    chains
        Per edge, its placeholders; empty between neighbouring layers.
    links
        Pairs in neighbouring layers: the edges, cut at their placeholders.
    """

    rows: list[list[Hashable]]
    layer: dict[Hashable, int]
    chains: dict[tuple[Any, Any], list[Placeholder]]
    links: list[tuple[Hashable, Hashable]]


def build_ladder(graph: nx.DiGraph, nodes: list[Any]) -> Ladder:
    """Layer the component ``nodes`` of an acyclic graph and order each layer."""
    layer: dict[Hashable, int] = dict(_layers(graph, nodes))
    chains: dict[tuple[Any, Any], list[Placeholder]] = {}
    links: list[tuple[Hashable, Hashable]] = []
    for u in nodes:
        for v in graph.succ[u]:
            chain = [Placeholder((u, v), level) for level in range(layer[u] + 1, layer[v])]
            chains[u, v] = chain
            layer.update({dummy: dummy.layer for dummy in chain})
            stops = [u, *chain, v]
            links += itertools.pairwise(stops)
    rows: list[list[Hashable]] = [[] for _ in range(max(layer.values()) + 1)]
    for name in layer:
        rows[layer[name]].append(name)
    return Ladder(_ordered(rows, layer, links), layer, chains, links)


def _layers(graph: nx.DiGraph, nodes: list[Any]) -> dict[Any, int]:
    order = list(nx.lexicographical_topological_sort(graph.subgraph(nodes), key=nodes.index))
    layer: dict[Any, int] = {}
    for node in order:
        layer[node] = max((layer[parent] + 1 for parent in graph.pred[node]), default=0)
    changed = True
    while changed:
        changed = False
        for node in reversed(order):
            if graph.succ[node] and len(graph.succ[node]) > len(graph.pred[node]):
                last = min(layer[child] for child in graph.succ[node]) - 1
                if last > layer[node]:
                    layer[node], changed = last, True
    lowest = min(layer.values())
    return {node: layer[node] - lowest for node in nodes}


def _ordered(
    rows: list[list[Hashable]], layer: dict[Hashable, int], links: list[tuple[Hashable, Hashable]]
) -> list[list[Hashable]]:
    before: dict[Hashable, list[Hashable]] = {name: [] for name in layer}
    after: dict[Hashable, list[Hashable]] = {name: [] for name in layer}
    for upper, lower in links:
        after[upper].append(lower)
        before[lower].append(upper)
    best, fewest = None, None
    # from several starting orders: as the graph lists them, the reverse, and by depth-first walk
    walk = _walk_order(rows, before, after)
    starts = [rows, [row[::-1] for row in rows], [sorted(row, key=walk.__getitem__) for row in rows]]
    rounds = 12 if len(layer) <= 120 else 4
    for start in starts:
        current = [list(row) for row in start]
        for sweep in range(rounds):
            downwards = sweep % 2 == 0
            _barycentre_sweep(current, before if downwards else after, downwards)
            if len(layer) <= 120:
                _exchange_neighbours(current, before, after)
            crossings = sum(_crossings(upper, lower, after) for upper, lower in itertools.pairwise(current))
            if fewest is None or crossings < fewest:
                best, fewest = [list(row) for row in current], crossings
            if not fewest:
                return best or current
    return best or rows


def _walk_order(
    rows: list[list[Hashable]], before: dict[Hashable, list[Hashable]], after: dict[Hashable, list[Hashable]]
) -> dict[Hashable, int]:
    """The order in which an undirected depth-first walk meets them."""
    order: dict[Hashable, int] = {}
    stack = [name for row in reversed(rows) for name in reversed(row)]
    while stack:
        name = stack.pop()
        if name not in order:
            order[name] = len(order)
            stack += [*reversed(before[name]), *reversed(after[name])]
    return order


def _barycentre_sweep(rows: list[list[Hashable]], neighbours: dict[Hashable, list[Hashable]], downwards: bool) -> None:
    for i in range(1, len(rows)) if downwards else range(len(rows) - 2, -1, -1):
        place = {name: index for index, name in enumerate(rows[i - 1 if downwards else i + 1])}
        own = {name: float(index) for index, name in enumerate(rows[i])}
        for name in rows[i]:
            if neighbours[name]:
                own[name] = sum(place[other] for other in neighbours[name]) / len(neighbours[name])
        rows[i].sort(key=own.__getitem__)  # stable: ties keep their order


def _exchange_neighbours(
    rows: list[list[Hashable]], before: dict[Hashable, list[Hashable]], after: dict[Hashable, list[Hashable]]
) -> None:
    """Swap neighbours in a layer while that removes crossings."""
    place = {name: index for row in rows for index, name in enumerate(row)}
    improved = True
    while improved:
        improved = False
        for row in rows:
            for index in range(len(row) - 1):
                left, right = row[index], row[index + 1]
                gain = 0
                for side in (before, after):
                    a, b = ([place[other] for other in side[name]] for name in (left, right))
                    gain += sum((p > q) - (p < q) for p in a for q in b)
                if gain > 0:
                    row[index], row[index + 1] = right, left
                    place[left], place[right] = index + 1, index
                    improved = True


def _crossings(upper: list[Hashable], lower: list[Hashable], after: dict[Hashable, list[Hashable]]) -> int:
    place = {name: index for index, name in enumerate(lower)}
    seen: list[int] = []
    count = 0
    for name in upper:
        ends = sorted(place[other] for other in after[name])
        count += sum(len(seen) - bisect_right(seen, end) for end in ends)
        for end in ends:
            insort(seen, end)
    return count
