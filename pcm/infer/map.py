"""The maximum a posteriori point, of parameters and of trainable tensors.

``theta* = argmax log p(theta) + log p(data | theta)``: the mode of the density of the constrained values themselves,
with no Jacobian, as in textbooks and in Pyro's ``AutoDelta``. The posterior it gives is that one point.

>>> import torch
>>> from torch.distributions import constraints
>>> from pcm.infer.target import Target
>>> target = Target(                                                   # Gamma(5, 2): its mode is (5 - 1) / 2
...     log_density=lambda theta: 4.0 * theta["rate"].log() - 2.0 * theta["rate"],
...     supports={"rate": constraints.positive},
...     initial={"rate": torch.ones((), dtype=torch.float64)},
... )
>>> MAP().fit(target, progress=False)
Posterior(map, 1 draw; rate 2)
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pcm.arguments import check_count
from pcm.errors import FitError, FitWarning, listed
from pcm.infer.laplace import starts
from pcm.infer.optimise import Optimum, climb, polish
from pcm.infer.posterior import Posterior
from pcm.infer.progress import Bar, progress_bar
from pcm.infer.seeding import seeded
from pcm.infer.target import Target
from pcm.infer.unconstrained import Unconstrained

__all__ = ["MAP", "Joint", "maximise", "train"]


@dataclass(frozen=True)
class MAP:
    """The mode of the posterior density; see the module.

    Parameters
    ----------
    adam_steps
        Steps of Adam before L-BFGS, where there are tensors to train.
    learning_rate
        Of Adam; decays to a tenth.
    iterations
        Most iterations of L-BFGS.
    newton_limit
        Largest number of coordinates for which Newton steps polish the mode.
    """

    name: ClassVar[str] = "map"
    adam_steps: int = 300
    learning_rate: float = 0.02
    iterations: int = 1000
    newton_limit: int = 200

    def fit(self, target: Target, *, draws: int = 1, seed: int | None = None, progress: bool = True) -> Posterior:
        """The mode, as a posterior of one draw whatever ``draws`` is; trainable tensors are left at their optimum.

        Raises
        ------
        FitError
            If there is nothing to fit, parameters are discrete, or no start has a finite density.
        """
        check_count(draws, "draws")
        space = Unconstrained(target, jacobian=False, method=self.name)
        with seeded(seed), progress_bar(self.name, show=progress) as bar:
            if target.trainable:
                optimum = train(space, bar, self.adam_steps, self.learning_rate, self.iterations)
            else:
                optimum = maximise(space, bar, self.iterations, self.newton_limit)
        vector = optimum.point[: space.dimension]
        flat = [] if optimum.flat is None else space.owners(optimum.flat)
        if not optimum.converged:
            warnings.warn(
                f"The search for the mode stopped after {optimum.iterations} iterations with about "
                f"{optimum.decrement:.2g} nats still to be gained: the point is not the optimum. Raise iterations=, "
                "or rescale the data.",
                FitWarning,
                stacklevel=2,
            )
        elif flat:
            warnings.warn(
                f"The mode is not unique: the log density does not fall along {listed(flat)}. Give proper priors, or "
                "fix one of them with given(…).",
                FitWarning,
                stacklevel=2,
            )
        diagnostics = {
            "converged": optimum.converged,
            "log_density": optimum.value,
            "decrement": optimum.decrement,
            "iterations": optimum.iterations,
            "not_identified": flat,
            "trained": list(target.trainable),
        }
        values = {name: value.unsqueeze(0) for name, value in space.values(vector).items()}
        return Posterior(values, method=self.name, diagnostics=diagnostics, dims=dict(target.dims))


def maximise(space: Unconstrained, bar: Bar, iterations: int = 1000, newton_limit: int = 200) -> Optimum:
    """The mode over the parameters, from the first start that converges, else the best found.

    Raises
    ------
    FitError
        If there are no parameters, or no start has a finite density.
    """
    if space.dimension == 0:
        raise FitError("The program has no parameters to fit and no tensors to train.")
    newton = space.dimension <= newton_limit
    best: Optimum | None = None
    for start in starts(space):
        found = climb(
            space.value_and_gradient, start, iterations=iterations, tolerance=1e-3 if newton else 1e-9, step=bar.climbed
        )
        if newton:
            found = polish(space.value_and_gradient, space.hessian, found.point, step=bar.climbed)
        if best is None or (found.converged, found.value) > (best.converged, best.value):
            best = found
        if best.converged:
            break
    assert best is not None  # starts() gives at least one start or raises
    return best


def train(space: Unconstrained, bar: Bar, adam_steps: int, learning_rate: float, iterations: int) -> Optimum:
    """The joint mode over the parameters and the trainable tensors, full batch: Adam, then L-BFGS.

    The tensors are left at the optimum, or as they were if an exception ends the search. The optimum's point has the
    parameters' coordinates first.

    Raises
    ------
    FitError
        If the density is not finite at the start.
    """
    joint = Joint(space)
    before = joint.point()
    try:
        value, gradient = joint.value_and_gradient(before)
        if not (math.isfinite(value) and bool(torch.isfinite(gradient).all())):
            raise FitError(
                f"The log density is {value} at the initial values of {listed([*space.names, *space.target.trainable])}"
                f", or its gradient is not finite. Check that the {space.target.units} rows of data lie in the support "
                "of the program's distributions, and that the initial weights give no NaN.",
                log_density=value,
            )
        point = _adam(joint, before, value, adam_steps, learning_rate, bar)
        optimum = climb(joint.value_and_gradient, point, iterations=iterations, tolerance=1e-8, step=bar.climbed)
        joint.write(optimum.point)
    except BaseException:
        joint.write(before)
        raise
    return optimum


class Joint:
    """Parameters and trainable tensors as one vector; evaluating it writes the tensors in place."""

    def __init__(self, space: Unconstrained) -> None:
        self.space = space
        self.leaves = list(space.target.trainable.values())
        self._sizes = [space.dimension, *(leaf.numel() for leaf in self.leaves)]

    def point(self) -> Tensor:
        """Where the parameters' initial values and the tensors are now ``(coordinate,)``."""
        tensors = [leaf.detach().reshape(-1).to(torch.float64) for leaf in self.leaves]
        return torch.cat([self.space.vector(), *tensors])

    def write(self, point: Tensor) -> None:
        """Put the tensors' part of ``point`` into the tensors."""
        with torch.no_grad():
            for leaf, part in zip(self.leaves, point.split(self._sizes)[1:], strict=True):
                leaf.copy_(part.reshape(leaf.shape))

    def value_and_gradient(self, point: Tensor) -> tuple[float, Tensor]:
        """Log density and gradient ``(coordinate,)`` at ``point``."""
        self.write(point)
        vector = point[: self.space.dimension].detach().requires_grad_()
        value = self.space.log_density(vector)
        if not value.requires_grad:
            raise FitError(
                f"The log density does not depend on {listed([*self.space.names, *self.space.target.trainable])} in a "
                "differentiable way. Compute it with torch operations from the tensors given."
            )
        gradients = torch.autograd.grad(value, [vector, *self.leaves], allow_unused=True)
        parts = [
            torch.zeros(size, dtype=torch.float64) if part is None else part.reshape(-1).to(torch.float64)
            for part, size in zip(gradients, self._sizes, strict=True)
        ]
        return float(value.detach()), torch.cat(parts)


def _adam(joint: Joint, start: Tensor, value: float, steps: int, learning_rate: float, bar: Bar) -> Tensor:
    """The best point of a run of Adam; a step to where the density is not finite ends the run."""
    point = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([point], lr=learning_rate)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.1 ** (1.0 / max(1, steps)))
    best, height = start, value
    for _ in range(steps):
        new_value, gradient = joint.value_and_gradient(point.detach())
        if not (math.isfinite(new_value) and bool(torch.isfinite(gradient).all())):
            break
        if new_value > height:
            best, height = point.detach().clone(), new_value
        point.grad = -gradient
        optimiser.step()
        schedule.step()
        bar.climbed(new_value)
    return best
