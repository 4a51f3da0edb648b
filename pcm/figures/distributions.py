"""Pictures of distributions: of one quantity, of many parameters, of a variable in each world.

>>> figure = marginals({"slope": [0.1, 0.2, 0.4], "scale": [1.0, 1.5, 1.2]})
>>> [axes.get_title(loc="left") for axes in figure.axes]
['slope', 'scale']
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pcm.arguments import check_probability
from pcm.errors import ArgumentError
from pcm.figures.kernel import kernel_density
from pcm.figures.numerals import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from pcm.figures.chart import Chart

__all__ = ["density", "marginals", "worlds"]

_WIDTH = 6.4  # inches
_ROW = 0.3
_MOST_BARS = 15


def density(
    draws: Any,
    *,
    reference: float | Mapping[str, float] | None = None,
    xlabel: str = "",
    title: str = "",
    prob: float = 0.9,
) -> Chart:
    """The distribution of draws: a density, with its central interval and mean below it.

    Parameters
    ----------
    draws
        Numbers ``[draw]`` (flattened if they have more dims), or several by name.
    reference
        A value to mark, or several by name.
    prob
        Mass of the interval, in (0, 1).

    Raises
    ------
    ArgumentError
        There are no finite draws, or ``prob`` is no probability.
    """
    from pcm.figures.chart import PALETTE, Chart, label_axes, styled

    series = dict(draws) if isinstance(draws, Mapping) else {"": draws}
    check_probability(prob)
    with styled():
        figure = Chart(figsize=(_WIDTH, 2.7))
        axes = figure.add_subplot()
        for (name, values), color in zip(series.items(), _cycle(PALETTE, len(series)), strict=True):
            _draw_density(axes, _finite(values, name), color, label=name)
        if len(series) == 1:
            (values,) = series.values()
            _draw_interval(axes, _finite(values, xlabel), PALETTE[0], prob, described=True)
        else:
            axes.legend(loc="upper right")
        every = np.concatenate([_finite(values, name) for name, values in series.items()])
        if np.ptp(every) == 0:  # one value: a spike, whatever the width that a kernel gave it
            half = max(abs(float(every[0])), 1.0)
            axes.set_xlim(every[0] - half, every[0] + half)
        if reference is not None:
            _draw_references(axes, reference if isinstance(reference, Mapping) else {"": reference})
        label_axes(axes, xlabel, title)
    return figure


def marginals(
    draws: Mapping[str, Any],
    *,
    references: Mapping[str, float] | None = None,
    columns: int = 4,
    prob: float = 0.9,
    max_panels: int = 40,
) -> Chart:
    """A grid of small densities, one a scalar parameter.

    Parameters
    ----------
    draws
        Arrays ``[draw]`` or ``[draw, …]`` by name; an element of a vector gets its own panel, ``weights[2]``.
    references
        Known values by panel name, marked by a dashed line.
    columns
        Panels a row.
    prob
        Mass of the interval drawn under each, in (0, 1).
    max_panels
        Panels drawn; a line below says how many are left out.

    Raises
    ------
    ArgumentError
        Nothing to draw, no finite draws, or ``prob`` is no probability.
    """
    from pcm.figures.chart import PALETTE, QUIET, Chart, styled

    check_probability(prob)
    panels: list[tuple[str, np.ndarray]] = []
    for name, array in draws.items():
        array = np.asarray(array, float)
        for index in np.ndindex(array.shape[1:]):
            suffix = f"[{', '.join(map(str, index))}]" if index else ""
            panels.append((f"{name}{suffix}", array[(slice(None), *index)]))
    if not panels:
        raise ArgumentError("there are no parameters to draw; give at least one array of draws by name.")
    shown = panels[:max_panels]
    columns = max(1, min(columns, len(shown)))
    rows = math.ceil(len(shown) / columns)
    with styled():
        figure = Chart(figsize=(max(2.6, 1.9 * columns), 1.55 * rows + 0.1))
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, (name, values) in zip(grid, shown, strict=False):
            values = _finite(values, name)
            _draw_density(axes, values, PALETTE[0])
            _draw_interval(axes, values, PALETTE[0], prob)
            if name in (references or {}):
                _draw_references(axes, {"": (references or {})[name]})
            axes.set_title(name, fontsize=9.0)
            axes.locator_params(axis="x", nbins=4)
        for axes in grid[len(shown) :]:
            axes.set_axis_off()
        if len(panels) > len(shown):
            figure.supxlabel(f"… and {len(panels) - len(shown)} more", fontsize=8.5, color=QUIET)
    return figure


def worlds(
    values: Mapping[str, Any],
    *,
    xlabel: str = "",
    title: str = "",
    categories: Sequence[object] | None = None,
    prob: float = 0.9,
) -> Chart:
    """The distribution of one variable in each world.

    A number gets a density a world with its interval and mean; a discrete variable gets bars of its frequencies.

    Parameters
    ----------
    values
        By world, an array ``[draw, unit]`` or ``[unit]`` of numbers, or of labels.
    categories
        Labels of the codes 0, 1, …; makes the variable discrete. Without them, booleans, labels and up to 15 different
        whole numbers are discrete.
    prob
        Mass of the interval, in (0, 1).

    Raises
    ------
    ArgumentError
        There are no worlds, a world has no finite values, a code has no label, or ``prob`` is no probability.
    """
    if not values:
        raise ArgumentError("there are no worlds to draw; give at least one array of values by world.")
    check_probability(prob)
    arrays = {str(world): np.asarray(array).ravel() for world, array in values.items()}
    levels = _levels(arrays, categories)
    if levels is None:
        return _ridges(arrays, xlabel, title, prob)
    return _bars(arrays, levels, categories, xlabel, title)


def _ridges(arrays: dict[str, np.ndarray], xlabel: str, title: str, prob: float) -> Chart:
    from pcm.figures.chart import FACTUAL, PALETTE, Chart, label_axes, rows_axes, styled

    finite = {world: _finite(array, world) for world, array in arrays.items()}
    curves = [kernel_density(array) for array in finite.values()]
    # one spike (a variable set by an intervention) must not flatten the others
    peaks = [float(heights.max()) for _, heights in curves]
    with styled():
        figure = Chart(figsize=(_WIDTH, 0.75 + 0.72 * len(arrays) + (0.25 if title else 0.0)))
        axes = figure.add_subplot()
        rows_axes(axes, list(arrays))
        axes.set_ylim(len(arrays) - 0.65, -0.95)
        colors = _world_colors(list(arrays), FACTUAL, PALETTE)
        for row, (array, (grid, heights), peak) in enumerate(zip(finite.values(), curves, peaks, strict=True)):
            color = colors[row]
            axes.fill_between(grid, row, row - 0.78 * heights / peak, color=color, alpha=0.3, linewidth=0)
            axes.plot(grid, row - 0.78 * heights / peak, color=color, linewidth=1.2)
            low, high = np.quantile(array, [(1 - prob) / 2, (1 + prob) / 2])
            axes.hlines([row], [low], [high], color=color, linewidth=2.0, zorder=3)
            axes.plot([array.mean()], [row], "o", color=color, markersize=5.5, markeredgecolor="white", zorder=4)
        label_axes(axes, xlabel, title)
    return figure


def _bars(
    arrays: dict[str, np.ndarray],
    levels: list[Any],
    categories: Sequence[object] | None,
    xlabel: str,
    title: str,
) -> Chart:
    from matplotlib.ticker import PercentFormatter

    from pcm.figures.chart import FACTUAL, PALETTE, Chart, label_axes, rows_axes, styled

    names = [str(_plain(level) if categories is None else categories[int(level)]) for level in levels]
    thick = 0.8 / len(arrays)
    with styled():
        height = max(_ROW, 0.19 * len(arrays) + 0.1) * len(levels)
        figure = Chart(figsize=(_WIDTH, 1.05 + height + (0.25 if title else 0.0)))
        axes = figure.add_subplot()
        rows_axes(axes, names)
        colors = _world_colors(list(arrays), FACTUAL, PALETTE)
        for i, (world, array) in enumerate(arrays.items()):
            shares = np.array([np.mean(array == level) for level in levels])
            place = np.arange(len(levels)) - 0.4 + thick * (i + 0.5)
            bars = axes.barh(place, shares, height=0.88 * thick, color=colors[i], label=world)
            axes.bar_label(bars, labels=[f"{share:.0%}" for share in shares], padding=3, fontsize=8.0)
        axes.set_xlim(0, None)
        axes.margins(x=0.08)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_ylabel(xlabel)
        if len(arrays) > 1:
            handles, worlds_ = axes.get_legend_handles_labels()
            figure.legend(handles, worlds_, loc="outside upper right", ncols=min(len(arrays), 4), handlelength=1.0)
        label_axes(axes, "share", title)
    return figure


def _levels(arrays: dict[str, np.ndarray], categories: Sequence[object] | None) -> list[Any] | None:
    """The values of a discrete variable in order, or ``None`` for a number."""
    every = np.concatenate([array.astype(object) if array.dtype.kind in "OUS" else array for array in arrays.values()])
    if categories is not None:
        bad = [value for value in np.unique(every) if value not in range(len(categories))]
        if bad:
            raise ArgumentError(
                f"the value {bad[0]} has no label: there are labels for the codes 0 to {len(categories) - 1}.",
                value=bad[0],
            )
        return list(range(len(categories)))
    if every.dtype.kind in "OUS":
        return sorted(set(every.tolist()), key=str)
    found = np.unique(every)
    if len(found) > _MOST_BARS or not np.all(np.isfinite(found)) or np.any(found % 1):
        return None
    # one whole number in a world of others is a number that an intervention has set
    return found.tolist() if every.dtype.kind in "bui" or len(found) > 1 else None


def _plain(level: Any) -> Any:
    return int(level) if isinstance(level, float) and level.is_integer() else level


def _world_colors(names: list[str], factual: str, palette: Sequence[str]) -> list[Any]:
    others = iter(_cycle(palette, sum(name != "factual" for name in names)))
    return [factual if name == "factual" else next(others) for name in names]


def _cycle(colors: Sequence[str], count: int) -> list[Any]:
    """So many different colours: those of the palette, or a scale of as many where it has too few."""
    if count <= len(colors):
        return list(colors[:count])
    from matplotlib import colormaps

    return list(colormaps["viridis"](np.linspace(0.0, 0.92, count)))


def _draw_density(axes: Axes, values: np.ndarray, color: str, label: str = "") -> None:
    grid, heights = kernel_density(values)
    axes.fill_between(grid, 0.0, heights, color=color, alpha=0.22, linewidth=0)
    axes.plot(grid, heights, color=color, linewidth=1.5, label=label or None)
    axes.set_yticks([])
    axes.set_ylim(0.0, max(1.06 * float(heights.max()), axes.get_ylim()[1] if label else 0.0))


def _draw_interval(axes: Axes, values: np.ndarray, color: str, prob: float, *, described: bool = False) -> None:
    low, high = np.quantile(values, [(1 - prob) / 2, (1 + prob) / 2])
    axes.hlines([0.0], [low], [high], color=color, linewidth=4.0, clip_on=False, zorder=4)
    axes.plot([values.mean()], [0.0], "o", color="white", markeredgecolor=color, markersize=6, clip_on=False, zorder=5)
    if described:
        text = f"mean {number(values.mean())}\n{prob:.0%} in [{number(low)}, {number(high)}]"
        axes.annotate(text, (1.0, 1.0), xycoords="axes fraction", ha="right", va="top", fontsize=8.5)


def _draw_references(axes: Axes, references: Mapping[str, float]) -> None:
    from pcm.figures.chart import INK

    for name, value in references.items():
        axes.axvline(float(value), color=INK, linewidth=1.0, linestyle=(0, (4, 3)), zorder=3)
        if name:
            axes.annotate(
                name,
                (float(value), 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(4, 0),
                textcoords="offset points",
                va="top",
                fontsize=8.5,
            )


def _finite(values: Any, name: str) -> np.ndarray:
    array = np.asarray(values, float).ravel()
    array = array[np.isfinite(array)]
    if not array.size:
        raise ArgumentError(f"{name or 'the array'} has no finite values to draw.", name=name)
    return array
