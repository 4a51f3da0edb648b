"""Which missing sites nothing observed depends on: their law given the rest is their own mechanism.

>>> from pcm.infer.latent.barren import barren_units
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx
import torch
from torch import Tensor

if TYPE_CHECKING:
    from pcm.infer.latent.space import Space

__all__ = ["barren_units"]


def barren_units(space: Space) -> dict[str, Tensor]:
    """For each missing site, the units in which nothing below it (nor a cell that it depends on) was observed."""
    graph, cells = space.plan.graph, space.cells
    nothing = torch.zeros(space.units, dtype=torch.bool)
    open_below: dict[str, Tensor] = {}
    barren: dict[str, Tensor] = {}
    for name in reversed(list(nx.topological_sort(graph))):
        site = space.sites[name]
        if name in space.missing:
            free = space.missing[name].clone()
        elif site.kind == "deterministic" and name not in space.plan.sets:
            free = ~space.solved.get(name, nothing)
        else:
            free = nothing.clone()
        for child in graph.successors(name):
            free &= open_below[child]
        barren[name] = open_below[name] = free
        if name in cells.partly:
            dependent = cells.dependent(name)
            barren[name] = free if dependent is None else free & ~dependent
            open_below[name] = free & ~cells.partly[name]  # what is above it sees the other cells
        if name in space.between:  # what is above it sees the interval
            between = space.between.units[name]
            open_below[name] = open_below[name] & ~between
            if site.cardinality is not None or site.joint:
                barren[name] = barren[name] & ~between  # enumerated; not drawn cell by cell
    return {name: barren[name] for name in space.missing}
