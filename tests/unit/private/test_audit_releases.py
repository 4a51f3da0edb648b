"""Audits of the real releases. OpenDP cannot be seeded: every assertion holds with a chance of 1 − 1e-6 or more."""

from __future__ import annotations

import numpy as np
import pytest

from pcm import private
from pcm.errors import ArgumentError

pytest.importorskip("opendp")

# chance that any one bound is wrong; with the fewer than 50 audits here, below 1e-4 together
SURE = 1 - 1e-6

PURE = {
    "response": private.RandomizedResponse(epsilon=1.0, categories=["no", "yes"]),
    "laplace": private.Laplace(epsilon=1.0, bounds=(0, 2)),
    "clamped": private.Laplace(epsilon=2.0, bounds=(0.0, 1.0), clamp=(0.0, 1.0)),
    "discrete": private.DiscreteLaplace(epsilon=2.0, bounds=(0, 3)),
}


@pytest.mark.parametrize("name", PURE)
def test_pure_releases_are_not_refuted(name):
    found = private.audit_mechanism(PURE[name], n=4_000, confidence=SURE)
    assert not found.flagged
    assert found.claimed == pytest.approx(PURE[name].epsilon)
    assert found.epsilon > 0.4 * PURE[name].epsilon


@pytest.mark.slow
@pytest.mark.parametrize("name", PURE)
def test_pure_releases_are_tight(name):
    found = private.audit_mechanism(PURE[name], n=200_000)
    assert found.epsilon > 0.9 * PURE[name].epsilon  # more than five standard errors below its mean


@pytest.mark.parametrize(
    "mechanism",
    [private.Gaussian(scale=1.0, bounds=(0, 1)), private.DiscreteGaussian(scale=1.0, bounds=(0, 1))],
    ids=["gaussian", "discrete"],
)
def test_gaussian_releases_go_by_mu(mechanism):
    found = private.audit_mechanism(mechanism, n=8_000, delta=1e-5, confidence=SURE)
    assert not found.flagged
    assert 0.7 * found.claimed_mu < found.mu <= found.claimed_mu
    assert 0 < found.epsilon < np.inf


def test_mu_of_the_discrete_gaussian_is_that_of_its_best_threshold():
    """σ = .3, inputs 0 and 1: P(o ≥ 1 | 0) = .00385, P(o ≤ 0 | 1) the same, so μ = 2 Φ⁻¹(.99615) = 5.33, not 3.33."""
    from scipy.stats import norm

    from pcm.private.audits.draws import _promised_mu

    weights = np.exp(-(np.arange(-20, 21) ** 2) / (2 * 0.3**2))
    rare = weights[21:].sum() / weights.sum()
    mechanism = private.DiscreteGaussian(scale=0.3, bounds=(0, 1))
    assert _promised_mu(mechanism, (0, 1)) >= 2 * norm.isf(rare) - 1e-9
    wide = private.DiscreteGaussian(scale=20.0, bounds=(0, 10))
    assert _promised_mu(wide, (0, 10)) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("name", PURE)
def test_a_mechanism_with_half_the_noise_is_flagged(name):
    """The release draws with half the scale, and states what it did."""
    mechanism = PURE[name]
    if hasattr(mechanism, "scale"):
        wrong = type(mechanism)(scale=mechanism.scale / 2, bounds=mechanism.bounds, clamp=mechanism.clamp)
    else:
        wrong = private.RandomizedResponse(epsilon=2 * mechanism.epsilon, categories=mechanism.categories)
    found = private.audit_mechanism(wrong, claimed=mechanism.epsilon, n=4_000, confidence=SURE)
    assert found.flagged


@pytest.mark.parametrize("n", [5_000, pytest.param(100_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "mechanism",
    [private.Laplace(epsilon=1.0, bounds=(0.0, 1.0)), private.Laplace(epsilon=0.5, bounds=(-1.0, 3.0))],
    ids=["unit", "wide"],
)
def test_the_real_sampler_is_cleared_of_the_floating_point_attack(mechanism, n):
    found = private.audit_floating_point(mechanism, n=n, confidence=SURE)
    assert not found.flagged
    assert found.epsilon <= mechanism.epsilon


def test_gaussian_releases_are_cleared_at_a_delta():
    mechanism = private.Gaussian(scale=1.0, bounds=(0.0, 1.0))
    assert not private.audit_floating_point(mechanism, n=5_000, delta=1e-6, confidence=SURE).flagged
    with pytest.raises(ArgumentError, match="give delta="):
        private.audit_floating_point(mechanism, n=1_000)


def test_simulated_noise_is_what_the_attack_is_about():
    """The same mechanism, its noise from torch: flagged."""
    mechanism = private.Laplace(epsilon=1.0, bounds=(0.0, 1.0))

    def simulated(value, n, seed):
        return mechanism.simulate(np.full(n, value), seed=seed).values

    found = private.audit_floating_point(simulated, (0.0, 1.0), claimed=1.0, n=5_000, seed=0)
    assert found.flagged


def test_one_run_over_a_column():
    mechanism = private.RandomizedResponse(epsilon=2.0, categories=[0, 1])
    included = np.random.default_rng(0).random(50_000) < 0.5
    release = mechanism.release(included.astype(int), private.Ledger(epsilon=2.0), name="canaries")
    found = private.audit_one_run(release.values, included, claimed=2.0, confidence=SURE)
    assert not found.flagged
    assert found.epsilon > 1.8
    assert private.audit_one_run(release.values, included, claimed=1.0, confidence=SURE).flagged


def test_seeds_are_refused():
    with pytest.raises(ArgumentError, match="cannot be seeded"):
        private.audit_mechanism(PURE["laplace"], n=100, seed=0)
