"""A number clipped, then noised: the likelihood of its answers is the integral over the true value, brute force."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm
from pcm import private
from pcm.private.programs import admit
from pcm.query.likelihood import target_of

THETA = {"a": 0.2, "b": 1.1, "s": 0.6}


def line(n: int) -> None:
    a, b = (pyro.sample(name, dist.Normal(0.0, 2.0)) for name in "ab")
    s = pyro.sample("s", dist.HalfNormal(2.0))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(torch.full((n,), 0.3), 1.2))
        pyro.sample("y", dist.Normal(a + b * x, s))


@pytest.mark.parametrize("clamp", [None, (-2, 2)])
def test_the_likelihood_is_the_integral(clamp) -> None:
    laplace = private.Laplace(scale=1.0, bounds=(-2, 2), clip=True, clamp=clamp)
    scm = pcm.SCM(line)
    frame = scm.given(THETA).sample(20, seed=0)
    answers = laplace.simulate(frame["x"], seed=3).values
    model, data = admit(scm._model, {"x": private.Release(answers, laplace), "y": frame["y"]})
    _, marginal = target_of(model, data)
    assert marginal is not None and "closed form (Gaussian between the kinks" in marginal.account[0]
    grid = torch.linspace(-10, 10, 100_001, dtype=torch.float64)
    total = 0.0
    for answer, y in zip(torch.tensor(answers), torch.tensor(frame["y"].to_numpy()), strict=True):
        terms = dist.Normal(0.3, 1.2).log_prob(grid) + dist.Normal(0.2 + 1.1 * grid, 0.6).log_prob(y)
        terms = terms + laplace.law(grid).log_prob(answer.expand(grid.shape))
        total += float(terms.logsumexp(0)) + math.log(20 / 100_000)
    found = float(marginal.log_density({name: torch.tensor(v, dtype=torch.float64) for name, v in THETA.items()}))
    assert found == pytest.approx(total, abs=1e-5)
