"""Contours of one quantity over two, with the line that matters and points to compare with.

>>> import numpy as np
>>> x, y = np.linspace(0, 1, 5), np.linspace(0, 2, 6)
>>> figure = contour(x, y, 1 - 2 * np.outer(x, y), marked={"no effect": 0.0}, points={"age": (0.2, 0.3)})
>>> [text.get_text() for text in figure.axes[0].texts if text.get_text() == "age"]
['age']
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pcm.errors import ArgumentError
from pcm.figures.numerals import number

if TYPE_CHECKING:
    from pcm.figures.chart import Chart

__all__ = ["contour"]

_SMALL = 7.5  # points: the size of names beside their places


def contour(
    x: Any,
    y: Any,
    values: Any,
    *,
    marked: Mapping[str, float | tuple[Any, float]] | None = None,
    points: Mapping[str, tuple[float, float]] | None = None,
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
) -> Chart:
    """Lines of equal value, labelled.

    Parameters
    ----------
    x, y
        Numbers ``[x]`` and ``[y]``, ascending or descending.
    values
        ``[x, y]``; nothing is drawn where they are NaN.
    marked
        Emphasised lines by name: a level, or another quantity ``[x, y]`` and its level.
    points
        Places to compare with, by name.

    Raises
    ------
    ArgumentError
        The shapes do not agree, or nothing is finite.
    """
    from pcm.figures.chart import ACCENT, INK, PALETTE, QUIET, Chart, label_axes, styled

    x, y, values = (np.asarray(array, float) for array in (x, y, values))
    if values.shape != (len(x), len(y)):
        raise ArgumentError(f"values have the shape {values.shape}; x and y ask for {(len(x), len(y))}.")
    if not np.isfinite(values).any():
        raise ArgumentError("there are no finite values to draw.")
    with styled():
        figure = Chart(figsize=(6.4, 4.2))
        axes = figure.add_subplot()
        if np.nanmax(values) > np.nanmin(values):
            lines = axes.contour(x, y, values.T, levels=9, colors=QUIET, linewidths=0.8, linestyles="solid")
            axes.clabel(lines, fmt=lambda level: number(float(level)), fontsize=_SMALL)
        handles = []
        for place, (name, what) in enumerate((marked or {}).items()):
            field, level = what if isinstance(what, tuple) else (values, what)
            field = np.asarray(field, float)
            color, style = PALETTE[(place + 1) % len(PALETTE)], "solid" if place == 0 else (0, (5, 3))
            handles += axes.plot([], [], color=color, linestyle=style, linewidth=1.8, label=name)
            if np.nanmin(field) < level < np.nanmax(field):
                axes.contour(x, y, field.T, levels=[level], colors=[color], linewidths=1.8, linestyles=[style])
        places = list((points or {}).values())
        for across, up in places:
            axes.plot([across], [up], "o", color=ACCENT, markersize=4.5, markeredgecolor="white", zorder=4)
        for name, place, (right, up) in zip(points or {}, places, _apart(axes, points or {}), strict=True):
            side = "left" if right > 0 else "right"
            axes.annotate(
                name, place, (right, up), textcoords="offset points", ha=side, fontsize=_SMALL, color=INK, zorder=5
            )
        axes.spines["left"].set_visible(True)
        if handles:
            figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
        axes.set_ylabel(ylabel)
        label_axes(axes, xlabel, title)
    return figure


def _apart(axes: Any, points: Mapping[str, tuple[float, float]]) -> list[tuple[float, float]]:
    """Where each name stands beside its place, in points: the nearest of a few spots within the axes that no other
    name covers."""
    spots = [(side * 5.0, step * 1.3 * _SMALL + 3.0) for step in (0, -1, 1, -2, 2, -3, 3, -4, 4) for side in (1, -1)]
    taken: list[tuple[float, float, float, float]] = []
    chosen: list[tuple[float, float]] = []
    (left, low), (end, high) = axes.get_window_extent().get_points() * 72.0 / axes.figure.dpi
    for name, place in points.items():
        x, y = axes.transData.transform(place) * 72.0 / axes.figure.dpi
        width = 0.6 * _SMALL * len(name)
        starts = [x + right - (0.0 if right > 0 else width) for right, _ in spots]
        boxes = [(start, y + up, start + width, y + up + _SMALL) for start, (_, up) in zip(starts, spots, strict=True)]
        free = [
            all(a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1] for b in taken)
            and left <= a[0]
            and a[2] <= end
            and low <= a[1]
            and a[3] <= high
            for a in boxes
        ]
        best = free.index(True) if True in free else 0
        taken.append(boxes[best])
        chosen.append(spots[best])
    return chosen
