"""Interval cells, chosen methods, contradictions: what is understood, what is refused and how it is said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import stats

import pcm
from pcm import Interval
from pcm.errors import ArgumentError, DataError, EvidenceError, QueryError


def pair():
    x = pyro.sample("x", dist.Normal(0.0, 1.0))
    pyro.sample("y", dist.Exponential(torch.exp(x)))


PAIR = pcm.SCM(pair)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (Interval(2.0, 1.0), "column 'y' .* from 2 to 1, which is empty .*'second'"),
        (Interval(float("nan"), 1.0), "column 'y' .* missing end .*'second'"),
        (Interval(-2.0, -1.0), "column 'y' has an interval in row second .-2 to -1. where Exponential has nothing"),
    ],
)
def test_ends_that_cannot_be_name_column_and_row(cell, words):
    frame = pd.DataFrame({"x": [0.0, 0.0], "y": [1.0, cell]}, index=["first", "second"])
    with pytest.raises(DataError, match=words) as caught:
        PAIR.counterfactual(frame, do={"x": 1.0})
    assert caught.value.column == "y" and caught.value.rows == ["second"]


def test_pandas_intervals_are_understood_with_their_own_ends():
    def count():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("n", dist.Poisson(torch.exp(x)))

    scm = pcm.SCM(count)
    binned = pd.DataFrame({"x": 0.0, "n": pd.cut(pd.Series([1.0, 4.0]), [0, 2, 5])})  # (0, 2] and (2, 5]
    closed = {"x": [0.0, 0.0], "n": Interval([1, 3], [2, 5])}
    one, other = (scm.counterfactual(data, do={"x": 1.0}, seed=0) for data in (binned, closed))
    assert np.allclose(one.mean("n", "factual"), other.mean("n", "factual"))
    assert (one.draws("n", "factual")[:, 1] >= 3).all()


def test_what_has_no_interval_is_refused_by_name():
    def program():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        twice = pyro.deterministic("twice", 2 * x)
        pyro.sample("k", dist.Categorical(logits=torch.stack([twice, 0 * x, x], -1)))

    for column, words in (("twice", "computed by the program"), ("k", "no order")):
        with pytest.raises(EvidenceError, match=f"'{column}'.*{words}"):
            pcm.SCM(program).counterfactual({"x": [0.0], column: [Interval(0, 1)]}, do={"x": 1.0})
    with pytest.raises(EvidenceError, match="intervals for the variable y"):
        PAIR.log_prob({"x": [0.0], "y": [Interval(0, 1)]})


def test_a_censored_fit_is_the_likelihood_by_hand():
    """Exponential times above 1 seen as such: the rate's estimate is events / total time."""

    def waits(n):
        rate = pyro.sample("rate", dist.Gamma(1.0, 1e-6))
        with pyro.plate("units", n):
            pyro.sample("t", dist.Exponential(rate))

    times = np.random.default_rng(0).exponential(0.5, size=400)
    cells = [Interval(low=1.0) if t > 1 else t for t in times]
    fitted = pcm.SCM(waits).fit({"t": cells}, seed=0, draws=2000, progress=False)
    events, total = (times <= 1).sum(), np.minimum(times, 1).sum()
    rate = fitted.posterior["rate"].numpy()
    assert abs(rate.mean() - (events + 1) / total) < 4 * rate.std() / 2000**0.5 + 0.01
    assert abs(rate.std() - (events + 1) ** 0.5 / total) < 0.1 * rate.std()


def test_a_fit_integrates_intervals_above_what_was_seen():
    """One unknown shift, x rounded, y seen: the posterior on a grid, by scipy."""

    def shifted(n):
        shift = pyro.sample("shift", dist.Normal(0.0, 1.0))
        with pyro.plate("units", n):
            x = pyro.sample("x", dist.Normal(shift, 1.0))
            pyro.sample("y", dist.Exponential(torch.exp(x)))

    data = {"x": Interval([0.0, 1.0, -np.inf], [1.0, 2.0, 0.0]), "y": [0.5, 0.2, 3.0]}
    fitted = pcm.SCM(shifted).fit(data, seed=0, draws=4000, progress=False)
    x, shift = np.linspace(-9, 9, 18_001), np.linspace(-4, 4, 401)
    logs = -(shift**2) / 2
    for low, high, y in zip(data["x"].low, data["x"].high, data["y"], strict=True):
        inside = x[(x >= low) & (x <= high)]
        law = np.exp(-((inside - shift[:, None]) ** 2) / 2 + inside - y * np.exp(inside))
        logs = logs + np.log(np.trapezoid(law, inside, axis=1))
    weight = np.exp(logs - logs.max())
    mean = (weight * shift).sum() / weight.sum()
    sd = ((weight * (shift - mean) ** 2).sum() / weight.sum()) ** 0.5
    found = fitted.posterior["shift"].numpy()
    assert abs(found.mean() - mean) < 0.08 * sd and abs(found.std() - sd) < 0.06 * sd


def test_a_fit_understands_counts_in_intervals():
    """A Poisson rate from counts seen as classes."""

    def counts(n):
        rate = pyro.sample("rate", dist.Gamma(1.0, 0.1))
        with pyro.plate("units", n):
            pyro.sample("k", dist.Poisson(rate))

    data = {"k": [2.0, Interval(3, 5), Interval(low=4), Interval(0, 1)]}
    fitted = pcm.SCM(counts).fit(data, seed=0, draws=4000, progress=False)
    rate = np.linspace(0.001, 15, 4000)
    poisson = stats.poisson(rate)
    weight = np.exp(-0.1 * rate) * poisson.pmf(2) * (poisson.cdf(5) - poisson.cdf(2)) * poisson.sf(3) * poisson.cdf(1)
    mean = (weight * rate).sum() / weight.sum()
    assert abs(fitted.posterior["rate"].numpy().mean() - mean) < 0.1 * mean


def test_a_method_that_is_not_right_is_refused_with_the_reason():
    hidden = {"y": [1.0, 2.0]}
    with pytest.raises(ArgumentError, match="'exact' is none of auto"):
        PAIR.counterfactual(hidden, do={"y": 1.0}, method="exact")
    with pytest.raises(QueryError, match=r"'gaussian': the posterior .* not Gaussian for 2 of 2"):
        PAIR.counterfactual(hidden, do={"y": 1.0}, method="gaussian")
    with pytest.raises(QueryError, match="'enumerate': 'x' is continuous"):
        PAIR.counterfactual(hidden, do={"y": 1.0}, method="enumerate")
    with pytest.raises(ArgumentError, match="fresh units have none"):
        pcm.ate(PAIR, "x", "y", method="laplace")
    for method, name in (("auto", "quadrature"), ("importance", "importance"), ("laplace", "laplace")):
        cf = PAIR.counterfactual(hidden, do={"y": 1.0}, method=method, seed=0)
        assert set(cf.diagnostics["method"]) == {name}
        assert abs(cf.mean("x", "factual")[0] + 0.3) < 0.4


def test_methods_agree_where_they_are_right():
    hidden = {"y": [1.0, 2.0]}
    grid = np.linspace(-8, 8, 4001)
    exact = []
    for y in hidden["y"]:
        weight = np.exp(-(grid**2) / 2 + grid - y * np.exp(grid))
        exact.append((weight * grid).sum() / weight.sum())
    assert np.allclose(PAIR.counterfactual(hidden, do={"y": 1.0}).mean("x", "factual"), exact, atol=1e-8)
    many = PAIR.counterfactual(hidden, do={"y": 1.0}, method="importance", draws=4000, seed=0)
    assert np.allclose(many.mean("x", "factual"), exact, atol=0.08)


@pytest.mark.parametrize(
    ("law", "value"),
    [
        (lambda x: dist.Bernoulli(0.7 * x), 1.0),
        (lambda x: dist.Poisson(2.0 * x), 3.0),
        (lambda x: dist.Delta(x + 1), 5.0),
        (lambda x: dist.Binomial(3, 0.5 * x), 2.0),
    ],
)
def test_evidence_of_probability_zero_names_column_row_and_value(law, value):
    def program():
        x = pyro.sample("x", dist.Bernoulli(0.5))
        y = pyro.sample("y", law(x))
        pyro.sample("z", dist.Normal(y, 1.0))

    frame = pd.DataFrame({"x": [0.0, 0.0], "y": [0.0, value], "z": [0.0, 0.0]}, index=["fine", "odd"])
    frame.loc["fine", "y"] = 1.0 if isinstance(law(torch.tensor(0.0)), dist.Delta) else 0.0
    with pytest.raises(EvidenceError, match=f"column 'y' contradicts .* no chance of {value} in row odd") as caught:
        pcm.SCM(program).counterfactual(frame, do={"x": 1.0})
    assert caught.value.rows == ["odd"]


def test_a_start_that_is_impossible_is_not_the_end():
    def program():
        x = pyro.sample("x", dist.Uniform(0.0, 1.0))
        pyro.sample("y", dist.Uniform(0 * x, x))

    cf = pcm.SCM(program).counterfactual({"y": [0.7]}, do={"y": 0.1}, seed=0, draws=1000)
    assert abs(cf.mean("x", "factual")[0] - 0.3 / np.log(1 / 0.7)) < 0.02


def test_an_interval_that_a_computed_column_contradicts_is_named():
    def doubled():
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        pyro.deterministic("b", 2 * a)

    scm = pcm.SCM(doubled)
    cf = scm.counterfactual({"a": [pcm.Interval(0.0, 1.0)], "b": [1.0]}, do={"a": 0.0})
    assert cf.mean("a", "factual").tolist() == pytest.approx([0.5])
    with pytest.raises(EvidenceError, match=r"\(a cannot be what was observed\). Rows: 0"):
        scm.counterfactual({"a": [pcm.Interval(0.0, 1.0)], "b": [6.0]}, do={"a": 0.0})
