"""The outcomes of a law of integers that can win a race: all but at most :data:`LOST` of its probability.

Each law of a batch has its own first outcome, and all have as many as the widest needs, in whole groups of neighbours
(:mod:`pcm.couplings.arrivals`).

>>> import torch
>>> window = window_of(torch.distributions.Poisson(torch.tensor([2.0, 5_000.0])))
>>> window.start.tolist(), window.groups, tuple(window.outcomes().shape)
([0.0, 281.0], 64.0, (1024, 2))
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from pcm.couplings import registry
from pcm.couplings.arrivals import GROUP
from pcm.couplings.parameters import all_lanes

__all__ = ["LOST", "UNREAD", "Window", "window_of"]

LOST = 1e-12
"""Probability of a law, both tails together, that does not race."""

UNREAD = 256
"""Integers that race where the parameters cannot be read."""

_CELLS, _LEAST = 2**20, 8
"""Cells of a table held at a time, and groups of outcomes looked at together at least."""

_FAR = 2.0**53
"""Counts from here on are no longer integers of float64."""


@dataclass(frozen=True)
class Window:
    """Groups of outcomes that race.

    Attributes
    ----------
    start : Tensor
        The first of each law; (batch).
    groups : float
        How many; a whole number, or infinite.
    unknown : Tensor
        Where a law has no window: of a parameter that is NaN, or too wide where that cannot be read; (batch).
    """

    start: Tensor
    groups: float
    unknown: Tensor

    def outcomes(self, first: int = 0, last: int | None = None) -> Tensor:
        """Of the groups from the first to before the last; (outcome, batch)."""
        end = int(self.groups) if last is None else last
        reach = torch.arange(first * GROUP, end * GROUP, device=self.start.device)
        return self.start * GROUP + reach.reshape(-1, *[1] * self.start.dim())

    def parts(self) -> Iterator[tuple[int, int]]:
        """First and last group of parts of which a table fits the memory."""
        laws, groups = all_lanes(self.start), int(self.groups)
        step = groups if laws is None else max(_LEAST, _CELLS // (GROUP * max(1, laws.numel())))
        for first in range(0, groups, step):
            yield first, min(first + step, groups)


def window_of(fn: Any) -> Window:
    """The window of a bare law of integers."""
    if isinstance(fn, dist.BetaBinomial):
        low, high = torch.zeros_like(fn.total_count), fn.total_count
    else:
        coupling, like = registry.resolve(fn)[0], torch.zeros((), dtype=torch.float64)
        level = -math.log(0.5 * LOST)
        low, high = coupling.quantile(fn, like - level), coupling.quantile(fn, like + level)
    unknown = (low.isnan() | high.isnan()).expand(fn.batch_shape)
    ends = (torch.where(unknown, 0.0, each.to(torch.float64)).clamp(min=-_FAR, max=_FAR) for each in (low, high))
    start, last = (torch.floor(each / GROUP) for each in ends)
    # beyond what a double counts there is no end
    last = torch.where(last >= _FAR / GROUP, torch.inf, last)
    reach = all_lanes(last - start + 1.0)
    if reach is None:
        groups = UNREAD // GROUP
        return Window(start, groups, unknown | (last >= start + groups))
    return Window(start, float(reach.max()) if reach.numel() else 1.0, unknown)
