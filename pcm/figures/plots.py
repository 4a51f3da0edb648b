"""Pictures of estimates and of units, a row each; with those of :mod:`pcm.figures.distributions`, all there are.

The figures are made without pyplot, and matplotlib is imported when the first is drawn.

>>> figure = interval_rows(["ate", "att"], [0.2, 0.3], [0.1, 0.2], [0.3, 0.4], reference=0.0)
>>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
['ate', 'att']
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pcm.errors import ArgumentError
from pcm.figures.distributions import density as density
from pcm.figures.distributions import marginals as marginals
from pcm.figures.distributions import worlds as worlds
from pcm.figures.numerals import column_texts

if TYPE_CHECKING:
    from pcm.figures.chart import Chart

__all__ = ["density", "interval_rows", "marginals", "unit_contrast", "worlds"]

_WIDTH = 6.4  # inches
_ROW = 0.3
_MOST_LABELS = 60


def interval_rows(
    labels: Iterable[object],
    means: Any,
    lows: Any,
    highs: Any,
    *,
    reference: float | None = None,
    xlabel: str = "",
    title: str = "",
    log: bool = False,
) -> Chart:
    """A forest plot: a row per estimate, its interval, and both in figures.

    Parameters
    ----------
    labels
        Names ``[row]``.
    means, lows, highs
        Numbers ``[row]``; NaN where there is none.
    reference
        Marked by a dashed line, such as no effect.
    log
        Whether the axis is logarithmic: for positive numbers that differ by orders of magnitude.

    Raises
    ------
    ArgumentError
        The lengths differ.
    """
    from pcm.figures.chart import ACCENT, QUIET, Chart, label_axes, rows_axes, styled

    labels = [str(label) for label in labels]
    means, lows, highs = _columns(labels, means=means, lows=lows, highs=highs)
    with styled():
        figure = Chart(figsize=(_WIDTH, 0.75 + _ROW * max(len(labels), 1) + (0.25 if title else 0.0)))
        axes = figure.add_subplot()
        rows_axes(axes, labels)
        if log:
            axes.set_xscale("log")
        if reference is not None:
            axes.axvline(reference, color=QUIET, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
        rows = np.arange(len(labels))
        axes.hlines(rows, lows, highs, color=ACCENT, linewidth=1.8, zorder=2)
        axes.plot(means, rows, "o", color=ACCENT, markersize=5.5, markeredgecolor="white", zorder=3)
        texts = column_texts(pd.Series(np.concatenate([means, lows, highs])))
        for row in rows:
            mean, low, high = texts[row], texts[row + len(rows)], texts[row + 2 * len(rows)]
            exact = lows[row] == means[row] == highs[row]  # nothing is uncertain: no interval to speak of
            axes.annotate(
                mean if exact else f"{mean}  [{low}, {high}]",
                (1.02, row),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=8.5,
                annotation_clip=False,
            )
        label_axes(axes, xlabel, title)
    return figure


def unit_contrast(
    labels: Iterable[object],
    factual: Any,
    counterfactual_mean: Any,
    low: Any,
    high: Any,
    xlabel: str = "",
    *,
    world: str = "counterfactual",
    title: str = "",
) -> Chart:
    """What was and what would have been, a row a unit.

    A grey dot is the factual value; an arrow leads from it to the counterfactual mean, drawn with its interval.

    Parameters
    ----------
    labels
        Names of the units ``[unit]``; beyond 60 units the rows lose their labels and the
        arrows their heads.
    factual, counterfactual_mean, low, high
        Numbers ``[unit]``; NaN where there is none.
    world
        The legend's name of the other world.

    Raises
    ------
    ArgumentError
        The lengths differ.
    """
    from matplotlib.patches import FancyArrowPatch

    from pcm.figures.chart import FACTUAL, PALETTE, Chart, label_axes, rows_axes, styled

    labels = [str(label) for label in labels]
    factual, mean, low, high = _columns(
        labels, factual=factual, counterfactual_mean=counterfactual_mean, low=low, high=high
    )
    crowded = len(labels) > _MOST_LABELS
    height = min(0.09 * len(labels), 9.0) if crowded else _ROW * max(len(labels), 1)
    with styled():
        figure = Chart(figsize=(_WIDTH, 1.05 + height + (0.25 if title else 0.0)))
        axes = figure.add_subplot()
        rows_axes(axes, labels)
        if crowded:
            axes.set_yticks([])
            axes.set_ylabel(f"{len(labels):,} units")
        rows, color = np.arange(len(labels)), PALETTE[1]
        axes.hlines(rows, low, high, color=color, linewidth=2.0 if crowded else 4.0, alpha=0.28, zorder=1)
        size = 3.0 if crowded else 5.5
        axes.plot(factual, rows, "o", color=FACTUAL, markersize=size, zorder=4, label="factual")
        axes.plot(mean, rows, "o", color=color, markersize=size, zorder=3, label=world)
        for row in range(len(labels)):
            if math.isfinite(factual[row]) and math.isfinite(mean[row]) and factual[row] != mean[row]:
                arrow = FancyArrowPatch(
                    (factual[row], row),
                    (mean[row], row),
                    arrowstyle="-" if crowded else "-|>,head_length=3.2,head_width=1.6",
                    shrinkA=size / 2,
                    shrinkB=size / 2,
                    color=FACTUAL,
                    linewidth=0.6 if crowded else 0.9,
                    zorder=2,
                )
                axes.add_patch(arrow)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=2, handletextpad=0.3)
        label_axes(axes, xlabel, title)
    return figure


def _columns(labels: list[str], **columns: Any) -> list[np.ndarray]:
    arrays = []
    for name, values in columns.items():
        array = np.asarray(values, float)
        if array.shape != (len(labels),):
            raise ArgumentError(
                f"{name} has the shape {array.shape}; there are {len(labels)} labels, so it must be ({len(labels)},).",
                argument=name,
            )
        arrays.append(array)
    return arrays
