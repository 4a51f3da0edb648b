"""Diagnostics against ArviZ and against what is known of them."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from pcm.infer.diagnostics import chain_problems, elbo_rise, ess, importance_ess, khat_problem, psis, rhat

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", category=FutureWarning, message=r"(?s).*ArviZ is undergoing.*")
    import arviz

needs_old_arviz = pytest.mark.skipif(not hasattr(arviz, "psislw"), reason="ArviZ 1.x spells these functions otherwise")


@needs_old_arviz
@pytest.mark.parametrize("power", [0.2, 0.5, 0.9, 1.5])
@pytest.mark.parametrize("size", [100, 1000, 5000])
def test_psis_is_that_of_arviz(power, size):
    ratios = power * np.random.default_rng(size).exponential(size=size)  # Pareto ratios: the true k is `power`
    weights, khat = psis(ratios)
    expected_weights, expected_khat = arviz.psislw(ratios)
    assert khat == pytest.approx(float(expected_khat), abs=1e-10)
    np.testing.assert_allclose(weights, expected_weights, atol=1e-10)


def test_psis_recovers_the_shape_of_a_pareto_tail():
    ratios = 0.4 * np.random.default_rng(0).exponential(size=200_000)
    assert psis(ratios)[1] == pytest.approx(0.4, abs=0.08)


def test_a_tail_without_weight_has_no_shape():
    """A guide within .05 of its target everywhere, a few draws apart from the rest: the fitted tail's shape was 2."""
    ratios = 0.005 * np.random.default_rng(2).normal(size=2_000)
    ratios[:8] = np.geomspace(0.022, 0.055, 8)
    weights, khat = psis(ratios)
    assert khat == 0.0
    np.testing.assert_allclose(weights, ratios - np.log(np.exp(ratios).sum()), atol=1e-12)
    assert psis(10 * ratios)[1] != 0.0, "a draw with half as much again counts"


def test_psis_at_the_edges():
    weights, khat = psis(np.full(50, -7.0) + 1e-9 * np.arange(50))
    assert khat == 0.0 and np.exp(weights).sum() == pytest.approx(1.0)
    assert psis(np.full(10, -math.inf))[1] == math.inf
    weights, khat = psis(np.r_[np.full(9, -math.inf), 0.0])
    assert khat == math.inf and importance_ess(weights) == pytest.approx(1.0)
    ratios = np.random.default_rng(1).normal(size=1000)
    ratios[:300] = -math.inf
    weights, khat = psis(ratios)
    assert khat < 0.7 and np.isneginf(weights[:300]).all()


def test_psis_does_not_write_into_its_argument():
    ratios = np.random.default_rng(1).normal(size=100)
    kept = ratios.copy()
    psis(ratios)
    np.testing.assert_array_equal(ratios, kept)


def _autoregression(correlation, chains, length, seed):
    noise = np.random.default_rng(seed).normal(size=(chains, length, 2))
    draws = np.empty_like(noise)
    draws[:, 0] = noise[:, 0]
    for step in range(1, length):
        draws[:, step] = correlation * draws[:, step - 1] + math.sqrt(1 - correlation**2) * noise[:, step]
    return draws


@needs_old_arviz
@pytest.mark.parametrize("correlation", [-0.3, 0.0, 0.5, 0.95])
@pytest.mark.parametrize(("chains", "length"), [(2, 51), (4, 400)])
def test_rhat_and_ess_are_those_of_arviz(correlation, chains, length):
    draws = _autoregression(correlation, chains, length, seed=3)
    for index in range(2):
        assert rhat(draws)[index] == pytest.approx(float(arviz.rhat(draws[..., index])), abs=1e-10)
        assert ess(draws)[index] == pytest.approx(float(arviz.ess(draws[..., index])), rel=1e-10)


def test_ess_of_an_autoregression():
    # An AR(1) with correlation r has n (1 - r) / (1 + r) effective draws.
    draws = _autoregression(0.6, 4, 20_000, seed=1)
    np.testing.assert_allclose(ess(draws), 80_000 * 0.4 / 1.6, rtol=0.1)


def test_constants_and_short_chains():
    draws = np.ones((2, 100)) + 1e-16 * np.random.default_rng(0).normal(size=(2, 100))
    assert np.isnan(rhat(draws)) and ess(draws) == 200.0
    assert np.isnan(rhat(np.zeros((2, 3)))) and np.isnan(ess(np.zeros((2, 3))))


def test_words_name_the_parameters():
    good, bad = np.array([1.0, np.nan]), np.array([1.0, 1.3])
    words = chain_problems({"a": good, "b": bad}, {"a": np.array([900.0]), "b": np.array([12.0])}, 3, 2)
    assert len(words) == 3
    assert "b (1.300)" in words[0] and "a (" not in words[0]
    assert "b (12)" in words[1] and "below 100" in words[1]
    assert "3 divergent transitions" in words[2]
    assert chain_problems({"a": good}, {"a": np.array([900.0])}, 0, 2) == []
    assert khat_problem(0.69, "Laplace") is None
    assert "k-hat 0.71" in str(khat_problem(0.71, "Laplace"))
    assert khat_problem(math.inf, "Laplace") and khat_problem(math.nan, "Laplace")


def test_a_rising_elbo_is_told_from_noise():
    noise = np.random.default_rng(0).normal(size=500)
    assert elbo_rise(noise) == 0.0
    assert elbo_rise(noise + 0.02 * np.arange(500)) == pytest.approx(2.0, abs=0.5)
    assert elbo_rise([1.0, 2.0]) == math.inf
