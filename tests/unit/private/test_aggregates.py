"""Noisy sums as the only evidence: promises, exactness, and posteriors that cover."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm
from pcm import private
from pcm.private.aggregate_fit import target_of_aggregates

TABLE = private.CrossTable({"z": [0, 1], "t": [0, 1], "y": [0, 1]}, epsilon=0.5)


def trial(n: int) -> None:
    z0, t0, tz, y0, yt, yz = (pyro.sample(p, dist.Normal(0.0, 2.0)) for p in ("z0", "t0", "tz", "y0", "yt", "yz"))
    with pyro.plate("units", n):
        z = pyro.sample("z", dist.Bernoulli(logits=z0.expand(n)))
        t = pyro.sample("t", dist.Bernoulli(logits=t0 + tz * z))
        pyro.sample("y", dist.Bernoulli(logits=y0 + yt * t + yz * z))


def line(n: int) -> None:
    m, a, b = (pyro.sample(p, dist.Normal(0.0, 2.0)) for p in ("m", "a", "b"))
    v, s = (pyro.sample(p, dist.HalfNormal(2.0)) for p in ("v", "s"))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(m, v))
        pyro.sample("y", dist.Normal(a + b * x, s))


def logit(n: int) -> None:
    a, b = (pyro.sample(p, dist.Normal(0.0, 2.0)) for p in ("a", "b"))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(torch.zeros(n), 1.0))
        pyro.sample("y", dist.Bernoulli(logits=a + b * x))


TRIAL, LINE, LOGIT = pcm.SCM(trial), pcm.SCM(line), pcm.SCM(logit)


def test_the_noise_is_what_the_promise_needs() -> None:
    for statistic in (
        TABLE,
        private.CrossTable({"z": ["a", "b", "c"]}, rho=0.2),
        private.Moments({"x": (0, 1), "y": (-2, 2)}, epsilon=1.0),
        private.Moments({"x": (0, 1), "y": (-2, 2)}, rho=0.1),
    ):
        assert statistic.cost() == pytest.approx(statistic.loss, rel=1e-9)
    assert TABLE.scale == 4.0
    assert private.CrossTable({"z": [0, 1]}, rho=0.25).variance == pytest.approx(4.0, rel=1e-6)


@pytest.mark.parametrize("order", [1, 2])
def test_no_row_replaced_moves_the_sums_further_than_stated(order) -> None:
    generator = np.random.default_rng(0)
    moments = private.Moments({"x": (0, 3), "y": (-2, 2), "w": (5, 6)}, epsilon=1.0, order=order, clip=True)
    corners = pd.DataFrame(
        {
            "x": generator.choice([0, 1.5, 3], 400),
            "y": generator.choice([-2, 0, 2], 400),
            "w": generator.choice([5, 5.5, 6], 400),
        }
    )
    rows = moments.read(corners)
    apart = np.abs(rows[:200] - rows[200:])
    one, two = moments.distances
    assert apart.sum(1).max() <= one and np.sqrt((apart.astype(float) ** 2).sum(1)).max() <= two
    assert apart.sum(1).max() > 0.5 * one, "the stated distance is not far from what occurs"


def test_release_pays_first_and_refuses_what_is_outside() -> None:
    frame = pd.DataFrame({"z": [0, 1, 1], "t": [1, 0, 1], "y": [0, 0, 1]})
    ledger = private.Ledger(epsilon=0.75)
    found = TABLE.release(frame, ledger, name="table")
    assert found.values.shape == (8,) and np.all(found.values == np.rint(found.values))
    assert ledger.statement()["status"].tolist() == ["released"] and ledger.remaining == pytest.approx(0.25)
    with pytest.raises(pcm.errors.BudgetError):
        TABLE.release(frame, ledger, name="again")
    with pytest.raises(pcm.errors.DataError, match="public labels"):
        TABLE.release(frame.assign(t=2), ledger, name="again")
    with pytest.raises(pcm.errors.DataError, match="several rows for one person"):
        TABLE.release(frame.set_axis(["a", "a", "b"]), ledger, name="again")
    moments = private.Moments({"z": (0.0, 0.5)}, epsilon=0.1)
    with pytest.raises(pcm.errors.DataError, match="outside the public bounds"):
        moments.release(frame, ledger, name="moments")
    with pytest.raises(pcm.errors.ArgumentError, match="plain number"):
        private.Moments({"z": (frame["z"].min(), 1)}, epsilon=0.1)
    assert len(ledger.statement()) == 1


def test_the_likelihood_is_the_multinomial_s_normal_limit() -> None:
    counts = private.Aggregate([703.0, 299.0], private.CrossTable({"x": [0, 1]}, epsilon=1.0), rows=1000)

    def coin(n: int) -> None:
        p = pyro.sample("p", dist.Beta(1.0, 1.0))
        with pyro.plate("units", n):
            pyro.sample("x", dist.Bernoulli(p))

    target, _ = target_of_aggregates(pcm.SCM(coin)._model, [counts])
    values = []
    for p in (0.28, 0.31):
        cov = 1000 * (np.diag([1 - p, p]) - np.outer([1 - p, p], [1 - p, p])) + np.eye(2) * counts.statistic.variance
        apart = counts.values - 1000 * np.array([1 - p, p])
        exact = -0.5 * apart @ np.linalg.solve(cov, apart) - 0.5 * np.linalg.slogdet(cov)[1]
        found = target.log_density({"p": torch.tensor(p, dtype=torch.float64)})
        values.append(float(found) - exact)
    assert values[0] == pytest.approx(values[1], abs=1e-8)


def test_moments_of_a_gaussian_program_and_of_a_clipped_one() -> None:
    theta = {"m": 0.3, "a": 0.5, "b": 1.2, "v": 0.8, "s": 0.6}
    frame = LINE.given(theta).sample(200_000, seed=0)
    for clip, bound in ((False, 20.0), (True, 1.0)):
        moments = private.Moments({"x": (-bound, bound), "y": (-bound, bound)}, rho=5.0, clip=clip)
        made = private.Aggregate(moments.simulate(frame, seed=1), moments, rows=200_000)
        fitted = LINE.fit(made, seed=0, progress=False, draws=300)
        for name, value in theta.items():
            draws = fitted.posterior[name]
            assert abs(float(draws.mean()) - value) < 4.5 * float(draws.std()), (clip, name)
        assert float(fitted.posterior["b"].std()) < 0.02


@pytest.mark.filterwarnings("ignore::pcm.errors.FitWarning")  # so little is known that k-hat says so too
def test_second_moments_that_are_not_positive_definite() -> None:
    """At 150 rows and ε = .2 the noisy matrix is none of a covariance, and the fit says how little is known."""
    moments = private.Moments({"x": (-5, 5), "y": (-5, 5)}, epsilon=0.2)
    frame = LINE.given(m=0.0, a=0.0, b=1.0, v=1.0, s=0.5).sample(150, seed=0)
    sums = next(
        sums
        for sums in (moments.simulate(frame, seed=seed) for seed in range(100))
        if np.linalg.eigvalsh(moments.describe(sums, 150)[1].to_numpy())[0] < 0
    )
    fitted = LINE.fit(private.Aggregate(sums, moments, rows=150), seed=0, progress=False)
    assert float(fitted.posterior["b"].std()) > 0.5, "the prior's is 2, that of 150 rows without noise .04"
    assert bool((fitted.posterior["s"] > 0).all())


def test_what_cannot_be_fitted_from_aggregates_is_refused_by_name() -> None:
    def counts(n: int) -> None:
        rate = pyro.sample("rate", dist.Gamma(2.0, 1.0))
        with pyro.plate("units", n):
            pyro.sample("visits", dist.Poisson(rate))

    made = private.Aggregate([1.0], private.Moments({"visits": (0, 9)}, epsilon=1.0, order=1, clip=True), rows=500)
    with pytest.raises(pcm.errors.FitError, match="visits"):
        pcm.SCM(counts).fit(made)
    small = private.Aggregate(np.ones(8), TABLE, rows=20)
    with pytest.raises(pcm.errors.EvidenceError, match="100 rows"):
        TRIAL.fit(small)
    wrong = private.Aggregate([300.0, 300.0], private.CrossTable({"z": ["no", "yes"]}, epsilon=1.0), rows=600)
    with pytest.raises(pcm.errors.EvidenceError, match="same order"):
        TRIAL.fit(wrong)
    with pytest.raises(pcm.errors.FitError, match="intervention"):
        TRIAL.do(t=1).fit(private.Aggregate(np.full(8, 100.0), TABLE, rows=800))


def covered(scm: pcm.SCM, theta: dict[str, float], statistic, rows: int, number: int) -> dict[str, float]:
    """How often .90 intervals hold the truth."""
    fixed, hits = scm.given(theta), dict.fromkeys(theta, 0)
    for seed in range(number):
        sums = statistic.simulate(fixed.sample(rows, seed=seed), seed=1_000 + seed)
        made = private.Aggregate(sums, statistic, rows=rows)
        fitted = scm.fit(made, seed=seed, draws=200, progress=False)
        for name, value in theta.items():
            low, high = np.quantile(fitted.posterior[name].numpy(), [0.05, 0.95])
            hits[name] += int(low <= value <= high)
    return {name: hit / number for name, hit in hits.items()}


DESIGNS = {
    "cross-table": (TRIAL, {"z0": -0.4, "t0": -0.6, "tz": 1.2, "y0": -1.0, "yt": 1.3, "yz": 1.0}, TABLE, 2_000),
    "linear": (
        LINE,
        {"m": 0.3, "a": 0.5, "b": 1.2, "v": 0.8, "s": 0.6},
        private.Moments({"x": (-3, 3), "y": (-4, 4)}, epsilon=1.0, clip=True),
        5_000,
    ),
    "logistic": (
        LOGIT,
        {"a": -0.5, "b": 1.0},
        private.Moments({"x": (-3, 3), "y": (0, 1)}, epsilon=1.0, clip=True),
        5_000,
    ),
}


def test_a_few_intervals_from_a_cross_table() -> None:
    found = covered(*DESIGNS["cross-table"], 4)
    assert sum(found.values()) / len(found) > 0.6


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pcm.errors.FitWarning")
@pytest.mark.parametrize("design", DESIGNS)
def test_coverage(design) -> None:
    found = covered(*DESIGNS[design], 150)
    print(design, found)
    bound = 4.0 * math.sqrt(0.09 / 150)
    assert all(0.9 - bound <= share for share in found.values()), found
    assert sum(found.values()) / len(found) <= 0.95, found
