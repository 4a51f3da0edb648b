"""Paths, ancestry, separation and adjustment on a causal graph.

Pearl's back-door criterion: ``Z`` identifies ``p(y | do(t)) = Σ_z p(y | t, z) p(z)`` when no element of ``Z`` descends
from ``t`` and ``Z`` blocks every path between ``t`` and ``y`` that enters ``t`` by an arrow.

>>> import networkx as nx
>>> graph = nx.DiGraph([("age", "plan"), ("age", "readmit"), ("plan", "labs"), ("labs", "readmit")])
>>> directed_paths(graph, "plan", "readmit")
[('plan', 'labs', 'readmit')]
>>> d_separated(graph, "age", "labs", {"plan"})
True
>>> minimal_adjustment(graph, "plan", "readmit")
{'age'}
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from itertools import combinations, pairwise
from typing import Any

import networkx as nx

from pcm.errors import ArgumentError, GraphError, UnknownNameError, listed

__all__ = [
    "ancestors",
    "as_path",
    "backdoor_sets",
    "d_separated",
    "descendants",
    "directed_paths",
    "is_adjustment",
    "is_backdoor_adjustment",
    "minimal_adjustment",
    "parents",
]

Names = Hashable | Iterable[Hashable]
"""One name (a string is one name) or several."""


def as_path(graph: nx.DiGraph, path: str | Sequence[Hashable]) -> tuple[Any, ...]:
    """A directed path, checked against the graph.

    Parameters
    ----------
    path
        ``"age -> labs -> readmit"`` (``→`` is read too) or a sequence of names.

    Raises
    ------
    ArgumentError
        Fewer than two names.
    UnknownNameError
        A name that is not in the graph.
    GraphError
        A step that is not an edge. Fields: ``path``, ``edge``.

    Examples
    --------
    >>> as_path(nx.DiGraph([("a", "b"), ("b", "c")]), "a -> b -> c")
    ('a', 'b', 'c')
    """
    if isinstance(path, str):
        names: tuple[Any, ...] = tuple(part.strip() for part in path.replace("→", "->").split("->"))
    else:
        names = tuple(path) if isinstance(path, Iterable) else ()
    if len(names) < 2:
        raise ArgumentError(
            f"{path!r} is not a path: write two or more names joined by arrows, such as 'age -> labs'.", path=path
        )
    _known(graph, names)
    for edge in pairwise(names):
        if not graph.has_edge(*edge):
            raise GraphError(
                f"the path {' → '.join(map(str, names))} is not in the graph: it has no edge {edge[0]} → {edge[1]}; "
                f"{edge[0]} is read by {listed(graph.succ[edge[0]])}.",
                path=names,
                edge=edge,
            )
    return names


def directed_paths(graph: nx.DiGraph, source: Hashable, target: Hashable) -> list[tuple[Any, ...]]:
    """Every directed path from ``source`` to ``target``, the shortest first, ties in the graph's order.

    Their number can be exponential in the number of variables; use :func:`ancestors` and :func:`descendants`
    where only the variables on them matter.

    Raises
    ------
    UnknownNameError
        A name that is not in the graph.
    ArgumentError
        ``source`` and ``target`` are the same variable.

    Examples
    --------
    >>> directed_paths(nx.DiGraph([("a", "b"), ("b", "c"), ("a", "c")]), "a", "c")
    [('a', 'c'), ('a', 'b', 'c')]
    """
    _known(graph, (source, target))
    if source == target:
        raise ArgumentError(f"a path needs two different ends; both are '{source}'.", source=source, target=target)
    # only variables that lead to the target are walked, so every step is on some path
    inside = ancestors(graph, target, include_self=True)
    if source not in inside:
        return []
    found: list[tuple[Any, ...]] = []
    stack: list[tuple[Any, ...]] = [(source,)]
    while stack:
        path = stack.pop()
        if path[-1] == target:
            found.append(path)
        else:
            stack.extend((*path, child) for child in reversed(list(graph.succ[path[-1]])) if child in inside)
    return sorted(found, key=len)


def parents(graph: nx.DiGraph, names: Names, *, include_self: bool = False) -> set[Any]:
    """The variables that the mechanisms of ``names`` read."""
    start = _known(graph, _names(graph, names))
    found = {parent for name in start for parent in graph.pred[name]}
    return found | start if include_self else found - start


def ancestors(graph: nx.DiGraph, names: Names, *, include_self: bool = False) -> set[Any]:
    """The variables from which a directed path leads to any of ``names``.

    ``names`` themselves are in the answer if and only if ``include_self``.
    """
    return _reach(graph.pred, _known(graph, _names(graph, names)), include_self)


def descendants(graph: nx.DiGraph, names: Names, *, include_self: bool = False) -> set[Any]:
    """The variables to which a directed path leads from any of ``names``.

    ``names`` themselves are in the answer if and only if ``include_self``.
    """
    return _reach(graph.succ, _known(graph, _names(graph, names)), include_self)


def d_separated(graph: nx.DiGraph, x: Names, y: Names, given: Names = ()) -> bool:
    """Whether ``given`` blocks every path between ``x`` and ``y``.

    Parameters
    ----------
    x, y, given
        Names or sets of names, pairwise disjoint.

    Raises
    ------
    UnknownNameError
        A name that is not in the graph.
    ArgumentError
        The three overlap.

    References
    ----------
    Pearl, *Causality* (2nd ed., 2009), Definition 1.2.3.
    """
    sets = [_known(graph, _names(graph, names)) for names in (x, y, given)]
    _disjoint({"x": sets[0], "y": sets[1], "given": sets[2]})
    return nx.is_d_separator(graph, *sets)


def is_backdoor_adjustment(graph: nx.DiGraph, treatment: Names, outcome: Names, adjustment: Names) -> bool:
    """Whether ``adjustment`` meets Pearl's back-door criterion for the effect of ``treatment`` on ``outcome``.

    Raises
    ------
    UnknownNameError
        A name that is not in the graph.
    ArgumentError
        The three sets overlap, or treatment or outcome is empty.

    References
    ----------
    Pearl, *Causality* (2nd ed., 2009), Definition 3.3.1.
    """
    t, y, z = _question(graph, treatment, outcome, adjustment)
    return not (z & descendants(graph, t)) and nx.is_d_separator(_proper_backdoor_graph(graph, t, y)[0], t, y, z)


def is_adjustment(graph: nx.DiGraph, treatment: Names, outcome: Names, adjustment: Names) -> bool:
    """Whether adjusting for ``adjustment`` gives the effect in every model with this graph (sound and complete).

    Wider than the back-door criterion: a descendant of the treatment is admitted unless it lies on, or below, a
    causal path to the outcome.

    Raises
    ------
    UnknownNameError, ArgumentError
        As in :func:`is_backdoor_adjustment`.

    References
    ----------
    Shpitser, VanderWeele & Robins, UAI 2010; van der Zander, Liśkiewicz & Textor, UAI 2014.
    """
    t, y, z = _question(graph, treatment, outcome, adjustment)
    reduced, forbidden = _proper_backdoor_graph(graph, t, y)
    return not (z & forbidden) and nx.is_d_separator(reduced, t, y, z)


def minimal_adjustment(
    graph: nx.DiGraph, treatment: Names, outcome: Names, *, observed: Iterable[Hashable] | None = None
) -> set[Any] | None:
    """An adjustment set none of whose proper subsets is one, or ``None`` if there is no adjustment set.

    Parameters
    ----------
    observed
        The variables that may be adjusted for; default: all.

    Returns
    -------
    set or None
        Names; the empty set means that nothing needs adjusting, ``None`` that no set among ``observed`` suffices.
        Found in time linear in the size of the graph.

    Raises
    ------
    UnknownNameError, ArgumentError
        As in :func:`is_backdoor_adjustment`.

    References
    ----------
    van der Zander, Liśkiewicz & Textor, UAI 2014, Theorem 5.
    """
    t, y, _ = _question(graph, treatment, outcome, ())
    reduced, forbidden = _proper_backdoor_graph(graph, t, y)
    allowed = (set(graph) if observed is None else _known(graph, _names(graph, observed))) - forbidden - t - y
    found = nx.find_minimal_d_separator(reduced, t, y, restricted=allowed)
    return None if found is None else set(found)


def backdoor_sets(
    graph: nx.DiGraph,
    treatment: Names,
    outcome: Names,
    *,
    observed: Iterable[Hashable] | None = None,
    max_size: int | None = None,
) -> list[set[Any]]:
    """Every minimal set that meets the back-door criterion, the smallest first, ties in the graph's order.

    Parameters
    ----------
    observed
        The variables that may be adjusted for; default: all.
    max_size
        Look at sets of up to this many variables. Without it the search is exponential in the number of candidates.

    Returns
    -------
    list of sets
        Empty if there is none; ``[set()]`` if nothing needs adjusting.

    Raises
    ------
    UnknownNameError, ArgumentError
        As in :func:`is_backdoor_adjustment`.
    """
    t, y, _ = _question(graph, treatment, outcome, ())
    reduced, _ = _proper_backdoor_graph(graph, t, y)
    allowed = set(graph) if observed is None else _known(graph, _names(graph, observed))
    # a minimal separator lies within the ancestors of the variables that it separates
    allowed &= ancestors(reduced, t | y) - descendants(graph, t) - t - y
    candidates = [node for node in graph if node in allowed]
    found: list[set[Any]] = []
    if not nx.is_d_separator(reduced, t, y, allowed):  # then no subset of the ancestors separates them either
        return found
    for size in range(len(candidates) + 1 if max_size is None else min(max_size, len(candidates)) + 1):
        for chosen in map(set, combinations(candidates, size)):
            if not any(smaller <= chosen for smaller in found) and nx.is_d_separator(reduced, t, y, chosen):
                found.append(chosen)
    return found


def _names(graph: nx.DiGraph, names: Any) -> list[Any]:
    """One name or several, as a list; a hashable that is a node is one name."""
    if isinstance(names, str):
        return [names]
    try:
        if names in graph:
            return [names]
    except TypeError:  # unhashable, so a collection
        pass
    if isinstance(names, Iterable):
        return list(names)
    return [names]


def _known(graph: nx.DiGraph, names: Iterable[Any]) -> set[Any]:
    names = list(names)
    for name in names:
        if name not in graph:
            raise UnknownNameError(name, kind="variable", known=list(graph), where="the graph")
    return set(names)


def _disjoint(sets: dict[str, set[Any]]) -> None:
    for (left, first), (right, second) in combinations(sets.items(), 2):
        if first & second:
            raise ArgumentError(
                f"{left} and {right} both name {listed(sorted(map(str, first & second)))}; they must be disjoint.",
                names=first & second,
            )


def _question(graph: nx.DiGraph, treatment: Names, outcome: Names, adjustment: Names) -> tuple[set, set, set]:
    t, y, z = (_known(graph, _names(graph, names)) for names in (treatment, outcome, adjustment))
    for role, names in (("treatment", t), ("outcome", y)):
        if not names:
            raise ArgumentError(f"the {role} is empty; name at least one variable of the graph: {listed(graph)}.")
    _disjoint({"treatment": t, "outcome": y, "adjustment": z})
    return t, y, z


def _proper_backdoor_graph(graph: nx.DiGraph, t: set[Any], y: set[Any]) -> tuple[nx.DiGraph, set[Any]]:
    """The graph without the first edge of every proper causal path ``t → … → y``; what must not be adjusted for.

    A causal path is proper if only its first node is in ``t``.
    """
    after = descendants(nx.restricted_view(graph, (), list(graph.in_edges(t))), t)
    before = ancestors(nx.restricted_view(graph, (), list(graph.out_edges(t))), y, include_self=True)
    on_path = (after & before) - t
    reduced = nx.DiGraph()
    reduced.add_nodes_from(graph)
    reduced.add_edges_from((u, v) for u, v in graph.edges if not (u in t and v in on_path))
    return reduced, descendants(graph, on_path, include_self=True)


def _reach(neighbours: Any, start: set[Any], include_self: bool) -> set[Any]:
    found, stack = set(start), list(start)
    while stack:
        for node in neighbours[stack.pop()]:
            if node not in found:
                found.add(node)
                stack.append(node)
    return found if include_self else found - start
