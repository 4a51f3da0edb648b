"""Pareto-smoothed importance weights of many units at once.

The largest weights of each unit are replaced by the expected order statistics of a generalised Pareto distribution
fitted to them; its shape is that unit's k-hat.

>>> import torch
>>> weights, khat = smoothed(torch.zeros(1, 64, 2))
>>> weights[0, 0].tolist(), khat.tolist()
([0.015625, 0.015625], [[0.0, 0.0]])

References
----------
Vehtari, Simpson, Gelman, Yao & Gabry, "Pareto smoothed importance sampling", JMLR 25 (2024). Zhang & Stephens, "A new
and efficient estimation method for the generalized Pareto distribution", Technometrics 51 (2009).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

__all__ = ["smoothed"]

#: Fewest draws that make a tail.
LEAST = 5
#: Where fewer stand out, how heavy the others must be beside the heaviest.
LEVEL = 0.1


def smoothed(log_ratios: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, np.ndarray]:
    """Normalised smoothed weights and k-hat.

    Parameters
    ----------
    log_ratios : Tensor ``(lane, draw, unit)``
        ``-inf`` where a draw has no weight, or does not count for a unit.
    sizes : int tensor ``(unit,)``, optional
        How many draws count for each unit; all by default.

    Returns
    -------
    weights : Tensor ``(lane, draw, unit)``
        Sum to one over draws.
    khat : numpy.ndarray ``(lane, unit)``
        Infinite where no draw has a finite ratio, or too few stand far above the others to tell a tail; 0 where all
        that count are equal.
    """
    lanes, draws, units = log_ratios.shape
    ratios = torch.nan_to_num(log_ratios, nan=-torch.inf, posinf=-torch.inf, neginf=-torch.inf)
    flat = ratios.movedim(1, -1).reshape(lanes * units, draws)
    peak = flat.amax(-1, keepdim=True)
    dead = ~torch.isfinite(peak[:, 0])
    flat = torch.where(torch.isfinite(peak), flat - peak, -torch.inf)
    counts = [min(size // 5, math.ceil(3 * math.sqrt(size))) for size in ([draws] if sizes is None else sizes.tolist())]
    khat = torch.zeros(len(flat), dtype=flat.dtype)
    if max(counts) >= LEAST:
        allowed = torch.tensor(counts).expand(lanes, units).reshape(-1)
        values, order = flat.topk(max(counts) + 1, dim=-1)  # descending
        cutoff = values.gather(1, allowed[:, None]).clamp(min=-600.0).exp()
        excess = values[:, :-1].exp() - cutoff
        place = torch.arange(excess.shape[-1])
        # those level with the cut, and what weighs nothing, are no part of the tail
        inside = (place < allowed[:, None]) & (excess > 0)
        size = inside.sum(-1)
        shape, scale = _pareto(torch.where(inside, excess, 0.0), size.clamp(min=1))
        levels = (size[:, None] - place - 0.5).to(flat.dtype) / size[:, None]
        expected = cutoff + _quantile(levels.clamp(0.0, 1.0 - 1e-9), shape[:, None], scale[:, None])
        good = (excess[:, 0] > 1e-12) & (size >= LEAST) & torch.isfinite(shape) & torch.isfinite(scale)
        smooth = torch.where(inside & good[:, None], expected.clamp(max=1.0).log(), values[:, :-1])
        flat = flat.scatter(1, order[:, :-1], smooth)
        # a few that stand above many which are nearly as heavy are no heavy tail
        khat = torch.where(good, shape, torch.where(cutoff[:, 0] >= LEVEL, 0.0, torch.inf))
    khat = torch.where(dead, torch.inf, khat)
    weights = torch.where(dead[:, None], 1.0 / draws, flat.softmax(-1))
    return weights.reshape(lanes, units, draws).movedim(-1, 1), khat.reshape(lanes, units).numpy()


def _pareto(tail: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Shape and scale of generalised Pareto distributions, ``(row,)`` each; tail ``(row, exceedance)`` descending, zero
    after the first ``size``."""
    count = size.to(tail.dtype)
    grids = 30 + count.sqrt().floor()
    steps = torch.arange(1, int(grids.max()) + 1, dtype=tail.dtype)
    quarter = tail.gather(1, (size - (count / 4 + 0.5).long().clamp(min=1)).clamp(min=0)[:, None])
    theta = (1 - torch.sqrt(grids[:, None] / (steps - 0.5))) / (3 * quarter) + 1 / tail[:, :1]
    shape = torch.log1p(-theta[..., None] * tail[:, None]).sum(-1) / count[:, None]
    profile = count[:, None] * (torch.log(-theta / shape) - shape - 1)
    profile = torch.where(steps <= grids[:, None], profile, -torch.inf)
    chance = torch.nan_to_num(profile, nan=-torch.inf).softmax(-1)
    best = (theta * torch.where(chance > 0, chance, 0.0)).sum(-1)
    shape = torch.log1p(-best[:, None] * tail).sum(-1) / count
    scale = -shape / best
    return (shape * count + 5.0) / (count + 10), scale  # a weak prior at 1/2 steadies small tails


def _quantile(levels: Tensor, shape: Tensor, scale: Tensor) -> Tensor:
    curved = scale * torch.expm1(-shape * torch.log1p(-levels)) / torch.where(shape.abs() < 1e-12, 1.0, shape)
    return torch.where(shape.abs() < 1e-12, -scale * torch.log1p(-levels), curved)
