r"""The posterior of what units' evidence leaves open: the cheapest method that is right, for every unit at once.

The ladder, climbed by each unit on its own: finite missing sites are enumerated; given them, Newton finds the mode of
the continuous ones and the Laplace approximation there is *exact* where the posterior is Gaussian (checked, not
assumed); where one number is open, it is integrated numerically (checked too); elsewhere the draws of the Laplace
approximation are importance weighted, with Pareto-smoothed weights and k-hat, and units that no proposal serves are
flagged.

>>> import pyro, pyro.distributions as dist, torch, numpy as np
>>> from pcm.infer.latent.space import Space
>>> from pcm.program import Program
>>> from pcm.worlds import WorldPlan
>>> def pair():
...     a = pyro.sample("a", dist.Normal(0.0, 1.0))
...     b = pyro.sample("b", dist.Normal(a, 1.0))
>>> program = Program(pair)
>>> with program.sealed():
...     plan = WorldPlan(program.structure, {})
...     space = Space(program, plan, {"b": torch.tensor([1.0])}, {"a": torch.tensor([True])}, 1)
...     found = infer_latent(space, {}, 1, draws=4, seed=0, rows=np.zeros(1, dtype=np.uint64))
>>> found.rung, round(found.peak.vector.item(), 9)
(array(['gaussian'], dtype='<U11'), 0.5)
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcm.errors import EvidenceError
from pcm.infer.latent.density import LIMIT, gaussian_units, peaks
from pcm.infer.latent.enumeration import MAX_CONFIGURATIONS, Configurations, apart
from pcm.infer.latent.importance import Found, proposals, weighted
from pcm.infer.latent.integration import COUNT, integrated
from pcm.infer.latent.newton import Peak
from pcm.infer.latent.space import Space
from pcm.worlds import uniforms

__all__ = ["METHODS", "MOST", "LatentPosterior", "infer_latent"]

#: What ``method=`` takes: the ladder, or one rung of it.
METHODS = ("auto", "enumerate", "gaussian", "quadrature", "laplace", "importance")

#: Numbers kept at a time: 160 MB.
KEPT = 20_000_000

#: Share of a unit's probability that the configurations left out of importance sampling may have together.
LITTLE = 1e-6

#: Configurations up to which the nodes of each are kept, for expectations.
MOST = 16

_WORDS = {
    "gaussian": "exact Gaussian",
    "quadrature": "numerical integration of the one number open",
    "laplace": "Laplace approximation",
    "importance": "Newton and Laplace, importance resampled",
}


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
    rung : array of str ``(unit,)``
        How each unit's posterior was had: ``"enumerate"`` (nothing continuous open), ``"gaussian"`` (``peak`` is all
        there is to know), ``"quadrature"``, ``"laplace"``, ``"importance"``.
    mass : Tensor ``(configuration, node, unit)`` or None
        Of the first :data:`MOST` configurations the probability of the nodes of :mod:`pcm.infer.latent.integration`,
        where that rung served and parameters are fixed.
    draw : callable
        Makes the draws, when they are first asked for.
    ess, khat : numpy.ndarray ``(unit,)``
        Of the importance weights; infinite and 0 where nothing had to be weighted.
    """

    space: Space
    peak: Peak
    chances: Tensor
    rung: np.ndarray
    mass: Tensor | None
    draw: Callable[[], tuple[Tensor, Tensor]]
    ess: np.ndarray
    khat: np.ndarray

    @cached_property
    def draws(self) -> tuple[Tensor, Tensor]:
        """Draws of the inferred sites: ``(draw, unit, coordinate)``, ``(draw, unit, site)``."""
        return self.draw()

    @property
    def likely(self) -> tuple[Tensor, Tensor]:
        """Mode and codes of each unit's most probable configuration, under the first parameter draw."""
        best = self.chances[0].argmax(0)
        unit = torch.arange(self.space.units)
        return self.peak.vector[best, unit], self.space.joint.at(best)

    @property
    def flagged(self) -> np.ndarray:
        """Units whose posterior no proposal served, bool ``(unit,)``."""
        return ~(self.khat <= LIMIT)

    @property
    def gaussian(self) -> Tensor:
        """Units for which ``peak`` and ``chances`` are all there is to know, bool ``(unit,)``."""
        return torch.from_numpy((self.rung == "gaussian") | (self.rung == "enumerate"))

    def method(self, units: Tensor) -> str:
        """The rungs of some units (a mask) in words, with their number where they differ."""
        own = self.space.joint.own[units]
        count = int(own.max())
        words = {**_WORDS, "enumerate": "enumerated" if count > 1 else "solved"}
        if count > 1:
            most = f"up to {count}" if int(own.min()) < count else f"{count}"
            words |= {rung: f"{text} in each of {most} configurations" for rung, text in _WORDS.items()}
        kinds, sizes = np.unique(self.rung[units.numpy()], return_counts=True)
        if len(kinds) == 1:
            return words[str(kinds[0])]
        return ", ".join(f"{words[str(kind)]}: {size} units" for kind, size in zip(kinds, sizes, strict=True))


def infer_latent(
    space: Space,
    parameters: Mapping[str, Tensor],
    lanes: int,
    *,
    draws: int,
    seed: int,
    rows: Any,
    method: str = "auto",
) -> LatentPosterior:
    """The posterior of a space under ``lanes`` parameter draws (``parameters`` is empty where there are none).

    With the method ``"gaussian"`` units that are not keep the rung ``"laplace"``, and are not weighted.

    Raises
    ------
    EvidenceError
        Evidence of probability zero.
    """
    space, peak, log_evidence = _peaks(space, parameters, lanes, seed, rows)
    count = len(space.configurations)
    log_weights = log_evidence.reshape(lanes, count, space.units)
    if not bool(space.counted.all()):
        log_weights = log_weights + torch.where(space.counted, 0.0, -torch.inf)
    _check_possible(space, parameters, peak, log_weights)
    alive = (log_weights > -torch.inf).any(0)
    space, peak, order = _selected(space, peak, lanes, alive)  # without what the evidence of a unit rules out
    if order is not None:
        log_weights = torch.where(space.counted, log_weights[:, order, torch.arange(space.units)], -torch.inf)
    chances = log_weights.softmax(1)
    count = len(space.configurations)
    ess, khat = np.full(space.units, math.inf), np.zeros(space.units)
    rung = np.where(space.active.any(-1).numpy(), "laplace", "enumerate").astype("<U11")
    mass: Tensor | None = None
    found: list[tuple[Tensor, Found]] = []

    def keep(place: Tensor, part: Found, name: str, order: Tensor | None = None) -> None:
        """Take over what a rung found for the units at ``place``, of the configurations of ``order``."""
        found.append((place, part))
        at = place.numpy()
        ess[at], khat[at], rung[at] = part.ess, part.khat, name
        many = torch.arange(part.chances.shape[1])[:, None] if order is None else order[: part.chances.shape[1], place]
        chances[:, :, place] = 0.0
        chances[:, many, place] = part.chances

    def left() -> Tensor:
        return torch.from_numpy((rung == "laplace").nonzero()[0])

    def blocks(space: Space, peak: Peak, place: Tensor, many: int) -> Iterator[tuple[Tensor, Space, Peak]]:
        """Units with about as many configurations at a time, few enough for ``many`` numbers a lane and unit."""
        for here in apart(space.joint.own, place, lanes * many):
            most = int(space.joint.own[here].max())
            for some in here.split(max(1, KEPT // (many * lanes * most))):
                yield some, *_narrowed(space, peak, lanes, some, most)

    if method in ("auto", "gaussian"):
        for place, part, top in blocks(space, peak, left(), 1):
            evidence = log_weights[:, : len(part.configurations), place].flatten(0, 1)
            same = gaussian_units(
                part, parameters, lanes, part.configurations, top, evidence, seed, rows[place.numpy()]
            )
            rung[place[same].numpy()] = "gaussian"
    if method in ("auto", "quadrature"):
        single = (space.active.sum(-1) == 1) & (peak.converged | ~space.counted.repeat(lanes, 1)).all(0)
        for place, part, top in blocks(space, peak, left()[single[left()]], COUNT):
            got, weights, served = integrated(
                part, parameters, lanes, top, draws=draws, seed=seed, rows=rows[place.numpy()]
            )
            if lanes == 1:
                mass = torch.zeros(min(MOST, count), COUNT, space.units) if mass is None else mass
                mass[: len(weights), :, place[served]] = weights[:MOST, :, served]
            keep(place[served], got.of(served), "quadrature")
    those = left()
    if method in ("auto", "importance", "laplace") and len(those):
        attempts = 1 if method == "laplace" else 5
        # a configuration is left out where the Laplace approximation gives it next to nothing
        weighty = (chances.amax(0) > LITTLE / MAX_CONFIGURATIONS) | ~peak.converged.reshape(lanes, count, -1).all(0)
        few, tops, order = _selected(space, peak, lanes, weighty & space.counted)
        many = proposals(few.joint.own, lanes)
        for number in many[those].unique().tolist():
            for place, part, top in blocks(few, tops, those[many[those] == number], number):
                got = weighted(
                    part,
                    parameters,
                    lanes,
                    top,
                    draws=draws,
                    seed=seed,
                    rows=rows[place.numpy()],
                    many=number,
                    attempts=attempts,
                )
                if method == "laplace":
                    ess[place.numpy()], khat[place.numpy()] = got.ess, got.khat
                else:
                    keep(place, got, "importance", order)

    def draw() -> tuple[Tensor, Tensor]:
        if len(found) == 1 and len(found[0][0]) == space.units:
            return found[0][1].vectors, found[0][1].codes
        vectors, codes = _direct(space, peak, chances, draws, seed, rows)
        if found:
            vectors, codes = vectors.clone(), codes.clone()
        for place, part in found:
            vectors[:, place], codes[:, place] = part.vectors, part.codes
        return vectors, codes

    return LatentPosterior(space, peak, chances, rung, mass, draw, ess, khat)


def _peaks(
    space: Space, parameters: Mapping[str, Tensor], lanes: int, seed: int, rows: Any
) -> tuple[Space, Peak, Tensor]:
    """Modes and the Laplace log evidence, units with many configurations apart from those with few."""
    # a step of Newton's method is a run backwards for every coordinate
    groups = apart(space.joint.own, torch.arange(space.units), 2 * lanes * (1 + space.width))
    if len(groups) == 1:
        return space, *peaks(space, parameters, lanes, space.configurations, seed=seed, rows=rows)
    shape = lanes, len(space.configurations), space.units
    parts: dict[str, Tensor] = {}
    for place in groups:
        part = space.narrowed(place, int(space.joint.own[place].max()))
        count = len(part.configurations)
        top, evidence = peaks(part, parameters, lanes, part.configurations, seed=seed, rows=rows[place.numpy()])
        for key, value in {**vars(top), "evidence": evidence}.items():
            if key not in parts:
                parts[key] = torch.zeros(*shape, *value.shape[2:], dtype=value.dtype)
            parts[key][:, :count, place] = value.reshape(lanes, count, *value.shape[1:])
    made = {key: value.flatten(0, 1) for key, value in parts.items()}
    evidence = made.pop("evidence")
    return space, Peak(**made), evidence


def _narrowed(space: Space, peak: Peak, lanes: int, place: Tensor, count: int) -> tuple[Space, Peak]:
    """The space and peak of some units, with the first ``count`` configurations."""
    every = len(space.configurations)
    if len(place) == space.units and count == every:
        return space, peak
    top = peak if len(place) == space.units else peak.select(place)
    parts = {
        key: value.reshape(lanes, every, *value.shape[1:])[:, :count].flatten(0, 1) for key, value in vars(top).items()
    }
    return space.narrowed(place, count), Peak(**parts)


def _selected(space: Space, peak: Peak, lanes: int, mask: Tensor) -> tuple[Space, Peak, Tensor | None]:
    """Some of each unit's configurations, a mask ``(configuration, unit)``, and where they stood, likewise; None where
    nothing was left out."""
    if bool((mask == space.counted).all()):
        return space, peak, None
    order = (~mask).to(torch.int8).argsort(dim=0, stable=True)[: max(1, int(mask.sum(0).max()))]
    unit = torch.arange(space.units)
    parts = {
        key: value.reshape(lanes, len(mask), *value.shape[1:])[:, order, unit].flatten(0, 1)
        for key, value in vars(peak).items()
    }
    made = copy.copy(space)
    made.joint = Configurations(space.joint.at(order), mask.gather(0, order))
    return made, Peak(**parts), order


def _check_possible(space: Space, parameters: Mapping[str, Tensor], peak: Peak, log_weights: Tensor) -> None:
    dead = ~(log_weights.amax(1) > -torch.inf).all(0) | torch.isnan(log_weights).any(1).any(0)
    if not bool(dead.any()):
        return
    rows = dead.nonzero().flatten().tolist()
    lane = int((~(log_weights[:, :, rows[0]].amax(1) > -torch.inf)).to(torch.int8).argmax())
    config = int(space.counted[:, rows[0]].to(torch.int8).argmax())
    first = {name: value[lane] for name, value in parameters.items()}
    vector = peak.vector[lane * len(space.configurations) + config]
    names = space.culprits(first, vector, space.configurations[config], rows[0])
    words = "has probability zero under the program"
    if space.width:
        words = f"is impossible under the program at every value of {', '.join(space.inferred)} that was tried"
    elif space.inferred or space.carried:
        words += f", whatever {', '.join([*space.carried, *space.inferred])} may be"
    raise EvidenceError(
        f"the evidence of {len(rows)} of {space.units} units {words}"
        + (f" ({', '.join(names)} cannot be what was observed)." if names else "."),
        column=names[0] if names else None,
        rows=rows,
    )


def _direct(space: Space, peak: Peak, chances: Tensor, draws: int, seed: int, rows: Any) -> tuple[Tensor, Tensor]:
    """Draws where each configuration's posterior is Gaussian (or a point)."""
    lanes, count, units = chances.shape
    lane = torch.arange(draws) % lanes
    if count > 1:
        pick = uniforms(seed, "latent/configuration", rows, range(draws))
        chosen = (chances.cumsum(1)[lane] < pick[:, None] * (1 - 1e-12)).sum(1).clamp(max=count - 1)
    else:
        chosen = torch.zeros(draws, 1, dtype=torch.int64)
    codes = space.joint.at(chosen)
    if not space.width:
        return torch.zeros(draws, units, 0, dtype=chances.dtype), codes
    noise = space.normals("latent/vector", seed, rows, range(draws))
    if lanes * count == 1:
        return torch.einsum("nij,snj->sni", peak.factor[0], noise).add_(peak.vector[0]), codes
    place, unit = lane[:, None] * count + chosen, torch.arange(units)
    vectors = peak.vector[place, unit] + (peak.factor[place, unit] @ noise[..., None]).squeeze(-1)
    return vectors, codes
