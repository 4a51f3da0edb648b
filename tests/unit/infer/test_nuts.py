"""NUTS against closed forms; the warnings of chains that went wrong."""

from __future__ import annotations

import warnings

import pyro
import pytest
import torch
from scipy import stats
from torch.distributions import constraints

from pcm.errors import ArgumentError, FitError, FitWarning
from pcm.infer import NUTS, Target

F64 = torch.float64


def test_a_small_run(gamma_poisson):
    posterior = NUTS(chains=2, warmup=100).fit(gamma_poisson.target, draws=1000, seed=0, progress=False)
    exact = stats.gamma(gamma_poisson.shape, scale=1 / gamma_poisson.rate)
    size = posterior.diagnostics["ess_bulk"]["rate"]
    assert size > 250
    assert float(posterior.mean("rate")) == pytest.approx(exact.mean(), abs=4.5 * exact.std() / size**0.5)
    assert float(posterior["rate"].std()) == pytest.approx(exact.std(), rel=0.15)
    assert posterior.chains == 2 and len(posterior) == 1000
    assert posterior.diagnostics["rhat"]["rate"] < 1.05 and posterior.diagnostics["converged"] is True
    assert posterior.diagnostics["start"] == "laplace"
    assert posterior.sample_stats["diverging"].shape == (2, 500)
    assert dict(posterior.inference_data.posterior.sizes) == {"chain": 2, "draw": 500}


def test_draws_are_rounded_up_and_few_are_said(linear):
    with pytest.warns(FitWarning) as caught:
        posterior = NUTS(chains=3, warmup=20).fit(linear.target, draws=10, seed=0, progress=False)
    assert any("Too few effective draws of intercept" in str(warning.message) for warning in caught)
    assert len(posterior) == 12 and posterior["weights"].shape == (12, 2)


def test_a_funnel_without_a_mode_still_runs_and_warns():
    # Neal's funnel with flat width: no mode to start from, divergences at the neck.
    def log_density(theta):
        width = theta["log_width"]
        return -0.5 * (width / 3.0) ** 2 - 0.5 * (theta["x"] / width.exp()).square().sum() - 5.0 * width

    target = Target(
        log_density,
        {"log_width": constraints.real, "x": constraints.independent(constraints.real, 1)},
        {"log_width": torch.zeros((), dtype=F64), "x": torch.ones(5, dtype=F64)},
    )
    with pytest.warns(FitWarning) as caught:
        posterior = NUTS(chains=2, warmup=50).fit(target, draws=100, seed=0, progress=False)
    words = " ".join(str(warning.message) for warning in caught)
    assert "log_width" in words
    assert posterior.diagnostics["converged"] is False


def test_refusals(network):
    with pytest.raises(FitError, match="also trains weight"):
        NUTS().fit(network.target, progress=False)
    with pytest.raises(ArgumentError, match="at least 2"):
        NUTS(chains=1)
    with pytest.raises(ArgumentError, match="target_accept=1"):
        NUTS(target_accept=1.0)


def test_handlers_of_the_caller_do_not_see_the_kernel(gamma_poisson):
    with pyro.poutine.trace() as trace, pytest.warns(FitWarning):
        NUTS(chains=2, warmup=5).fit(gamma_poisson.target, draws=10, seed=0, progress=False)
    assert list(trace.trace.nodes) == []


@pytest.mark.slow
def test_recovery_of_a_simplex_and_a_regression(simplex, linear):
    posterior = NUTS().fit(simplex.target, draws=4000, seed=1, progress=False)
    total = simplex.concentration.sum()
    mean = simplex.concentration / total
    deviation = (mean * (1 - mean) / (total + 1)).sqrt()
    size = posterior.diagnostics["ess_bulk"]["shares"]
    assert ((posterior.mean("shares") - mean).abs() < 4.5 * deviation / size**0.5).all()
    torch.testing.assert_close(posterior["shares"].std(0) / deviation, torch.ones(3, dtype=F64), rtol=0, atol=0.08)

    posterior = NUTS().fit(linear.target, draws=4000, seed=1, progress=False)
    deviation = linear.covariance.diagonal().sqrt()
    assert ((posterior.mean("weights") - linear.mean[1:]).abs() < 0.1 * deviation[1:]).all()
    torch.testing.assert_close(posterior["weights"].std(0) / deviation[1:], torch.ones(2, dtype=F64), rtol=0, atol=0.08)


@pytest.mark.slow
def test_calibration_of_ranks():
    # Simulation-based calibration: rate ~ Gamma(3, 1), ten counts; thinned draws have uniform ranks.
    replications, kept, bins = 100, 31, 4
    generator = torch.Generator().manual_seed(5)
    prior = torch.distributions.Gamma(torch.tensor(3.0, dtype=F64), torch.tensor(1.0, dtype=F64))
    ranks = []
    for replication in range(replications):
        rate = -torch.rand(3, dtype=F64, generator=generator).log().sum()
        total = torch.poisson(10.0 * rate, generator=generator)
        target = Target(
            lambda theta, total=total: (
                prior.log_prob(theta["rate"]) + total * theta["rate"].log() - 10.0 * theta["rate"]
            ),
            {"rate": constraints.positive},
            {"rate": torch.ones((), dtype=F64)},
            units=10,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FitWarning)  # a hundred fits: some R-hat is high by chance
            posterior = NUTS(chains=2, warmup=100).fit(target, draws=600, seed=replication, progress=False)
        ranks.append(int((posterior.thin(kept, seed=replication)["rate"] < rate).sum()))
    counts = torch.tensor(ranks).div((kept + 1) // bins, rounding_mode="floor").bincount(minlength=bins)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4
