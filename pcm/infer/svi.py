"""Stochastic variational inference with a Gaussian guide, and trained tensors where there are any.

``max E_q[log p(u, data) − log q(u)]`` over Gaussians q, by Pyro's ELBO on coordinates whitened by the Laplace
approximation: the guide starts at it, and what is learned is the correction. Up to 200 coordinates the guide is a
full multivariate Gaussian, beyond it a diagonal one, whose intervals are too narrow where parameters are correlated;
k-hat of the posterior against the guide tells.

>>> SVI(steps=500).name
'svi'
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from pyro.infer.autoguide import AutoContinuous, AutoDiagonalNormal, AutoMultivariateNormal
from pyro.infer.autoguide.initialization import init_to_value
from torch import Tensor

from pcm.arguments import check_count
from pcm.errors import ArgumentError, FitError, FitWarning
from pcm.infer.diagnostics import elbo_rise, importance_ess, khat_problem, psis
from pcm.infer.laplace import PROPOSALS, approximate, approximation_at, starts
from pcm.infer.map import train
from pcm.infer.optimise import climb
from pcm.infer.posterior import Posterior
from pcm.infer.progress import Bar, progress_bar
from pcm.infer.seeding import seeded
from pcm.infer.target import Target
from pcm.infer.unconstrained import Unconstrained

__all__ = ["SVI"]

FULL_LIMIT = 200  # coordinates: beyond it a full covariance has more numbers than can be learned
FAMILIES = {"full": "multivariate Gaussian", "diagonal": "diagonal Gaussian"}


@dataclass(frozen=True)
class SVI:
    """Variational inference with a Gaussian guide; see the module.

    Parameters
    ----------
    steps
        Steps of Adam.
    particles
        Draws of the guide a step.
    learning_rate
        For the guide, in posterior standard deviations; constant for three fifths of the steps, then down to a
        hundredth.
    tensor_rate
        For the trainable tensors.
    family
        ``"full"``, ``"diagonal"``, or ``"auto"``: full up to 200 coordinates.
    """

    name: ClassVar[str] = "svi"
    steps: int = 1000
    particles: int = 16
    learning_rate: float = 0.02
    tensor_rate: float = 0.005
    family: str = "auto"

    def __post_init__(self) -> None:
        if self.family not in ("auto", *FAMILIES):
            raise ArgumentError(
                f"family={self.family!r} is no family of guides; families: auto, {', '.join(FAMILIES)}."
            )
        if self.steps < 1 or self.particles < 1:
            raise ArgumentError(f"steps={self.steps} and particles={self.particles} must both be at least 1.")

    def fit(self, target: Target, *, draws: int = 1000, seed: int | None = None, progress: bool = True) -> Posterior:
        """``draws`` draws of the guide; trainable tensors are left at their optimum.

        Raises
        ------
        FitError
            If there is nothing to fit, parameters are discrete, no start has a finite density, the ELBO is not
            finite, or the guide is diagonal and the data have private answers.
        """
        check_count(draws, "draws")
        space = Unconstrained(target, method=self.name)
        family = self.family if self.family != "auto" else "full" if space.dimension <= FULL_LIMIT else "diagonal"
        if family == "diagonal":
            target.refuse_mean_field(self.name)
        before = {name: leaf.detach().clone() for name, leaf in target.trainable.items()}
        diagnostics: dict[str, Any] = {"converged": True}
        try:
            with seeded(seed), progress_bar(self.name, total=self.steps, show=progress) as bar:
                frame = _frame(space, family)
                if space.dimension:
                    vectors, diagnostics = self._learn(space, frame, family, draws, bar)
                else:
                    vectors = torch.zeros(1, 0, dtype=torch.float64)
        except BaseException:
            with torch.no_grad():
                for name, leaf in target.trainable.items():
                    leaf.copy_(before[name])
            raise
        for problem in diagnostics.get("problems", []):
            warnings.warn(problem, FitWarning, stacklevel=2)
        diagnostics |= {"start": frame.origin, "trained": list(target.trainable), "batching": space.batching}
        return Posterior(space.values(vectors), method=self.name, diagnostics=diagnostics, dims=dict(target.dims))

    def _learn(
        self, space: Unconstrained, frame: _Frame, family: str, draws: int, bar: Bar
    ) -> tuple[Tensor, dict[str, Any]]:
        origin = torch.zeros(space.dimension, dtype=torch.float64)
        normal: Any = dist.Normal(origin, torch.ones_like(origin))
        prior = normal.to_event(1).mask(False)

        def model() -> None:
            point = pyro.sample("e", prior)
            if point.ndim > 1:  # Pyro looks at the model's shape once, without particles
                pyro.factor("target", space.differentiable_log_densities(frame.place(point)))

        guide_class = _FullGuide if family == "full" else _DiagonalGuide
        elbo = Trace_ELBO(num_particles=self.particles, vectorize_particles=True, max_plate_nesting=0)
        with poutine.block(), pyro.get_param_store().scope():
            guide = guide_class(model, init_loc_fn=init_to_value(values={"e": origin}), init_scale=1.0)
            guide()
            trace = self._ascend(space, elbo, model, guide, bar)
            with torch.no_grad():
                q = guide.get_posterior()
                standard = q.sample((max(draws, PROPOSALS),))
                vectors = frame.place(standard)
                ratios = space.log_densities(vectors) - q.log_prob(standard) + frame.log_scale
        weights, khat = psis(ratios.numpy())
        rise = elbo_rise(trace)
        problems = []
        if rise > 0.0:
            problems.append(
                f"The ELBO was still rising, by {rise:.2g} nats over the last fifth of {self.steps} steps: the guide "
                f"has not converged. Raise steps= (now {self.steps}) or learning_rate= (now {self.learning_rate})."
            )
        problem = khat_problem(khat, f"variational ({FAMILIES[family]})")
        diagnostics = {
            "khat": khat,
            "importance_ess": importance_ess(weights),
            "resampled": False,
            "guide": FAMILIES[family],
            "elbo": float(np.mean(trace[-max(1, len(trace) // 10) :])),
            "elbo_rise": rise,
            "log_evidence": float(torch.logsumexp(ratios, 0)) - math.log(len(ratios)),
            "converged": rise == 0.0,
            "steps": self.steps,
            "problems": problems + ([problem] if problem else []),
        }
        return vectors[:draws], diagnostics

    def _ascend(
        self, space: Unconstrained, elbo: Trace_ELBO, model: Any, guide: AutoContinuous, bar: Bar
    ) -> list[float]:
        """Train guide and tensors; the ELBO at each step. Ends with the tensors at their last values."""
        tensors = list(space.target.trainable.values())
        groups = [{"params": list(guide.parameters()), "lr": self.learning_rate}]
        if tensors:
            groups.append({"params": tensors, "lr": self.tensor_rate})
        optimiser = torch.optim.Adam(groups, betas=(0.9, 0.99))
        held = int(0.6 * self.steps)
        decay = 0.01 ** (1.0 / max(1, self.steps - held))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: decay ** max(0, step - held))
        trace: list[float] = []
        for _ in range(self.steps):
            optimiser.zero_grad(set_to_none=True)
            loss = elbo.differentiable_loss(model, guide)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise FitError(
                    f"The ELBO is {value} after {len(trace)} steps: the log density is not finite somewhere within the "
                    "guide. Lower learning_rate=, rescale the data, or use method='laplace' or 'nuts'."
                )
            loss.backward()
            optimiser.step()
            schedule.step()
            trace.append(-value)
            bar.climbed(-value)
        for leaf in tensors:
            leaf.grad = None
        return trace


class _Landing(dist.MultivariateNormal):
    """A Gaussian whose log density ignores the gradient of its own parameters.

    With it the ELBO's gradient has no noise where the guide equals the posterior ("sticking the landing", Roeder, Wu &
    Duvenaud 2017), so that there the guide ends exact.
    """

    def log_prob(self, value: Tensor) -> Tensor:
        return dist.MultivariateNormal(self.loc.detach(), scale_tril=self.scale_tril.detach()).log_prob(value)


class _FullGuide(AutoMultivariateNormal):
    def get_posterior(self, *args: Any, **kwargs: Any) -> Any:
        q = super().get_posterior(*args, **kwargs)
        return _Landing(q.loc, scale_tril=q.scale_tril)


class _DiagonalGuide(AutoDiagonalNormal):
    def get_posterior(self, *args: Any, **kwargs: Any) -> Any:
        loc, scale = cast("tuple[Tensor, Tensor]", self._loc_scale(*args, **kwargs))
        return _DiagonalLanding(loc, scale).to_event(1)


class _DiagonalLanding(dist.Normal):
    def log_prob(self, value: Tensor) -> Tensor:
        return dist.Normal(self.loc.detach(), self.scale.detach()).log_prob(value)


@dataclass(frozen=True)
class _Frame:
    """Coordinates in which the guide starts as a standard Gaussian."""

    location: Tensor
    factor: Tensor
    log_scale: float
    origin: str

    def place(self, standard: Tensor) -> Tensor:
        return self.location + standard @ self.factor.mT


def _frame(space: Unconstrained, family: str) -> _Frame:
    if not (space.dimension or space.target.trainable):
        raise FitError("The program has no parameters to fit and no tensors to train.")
    with progress_bar("mode", show=False) as silent:
        location: Tensor | None = None
        if space.target.trainable:
            location = train(space, silent, 300, 0.02, 300).point[: space.dimension]
            if not space.dimension:
                return _Frame(location, torch.zeros(0, 0, dtype=torch.float64), 0.0, "mode")
        if family == "full":
            try:
                found = approximate(space, silent) if location is None else approximation_at(space, location)
                return _Frame(found.location, found.factor, found.log_scale, "laplace")
            except FitError:  # no Gaussian fits at the mode, but a guide may still be learned about it
                pass
        if location is None:
            location = climb(space.value_and_gradient, next(iter(starts(space))), iterations=500).point
        return _wide(space, location)


def _wide(space: Unconstrained, location: Tensor) -> _Frame:
    """A diagonal frame of the curvature along each coordinate, by second differences of the log density."""
    size = space.dimension
    step = 1e-3
    offsets = step * torch.eye(size, dtype=torch.float64)
    centre = space.log_densities(location[None])
    bend = (2.0 * centre - space.log_densities(location + offsets) - space.log_densities(location - offsets)) / step**2
    noise = 1e-14 * (1.0 + centre.abs()) / step**2
    scale = torch.where(bend > noise, bend, torch.ones_like(bend)).rsqrt()
    return _Frame(location, torch.diag(scale), float(scale.log().sum()), "mode")
