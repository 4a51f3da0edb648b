"""Features known through draws: tuples listed one by one, and weights that noise would shrink."""

from __future__ import annotations

from itertools import combinations_with_replacement, permutations

import numpy as np
import pytest
from scipy.special import expit

from pcm.trust.regressions import Regression, monomials, split, unbiased_monomials

UNITS = 40_000


def seen(means, count, seed=1, spread=1.0):
    """Two halves of draws about some means, ``(feature, half, draw, unit)``."""
    means = np.asarray(means)
    return means[:, None, None] + spread * np.random.default_rng(seed).normal(size=(len(means), 2, count, UNITS))


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_monomials_are_means_over_distinct_draws(count):
    draws = np.random.default_rng(0).normal(size=(3, count, 5))
    made = unbiased_monomials(draws, 3)
    assert made[0].tolist() == [1.0] * 5
    chosen = [c for power in (1, 2, 3) for c in combinations_with_replacement(range(3), power)]
    assert len(made) == 1 + len(chosen)
    for found, features in zip(made[1:], chosen, strict=True):
        tuples = list(permutations(range(count), len(features)))
        if not tuples:  # too few draws
            listed = np.prod(draws.mean(1)[list(features)], 0)
        else:
            listed = np.mean([np.prod(draws[features, each], 0) for each in tuples], 0)
        assert np.abs(found - listed).max() < 1e-12


def test_weights_are_those_of_features_without_noise():
    mu = np.random.default_rng(0).normal(size=UNITS)
    best = 1 + mu - 0.5 * mu**2 + 0.2 * mu**3
    fit = Regression(seen([mu], 8), np.stack([best, best]), 3)
    wanted = np.linspace(-1.5, 1.5, 7)
    made = fit(np.broadcast_to(wanted, (1, 2, 1, 7))).mean(0)
    assert np.abs(made - (1 + wanted - 0.5 * wanted**2 + 0.2 * wanted**3)).max() < 0.05
    noisy = seen([mu], 8).mean((0, 1, 2))
    naive = np.polyval(np.polyfit(noisy, best, 3), wanted)
    assert np.abs(naive - (1 + wanted - 0.5 * wanted**2 + 0.2 * wanted**3)).max() > 0.1


def test_errors_of_two_halves_have_no_bias():
    """The product of the halves' errors averages to what is really left: here the variance of what is not read."""
    rng = np.random.default_rng(0)
    mu, other = rng.normal(size=(2, UNITS))
    best = np.stack([mu**2 + 0.3 * other] * 2)
    features = seen([mu], 6)
    lost = np.prod(best - Regression(features, best, 2)(features), 0)
    assert lost.mean() == pytest.approx(0.09, abs=4 * lost.std() / UNITS**0.5)
    assert lost.std() / UNITS**0.5 < 0.01


@pytest.mark.parametrize("seed", range(4))
def test_features_that_are_one_and_the_same_but_for_noise(seed):
    """Their difference is nothing but noise: weights on it would be arbitrary."""
    mu = np.random.default_rng(seed).normal(size=UNITS)
    features = seen([mu, mu], 8, seed)
    best = np.stack([3 * mu, 3 * mu])
    fit = Regression(features, best, 3)
    lost = np.prod(best - fit(features), 0)
    assert abs(lost.mean()) < 0.05  # of 9
    fresh = seen([mu, mu], 8, seed + 100)
    assert abs(np.prod(best - fit(fresh), 0).mean()) < 0.05


def test_a_feature_of_noise_alone_is_left_out():
    features = seen([np.zeros(UNITS)], 8)
    best = np.random.default_rng(5).normal(size=UNITS)
    fit = Regression(features, np.stack([best, best]), 3)
    assert np.abs(fit(features) - best.mean()).max() < 0.2


def test_without_noise_it_is_least_squares():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 500))
    best = np.exp(0.5 * x[0]) + x[1]
    exact = np.broadcast_to(x[:, None, None], (2, 2, 1, 500))
    made = Regression(exact, np.stack([best, best]), 3)(exact)
    columns = monomials(x, 3)
    weights, *_ = np.linalg.lstsq(columns.T, best, rcond=None)
    assert np.abs(made - weights @ columns).max() < 1e-9


def test_constant_and_repeated_columns():
    x = np.random.default_rng(0).normal(size=500)
    exact = np.broadcast_to(np.stack([x, x, np.ones(500)])[:, None, None], (3, 2, 1, 500))
    made = Regression(exact, np.stack([x**2, x**2]), 2)(exact)
    assert np.abs(made - x**2).max() < 1e-9


def test_log_odds_are_those_of_features_without_noise():
    mu = np.random.default_rng(0).normal(size=UNITS)
    chance = expit(2 * mu - 0.5)
    fit = Regression(seen([mu], 8), np.stack([chance, chance]), 1, "log")
    wanted = np.array([-1.0, 0.0, 1.0])
    made = fit(np.broadcast_to(wanted, (1, 2, 1, 3))).mean(0)
    assert made == pytest.approx(expit(2 * wanted - 0.5), abs=0.02)


def test_halves_are_every_other_draw():
    draws = np.arange(5.0)[None, :, None] + np.array([0.0, 10.0])[:, None, None]  # (half of references, draw, unit)
    assert split(draws)[..., 0].tolist() == [[5.0, 7.0], [6.0, 8.0]]  # an odd one out is left
    assert split(draws[:, :1])[..., 0].tolist() == [[0.0], [10.0]]
