"""Clopper–Pearson and one-run bounds: published values, closed forms, coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from pcm.errors import ArgumentError
from pcm.private.audits.bounds import clopper_pearson, epsilon_bound, guess_bound, guess_mu_bound, mu_bound
from pcm.private.audits.one_run import audit_one_run, audit_one_run_counts, one_run_p_value
from pcm.private.leakage import epsilon_of_mu


@pytest.mark.parametrize(("hits", "trials"), [(0, 20), (3, 20), (20, 20), (812, 1_000)])
def test_clopper_pearson_is_scipys(hits, trials):
    expected = binomtest(hits, trials).proportion_ci(0.95, method="exact")
    assert [float(limit) for limit in clopper_pearson(hits, trials, 0.95)] == pytest.approx(
        [expected.low, expected.high], abs=1e-12
    )


def test_the_bound_holds_as_often_as_it_says():
    rng = np.random.default_rng(0)
    epsilon, trials = 1.0, 2_000
    keep = np.e / (1 + np.e)
    hits, others = rng.binomial(trials, keep, 4_000), rng.binomial(trials, 1 - keep, 4_000)
    wrong = (epsilon_bound(hits, others, trials, confidence=0.9) > epsilon).mean()
    assert wrong <= 0.1 + 4 * np.sqrt(0.09 / 4_000)
    mu = 1.0
    from scipy.special import ndtr

    hits, others = rng.binomial(trials, ndtr(mu / 2), 4_000), rng.binomial(trials, ndtr(-mu / 2), 4_000)
    assert (mu_bound(hits, others, trials, confidence=0.9) > mu).mean() <= 0.1 + 4 * np.sqrt(0.09 / 4_000)


@pytest.mark.parametrize("guesses", [1, 7, 60, 2_000])
@pytest.mark.parametrize("epsilon", [0.25, 1.0, 8.0])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.9999])
def test_guesses_claim_too_much_no_oftener_than_they_say(guesses, epsilon, confidence):
    """Summed over every count of right guesses that an ε-private mechanism can give at most; μ = 2 Φ⁻¹ of the same."""
    keep = 1 / (1 + np.exp(-epsilon))
    right = np.arange(guesses + 1)
    mass = binom.pmf(right, guesses, keep)
    found = guess_bound(right, guesses, confidence=confidence)
    assert (np.diff(found) >= 0).all()
    assert mass[found > epsilon].sum() <= 1 - confidence + 1e-12
    from scipy.special import ndtri

    assert mass[guess_mu_bound(right, guesses, confidence=confidence) > 2 * ndtri(keep)].sum() <= 1 - confidence + 1e-12
    # one more right guess would have been enough for an error: the limit is not wider than it must be
    assert mass[found > epsilon].sum() + mass[found <= epsilon][-1] > 1 - confidence


@pytest.mark.parametrize(("mu", "epsilon"), [(0.5, 0.7), (1.0, 1.5), (3.0, 9.0)])
def test_gaussian_differential_privacy_converts(mu, epsilon):
    from scipy.special import ndtr

    delta = float(ndtr(mu / 2 - epsilon / mu) - np.exp(epsilon) * ndtr(-mu / 2 - epsilon / mu))
    assert epsilon_of_mu(mu, delta) == pytest.approx(epsilon, abs=1e-8)
    assert epsilon_of_mu(mu, 0.0) == np.inf
    assert epsilon_of_mu(0.0, 0.1) == 0.0


def p_value_of_the_paper(m, r, v, eps, delta):
    """Steinke, Nasr & Jagielski 2023, appendix D, as printed there."""
    q = 1 / (1 + np.exp(-eps))
    beta = binom.sf(v - 1, r, q)
    alpha, total = 0.0, 0.0
    for i in range(1, v + 1):
        total = total + binom.pmf(v - i, r, q)
        if total > i * alpha:
            alpha = total / i
    return min(beta + alpha * delta * 2 * m, 1)


@pytest.mark.parametrize(("m", "r", "v", "eps"), [(100, 100, 73, 0.5), (1_000, 200, 170, 1.0), (50, 20, 20, 2.0)])
@pytest.mark.parametrize("delta", [0.0, 1e-5, 1e-3])
def test_one_run_p_value_is_the_papers(m, r, v, eps, delta):
    assert one_run_p_value(eps, v, r, m, delta) == pytest.approx(p_value_of_the_paper(m, r, v, eps, delta), rel=1e-10)


def test_one_run_bound_inverts_the_p_value():
    found = audit_one_run_counts(right=900, guesses=1_000, canaries=5_000, delta=1e-5)
    assert one_run_p_value(found.epsilon, 900, 1_000, 5_000, 1e-5) == pytest.approx(0.05, abs=1e-6)
    assert audit_one_run_counts(right=50, guesses=100, canaries=100).epsilon == 0.0
    assert audit_one_run_counts(right=100, guesses=100, canaries=100).epsilon == pytest.approx(
        np.log(0.05**0.01 / (1 - 0.05**0.01)), abs=1e-9
    )


def test_one_run_of_randomised_response_is_tight_and_catches_half_the_noise():
    rng = np.random.default_rng(1)
    included = rng.random(100_000) < 0.5
    for epsilon in (0.5, 1.0, 2.0):
        for truth, flagged in ((epsilon, False), (2 * epsilon, True)):
            kept = rng.random(len(included)) < 1 / (1 + np.exp(-truth))
            found = audit_one_run(np.where(kept, included, ~included), included, claimed=epsilon)
            assert found.flagged is flagged
            assert 0.9 * truth < found.epsilon <= truth


def test_one_run_with_fewer_guesses_reads_the_extremes():
    """Gaussian noise: the surest guesses are the most telling."""
    rng = np.random.default_rng(2)
    included = rng.random(20_000) < 0.5
    scores = included + rng.normal(0.0, 0.5, len(included))
    every = audit_one_run(scores, included, delta=1e-6)
    some = audit_one_run(scores, included, guesses=4_000, delta=1e-6)
    assert some.epsilon > every.epsilon + 1


def test_bad_arguments_are_named():
    with pytest.raises(ArgumentError, match="a score and a coin a canary"):
        audit_one_run([0.1, 0.2], [True])
    with pytest.raises(ArgumentError, match="true or false"):
        audit_one_run([0.1, 0.2], [1, 2])
    with pytest.raises(ArgumentError, match="guesses=9"):
        audit_one_run([0.1, 0.2], [1, 0], guesses=9)
    with pytest.raises(ArgumentError, match="not finite"):
        audit_one_run([0.1, np.nan], [1, 0])
    with pytest.raises(ArgumentError, match="must not decrease"):
        audit_one_run_counts(right=5, guesses=4, canaries=10)
    with pytest.raises(ArgumentError, match="confidence=1"):
        audit_one_run_counts(right=3, guesses=4, canaries=10, confidence=1)
