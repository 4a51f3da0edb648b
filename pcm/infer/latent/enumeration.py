"""The values over which missing discrete sites are summed: every unit's own joint codes, whatever other units lack.

A unit has as many *configurations* as the sites that are open in it have joint values, in the order of counting with
the last site first; those it has come first in its column, and the rest (of units with more) do not count.

>>> first, size = torch.tensor([[0, 0], [0, 1]]), torch.tensor([[2, 2], [1, 2]])  # (unit, site)
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

if TYPE_CHECKING:
    from pcm.infer.latent.space import Space

__all__ = ["MAX_CONFIGURATIONS", "Configurations", "apart", "grouped", "joint_codes", "own_codes", "values_of"]

#: Joint configurations of a unit's missing discrete sites up to which they are enumerated.
MAX_CONFIGURATIONS = 4096

#: Runs of one configuration of one unit that cost about as much as starting another run of the program.
WORTH = 2**14


@dataclass(frozen=True)
class Configurations:
    """Joint values of missing discrete sites.

    Attributes
    ----------
    codes : int Tensor ``(configuration, site)`` where all units have the same, else ``(configuration, unit, site)``
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
        """Codes ``(…, unit, site)`` of those at ``place``, ``(…, unit)`` or ``(…, 1)``."""
        units = self.counted.shape[1]
        found = self.codes[place] if self.codes.dim() == 2 else self.codes[place, torch.arange(units)]
        return found.expand(*place.shape[:-1], units, -1)

    def narrowed(self, units: Tensor, count: int | None = None) -> Configurations:
        """The first ``count`` (default: all) of some units, their positions."""
        codes = self.codes[:count]
        return Configurations(codes if codes.dim() == 2 else codes[:, units], self.counted[:count, units])


def values_of(space: Space, name: str) -> tuple[Tensor | None, int]:
    """The lowest value ``(unit,)`` of a discrete site (None: zero) and how many it is enumerated over.

    An infinite one is enumerated over its window, or from the low end of its interval.
    """
    site = space.sites[name]
    if space.enumerable(name):
        return None, site.cardinality or 1
    if name in space.windows and not site.inner and not site.event:
        return space.windows[name]
    if name in space.between:
        low, high = space.between.bounds[name]
        least = torch.clamp(low, min=float(getattr(site.support, "lower_bound", -torch.inf)))
        widths = (high - least)[space.inferred[name]]
        if bool(torch.isfinite(widths).all()):
            return torch.where(space.inferred[name], least, 0.0), int(widths.max()) + 1
    raise QueryError(
        f"'{name}' is missing for some units that have values below it, and {site.family} with "
        f"{'several values a unit' if site.inner or site.event else 'infinitely many values'} cannot be "
        "enumerated: give its column (or intervals with two ends), or model it as a finite variable.",
        site=name,
    )


def joint_codes(first: Tensor, size: Tensor) -> Configurations:
    """Joint codes of sites that have ``size`` values each from ``first``, both ``(unit, site)``."""
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
    first = torch.zeros(space.units, len(space.discrete), dtype=torch.int64)
    size = torch.ones_like(first)
    for place, name in enumerate(space.discrete):
        low, high = torch.zeros(space.units), torch.full((space.units,), space.counts[name] - 1.0)
        if name in space.between:
            least, most = (end - space.offsets.get(name, 0) for end in space.between.bounds[name])
            low, high = torch.maximum(low, least.ceil()), torch.minimum(high, most.floor())
        open_ = space.inferred[name]
        first[:, place] = torch.where(open_, low, 0).long()
        size[:, place] = torch.where(open_, (high - low + 1).clamp(min=0), 1).long()
    most = size.double().prod(-1)
    if len(most) and float(most.max()) > MAX_CONFIGURATIONS:
        unit = int(most.argmax())
        names = [name for place, name in enumerate(space.discrete) if int(size[unit, place]) > 1]
        raise QueryError(
            f"the missing discrete sites {listed(names)} have {int(most[unit]):,} joint values in some unit, more than "
            f"{MAX_CONFIGURATIONS:,} to enumerate: give some of their columns."
        )
    return joint_codes(first, size)
