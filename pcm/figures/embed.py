"""SVG made fit to stand inside an HTML page: no prolog, no metadata, no clashing ids, no leaking style.

>>> inline_svg('<?xml version="1.0"?><svg><g id="a"/><use href="#a"/></svg>', prefix="f1")
'<svg id="f1"><g id="f1-a"/><use href="#f1-a"/></svg>'
"""

from __future__ import annotations

import io
import re
from typing import Any

__all__ = ["figure_svg", "inline_svg"]

_PROLOG = re.compile(r"^.*?(?=<svg[\s>])", re.DOTALL)
_METADATA = re.compile(r"<metadata\b.*?</metadata>\s*", re.DOTALL)
_OPENING = re.compile(r"<svg\b([^>]*)>")
_TAG = re.compile(r"<[A-Za-z][^>]*>")
_ID = re.compile(r'(\sid=")([^"]+)"')
_REFERENCE = re.compile(r'((?:xlink:)?href="#|url\(#)([^")]+)')
_STYLE = re.compile(r"(<style\b[^>]*>)(.*?)(</style>)", re.DOTALL)
_RULE = re.compile(r"([^{}]+)(\{[^{}]*\})")


def figure_svg(figure: Any) -> str:
    """A matplotlib figure as SVG: text stays text, and equal figures give equal strings."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pcm"}):
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def inline_svg(source: str, *, prefix: str, label: str = "") -> str:
    """One ``<svg>`` element for a page that holds others.

    Parameters
    ----------
    source
        A whole SVG document or element.
    prefix
        Put before every id of the drawing and every reference to one; unique on the page.
    label
        What the picture shows, for those who cannot see it (escaped already).
    """
    source = _METADATA.sub("", _PROLOG.sub("", source, count=1)).strip()

    def renamed(tag: re.Match[str]) -> str:
        return _REFERENCE.sub(rf"\g<1>{prefix}-\g<2>", _ID.sub(rf'\g<1>{prefix}-\g<2>"', tag[0]))

    source = _TAG.sub(renamed, source)  # tags only: a label may well read id="x"
    source = _STYLE.sub(lambda match: match[1] + _scoped(match[2], prefix) + match[3], source)

    def opening(match: re.Match[str]) -> str:
        attributes = re.sub(r'\sid="[^"]*"', "", match[1])
        if label:
            attributes = re.sub(r'\s(?:aria-label|role)="[^"]*"', "", attributes)
            attributes += f' role="img" aria-label="{label}"'
        return f'<svg id="{prefix}"{attributes}>'

    return _OPENING.sub(opening, source, count=1)


def _scoped(style: str, prefix: str) -> str:
    """Rules that reach no further than the drawing with the id ``prefix``."""

    def scoped(match: re.Match[str]) -> str:
        selectors = ", ".join(f"#{prefix} {selector.strip()}" for selector in match[1].split(","))
        return f"{selectors} {match[2]}"

    return _RULE.sub(scoped, style)
