"""How units of different arms are spread over a score, with the region where they do not overlap.

>>> figure = overlap({"treated": [0.4, 0.6, 0.99], "control": [0.2, 0.3, 0.5]}, limits=(0.05, 0.95))
>>> [axes.get_ylabel() for axes in figure.axes]
['treated', 'control']
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pcm.errors import ArgumentError

if TYPE_CHECKING:
    from pcm.figures.chart import Chart

__all__ = ["overlap"]

_WIDTH = 6.4  # inches
_ROW = 1.15
_BINS = 40


def overlap(
    scores: Mapping[str, Any],
    *,
    limits: tuple[float | None, float | None] = (None, None),
    xlabel: str = "",
    title: str = "",
) -> Chart:
    """Histograms of a score on one axis, a row an arm.

    Parameters
    ----------
    scores
        Numbers ``[unit]`` by name of the arm.
    limits
        Below the first and above the second there is no overlap: marked by dashed lines and a tint.

    Raises
    ------
    ArgumentError
        There are no finite scores.
    """
    from pcm.figures.chart import GRID, PALETTE, QUIET, Chart, label_axes, styled

    arms = {str(name): np.asarray(values, float).ravel() for name, values in scores.items()}
    every = np.concatenate([np.zeros(0), *arms.values()])
    every = every[np.isfinite(every)]
    if not every.size:
        raise ArgumentError("there are no finite scores to draw.")
    low, high = every.min(), every.max()
    if limits == (None, None) or low == high:
        low, high = low - 0.5 * (low == high), high + 0.5 * (low == high)
    edges = np.linspace(low, high, _BINS + 1)
    with styled():
        figure = Chart(figsize=(_WIDTH, 0.85 + _ROW * len(arms) + (0.25 if title else 0.0)))
        rows = figure.subplots(len(arms), 1, sharex=True, squeeze=False)[:, 0]
        for place, (axes, (name, values)) in enumerate(zip(rows, arms.items(), strict=True)):
            axes.hist(
                values[np.isfinite(values)], bins=edges, color=PALETTE[place % len(PALETTE)], alpha=0.85, zorder=2
            )
            axes.set_ylabel(name)
            axes.set_yticks([])
            axes.set_axisbelow(True)
            axes.grid(axis="x", color=GRID, linewidth=0.8)
            left, right = axes.get_xlim()
            for limit, end in zip(limits, (left, right), strict=True):
                if limit is not None:
                    axes.axvline(limit, color=QUIET, linewidth=1.0, linestyle=(0, (4, 3)), zorder=3)
                    if left < limit < right:
                        axes.axvspan(min(limit, end), max(limit, end), color=QUIET, alpha=0.08, linewidth=0, zorder=1)
            axes.set_xlim(left, right)
        label_axes(rows[-1], xlabel, "")
        if title:
            rows[0].set_title(title)
    return figure
