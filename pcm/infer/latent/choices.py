"""What the columns of a configuration stand for: the values that a unit lacks of each missing discrete site.

A site of several values a unit (a plate inside the unit, independent values of an event) has a column for each value
that a unit lacks, the first column for the first one and so on: units that lack different values share their columns,
of which there are no more than the unit that lacks most of them needs.

>>> open_ = torch.tensor([[True, False, True], [False, True, False]])
>>> choices = Choices.of(open_, 2)
>>> choices.width, choices.number.tolist(), choices.cell.tolist()
(2, [2, 1], [[0, 2], [1, 0]])
>>> choices.coded(torch.tensor([0, 1])).tolist()                   # of cells that are seen it does not matter
[[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pcm.errors import QueryError
from pcm.infer.latent.between import by_row

if TYPE_CHECKING:
    from pcm.infer.latent.space import Space

__all__ = ["Choices", "choices_of", "values_at"]


@dataclass(frozen=True)
class Choices:
    """What the columns of a configuration stand for that belong to one site.

    Attributes
    ----------
    values : int
        How many values each open cell is enumerated over.
    rank : Tensor ``(unit, cell)``
        Which of the unit's open cells a cell is; any of the columns where it is not open.
    cell : Tensor ``(unit, column)``
        The cell that a column stands for, where the unit has so many.
    number : Tensor ``(unit,)``
        How many cells are open.
    least : Tensor ``(unit, cell)`` or None
        The lowest value of each cell; None for zero.
    """

    values: int
    rank: Tensor
    cell: Tensor
    number: Tensor
    least: Tensor | None = None

    @classmethod
    def of(cls, open_: Tensor, values: int, least: Tensor | None = None) -> Choices:
        """The choices of a site's open cells, ``(unit, cell)``."""
        number = open_.sum(1)
        width = int(number.max())
        rank = (open_.cumsum(1) - 1).clamp(min=0)
        cell = (~open_).to(torch.int8).argsort(dim=1, stable=True)[:, :width]
        return cls(values, rank, cell, number, least)

    @property
    def width(self) -> int:
        """How many columns there are."""
        return self.cell.shape[1]

    def narrowed(self, place: Tensor) -> Choices:
        """Those of the units at ``place``, with the same columns."""
        least = None if self.least is None else self.least[place]
        return Choices(self.values, self.rank[place], self.cell[place], self.number[place], least)

    def coded(self, codes: Tensor) -> Tensor:
        """Values ``(unit, cell)`` at codes ``(column,)`` or ``(unit, column)``."""
        code = codes.expand(len(self.rank), self.width)
        code = code if self.rank.shape[1] == 1 else code.gather(1, self.rank)
        return code.to(torch.float64) if self.least is None else code + self.least


def choices_of(space: Space, name: str) -> Choices:
    """What a discrete site is enumerated over; an infinite one over its window, or its intervals.

    Raises
    ------
    QueryError
        Of infinitely many values, with no window and no interval.
    """
    site = space.sites[name]
    open_ = space.cells.open(space.inferred[name], name).expand(site.shape(space.units))
    open_ = by_row(open_.any(-1) if site.one_hot else open_, site)
    if space.enumerable(name):
        return Choices.of(open_, site.cardinality or 1)
    if name in space.windows and site.scalar:
        low, size = space.windows[name]
        return Choices.of(open_, size, low.expand(space.units)[:, None])
    if name in space.between:
        low, high = (by_row(end, site) for end in space.between.bounds[name])
        least = torch.clamp(low, min=float(getattr(site.support, "lower_bound", -torch.inf)))
        widths = (high - least)[open_]
        if bool(torch.isfinite(widths).all()):
            return Choices.of(open_, int(widths.max()) + 1, torch.where(open_, least, 0.0))
    raise QueryError(
        f"'{name}' is missing for some units that have values below it, and {site.family} with "
        f"{'several values a unit' if site.inner or site.event else 'infinitely many values'} cannot be "
        "enumerated: give its column (or intervals with two ends), or model it as a finite variable.",
        site=name,
    )


def values_at(space: Space, name: str, codes: Tensor) -> Tensor:
    """A discrete site's values ``(*inner, unit, *event)`` in a configuration ``(column,)``, or in one a unit."""
    site = space.sites[name]
    code = space.choices[name].coded(codes[..., space.columns[name]])
    event = () if site.one_hot else site.event
    code = code.reshape(space.units, *site.inner, *event).movedim(0, len(site.inner))
    if site.one_hot:
        return torch.nn.functional.one_hot(code.long(), site.cardinality or -1).to(site.dtype)
    return code.to(site.dtype)
