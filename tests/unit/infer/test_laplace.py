"""Laplace against closed forms, and what it refuses."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from pyro import distributions as dist
from scipy import stats
from torch.distributions import constraints

from pcm.errors import ArgumentError, FitError, FitWarning
from pcm.infer import Laplace, Target
from pcm.infer.laplace import approximate
from pcm.infer.progress import progress_bar
from pcm.infer.unconstrained import Unconstrained

F64 = torch.float64


def fit(target, **options):
    return Laplace().fit(target, **({"draws": 4000, "seed": 1, "progress": False} | options))


def quiet_approximation(target):
    with progress_bar("test", show=False) as bar:
        return approximate(Unconstrained(target), bar)


def test_the_gaussian_of_linear_regression_is_exact(linear):
    found = quiet_approximation(linear.target)
    torch.testing.assert_close(found.location, linear.mean, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.covariance, linear.covariance, rtol=1e-9, atol=0)
    assert found.log_evidence == pytest.approx(linear.log_evidence, abs=1e-8)


def test_draws_of_linear_regression(linear):
    posterior = fit(linear.target, draws=20_000)
    assert posterior.diagnostics["khat"] == 0.0
    assert posterior.diagnostics["converged"] and posterior.diagnostics["newton_decrement"] < 1e-10
    draws = torch.cat([posterior["intercept"][:, None], posterior["weights"]], 1)
    deviation = linear.covariance.diagonal().sqrt()
    assert ((draws.mean(0) - linear.mean).abs() < 4.5 * deviation / 20_000**0.5).all()
    correlation = linear.covariance / deviation[:, None] / deviation
    torch.testing.assert_close(draws.T.corrcoef(), correlation, rtol=0, atol=0.03)
    torch.testing.assert_close(draws.std(0) / deviation, torch.ones(3, dtype=F64), rtol=0, atol=0.025)


def test_resampling_corrects_a_skewed_posterior(gamma_poisson):
    posterior = fit(gamma_poisson.target)
    assert posterior.diagnostics["khat"] < 0.7
    assert posterior.diagnostics["resampled"] is True
    exact = stats.gamma(gamma_poisson.shape, scale=1 / gamma_poisson.rate)
    for probability in (0.05, 0.25, 0.5, 0.75, 0.95):
        below = float((posterior["rate"] <= exact.ppf(probability)).double().mean())
        assert below == pytest.approx(probability, abs=4.5 * math.sqrt(probability * (1 - probability) / 2000))
    assert posterior.diagnostics["log_evidence"] == pytest.approx(gamma_poisson.log_evidence, abs=0.01)


def test_without_resampling_the_draws_are_the_gaussian(gamma_poisson):
    posterior = Laplace(resample=False).fit(gamma_poisson.target, draws=20_000, seed=1, progress=False)
    # In u = log(rate) the posterior is 18 u - 5 exp(u): mode log(18/5), curvature 18.
    assert posterior.diagnostics["resampled"] is False
    logs = posterior["rate"].log()
    assert float(logs.mean()) == pytest.approx(math.log(3.6), abs=4.5 / math.sqrt(18 * 20_000))
    assert float(logs.std()) == pytest.approx(18**-0.5, rel=0.025)


def test_simplex(simplex):
    posterior = fit(simplex.target)
    total = simplex.concentration.sum()
    mean = simplex.concentration / total
    deviation = (mean * (1 - mean) / (total + 1)).sqrt()
    assert posterior["shares"].shape == (4000, 3)
    torch.testing.assert_close(posterior["shares"].sum(-1), torch.ones(4000, dtype=F64))
    assert ((posterior.mean("shares") - mean).abs() < 4.5 * deviation / 2000**0.5).all()
    torch.testing.assert_close(posterior["shares"].std(0) / deviation, torch.ones(3, dtype=F64), rtol=0, atol=0.08)


def test_half_normal_scale():
    # p(s) ∝ exp(-s²/2), y ~ N(0, s): moments by quadrature on a fine grid.
    y = torch.tensor([0.3, -1.2, 0.8, 2.0, -0.5, 1.1], dtype=F64)

    def log_density(theta):
        prior = dist.HalfNormal(torch.ones((), dtype=F64), validate_args=False).log_prob(theta["scale"])
        return prior + dist.Normal(0.0, theta["scale"], validate_args=False).log_prob(y).sum()

    grid = torch.linspace(0.05, 8.0, 40_001, dtype=F64)
    weights = torch.func.vmap(lambda s: log_density({"scale": s}))(grid).softmax(0)
    mean = float((weights * grid).sum())
    deviation = float((weights * (grid - mean).square()).sum().sqrt())
    target = Target(log_density, {"scale": constraints.positive}, {"scale": torch.ones((), dtype=F64)}, units=6)
    posterior = fit(target)
    assert float(posterior.mean("scale")) == pytest.approx(mean, abs=4.5 * deviation / 2000**0.5)
    assert float(posterior["scale"].std()) == pytest.approx(deviation, rel=0.08)


def test_correlation_matrix():
    # A 2×2 LKJ(eta) correlation r has (1 + r) / 2 ~ Beta(eta, eta); a likelihood (1 - r²)^8 makes eta 10.
    def log_density(theta):
        prior = dist.LKJ(2, torch.tensor(2.0, dtype=F64), validate_args=False).log_prob(theta["matrix"])
        return prior + 8.0 * torch.log1p(-theta["matrix"][..., 0, 1].square())

    target = Target(log_density, {"matrix": dist.constraints.corr_matrix}, {"matrix": torch.eye(2, dtype=F64)})
    posterior = fit(target)
    share = (1.0 + posterior["matrix"][:, 0, 1]) / 2.0
    exact = stats.beta(10, 10)
    assert float(share.mean()) == pytest.approx(0.5, abs=4.5 * exact.std() / 2000**0.5)
    assert float(share.std()) == pytest.approx(exact.std(), rel=0.08)


def test_positive_definite_matrix():
    # Wishart(df 12, scale I/12) has mean I and Var(X_11) = 2/12, Var(X_12) = 1/12.
    prior = torch.distributions.Wishart(
        torch.tensor(12.0, dtype=F64), covariance_matrix=torch.eye(2, dtype=F64) / 12.0, validate_args=False
    )
    target = Target(
        lambda theta: prior.log_prob(theta["sigma"]),
        {"sigma": constraints.positive_definite},
        {"sigma": torch.eye(2, dtype=F64)},
    )
    draws = fit(target, draws=8000)["sigma"]
    torch.testing.assert_close(draws.mean(0), torch.eye(2, dtype=F64), rtol=0, atol=0.03)
    assert float(draws[:, 0, 0].std()) == pytest.approx((2 / 12) ** 0.5, rel=0.06)
    assert float(draws[:, 0, 1].std()) == pytest.approx((1 / 12) ** 0.5, rel=0.06)


def test_heavy_tails_take_the_student_proposal():
    t = dist.StudentT(torch.tensor(3.0, dtype=F64), validate_args=False)
    target = Target(
        lambda theta: t.log_prob(theta["x"]).sum(),
        {"x": constraints.independent(constraints.real, 1)},
        {"x": torch.full((2,), 0.1, dtype=F64)},
    )
    posterior = fit(target, draws=8000)
    assert posterior.diagnostics["proposal"] == "Student t"
    assert posterior.diagnostics["khat"] < 0.7
    assert float((posterior["x"].abs() < 0.7649).double().mean()) == pytest.approx(0.5, abs=0.03)  # t₃ quartile


def test_a_wrong_approximation_is_said():
    # Two far modes in one direction of a cross: neither Gaussian nor t at one of them covers the other.
    def log_density(theta):
        x = theta["x"]
        return torch.logsumexp(torch.stack([-0.5 * (100.0 * x) ** 2, -0.5 * ((x - 1.0) / 3.0) ** 2]), 0)

    target = Target(log_density, {"x": constraints.real}, {"x": torch.zeros((), dtype=F64)})
    with pytest.warns(FitWarning, match=r"k-hat .* must be below 0\.7"):
        posterior = fit(target)
    assert posterior.diagnostics["khat"] >= 0.7


@pytest.mark.parametrize("near", [False, True])
def test_unidentified_parameters_are_named(near):
    # Only the sum of slope and intercept meets the data; scale is identified.
    y = torch.tensor([0.9, 1.1, 1.4, 0.2], dtype=F64)
    ridge = 1e-20 if near else 0.0

    def log_density(theta):
        mean = theta["slope"] + theta["intercept"]
        fitted = dist.Normal(mean, theta["scale"], validate_args=False).log_prob(y).sum()
        return fitted - theta["scale"] - ridge * theta["slope"] ** 2

    target = Target(
        log_density,
        {"scale": constraints.positive, "slope": constraints.real, "intercept": constraints.real},
        {name: torch.full((), 0.5, dtype=F64) for name in ("scale", "slope", "intercept")},
        units=4,
    )
    with pytest.raises(FitError, match="parameters slope, intercept are not identified by the 4 rows") as caught:
        fit(target)
    assert caught.value.parameters == ["slope", "intercept"]


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_a_density_that_is_not_finite_is_said(value):
    target = Target(
        lambda theta: theta["x"] * 0.0 + value, {"x": constraints.real}, {"x": torch.zeros((), dtype=F64)}, units=7
    )
    with pytest.raises(
        FitError, match=f"not finite at any of .* starting values of x; at the first it is {value}.*7 rows"
    ):
        fit(target)


def test_another_start_is_tried_when_the_first_fails():
    # sqrt has no finite gradient at the first value, and NaN below it.
    target = Target(
        lambda theta: -(theta["x"] + 1.0).sqrt() - 1.0 / (theta["x"] + 1.0),
        {"x": constraints.real},
        {"x": torch.full((), -1.0, dtype=F64)},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)  # the density is improper: only the mode matters here
        posterior = Laplace(resample=False).fit(target, draws=1, seed=0, progress=False)
    # With s = x + 1, -√s - 1/s is largest at s = 2^(2/3).
    assert posterior.diagnostics["log_density"] == pytest.approx(-(2 ** (1 / 3) + 2 ** (-2 / 3)), abs=1e-9)


def test_discrete_parameters_and_trainable_tensors_are_refused_by_name(network):
    discrete = Target(lambda theta: theta["k"], {"k": constraints.boolean}, {"k": torch.ones((), dtype=F64)})
    with pytest.raises(FitError, match=r"'k' is discrete .*laplace needs continuous .*given\(k=…\)"):
        fit(discrete)
    with pytest.raises(FitError, match=r"also trains weight.*method='map' or 'svi'"):
        fit(network.target)


def test_bad_draws_and_seeds_are_refused(linear):
    with pytest.raises(ArgumentError, match="draws=0"):
        fit(linear.target, draws=0)
    with pytest.raises(ArgumentError, match="seed='x'"):
        fit(linear.target, seed="x")


def test_no_parameters():
    with pytest.raises(FitError, match="no parameters to fit"):
        fit(Target(lambda theta: torch.zeros((), dtype=F64), {}, {}))


def test_calibration_of_ranks():
    # Simulation-based calibration (Talts et al. 2018): with parameters from the prior, ranks are uniform.
    replications, draws, bins = 150, 127, 8
    generator = torch.Generator().manual_seed(11)
    slope_ranks, scale_ranks = [], []
    x = torch.linspace(-1.0, 1.0, 12, dtype=F64)
    prior = torch.distributions.LogNormal(torch.zeros((), dtype=F64), torch.full((), 0.5, dtype=F64))
    for replication in range(replications):
        slope = torch.randn((), dtype=F64, generator=generator)
        scale = (0.5 * torch.randn((), dtype=F64, generator=generator)).exp()
        y = slope * x + scale * torch.randn(12, dtype=F64, generator=generator)

        def log_density(theta, y=y):
            fitted = dist.Normal(theta["slope"] * x, theta["scale"], validate_args=False).log_prob(y).sum()
            return fitted - 0.5 * theta["slope"] ** 2 + prior.log_prob(theta["scale"])

        target = Target(
            log_density,
            {"slope": constraints.real, "scale": constraints.positive},
            {"slope": torch.zeros((), dtype=F64), "scale": torch.ones((), dtype=F64)},
            units=12,
        )
        posterior = fit(target, draws=draws, seed=replication)
        slope_ranks.append(int((posterior["slope"] < slope).sum()))
        scale_ranks.append(int((posterior["scale"] < scale).sum()))
    for ranks in (slope_ranks, scale_ranks):
        counts = torch.tensor(ranks).div((draws + 1) // bins, rounding_mode="floor").bincount(minlength=bins)
        assert stats.chisquare(counts.numpy()).pvalue > 1e-4 / 2
