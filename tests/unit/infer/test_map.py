"""MAP against textbook modes, and the training of tensors."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import constraints

from pcm.errors import FitError, FitWarning
from pcm.infer import MAP, Target

F64 = torch.float64


def test_mode_of_linear_regression(linear):
    posterior = MAP().fit(linear.target, progress=False)
    assert len(posterior) == 1 and posterior.diagnostics["converged"] is True
    found = torch.cat([posterior["intercept"], posterior["weights"][0]])
    torch.testing.assert_close(found, linear.mean, rtol=0, atol=1e-9)


def test_modes_have_no_jacobian(gamma_poisson, simplex):
    rate = MAP().fit(gamma_poisson.target, draws=500, progress=False)["rate"]
    torch.testing.assert_close(rate, torch.tensor([(18.0 - 1.0) / 5.0], dtype=F64), rtol=1e-9, atol=0)
    shares = MAP().fit(simplex.target, progress=False)["shares"]
    mode = (simplex.concentration - 1.0) / (simplex.concentration.sum() - 3.0)
    torch.testing.assert_close(shares[0], mode, rtol=1e-9, atol=0)


def test_tensors_are_trained_in_place(network):
    posterior = MAP().fit(network.target, seed=0, progress=False)
    assert posterior.diagnostics["converged"] is True and posterior.diagnostics["trained"] == ["weight"]
    found = torch.stack([network.weight.detach()[0], posterior["offset"][0]])
    torch.testing.assert_close(found, network.mode, rtol=0, atol=1e-5)
    assert network.weight.grad is None and network.weight.requires_grad


def test_tensors_alone():
    weight = torch.ones(2, dtype=F64, requires_grad=True)
    wanted = torch.tensor([3.0, -1.0], dtype=F64)
    target = Target(
        lambda theta: -(weight - wanted).pow(4).sum() - (weight - wanted).square().sum(), {}, {}, {"w": weight}
    )
    posterior = MAP().fit(target, progress=False)
    assert dict(posterior.draws) == {} and len(posterior) == 1
    torch.testing.assert_close(weight.detach(), wanted, rtol=0, atol=1e-4)


def test_tensors_are_left_alone_when_training_fails():
    weight = torch.full((1,), 2.0, dtype=F64, requires_grad=True)
    calls = []

    def log_density(theta):
        calls.append(1)
        if len(calls) > 5:
            raise ValueError("broken program")
        return -weight.square().sum()

    with pytest.raises(ValueError, match="broken program"):
        MAP().fit(Target(log_density, {}, {}, {"w": weight}), progress=False)
    assert float(weight.detach()[0]) == 2.0


def test_a_search_cut_short_is_said():
    def rosenbrock(theta):
        x, y = theta["x"][0], theta["x"][1]
        return -100.0 * (y - x * x) ** 2 - (1.0 - x) ** 2

    target = Target(
        rosenbrock, {"x": constraints.independent(constraints.real, 1)}, {"x": torch.tensor([-1.2, 1.0], dtype=F64)}
    )
    full = MAP(newton_limit=0).fit(target, progress=False)
    torch.testing.assert_close(full["x"][0], torch.ones(2, dtype=F64), rtol=0, atol=1e-4)
    with pytest.warns(FitWarning, match="stopped after 3 iterations"):
        short = MAP(newton_limit=0, iterations=3).fit(target, seed=0, progress=False)
    assert short.diagnostics["converged"] is False


def test_a_mode_that_is_not_unique_is_said():
    target = Target(
        lambda theta: -((theta["a"] + theta["b"] - 1.0) ** 2),
        {"a": constraints.real, "b": constraints.real},
        {"a": torch.zeros((), dtype=F64), "b": torch.zeros((), dtype=F64)},
    )
    with pytest.warns(FitWarning, match="not unique.* a, b"):
        posterior = MAP().fit(target, progress=False)
    assert float(posterior["a"] + posterior["b"]) == pytest.approx(1.0)
    assert posterior.diagnostics["not_identified"] == ["a", "b"]


def test_nothing_to_fit_and_nothing_finite():
    with pytest.raises(FitError, match="no parameters to fit and no tensors"):
        MAP().fit(Target(lambda theta: torch.zeros((), dtype=F64), {}, {}), progress=False)
    weight = torch.zeros(1, dtype=F64, requires_grad=True)
    with pytest.raises(FitError, match="log density is nan at the initial values of w"):
        MAP().fit(Target(lambda theta: weight.sum() * float("nan"), {}, {}, {"w": weight}), progress=False)
