"""The picture of a criticism: for each mechanism the law of its noise, and the noise against its most suspect input.

A right mechanism's noise is flat on the left, within the grey band 95 times in 100, and its means on the right lie on
the line at zero. Outcomes without order show observed shares against predicted probabilities on the left.

>>> from pcm.query.criticism.picture import picture
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats
from scipy.special import ndtri

from pcm.query.criticism.mechanisms import OWN

if TYPE_CHECKING:
    from pcm.figures.chart import Chart
    from pcm.query.criticism.residuals import Noise
    from pcm.query.criticism.result import Criticism

__all__ = ["picture"]

_MOST = 8
_BINS = 20
_GROUPS = 12


def picture(result: Criticism, names: Sequence[str] | None) -> Chart:
    """See :meth:`Criticism.plot`."""
    from pcm.figures.chart import QUIET, Chart, styled

    worst = {name: min((c.p for c in result.checks if c.variable == name), default=1.0) for name in result.variables}
    chosen = list(names) if names is not None else sorted(result.variables, key=lambda name: worst[name])[:_MOST]
    with styled():
        figure = Chart(figsize=(6.6, 1.9 * len(chosen) + 0.2))
        grid = figure.subplots(len(chosen), 2, squeeze=False)
        for (left, right), name in zip(grid, chosen, strict=True):
            noise = result.noise[name]
            (_histogram if noise.uniform is not None else _calibration)(left, noise)
            left.set_title(name)
            _against(right, result, noise)
        hidden = len(result.variables) - len(chosen)
        if names is None and hidden:
            figure.supxlabel(f"… and {hidden} more", fontsize=8.5, color=QUIET)
    return figure


def _histogram(axes: Any, noise: Noise) -> None:
    from pcm.figures.chart import ACCENT, GRID, QUIET, label_axes

    assert noise.uniform is not None
    uniform = noise.uniform.mean(0).ravel()
    low, high = (stats.binom.ppf(end, len(uniform), 1 / _BINS) * _BINS / len(uniform) for end in (0.025, 0.975))
    axes.axhspan(low, high, color=GRID, zorder=0)
    axes.hist(uniform, bins=_BINS, range=(0, 1), density=True, color=ACCENT, alpha=0.75, zorder=2)
    axes.axhline(1.0, color=QUIET, linewidth=1.0, linestyle=(0, (4, 3)), zorder=3)
    axes.set_yticks([])
    label_axes(axes, f"noise if {noise.family}, as a quantile", "")


def _calibration(axes: Any, noise: Noise) -> None:
    from pcm.figures.chart import PALETTE, QUIET, label_axes

    assert noise.residual is not None
    residual = noise.residual.mean(0)
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
    for place in range(residual.shape[1]):
        chance = noise.prediction[:, place]
        color = PALETTE[place % len(PALETTE)]
        for x, mean, error in _grouped(chance, residual[:, place]):
            axes.errorbar(x, x + mean, 2 * error, fmt="o", color=color, markersize=4, linewidth=1.2)
    label_axes(axes, "predicted probability, and observed share", "")


def _against(axes: Any, result: Criticism, noise: Noise) -> None:
    from pcm.figures.chart import ACCENT, FACTUAL, QUIET, label_axes

    suspects = [c for c in result.checks if c.variable == noise.name and c.kind in ("level", "spread")]
    if not suspects:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "reads nothing", ha="center", va="center", color=QUIET, transform=axes.transAxes)
        return
    worst = min(suspects, key=lambda check: check.p)
    x = noise.prediction[:, 0] if worst.about == OWN else result.inputs.columns[worst.about][:, 0]
    if noise.uniform is not None:
        y, ylabel = ndtri(noise.uniform.mean(0)[:, 0]), "noise"
        axes.plot(x, y, ".", color=FACTUAL, markersize=2, alpha=0.35, zorder=1, rasterized=len(x) > 500)
    else:
        assert noise.residual is not None
        y, ylabel = noise.residual.mean(0)[:, 0], "outcome − chance"
    axes.axhline(0.0, color=QUIET, linewidth=1.0, linestyle=(0, (4, 3)), zorder=2)
    for middle, mean, error in _grouped(x, y):
        axes.errorbar(middle, mean, 2 * error, fmt="o", color=ACCENT, markersize=4.5, linewidth=1.4, zorder=3)
    axes.set_ylabel(ylabel)
    label_axes(axes, f"{worst.about} ({worst.kind}: p = {worst.p:.2g})", "")


def _grouped(x: np.ndarray, y: np.ndarray) -> list[tuple[float, float, float]]:
    """Middle, mean and standard error in groups of units with similar ``x``."""
    values = np.unique(x)
    edges = values if len(values) <= _GROUPS else np.unique(np.quantile(x, np.linspace(0, 1, _GROUPS + 1)[:-1]))
    place = np.searchsorted(edges, x, side="right")
    found = []
    for group in np.unique(place):
        inside = place == group
        count = int(inside.sum())
        if count > 1:
            found.append((float(x[inside].mean()), float(y[inside].mean()), float(y[inside].std() / count**0.5)))
    return found
