"""Arrows that keep clear of boxes.

Each edge takes the first course that touches no box: a straight line between the centres; a shallow bow, on the side of
its placeholders first; a smooth curve through the middles, or else through both ends, of its placeholders; a course
that is level across each layer and bends only between layers, which meets no box by construction.

>>> route_edges({"a": (0.0, 0.0), "b": (100.0, 0.0)}, {"a": (20.0, 10.0), "b": (20.0, 10.0)}, {("a", "b"): []})
{('a', 'b'): [(10.0, 0.0), (90.0, 0.0)]}
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import Any

__all__ = ["CORNER", "Point", "Route", "point_at", "route_edges"]

Point = tuple[float, float]
Route = list[Point]

CORNER = 7.0  # radius of the boxes' corners
_CLEARANCE = 6.0


def route_edges(
    centres: dict[Any, Point],
    boxes: dict[Any, Point],
    bends: dict[tuple[Any, Any], list[tuple[float, float, float]]],
) -> dict[tuple[Any, Any], Route]:
    """Route every edge of ``bends``.

    Parameters
    ----------
    centres, boxes
        Centre and size of each box, in (along, across) coordinates: arrows point to growing ``along``.
    bends
        Per edge, where it passes the layers between: ``(along from, along to, across)``.

    Returns
    -------
    dict
        Per edge, two points of a line or ``1 + 3k`` points of a path of cubic Bézier pieces.
    """
    columns = {node: _column(node, centres, boxes) for node in centres}
    routes: dict[tuple[Any, Any], Route] = {}
    for (u, v), stops in bends.items():
        obstacles = [
            (*centres[node], boxes[node][0] / 2 + _CLEARANCE, boxes[node][1] / 2 + _CLEARANCE)
            for node in centres
            if node not in (u, v)
        ]
        straight = [_exit(centres[u], boxes[u], centres[v]), _exit(centres[v], boxes[v], centres[u])]
        if _is_clear(straight, obstacles):
            routes[u, v] = straight
            continue
        middles = [((start + stop) / 2, across) for start, stop, across in stops]
        ends = [point for start, stop, across in stops for point in ((start, across), (stop, across))]
        curves = chain(
            _bows(centres, boxes, u, v, middles),
            (_smooth(centres, boxes, u, v, points) for points in (middles, ends) if points),
        )
        routes[u, v] = next(
            (curve for curve in curves if _is_clear(curve, obstacles)),
            _level(centres, boxes, columns, u, v, stops),
        )
    return routes


def point_at(route: Route, t: float) -> Point:
    """The point at ``t`` in [0, 1], the pieces of the route taking equal shares."""
    if len(route) == 2:
        (x0, y0), (x1, y1) = route
        return x0 + t * (x1 - x0), y0 + t * (y1 - y0)
    pieces = (len(route) - 1) // 3
    index = min(int(t * pieces), pieces - 1)
    s = t * pieces - index
    p0, p1, p2, p3 = route[3 * index : 3 * index + 4]
    a, b, c, d = (1 - s) ** 3, 3 * s * (1 - s) ** 2, 3 * s * s * (1 - s), s**3
    return a * p0[0] + b * p1[0] + c * p2[0] + d * p3[0], a * p0[1] + b * p1[1] + c * p2[1] + d * p3[1]


def _column(node: Any, centres: dict[Any, Point], boxes: dict[Any, Point]) -> Point:
    """How far the layer of ``node`` reaches: boxes of one layer share their centre along the arrows."""
    half = max(boxes[other][0] for other in centres if abs(centres[other][0] - centres[node][0]) < 1e-6) / 2
    return centres[node][0] - half, centres[node][0] + half


def _exit(centre: Point, box: Point, towards: Point) -> Point:
    """Where the ray from ``centre`` towards a point leaves the rounded box."""
    dx, dy = towards[0] - centre[0], towards[1] - centre[1]
    norm = math.hypot(dx, dy) or 1.0
    dx, dy = dx / norm, dy / norm
    half = box[0] / 2, box[1] / 2
    radius = min(CORNER, *half)
    low, high = 0.0, math.hypot(*half)
    for _ in range(30):
        middle = (low + high) / 2
        qx, qy = abs(middle * dx) - half[0] + radius, abs(middle * dy) - half[1] + radius
        outside = math.hypot(max(qx, 0.0), max(qy, 0.0)) + min(max(qx, qy), 0.0) - radius
        low, high = (low, middle) if outside > 0 else (middle, high)
    return round(centre[0] + low * dx, 2), round(centre[1] + low * dy, 2)


def _bows(centres: dict[Any, Point], boxes: dict[Any, Point], u: Any, v: Any, middles: list[Point]) -> Iterator[Route]:
    """Single arcs, bent more and more, to the side where the placeholders lie and then to the other."""
    (x0, y0), (x1, y1) = centres[u], centres[v]
    side = sum(y - y0 - (y1 - y0) * (x - x0) / (x1 - x0) for x, y in middles)
    for rise in (20.0, 32.0, 44.0, 56.0, 68.0):
        if rise > 0.3 * math.hypot(x1 - x0, y1 - y0):
            return
        for sign in (1.0, -1.0) if side >= 0 else (-1.0, 1.0):
            # the arc's height is 3/4 of its control points'
            controls = [(x0 + share * (x1 - x0), y0 + share * (y1 - y0) + sign * rise * 4 / 3) for share in (0.3, 0.7)]
            ends = _exit(centres[u], boxes[u], controls[0]), _exit(centres[v], boxes[v], controls[1])
            yield [ends[0], *((round(x, 2), round(y, 2)) for x, y in controls), ends[1]]


def _smooth(centres: dict[Any, Point], boxes: dict[Any, Point], u: Any, v: Any, middles: list[Point]) -> Route:
    """A cardinal spline through ``middles``."""
    ends = _exit(centres[u], boxes[u], middles[0]), _exit(centres[v], boxes[v], middles[-1])
    points = [ends[0], *middles, ends[1]]
    tangents = [_minus(points[1], points[0])]
    tangents += [_minus(after, before) for before, after in zip(points, points[2:], strict=False)]
    tangents.append(_minus(points[-1], points[-2]))
    route: Route = [points[0]]
    for (p, q), (s, t) in zip(pairwise(points), pairwise(tangents), strict=True):
        run = math.hypot(*_minus(q, p)) / 3
        route += [_along(p, s, run), _along(q, t, -run), q]
    return route


def _level(
    centres: dict[Any, Point],
    boxes: dict[Any, Point],
    columns: dict[Any, Point],
    u: Any,
    v: Any,
    stops: list[tuple[float, float, float]],
) -> Route:
    """Level across every layer, an S between layers."""
    start = (centres[u][0] + boxes[u][0] / 2, centres[u][1])
    end = (centres[v][0] - boxes[v][0] / 2, centres[v][1])
    corners = [start, (columns[u][1], start[1])]
    for low, high, across in stops:
        corners += [(low, across), (high, across)]
    corners += [(columns[v][0], end[1]), end]
    route: Route = [start]
    for index, (p, q) in enumerate(pairwise(corners)):
        if index % 2 == 0:  # across a layer
            if q[0] - p[0] > 1e-6:
                third = (q[0] - p[0]) / 3
                route += [(p[0] + third, p[1]), (q[0] - third, q[1]), q]
        else:
            bend = (q[0] - p[0]) / 2
            route += [(p[0] + bend, p[1]), (q[0] - bend, q[1]), q]
    return [(round(x, 2), round(y, 2)) for x, y in route]


def _is_clear(route: Route, obstacles: list[tuple[float, float, float, float]]) -> bool:
    low, high = min(p[0] for p in route), max(p[0] for p in route)
    near = [box for box in obstacles if box[0] + box[2] > low and box[0] - box[2] < high]
    if not near:
        return True
    steps = max(16, int((high - low) / 3))
    for step in range(steps + 1):
        x, y = point_at(route, step / steps)
        if any(abs(x - cx) < half and abs(y - cy) < other for cx, cy, half, other in near):
            return False
    return True


def _minus(p: Point, q: Point) -> Point:
    return p[0] - q[0], p[1] - q[1]


def _along(p: Point, direction: Point, distance: float) -> Point:
    norm = math.hypot(*direction) or 1.0
    return round(p[0] + distance * direction[0] / norm, 2), round(p[1] + distance * direction[1] / norm, 2)
