"""Questions and graphs as strings: ``"PNS(x, y)"``, ``"P(y[x=1]=1 | x=0, y=0)"``, ``"z -> x -> y; x <-> y"``.

``P(y=1 | do(x=1), z=0)`` conditions in the intervened world; a bracket names an atom's own world.

>>> parse_query("P(y[x=1]=1, y[x=0]!=1 | z=0)")
Query(P(y[x=1]=1, y[x=0]≠1 | z=0))
>>> graph, pairs = parse_graph("z -> x -> y; x <-> y")
>>> sorted(graph.edges), pairs
([('x', 'y'), ('z', 'x')], [('x', 'y')])
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import networkx as nx

from pcm.errors import ArgumentError, GraphError
from pcm.query.bounds.question import Atom, Query

__all__ = ["parse_graph", "parse_query"]

_NAMED = {
    "ate": Query.ate, "att": Query.att, "nde": Query.nde, "nie": Query.nie,
    "pn": Query.pn, "ps": Query.ps, "pns": Query.pns,
}  # fmt: skip
_ATOM = re.compile(r"^\s*(?P<name>[^\[\]=!≠\s]+)\s*(\[(?P<world>[^\]]*)\])?\s*(?P<sign>!=|≠|==?)\s*(?P<value>.+?)\s*$")


def parse_query(text: str) -> Query:
    """A :class:`Query` from ``NAME(treatment, outcome)``, ``PSE(path; path)`` or ``P(atoms | atoms)``.

    Raises
    ------
    ArgumentError
        The string is neither; the message shows both forms.
    """
    match = re.fullmatch(r"\s*(\w+)\s*\((.*)\)\s*", text, re.DOTALL)
    if match and match[1].lower() == "pse":
        paths = [path.strip() for path in re.split(r"[;,]", match[2]) if path.strip()]
        ends = [re.split(r"->|→", path) for path in paths]
        if paths and all(len(steps) > 1 for steps in ends):
            return Query.path_effect(ends[0][0].strip(), ends[0][-1].strip(), paths=paths)
    if match and match[1].lower() in _NAMED:
        names = [name.strip() for name in match[2].split(",")]
        if len(names) == 2 and all(names):
            return _NAMED[match[1].lower()](*names)
    if match and match[1] == "P":
        left, bar, right = match[2].partition("|")
        if not bar or right.strip():
            return _probability(text, left, right)
    raise _unreadable(text)


def parse_graph(source: Any) -> tuple[nx.DiGraph, list[tuple[str, str]]]:
    """Directed graph and confounded pairs, from a graph, a string, or an iterable of edges.

    Raises
    ------
    ArgumentError, GraphError
        Nothing that is a graph; a cycle.
    """
    pairs: list[tuple[str, str]] = []
    if isinstance(source, nx.DiGraph):
        graph = source
    elif isinstance(source, str) or (isinstance(source, Iterable) and not isinstance(source, nx.Graph)):
        graph = nx.DiGraph()
        for piece in re.split(r"[;,\n]", source) if isinstance(source, str) else source:
            _add(graph, pairs, piece)
    else:
        raise ArgumentError(
            f"graph={source!r} is no graph: give a networkx.DiGraph, edges, or a string such as 'z -> x -> y; x <-> y'."
        )
    if not nx.is_directed_acyclic_graph(graph):
        cycle = [edge[0] for edge in nx.find_cycle(graph)]
        raise GraphError(f"the graph has a cycle: {' → '.join(map(str, [*cycle, cycle[0]]))}.", cycle=cycle)
    return graph, pairs


# -- private ---------------------------------------------------------------------------------------------------------


def _probability(text: str, left: str, right: str) -> Query:
    sets: list[tuple[Any, Any]] = []
    condition: list[str] = []
    for piece in _split(right):
        inner = re.fullmatch(r"\s*do\((.*)\)\s*", piece)
        if inner:
            sets += [(atom.variable, atom.value) for atom in (_atom(text, p, ()) for p in _split(inner[1]))]
        else:
            condition.append(piece)
    world = tuple(sets)
    event = tuple(_atom(text, piece, world) for piece in _split(left))
    given = tuple(_atom(text, piece, world) for piece in condition)
    return Query.of(event, given, f"P({' '.join(left.split())} | {' '.join(right.split())})" if sets else None)


def _atom(text: str, piece: str, world: tuple[tuple[Any, Any], ...]) -> Atom:
    match = _ATOM.match(piece)
    if not match:
        raise _unreadable(text, piece)
    if match["world"] is not None:
        own = [_atom(text, part, ()) for part in _split(match["world"])]
        world = tuple((atom.variable, atom.value) for atom in own)
    return Atom(match["name"], _value(match["value"]), world, negated=match["sign"] in ("!=", "≠"))


def _split(text: str) -> list[str]:
    """Pieces between commas that stand in no bracket."""
    pieces = re.split(r",(?![^\[(]*[\])])", text)
    return [piece for piece in pieces if piece.strip()]


def _value(text: str) -> Any:
    text = text.strip("'\"")
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _unreadable(text: str, piece: str | None = None) -> ArgumentError:
    about = f" ('{piece.strip()}' is no 'variable=value')" if piece is not None else ""
    return ArgumentError(
        f"the query {text!r} cannot be read{about}; write for instance 'PNS(x, y)' (also PN, PS, ATE, ATT, NDE, NIE), "
        "'PSE(x -> m -> y)', 'P(y=1 | do(x=1))' or 'P(y[x=1]=1 | x=0, y=0)', or use pcm.query.bounds.Query."
    )


def _add(graph: nx.DiGraph, pairs: list[tuple[str, str]], piece: Any) -> None:
    if not isinstance(piece, str):
        try:
            parent, child = piece
        except (TypeError, ValueError):
            raise ArgumentError(
                f"{piece!r} is no edge: an edge is a pair (parent, child) or 'parent -> child'."
            ) from None
        graph.add_edge(parent, child)
        return
    parts = re.split(r"(<->|↔|->|→)", piece)
    names = [name.strip() for name in parts[::2]]
    if names == [""]:
        return
    if not all(names):
        raise ArgumentError(f"{piece!r} is no edge: write 'parent -> child' or 'one <-> other'.")
    graph.add_nodes_from(names)
    for left, arrow, right in zip(names, parts[1::2], names[1:], strict=False):
        if arrow in ("->", "→"):
            graph.add_edge(left, right)
        else:
            pairs.append((left, right))
