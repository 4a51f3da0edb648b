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


def smoothed(log_ratios: Tensor) -> tuple[Tensor, np.ndarray]:
    """Normalised smoothed weights and k-hat.

    Parameters
    ----------
    log_ratios : Tensor ``(lane, draw, unit)``
        ``-inf`` where a draw does not count for a unit.

    Returns
    -------
    weights : Tensor ``(lane, draw, unit)``
        Sum to one over draws.
    khat : numpy.ndarray ``(lane, unit)``
        Infinite where no draw has a finite ratio; 0 where all that count are equal.
    """
    lanes, draws, units = log_ratios.shape
    ratios = torch.nan_to_num(log_ratios, nan=-torch.inf, posinf=-torch.inf)
    flat = ratios.movedim(1, -1).reshape(lanes * units, draws)
    peak = flat.amax(-1, keepdim=True)
    dead = ~torch.isfinite(peak[:, 0])
    flat = torch.where(torch.isfinite(peak), flat - peak, -torch.inf)
    count = min(draws // 5, math.ceil(3 * math.sqrt(draws)))
    khat = torch.zeros(len(flat), dtype=flat.dtype)
    if count >= 5:
        values, order = flat.topk(count + 1, dim=-1)  # descending
        cutoff = values[:, -1:].clamp(min=-600.0).exp()
        tail = (values[:, :-1].exp() - cutoff).flip(-1)  # ascending exceedances
        usable = (tail[:, 0] > 0) & (tail[:, -1] > 1e-12) & torch.isfinite(values[:, -1])
        shape, scale = _pareto(tail.clamp(min=1e-300))
        levels = (torch.arange(count, dtype=flat.dtype) + 0.5) / count
        expected = cutoff + _quantile(levels, shape[:, None], scale[:, None])
        smooth = expected.clamp(max=1.0).log().flip(-1)
        fixed = flat.scatter(1, order[:, :-1], smooth)
        good = usable & torch.isfinite(shape)
        flat = torch.where(good[:, None], fixed, flat)
        khat = torch.where(good, shape, 0.0)
    khat = torch.where(dead, torch.inf, khat)
    weights = torch.where(dead[:, None], 1.0 / draws, flat.softmax(-1))
    return weights.reshape(lanes, units, draws).movedim(-1, 1), khat.reshape(lanes, units).numpy()


def _pareto(tail: Tensor) -> tuple[Tensor, Tensor]:
    """Shape and scale of generalised Pareto distributions, ``(row,)`` each; tail ``(row, exceedance)`` ascending."""
    size = tail.shape[-1]
    grid = 30 + int(math.sqrt(size))
    steps = torch.arange(1, grid + 1, dtype=tail.dtype)
    quarter = tail[:, max(0, int(size / 4 + 0.5) - 1), None]
    theta = (1 - torch.sqrt(grid / (steps - 0.5))) / (3 * quarter) + 1 / tail[:, -1:]
    shape = torch.log1p(-theta[..., None] * tail[:, None]).mean(-1)
    profile = size * (torch.log(-theta / shape) - shape - 1)
    chance = torch.nan_to_num(profile, nan=-torch.inf).softmax(-1)
    best = (theta * torch.where(chance > 0, chance, 0.0)).sum(-1)
    shape = torch.log1p(-best[:, None] * tail).mean(-1)
    scale = -shape / best
    return (shape * size + 5.0) / (size + 10), scale  # a weak prior at 1/2 steadies small tails


def _quantile(levels: Tensor, shape: Tensor, scale: Tensor) -> Tensor:
    curved = scale * torch.expm1(-shape * torch.log1p(-levels)) / torch.where(shape.abs() < 1e-12, 1.0, shape)
    return torch.where(shape.abs() < 1e-12, -scale * torch.log1p(-levels), curved)
