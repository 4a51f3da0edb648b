"""Laplace: a Gaussian at the mode of the unconstrained posterior, corrected by importance resampling.

``p(u | data) ≈ N(u*, H⁻¹)`` with ``u*`` the mode and ``H`` the negative Hessian there. Draws of it are weighted by
``p / q``, the weights Pareto-smoothed, and draws resampled accordingly, so that where k-hat is below 0.7 they are draws
of the posterior itself and not of its approximation. Where the Gaussian's tails are too thin a t₅ of the same scale is
tried. Of a costly density with many draws only some are evaluated and the others' weights told by a cubic
(:mod:`pcm.infer.surrogate`), with an error in the diagnostics as ``weight_error`` (0 where all were evaluated).
``log_evidence`` is the importance sampling estimate, ``log_evidence_laplace`` the classical one.

>>> import torch
>>> from torch.distributions import constraints
>>> from pcm.infer.target import Target
>>> target = Target(
...     log_density=lambda theta: -0.5 * ((theta["slope"] - 3.0) / 0.1) ** 2,
...     supports={"slope": constraints.real},
...     initial={"slope": torch.zeros((), dtype=torch.float64)},
... )
>>> posterior = Laplace().fit(target, draws=4000, seed=0, progress=False)
>>> round(float(posterior.mean("slope")), 1), posterior.diagnostics["khat"]
(3.0, 0.0)
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from pcm.arguments import check_count
from pcm.errors import FitError, FitWarning, listed
from pcm.infer.diagnostics import KHAT_LIMIT, importance_ess, khat_problem, psis
from pcm.infer.optimise import Optimum, climb, polish
from pcm.infer.posterior import Posterior
from pcm.infer.progress import Bar, progress_bar
from pcm.infer.seeding import seeded
from pcm.infer.surrogate import CHEAP, told
from pcm.infer.target import Target
from pcm.infer.unconstrained import Unconstrained

__all__ = ["Approximation", "Laplace", "approximate", "approximation_at", "starts"]

PROPOSALS = 512  # fewer say little about the tail of the weights
DEGREES = 5.0
STARTS = 6


@dataclass(frozen=True)
class Approximation:
    """A Gaussian in unconstrained coordinates.

    Attributes
    ----------
    optimum
        Where the search ended.
    factor
        ``(coordinate, coordinate)``, B with B Bᵀ = H⁻¹: ``u = u* + B e`` has independent standard normal ``e``.
    log_scale
        log |det B|.
    """

    optimum: Optimum
    factor: Tensor
    log_scale: float

    @property
    def location(self) -> Tensor:
        """The mode u* ``(coordinate,)``."""
        return self.optimum.point

    @property
    def covariance(self) -> Tensor:
        """H⁻¹ ``(coordinate, coordinate)``."""
        return self.factor @ self.factor.mT

    @property
    def log_evidence(self) -> float:
        """Laplace's estimate of log p(data)."""
        return self.optimum.value + 0.5 * len(self.location) * math.log(2.0 * math.pi) + self.log_scale

    def place(self, standard: Tensor) -> Tensor:
        """Points ``(…, coordinate)`` of standardised ones."""
        return self.location + standard @ self.factor.mT


@dataclass(frozen=True)
class Laplace:
    """The Laplace approximation with Pareto-smoothed importance resampling; see the module.

    Parameters
    ----------
    resample
        ``False`` keeps the draws of the Gaussian itself; k-hat is reported all the same.
    """

    name: ClassVar[str] = "laplace"
    resample: bool = True

    def fit(self, target: Target, *, draws: int = 1000, seed: int | None = None, progress: bool = True) -> Posterior:
        """Draws of the posterior of ``target``.

        Raises
        ------
        FitError
            If parameters are discrete, tensors are left to train, no start has a finite density, no mode is found, or
            the data do not identify some parameters (they are named).
        """
        check_count(draws, "draws")
        target.refuse_trainable(self.name)
        space = Unconstrained(target, method=self.name)
        with seeded(seed), progress_bar(self.name, show=progress) as bar:
            approximation = approximate(space, bar)
            bar.say("drawing")
            vectors, diagnostics = self._draw(space, approximation, draws)
        problem = khat_problem(diagnostics["khat"], "Laplace")
        if problem:
            warnings.warn(problem, FitWarning, stacklevel=2)
        optimum = approximation.optimum
        diagnostics |= {
            "converged": optimum.converged,
            "newton_decrement": optimum.decrement,
            "iterations": optimum.iterations,
            "log_density": optimum.value,
            "log_evidence_laplace": approximation.log_evidence,
            "hessian": space.differentiation,
            "batching": space.batching,
        }
        return Posterior(space.values(vectors), method=self.name, diagnostics=diagnostics, dims=dict(target.dims))

    def _draw(self, space: Unconstrained, approximation: Approximation, draws: int) -> tuple[Tensor, dict]:
        batch, evaluated = _propose(space, approximation, max(draws, PROPOSALS), None)
        weights, khat = psis(batch[1])
        proposal = "Gaussian"
        if khat >= KHAT_LIMIT:
            wider, asked = _propose(space, approximation, max(draws, PROPOSALS), DEGREES)
            wider_weights, wider_khat = psis(wider[1])
            if wider_khat < khat:
                batch, weights, khat, proposal, evaluated = wider, wider_weights, wider_khat, "Student t", asked
        effective = importance_ess(weights)
        if self.resample and khat < KHAT_LIMIT and effective < 0.8 * draws:
            # More proposals instead of repeated draws.
            extra = min(4 * draws, math.ceil(draws * len(weights) / effective)) - len(weights)
            if extra > 0:
                more, asked = _propose(space, approximation, extra, None if proposal == "Gaussian" else DEGREES)
                evaluated = (evaluated[0] + asked[0], max(evaluated[1], asked[1]))
                batch = (torch.cat([batch[0], more[0]]), np.concatenate([batch[1], more[1]]))
                weights, khat = psis(batch[1])
                effective = importance_ess(weights)
        vectors, ratios = batch
        evidence = float(np.logaddexp.reduce(ratios) - math.log(len(ratios)))
        resampled = self.resample and khat < 1.0
        if resampled:
            vectors = vectors[_systematic(torch.from_numpy(weights).exp(), draws)]
        elif proposal == "Gaussian":
            vectors = vectors[:draws]
        else:  # a t proposal that is not reweighted would be too wide
            vectors = approximation.place(torch.randn(draws, space.dimension, dtype=torch.float64))
            effective = float(draws)
        diagnostics = {
            "khat": khat,
            "ess": min(effective, float(draws)) if resampled else float(draws),
            "resampled": resampled,
            "proposal": proposal,
            "proposals": len(ratios),
            "evaluated": evaluated[0],
            "weight_error": evaluated[1],
            "log_evidence": evidence,
        }
        return vectors, diagnostics


def approximate(space: Unconstrained, bar: Bar) -> Approximation:
    """The Gaussian at the mode, from the first start that leads to one.

    Raises
    ------
    FitError
        As :meth:`Laplace.fit`.
    """
    if space.dimension == 0:
        raise FitError("The program has no parameters to fit: no sample site stands outside the units' plate.")
    failure: FitError | None = None
    for start in starts(space):
        near = climb(space.value_and_gradient, start, tolerance=1e-3, step=bar.climbed)
        optimum = polish(space.value_and_gradient, space.hessian, near.point, step=bar.climbed)
        problem = _problem(space, optimum)
        if problem is None:
            return _gaussian(optimum)
        failure = failure or problem
        if optimum.flat is not None and optimum.decrement < 1e-6:
            break  # a flat direction is flat from everywhere
    assert failure is not None  # starts() gives at least one start or raises
    raise failure


def approximation_at(space: Unconstrained, point: Tensor) -> Approximation:
    """The Gaussian of the curvature at a mode already found ``(coordinate,)``.

    Raises
    ------
    FitError
        If the density does not fall in every direction there.
    """
    optimum = polish(space.value_and_gradient, space.hessian, point)
    problem = _problem(space, optimum)
    if problem is not None:
        raise problem
    return _gaussian(optimum)


def starts(space: Unconstrained, number: int = STARTS):
    """Points to search from: the initial values, the origin, then widening noise about the first; finite ones only.

    Raises
    ------
    FitError
        If the density is finite at none of them.
    """
    first = space.vector()
    found, seen = 0, []
    for attempt in range(number):
        if attempt == 0:
            point = first
        elif attempt == 1:
            point = torch.zeros_like(first)
        else:
            point = first + 0.5 * 2.0 ** (attempt - 2) * torch.randn_like(first)
        value, gradient = space.value_and_gradient(point)
        seen.append(value)
        if math.isfinite(value) and bool(torch.isfinite(gradient).all()):
            found += 1
            yield point
    if not found:
        what = "its gradient is not finite" if math.isfinite(seen[0]) else f"it is {seen[0]}"
        raise FitError(
            f"The log density is not finite at any of {number} starting values of {listed(space.names)}; at the first "
            f"{what}. Check that the {space.target.units} rows of data lie in the support of the program's "
            "distributions, and that it gives no NaN.",
            log_density=seen[0],
        )


# -- private -------------------------------------------------------------------------------------------------------


def _problem(space: Unconstrained, optimum: Optimum) -> FitError | None:
    if optimum.flat is not None:
        names = space.owners(optimum.flat)
        one = len(names) == 1
        return FitError(
            f"The parameter{'' if one else 's'} {listed(names)} {'is' if one else 'are'} not identified by the "
            f"{space.target.units} row{'s' * (space.target.units != 1)} of data and the prior: "
            f"{'along it' if one else 'in a joint direction of them'} "
            "the log density does not fall. Give proper priors, remove what is redundant, or fix one with given(…).",
            parameters=names,
        )
    if not optimum.converged:
        names = space.owners(optimum.gradient)
        return FitError(
            f"No mode was found in {optimum.iterations} Newton steps on {space.target.units} "
            f"row{'s' * (space.target.units != 1)} of data: {optimum.decrement:.3g} nats are still to be gained, "
            f"steepest along {listed(names)}. Rescale the data, give tighter priors, or use method='nuts'.",
            parameters=names,
        )
    return None


def _gaussian(optimum: Optimum) -> Approximation:
    assert optimum.precision is not None
    scale = optimum.precision.diagonal().sqrt()
    lower = torch.linalg.cholesky(optimum.precision / (scale[:, None] * scale))
    identity = torch.eye(len(scale), dtype=scale.dtype)
    factor = torch.linalg.solve_triangular(lower.mT, identity, upper=True) / scale[:, None]
    log_scale = -float(lower.diagonal().log().sum() + scale.log().sum())
    return Approximation(optimum, factor, log_scale)


def _propose(
    space: Unconstrained, approximation: Approximation, draws: int, degrees: float | None
) -> tuple[tuple[Tensor, np.ndarray], tuple[int, float]]:
    """Points ``(draw, coordinate)`` and their log ratios target / proposal ``(draw,)``; evaluations and their error."""
    size = space.dimension
    costly = degrees is None and space.target.size * draws > CHEAP
    standard = torch.randn(2 * draws if costly else draws, size, dtype=torch.float64)  # what is told costs nothing
    if degrees is None:
        log_proposal = -0.5 * standard.square().sum(-1) - 0.5 * size * math.log(2.0 * math.pi)
    else:
        chi = torch.distributions.Chi2(torch.tensor(degrees, dtype=torch.float64)).sample((draws, 1))
        standard = standard * (degrees / chi).sqrt()
        log_proposal = (
            math.lgamma(0.5 * (degrees + size))
            - math.lgamma(0.5 * degrees)
            - 0.5 * size * math.log(degrees * math.pi)
            - 0.5 * (degrees + size) * torch.log1p(standard.square().sum(-1) / degrees)
        )
    vectors = approximation.place(standard)
    if costly:

        def ratio(some: Tensor) -> Tensor:  # constants apart, zero where the target is Gaussian
            return space.log_densities(approximation.place(some)) + 0.5 * some.square().sum(-1)

        found = told(ratio, standard, draws)
        kept = len(found.values)
        standard, vectors, log_proposal = standard[:kept], vectors[:kept], log_proposal[:kept]
        log_target, asked = found.values - 0.5 * standard.square().sum(-1), (found.evaluated, found.error)
    else:
        log_target, asked = space.log_densities(vectors), (draws, 0.0)
    return (vectors, (log_target - log_proposal + approximation.log_scale).numpy()), asked


def _systematic(weights: Tensor, draws: int) -> Tensor:
    """Indices ``(draw,)`` of a systematic resample, in random order: each draw w·n times, rounded up or down."""
    edges = weights.cumsum(0)
    places = (torch.arange(draws, dtype=torch.float64) + torch.rand((), dtype=torch.float64)) / draws * edges[-1]
    chosen = torch.searchsorted(edges, places).clamp_max(len(weights) - 1)
    return chosen[torch.randperm(draws)]
