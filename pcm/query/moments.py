"""Answers that are computed rather than averaged over draws, for the units that allow it.

*Gaussian*: the posterior of what is missing is Gaussian and the variable linear in it. The variable is evaluated at the
posterior mean and along each column of a square root of the covariance: if a far-out combination of the columns lands
where linearity says, mean and standard deviation are exact, and so is the interval. Several parameter draws, or
configurations of missing discrete sites, make a mixture of such Gaussians. *One number open* (a missing or an interval
cell, whose unit is complete but for it): the variable is integrated over it numerically.

>>> import torch
>>> one = torch.tensor([True])
>>> parts = Gaussians(one, torch.tensor([[0.0]]), torch.tensor([[1.0]]), torch.tensor([[1.0]]))
>>> round(parts.quantile(0.975).item(), 3)
1.96
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pcm.infer.latent import LatentPosterior, nodes
from pcm.query.lanes import Lanes
from pcm.query.nodes import drawn_sites, node_lanes
from pcm.query.quantile import smooth_quantile

if TYPE_CHECKING:
    from pcm.query.evaluate import Evaluation

__all__ = ["Atoms", "Either", "Gaussians", "Moments", "moments_of"]


class Moments(ABC):
    """Mean, standard deviation and quantiles of a variable, ``(*inner, unit, *event)``, for the units of ``covers``."""

    covers: Tensor

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """Mean."""

    @property
    @abstractmethod
    def sd(self) -> Tensor:
        """Standard deviation."""

    @abstractmethod
    def quantile(self, level: float) -> Tensor:
        """Quantile."""

    @property
    def whole(self) -> bool:
        """Whether every unit is covered."""
        return bool(self.covers.all())

    def over(self, own: Tensor, other: Tensor, event: int) -> Tensor:
        """``own`` for the units covered, ``other`` for the rest."""
        return torch.where(self.covers.reshape(-1, *([1] * event)), own, other.to(own.dtype))


@dataclass(frozen=True)
class Either(Moments):
    """Those of ``first`` for its units, of ``second`` for others."""

    first: Moments
    second: Moments
    event: int

    @property
    def covers(self) -> Tensor:  # type: ignore[override]
        """Units of either."""
        return self.first.covers | self.second.covers

    @property
    def mean(self) -> Tensor:
        """Mean."""
        return self.first.over(self.first.mean, self.second.mean, self.event)

    @property
    def sd(self) -> Tensor:
        """Standard deviation."""
        return self.first.over(self.first.sd, self.second.sd, self.event)

    def quantile(self, level: float) -> Tensor:
        """Quantile."""
        return self.first.over(self.first.quantile(level), self.second.quantile(level), self.event)


@dataclass(frozen=True)
class Atoms(Moments):
    """Points on a smooth curve: ``values (atom, *inner, unit, *event)``, ``weights (atom, 1…, unit, 1…)``."""

    covers: Tensor
    values: Tensor
    weights: Tensor

    @property
    def mean(self) -> Tensor:
        """Mean."""
        return (self.weights * self.values).sum(0)

    @property
    def sd(self) -> Tensor:
        """Standard deviation."""
        return (self.weights * (self.values - self.mean) ** 2).sum(0).sqrt()

    def quantile(self, level: float) -> Tensor:
        """Quantile, between points by straight lines."""
        return smooth_quantile(self.values, self.weights.expand(self.values.shape), level)


@dataclass(frozen=True)
class Gaussians(Moments):
    """A mixture of Gaussians for every unit; means, deviations and weights are ``(part, *inner, unit, *event)``."""

    covers: Tensor
    means: Tensor
    deviations: Tensor
    weights: Tensor

    @property
    def mean(self) -> Tensor:
        """Mean of the mixture."""
        return (self.weights * self.means).sum(0)

    @property
    def sd(self) -> Tensor:
        """Standard deviation of the mixture."""
        apart = self.means - self.mean
        return (self.weights * (self.deviations**2 + apart**2)).sum(0).sqrt()

    def quantile(self, level: float) -> Tensor:
        """Quantile of the mixture: in closed form for one part, by bisection else."""
        z = torch.special.ndtri(torch.tensor(level, dtype=self.means.dtype))
        if len(self.means) == 1:
            return self.means[0] + z * self.deviations[0]
        spread = 12.0 * self.deviations
        low, high = (self.means - spread).amin(0), (self.means + spread).amax(0)
        scale = self.deviations.clamp(min=1e-300)
        for _ in range(200):
            middle = (low + high) / 2
            below = (self.weights * torch.special.ndtr((middle - self.means) / scale)).sum(0) < level
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
            if bool((high - low <= 1e-12 * (1 + middle.abs())).all()):
                break
        return (low + high) / 2


def moments_of(run: Evaluation, latent: LatentPosterior, world: str, name: str) -> Moments | None:
    """Moments of a variable in a world, for the units that allow it; None where none does."""
    found = [_gaussians(run, latent, world, name), _atoms(run, latent, world, name)]
    made = [each for each in found if each is not None and bool(each.covers.any())]
    if len(made) == 2:
        return Either(made[0], made[1], len(run.site(name).event))
    return made[0] if made else None


def _gaussians(run: Evaluation, latent: LatentPosterior, world: str, name: str) -> Moments | None:
    covers = latent.gaussian & (drawn_sites(latent) == 0)
    if not latent.space.width or not bool(covers.any()):
        return None
    space, peak = latent.space, latent.peak
    lanes, units, width = peak.vector.shape
    count = len(space.configurations)
    steps = torch.cat([torch.zeros(1, width), torch.eye(width), 3.0 * (1 + torch.arange(width) % 2)[None]])
    places = len(steps)
    vectors = peak.vector[:, None] + torch.einsum("luij,sj->lsui", peak.factor, steps.to(peak.factor.dtype))
    part = torch.arange(lanes).repeat_interleave(places)
    made = Lanes(
        lanes * places,
        {key: value[part // count] for key, value in run.parameters.items()},
        space,
        lambda some: (vectors.reshape(lanes * places, units, width)[some], space.joint.at(part[some, None] % count)),
    )
    found = (
        run.values_over(made, world, name).to(run.program.dtype).reshape(lanes, places, *run.site(name).shape(units))
    )
    middle, columns = found[:, 0], found[:, 1:-1] - found[:, :1]
    step = steps[-1].to(found.dtype).reshape(1, width, *([1] * (found.dim() - 2)))
    line = middle + (columns * step).sum(1)
    site = run.site(name)
    shape = (lanes, *([1] * len(site.inner)), units, *([1] * len(site.event)))
    weights = (latent.chances.reshape(lanes, units) / (lanes // count)).reshape(shape)
    linear = (found[:, -1] - line).abs() <= 1e-8 * (1 + line.abs() + columns.abs().sum(1))
    linear = (linear | (weights == 0)).movedim(1 + len(site.inner), -1).reshape(-1, units).all(0)
    return Gaussians(covers & linear, middle, (columns**2).sum(1).sqrt(), weights.expand(middle.shape))


def _atoms(run: Evaluation, latent: LatentPosterior, world: str, name: str) -> Atoms | None:
    """Where one number is open: a coordinate with a quadrature of its own, or one site drawn from its mechanism."""
    made = node_lanes(latent, run.parameters)
    if made is None:
        return None
    lanes, covers = made
    assert lanes.weights is not None
    site = run.site(name)
    units, places = run.units, len(nodes()[0])
    weights = lanes.weights.reshape(lanes.count, *([1] * len(site.inner)), units, *([1] * len(site.event)))
    values = run.values_over(lanes, world, name).to(run.program.dtype)
    found = Atoms(covers, torch.where(weights > 0, values, 0.0), weights)
    half = 2 * (weights * found.values).reshape(-1, places, *values.shape[1:])[:, ::2].sum((0, 1))
    smooth = (half - found.mean).abs() <= 1e-6 * (1 + found.mean.abs() + found.sd)
    smooth = smooth.movedim(len(site.inner), -1).reshape(-1, units).all(0)
    return Atoms(covers & smooth, found.values, weights)
