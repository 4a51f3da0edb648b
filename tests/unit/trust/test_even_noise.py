"""Evenly spread noise: uniform, with prefixes, far more exact than independent units, and standard errors that hold."""

from __future__ import annotations

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy.special import gamma, ndtri
from scipy.stats import kstest

import pcm
from pcm.trust.even_noise import NETS, even_noise, even_uniforms, mean_and_error


def test_points_are_uniform_and_a_prefix_stays():
    points = even_uniforms(4_000, 5, seed=3)
    assert points.shape == (4_000, 5)
    assert 0 < points.min() < points.max() < 1
    assert all(kstest(points[:, i], "uniform").pvalue > 1e-4 for i in range(5))
    assert np.array_equal(even_uniforms(1_010, 5, seed=3), points[:1_010])
    assert not np.array_equal(even_uniforms(4_000, 5, seed=4), points)
    first = np.array([even_uniforms(1, 1, seed)[0, 0] for seed in range(300)])  # scrambled: the first is random too
    assert kstest(first, "uniform").pvalue > 1e-4


def test_coordinates_beyond_the_nets_are_random():
    points = even_uniforms(200, 300, seed=0)
    assert points.shape == (200, 300)
    assert np.abs(np.corrcoef(points[:, -40:].T) - np.eye(40)).max() < 0.35
    assert even_uniforms(7, 0, seed=0).shape == (7, 0)


def test_standard_errors_hold_and_are_small():
    """Mean of a square of sums of normals, over 40 seeds: errors as large as the standard errors say, and far smaller
    than those of independent units, √2 · variance / √n."""
    wanted, scores, errors = 2.1**2 + 1.5**2 + 1, [], []
    for seed in range(40):
        normal = ndtri(even_uniforms(8_000, 3, seed))
        mean, error = mean_and_error((normal @ [2.1, 1.5, 1.0]) ** 2)
        scores.append((mean - wanted) / error)
        errors.append(error)
    assert 0.7 < np.std(scores) < 1.4
    assert abs(np.mean(scores)) < 4 / 40**0.5
    assert np.mean(errors) < 0.2 * 2**0.5 * wanted / 8_000**0.5


@pytest.mark.parametrize("units", [1, 2, NETS, 2 * NETS, 2 * NETS + 3])
def test_few_units_have_an_error_too(units):
    mean, error = mean_and_error(np.arange(float(units)))
    assert mean == (units - 1) / 2
    assert (error is None) == (units == 1)


def test_every_site_has_coordinates_of_its_own():
    def program(n):
        with pyro.plate("units", n, dim=-1):
            a = pyro.sample("a", dist.Normal(0.0, 1.0))
            k = pyro.sample("k", dist.Categorical(torch.tensor([0.2, 0.3, 0.5])))
            with pyro.plate("visits", 2, dim=-2):
                pyro.sample("v", dist.Normal(a + k, 1.0))
            pyro.sample("w", dist.MultivariateNormal(torch.zeros(2), torch.eye(2)))

    model = pcm.SCM(program)._model
    noise = even_noise(model, 400, seed=0)
    assert {name: tuple(value.shape) for name, value in noise.items()} == {
        "a": (400,),
        "k": (400, 3),
        "v": (2, 400),
        "w": (400, 2),
    }
    whole = np.concatenate([noise["a"][:, None], noise["k"], noise["v"].T, noise["w"]], 1)
    assert np.abs(np.corrcoef(whole.T) - np.eye(8)).max() < 0.2
    fewer = even_noise(model, 60, seed=0)
    assert torch.equal(fewer["k"], noise["k"][:60])
    assert torch.equal(fewer["v"], noise["v"][:, :60])


def test_simulated_units_are_those_of_the_program():
    def program():
        a = pyro.sample("a", dist.Bernoulli(0.3))
        x = pyro.sample("x", dist.Gamma(2.0 + a, 1.0))
        pyro.sample("y", dist.Normal(a * torch.sqrt(x), 1.0))

    found = pcm.check(pcm.SCM(program), [pcm.counterfactual_fairness("a", outcome="y")], units=4_000, seed=0)
    assert float(found.row("Bayes (a, x)").risk) == pytest.approx(1.0, abs=1e-12)
    constant = found.row("constant").risk
    exact = 1 + 0.3 * 3 - (0.3 * gamma(3.5) / gamma(3)) ** 2  # E x = 3 where a = 1, and E √x = Γ(3.5) / Γ(3)
    assert float(constant) == pytest.approx(exact, rel=0.005)
    assert abs(float(constant) - exact) < 4 * constant.standard_error
