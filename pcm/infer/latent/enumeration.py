"""The values over which missing discrete sites are summed: of each site, and jointly.

>>> joint_codes({"a": 2, "b": 2}).tolist()
[[0, 0], [0, 1], [1, 0], [1, 1]]
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pcm.errors import QueryError

if TYPE_CHECKING:
    from pcm.infer.latent.space import Space

__all__ = ["MAX_CONFIGURATIONS", "counted", "joint_codes", "values_of"]

#: Joint configurations of missing discrete sites up to which they are enumerated.
MAX_CONFIGURATIONS = 4096


def values_of(space: Space, name: str) -> tuple[Tensor | None, int]:
    """The lowest value ``(unit,)`` of a discrete site (None: zero) and how many it is enumerated over.

    An infinite one is enumerated over its window, or from the low end of its interval.
    """
    site = space.sites[name]
    if space.enumerable(name):
        return None, site.cardinality or 1
    if name in space.windows and not site.inner and not site.event:
        return space.windows[name]
    if name in space.bounds:
        low, high = space.bounds[name]
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


def joint_codes(counts: Mapping[str, int]) -> Tensor:
    """Joint codes of sites with so many values each, ``(configuration, site)``."""
    if math.prod(counts.values()) > MAX_CONFIGURATIONS:
        raise QueryError(
            f"the missing discrete sites {', '.join(counts)} have {math.prod(counts.values()):,} joint values, "
            f"more than {MAX_CONFIGURATIONS:,} to enumerate: give some of their columns."
        )
    codes = list(itertools.product(*map(range, counts.values())))
    return torch.tensor(codes, dtype=torch.int64).reshape(len(codes), len(counts))


def counted(space: Space) -> Tensor:
    """Which configurations count for a unit, ``(configuration, unit)``."""
    mask = torch.ones(len(space.configurations), space.units, dtype=torch.bool)
    for place, name in enumerate(space.discrete):
        code = space.configurations[:, place, None]
        inside: Any = True
        if name in space.bounds:
            low, high = space.bounds[name]
            value = code + space.offsets.get(name, 0)
            inside = (value >= low) & (value <= high)
        mask &= torch.where(space.inferred[name][None], inside, code == 0)
    return mask
