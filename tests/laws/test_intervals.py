"""Interval cells: truncated normals and numerical integration, enumeration, the limit of no width, calibration."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

import pcm
from pcm import Interval
from pcm.errors import FitWarning
from tests.laws.random_programs import linears


def chain():
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    b = pyro.sample("b", dist.Normal(2.0 * a, 1.5))
    pyro.sample("c", dist.Normal(b - a, 0.7))


def test_the_interval_of_a_leaf_is_the_truncated_normal():
    ends = np.array([[0.0, 1.0], [2.0, np.inf], [-np.inf, -3.0], [14.0, 15.0]])  # the last is 20 sds out
    data = {"a": np.full(4, 0.5), "b": np.ones(4), "c": Interval(*ends.T)}
    cf = pcm.SCM(chain).counterfactual(data, do={"a": 0.0}, seed=0)
    law = stats.truncnorm(*((ends.T - 0.5) / 0.7), loc=0.5, scale=0.7)
    assert np.allclose(cf.mean("c", "factual"), law.mean(), atol=1e-9)
    assert np.allclose(cf.mean("c"), law.mean() - 0.5, atol=1e-9)  # b falls by 1, a by 0.5
    assert np.allclose(cf.sd("c")[:3], law.std()[:3], atol=1e-9)
    low, high = cf.interval("c", 0.8).T
    assert np.allclose(low + 0.5, law.ppf(0.1), atol=2e-3) and np.allclose(high + 0.5, law.ppf(0.9), atol=2e-3)
    assert cf.account.sites["c"].abduction == "its mechanism truncated to the interval; exact"
    draws = cf.draws("c", "factual")
    assert (draws >= ends[:, 0]).all() and (draws <= ends[:, 1]).all()
    first = stats.truncnorm(-0.5 / 0.7, 0.5 / 0.7, loc=0.5, scale=0.7)
    assert stats.kstest(draws[:, 0], first.cdf).pvalue > 1e-4


@settings(max_examples=6)
@given(linears(), st.integers(0, 2**31), st.data())
def test_one_interval_in_a_linear_program_is_its_truncated_conditional(linear, seed, data):
    """A node known to lie in an interval, all others seen: a truncated normal, and all is linear in it."""
    scm = pcm.SCM(linear.program())
    frame = scm.sample(3, seed=seed)
    place = data.draw(st.integers(0, len(linear.names) - 1))
    name, target = linear.names[place], data.draw(st.sampled_from(linear.names))
    back = np.diag(1 / linear.scales) @ (np.eye(len(linear.scales)) - linear.coefficients)
    precision = back.T @ back
    centre = np.linalg.solve(np.eye(len(linear.scales)) - linear.coefficients, linear.intercepts)
    apart = frame.to_numpy() - centre
    sd = precision[place, place] ** -0.5
    mean = frame[name].to_numpy() - (apart @ precision[place]) * sd**2
    low = frame[name].to_numpy() - np.array([0.3, 1.0, np.inf]) * sd
    high = frame[name].to_numpy() + np.array([0.4, np.inf, 0.1]) * sd
    law = stats.truncnorm((low - mean) / sd, (high - mean) / sd, loc=mean, scale=sd)
    cf = scm.counterfactual(
        frame.astype(object).assign(**{name: Interval(low, high).cells()}), do={target: 0.7}, seed=0
    )
    scale = np.maximum(1, np.abs(law.mean()))
    assert (np.abs(cf.mean(name, "factual") - law.mean()) <= 1e-7 * scale).all()
    assert (np.abs(cf.sd(name, "factual") - law.std()) <= 1e-6 * scale).all()
    expected = scm.counterfactual(frame.assign(**{name: law.mean()}), do={target: 0.7}).mean(linear.names[-1])
    assert (np.abs(cf.mean(linear.names[-1]) - expected) <= 1e-6 * np.maximum(scale, np.abs(expected))).all()


def test_an_interval_above_and_a_hidden_cause_are_numerical_integration():
    """Two numbers open in one unit, one in the other: by scipy."""

    def joint(b, a):
        return stats.norm.pdf(a) * stats.norm.pdf(b, 2 * a, 1.5) * stats.norm.pdf(1.0, b - a, 0.7)

    data = {"a": [0.5, np.nan], "b": [Interval(0, 1)] * 2, "c": [1.0, 1.0]}
    cf = pcm.SCM(chain).counterfactual(data, do={"a": 0.0}, seed=0, draws=2000)
    whole = integrate.quad(joint, 0, 1, args=(0.5,))[0]
    mean = integrate.quad(lambda b: b * joint(b, 0.5), 0, 1)[0] / whole
    assert abs(cf.mean("b")[0] - (mean - 1)) <= 1e-10
    whole = integrate.dblquad(joint, -6, 6, 0, 1)[0]
    mean = integrate.dblquad(lambda b, a: (b - 2 * a) * joint(b, a), -6, 6, 0, 1)[0] / whole
    assert abs(cf.mean("b")[1] - mean) <= 4 * cf.sd("b")[1] / 900**0.5
    assert cf.diagnostics["method"].tolist() == ["quadrature", "importance"]


def test_a_rounded_value_tends_to_the_value():
    scm = pcm.SCM(chain)
    frame = scm.sample(20, seed=3)
    exact = scm.counterfactual(frame, do={"a": 0.0})
    for name in "abc":
        errors = []
        for width in (1e-2, 1e-4, 1e-6):
            cells = frame.astype(object).assign(**{name: Interval(frame[name] - width, frame[name] + width).cells()})
            cf = scm.counterfactual(cells, do={"a": 0.0}, seed=0)
            errors.append(np.abs(cf.mean("c") - exact.mean("c")).max())
            assert cf.sd("c").max() <= width * 3
        assert np.all(np.array(errors) <= 0.1 * np.array([1e-2, 1e-4, 1e-6]))
    met = frame.astype(object).assign(b=Interval(frame["b"], frame["b"]).cells())
    assert np.array_equal(scm.counterfactual(met, do={"a": 0.0}).mean("c"), exact.mean("c"))


def test_an_interval_without_ends_is_an_empty_cell():
    scm = pcm.SCM(chain)
    frame = scm.sample(5, seed=1)
    open_ = frame.astype(object).assign(b=Interval(np.full(5, -np.inf)).cells())
    one, other = (scm.counterfactual(d, do={"a": 0.0}, seed=0) for d in (open_, frame.assign(b=np.nan)))
    assert np.allclose(one.mean("c"), other.mean("c"), atol=1e-9) and np.allclose(one.sd("c"), other.sd("c"), atol=1e-9)


def discrete():
    u = pyro.sample("u", dist.Binomial(4, torch.tensor(0.4)))
    k = pyro.sample("k", dist.Poisson(1.0 + u))
    pyro.sample("y", dist.Bernoulli(logits=0.5 * k - u))
    pyro.sample("o", dist.OrderedLogistic(k - 2.0, torch.tensor([-1.0, 0.0, 1.0])))


def test_discrete_intervals_are_enumerated():
    """Binomial, Poisson and ordered cells in closed intervals, by brute force."""
    data = {
        "u": [Interval(1, 3), 2, Interval(0.5, 3.9), np.nan],
        "k": [Interval(1, 4), Interval(2, 6), 3, Interval(0, 2)],
        "y": [1, np.nan, 0, 1],
        "o": [Interval(0, 1), 2, np.nan, Interval(2, 3)],
    }
    cf = pcm.SCM(discrete).counterfactual(data, do={"k": 0.0}, seed=0)
    grid = np.array(list(itertools.product(range(5), range(7), range(2), range(4))), dtype=float)
    weight = np.exp(pcm.SCM(discrete).log_prob(pd.DataFrame(grid, columns=list("ukyo"))))
    for row in range(4):
        fits = np.ones(len(grid), dtype=bool)
        for place, name in enumerate("ukyo"):
            cell, seen = data[name][row], grid[:, place]
            if isinstance(cell, Interval):
                fits &= (seen >= cell.low) & (seen <= cell.high)
            elif cell == cell:
                fits &= seen == cell
        p = weight * fits / (weight * fits).sum()
        assert abs(cf.probability("u", 2, "factual")[row] - p @ (grid[:, 0] == 2)) <= 1e-12
        assert abs(cf.mean("k", "factual")[row] - p @ grid[:, 1]) <= 1e-12
    assert set(cf.diagnostics["method"]) == {"enumerate"}


def test_a_count_above_a_limit_is_the_tail_of_its_law():
    def counts():
        rate = pyro.sample("rate", dist.Gamma(3.0, 1.0))
        pyro.sample("n", dist.Poisson(rate))

    cf = pcm.SCM(counts).counterfactual({"rate": [2.0, np.nan], "n": [Interval(low=4)] * 2}, do={"rate": 1.0}, seed=0)
    assert (cf.draws("n", "factual") >= 4).all()
    top = integrate.quad(lambda r: r * stats.gamma.pdf(r, 3) * stats.poisson.sf(3, r), 0, 60)[0]
    whole = integrate.quad(lambda r: stats.gamma.pdf(r, 3) * stats.poisson.sf(3, r), 0, 60)[0]
    sd = cf.sd("rate", "factual")[1]
    assert abs(cf.mean("rate", "factual")[1] - top / whole) <= 4 * sd / 16


def skewed():
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    b = pyro.sample("b", dist.Weibull(torch.exp(-0.3 * a), 1.5))
    pyro.sample("c", dist.Bernoulli(logits=a + b - 1.0))
    pyro.sample("d", dist.LogNormal(0.5 * b - 0.3 * a, 0.5))


def wrong():
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    b = pyro.sample("b", dist.Weibull(torch.exp(1.0 - 0.3 * a), 1.5))
    pyro.sample("c", dist.Bernoulli(logits=a + b - 1.0))
    pyro.sample("d", dist.LogNormal(0.5 * b - 0.3 * a, 0.5))


def coarsened(truth):
    """``a`` never seen; ``b`` rounded down, or not seen; ``d`` not seen above 2 in some."""
    unit, b, d = np.arange(len(truth)), truth["b"].to_numpy(), truth["d"].to_numpy()
    rounded = Interval(np.floor(2 * b) / 2, np.floor(2 * b) / 2 + 0.5).cells()
    cells = truth.drop(columns="a").astype(object)
    cells["b"] = [np.nan if k % 4 == 0 else rounded[k] if k % 4 < 3 else b[k] for k in unit]
    cells["d"] = [Interval(low=2.0) if k % 3 == 0 and d[k] > 2 else d[k] for k in unit]
    return cells


def rank_pvalues(program, units, seed, method="auto", draws=127):
    """Smallest chi-square p-value of ranks of hidden values and of a counterfactual, times how many there are."""
    truth = pcm.SCM(skewed).sample(units, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        scm = pcm.SCM(program)
        cf = scm.counterfactual(coarsened(truth), do={"a": 0.0}, draws=draws, seed=seed + 1, method=method)
    real = pcm.SCM(skewed).counterfactual(truth, do={"a": 0.0})
    assert not cf.diagnostics["flagged"].any()
    found = []
    for name, world in (("a", "factual"), ("b", "factual"), ("d", "factual"), ("b", "do"), ("d", "do")):
        values, known = cf.draws(name, world), real.mean(name, world)
        open_ = values.std(0) > 1e-9
        ranks = (values[:, open_] < known[open_]).sum(0)
        found.append(stats.chisquare(np.bincount(ranks // 16, minlength=8)).pvalue)
    return min(found) * len(found)


@pytest.mark.slow
def test_ranks_of_hidden_values_are_uniform_and_those_of_a_wrong_model_are_not():
    assert rank_pvalues(skewed, 300, 10) > 1e-3
    assert rank_pvalues(wrong, 300, 10) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("method", ["auto", "importance"])
def test_ranks_are_uniform_in_many_units(method):
    assert rank_pvalues(skewed, 3000, 20, method) > 1e-4


def test_a_unit_answers_alike_in_any_company():
    """Split, reversed, or beside units of other patterns: the same numbers."""
    scm = pcm.SCM(skewed)
    cells = coarsened(scm.sample(24, seed=5))
    whole = scm.counterfactual(cells, do={"a": 0.0}, seed=1)
    for part in (cells.iloc[:7], cells.iloc[7:], cells.iloc[::-1]):
        alone = scm.counterfactual(part, do={"a": 0.0}, seed=1)
        rows = whole.index.get_indexer(part.index)
        for name, world in itertools.product("bd", ("factual", "do")):
            assert np.allclose(alone.draws(name, world), whole.draws(name, world)[:, rows], rtol=1e-9, atol=1e-9)
        assert (alone.diagnostics["method"].to_numpy() == whole.diagnostics["method"].to_numpy()[rows]).all()
