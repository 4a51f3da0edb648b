"""The budget–utility curve of a targeted obfuscation, drawn.

>>> from pcm.private.picture import curve_picture
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcm.private.curve import DROP, MEASURES, NONE, TARGETED, UNIFORM

if TYPE_CHECKING:
    from pcm.figures.chart import Chart
    from pcm.private.obfuscation import Obfuscation

__all__ = ["curve_picture"]


def curve_picture(found: Obfuscation) -> Chart:
    """Utility against ε: targeted and uniform noise as curves, the two extremes as level lines, each with its name."""
    from pcm.figures.chart import ACCENT, GRID, PALETTE, QUIET, Chart, label_axes, styled

    table = found.to_dataframe().pivot(index="epsilon", columns="strategy", values=found.measure)
    styles = {
        TARGETED: {"color": ACCENT, "marker": "o", "linewidth": 1.8, "markersize": 5.0},
        UNIFORM: {"color": PALETTE[1], "marker": "s", "linewidth": 1.8, "markersize": 4.5},
        DROP: {"color": QUIET, "linestyle": (0, (4, 3)), "linewidth": 1.2},
        NONE: {"color": QUIET, "linestyle": (0, (1, 2)), "linewidth": 1.4},
    }
    names = {TARGETED: "targeted noise", UNIFORM: "noise on everything", DROP: "dropped", NONE: "no privacy"}
    with styled():
        figure = Chart(figsize=(6.4, 3.4))
        axes = figure.add_subplot()
        for strategy, style in styles.items():
            axes.plot(table.index, table[strategy], label=names[strategy], **style)
        axes.set_xscale("log", base=2)
        axes.set_xticks(list(table.index), [f"{epsilon:g}" for epsilon in table.index])
        axes.minorticks_off()
        axes.set_axisbelow(True)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        if table.to_numpy().min() >= 0:
            axes.set_ylim(bottom=0)
        axes.set_ylabel(MEASURES[found.measure].words.format(found.utility))
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=4, handlelength=2.4)
        label_axes(axes, f"ε of the claim about {', '.join(found.private)}", "")
    return figure
