r"""Counts without an upper bound: the stretch of values that holds all but a sliver of every unit's probability.

The stretch starts as the central part of a count's own mechanism (one lowest value a unit, one length for all) and
grows while the terms at its ends are more than ``1e-13`` of a unit's sum; past the end they fall faster still.

>>> from pcm.infer.latent.windows import first_windows
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from pcm.couplings import resolve
from pcm.infer.latent.enumeration import MAX_CONFIGURATIONS
from pcm.infer.latent.space import Space

__all__ = ["SLIVER", "Windows", "covering", "edge_share", "endless", "first_windows", "grown"]

#: Share of a unit's probability that the outermost value of a window may hold.
SLIVER = 1e-13

Windows = dict[str, tuple[Tensor, int]]


def endless(sites: Mapping[str, Any], missing: Mapping[str, Tensor]) -> list[str]:
    """The missing scalar sites with infinitely many values."""
    return [name for name in missing if sites[name].discrete and sites[name].cardinality is None and sites[name].scalar]


def first_windows(make: Callable[[Windows], Space], names: list[str], parameters: Mapping[str, Tensor]) -> Windows:
    """Windows of the central ``1 − 2e-13`` of each count's mechanism, the other missing values at their medians.

    ``make`` gives the space with some windows. In program order: a count's law may read another count.
    """
    settled: Windows = {}
    standing: Windows = dict.fromkeys(names, (torch.zeros((), dtype=torch.float64), 1))
    for name in names:
        space = make(standing)
        if name not in space.discrete:
            continue
        seen = _Ends(name, space)
        codes = space.configurations[0]
        with torch.no_grad():
            space.watch(parameters, space.start(parameters, codes), codes, seen)
        low, middle, high = seen.found
        if name in space.between:
            least, most = space.between.bounds[name]
            low, middle, high = (torch.minimum(torch.maximum(end, least), most) for end in (low, middle, high))
        settled[name] = (low, int((high - low).max()) + 2)
        standing[name] = (middle, 1)  # while the windows of the counts that read this one are sought
    return settled


class _Ends:
    """Keeps the ends and the middle of one site's mechanism as a run passes it."""

    def __init__(self, name: str, space: Space) -> None:
        self.name, self.space, self.found = name, space, []

    def __call__(self, site: str, fn: Any, value: Tensor) -> None:
        if site == self.name:
            # the law's own quantiles, whichever equation the site has
            (coupling, bare), units = resolve(fn), self.space.units
            for level in (SLIVER, 0.5, 1.0 - SLIVER):
                uniform = torch.full((units,), level, dtype=torch.float64)
                self.found.append(coupling.push(bare, coupling.fresh(bare, uniform)).expand(units).detach())


def covering(*found: Windows) -> Windows:
    """The windows that cover all of these."""
    joined: Windows = {}
    for name in found[0]:
        lows = torch.stack([windows[name][0] for windows in found])
        ends = torch.stack([windows[name][0] + windows[name][1] for windows in found])
        low = lows.amin(0)
        joined[name] = (low, int((ends.amax(0) - low).max()))
    return joined


def edge_share(space: Space, mass: Tensor) -> dict[str, tuple[float, float]]:
    """The largest share of any unit's probability that stands at the low and at the high end of each window.

    ``mass`` ``(…, configuration, unit)`` are the configurations' probabilities.
    """
    found = {}
    for name, (low, size) in space.windows.items():
        if name not in space.discrete:
            continue
        code = space.configurations[..., space.columns[name].start].reshape(len(space.configurations), -1)
        inferred = space.inferred[name]
        ends = []
        for end, counts in ((0, inferred & (low > 0)), (size - 1, inferred)):
            part = torch.where(code == end, mass, 0.0).sum(-2)
            part = torch.where(counts, torch.nan_to_num(part), 0.0)
            ends.append(float(part.max()) if part.numel() else 0.0)
        found[name] = (ends[0], ends[1])
    return found


def grown(space: Space, shares: Mapping[str, tuple[float, float]]) -> Windows | None:
    """Longer windows where an end holds too much; None where all are long enough, or no more can be enumerated."""
    windows, changed = dict(space.windows), False
    for name, (below, above) in shares.items():
        low, size = windows[name]
        more = max(8, size // 2)
        if below > SLIVER:
            down = torch.clamp(low - more, min=0)
            low, size, changed = down, size + int((low - down).max()), True
        if above > SLIVER:
            size, changed = size + more, True
        windows[name] = (low, size)
    counts = [
        windows[name][1] if name in windows else choices.values**choices.width
        for name, choices in space.choices.items()
    ]
    return windows if changed and math.prod(counts) <= MAX_CONFIGURATIONS else None
