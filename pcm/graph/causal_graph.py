"""The causal graph of a program: a :class:`networkx.DiGraph` that stays acyclic and draws itself.

An edge ``a → b`` says that the mechanism of ``b`` reads ``a``: ``b = f_b(pa(b), u_b)``. Nodes say what they
are (``kind``) and whether an intervention has replaced their mechanism (``intervened``); an edge that is read but
was found to have no numerical effect is ``inert``.

>>> graph = CausalGraph([("age", "labs"), ("site", "labs"), ("labs", "readmit")])
>>> graph
CausalGraph(4 variables: age, site → labs → readmit)
>>> graph.add_edge("readmit", "site")
Traceback (most recent call last):
...
pcm.errors.GraphError: the edges close a cycle: site → labs → readmit → site; a causal graph has none.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import networkx as nx

from pcm.errors import ArgumentError, GraphError, UnknownNameError
from pcm.graph.layout import Direction
from pcm.graph.svg import SVG, render

__all__ = ["KINDS", "CausalGraph"]

KINDS = ("variable", "deterministic", "covariate")


class CausalGraph(nx.DiGraph):
    """A directed acyclic graph over the variables of a program.

    Everything networkx does with a ``DiGraph`` works on it; adding an edge that closes a cycle is an error and
    leaves the graph as it was.

    Parameters
    ----------
    incoming_graph_data
        Edges, a dict of lists, or another graph, as for :class:`networkx.DiGraph`.
    **attr
        Attributes of the graph; ``name`` becomes the title of its drawing.

    Raises
    ------
    GraphError
        The edges close a cycle, which the message (and the field ``cycle``) names.

    Examples
    --------
    >>> CausalGraph([("age", "labs"), ("labs", "readmit")])
    CausalGraph(3 variables: age → labs → readmit)

    Notes
    -----
    Node attributes: ``kind``, one of :data:`KINDS` (default ``"variable"``), and ``intervened`` (default ``False``).
    Edge attribute: ``inert`` (default ``False``), read by the program but without numerical effect.
    """

    def __init__(self, incoming_graph_data: Any = None, **attr: Any) -> None:
        try:
            super().__init__(incoming_graph_data, **attr)
        except nx.NetworkXError as error:  # networkx wraps whatever a conversion raises
            if isinstance(error.__cause__, GraphError):
                raise error.__cause__ from None
            raise

    def to_directed_class(self) -> type[nx.DiGraph]:
        """The class of directed copies; ``copy``, ``subgraph`` and ``edge_subgraph`` keep :class:`CausalGraph`."""
        return CausalGraph

    # -- building -----------------------------------------------------------------------------------------------

    def add_node(self, node_for_adding: Hashable, **attr: Any) -> None:
        """Add a variable, or update its attributes ``kind`` and ``intervened``."""
        _checked_kind(node_for_adding, attr)
        super().add_node(node_for_adding, **attr)

    def add_nodes_from(self, nodes_for_adding: Iterable[Any], **attr: Any) -> None:
        """Add several variables: names, or pairs of a name and its attributes."""
        _checked_kind(None, attr)
        nodes = list(nodes_for_adding)
        for node in nodes:
            if isinstance(node, tuple) and len(node) == 2 and isinstance(node[1], Mapping):
                _checked_kind(node[0], node[1])
        super().add_nodes_from(nodes, **attr)

    def add_edge(self, u_of_edge: Hashable, v_of_edge: Hashable, **attr: Any) -> None:
        """Say that the mechanism of ``v_of_edge`` reads ``u_of_edge``.

        Raises
        ------
        GraphError
            ``v_of_edge`` is an ancestor of ``u_of_edge``.
        """
        if u_of_edge == v_of_edge:
            raise _cycle_error([u_of_edge, v_of_edge])
        if u_of_edge in self.succ and v_of_edge in self.succ and v_of_edge not in self.succ[u_of_edge]:
            back = _path(self, v_of_edge, u_of_edge)
            if back:
                raise _cycle_error([*back, v_of_edge])
        super().add_edge(u_of_edge, v_of_edge, **attr)

    def add_edges_from(self, ebunch_to_add: Iterable[Any], **attr: Any) -> None:
        """Add several edges at once; all of them or, if they close a cycle, none."""
        edges = list(ebunch_to_add)
        pairs = [edge[:2] for edge in edges]
        # plain dicts rather than a copy of the graph: this runs inside every copy and subgraph
        new_edges = {(u, v) for u, v in pairs if u not in self.succ or v not in self.succ[u]}
        new_nodes = {node for pair in pairs for node in pair if node not in self.succ}
        super().add_edges_from(edges, **attr)
        cycle = _find_cycle(self) if new_edges else []
        if cycle:
            self.remove_edges_from(new_edges)
            self.remove_nodes_from(new_nodes)
            raise _cycle_error(cycle)

    # -- reading ------------------------------------------------------------------------------------------------

    def kind(self, name: Hashable) -> str:
        """``"variable"``, ``"deterministic"`` or ``"covariate"``."""
        return self._attributes(name).get("kind", "variable")

    def is_intervened(self, name: Hashable) -> bool:
        """Whether an intervention has replaced the mechanism of ``name``."""
        return bool(self._attributes(name).get("intervened", False))

    def is_inert(self, source: Hashable, target: Hashable) -> bool:
        """Whether ``target`` reads ``source`` without numerical effect.

        Raises
        ------
        GraphError
            There is no such edge.
        """
        for name in (source, target):
            self._attributes(name)
        if not self.has_edge(source, target):
            raise GraphError(
                f"{source} → {target} is not an edge of the graph; {target} reads "
                f"{', '.join(map(str, self.pred[target])) or 'nothing'}.",
                edge=(source, target),
            )
        return bool(self.edges[source, target].get("inert", False))

    @property
    def inert_edges(self) -> list[tuple[Hashable, Hashable]]:
        """Edges that are read but were found to have no numerical effect."""
        return [(u, v) for u, v, inert in self.edges(data="inert", default=False) if inert]

    def without_inert(self) -> CausalGraph:
        """A copy without the inert edges."""
        graph = self.copy()
        graph.remove_edges_from(self.inert_edges)
        return graph

    def do(self, *names: Hashable) -> CausalGraph:
        """The graph after an intervention on ``names``: their incoming edges cut, the nodes marked.

        Raises
        ------
        UnknownNameError
            A name is not a variable of the graph.
        """
        graph = self.copy()
        for name in names:
            self._attributes(name)
            graph.remove_edges_from(list(graph.in_edges(name)))
            graph.nodes[name]["intervened"] = True
        return graph

    # -- drawing ------------------------------------------------------------------------------------------------

    def draw(
        self,
        path: str | Path | None = None,
        *,
        direction: Direction = "right",
        title: str | None = None,
        node_colors: Mapping[Any, str] | None = None,
        edge_colors: Mapping[Any, str] | None = None,
    ) -> SVG:
        """Draw the graph as SVG, with nothing but the standard library.

        Parameters
        ----------
        path
            Also write the drawing there: ``.svg``, or ``.dot`` for the Graphviz source.
        direction
            ``"right"`` or ``"down"``: where effects lie.
        title
            Read by screen readers and shown on hover; default: the graph's name, or a one-line summary.
        node_colors, edge_colors
            CSS colours by node and by ``(source, target)``, in place of the usual ones.

        Returns
        -------
        SVG
            A string that a notebook shows as a picture.

        Raises
        ------
        ArgumentError
            An unknown direction or file suffix.
        UnknownNameError, GraphError
            A colour for a node or an edge that is not there.
        """
        for node in node_colors or {}:
            self._attributes(node)
        for edge in edge_colors or {}:
            self.is_inert(*edge)
        title = title if title is not None else (self.name or repr(self))
        drawing = render(
            self, direction=direction, title=title, node_colors=node_colors or {}, edge_colors=edge_colors or {}
        )
        if path is not None:
            path = Path(path)
            if path.suffix not in (".svg", ".dot"):
                raise ArgumentError(
                    f"a graph cannot be drawn to '{path.name}': the suffix '{path.suffix}' is neither .svg nor .dot.",
                    path=path,
                )
            path.write_text(drawing if path.suffix == ".svg" else self.to_dot(direction=direction), encoding="utf-8")
        return drawing

    def to_dot(self, *, direction: Direction = "right") -> str:
        """The graph in Graphviz' DOT language.

        >>> print(CausalGraph([("a", "b")]).to_dot())
        digraph {
          rankdir=LR;
          node [shape=box, style=rounded];
          "a";
          "b";
          "a" -> "b";
        }
        """
        lines = [f"rankdir={'LR' if direction == 'right' else 'TB'};", "node [shape=box, style=rounded];"]
        for node in self.nodes:
            options = []
            if self.kind(node) == "covariate":
                options.append('style="rounded,dashed"')
            elif self.kind(node) == "deterministic":
                options += ["color=gray60", "fontcolor=gray30"]
            if self.is_intervened(node):
                options.append("peripheries=2")
            lines.append(_quoted(node) + (f" [{', '.join(options)}]" if options else "") + ";")
        for u, v, inert in self.edges(data="inert", default=False):
            lines.append(f"{_quoted(u)} -> {_quoted(v)}" + (" [style=dashed, color=gray60]" if inert else "") + ";")
        return "\n".join(["digraph {", *(f"  {line}" for line in lines), "}"])

    def _repr_svg_(self) -> str:
        return str(self.draw())

    def _repr_html_(self) -> str:
        return f'<div style="overflow-x:auto">{self.draw()}</div>'

    def __repr__(self) -> str:
        count = f"{len(self)} variable{'' if len(self) == 1 else 's'}"
        if not len(self):
            return "CausalGraph(no variables)"
        shown, room = [], 8
        for generation in nx.topological_generations(self):
            if room <= 0:
                shown.append("…")
                break
            names = [str(node) for node in generation]
            shown.append(", ".join([*names[:room], *(["…"] if len(names) > room else [])]))
            room -= len(names)
        return f"CausalGraph({count}: {' → '.join(shown)})"

    __str__ = __repr__

    def _attributes(self, name: Hashable) -> dict[str, Any]:
        try:
            return self.nodes[name]
        except (KeyError, TypeError):
            raise UnknownNameError(name, kind="variable", known=list(self), where="the graph") from None


def _checked_kind(node: Hashable, attributes: Mapping[str, Any]) -> None:
    kind = attributes.get("kind", "variable")
    if kind not in KINDS:
        about = f" of node '{node}'" if node is not None else ""
        raise ArgumentError(f"the kind{about} is {kind!r}; it must be one of {', '.join(KINDS)}.", kind=kind)


def _cycle_error(cycle: list[Hashable]) -> GraphError:
    names = " → ".join(map(str, cycle))
    return GraphError(f"the edges close a cycle: {names}; a causal graph has none.", cycle=list(cycle))


def _path(graph: nx.DiGraph, source: Hashable, target: Hashable) -> list[Hashable]:
    """A directed path, or an empty list."""
    if not graph.succ[source] or not graph.pred[target]:  # the usual case while a graph is built in program order
        return []
    try:
        return nx.shortest_path(graph, source, target)
    except nx.NetworkXNoPath:
        return []


def _find_cycle(graph: nx.DiGraph) -> list[Hashable]:
    if nx.is_directed_acyclic_graph(graph):
        return []
    edges = nx.find_cycle(graph)
    return [edges[0][0], *(edge[1] for edge in edges)]


def _quoted(name: Hashable) -> str:
    return '"' + str(name).replace("\\", "\\\\").replace('"', '\\"') + '"'
