"""NUTS: Hamiltonian Monte Carlo in coordinates whitened by the Laplace approximation.

The chains run on ``e`` with ``u = u* + B e``, ``B Bᵀ = H⁻¹``, so that near the mode the posterior is already round;
what is left is adapted during warm-up. Where there is no Laplace approximation (a funnel has no mode) they run on u.
Pyro's kernel does the sampling (Hoffman & Gelman 2014; Betancourt 2017).

>>> NUTS(chains=2, warmup=100).name
'nuts'
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from pyro import poutine
from pyro.infer.mcmc import NUTS as Kernel
from torch import Tensor

from pcm.arguments import check_count
from pcm.errors import ArgumentError, FitError, FitWarning
from pcm.infer.diagnostics import chain_problems, ess, rhat
from pcm.infer.laplace import Approximation, approximate, starts
from pcm.infer.posterior import Posterior
from pcm.infer.progress import Bar, progress_bar
from pcm.infer.seeding import seeded
from pcm.infer.target import Target
from pcm.infer.unconstrained import Unconstrained

__all__ = ["NUTS"]


@dataclass(frozen=True)
class NUTS:
    """The No-U-Turn sampler; see the module.

    Parameters
    ----------
    chains
        Independent chains, at least 2, run one after the other.
    warmup
        Steps of each chain spent on adapting, and thrown away.
    target_accept
        Acceptance aimed at; nearer 1 takes smaller steps.
    max_tree_depth
        At most ``2 ** max_tree_depth`` gradients a draw.
    """

    name: ClassVar[str] = "nuts"
    chains: int = 4
    warmup: int = 300
    target_accept: float = 0.8
    max_tree_depth: int = 10

    def __post_init__(self) -> None:
        if self.chains < 2:
            raise ArgumentError(f"chains={self.chains}: R-hat compares chains, so at least 2 are needed.")
        if self.warmup < 1:
            raise ArgumentError(f"warmup={self.warmup}: the step size needs at least 1 step to adapt; 300 is usual.")
        if not 0.0 < self.target_accept < 1.0:
            raise ArgumentError(f"target_accept={self.target_accept} is no probability between 0 and 1.")

    def fit(self, target: Target, *, draws: int = 1000, seed: int | None = None, progress: bool = True) -> Posterior:
        """``draws`` draws in all, rounded up to the same number in each chain.

        Raises
        ------
        FitError
            If parameters are discrete, tensors are left to train, or no start has a finite density.
        """
        check_count(draws, "draws")
        target.refuse_trainable(self.name)
        space = Unconstrained(target, method=self.name)
        if space.dimension == 0:
            raise FitError("The program has no parameters to fit: no sample site stands outside the units' plate.")
        each = -(-draws // self.chains)
        with seeded(seed), progress_bar(self.name, total=self.chains * (self.warmup + each), show=progress) as bar:
            frame = _frame(space)
            runs = [self._chain(space, frame, chain, each, bar) for chain in range(self.chains)]
        vectors = torch.stack([run[0] for run in runs])
        values = space.values(frame.place(vectors.reshape(-1, space.dimension)))
        diverging = np.stack([run[1] for run in runs])
        diagnostics: dict[str, Any] = {
            "divergences": int(diverging.sum()),
            "warmup": self.warmup,
            "start": frame.origin,
        }
        agreement, sizes = {}, {}
        for name, value in values.items():
            array = value.numpy().reshape(self.chains, each, -1)
            agreement[name], sizes[name] = rhat(array), ess(array)
        problems = chain_problems(agreement, sizes, diagnostics["divergences"], self.chains)
        diagnostics |= {
            "rhat": {name: _worst(np.nanmax, value) for name, value in agreement.items()},
            "ess_bulk": {name: _worst(np.nanmin, value) for name, value in sizes.items()},
            "step_size": [run[2] for run in runs],
            "converged": not problems,
            "problems": problems,
        }
        for problem in problems:
            warnings.warn(problem, FitWarning, stacklevel=2)
        return Posterior(
            values,
            method=self.name,
            chains=self.chains,
            diagnostics=diagnostics,
            dims=dict(target.dims),
            sample_stats={"diverging": diverging},
        )

    def _chain(
        self, space: Unconstrained, frame: _Frame, chain: int, draws: int, bar: Bar
    ) -> tuple[Tensor, np.ndarray, float]:
        """Standardised points ``(draw, coordinate)``, which of them diverged, and the step size."""

        def potential(parameters: dict[str, Tensor]) -> Tensor:
            return -space.log_density(frame.place(parameters["e"]))

        kernel = Kernel(
            potential_fn=potential, target_accept_prob=self.target_accept, max_tree_depth=self.max_tree_depth
        )
        kernel.initial_params = {"e": _dispersed(space, frame)}
        points = []
        with poutine.block():  # handlers of a caller must not see the kernel's own sample statements
            kernel.setup(self.warmup)
            state = kernel.initial_params
            bar.say(f"chain {chain + 1}, warm-up")
            for _ in range(self.warmup):
                state = kernel.sample(state)
                bar.update()
            bar.say(f"chain {chain + 1}")
            for _ in range(draws):
                state = kernel.sample(state)
                points.append(state["e"].detach().clone())
                bar.update()
            divergent = kernel.diagnostics()["divergences"]
            step_size = float(kernel.step_size)
            kernel.cleanup()
        diverging = np.zeros(draws, dtype=bool)
        diverging[divergent] = True
        return torch.stack(points), diverging, step_size


@dataclass(frozen=True)
class _Frame:
    """Coordinates in which the posterior is round."""

    location: Tensor
    factor: Tensor
    origin: str

    def place(self, standard: Tensor) -> Tensor:
        return self.location + standard @ self.factor.mT


def _frame(space: Unconstrained) -> _Frame:
    with progress_bar("laplace", show=False) as silent:
        try:
            found: Approximation = approximate(space, silent)
            return _Frame(found.location, found.factor, "laplace")
        except FitError:
            # No mode, or a flat direction of the Hessian; the first finite start raises if there is none.
            location = next(iter(starts(space)))
            return _Frame(location, torch.eye(space.dimension, dtype=torch.float64), "initial values")


def _dispersed(space: Unconstrained, frame: _Frame) -> Tensor:
    """A start ``(coordinate,)`` wider than the posterior, where the density is finite."""
    width = 1.5
    for _ in range(30):
        standard = width * torch.randn(space.dimension, dtype=torch.float64)
        value, gradient = space.value_and_gradient(frame.place(standard))
        if math.isfinite(value) and bool(torch.isfinite(gradient).all()):
            return standard
        width *= 0.8
    return torch.zeros(space.dimension, dtype=torch.float64)


def _worst(reduce: Any, values: np.ndarray) -> float:
    """The worst of ``values``; NaN, without numpy's warning, where none is a number."""
    return float(reduce(values)) if np.isfinite(values).any() else math.nan
