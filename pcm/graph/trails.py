"""Trails along which dependence flows: the witness of two variables that are not d-separated.

A trail is open given ``Z`` when each of its colliders is in ``Z`` or has a descendant there, and nothing else on it is.

>>> import networkx as nx
>>> graph = nx.DiGraph([("z", "a"), ("z", "u"), ("a", "s"), ("u", "s")])
>>> print(open_trail(graph, "a", "u", ()))
a ← z → u
>>> print(open_trail(graph, "a", "u", {"z", "s"}))
a → [s] ← u
>>> open_trail(graph, "a", "u", {"z"}) is None
True
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from itertools import pairwise
from typing import Any

import networkx as nx

from pcm.errors import UnknownNameError
from pcm.graph.paths import ancestors

__all__ = ["open_trail"]


def open_trail(graph: nx.DiGraph, x: Hashable, y: Hashable, given: Iterable[Hashable] = ()) -> str | None:
    """A shortest open trail between ``x`` and ``y``, drawn with its arrows; ``None`` where they are d-separated.

    Colliders that ``given`` opens stand in brackets.

    Raises
    ------
    UnknownNameError
        A name that is not in the graph.

    References
    ----------
    Shachter, "Bayes-Ball", UAI 1998.
    """
    known = set(given)
    for name in (x, y, *known):
        if name not in graph:
            raise UnknownNameError(name, kind="variable", known=list(graph), where="the graph")
    opened = ancestors(graph, known, include_self=True) if known else set()
    start = (x, False)  # a node, and whether it was entered along an arrow that points into it
    before: dict[Any, Any] = {start: None}
    queue: deque[Any] = deque([start])
    while queue:
        state = queue.popleft()
        node, into = state
        if node == y:
            return _drawn(graph, _steps(before, state), known)
        through = node not in known
        ahead = [(child, True) for child in graph.succ[node]] if through or node == x else []
        if (into and node in opened) or (not into and (through or node == x)):
            ahead += [(parent, False) for parent in graph.pred[node]]
        for step in ahead:
            if step not in before and step[0] != x:
                before[step] = state
                queue.append(step)
    return None


def _steps(before: dict[Any, Any], state: Any) -> list[Any]:
    found = []
    while state is not None:
        found.append(state)
        state = before[state]
    return found[::-1]


def _drawn(graph: nx.DiGraph, steps: list[Any], known: set[Any]) -> str:
    text = str(steps[0][0])
    for at, (_, (node, into)) in enumerate(pairwise(steps), start=1):
        collider = into and at + 1 < len(steps) and not steps[at + 1][1]
        shown = f"[{node}]" if collider else str(node)
        if collider and node not in known:  # open through a descendant
            below = next(k for k in graph if k in known and nx.has_path(graph, node, k))
            shown = f"[{node} ⇒ {below}]"
        text += f" {'→' if into else '←'} {shown}"
    return text
