"""A layered layout of a directed acyclic graph (Sugiyama, Tagawa & Toda, 1981), deterministic.

1. Layers by longest path, ``layer(v) = 1 + max layer(pa(v))``; variables are then pulled towards their readers.
2. Edges over several layers get a placeholder in each layer between.
3. Crossings are reduced by sweeps of barycentres and exchanges of neighbours.
4. Positions in a layer minimise ``Σ w (y_u − y_v)²`` subject to the order and the room that boxes need, by isotonic
   regression; placeholders weigh most, so long edges come out straight.
5. An edge is a straight arrow where no box is in its way, otherwise a curve through its placeholders (:mod:`routes`).

>>> import networkx as nx
>>> plan = layered(nx.DiGraph([("a", "b"), ("b", "c")]), {name: (40.0, 30.0) for name in "abc"})
>>> [plan.positions[name] for name in "abc"]
[(20.0, 15.0), (116.0, 15.0), (212.0, 15.0)]
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import networkx as nx

from pcm.errors import ArgumentError, GraphError
from pcm.graph.layers import Ladder, build_ladder
from pcm.graph.routes import Point, Route, point_at, route_edges

__all__ = ["Direction", "Layout", "layered"]

Direction = Literal["right", "down"]

_LAYER_GAP = {"right": 56.0, "down": 44.0}
_NODE_GAP = {"right": 22.0, "down": 26.0}
_EDGE_GAP = 18.0  # beside a placeholder: an edge needs less room than a box
_COMPONENT_GAP = 30.0


@dataclass(frozen=True)
class Layout:
    """Where everything is, in pixels, the origin at the top left.

    Attributes
    ----------
    positions
        The centre ``(x, y)`` of each node's box.
    sizes
        ``(width, height)`` of each box.
    routes
        Per edge, the points of a path of cubic Bézier pieces, ``1 + 3k`` points, from box to box; two points for a
        straight line.
    width, height
        Of the whole drawing.
    """

    positions: dict[Any, Point]
    sizes: dict[Any, Point]
    routes: dict[tuple[Any, Any], Route]
    width: float
    height: float


def layered(graph: nx.DiGraph, sizes: Mapping[Any, Point], *, direction: Direction = "right") -> Layout:
    """Lay a directed acyclic graph out in layers.

    Parameters
    ----------
    graph
        Directed and acyclic.
    sizes
        ``(width, height)`` in pixels of each node's box.
    direction
        ``"right"`` or ``"down"``: where effects lie.

    Raises
    ------
    ArgumentError
        An unknown direction.
    GraphError
        The graph has a cycle.
    """
    if direction not in get_args(Direction):
        raise ArgumentError(f"direction={direction!r} is not one of {', '.join(get_args(Direction))}.")
    if not nx.is_directed_acyclic_graph(graph):
        raise GraphError("a layered layout needs an acyclic graph; this one has a cycle.")
    # the work is done in (along, across) coordinates: along the arrows, across the layers
    flip = direction == "down"
    boxes = {node: _turned(sizes[node], flip) for node in graph}
    centres, bends = _placed_components(graph, boxes, _LAYER_GAP[direction], _NODE_GAP[direction])
    routes = route_edges(centres, boxes, bends)
    (left, top), (right, bottom) = _bounds(centres, boxes, routes)

    def moved(point: Point) -> Point:
        return _turned((round(point[0] - left, 2), round(point[1] - top, 2)), flip)

    width, height = _turned((right - left, bottom - top), flip)
    return Layout(
        positions={node: moved(centres[node]) for node in graph},
        sizes={node: (float(sizes[node][0]), float(sizes[node][1])) for node in graph},
        routes={edge: [moved(point) for point in routes[edge]] for edge in graph.edges},
        width=width,
        height=height,
    )


def _turned(point: Point, flip: bool) -> Point:
    return (point[1], point[0]) if flip else (point[0], point[1])


def _placed_components(
    graph: nx.DiGraph, boxes: dict[Any, Point], layer_gap: float, node_gap: float
) -> tuple[dict[Any, Point], dict[tuple[Any, Any], list[tuple[float, float, float]]]]:
    """Each connected component on its own, one beside the other; isolated variables last, in rows.

    Returns centres, and per edge the places it must pass: ``(along from, along to, across)`` for each layer between.
    """
    order = {node: index for index, node in enumerate(graph)}
    components = sorted(
        (sorted(part, key=order.__getitem__) for part in nx.weakly_connected_components(graph)),
        key=lambda part: order[part[0]],
    )
    centres: dict[Any, Point] = {}
    bends: dict[tuple[Any, Any], list[tuple[float, float, float]]] = {}
    top = length = 0.0
    for part in components:
        if len(part) == 1:
            continue
        ladder = build_ladder(graph, part)
        across = _across(ladder, boxes, node_gap)
        spans = _spans(ladder, boxes, layer_gap)
        shift = top - min(across[name] - (boxes[name][1] / 2 if name in boxes else 0.0) for name in across)
        for node in part:
            start, stop = spans[ladder.layer[node]]
            centres[node] = ((start + stop) / 2, across[node] + shift)
        for edge, chain in ladder.chains.items():
            bends[edge] = [(*spans[ladder.layer[dummy]], across[dummy] + shift) for dummy in chain]
            top = max([top, *(across[dummy] + shift for dummy in chain)])
        length = max(length, spans[-1][1])
        top = max(top, *(centres[node][1] + boxes[node][1] / 2 for node in part)) + _COMPONENT_GAP
    _place_isolated([part[0] for part in components if len(part) == 1], boxes, centres, top, length, node_gap)
    return centres, bends


def _place_isolated(
    nodes: list[Any], boxes: dict[Any, Point], centres: dict[Any, Point], top: float, length: float, gap: float
) -> None:
    """Rows of boxes, wrapped at the length of what is already there."""
    length = max(length, 480.0)
    along, row_height = 0.0, 0.0
    for node in nodes:
        extent, depth = boxes[node]
        if along and along + extent > length:
            top, along, row_height = top + row_height + gap, 0.0, 0.0
        centres[node] = (along + extent / 2, top + depth / 2)
        along, row_height = along + extent + gap, max(row_height, depth)


def _spans(ladder: Ladder, boxes: dict[Any, Point], gap: float) -> list[tuple[float, float]]:
    """Where each layer starts and stops along the arrows."""
    spans, start = [], 0.0
    for row in ladder.rows:
        extent = max((boxes[node][0] for node in row if node in boxes), default=0.0)
        spans.append((start, start + extent))
        # steep edges into a crowded layer need a longer run
        start += extent + gap * (1.0 + min(0.6, 0.06 * max(0, len(row) - 4)))
    return spans


def _across(ladder: Ladder, boxes: dict[Any, Point], node_gap: float) -> dict[Hashable, float]:
    """Positions across: block coordinate descent on ``Σ w (y_u − y_v)²``, a layer at a time, each solved exactly."""
    depth = {name: boxes[name][1] if name in boxes else 0.0 for row in ladder.rows for name in row}
    offsets: list[list[float]] = []
    for row in ladder.rows:
        offset = [0.0]
        for left, right in itertools.pairwise(row):
            gap = node_gap if left in boxes and right in boxes else _EDGE_GAP
            offset.append(offset[-1] + (depth[left] + depth[right]) / 2 + gap)
        offsets.append(offset)
    place = {
        name: offset - offsets[i][-1] / 2
        for i, row in enumerate(ladder.rows)
        for name, offset in zip(row, offsets[i], strict=True)
    }
    links: dict[Hashable, list[tuple[Hashable, float]]] = {name: [] for name in place}
    for upper, lower in ladder.links:
        weight = {0: 1.0, 1: 3.0, 2: 9.0}[(upper not in boxes) + (lower not in boxes)]
        links[upper].append((lower, weight))
        links[lower].append((upper, weight))
    rows = list(range(len(ladder.rows)))
    for sweep in range(60 if len(place) <= 120 else 16):
        moved = 0.0
        for i in rows if sweep % 2 else reversed(rows):
            row = ladder.rows[i]
            wanted, weights = [], []
            for name, offset in zip(row, offsets[i], strict=True):
                weight = sum(w for _, w in links[name])
                wanted.append(sum(w * place[other] for other, w in links[name]) / weight - offset)
                weights.append(weight)
            for name, offset, value in zip(row, offsets[i], _isotonic(wanted, weights), strict=True):
                moved = max(moved, abs(place[name] - value - offset))
                place[name] = value + offset
        if moved < 0.05:
            break
    return _straightened(ladder, place, links, depth, offsets)


def _straightened(
    ladder: Ladder,
    place: dict[Hashable, float],
    links: dict[Hashable, list[tuple[Hashable, float]]],
    depth: dict[Hashable, float],
    offsets: list[list[float]],
) -> dict[Hashable, float]:
    """Nearly level edges made level, where the order and the room allow it."""
    for row, offset in zip(ladder.rows, offsets, strict=True):
        for index, name in enumerate(row):
            low = place[row[index - 1]] + offset[index] - offset[index - 1] if index else float("-inf")
            high = place[row[index + 1]] - offset[index + 1] + offset[index] if index + 1 < len(row) else float("inf")
            near = sorted(
                (abs(place[other] - place[name]), str(other), place[other])
                for other, _ in links[name]
                if abs(place[other] - place[name]) < 9.0 and ladder.layer[other] < ladder.layer[name]
            )
            for _, _, target in near:
                if low <= target <= high:
                    place[name] = target
                    break
    return {name: round(value, 2) for name, value in place.items()}


def _isotonic(wanted: list[float], weights: list[float]) -> list[float]:
    """The nondecreasing values nearest to ``wanted`` in weighted squares: pool adjacent violators."""
    blocks: list[list[float]] = []  # value, weight, length
    for value, weight in zip(wanted, weights, strict=True):
        blocks.append([value, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            right = blocks.pop()
            left = blocks[-1]
            total = left[1] + right[1]
            blocks[-1] = [(left[0] * left[1] + right[0] * right[1]) / total, total, left[2] + right[2]]
    return [value for value, _, length in blocks for _ in range(int(length))]


def _bounds(
    centres: dict[Any, Point], boxes: dict[Any, Point], routes: dict[tuple[Any, Any], Route]
) -> tuple[Point, Point]:
    """The corners of all that is drawn."""
    along, across = [], []
    for node, (x, y) in centres.items():
        along += [x - boxes[node][0] / 2, x + boxes[node][0] / 2]
        across += [y - boxes[node][1] / 2, y + boxes[node][1] / 2]
    for route in routes.values():
        if len(route) > 2:  # a straight line stays between its boxes
            steps = 8 * (len(route) - 1)
            across += [point_at(route, step / steps)[1] for step in range(steps + 1)]
    return (min(along, default=0.0), min(across, default=0.0)), (max(along, default=0.0), max(across, default=0.0))
