"""Path sets on a graph: whether what a user wrote is there, and which paths it admits.

>>> graph = nx.DiGraph([("a", "b"), ("b", "c"), ("a", "c")])
>>> list(admitted(graph, Admissible(patterns=(("a", "*", "c"),)), "a", "c"))
[('a', 'b', 'c')]
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import Any

import networkx as nx

from pcm.errors import GraphError, UnknownNameError, listed
from pcm.graph import ancestors, descendants
from pcm.requirement.admissible import ANY, ONE, Admissible

__all__ = ["admitted", "check_paths"]

#: Paths looked through for the ones nearest to a misspelt one.
_SUGGEST_FROM = 2_000


def check_paths(graph: nx.DiGraph, kept: Admissible, sources: Sequence[str], outcome: str) -> None:
    """Raise unless every path and edge of the set is in the graph, between the sources and the outcome.

    Raises
    ------
    UnknownNameError
        A variable that is not in the graph.
    GraphError
        A path or edge that is not; the nearest are suggested.
    """
    for pattern in kept.patterns:
        for name in pattern:
            if name not in (ONE, ANY) and name not in graph:
                raise UnknownNameError(name, known=list(graph))
        if not _is_there(graph, pattern, outcome):
            asked = " → ".join(pattern)
            raise GraphError(f"the path {asked} is not in the graph.{_nearest(graph, pattern, outcome)}", path=pattern)
    between = set().union(*(descendants(graph, name, include_self=True) for name in sources))
    above = ancestors(graph, outcome, include_self=True)
    for edge in kept.edges:
        for name in edge:
            if name not in graph:
                raise UnknownNameError(name, known=list(graph))
        if not graph.has_edge(*edge) or edge[0] not in between or edge[1] not in above:
            lying = [f"{a} → {b}" for a, b in graph.edges if a in between and b in above]
            found = "lies on no path" if graph.has_edge(*edge) else "is not in the graph; edges"
            raise GraphError(
                f"the edge {edge[0]} → {edge[1]} {found} from {listed(sources)} to {outcome}: {listed(lying)}.",
                edge=edge,
            )
    if kept.edges:
        alone = nx.DiGraph(kept.edges)
        met = set().union(*(descendants(alone, name, include_self=True) for name in sources if name in alone))
        led = ancestors(alone, outcome, include_self=True) if outcome in alone else set()
        idle = [f"{a} → {b}" for a, b in kept.edges if a not in met or b not in led]
        if len(idle) < len(kept.edges) and idle:
            raise GraphError(
                f"the admissible edges {listed(idle)} admit nothing: no path from {listed(sources)} to {outcome} over "
                "them is made of listed edges alone. List every edge of it, or write the path.",
                edges=kept.edges,
            )
        if idle:
            raise GraphError(
                f"no path from {listed(sources)} to {outcome} is made of the admissible edges "
                f"{listed(f'{a} → {b}' for a, b in kept.edges)} alone; list every edge of it, write the "
                f"path ('{listed(sources[:1])} -> ... -> {outcome}'), or admissible='none'.",
                edges=kept.edges,
            )


def admitted(graph: nx.DiGraph, kept: Admissible, source: str, outcome: str) -> Iterator[tuple[str, ...]]:
    """Admissible paths from a source, found backwards; what leads to none is not walked."""
    inside = descendants(graph, source, include_self=True)
    leads: dict[tuple[str, Any], bool] = {}

    def alive(node: str, state: Any) -> bool:
        if (node, state) not in leads:
            leads[node, state] = (node == source and kept.accepts(state)) or any(
                alive(parent, kept.step(state, parent, node)) for parent in graph.pred[node] if parent in inside
            )
        return leads[node, state]

    stack: list[tuple[tuple[str, ...], Any]] = [((outcome,), kept.start(outcome))]
    while stack:
        path, state = stack.pop()
        if not alive(path[0], state):
            continue
        if path[0] == source:
            yield path
            continue
        stack.extend(
            ((parent, *path), kept.step(state, parent, path[0])) for parent in graph.pred[path[0]] if parent in inside
        )


# -- private ---------------------------------------------------------------------------------------------------------


def _is_there(graph: nx.DiGraph, pattern: tuple[str, ...], outcome: str) -> bool:
    """Whether some path of the graph fits the pattern."""
    if ONE not in pattern and ANY not in pattern:
        return all(graph.has_edge(*edge) for edge in pairwise(pattern))
    return next(admitted(graph, Admissible(patterns=(pattern,)), pattern[0], outcome), None) is not None


def _nearest(graph: nx.DiGraph, pattern: tuple[str, ...], outcome: str) -> str:
    every = islice(admitted(graph, Admissible(everything=True), pattern[0], outcome), _SUGGEST_FROM)
    words = [" -> ".join(path) for path in every]
    if not words:
        return f" No directed path leads from {pattern[0]} to {outcome}."
    close = difflib.get_close_matches(" -> ".join(pattern), words, n=3, cutoff=0.0)
    return f" Nearest: {'; '.join(repr(word) for word in close)}."
