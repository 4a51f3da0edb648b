"""The density of what is missing, over parameter draws and configurations: where it is highest, how it curves there,
and in which units that is all there is to know.

>>> from pcm.infer.latent.density import LIMIT
>>> LIMIT
0.7
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pcm.infer.latent.newton import Peak, climb, still
from pcm.infer.latent.space import Space
from pcm.worlds import over_lanes, uniforms
from pcm.worlds.lanes import CHUNK

__all__ = ["FAR", "LIMIT", "gaussian_units", "log_joint", "log_normal", "peaks"]

#: Draws that are tried where a start is impossible.
TRIALS = 64

#: k-hat above which importance sampling is not to be trusted (Vehtari et al. 2024).
LIMIT = 0.7

#: Standard deviations within which a bend of a density is looked for; beyond them lies less than a millionth of it.
FAR = 5.0


def peaks(
    space: Space,
    parameters: Mapping[str, Tensor],
    lanes: int,
    configurations: Tensor,
    start: Tensor | None = None,
    tolerance: float = 1e-13,
    iterations: int = 60,
    *,
    seed: int = 0,
    rows: Any = None,
) -> tuple[Peak, Tensor]:
    """Modes of every parameter draw and configuration, and the Laplace log evidence ``(lane, unit)``.

    The search starts at the medians of the missing sites' mechanisms (with ``rows``, the units' ids, at draws from them
    where those are impossible), or at ``start`` ``(lane, unit, coordinate)``.
    """
    count = len(configurations)

    def fixed(part: slice) -> dict[str, Any]:
        place = torch.arange(part.start, part.stop)
        return {
            "parameters": {name: value[place // count] for name, value in parameters.items()},
            "codes": configurations[place % count],
        }

    if not space.width:  # nothing to climb
        start = torch.zeros(lanes * count, space.units, 0, dtype=space.program.dtype)
    if start is None:
        made, _ = over_lanes(
            lambda lane: {"vector": space.start(lane["parameters"], lane["codes"])},
            fixed,
            lanes * count,
            size=space.units,
        )
        start = made["vector"]
        if rows is not None:
            start = _possible(space, parameters, lanes, configurations, start, seed, rows)

    def one(lane: dict[str, Any]) -> dict[str, Tensor]:
        def total(vector: Tensor) -> tuple[Tensor, Tensor]:
            terms = space.log_joint(lane["parameters"], vector, lane["codes"])
            return terms.sum(), terms

        if not space.width:
            return {"terms": space.log_joint(lane["parameters"], lane["vector"], lane["codes"])}
        slope = torch.func.grad(total, has_aux=True)
        gradient, back, terms = torch.func.vjp(slope, lane["vector"], has_aux=True)  # type: ignore[assignment]
        many = max(1, 2 * CHUNK // space.units)  # directions at a time
        hessian = torch.func.vmap(lambda way: back(way.expand_as(gradient))[0], chunk_size=many)(torch.eye(space.width))
        return {"terms": terms, "gradient": gradient, "hessian": hessian.movedim(0, -2)}

    def mapped(vector: Tensor) -> dict[str, Tensor]:
        return over_lanes(
            one,
            lambda part: {**fixed(part), "vector": vector[part]},
            lanes * count,
            size=space.units * max(1, space.width) ** 2,
        )[0]

    if not space.width:
        terms = mapped(start)["terms"]
        return still(terms), terms

    def evaluate(vector: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        out = mapped(vector)
        return out["terms"], out["gradient"], out["hessian"]

    peak = climb(evaluate, start, space.active, iterations, tolerance)
    constant = 0.5 * space.active.sum(-1) * math.log(2 * math.pi)
    return peak, peak.terms + constant + 0.5 * peak.log_determinant


def _possible(
    space: Space,
    parameters: Mapping[str, Tensor],
    lanes: int,
    configurations: Tensor,
    start: Tensor,
    seed: int,
    rows: Any,
) -> Tensor:
    """Where the evidence has probability zero at the start, the first draw from the mechanisms where it has more."""
    if not space.width:
        return start
    idle = ~space.counted.repeat(lanes, 1)
    best = log_joint(space, parameters, lanes, configurations, start)
    count = len(configurations)
    for trial in range(TRIALS):
        if bool(((best > -torch.inf) | idle).all()):
            break
        noise = {
            name: uniforms(seed, f"latent/start/{name}", rows, range(trial, trial + 1), site.inner, site.noise)[0]
            for name in space.continuous
            for site in [space.sites[name]]
        }

        def drawn(lane: dict[str, Any], noise: dict[str, Tensor] = noise) -> dict[str, Tensor]:
            return {"vector": space.start(lane["parameters"], lane["codes"], noise)}

        def fixed(part: slice) -> dict[str, Any]:
            place = torch.arange(part.start, part.stop)
            return {
                "parameters": {name: value[place // count] for name, value in parameters.items()},
                "codes": configurations[place % count],
            }

        vector = over_lanes(drawn, fixed, lanes * count, size=space.units)[0]["vector"]
        terms = torch.nan_to_num(
            log_joint(space, parameters, lanes, configurations, vector), nan=-torch.inf, neginf=-torch.inf
        )
        better = (terms > -torch.inf) & ~(best > -torch.inf)
        best, start = torch.where(better, terms, best), torch.where(better[..., None], vector, start)
    return start


def gaussian_units(
    space: Space,
    parameters: Mapping[str, Tensor],
    lanes: int,
    configurations: Tensor,
    peak: Peak,
    log_evidence: Tensor,
    seed: int,
    rows: Any,
) -> Tensor:
    """In which units the density equals its Laplace approximation far out, bool ``(unit,)``.

    Places are drawn, and lie on both sides of the mode on every axis: a density that is Gaussian on this side of a bend
    (Laplace noise) is not on the other. With ``k`` axes no bend within :data:`FAR` standard deviations is missed at
    ``FAR √k`` along each.
    """
    idle = ~space.counted.repeat(lanes, 1)
    same = (peak.converged | idle).all(0)
    drawn = [2.0 * space.normals("latent/check", seed, rows, range(k, k + 1))[0] for k in range(2)]
    axes = FAR * space.width**0.5 * torch.eye(space.width, dtype=peak.vector.dtype)
    for noise in (*drawn, *(axis.expand(space.units, -1) for axis in torch.cat([axes, -axes]))):
        vector = peak.vector + (peak.factor @ noise[..., None]).squeeze(-1)
        ratio = log_joint(space, parameters, lanes, configurations, vector) - log_normal(space, noise, peak)
        near = (ratio - log_evidence).abs() <= 1e-8 * (1 + log_evidence.abs() + noise.square().sum(-1))
        same &= (near | idle).all(0)
        if not bool(same.any()):
            break
    return same


def log_joint(
    space: Space, parameters: Mapping[str, Tensor], lanes: int, configurations: Tensor, vectors: Tensor
) -> Tensor:
    """Log density at vectors ``(…, lane, unit, coordinate)``; ``(…, lane, unit)``."""
    count, each = len(configurations), lanes * len(configurations)
    flat = vectors.reshape(-1, *vectors.shape[-2:])

    def inputs(part: slice) -> dict[str, Any]:
        place = torch.arange(part.start, part.stop) % each
        return {
            "parameters": {name: value[place // count] for name, value in parameters.items()},
            "codes": configurations[place % count],
            "vector": flat[part],
        }

    out, _ = over_lanes(
        lambda lane: {"terms": space.log_joint(lane["parameters"], lane["vector"], lane["codes"])},
        inputs,
        len(flat),
        size=space.units,
    )
    return out["terms"].reshape(vectors.shape[:-1])


def log_normal(space: Space, noise: Tensor, peak: Peak) -> Tensor:
    """Log density of the Laplace approximation at ``mode + factor @ noise``, ``(lane, unit)``."""
    constant = 0.5 * space.active.sum(-1) * math.log(2 * math.pi)
    return -0.5 * (noise**2 * space.active).sum(-1) - constant - 0.5 * peak.log_determinant
