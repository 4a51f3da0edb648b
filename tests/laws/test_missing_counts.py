"""Counts without an upper bound that are missing above something observed: enumerated over all but 1e-13 of a unit."""

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import stats

import pcm


def shop():
    """Visits are a count; spend reads them."""
    ad = pyro.sample("ad", dist.Bernoulli(0.4))
    visits = pyro.sample("visits", dist.Poisson(torch.exp(0.5 + 0.6 * ad)))
    pyro.sample("spend", dist.Normal(1.0 + 0.8 * visits, 1.5))


def far():
    """A count that the evidence moves a long way from its own law."""
    visits = pyro.sample("visits", dist.Poisson(torch.tensor(3.0)))
    pyro.sample("spend", dist.Normal(visits, 0.5))


def posterior(ad, spend, low=0, high=400):
    k = np.arange(low, high)
    log = stats.poisson.logpmf(k, np.exp(0.5 + 0.6 * ad)) + stats.norm.logpdf(spend, 1 + 0.8 * k, 1.5)
    mass = np.exp(log - log.max())
    return k, mass / mass.sum()


def test_the_posterior_of_a_count_and_what_it_causes():
    rows = pd.DataFrame({"ad": [0, 1, 1, 0], "visits": [np.nan, np.nan, 3.0, np.nan], "spend": [0.3, 4.0, 2.0, 9.0]})
    found = pcm.SCM(shop).counterfactual(rows, do={"ad": 1}, seed=0)
    assert "enumerated" in str(found.account)
    for unit in (1,):  # already exposed: nothing changes, so the recorded spend stands
        k, mass = posterior(1, rows.spend[unit])
        assert found.mean("visits")[unit] == pytest.approx(k @ mass, abs=1e-10)
    for unit in (0, 3):  # monotone coupling: the rank of k under rate e^.5 within its step, then the rate e^1.1
        k, mass = posterior(0, rows.spend[unit])
        below, above = stats.poisson.cdf(k - 1, np.exp(0.5)), stats.poisson.cdf(k, np.exp(0.5))
        j = np.arange(0, 400)
        lo, hi = stats.poisson.cdf(j - 1, np.exp(1.1)), stats.poisson.cdf(j, np.exp(1.1))
        overlap = np.clip(np.minimum(above[:, None], hi) - np.maximum(below[:, None], lo), 0, None)
        keep = above - below > 1e-14
        step = (overlap[keep] @ j) / (above - below)[keep]
        expected = float((mass[keep] / mass[keep].sum()) @ step)
        assert found.mean("visits")[unit] == pytest.approx(expected, abs=5 * found.sd("visits")[unit] / 256**0.5 + 1e-9)
        shift = float(mass[keep] @ (step - k[keep]))
        spend = rows.spend[unit] + 0.8 * shift
        assert found.mean("spend")[unit] == pytest.approx(spend, abs=5 * found.sd("spend")[unit] / 256**0.5 + 1e-9)


def test_evidence_far_from_the_law_moves_the_window():
    rows = pd.DataFrame({"spend": [2.0, 40.0, 90.0]})
    scm = pcm.SCM(far)
    found = scm.counterfactual(rows, do={"spend": lambda visits: visits * 1.0}, seed=0)
    for unit, spend in enumerate(rows.spend):
        k = np.arange(0, 400)
        log = stats.poisson.logpmf(k, 3.0) + stats.norm.logpdf(spend, k, 0.5)
        mass = np.exp(log - log.max()) / np.exp(log - log.max()).sum()
        sd = (mass @ (k - mass @ k) ** 2) ** 0.5
        assert found.mean("visits")[unit] == pytest.approx(mass @ k, abs=5 * sd / 256**0.5 + 1e-9)


def test_a_half_open_interval_beyond_the_bulk():
    rows = pd.DataFrame({"visits": [pcm.Interval(20, np.inf), pcm.Interval(0, 4)], "spend": [12.0, 2.0]})
    found = pcm.SCM(far).counterfactual(rows, do={"spend": 0.0}, seed=0)
    for unit, (low, high) in enumerate([(20, 400), (0, 5)]):
        k = np.arange(low, high)
        log = stats.poisson.logpmf(k, 3.0) + stats.norm.logpdf(rows.spend[unit], k, 0.5)
        mass = np.exp(log - log.max()) / np.exp(log - log.max()).sum()
        sd = (mass @ (k - mass @ k) ** 2) ** 0.5
        assert found.mean("visits")[unit] == pytest.approx(mass @ k, abs=5 * sd / 256**0.5 + 1e-9)


def test_two_counts_and_a_number():
    def program():
        a = pyro.sample("a", dist.Poisson(torch.tensor(2.0)))
        b = pyro.sample("b", dist.Geometric(torch.tensor(0.4)))
        x = pyro.sample("x", dist.Normal(a - b, 1.0))
        pyro.sample("y", dist.Normal(x + a, 0.5))

    found = pcm.SCM(program).counterfactual(pd.DataFrame({"y": [3.0, -2.0]}), do={"x": 0.0}, seed=0)
    for unit, y in enumerate([3.0, -2.0]):
        a, b = np.meshgrid(np.arange(80), np.arange(80), indexing="ij")
        log = stats.poisson.logpmf(a, 2.0) + stats.geom.logpmf(b + 1, 0.4)
        log = log + stats.norm.logpdf(y, 2 * a - b, 1.25**0.5)
        mass = np.exp(log - log.max()) / np.exp(log - log.max()).sum()
        sd = ((mass * a**2).sum() - (mass * a).sum() ** 2) ** 0.5
        assert found.mean("a")[unit] == pytest.approx((mass * a).sum(), abs=5 * sd / 256**0.5)


def test_company_does_not_matter():
    rows = pd.DataFrame({"ad": [0, 1, 0], "visits": [np.nan] * 3, "spend": [0.3, 4.0, 60.0]})
    scm = pcm.SCM(shop)
    both = scm.counterfactual(rows, do={"ad": 1}, seed=3)
    alone = scm.counterfactual(rows.iloc[:2], do={"ad": 1}, seed=3)
    assert np.array_equal(both.draws("visits")[..., :2], alone.draws("visits"))


def test_more_values_than_can_be_enumerated_are_refused_by_name():
    def program():
        crowd = pyro.sample("crowd", dist.Poisson(torch.tensor(1e7)))
        pyro.sample("noise", dist.Normal(crowd / 1e7, 0.5))

    with pytest.raises(pcm.errors.QueryError, match="crowd"):
        pcm.SCM(program).counterfactual(pd.DataFrame({"noise": [1.0]}), do={"noise": 0.0}, seed=0)


def test_under_a_fit_the_window_covers_every_draw():
    def program(n_units):
        rate = pyro.sample("rate", dist.LogNormal(1.0, 1.0))
        with pyro.plate("units", n_units, dim=-1):
            n = pyro.sample("n", dist.Poisson(rate))
            pyro.sample("y", dist.Normal(n, 1.0))

    rng = np.random.default_rng(0)
    counts = rng.poisson(3.0, 60).astype(float)
    complete = pd.DataFrame({"n": counts, "y": counts + rng.normal(size=60)})
    rows = complete.assign(n=complete.n.where(complete.index >= 30))
    fitted = pcm.SCM(program).fit(rows, draws=200, seed=0, progress=False)
    found = fitted.counterfactual(rows, do={"y": 0.0}, seed=0)
    rates = np.asarray(fitted.posterior["rate"]).ravel()
    k = np.arange(0, 200)
    for unit in range(30):
        log = stats.poisson.logpmf(k, rates[:, None]) + stats.norm.logpdf(rows.y[unit], k, 1.0)
        mass = np.exp(log - log.max(1, keepdims=True))
        mass /= mass.sum(1, keepdims=True)
        sd = (mass @ k**2 - (mass @ k) ** 2).mean() ** 0.5
        assert found.mean("n")[unit] == pytest.approx((mass @ k).mean(), abs=5 * sd / 200**0.5 + 1e-6)


def test_more_than_can_be_held_is_refused_before_it_is_tried():
    rows = {"spend": np.tile([2.0, 7.0], 50)}
    with pytest.raises(pcm.errors.QueryError, match=r"visits of 100 units .* Ask for at most \d+ units at a time"):
        pcm.SCM(far).counterfactual(rows, do={"spend": 0.0}, memory_limit="10 kB", outcome="spend", seed=0)
