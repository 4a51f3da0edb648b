"""Importance resampling of what is missing: proposals around every unit's mode, weighted, with k-hat for each unit.

A unit's draws depend on nothing but that unit: any split of the data gives the same ones.

>>> from pcm.infer.latent.importance import weighted
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcm.infer.latent.density import LIMIT, log_joint
from pcm.infer.latent.enumeration import grouped
from pcm.infer.latent.newton import Peak
from pcm.infer.latent.smooth import smoothed
from pcm.infer.latent.space import Space
from pcm.worlds import uniforms

__all__ = ["Found", "proposals", "weighted"]


@dataclass(frozen=True)
class Found:
    """What some units' posterior is, by whatever rung.

    Attributes
    ----------
    chances : Tensor ``(parameter draw, configuration, unit)``
    vectors : Tensor ``(draw, unit, coordinate)``
    codes : Tensor ``(draw, unit, site)``
    ess, khat : numpy.ndarray ``(unit,)``
    """

    chances: Tensor
    vectors: Tensor
    codes: Tensor
    ess: np.ndarray
    khat: np.ndarray

    def of(self, units: Tensor) -> Found:
        """That of some units (a mask)."""
        mask = units.numpy()
        return Found(
            self.chances[..., units], self.vectors[:, units], self.codes[:, units], self.ess[mask], self.khat[mask]
        )


def proposals(own: Tensor, lanes: int) -> Tensor:
    """How many proposals units with so many configurations get in each of them, ``(unit,)``.

    >>> proposals(torch.tensor([1, 12, 200, 4000]), 1).tolist()
    [1024, 1024, 78, 64]
    """
    size = torch.where(own > 1, grouped(own), 1)
    return (20_000 // (lanes * size)).clamp(64, 1024)


def weighted(
    space: Space,
    parameters: Mapping[str, Tensor],
    lanes: int,
    peak: Peak,
    *,
    draws: int,
    seed: int,
    rows: Any,
    many: int,
    attempts: int = 5,
) -> Found:
    """Importance resampled draws of units that get ``many`` proposals each: Gaussian ones, and wider Student ones for
    the units they do not serve."""
    units = space.units
    count = len(space.configurations)
    best: tuple[Tensor, Tensor, np.ndarray] | None = None
    left, part = torch.arange(units), space  # the units that are not served yet
    centre, factor, half_log_determinant = peak.vector, peak.factor, 0.5 * peak.log_determinant
    for attempt in range(attempts):  # Gaussian, Student, then Student fitted to what the last attempt found
        noise, log_density = _proposals(part, many, seed, rows[left.numpy()], attempt)
        vectors = centre[None] + (factor[None] @ noise[:, None, ..., None]).squeeze(-1)  # (proposal, lane, unit, d)
        ratios = log_joint(part, parameters, lanes, part.configurations, vectors)  # (proposal, lane, unit)
        ratios = ratios - (log_density[:, None] - half_log_determinant)
        shaped = ratios.reshape(many, lanes, count, len(left)) + torch.where(part.counted, 0.0, -torch.inf)
        # a unit's tail is that of its own configurations, whatever other units lack
        weights, khat = smoothed(
            shaped.movedim(1, 0).reshape(lanes, many * count, len(left)), many * part.counted.sum(0)
        )
        worst = khat.max(axis=0)
        if best is None:
            best = (weights, vectors, worst)
        else:
            better = torch.from_numpy(worst < best[2][left.numpy()])
            where = left[better]
            best[0][..., where], best[1][:, :, where] = weights[..., better], vectors[:, :, better]
            best[2][where.numpy()] = worst[better.numpy()]
        failing = torch.from_numpy(~(best[2][left.numpy()] <= LIMIT))
        if not bool(failing.any()):
            break
        if attempt:
            centre, factor, half_log_determinant = _fitted(part, vectors, ratios)
        centre, factor = centre[:, failing], factor[:, failing]
        half_log_determinant, left, part = half_log_determinant[:, failing], left[failing], part.narrowed(failing)
    assert best is not None
    weights, vectors, worst = best
    spread = weights.reshape(lanes, many, count, units)
    lane = torch.arange(draws) % lanes
    pick = uniforms(seed, "latent/resample", rows, range(draws))
    if lanes == 1:  # systematic: draws spread evenly over the weights
        pick = (torch.arange(draws)[:, None] + pick[:1]) / draws
    cumulated = weights.cumsum(1)
    chosen = torch.stack(
        [
            torch.searchsorted(cumulated[int(p)].T.contiguous(), pick[d][:, None].contiguous()).squeeze(-1)
            for d, p in enumerate(lane)
        ]
    ).clamp(max=many * count - 1)
    proposal, config = chosen // count, chosen % count
    unit = torch.arange(units)
    picked = vectors[proposal, lane[:, None] * count + config, unit]
    ess = (1.0 / (weights**2).sum(1)).mean(0).numpy()
    return Found(spread.sum(1), picked, space.joint.at(config), ess, worst)


def _fitted(space: Space, vectors: Tensor, ratios: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, square root of the covariance and half its log determinant of the weighted draws, a lane and unit each."""
    weights = torch.nan_to_num(ratios, nan=-torch.inf).softmax(0)[..., None]
    centre = (weights * vectors).sum(0)
    apart = (vectors - centre) * space.active
    covariance = torch.einsum("mlui,mluj->luij", weights * apart, apart)
    both = torch.diag_embed((~space.active).to(vectors.dtype))
    floor = 1e-6 * covariance.diagonal(dim1=-2, dim2=-1).mean(-1).clamp(min=1e-8)
    eye = torch.eye(space.width, dtype=vectors.dtype)
    root, info = torch.linalg.cholesky_ex(covariance + both + floor[..., None, None] * eye)
    root = torch.where((info > 0)[..., None, None], eye, root)
    half = (root.diagonal(dim1=-2, dim2=-1).log() * space.active).sum(-1)
    return centre, root * space.active[..., None], half


def _proposals(space: Space, many: int, seed: int, rows: Any, attempt: int) -> tuple[Tensor, Tensor]:
    """Standardised proposals ``(proposal, unit, coordinate)`` and their log density ``(proposal, unit)``."""
    active = space.active
    noise = space.normals(f"latent/proposal/{attempt}", seed, rows, range(many)) * active
    size = active.sum(-1)
    square = (noise**2).sum(-1)
    if not attempt:
        return noise, -0.5 * square - 0.5 * size * math.log(2 * math.pi)
    degrees, scale = 5.0, 1.3
    mix = uniforms(seed, f"latent/proposal/{attempt}/chi", rows, range(many))
    stretch = (scale / (_chi(mix, degrees) / degrees).sqrt()).to(noise.dtype)
    noise = noise * stretch[..., None]
    square = (noise**2).sum(-1) / scale**2
    log_density = (
        torch.lgamma(torch.as_tensor(degrees + size) / 2)
        - math.lgamma(degrees / 2)
        - 0.5 * size * math.log(degrees * math.pi * scale**2)
        - 0.5 * (degrees + size) * torch.log1p(square / degrees)
    )
    return noise, log_density


def _chi(uniform: Tensor, degrees: float) -> Tensor:
    """Chi-square quantiles."""
    from scipy.special import chdtri

    return torch.from_numpy(np.asarray(chdtri(degrees, 1 - uniform.numpy())))
