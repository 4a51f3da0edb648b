"""Discrete Laplace, discrete Gaussian and censored laws against sums, scipy and published variances."""

from __future__ import annotations

import math

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from scipy import stats
from torch import tensor

from pcm.couplings import Censored, DiscreteGaussian, DiscreteLaplace, resolve, tail
from pcm.errors import ArgumentError, CouplingError
from pcm.testing import check_coupling


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


LAWS = [(DiscreteLaplace, scale) for scale in (0.1, 0.5, 2.0, 30.0)] + [
    (DiscreteGaussian, scale) for scale in (0.05, 0.3, 1.0, 25.0)
]
GRID = torch.arange(-2_000.0, 2_001.0, dtype=torch.float64)


@pytest.mark.parametrize(("family", "scale"), LAWS)
def test_mass_variance_and_distribution_function_against_the_sum(family, scale) -> None:
    fn = family(tensor(3.0), scale)
    mass = fn.log_prob(GRID).exp().numpy()
    assert abs(math.fsum(mass) - 1) < 1e-12
    assert abs(math.fsum(mass * GRID.numpy()) - 3) < 1e-10
    assert math.fsum(mass * (GRID.numpy() - 3) ** 2) == pytest.approx(fn.variance.item(), rel=1e-10)
    coupling, bare = resolve(fn)
    near = GRID[(GRID - 3).abs() < 30 * scale + 2]
    found = tail.to_cdf(coupling.tail(bare, near)).numpy()
    summed = np.array([math.fsum(mass[: int(k) + 2_001]) for k in near])
    np.testing.assert_allclose(found, summed, rtol=1e-11, atol=1e-300)
    # quantiles are the smallest value whose tail is reached
    inner = near[1:-1]
    assert torch.equal(coupling.quantile(bare, coupling.tail(bare, inner)), inner)
    partial = coupling.partial_mean(bare, tensor(-1e9), near).numpy()
    np.testing.assert_allclose(partial, np.cumsum(mass * GRID.numpy())[near.long().numpy() + 2_000], atol=1e-10)


def test_published_variances() -> None:
    found = [DiscreteLaplace(tensor(0.0), 2.0), *(DiscreteGaussian(tensor(0.0), s) for s in (1.0, 0.7, 0.3))]
    expected = [7.835396178065527, 0.9999997887677281, 0.48880563042858705, 0.007672519368131734]
    for fn, variance in zip(found, expected, strict=True):
        assert abs(fn.variance.item() - variance) < 1e-10


def test_discrete_laplace_is_scipys() -> None:
    law, fn = stats.dlaplace(0.5, loc=2), DiscreteLaplace(tensor(2.0), 2.0)
    np.testing.assert_allclose(fn.log_prob(GRID).exp(), law.pmf(GRID.numpy()), rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize(("family", "scale"), LAWS)
def test_values_move_with_the_location(family, scale) -> None:
    """At one scale the quantile coupling is the equation ``x = loc + noise``."""
    old, new = family(torch.zeros(50), scale), family(torch.full((50,), 7.0), scale)
    coupling, bare = resolve(old)
    torch.manual_seed(0)
    value = old.sample()
    assert torch.equal(coupling.transport(bare, value, new, torch.rand(50)), value + 7)


def test_locations_are_whole_numbers_and_scales_are_sound() -> None:
    with pytest.raises(ValueError, match="loc"):
        DiscreteLaplace(tensor(0.5), 1.0)
    for scale in (0.0, -1.0, math.inf, 1e6, "1"):
        with pytest.raises(ArgumentError, match="scale"):
            DiscreteGaussian(tensor(0.0), scale)  # pyright: ignore[reportArgumentType]


# -- censored ----------------------------------------------------------------------------------------------------------

BASES = [
    (lambda: dist.Normal(tensor(0.3), 1.2), stats.norm(0.3, 1.2)),
    (lambda: dist.Laplace(tensor(0.3), 1.2), stats.laplace(0.3, 1.2)),
    (lambda: dist.Gamma(tensor(2.0), 1.5), stats.gamma(2, scale=1 / 1.5)),
]


@pytest.mark.parametrize(("base", "law"), BASES, ids=["normal", "laplace", "gamma"])
def test_censored_density_and_atoms(base, law) -> None:
    fn = Censored(base(), 0.5, 2.0)
    assert fn.log_prob(tensor(0.5)).exp().item() == pytest.approx(law.cdf(0.5), rel=1e-12)
    assert fn.log_prob(tensor(2.0)).exp().item() == pytest.approx(law.sf(2.0), rel=1e-12)
    assert fn.log_prob(tensor(1.3)).item() == pytest.approx(law.logpdf(1.3), rel=1e-12)
    fn._validate_args = False
    assert fn.log_prob(tensor([0.4, 2.1])).tolist() == [-math.inf, -math.inf]


def test_censored_integers_sum_to_one() -> None:
    for base in (DiscreteLaplace(tensor(3.0), 2.0), DiscreteGaussian(tensor(3.0), 2.0), dist.Poisson(tensor(3.0))):
        fn = Censored(base, 1, 6)
        values = torch.arange(1.0, 7.0)
        mass = fn.log_prob(values).exp()
        assert abs(mass.sum().item() - 1) < 1e-12
        assert (mass * values).sum().item() == pytest.approx(fn.mean.item(), rel=1e-12)
        assert mass[2].item() == pytest.approx(base.log_prob(tensor(3.0)).exp().item(), rel=1e-12)


def test_a_bounds_noise_is_drawn_from_its_interval() -> None:
    low, high = (
        Censored(dist.Normal(torch.zeros(6), 1.0), -0.5, 0.5),
        Censored(dist.Normal(torch.ones(6), 1.0), -0.5, 0.5),
    )
    for fn in (low, high):
        coupling, bare = resolve(fn)
        assert not coupling.invertible and not coupling.discrete
        report = check_coupling(coupling, [low, high], draws=2_000)
        assert "round trip" in report.kept
    with pytest.raises(TypeError, match="uniform"):
        coupling.abduct(bare, torch.zeros(6))


def test_far_tails_of_a_censored_law_have_a_gradient() -> None:
    loc = tensor(0.0, requires_grad=True)
    (slope,) = torch.autograd.grad(Censored(dist.Normal(loc, 1.0), 0.0, 30.0).log_prob(tensor(30.0)), loc)
    assert slope.item() == pytest.approx(30.033, abs=1e-3)  # the inverse Mills ratio
    (slope,) = torch.autograd.grad(Censored(dist.Laplace(loc, 2.0), -1.0, 1.0).log_prob(tensor(0.3)), loc)
    assert slope.item() == pytest.approx(0.5)


def test_censored_refuses_what_it_cannot_be() -> None:
    normal = dist.Normal(tensor(0.0), 1.0)
    for base, low, high, found in [
        (normal, None, None, "give a low bound"),
        (normal, 1.0, 1.0, "below high"),
        (normal, math.nan, 1.0, "below high"),
        (dist.Poisson(tensor(1.0)), 0.5, 3, "whole numbers"),
        (dist.Categorical(torch.ones(3)), 0, 1, "no quantile"),
        (dist.Dirichlet(torch.ones(3)), 0, 1, "one number"),
    ]:
        with pytest.raises(ArgumentError, match=found):
            Censored(base, low, high)
    with pytest.raises(CouplingError):
        resolve(Censored(normal, 0.0, 1.0), "gumbel_max")
