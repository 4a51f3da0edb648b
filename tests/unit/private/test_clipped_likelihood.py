"""A number clipped, then noised: the likelihood of its answers is the integral over the true value, brute force."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm
from pcm import private
from pcm.infer.latent.kinks import bent_integral, piece_nodes
from pcm.private.programs import admit
from pcm.query.likelihood import target_of

THETA = {"a": 0.2, "b": 1.1, "s": 0.6}


def line(n: int) -> None:
    a, b = (pyro.sample(name, dist.Normal(0.0, 2.0)) for name in "ab")
    s = pyro.sample("s", dist.HalfNormal(2.0))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(torch.full((n,), 0.3), 1.2))
        pyro.sample("y", dist.Normal(a + b * x, s))


MECHANISMS = {
    "laplace": private.Laplace(scale=1.0, bounds=(-2, 2), clip=True),
    "laplace, clamped": private.Laplace(scale=1.0, bounds=(-2, 2), clip=True, clamp=(-2, 2)),
    "gaussian": private.Gaussian(scale=1.0, bounds=(-2, 2), clip=True),
    "gaussian, small": private.Gaussian(scale=0.1, bounds=(-0.5, 1), clip=True),
    "gaussian, narrow": private.Gaussian(scale=0.01, bounds=(0, 0.001), clip=True),
    "gaussian, far": private.Gaussian(scale=1.0, bounds=(5, 9), clip=True),
}


@pytest.mark.parametrize("name", MECHANISMS)
def test_the_likelihood_is_the_integral(name) -> None:
    mechanism = MECHANISMS[name]
    scm = pcm.SCM(line)
    frame = scm.given(THETA).sample(20, seed=0)
    answers = mechanism.simulate(frame["x"], seed=3).values
    model, data = admit(scm._model, {"x": private.Release(answers, mechanism), "y": frame["y"]})
    _, marginal = target_of(model, data)
    assert marginal is not None and "closed form (Gaussian between the kinks" in marginal.account[0]
    assert [part.bent for part in marginal.parts] == ["gaussian" in name]
    assert value(marginal, THETA) == pytest.approx(exact(mechanism, answers, frame["y"], THETA), abs=1e-5)


def test_clipped_and_clamped_gaussian_noise_by_quadrature_wherever_the_parameters_jump() -> None:
    """Where to integrate follows the mass, not the last place: it was 100 nats off after a jump."""
    mechanism = private.Gaussian(scale=0.1, bounds=(-0.5, 1), clip=True, clamp=(-0.5, 1))
    scm = pcm.SCM(line)
    frame = scm.given(THETA).sample(20, seed=0)
    answers = mechanism.simulate(frame["x"], seed=3).values
    model, data = admit(scm._model, {"x": private.Release(answers, mechanism), "y": frame["y"]})
    _, marginal = target_of(model, data)
    assert marginal is not None and "adaptive quadrature" in marginal.account[0]
    for theta in (THETA, {"a": 1.3, "b": 0.53, "s": 0.12}, {"a": 0.0, "b": 1.0, "s": 0.5}, THETA):
        assert value(marginal, theta) == pytest.approx(exact(mechanism, answers, frame["y"], theta), abs=2e-3)


def value(marginal, theta) -> float:
    return float(marginal.log_density({name: torch.tensor(v, dtype=torch.float64) for name, v in theta.items()}))


def exact(mechanism, answers, outcomes, theta) -> float:
    """The log likelihood, by a fine sum over the true value."""
    grid = torch.linspace(-20, 20, 200_001, dtype=torch.float64)
    line = theta["a"] + theta["b"] * grid
    total = 0.0
    for answer, y in zip(torch.tensor(answers), torch.tensor(outcomes.to_numpy()), strict=True):
        terms = dist.Normal(0.3, 1.2).log_prob(grid) + dist.Normal(line, theta["s"]).log_prob(y)
        terms = terms + mechanism.law(grid).log_prob(answer.expand(grid.shape))
        total += float(terms.logsumexp(0)) + math.log(40 / 200_000)
    return total


def test_pieces_with_curvatures_of_their_own() -> None:
    """Against a fine sum; and the derivatives in the curvature against differences."""

    def density(x, inside):
        clipped = x.clamp(-1.0, 0.5)
        return -0.5 * x**2 - 0.5 * inside * (clipped - 3.0) ** 2

    knots, reach = torch.tensor([[-1.0], [0.5]], dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    nodes = piece_nodes(knots, reach, bent=True)

    def found(inside):
        return bent_integral(knots, reach, density(nodes, inside))[0]

    grid = torch.linspace(-12, 12, 480_001, dtype=torch.float64)
    inside = torch.tensor(4.0, dtype=torch.float64)
    assert float(found(inside)) == pytest.approx(float((density(grid, inside).exp().sum() * 5e-5).log()), abs=1e-8)
    assert torch.autograd.gradcheck(found, (inside.clone().requires_grad_(),))
    assert torch.autograd.gradgradcheck(found, (inside.clone().requires_grad_(),))


def test_a_piece_too_short_for_a_curvature() -> None:
    reach = torch.ones(1, dtype=torch.float64)
    for width in (0.0, 1e-12, 1e-4, 0.0099, 0.0101):
        knots = torch.tensor([[0.0], [width]], dtype=torch.float64)
        nodes = piece_nodes(knots, reach, bent=True)
        found = float(bent_integral(knots, reach, -0.5 * nodes**2))
        assert found == pytest.approx(0.5 * math.log(2 * math.pi), abs=1e-9)
