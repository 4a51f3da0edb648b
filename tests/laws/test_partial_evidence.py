"""Partial evidence: the algebra on linear-Gaussian programs, enumeration on discrete ones, calibration on the rest."""

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
from scipy import stats

import pcm
from pcm.errors import EvidenceError, FitWarning
from tests.laws.random_programs import linears


def algebra(linear, frame, sets):
    """Mean and sd of every variable in the world ``sets`` given the cells that are there, by Gaussian conditioning."""
    count = len(linear.scales)
    inverse = np.linalg.inv(np.eye(count) - linear.coefficients)
    centre, spread = inverse @ linear.intercepts, inverse @ np.diag(linear.scales**2) @ inverse.T
    kept, keep, forced = linear.coefficients.copy(), np.eye(count), np.zeros(count)
    for place, value in sets.items():
        kept[place], keep[place, place], forced[place] = 0, 0, value
    after = np.linalg.inv(np.eye(count) - kept)
    means, sds = np.zeros(frame.shape), np.zeros(frame.shape)
    for row, values in enumerate(frame.to_numpy()):
        hole, here = np.isnan(values), ~np.isnan(values)
        mean, cov = values.copy(), np.zeros((count, count))
        gain = spread[np.ix_(hole, here)] @ np.linalg.inv(spread[np.ix_(here, here)])
        mean[hole] = centre[hole] + gain @ (values[here] - centre[here])
        cov[np.ix_(hole, hole)] = spread[np.ix_(hole, hole)] - gain @ spread[np.ix_(here, hole)]
        back = np.eye(count) - linear.coefficients
        noise, change = back @ mean - linear.intercepts, after @ keep @ back
        means[row] = after @ (keep @ (noise + linear.intercepts) + forced)
        sds[row] = np.sqrt(np.clip(np.diag(change @ cov @ change.T), 0, None))
    return means, sds


@settings(max_examples=20)
@given(linears(), st.integers(0, 2**31), st.data())
def test_any_pattern_of_holes_in_a_linear_program_is_the_algebra(linear, seed, data):
    scm, rng = pcm.SCM(linear.program()), np.random.default_rng(seed)
    frame = scm.sample(30, seed=seed)
    frame = frame.mask(rng.random(frame.shape) < 0.4)
    target = data.draw(st.sampled_from(linear.names))
    cf = scm.counterfactual(frame, do={target: 0.7}, seed=seed, draws=16)
    means, sds = algebra(linear, frame, {linear.names.index(target): 0.7})
    for place, name in enumerate(linear.names):
        scale = np.maximum(1, np.abs(means[:, place]))
        assert (np.abs(cf.mean(name) - means[:, place]) <= 1e-8 * scale).all(), name
        assert (np.abs(cf.sd(name) - sds[:, place]) <= 1e-8 * scale).all(), name
        bounds = cf.interval(name, 0.8)
        reach = stats.norm.ppf(0.9) * sds[:, place]
        assert (np.abs(bounds - np.stack([means[:, place] - reach, means[:, place] + reach], -1)) <= 1e-7).all(), name


def confounded():
    a = pyro.sample("A", dist.Normal(0.0, 1.0))
    e = pyro.sample("E", dist.Normal(0.0, 1.0))
    x = pyro.sample("X", dist.Normal(0.8 * a + 0.5 * e, 0.5))
    z = pyro.sample("Z", dist.Normal(-0.7 * a, 0.4))
    pyro.sample("Y", dist.Normal(1.2 * x + 0.9 * z + 0.3 * a + 0.6 * e, 0.7))


@pytest.mark.parametrize("column", ["A", "E", "X", "Z", "Y"])
def test_draws_have_the_analytic_mean_and_spread(column):
    """The latent-confounder fixture: 256 draws err by 1/16 sd in the mean, and little in the sd."""
    scm = pcm.SCM(confounded)
    frame = scm.sample(400, seed=1).drop(columns=column)
    cf = scm.counterfactual(frame, do={"A": 1.0}, seed=2, draws=256)
    for name in ("X", "Z", "Y"):
        sd = cf.sd(name)
        if sd.max() < 1e-9:
            continue
        draws = cf.draws(name)
        error = np.sqrt((((draws.mean(0) - cf.mean(name)) / sd) ** 2).mean())
        assert error <= 0.075 and abs(draws.std(0) / sd - 1).mean() <= 0.06


def discrete():
    u = pyro.sample("u", dist.Bernoulli(0.3))
    a = pyro.sample("a", dist.Bernoulli(logits=2 * u - 1))
    c = pyro.sample("c", dist.Categorical(logits=torch.stack([0 * a, a + u, -u], -1)))
    pyro.sample("y", dist.Bernoulli(logits=a - u + 0.5 * c))


def test_missing_discrete_sites_are_averaged_exactly():
    """Against complete evidence: E[answer | seen] = sum over completions of P(completion | seen) times its answer."""
    scm = pcm.SCM(discrete)
    grid = pd.DataFrame(list(itertools.product([0, 1], [0, 1], [0, 1, 2], [0, 1])), columns=["u", "a", "c", "y"])
    weight = np.exp(scm.log_prob(grid))
    full = scm.counterfactual(grid, do={"a": 1.0})
    answers = {"y": full.probability("y", 1), "c": full.probability("c", 2), "u": full.mean("u")}
    seen = scm.sample(40, seed=3).astype(float)
    seen = seen.mask(np.random.default_rng(0).random(seen.shape) < 0.5)
    cf = scm.counterfactual(seen, do={"a": 1.0}, draws=8, seed=0)
    found = {"y": cf.probability("y", 1), "c": cf.probability("c", 2), "u": cf.mean("u")}
    for row, values in enumerate(seen.to_numpy()):
        fits = ((grid.to_numpy() == values) | np.isnan(values)).all(1) * weight
        for name, truth in answers.items():
            assert abs(found[name][row] - (fits @ truth) / fits.sum()) <= 1e-12, (row, name)
    assert "enumerated" in cf.account.sites["u"].abduction


def mixed():
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    b = pyro.sample("b", dist.Bernoulli(logits=z))
    g = pyro.sample("g", dist.Gamma(2.0, torch.exp(0.3 * z)))
    pyro.sample("y", dist.Normal(z + b + g, 1.0))


def test_mixed_missing_values_are_calibrated():
    """True values have uniform ranks among the posterior draws, of a hidden variable and of a counterfactual."""
    scm = pcm.SCM(mixed)
    truth = scm.sample(1500, seed=4)
    hidden = truth.astype(float)
    hidden.loc[:, "z"] = np.nan
    hidden.loc[hidden.index % 2 == 0, "b"] = np.nan
    hidden.loc[hidden.index % 3 == 0, "g"] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        cf = scm.counterfactual(hidden, worlds={"one": {"g": 1.0}}, draws=127, seed=5)
    full = scm.counterfactual(truth, worlds={"one": {"g": 1.0}})
    good = ~cf.diagnostics["flagged"].to_numpy()
    assert good.mean() > 0.97
    for name, world, real in (("z", "factual", truth["z"]), ("y", "one", full.mean("y"))):
        draws, real = cf.draws(name, world)[:, good], np.asarray(real)[good]
        open_ = draws.std(0) > 1e-9
        ranks = (draws[:, open_] < real[open_]).sum(0)
        counts = np.bincount(ranks // 16, minlength=8)
        assert stats.chisquare(counts).pvalue > 1e-4, (name, counts)
    chance = cf.mean("b", "factual")
    rows = np.isnan(hidden["b"].to_numpy()) & good
    bins = np.digitize(chance[rows], [0.2, 0.4, 0.6, 0.8])
    for place in range(5):
        inside = bins == place
        if inside.sum() > 30:
            hits, p = truth["b"].to_numpy()[rows][inside].sum(), chance[rows][inside].mean()
            assert stats.binomtest(int(hits), int(inside.sum()), p).pvalue > 1e-5


def test_what_is_observed_stays_and_what_nothing_depends_on_is_drawn():
    scm = pcm.SCM(mixed)
    frame = scm.sample(200, seed=6).astype(float)
    frame["y"] = np.nan
    frame.loc[frame.index < 100, "g"] = np.nan
    cf = scm.counterfactual(frame, do={"z": 0.0}, draws=64, seed=7)
    assert (cf.draws("b", "factual") == frame["b"].to_numpy()).all()
    kept = frame.index >= 100
    assert (cf.draws("g", "factual")[:, kept] == frame["g"].to_numpy()[kept]).all()
    assert "its mechanism" in cf.account.sites["y"].abduction
    prior = 2.0 / np.exp(0.3 * frame["z"].to_numpy()[~kept])
    assert abs(cf.draws("g", "factual")[:, ~kept].mean() - prior.mean()) < 0.15


def test_partial_evidence_under_parameter_draws_is_the_average_over_given_models():
    def program(n):
        slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
        with pyro.plate("units", n):
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(slope * x, 0.5))

    scm = pcm.SCM(program)
    frame = scm.given(slope=1.5).sample(60, seed=0)
    fitted = scm.fit(frame, seed=0, draws=20, progress=False)
    holes = frame.assign(x=np.nan).iloc[:10]
    cf = fitted.counterfactual(holes, do={"x": 0.5}, draws=20, seed=1)
    each = [
        scm.given(slope=float(slope)).counterfactual(holes, do={"x": 0.5}) for slope in fitted.posterior.draws["slope"]
    ]
    assert np.allclose(cf.mean("y"), np.mean([one.mean("y") for one in each], axis=0), atol=1e-10)
    second = np.mean([one.mean("y") ** 2 + one.sd("y") ** 2 for one in each], axis=0)
    assert np.allclose(cf.sd("y"), np.sqrt(second - cf.mean("y") ** 2), atol=1e-9)


def test_impossible_evidence_is_refused():
    def never():
        a = pyro.sample("a", dist.Bernoulli(0.5))
        pyro.sample("b", dist.Bernoulli(0.0 * a))

    with pytest.raises(EvidenceError, match="probability zero"):
        pcm.SCM(never).counterfactual({"b": [1.0]}, do={"a": 1.0})


def test_units_answer_alike_beside_units_of_other_patterns():
    """Law 8 over patterns: what other units lack, categories and cells of vectors too, moves none of a unit's draws."""

    def program():
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        g = pyro.sample("g", dist.Gamma(2.0, torch.exp(0.3 * a)))
        z = pyro.sample("z", dist.Categorical(logits=torch.stack([0 * a, a, -a], -1)))
        v = pyro.sample("v", dist.LogNormal(torch.stack([a, 0.3 * g, 0 * a], -1), 0.5).to_event(1))
        pyro.sample("y", dist.StudentT(4.0, torch.log(v).sum(-1) + 0.5 * z, 0.7))

    scm = pcm.SCM(program)
    frame = scm.sample(12, seed=2).astype(float)
    for column, rows in {
        "a": [0, 1, 5, 9],
        "g": [0, 3, 4, 9],
        "z": [1, 4, 5, 8],
        "v[0]": [0, 2, 9],
        "v[2]": [2, 5, 7],
    }.items():
        frame.loc[rows, column] = np.nan
    frame.loc[6] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        whole = scm.counterfactual(frame, do={"a": 0.5}, draws=32, seed=4)
        for rows in ([0], [2, 5], [9, 7, 4, 1]):
            part = scm.counterfactual(frame.loc[rows], do={"a": 0.5}, draws=32, seed=4)
            for name in ("y", "g", "z", "v"):
                for world in ("factual", "do"):
                    assert np.allclose(part.draws(name, world), whole.draws(name, world)[:, rows], atol=1e-9), (
                        rows,
                        name,
                    )
            assert np.allclose(part.diagnostics["khat"], whole.diagnostics["khat"].to_numpy()[rows])


def test_units_that_no_proposal_serves_are_flagged_every_one():
    def narrow():
        a, b, c = (pyro.sample(name, dist.Normal(0.0, 1.0)) for name in "abc")
        pyro.sample("y", dist.Normal((a * b * c) ** 2 + torch.sin(8 * a * b), 0.0005))

    scm = pcm.SCM(narrow)
    with pytest.warns(FitWarning, match="could not be inferred"):
        cf = scm.counterfactual(scm.sample(20, seed=1)[["y"]], do={"a": 0.5}, seed=0)
    thin = cf.diagnostics["ess"] < 10
    assert thin.any() and cf.diagnostics["flagged"][thin].all()


def test_single_precision_answers_as_double_does():
    def skewed():
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        g = pyro.sample("g", dist.Gamma(2.0, torch.exp(0.3 * a)))
        pyro.sample("y", dist.StudentT(4.0, a + g, 0.5))

    means = []
    for dtype in (torch.float32, torch.float64):
        scm = pcm.SCM(skewed, dtype=dtype)
        means.append(scm.counterfactual({"y": [0.4, 4.0, 2.5]}, do={"a": 0.0}, seed=0).mean("y"))
    assert np.allclose(*means, atol=0.02)  # a draw at the edge of a weight may be its neighbour
