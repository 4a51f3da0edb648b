"""A law over finite variables with its graph, factorised over confounded components.

The variables that share unmeasured causes form components; ``P(v) = Π_C Q_C(v_C | pa_C)``, ``Q_C = Π_{i ∈ C} P(v_i |
T_i)``, where ``T_i`` is what a variable depends on given all before it: its component among these, and their parents
(Tian & Pearl 2002). Latent variables are projected out: their children share noise.

>>> import numpy as np
>>> joint = np.array([[0.3, 0.2], [0.1, 0.4]])
>>> shape = Shape.of(nx.DiGraph([("x", "y")]), [], {"x": (0, 1), "y": (0, 1)})
>>> law_of_joint(shape, joint).factors["y"][1].tolist()
[[0.6, 0.4], [0.2, 0.8]]

References
----------
Tian & Pearl, "A general identification condition for causal effects", AAAI 2002.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import networkx as nx
import numpy as np

from pcm.errors import ArgumentError, GraphError, UnknownNameError

__all__ = ["Law", "Shape", "aligned", "law_of_joint", "projected"]

#: Largest disagreement between an exact table and an independence of its graph.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Shape:
    """Variables, what values they take, and what they share.

    Attributes
    ----------
    levels : dict of name to tuple of values, in topological order
    parents : dict of name to tuple of names
    components : tuple of tuples of names
        Variables joined by confounding, each in topological order.
    pairs : frozenset of pairs
        Variables that share an unmeasured cause.
    joint : frozenset of components
        Those all of whose members may share one cause: then every joint distribution of their noise is possible.
    """

    levels: dict[str, tuple[Any, ...]]
    parents: dict[str, tuple[str, ...]]
    components: tuple[tuple[str, ...], ...]
    pairs: frozenset[tuple[str, str]] = frozenset()
    joint: frozenset[tuple[str, ...]] = frozenset()

    @classmethod
    def of(cls, graph: nx.DiGraph, confounded: Iterable[Sequence[str]], levels: Mapping[str, tuple[Any, ...]]) -> Shape:
        """The shape of a graph over the variables of ``levels``."""
        order = [name for name in nx.lexicographical_topological_sort(graph, key=_position(graph)) if name in levels]
        place = {name: at for at, name in enumerate(order)}
        groups = [sorted(group, key=place.__getitem__) for group in confounded]
        pairs = frozenset(pair for group in groups for pair in combinations(group, 2))
        joined: nx.Graph = nx.Graph(list(pairs))
        joined.add_nodes_from(order)
        parts = [tuple(sorted(part, key=place.__getitem__)) for part in nx.connected_components(joined)]
        parts.sort(key=lambda part: place[part[0]])
        return cls(
            {name: tuple(levels[name]) for name in order},
            {name: tuple(sorted(graph.predecessors(name), key=place.__getitem__)) for name in order},
            tuple(parts),
            pairs,
            frozenset(part for part in parts if len(part) == 1 or any(set(part) <= set(group) for group in groups)),
        )

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.levels)

    def sizes(self, names: Iterable[str]) -> tuple[int, ...]:
        """How many values each takes."""
        return tuple(len(self.levels[name]) for name in names)

    def reach(self, name: str) -> tuple[str, ...]:
        """``T_i``: the component of a variable among those up to it, with parents, without itself."""
        upto = set(self.names[: self.names.index(name) + 1])
        graph: nx.Graph = nx.Graph([pair for pair in self.pairs if upto.issuperset(pair)])
        graph.add_node(name)
        part = nx.node_connected_component(graph, name)
        reach = part.union(*(self.parents[member] for member in part)) - {name}
        return tuple(other for other in self.names if other in reach)


@dataclass(frozen=True)
class Law:
    """A shape with its conditional laws.

    Attributes
    ----------
    shape : Shape
    factors : dict of name to (names, array)
        ``P(v | T_v)`` with ``v`` on the last axis, NaN where ``T_v`` has no probability.
    notes : tuple of str
    """

    shape: Shape
    factors: dict[str, tuple[tuple[str, ...], np.ndarray]]
    notes: tuple[str, ...] = field(default=())


def law_of_joint(shape: Shape, joint: np.ndarray, *, exact: bool = True, tolerance: float = 0.0) -> Law:
    """The factors of a joint table whose axes are the shape's variables in order.

    Where ``exact``, the independences of the graph must hold in the table within ``tolerance``; otherwise (the
    frequencies of a sample) they are imposed. A note says how far the table is from them.

    Raises
    ------
    GraphError
        The table contradicts the graph; the message names a variable and what it should not depend on.
    """
    names, factors = shape.names, {}
    implied = np.ones((1,) * len(names))
    for at, name in enumerate(names):
        reach = shape.reach(name)
        axes = (*reach, name)
        factors[name] = (axes, _conditional(names, joint, axes))
        if exact:
            _check_independence(shape, joint, at, axes, factors[name][1], max(tolerance, TOLERANCE))
        implied = implied * aligned(axes, np.nan_to_num(factors[name][1]), names)
    distance = float(np.abs(implied - joint).sum() / 2)
    notes = () if distance < TOLERANCE else (
        f"the frequencies are {distance:.2g} (total variation) from the independences of the graph, which are imposed",
    )  # fmt: skip
    return Law(shape, factors, notes)


def aligned(axes: Sequence[str], array: np.ndarray, target: Sequence[str]) -> np.ndarray:
    """An array over ``axes`` as one that broadcasts over ``target``."""
    order = sorted(range(len(axes)), key=lambda at: target.index(axes[at]))
    sizes = dict(zip(axes, array.shape, strict=True))
    return array.transpose(order).reshape([sizes.get(name, 1) for name in target])


def projected(
    graph: nx.DiGraph, confounded: Iterable[Sequence[str]], latent: Collection[str]
) -> tuple[nx.DiGraph, list[tuple[str, ...]]]:
    """The graph without its latent variables, and groups that share a cause: children of one read its parents.

    >>> graph, groups = projected(nx.DiGraph([("u", "x"), ("u", "y"), ("x", "y")]), [], ["u"])
    >>> list(graph.edges), groups
    ([('x', 'y')], [('x', 'y')])

    Raises
    ------
    UnknownNameError, ArgumentError
        A name that is not in the graph; a group that is not two variables or more.
    """
    plain: nx.DiGraph = nx.DiGraph()
    plain.add_nodes_from(graph.nodes)
    plain.add_edges_from(graph.edges)
    groups: list[tuple[str, ...]] = []
    for group in confounded:
        if isinstance(group, str) or len(group) < 2 or len(set(group)) < len(group):
            raise ArgumentError(
                f"confounded={group!r}: each entry names the variables, two or more, that share an unmeasured cause."
            )
        groups.append(tuple(group))
    for name in (*latent, *(name for group in groups for name in group)):
        if name not in graph:
            raise UnknownNameError(name, known=list(graph), where="the graph")
    for name in latent:
        children, parents = list(plain.successors(name)), list(plain.predecessors(name))
        plain.add_edges_from((parent, child) for parent in parents for child in children)
        plain.remove_node(name)
        groups = [tuple(dict.fromkeys([n for n in g if n != name] + children * (name in g))) for g in groups]
        groups = [group for group in [*groups, tuple(children)] if len(group) > 1]
    return plain, groups


# -- private ---------------------------------------------------------------------------------------------------------


def _position(graph: nx.DiGraph) -> Any:
    place = {name: at for at, name in enumerate(graph)}
    return place.__getitem__


def _conditional(names: Sequence[str], joint: np.ndarray, axes: Sequence[str]) -> np.ndarray:
    """``P(last | others)`` over ``axes``, NaN where the others have no probability."""
    kept = [names.index(name) for name in axes]
    margin = joint.sum(tuple(at for at in range(len(names)) if at not in kept))
    order = np.argsort(np.argsort(kept))  # where each asked axis stands in the margin
    margin = margin.transpose(order)
    total = margin.sum(-1, keepdims=True)
    return np.divide(margin, total, out=np.full(margin.shape, np.nan), where=total > 0)


def _check_independence(
    shape: Shape, joint: np.ndarray, at: int, axes: tuple[str, ...], factor: np.ndarray, tolerance: float
) -> None:
    before = shape.names[:at]
    if len(axes) == at + 1:
        return
    upto = (*before, shape.names[at])
    full = _conditional(shape.names, joint, upto)
    weight = joint.sum(tuple(range(at, len(shape.names))))[..., None]
    apart = np.abs(np.nan_to_num(full - aligned(axes, factor, upto))) * np.sqrt(weight)
    if apart.max() > tolerance:
        where = np.unravel_index(int(apart.argmax()), apart.shape)
        cell = ", ".join(f"{n}={shape.levels[n][i]}" for n, i in zip(before, where, strict=False))
        name = shape.names[at]
        found, wanted = full[where], np.broadcast_to(aligned(axes, factor, upto), full.shape)[where]
        others = [other for other in before if other not in axes]
        raise GraphError(
            f"the table contradicts the graph: given {', '.join(axes[:-1]) or 'nothing'}, '{name}' should not depend "
            f"on {', '.join(others)}, but P({name}={shape.levels[name][where[-1]]} | {cell}) = {found:.4g} where "
            f"{wanted:.4g} follows. Add the missing edge or confounded pair; if it is rounding, pass tolerance=; if "
            "the table holds frequencies of a sample, pass counts, and the independences are imposed.",
            variable=name,
            given=axes[:-1],
            independent_of=others,
        )
