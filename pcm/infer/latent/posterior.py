r"""The posterior of what units' evidence leaves open: the cheapest method that is right, for every unit at once.

The ladder: finite missing sites are enumerated; given them, Newton finds the mode of the continuous ones and the
Laplace approximation there is *exact* where the posterior is Gaussian (checked, not assumed); elsewhere its draws are
importance weighted, with Pareto-smoothed weights and k-hat for every unit, and units that no proposal serves are
flagged.

>>> import pyro, pyro.distributions as dist, torch, numpy as np
>>> from pcm.infer.latent.space import Space
>>> from pcm.program import Program
>>> from pcm.worlds import WorldPlan
>>> def pair():
...     a = pyro.sample("a", dist.Normal(0.0, 1.0))
...     pyro.sample("b", dist.Normal(a, 1.0))
>>> program = Program(pair)
>>> with program.sealed():
...     plan = WorldPlan(program.structure, {})
...     space = Space(program, plan, {"b": torch.tensor([1.0])}, {"a": torch.tensor([True])}, 1)
...     found = infer_latent(space, {}, 1, draws=4, seed=0, rows=np.zeros(1, dtype=np.uint64))
>>> found.gaussian, round(found.peak.vector.item(), 9)
(True, 0.5)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcm.errors import EvidenceError
from pcm.infer.latent.newton import Peak, climb
from pcm.infer.latent.smooth import smoothed
from pcm.infer.latent.space import Space
from pcm.worlds import over_lanes, uniforms

__all__ = ["LatentPosterior", "infer_latent", "peaks"]

#: k-hat above which importance sampling is not to be trusted (Vehtari et al. 2024).
LIMIT = 0.7


@dataclass
class LatentPosterior:
    """Draws and moments of the unobserved values.

    Attributes
    ----------
    space : Space
    peak : Peak
        Mode and curvature, lanes = parameter draws × configurations.
    chances : Tensor ``(parameter draw, configuration, unit)``
        Posterior probability of each configuration of the missing discrete sites.
    gaussian : bool
        Whether, given a configuration, the posterior is Gaussian, so that ``peak`` is all there is to know.
    draw : callable
        Makes the draws, when they are first asked for.
    ess, khat : numpy.ndarray ``(unit,)``
        Of the importance weights; infinite and 0 where nothing had to be weighted.
    method : str
    """

    space: Space
    peak: Peak
    chances: Tensor
    gaussian: bool
    draw: Callable[[], tuple[Tensor, Tensor]]
    ess: np.ndarray
    khat: np.ndarray
    method: str

    @cached_property
    def draws(self) -> tuple[Tensor, Tensor]:
        """Draws of the inferred sites: ``(draw, unit, coordinate)``, ``(draw, unit, site)``."""
        return self.draw()

    @property
    def likely(self) -> tuple[Tensor, Tensor]:
        """Mode and codes of each unit's most probable configuration, under the first parameter draw."""
        best = self.chances[0].argmax(0)
        unit = torch.arange(self.space.units)
        return self.peak.vector[best, unit], self.space.configurations[best]

    @property
    def flagged(self) -> np.ndarray:
        """Units whose posterior no proposal served, bool ``(unit,)``."""
        return ~(self.khat <= LIMIT)


def infer_latent(
    space: Space,
    parameters: Mapping[str, Tensor],
    lanes: int,
    *,
    draws: int,
    seed: int,
    rows: Any,
    gaussian_only: bool = False,
) -> LatentPosterior | None:
    """The posterior of a space under ``lanes`` parameter draws (``parameters`` is empty where there are none).

    With ``gaussian_only`` None is returned where it is neither finite nor Gaussian.

    Raises
    ------
    EvidenceError
        Evidence of probability zero.
    """
    configurations = space.configurations
    peak, log_evidence = peaks(space, parameters, lanes, configurations)
    counted = torch.where(space.counted, 0.0, -torch.inf)
    log_weights = log_evidence.reshape(lanes, len(configurations), space.units) + counted
    _check_possible(space, log_weights)
    gaussian = space.width == 0 or _is_gaussian(
        space, parameters, lanes, configurations, peak, log_evidence, seed, rows
    )
    if gaussian:
        chances = log_weights.softmax(1)
        ess, khat = np.full(space.units, math.inf), np.zeros(space.units)
        method = "enumerated" if space.width == 0 else "exact Gaussian"
        if space.width and len(configurations) > 1:
            method = f"exact Gaussian in each of {len(configurations)} configurations"
        make = partial(_direct, space, peak, chances, draws, seed, rows)
        return LatentPosterior(space, peak, chances, True, make, ess, khat, method)
    if gaussian_only:
        return None
    chances, vectors, codes, ess, khat = _weighted(space, parameters, lanes, configurations, peak, draws, seed, rows)
    method = "Newton and Laplace, importance resampled"
    return LatentPosterior(space, peak, chances, False, lambda: (vectors, codes), ess, khat, method)


# -- modes -----------------------------------------------------------------------------------------------------------


def peaks(
    space: Space,
    parameters: Mapping[str, Tensor],
    lanes: int,
    configurations: Tensor,
    start: Tensor | None = None,
    tolerance: float = 1e-13,
    iterations: int = 60,
) -> tuple[Peak, Tensor]:
    """Modes of every parameter draw and configuration, and the Laplace log evidence ``(lane, unit)``.

    The search starts at the medians of the missing sites' mechanisms, or at ``start`` ``(lane, unit, coordinate)``.
    """
    count = len(configurations)

    def fixed(part: slice) -> dict[str, Any]:
        place = torch.arange(part.start, part.stop)
        return {
            "parameters": {name: value[place // count] for name, value in parameters.items()},
            "codes": configurations[place % count],
        }

    if start is None:
        made, _ = over_lanes(
            lambda lane: {"vector": space.start(lane["parameters"], lane["codes"])},
            fixed,
            lanes * count,
            size=space.units,
        )
        start = made["vector"]

    def one(lane: dict[str, Any]) -> dict[str, Tensor]:
        def total(vector: Tensor) -> tuple[Tensor, Tensor]:
            terms = space.log_joint(lane["parameters"], vector, lane["codes"])
            return terms.sum(), terms

        if not space.width:
            return {"terms": total(lane["vector"])[1]}
        slope = torch.func.grad(total, has_aux=True)
        gradient, terms = slope(lane["vector"])
        rows = [
            torch.func.grad(lambda v, place=place: slope(v)[0][:, place].sum())(lane["vector"])
            for place in range(space.width)
        ]
        return {"terms": terms, "gradient": gradient, "hessian": torch.stack(rows, -2)}

    def evaluate(vector: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        out, _ = over_lanes(
            one,
            lambda part: {**fixed(part), "vector": vector[part]},
            lanes * count,
            size=space.units * max(1, space.width) ** 2,
        )
        if not space.width:
            return out["terms"], torch.zeros_like(vector), torch.zeros(*vector.shape, 0, dtype=vector.dtype)
        return out["terms"], out["gradient"], out["hessian"]

    peak = climb(evaluate, start, space.active, iterations, tolerance)
    constant = 0.5 * space.active.sum(-1) * math.log(2 * math.pi)
    return peak, peak.terms + constant + 0.5 * peak.log_determinant


def _check_possible(space: Space, log_weights: Tensor) -> None:
    dead = ~(log_weights.amax(1) > -torch.inf).all(0) | torch.isnan(log_weights).any(1).any(0)
    if bool(dead.any()):
        rows = dead.nonzero().flatten().tolist()
        raise EvidenceError(
            f"the evidence of {len(rows)} unit{'s' if len(rows) > 1 else ''} has probability zero under the program, "
            f"whatever the missing {', '.join(space.inferred)} are (first rows: {', '.join(map(str, rows[:5]))}).",
            rows=rows[:5],
        )


def _is_gaussian(
    space: Space,
    parameters: Mapping[str, Tensor],
    lanes: int,
    configurations: Tensor,
    peak: Peak,
    log_evidence: Tensor,
    seed: int,
    rows: Any,
) -> bool:
    """Whether the density equals its Laplace approximation at three far-out places of every unit."""
    if not bool(peak.converged.all()):
        return False
    for trial in range(3):
        noise = 2.0 * torch.special.ndtri(
            uniforms(seed, "latent/check", rows, range(trial, trial + 1), event=(space.width,))[0]
        )
        vector = peak.vector + (peak.factor @ noise[..., None]).squeeze(-1)
        ratio = _log_joint(space, parameters, lanes, configurations, vector) - _log_normal(space, noise, peak)
        if not bool(((ratio - log_evidence).abs() <= 1e-8 * (1 + log_evidence.abs())).all()):
            return False
    return True


def _log_joint(
    space: Space, parameters: Mapping[str, Tensor], lanes: int, configurations: Tensor, vector: Tensor
) -> Tensor:
    """Log density at one vector a lane, ``(lane, unit)``."""
    count = len(configurations)

    def inputs(part: slice) -> dict[str, Any]:
        place = torch.arange(part.start, part.stop)
        return {
            "parameters": {name: value[place // count] for name, value in parameters.items()},
            "codes": configurations[place % count],
            "vector": vector[part],
        }

    out, _ = over_lanes(
        lambda lane: {"terms": space.log_joint(lane["parameters"], lane["vector"], lane["codes"])},
        inputs,
        lanes * count,
        size=space.units,
    )
    return out["terms"]


def _log_normal(space: Space, noise: Tensor, peak: Peak) -> Tensor:
    """Log density of the Laplace approximation at ``mode + factor @ noise``, ``(lane, unit)``."""
    constant = 0.5 * space.active.sum(-1) * math.log(2 * math.pi)
    return -0.5 * (noise**2 * space.active).sum(-1) - constant - 0.5 * peak.log_determinant


# -- draws -----------------------------------------------------------------------------------------------------------


def _direct(space: Space, peak: Peak, chances: Tensor, draws: int, seed: int, rows: Any) -> tuple[Tensor, Tensor]:
    """Draws where each configuration's posterior is Gaussian (or a point)."""
    lanes, count, units = chances.shape
    lane = torch.arange(draws) % lanes
    if count > 1:
        pick = uniforms(seed, "latent/configuration", rows, range(draws))
        chosen = (chances.cumsum(1)[lane] < pick[:, None] * (1 - 1e-12)).sum(1).clamp(max=count - 1)
        codes = space.configurations[chosen]
    else:
        chosen = torch.zeros(draws, 1, dtype=torch.int64)
        codes = space.configurations[:, None].expand(draws, units, -1)
    if not space.width:
        return torch.zeros(draws, units, 0, dtype=chances.dtype), codes
    noise = torch.special.ndtri(uniforms(seed, "latent/vector", rows, range(draws), event=(space.width,)))
    if lanes * count == 1:
        return torch.einsum("nij,snj->sni", peak.factor[0], noise).add_(peak.vector[0]), codes
    place, unit = lane[:, None] * count + chosen, torch.arange(units)
    vectors = peak.vector[place, unit] + (peak.factor[place, unit] @ noise[..., None]).squeeze(-1)
    return vectors, codes


def _weighted(
    space: Space,
    parameters: Mapping[str, Tensor],
    lanes: int,
    configurations: Tensor,
    peak: Peak,
    draws: int,
    seed: int,
    rows: Any,
) -> tuple[Tensor, Tensor, Tensor, np.ndarray, np.ndarray]:
    """Importance resampled draws: Gaussian proposals, and wider Student ones for the units they do not serve."""
    count, units = len(configurations), space.units
    many = int(min(1024, max(64, 20_000_000 // (units * count * lanes))))
    centre, factor, half_log_determinant = peak.vector, peak.factor, 0.5 * peak.log_determinant
    best: tuple[Tensor, Tensor, np.ndarray] | None = None
    for attempt in range(5):  # Gaussian, Student, then Student fitted to what the last attempt found
        noise, log_density = _proposals(space, many, seed, rows, attempt)
        vectors = centre[None] + (factor[None] @ noise[:, None, ..., None]).squeeze(-1)  # (proposal, lane, unit, d)
        ratios = torch.stack(
            [
                _log_joint(space, parameters, lanes, configurations, vectors[place])
                - (log_density[place] - half_log_determinant)
                for place in range(many)
            ]
        )  # (proposal, lane, unit)
        shaped = ratios.reshape(many, lanes, count, units) + torch.where(space.counted, 0.0, -torch.inf)
        weights, khat = smoothed(shaped.movedim(1, 0).reshape(lanes, many * count, units))
        worst = khat.max(axis=0)
        if best is None:
            best = (weights, vectors, worst)
        else:
            better = torch.from_numpy(worst < best[2])
            weights = torch.where(better, weights, best[0])
            vectors = torch.where(better[:, None], vectors, best[1])
            best = (weights, vectors, np.minimum(worst, best[2]))
        if (best[2] <= LIMIT).all():
            break
        if attempt:
            centre, factor, half_log_determinant = _fitted(space, vectors, ratios)
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
    return spread.sum(1), picked, configurations[config], ess, worst


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
    width, active = space.width, space.active
    noise = torch.special.ndtri(uniforms(seed, f"latent/proposal/{attempt}", rows, range(many), event=(width,)))
    noise = noise * active
    size = active.sum(-1)
    square = (noise**2).sum(-1)
    if not attempt:
        return noise, -0.5 * square - 0.5 * size * math.log(2 * math.pi)
    degrees, scale = 5.0, 1.3
    mix = uniforms(seed, f"latent/proposal/{attempt}/chi", rows, range(many))
    stretch = scale / (_chi(mix, degrees) / degrees).sqrt()
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
