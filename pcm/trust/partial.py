"""Requirements on a graph that is known in part: the verdict on every DAG of the class.

A class is a list of graphs (or models), or one graph with undirected edges (``a → b`` together with ``b → a``), whose
members are the DAGs with the same adjacencies and the same unshielded colliders (Verma & Pearl 1990).

>>> import networkx as nx
>>> chain = nx.DiGraph([("a", "b"), ("b", "a"), ("b", "c"), ("c", "b")])
>>> [sorted(dag.edges) for dag in members(chain)]
[[('a', 'b'), ('b', 'c')], [('b', 'a'), ('b', 'c')], [('b', 'a'), ('c', 'b')]]
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd

from pcm.arguments import no_model
from pcm.errors import ArgumentError, DataError, GraphError, listed
from pcm.scm import SCM
from pcm.trust.linear_law import LinearLaw
from pcm.trust.verdict import Verdict

__all__ = ["PartialVerdict", "fitted_law", "members"]

#: Members of a class that are looked at before it is called too large.
_MOST = 10_000


class PartialVerdict:
    """Verdicts over a class of graphs.

    Attributes
    ----------
    verdicts : tuple of Verdict
        One a member.
    weights : numpy.ndarray (member,)
        How probable each is.

    Examples
    --------
    >>> import networkx as nx, pcm
    >>> edge = nx.DiGraph([("a", "b"), ("b", "a"), ("b", "y"), ("a", "y"), ("n", "y")])
    >>> asked = [pcm.Requirement("a", outcome="y", admissible="a -> b -> y"), pcm.irrelevant_to("b", outcome="y")]
    >>> pcm.check(edge, asked).probability
    0.5
    """

    def __init__(self, verdicts: Sequence[Verdict], weights: Sequence[float] | None = None) -> None:
        self.verdicts = tuple(verdicts)
        given = np.ones(len(self.verdicts)) if weights is None else np.asarray(weights, dtype=float)
        if given.shape != (len(self.verdicts),) or (given < 0).any() or not given.sum() > 0:
            raise ArgumentError(f"weights={weights!r}: one number, not negative, for each of {len(verdicts)} graphs.")
        self.weights = given / given.sum()

    @property
    def probability(self) -> float:
        """Probability that the requirements can coexist."""
        return float(self.weights @ np.array([float(v.feasible) for v in self.verdicts]))

    @property
    def feasible(self) -> bool:
        """Whether they can coexist whatever the member."""
        return all(v.feasible for v in self.verdicts)

    @property
    def price_interval(self) -> tuple[float, float] | None:
        """Least and greatest price over the members where they can coexist; None where no price is known."""
        prices = [v.price.mean for v in self.verdicts if v.feasible and v.price is not None]
        return (min(prices), max(prices)) if prices else None

    @property
    def conflicts(self) -> list[Any]:
        """Verdicts of all members, each once."""
        found = {(c.kind, c.certificate): c for v in self.verdicts for c in v.conflicts}
        return list(found.values())

    @property
    def table(self) -> pd.DataFrame:
        """A row a member: its edges, weight, whether feasible, price, verdict kinds."""
        return self.to_dataframe()

    def to_dataframe(self) -> pd.DataFrame:
        """The table of members."""
        return pd.DataFrame(
            {
                "edges": [", ".join(f"{a} → {b}" for a, b in v.graph.edges) for v in self.verdicts],
                "weight": self.weights,
                "feasible": [v.feasible for v in self.verdicts],
                "price": [np.nan if v.price is None else v.price.mean for v in self.verdicts],
                "kinds": [", ".join(v.kinds) for v in self.verdicts],
            }
        )

    def __repr__(self) -> str:
        kinds = Counter(kind for v in self.verdicts for kind in v.kinds)
        told = ", ".join(f"{kind} in {count}" for kind, count in kinds.items())
        price = self.price_interval
        paid = f"; price between {price[0]:.4g} and {price[1]:.4g}" if price else ""
        return (
            f"Verdict on {len(self.verdicts)} graphs: coexistence has probability {self.probability:.4g}{paid}"
            f"{f' ({told})' if told else ''}"
        )

    def _repr_html_(self) -> str:
        return f"<div><p><b>{html.escape(repr(self))}</b></p>{self.table.to_html()}</div>"


def members(given: Any) -> list[Any] | None:
    """The members of a class; None where one model or DAG is given.

    Raises
    ------
    ArgumentError
        Neither a model, nor a graph, nor a list of them.
    GraphError
        A graph whose undirected edges no DAG can orient.
    """
    if isinstance(given, SCM):
        return None
    if isinstance(given, nx.DiGraph):
        if any(given.has_edge(b, a) for a, b in given.edges):
            return _extensions(given)
        if not nx.is_directed_acyclic_graph(given):
            raise GraphError("the graph has a cycle; a causal graph has none.", cycle=nx.find_cycle(given))
        return None
    if isinstance(given, Sequence) and not isinstance(given, str) and len(given):
        found: list[Any] = []
        for member in given:
            inner = members(member)
            found += [member] if inner is None else inner
        return found
    if isinstance(given, nx.Graph):
        raise ArgumentError("an undirected edge is written as both a → b and b → a of a DiGraph; found a Graph.")
    raise no_model(given, "a pcm.SCM, a DiGraph, or a list of them")


def fitted_law(graph: nx.DiGraph, data: Any) -> LinearLaw:
    """Linear equations fitted to data by least squares, a regression a variable."""
    frame = pd.DataFrame(data)
    lacking = [name for name in graph if name not in frame]
    if lacking:
        raise DataError(f"the data lack {listed(lacking)}; they have {listed(frame.columns)}.", column=lacking[0])
    names = tuple(nx.topological_sort(graph))
    labelled = [name for name in names if not pd.api.types.is_numeric_dtype(frame[name])]
    if labelled:
        raise DataError(
            f"{listed(labelled)} holds no numbers; least squares needs them. Give codes or an indicator.",
            column=labelled[0],
        )
    values = frame[list(names)].to_numpy(dtype=float)
    if not np.isfinite(values).all() or len(values) <= len(names):
        raise DataError(f"least squares on {len(names)} variables needs more than {len(names)} rows without gaps.")
    slopes, size = np.zeros((1, len(names), len(names))), len(names)
    constants, variances = np.zeros((1, size)), np.zeros((1, size))
    for i, name in enumerate(names):
        read = [names.index(p) for p in graph.pred[name]]
        design = np.column_stack([np.ones(len(values)), values[:, read]])
        found, *_ = np.linalg.lstsq(design, values[:, i], rcond=None)
        constants[0, i], slopes[0, i, read] = found[0], found[1:]
        variances[0, i] = np.mean((values[:, i] - design @ found) ** 2)
    return LinearLaw(names, slopes, constants, variances, frozenset(names))


def _extensions(graph: nx.DiGraph) -> list[nx.DiGraph]:
    """DAGs with the graph's adjacencies, directed edges and unshielded colliders."""
    free = list(dict.fromkeys(tuple(sorted((a, b), key=str)) for a, b in graph.edges if graph.has_edge(b, a)))
    start = nx.DiGraph()
    start.add_nodes_from(graph.nodes(data=True))
    start.add_edges_from((a, b) for a, b in graph.edges if not graph.has_edge(b, a))
    colliders, found = _colliders(start, graph), []
    stack = [(start, free)]
    while stack:
        partial, left = stack.pop()
        if not nx.is_directed_acyclic_graph(partial) or _colliders(partial, graph) != colliders:
            continue
        if not left:
            found.append(partial)
            if len(found) > _MOST:
                raise GraphError(f"the class has more than {_MOST} members; give a list of the DAGs to look at.")
            continue
        (a, b), rest = left[0], left[1:]
        for edge in ((b, a), (a, b)):
            more = partial.copy()
            more.add_edge(*edge)
            stack.append((more, rest))
    if not found:
        raise GraphError("no DAG has these directed edges and orients the undirected ones without a new collider.")
    return found


def _colliders(dag: nx.DiGraph, adjacency: nx.DiGraph) -> set[tuple[Any, Any, Any]]:
    return {
        (a, node, b)
        for node in dag
        for a, b in combinations(sorted(dag.pred[node], key=str), 2)
        if not (adjacency.has_edge(a, b) or adjacency.has_edge(b, a))
    }
