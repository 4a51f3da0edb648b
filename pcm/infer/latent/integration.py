"""Numerical integration where a unit leaves one number open: exact to rounding for smooth densities.

The trapezoid rule in ``s``, at ``mode + sd * t`` with ``t = 1.5 sinh(s)``: dense around the mode, 50 standard
deviations wide, and its error falls exponentially with the number of nodes. It is believed where half of the nodes give
the same and nothing is left at the ends.

>>> node, weight = nodes()
>>> density = torch.exp(-0.5 * node**2) * weight
>>> total = density.sum() / math.sqrt(2 * math.pi)
>>> round(total.item(), 13), round(((density * node**4).sum() / density.sum()).item(), 12)
(1.0, 3.0)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcm.infer.latent.density import log_joint
from pcm.infer.latent.importance import Found
from pcm.infer.latent.newton import Peak
from pcm.infer.latent.space import Space
from pcm.worlds import uniforms

__all__ = ["integrated", "nodes"]

#: Nodes; an odd number, so that every other one makes a rule of its own.
COUNT = 193
REACH = 4.2


def nodes() -> tuple[Tensor, Tensor]:
    """Places ``t`` and their weights ``dt``, ``(node,)`` each."""
    s = torch.linspace(-REACH, REACH, COUNT, dtype=torch.float64)
    return 1.5 * torch.sinh(s), 1.5 * torch.cosh(s) * (s[1] - s[0])


def integrated(
    space: Space, parameters: Mapping[str, Tensor], lanes: int, peak: Peak, *, draws: int, seed: int, rows: Any
) -> tuple[Found, Tensor, Tensor]:
    """What integration finds, each node's probability ``(lane, node, unit)``, and which units it served.

    Lanes are parameter draws × configurations; a lane's probabilities sum to its configuration's.
    """
    configurations, units = space.configurations, space.units
    count, (place, width) = len(configurations), nodes()
    line = peak.factor.sum(-1)  # the one open coordinate's standard deviation, zero elsewhere
    vectors = peak.vector + line * place[:, None, None, None]
    logs = log_joint(space, parameters, lanes, configurations, vectors).movedim(0, 1)  # (lane, node, unit)
    logs = torch.nan_to_num(logs, nan=-torch.inf, neginf=-torch.inf)
    logs = logs + torch.where(space.counted, 0.0, -torch.inf).repeat(lanes, 1)[:, None]
    logs = logs + width.log()[:, None] + line.sum(-1).clamp(min=1e-300).log()[:, None]
    whole, half = logs.logsumexp(1), logs[:, ::2].logsumexp(1) + math.log(2.0)
    tops = whole.reshape(lanes, count, units).logsumexp(1).repeat_interleave(count, 0)
    share = (whole - tops).exp()
    apart = ((half - tops).exp() - share).abs()
    ends = (torch.maximum(logs[:, 0], logs[:, -1]) - tops).exp()
    served = ((apart <= 1e-5) & (ends <= 1e-12) & torch.isfinite(tops)).all(0)
    chances = share.reshape(lanes, count, units)
    vectors, codes = _drawn(space, peak, line, (logs - tops[:, None]).exp(), chances, draws, seed, rows)
    found = Found(chances, vectors, codes, np.full(units, math.inf), np.zeros(units))
    return found, (logs - tops[:, None]).exp(), served


def _drawn(
    space: Space, peak: Peak, line: Tensor, mass: Tensor, chances: Tensor, draws: int, seed: int, rows: Any
) -> tuple[Tensor, Tensor]:
    """Draws by the inverse distribution function, between nodes by its straight line."""
    lanes, count, units = chances.shape
    place, _ = nodes()
    lane, unit = torch.arange(draws) % lanes, torch.arange(units)
    chosen = torch.zeros(draws, units, dtype=torch.int64)
    if count > 1:
        pick = uniforms(seed, "latent/configuration", rows, range(draws))
        chosen = (chances.cumsum(1)[lane] < pick[:, None] * (1 - 1e-12)).sum(1).clamp(max=count - 1)
    level = uniforms(seed, "latent/vector", rows, range(draws))
    below = mass.cumsum(1) - 0.5 * mass  # at each node
    below = (below / mass.sum(1, keepdim=True).clamp(min=1e-300)).movedim(1, -1).contiguous()  # (lane, unit, node)
    where = lane[:, None] * count + chosen
    at = torch.empty(draws, units, dtype=place.dtype)
    for draw in range(draws):
        table = below[where[draw], unit]
        right = torch.searchsorted(table, level[draw][:, None].contiguous()).squeeze(-1).clamp(1, COUNT - 1)
        first, last = table[unit, right - 1], table[unit, right]
        part = ((level[draw] - first) / (last - first).clamp(min=1e-300)).clamp(0.0, 1.0)
        at[draw] = place[right - 1] + part * (place[right] - place[right - 1])
    return peak.vector[where, unit] + line[where, unit] * at[..., None], space.joint.at(chosen)
