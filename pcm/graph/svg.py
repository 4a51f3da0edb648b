"""A causal graph as inline SVG.

Colours are presentation attributes on the elements, mid-tone lines and boxes with their own background, so that one
drawing reads on white paper and on a dark page, several share a page without clashing, and sanitizers let it pass.

>>> import networkx as nx
>>> render(nx.DiGraph([("a", "b")]))[:4]
'<svg'
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from html import escape
from typing import Any

import networkx as nx

from pcm.graph.layout import Direction, layered
from pcm.graph.routes import CORNER, Point, Route, point_at

__all__ = ["SVG", "render", "text_width"]

_FONT = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
_FONT_SIZE = 14.0
_BOX_HEIGHT = 32.0
_MARGIN = 8.0
_ARROW = 9.0
_INK, _EDGE, _INERT = "#1f2933", "#66727f", "#a0a8b1"
# fill, outline, text
_NODE = {
    "variable": ("#f3f6fa", "#5b6b7c", _INK),
    "deterministic": ("#fdfdfe", "#a9b4bf", "#55616d"),
    "covariate": ("#ffffff", "#5b6b7c", _INK),
}
_INTERVENED = ("#fde9c8", "#b3660a", "#4a2b04")


class SVG(str):
    """SVG source that a notebook shows as a picture."""

    def _repr_svg_(self) -> str:
        return str(self)


def render(
    graph: nx.DiGraph,
    *,
    direction: Direction = "right",
    title: str = "causal graph",
    node_colors: Mapping[Any, str] | None = None,
    edge_colors: Mapping[Any, str] | None = None,
) -> SVG:
    """Draw a directed acyclic graph.

    Parameters
    ----------
    graph
        Nodes may carry ``kind`` and ``intervened``, edges ``inert``: see :class:`pcm.graph.CausalGraph`.
    direction
        ``"right"`` or ``"down"``: where effects lie.
    title
        The accessible name of the picture.
    node_colors, edge_colors
        CSS colours by node (its outline) and by ``(source, target)``.

    Returns
    -------
    SVG
        One ``<svg>`` element; sizes in pixels.
    """
    node_colors, edge_colors = node_colors or {}, edge_colors or {}
    sizes = {node: (max(44.0, text_width(str(node)) + 24.0), _BOX_HEIGHT) for node in graph}
    plan = layered(graph, sizes, direction=direction)
    width, height = math.ceil(plan.width + 2 * _MARGIN), math.ceil(plan.height + 2 * _MARGIN)
    # inert edges below the others, coloured ones above
    edges = sorted(graph.edges(data="inert", default=False), key=lambda edge: (edge[:2] in edge_colors, not edge[2]))
    body = [_edge(plan.routes[u, v], u, v, inert, edge_colors.get((u, v))) for u, v, inert in edges]
    body += [
        _node(node, plan.positions[node], plan.sizes[node], graph.nodes[node], node_colors.get(node)) for node in graph
    ]
    if not len(graph):
        width, height = 120, 32
        body = [_text((52.0, 8.0), "empty graph", "#7b8794")]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{escape(title)}" '
        f'font-family="{_FONT}" font-size="{_FONT_SIZE:g}">'
    )
    group = f'<g transform="translate({_MARGIN:g},{_MARGIN:g})">'
    return SVG("\n".join([head, f"<title>{escape(title)}</title>", group, *body, "</g>", "</svg>"]))


def text_width(text: str, size: float = _FONT_SIZE) -> float:
    """A generous estimate, in pixels, of the width of a line of sans-serif text."""
    return size * sum(_advance(character) for character in text)


# advance widths of Helvetica in thousandths of the font size, for printable ASCII from the space on
_ADVANCE = (
    "278 278 355 556 556 889 667 191 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556 556 278 278 "
    "584 584 584 556 1015 667 667 722 722 667 611 778 722 278 500 667 556 833 722 778 667 778 722 667 611 722 667 944 "
    "667 667 611 278 278 278 469 556 333 556 556 500 556 556 278 556 556 222 222 500 222 833 556 556 556 556 333 500 "
    "278 556 500 722 500 500 500 334 260 334 584"
)
_WIDTHS = [int(width) / 1000 for width in _ADVANCE.split()]


def _advance(character: str) -> float:
    code = ord(character) - 32
    if 0 <= code < len(_WIDTHS):
        return _WIDTHS[code] * 1.12 + 0.01  # fallback fonts run wider than Helvetica
    if unicodedata.combining(character):
        return 0.0
    return 1.0 if unicodedata.east_asian_width(character) in "WF" else 0.64


def _node(name: Any, centre: Point, size: Point, attributes: Mapping[str, Any], color: str | None) -> str:
    kind = attributes.get("kind", "variable")
    intervened = attributes.get("intervened", False)
    fill, line, ink = _INTERVENED if intervened else _NODE.get(kind, _NODE["variable"])
    line = color or line
    dashes = ' stroke-dasharray="5 3"' if kind == "covariate" else ""
    (x, y), (width, height) = centre, size
    boxes = [_box(x, y, width, height, CORNER, f'fill="{fill}" stroke="{escape(line)}" stroke-width="1.3"{dashes}')]
    if intervened:
        inner = f'fill="none" stroke="{escape(line)}" stroke-width="1"'
        boxes.append(_box(x, y, width - 6, height - 6, CORNER - 2.5, inner))
    about = kind + (", intervened on" if intervened else "")
    label = _text(centre, str(name), ink)
    return f"<g><title>{escape(f'{name} ({about})')}</title>{''.join(boxes)}{label}</g>"


def _box(x: float, y: float, width: float, height: float, radius: float, style: str) -> str:
    left, top = x - width / 2, y - height / 2
    return f'<rect x="{left:.5g}" y="{top:.5g}" width="{width:.5g}" height="{height:.5g}" rx="{radius:g}" {style}/>'


def _text(centre: Point, text: str, ink: str) -> str:
    # the baseline is set by hand: several renderers ignore dominant-baseline
    return (
        f'<text x="{centre[0]:.6g}" y="{centre[1] + 0.35 * _FONT_SIZE:.6g}" text-anchor="middle" fill="{ink}">'
        f"{escape(text)}</text>"
    )


def _edge(route: Route, source: Any, target: Any, inert: bool, color: str | None) -> str:
    line = escape(color or (_INERT if inert else _EDGE))
    width = 2.0 if color else 1.3
    dashes = ' stroke-dasharray="4 4"' if inert else ""
    tip, shaft_end, arrow = _arrowhead(route, 1.25 * _ARROW if color else _ARROW)
    route = [*route[:-1], shaft_end]
    if len(route) > 2:  # keep the last piece smooth although its end has moved
        dx, dy = shaft_end[0] - tip[0], shaft_end[1] - tip[1]
        route[-2] = (route[-2][0] + dx, route[-2][1] + dy)
    start, rest = route[0], route[1:]
    path = f"M{_xy(start)}" + (
        f"L{_xy(rest[0])}"
        if len(rest) == 1
        else "".join(f"C{' '.join(_xy(point) for point in rest[i : i + 3])}" for i in range(0, len(rest), 3))
    )
    note = ", read without numerical effect" if inert else ""
    return (
        f"<g><title>{escape(f'{source} → {target}{note}')}</title>"
        f'<path d="{path}" fill="none" stroke="{line}" stroke-width="{width:g}"{dashes}/>'
        f'<path d="{arrow}" fill="{line}"/></g>'
    )


def _arrowhead(route: Route, length: float) -> tuple[Point, Point, str]:
    """The tip, where the shaft ends, and the head's outline, along the end of the route."""
    tip = route[-1]
    back = route[0] if len(route) == 2 else point_at(route, 1 - min(0.5, 0.08 * 3 / (len(route) - 1)) * 1.0)
    dx, dy = tip[0] - back[0], tip[1] - back[1]
    norm = math.hypot(dx, dy) or 1.0
    dx, dy = dx / norm, dy / norm
    tip = (tip[0] - 1.2 * dx, tip[1] - 1.2 * dy)  # clear of the outline
    heel = (tip[0] - length * dx, tip[1] - length * dy)
    side = 0.4 * length
    notch = (tip[0] - 0.78 * length * dx, tip[1] - 0.78 * length * dy)
    left = (heel[0] - side * dy, heel[1] + side * dx)
    right = (heel[0] + side * dy, heel[1] - side * dx)
    return route[-1], notch, f"M{_xy(tip)}L{_xy(left)}L{_xy(notch)}L{_xy(right)}Z"


def _xy(point: Point) -> str:
    return f"{round(point[0], 2):g},{round(point[1], 2):g}"
