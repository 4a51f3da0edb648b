"""Requirements on the causal graph: admissible edges green, inadmissible ones red, those that are both amber.

>>> import networkx as nx
>>> from pcm.requirement.requirement import Requirement
>>> graph = nx.DiGraph([("A", "X"), ("X", "Y"), ("A", "Y")])
>>> edge_verdicts(graph, Requirement("A", outcome="Y", admissible=["A -> X -> Y"]))
{('A', 'X'): (True, False), ('A', 'Y'): (False, True), ('X', 'Y'): (True, False)}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import networkx as nx

from pcm.errors import ArgumentError
from pcm.graph import SVG, CausalGraph
from pcm.requirement.admissible import State
from pcm.requirement.requirement import Requirement

__all__ = ["ADMISSIBLE", "BOTH", "INADMISSIBLE", "draw", "edge_verdicts"]

ADMISSIBLE, INADMISSIBLE, BOTH = "#1a7f4b", "#c0392b", "#b7791f"
_SOURCE, _OUTCOME = "#0072B2", "#1f2933"


def edge_verdicts(graph: nx.DiGraph, requirement: Requirement) -> dict[tuple[str, str], tuple[bool, bool]]:
    """For each edge on a path from source to outcome: whether an admissible, and whether another path goes over it."""
    requirement.check(graph)
    kept, outcome = requirement.admissible, requirement.outcome
    if outcome is None:
        return {}
    behind: dict[tuple[str, State], tuple[bool, bool]] = {}

    def reach(node: str, state: State) -> tuple[bool, bool]:
        if (node, state) not in behind:
            own = kept.accepts(state)
            found = [(own, not own)] if node in requirement.variables else []
            found += [reach(parent, kept.step(state, parent, node)) for parent in graph.pred[node]]
            behind[node, state] = any(f[0] for f in found), any(f[1] for f in found)
        return behind[node, state]

    reach(outcome, kept.start(outcome))
    verdicts: dict[tuple[str, str], tuple[bool, bool]] = {}
    for node, state in behind:
        for parent in graph.pred[node]:
            here = behind[parent, kept.step(state, parent, node)]
            before = verdicts.get((parent, node), (False, False))
            verdicts[parent, node] = before[0] or here[0], before[1] or here[1]
    return {edge: verdicts[edge] for edge in graph.edges if any(verdicts.get(edge, ()))}


def draw(graph: nx.DiGraph, requirements: Sequence[Requirement], **options: Any) -> SVG:
    """The graph with the edges of all requirements coloured; options are those of :meth:`pcm.CausalGraph.draw`."""
    requirements = list(requirements)
    if not all(isinstance(r, Requirement) for r in requirements):
        raise ArgumentError("draw takes requirements with path sets.")
    edges: dict[tuple[Any, Any], str] = {}
    for r in requirements:
        for edge, (good, bad) in edge_verdicts(graph, r).items():
            colour = BOTH if good and bad else ADMISSIBLE if good else INADMISSIBLE
            edges[edge] = colour if edges.get(edge, colour) == colour else BOTH
    nodes = {name: _SOURCE for r in requirements for name in r.variables}
    nodes |= {r.outcome: _OUTCOME for r in requirements if r.outcome is not None}
    options.setdefault("title", "; ".join(r.label for r in requirements))
    drawn = graph if isinstance(graph, CausalGraph) else CausalGraph(graph)
    return drawn.draw(node_colors=nodes, edge_colors=edges, **options)
