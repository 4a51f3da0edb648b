"""Analytic answers where the posterior of what is missing is Gaussian and the variable is linear in it.

The variable is evaluated at the posterior mean and along each column of a square root of the covariance: if a far-out
combination of the columns lands where linearity says, mean and standard deviation are exact, and so is the interval.
Several parameter draws, or configurations of missing discrete sites, make a mixture of such Gaussians.

>>> import torch
>>> parts = Moments(torch.tensor([[0.0]]), torch.tensor([[1.0]]), torch.tensor([[1.0]]))
>>> round(parts.quantile(0.975).item(), 3)
1.96
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pcm.infer.latent import LatentPosterior
from pcm.query.lanes import Lanes

if TYPE_CHECKING:
    from pcm.query.evaluate import Evaluation

__all__ = ["Moments", "moments_of"]


@dataclass(frozen=True)
class Moments:
    """A mixture of Gaussians for every unit; all three are ``(part, *inner, unit, *event)``."""

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
    """Moments of a variable in a world; None where it is not linear in what is missing."""
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
        lambda: (
            vectors.reshape(lanes * places, units, width),
            space.configurations[part % count][:, None].expand(-1, units, -1),
        ),
    )
    found = (
        run.values_over(made, world, name).to(run.program.dtype).reshape(lanes, places, *run.site(name).shape(units))
    )
    middle, columns = found[:, 0], found[:, 1:-1] - found[:, :1]
    step = steps[-1].to(found.dtype).reshape(1, width, *([1] * (found.dim() - 2)))
    line = middle + (columns * step).sum(1)
    if not bool(((found[:, -1] - line).abs() <= 1e-8 * (1 + line.abs() + columns.abs().sum(1))).all()):
        return None
    weights = latent.chances.reshape(lanes, units) / (lanes // count)
    site = run.site(name)
    shape = (lanes, *([1] * len(site.inner)), units, *([1] * len(site.event)))
    return Moments(middle, (columns**2).sum(1).sqrt(), weights.reshape(shape).expand(middle.shape))
