"""Matplotlib figures in the house style, apart from pyplot and from the user's own settings.

>>> from pcm.figures.chart import Chart, styled
>>> with styled():
...     chart = Chart(figsize=(4, 2))
>>> chart._repr_svg_().startswith("<svg")
True
"""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pcm.figures.embed import figure_svg, inline_svg

__all__ = ["ACCENT", "FACTUAL", "GRID", "INK", "PALETTE", "QUIET", "Chart", "label_axes", "rows_axes", "styled"]

# Okabe & Ito (2008): told apart by colour-blind readers; yellow left out, too light for lines on white
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
ACCENT, FACTUAL, INK, QUIET, GRID = PALETTE[0], "#6B7580", "#1f2933", "#5b6770", "#e3e7eb"

_STYLE: Any = {  # the stubs know the keys only as literals
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica Neue", "Helvetica", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 9.0,
    "text.color": INK,
    "text.usetex": False,
    "axes.edgecolor": QUIET,
    "axes.facecolor": "white",
    "axes.grid": False,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.0,
    "axes.linewidth": 0.8,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.unicode_minus": True,
    "figure.constrained_layout.w_pad": 0.09,
    "figure.dpi": 110.0,
    "figure.facecolor": "white",
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
    "savefig.dpi": 200.0,
    "savefig.facecolor": "auto",
    "xtick.color": QUIET,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.color": QUIET,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 9.0,
}


def styled() -> AbstractContextManager[None]:
    """The house style, within a ``with``; the global settings come back after it."""
    return matplotlib.rc_context(_STYLE)


class Chart(Figure):
    """A figure that a notebook shows without pyplot and that keeps the house style when drawn later."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("layout", "constrained")
        super().__init__(*args, **kwargs)

    def draw(self, renderer: Any) -> None:
        """Draw in the house style: matplotlib makes tick labels only now."""
        with styled():
            super().draw(renderer)

    def _repr_svg_(self) -> str:
        source = figure_svg(self)
        return inline_svg(source, prefix="c" + hashlib.sha256(source.encode()).hexdigest()[:10])


def rows_axes(axes: Axes, labels: list[str]) -> None:
    """Make ``axes`` a stack of labelled rows, the first on top, on light rules."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0, pad=8)
    axes.set_axisbelow(True)
    axes.grid(axis="x", color=GRID, linewidth=0.8)


def label_axes(axes: Axes, xlabel: str, title: str) -> None:
    """Name what is measured and, if it has one, the picture."""
    axes.set_xlabel(xlabel)
    if title:
        axes.set_title(title)
