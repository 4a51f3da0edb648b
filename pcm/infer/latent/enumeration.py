"""The values over which missing discrete sites are summed: every unit's own joint codes, whatever other units lack.

A unit has as many *configurations* as the sites that are open in it have joint values, in the order of counting with
the last site first; those it has come first in its column, and the rest (of units with more) do not count.

>>> first, size = torch.tensor([[0, 0], [0, 1]]), torch.tensor([[2, 2], [1, 2]])  # (unit, column)
>>> found = joint_codes(first, size)
>>> found.codes[:, 0].tolist(), found.codes[:2, 1].tolist(), found.own.tolist()
([[0, 0], [0, 1], [1, 0], [1, 1]], [[0, 1], [0, 2]], [4, 2])
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pcm.errors import QueryError, listed
from pcm.infer.latent.between import by_row

if TYPE_CHECKING:
    from pcm.infer.latent.space import Space

__all__ = ["MAX_CONFIGURATIONS", "Configurations", "apart", "grouped", "joint_codes", "own_codes"]

#: Joint configurations of a unit's missing discrete sites up to which they are enumerated.
MAX_CONFIGURATIONS = 4096

#: Runs of one configuration of one unit that cost about as much as starting another run of the program.
WORTH = 2**14


@dataclass(frozen=True)
class Configurations:
    """Joint values of missing discrete sites.

    Attributes
    ----------
    codes : int Tensor ``(configuration, column)`` where all units have the same, else ``(configuration, unit, column)``
        Where a unit has fewer than others, its own come again.
    counted : bool Tensor ``(configuration, unit)``
        Which ones count: the first so many of each.
    """

    codes: Tensor
    counted: Tensor

    @property
    def own(self) -> Tensor:
        """How many each unit has, ``(unit,)``."""
        return self.counted.sum(0)

    def at(self, place: Tensor) -> Tensor:
        """Codes ``(…, unit, column)`` of those at ``place``, ``(…, unit)`` or ``(…, 1)``."""
        units = self.counted.shape[1]
        found = self.codes[place] if self.codes.dim() == 2 else self.codes[place, torch.arange(units)]
        return found.expand(*place.shape[:-1], units, -1)

    def narrowed(self, units: Tensor, count: int | None = None) -> Configurations:
        """The first ``count`` (default: all) of some units, their positions."""
        codes = self.codes[:count]
        return Configurations(codes if codes.dim() == 2 else codes[:, units], self.counted[:count, units])


def joint_codes(first: Tensor, size: Tensor) -> Configurations:
    """Joint codes of columns that have ``size`` values each from ``first``, both ``(unit, column)``."""
    own = size.prod(-1)
    counted = torch.arange(max(1, int(own.max()) if len(own) else 1))[:, None] < own
    if len(own) and bool(((first == first[0]) & (size == size[0])).all()):
        first, size = first[0], size[0]
    rest = torch.arange(len(counted)).reshape(-1, *([1] * (size.dim() - 1))).expand(-1, *size.shape[:-1])
    codes = []
    for start, values in zip(reversed(first.unbind(-1)), reversed(size.unbind(-1)), strict=True):
        values = values.clamp(min=1)  # of none, where an interval holds no value: nothing counts
        codes.append(start + rest % values)
        rest = rest // values
    found = torch.stack(codes[::-1], -1) if codes else torch.zeros(*rest.shape, 0, dtype=torch.int64)
    return Configurations(found, counted)


def grouped(own: Tensor) -> Tensor:
    """Which units go together, given how many configurations they have: those within the same power of two.

    >>> grouped(torch.tensor([1, 16, 17, 100])).tolist()
    [16, 16, 32, 128]
    """
    return 2 ** own.clamp(min=16).double().log2().ceil().long()


def apart(own: Tensor, place: Tensor, each: int) -> list[Tensor]:
    """Units at ``place`` in groups of about as many configurations, where each configuration of a unit is run ``each``
    times: the fewest groups in which no more than :data:`WORTH` runs are of configurations that a unit does not have.

    >>> [part.tolist() for part in apart(torch.tensor([2, 400, 2, 500]), torch.arange(4), 100)]
    [[1, 3], [0, 2]]
    """
    found: list[Tensor] = []
    if not len(place):
        return found
    sizes = grouped(own[place])
    most = 0
    for size in reversed(sizes.unique().tolist()):
        here = place[sizes == size]
        if found and each * int((most - own[here]).sum()) <= WORTH:
            found[-1] = torch.cat([found[-1], here]).sort().values
        else:
            found.append(here)
            most = int(own[here].max())
    return found


def own_codes(space: Space) -> Configurations:
    """The configurations of a space's units.

    Raises
    ------
    QueryError
        Some unit has more than :data:`MAX_CONFIGURATIONS`.
    """
    width = sum(choices.width for choices in space.choices.values())
    first = torch.zeros(space.units, width, dtype=torch.int64)
    size = torch.ones_like(first)
    for name, choices in space.choices.items():
        ends = [by_row(end, space.sites[name]) for end in space.between.bounds.get(name, ())]
        for column, place in enumerate(range(space.columns[name].start, space.columns[name].stop)):
            low, high = torch.zeros(space.units), torch.full((space.units,), choices.values - 1.0)
            if ends:
                cell = choices.cell[:, column, None]
                offset = 0 if choices.least is None else choices.least.gather(1, cell)[:, 0]
                least, most = (end.gather(1, cell)[:, 0] - offset for end in ends)
                low, high = torch.maximum(low, least.ceil()), torch.minimum(high, most.floor())
            open_ = choices.number > column
            first[:, place] = torch.where(open_, low, 0).long()
            size[:, place] = torch.where(open_, (high - low + 1).clamp(min=0), 1).long()
    most = size.double().prod(-1)
    if len(most) and float(most.max()) > MAX_CONFIGURATIONS:
        unit = int(most.argmax())
        told = []
        for name in space.choices:
            many = int((size[unit, space.columns[name]] > 1).sum())
            told += [name if space.sites[name].scalar else f"{name} ({many} values of it)"] if many else []
        raise QueryError(
            f"the missing discrete sites {listed(told)} have {int(most[unit]):,} joint values in some unit, more than "
            f"{MAX_CONFIGURATIONS:,} to enumerate: give some of their columns."
        )
    return joint_codes(first, size)
