"""SVI where its family is exact, and what it reports elsewhere."""

from __future__ import annotations

import pyro
import pytest
import torch
from torch.distributions import constraints

from pcm.errors import ArgumentError, FitError, FitWarning
from pcm.infer import SVI, Target

F64 = torch.float64


def test_exact_within_two_percent_where_the_posterior_is_gaussian(linear):
    posterior = SVI().fit(linear.target, draws=60_000, seed=3, progress=False)
    draws = torch.cat([posterior["intercept"][:, None], posterior["weights"]], 1)
    deviation = linear.covariance.diagonal().sqrt()
    assert ((draws.mean(0) - linear.mean).abs() < 0.02 * deviation).all()
    torch.testing.assert_close(draws.std(0) / deviation, torch.ones(3, dtype=F64), rtol=0, atol=0.02)
    assert posterior.diagnostics["guide"] == "multivariate Gaussian"
    assert posterior.diagnostics["khat"] < 0.7 and posterior.diagnostics["converged"]
    assert posterior.diagnostics["log_evidence"] == pytest.approx(linear.log_evidence, abs=0.01)


def test_learns_what_laplace_cannot():
    # exp(x - exp(x)): the best Gaussian N(m, s²) has m + s²/2 = 0 and s² = 1; the mode is 0.
    target = Target(
        lambda theta: theta["x"] - theta["x"].exp(), {"x": constraints.real}, {"x": torch.zeros((), dtype=F64)}
    )
    with pytest.warns(FitWarning, match="k-hat"):  # exp(-exp(x)) falls faster than a Gaussian: the tails do not match
        draws = SVI(particles=64).fit(target, draws=40_000, seed=0, progress=False)["x"]
    assert float(draws.mean()) == pytest.approx(-0.5, abs=0.03)
    assert float(draws.std()) == pytest.approx(1.0, rel=0.03)


def test_diagonal_family_is_stated_and_too_narrow_where_correlated():
    precision = torch.tensor([[1.0, 0.9], [0.9, 1.0]], dtype=F64)
    target = Target(
        lambda theta: -0.5 * theta["x"] @ precision @ theta["x"],
        {"x": constraints.independent(constraints.real, 1)},
        {"x": torch.zeros(2, dtype=F64)},
    )
    with pytest.warns(FitWarning, match="diagonal Gaussian"):
        posterior = SVI(family="diagonal").fit(target, draws=20_000, seed=0, progress=False)
    torch.testing.assert_close(posterior["x"].std(0), torch.ones(2, dtype=F64), rtol=0, atol=0.04)  # 1/√(1) not 2.29
    assert posterior.diagnostics["guide"] == "diagonal Gaussian"
    assert posterior.diagnostics["khat"] > 0.7


def test_many_parameters_take_the_diagonal_family():
    scale = torch.linspace(0.5, 20.0, 201, dtype=F64)
    target = Target(
        lambda theta: -0.5 * (theta["x"] / scale).square().sum(),
        {"x": constraints.independent(constraints.real, 1)},
        {"x": torch.ones(201, dtype=F64)},
    )
    posterior = SVI(steps=300).fit(target, draws=20_000, seed=0, progress=False)
    assert posterior.diagnostics["guide"] == "diagonal Gaussian"
    torch.testing.assert_close(posterior["x"].std(0) / scale, torch.ones(201, dtype=F64), rtol=0, atol=0.06)


def test_tensors_are_trained_together(network):
    posterior = SVI().fit(network.target, draws=20_000, seed=0, progress=False)
    # Given the weight w that maximises the marginal density, offset ~ N(Σ(y - w x) / 51, 1/51).
    assert float(network.weight.detach()) == pytest.approx(network.marginal_weight, abs=0.01)
    assert float(posterior["offset"].std()) == pytest.approx(51**-0.5, rel=0.02)
    assert posterior.diagnostics["trained"] == ["weight"]
    assert network.weight.grad is None


def test_too_few_steps_are_said(network):
    with pytest.warns(FitWarning, match="ELBO was still rising"):
        posterior = SVI(steps=4).fit(network.target, draws=10, seed=0, progress=False)
    assert posterior.diagnostics["converged"] is False


def test_the_store_of_the_user_is_not_touched(linear):
    store = pyro.get_param_store()
    with store.scope():
        mine = pyro.param("loc", torch.tensor(5.0))
        with pytest.warns(FitWarning, match="ELBO"):
            SVI(steps=5).fit(linear.target, draws=5, seed=0, progress=False)
        assert list(store.keys()) == ["loc"]
        assert pyro.param("loc") is mine


def test_bad_options_and_empty_targets():
    with pytest.raises(ArgumentError, match="family='planar'"):
        SVI(family="planar")
    with pytest.raises(ArgumentError, match="steps=0"):
        SVI(steps=0)
    with pytest.raises(FitError, match="no parameters to fit and no tensors"):
        SVI().fit(Target(lambda theta: torch.zeros((), dtype=F64), {}, {}), progress=False)
