"""Targets whose posterior is known in closed form."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from pyro import distributions as dist
from torch.distributions import constraints

from pcm.infer import Target

F64 = torch.float64


def number(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=F64)


@pytest.fixture
def linear() -> SimpleNamespace:
    """Linear regression with known noise: the posterior of the weights is exactly Gaussian."""
    generator = torch.Generator().manual_seed(4)
    n, noise, width = 60, 0.5, 3.0
    x = torch.randn(n, 2, dtype=F64, generator=generator)
    x[:, 1] += 0.8 * x[:, 0]
    y = 0.7 + x @ torch.tensor([1.5, -2.0], dtype=F64) + noise * torch.randn(n, dtype=F64, generator=generator)
    design = torch.cat([torch.ones(n, 1, dtype=F64), x], 1)

    def log_density(theta):
        mean = theta["intercept"] + x @ theta["weights"]
        prior = dist.Normal(number(0.0), number(width), validate_args=False)
        likelihood = dist.Normal(mean, number(noise), validate_args=False).log_prob(y).sum()
        return prior.log_prob(theta["intercept"]) + prior.log_prob(theta["weights"]).sum() + likelihood

    precision = design.T @ design / noise**2 + torch.eye(3, dtype=F64) / width**2
    marginal = torch.distributions.MultivariateNormal(
        torch.zeros(n, dtype=F64), noise**2 * torch.eye(n, dtype=F64) + width**2 * design @ design.T
    )
    return SimpleNamespace(
        target=Target(
            log_density,
            supports={"intercept": constraints.real, "weights": constraints.independent(constraints.real, 1)},
            initial={"intercept": number(0.0), "weights": torch.zeros(2, dtype=F64)},
            dims={"weights": ("feature",)},
            units=n,
        ),
        mean=torch.linalg.solve(precision, design.T @ y / noise**2),
        covariance=torch.linalg.inv(precision),
        log_evidence=float(marginal.log_prob(y)),
    )


@pytest.fixture
def gamma_poisson() -> SimpleNamespace:
    """Counts 3, 5, 2, 6 with a Gamma(2, 1) prior on their rate: the posterior is Gamma(18, 5)."""
    counts = torch.tensor([3.0, 5.0, 2.0, 6.0], dtype=F64)

    def log_density(theta):
        prior = dist.Gamma(number(2.0), number(1.0), validate_args=False).log_prob(theta["rate"])
        return prior + dist.Poisson(theta["rate"], validate_args=False).log_prob(counts).sum()

    evidence = (
        math.lgamma(18.0) - math.lgamma(2.0) - 18.0 * math.log(5.0) - sum(math.lgamma(float(c) + 1.0) for c in counts)
    )
    return SimpleNamespace(
        target=Target(log_density, {"rate": constraints.positive}, {"rate": number(1.0)}, units=4),
        shape=18.0,
        rate=5.0,
        log_evidence=evidence,
    )


@pytest.fixture
def simplex() -> SimpleNamespace:
    """Dirichlet(2, 3, 4) prior, multinomial counts 10, 20, 30: the posterior is Dirichlet(12, 23, 34)."""
    counts = torch.tensor([10.0, 20.0, 30.0], dtype=F64)
    prior = dist.Dirichlet(torch.tensor([2.0, 3.0, 4.0], dtype=F64), validate_args=False)

    def log_density(theta):
        return prior.log_prob(theta["shares"]) + (counts * theta["shares"].log()).sum()

    return SimpleNamespace(
        target=Target(
            log_density, {"shares": constraints.simplex}, {"shares": torch.full((3,), 1 / 3, dtype=F64)}, units=60
        ),
        concentration=torch.tensor([12.0, 23.0, 34.0], dtype=F64),
    )


@pytest.fixture
def network() -> SimpleNamespace:
    """y = w x + b with unit noise: a sampled offset b ~ N(0, 1) and a trainable weight w under a flat prior.

    Given w, b is Gaussian; the joint mode solves a 2×2 system.
    """
    generator = torch.Generator().manual_seed(8)
    x = torch.randn(50, dtype=F64, generator=generator) + 0.5
    y = 2.0 * x - 0.7 + torch.randn(50, dtype=F64, generator=generator)
    weight = torch.zeros(1, dtype=F64, requires_grad=True)

    def log_density(theta):
        return -0.5 * theta["offset"] ** 2 - 0.5 * (y - weight * x - theta["offset"]).square().sum()

    left = torch.stack([torch.stack([(x * x).sum(), x.sum()]), torch.stack([x.sum(), number(51.0)])])
    mode = torch.linalg.solve(left, torch.stack([(x * y).sum(), y.sum()]))
    # Trained by svi, w maximises the marginal density, where y ~ N(w x, I + 1 1ᵀ).
    inner = torch.eye(50, dtype=F64) - torch.ones(50, 50, dtype=F64) / 51.0
    marginal = float((x @ inner @ y) / (x @ inner @ x))
    return SimpleNamespace(
        target=Target(
            log_density, {"offset": constraints.real}, {"offset": number(0.0)}, trainable={"weight": weight}, units=50
        ),
        weight=weight,
        mode=mode,
        marginal_weight=marginal,
    )
