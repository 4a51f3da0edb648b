"""Calibration by simulation: where parameters come from the prior and data from the program, ranks are uniform.

Of θ ~ prior, data ~ p(· | θ) and draws θ_1..θ_L of the posterior, the rank of θ among the draws is uniform on 0..L
(Talts, Betancourt, Simpson, Vehtari & Gelman 2018, arXiv:1804.06788). Uniformity is tested by chi-square over bins and
by the mean of the ranks, over all parameters and quantities of a model, with a family-wise false-alarm rate of 1e-4; a
model that is wrong on purpose has to fail the very same check.
"""

from __future__ import annotations

import warnings

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import stats

import pcm

ALARM = 1e-4
BINS = 10


def regression(noise=None):
    """Slope, and the noise's scale unless it is given."""

    def program(n):
        slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
        scale = pyro.sample("scale", dist.HalfNormal(1.0)) if noise is None else noise
        with pyro.plate("units", n):
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(slope * x, scale))

    return program


def logistic(n):
    intercept = pyro.sample("intercept", dist.Normal(0.0, 1.0))
    slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Bernoulli(logits=intercept + slope * x))


def ranks(truth, fitted, method, *, replications, units, draws=99, seed=0, **options):
    """Rank of each true parameter and of the effect of x on y, in (0, 1), an array a quantity: ``(replication,)``."""
    found: dict[str, list[float]] = {}
    rng = np.random.default_rng(seed)
    for k in range(replications):
        theta = prior(truth, rng)
        frame = truth.given(theta).sample(units, seed=seed * 100_003 + k)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pcm.FitWarning)  # a few of many small data sets are awkward
            posterior = fitted.fit(frame, method, draws=draws, seed=k, progress=False, **options).posterior
        values = {name: posterior[name].numpy().reshape(-1) for name in posterior.draws}
        values = {name: column[:: max(1, len(column) // 99)] for name, column in values.items()}  # chains remember
        if "intercept" in values:  # a nonlinear function of both parameters, as queries make
            values["effect"], theta["effect"] = effect(values), effect(theta)
        for name, column in values.items():
            below = (column < theta[name]).sum() + rng.random() * ((column == theta[name]).sum() + 1)
            found.setdefault(name, []).append(below / (len(column) + 1))
    return {name: np.array(column) for name, column in found.items()}


def effect(values):
    return 1 / (1 + np.exp(-values["intercept"] - values["slope"])) - 1 / (1 + np.exp(-values["intercept"]))


def prior(scm, rng):
    draws = {"slope": rng.normal(), "intercept": rng.normal(), "scale": abs(rng.normal())}
    return {name: draws[name] for name in scm.parameters}


def smallest_p(found):
    """Smallest p-value over quantities and tests, and how many there were."""
    values = []
    for column in found.values():
        counts = np.histogram(column, bins=BINS, range=(0, 1))[0]
        values.append(stats.chisquare(counts).pvalue)
        values.append(2 * stats.norm.sf(abs(column.mean() - 0.5) * np.sqrt(12 * len(column))))
        # under- and overconfidence put ranks at the ends or in the middle: (rank - 1/2)² has mean 1/12, variance 1/180
        values.append(2 * stats.norm.sf(abs(((column - 0.5) ** 2).mean() - 1 / 12) * np.sqrt(180 * len(column))))
    return min(values), len(values)


def check(found):
    p, tests = smallest_p(found)
    assert p > ALARM / tests, {name: np.histogram(column, bins=BINS, range=(0, 1))[0] for name, column in found.items()}


def test_laplace_is_calibrated_on_a_regression_with_unknown_noise():
    scm = pcm.SCM(regression())
    check(ranks(scm, scm, "laplace", replications=200, units=15))


def test_laplace_is_calibrated_on_a_logistic_regression():
    scm = pcm.SCM(logistic)
    found = ranks(scm, scm, "laplace", replications=150, units=20)
    assert set(found) == {"intercept", "slope", "effect"}
    check(found)


@pytest.mark.parametrize("wrong", [0.4, 2.0], ids=["too sure", "too unsure"])
def test_a_misstated_noise_is_found_by_the_same_check(wrong):
    """Data have noise of sd 1, the model believes in another: the check must be able to fail."""
    found = ranks(pcm.SCM(regression(1.0)), pcm.SCM(regression(wrong)), "laplace", replications=200, units=15)
    p, tests = smallest_p(found)
    assert p < ALARM / tests


def test_a_biased_prior_is_found_by_the_same_check():
    def shifted(n):
        slope = pyro.sample("slope", dist.Normal(2.0, 0.5))
        with pyro.plate("units", n):
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(slope * x, 1.0))

    found = ranks(pcm.SCM(regression(1.0)), pcm.SCM(shifted), "laplace", replications=100, units=5)
    p, tests = smallest_p(found)
    assert p < ALARM / tests


def test_an_exact_sampler_of_a_conjugate_model_passes_and_a_widened_one_does_not():
    """The check itself, without pcm: a Gaussian posterior, and the same with its sd times 1.6 or 0.6."""
    rng = np.random.default_rng(1)
    slope, x = rng.normal(size=200), rng.normal(size=(200, 10))
    y = slope[:, None] * x + rng.normal(size=(200, 10))
    precision = 1 + (x**2).sum(1)
    mean, sd = (x * y).sum(1) / precision, precision**-0.5
    for factor, passes in ((1.0, True), (1.6, False), (0.6, False)):
        draws = mean + factor * sd * rng.normal(size=(99, 200))
        found = {"slope": ((draws < slope).sum(0) + rng.random(200)) / 100}
        p, tests = smallest_p(found)
        assert bool(p > ALARM / tests) is passes


def test_intervals_of_counterfactuals_cover_at_their_rate():
    """Y under do(x := 1) of a unit is a function of the slope: its 80 % interval covers the truth 80 % of the time."""
    scm, rng, hits = pcm.SCM(regression(1.0)), np.random.default_rng(5), []
    for k in range(200):
        slope = rng.normal()
        frame = scm.given(slope=slope).sample(8, seed=k)
        fitted = scm.fit(frame, progress=False, draws=199, seed=k)
        interval = fitted.counterfactual(frame.iloc[:1], do={"x": frame["x"].iloc[0] + 1.0}, seed=k).interval("y", 0.8)[
            0
        ]
        hits.append(interval[0] <= frame["y"].iloc[0] + slope <= interval[1])
    assert stats.binomtest(sum(hits), 200, 0.8).pvalue > ALARM


@pytest.mark.slow
def test_nuts_is_calibrated_on_a_regression_with_unknown_noise():
    scm = pcm.SCM(regression())
    check(ranks(scm, scm, "nuts", replications=30, units=15, draws=396, chains=2, warmup=150))


@pytest.mark.slow
def test_svi_is_calibrated_where_its_family_holds_the_posterior():
    """A Gaussian posterior of one slope: the guide's family is exact."""
    scm = pcm.SCM(regression(1.0))
    check(ranks(scm, scm, "svi", replications=60, units=15, steps=400))


@pytest.mark.slow
def test_laplace_is_calibrated_over_many_replications():
    torch.manual_seed(0)
    scm = pcm.SCM(regression())
    check(ranks(scm, scm, "laplace", replications=2000, units=10, seed=7))
