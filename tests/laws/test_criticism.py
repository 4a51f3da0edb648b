"""Criticism over repeated data: a right model passes at the family's level, each kind of wrong one is called out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm
from pcm.query.criticism import criticise
from tests.laws.random_programs import FAMILIES

DRAWS = 60


def ask(scm, data, seed):
    return criticise(scm._model, data, draws=DRAWS, seed=seed)


def fitted(program, data, seed):
    return pcm.SCM(program).fit(data, seed=seed, draws=DRAWS, progress=False)


def gaussian(n):
    weight = pyro.sample("weight", dist.Normal(torch.zeros(4), 2.0).to_event(1))
    spread = pyro.sample("spread", dist.HalfNormal(torch.full((3,), 3.0)).to_event(1))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        z = pyro.sample("z", dist.Normal(weight[0], spread[0]))
        y = pyro.sample("y", dist.Normal(weight[1] * x + weight[2] * z, spread[1]))
        pyro.sample("w", dist.Normal(weight[3] * y, spread[2]))


@pytest.mark.parametrize("how", ["given", "fitted", "other data"])
def test_a_right_model_passes(how):
    truth = pcm.SCM(gaussian).given(weight=torch.tensor([0.5, 1.0, -1.0, 0.8]), spread=torch.tensor([1.0, 0.7, 1.0]))
    alarms, small = 0, []
    for seed in range(40):
        data = truth.sample(300, seed=seed)
        other = truth.sample(300, seed=900 + seed)
        scm = truth if how == "given" else fitted(gaussian, data if how == "fitted" else other, seed)
        found = ask(scm, data, seed)
        alarms += not found.passed
        small += [check.p for check in found.checks]
    assert alarms <= 6  # of 40 at 0.05: more than 6 with chance 0.003 for any one seeding
    assert np.mean(np.array(small) < 0.05) < 0.06


def with_holes(data, seed, share=0.3):
    rng = np.random.default_rng(seed)
    return data.mask(rng.random(data.shape) < share)


def test_a_right_model_passes_with_cells_missing():
    truth = pcm.SCM(gaussian).given(weight=torch.tensor([0.5, 1.0, -1.0, 0.8]), spread=torch.tensor([1.0, 0.7, 1.0]))
    alarms, small = 0, []
    for seed in range(16):
        data = with_holes(truth.sample(300, seed=seed), seed)
        found = ask(truth if seed % 4 else fitted(gaussian, data, seed), data, seed)
        alarms += not found.passed
        small += [check.p for check in found.checks]
        assert "of 300 rows: x (" in found.notes[0] and "filled by one draw" in found.notes[0]
    assert alarms <= 3  # of 16 at 0.05: more with chance 0.007 for any one seeding
    assert np.mean(np.array(small) < 0.05) < 0.06


def test_a_cause_that_was_never_recorded_is_filled_in():
    def program(slope):
        def made():
            u = pyro.sample("u", dist.Normal(0.0, 1.0))
            x = pyro.sample("x", dist.Normal(u, 0.5))
            pyro.sample("y", dist.Normal(slope * u + torch.tanh(x), 0.5))

        return pcm.SCM(made)

    data = program(1.0).sample(1000, seed=0).drop(columns="u")
    assert ask(program(1.0), data, 0).passed
    assert not ask(program(-1.0), data, 0).passed


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_passes_its_own_data(family):
    def program():
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        b = pyro.sample("b", dist.Normal(0.5 * a, 1.0))
        pyro.sample("y", FAMILIES[family](torch.tanh(a) - 0.5 * torch.tanh(b)))

    scm = pcm.SCM(program)
    alarms = sum(not ask(scm, scm.sample(400, seed=seed), seed).passed for seed in range(5))
    assert alarms <= 1


def line(n):
    weight = pyro.sample("weight", dist.Normal(torch.zeros(2), 3.0).to_event(1))
    spread = pyro.sample("spread", dist.HalfNormal(3.0))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(weight[0] + weight[1] * x, spread))


def logit(n):
    weight = pyro.sample("weight", dist.Normal(torch.zeros(2), 3.0).to_event(1))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Bernoulli(logits=weight[0] + weight[1] * x))


def counts(n):
    weight = pyro.sample("weight", dist.Normal(torch.zeros(2), 3.0).to_event(1))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Poisson(torch.exp(weight[0] + weight[1] * x)))


def additive(n):
    weight = pyro.sample("weight", dist.Normal(torch.zeros(2), 3.0).to_event(1))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(weight[0] * x + weight[1] * z, 1.0))


TRUTHS = {
    "tanh": lambda x, rng: np.tanh(2 * x) + 0.5 * rng.normal(size=len(x)),
    "fan": lambda x, rng: x + 0.5 * np.exp(0.4 * x) * rng.normal(size=len(x)),
    "t3": lambda x, rng: x + rng.standard_t(3, size=len(x)),
    "exponential": lambda x, rng: x + rng.exponential(size=len(x)),
    "cauchit": lambda x, rng: (rng.random(len(x)) < 0.5 + np.arctan(8 * x) / np.pi) * 1.0,
    "gamma-Poisson": lambda x, rng: rng.poisson(np.exp(0.5 + 0.4 * x) * rng.gamma(2.0, 0.5, size=len(x))) * 1.0,
}
WRONG = {  # truth: (what is fitted, units, the check that fails, what it says)
    "tanh": (line, 500, "level", "misses a non-linear dependence on x"),
    "fan": (line, 500, "spread", "spread of the noise depends on x"),
    "t3": (line, 500, "law", "tails are heavier"),
    "exponential": (line, 500, "law", "skewed to the right"),
    "cauchit": (logit, 1000, "level", "dependence on x"),
    "gamma-Poisson": (counts, 500, "law", "spreads 1."),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_mechanism_is_called_out(case):
    program, units, kind, words = WRONG[case]
    called, said = 0, 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=units)
        data = {"x": x, "y": TRUTHS[case](x, rng)}
        found = ask(fitted(program, data, seed), data, seed)
        failed = [check for check in found.checks if check.fails and check.variable == "y" and check.kind == kind]
        called += bool(failed)
        said += any(words in check.words for check in failed)
        assert found.verdict["x"] == "x: nothing found against its mechanism" or seed > 0
    assert called >= 19 and said >= 19


@pytest.mark.parametrize("case", ["tanh", "fan", "gamma-Poisson"])
def test_a_wrong_mechanism_is_called_out_with_cells_missing(case):
    program, units, kind, words = WRONG[case]
    for seed in range(2):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=2 * units)
        data = pd.DataFrame({"x": x, "y": TRUTHS[case](x, rng)})
        data["x"] = data["x"].mask(rng.random(2 * units) < 0.1)
        data["y"] = data["y"].mask(rng.random(2 * units) < 0.1)
        found = ask(fitted(program, data, seed), data, seed)
        assert any(words in check.words for check in found.checks if check.fails and check.kind == kind)


def test_a_missed_interaction_is_called_out_as_one():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        x, z, e = rng.normal(size=(3, 500))
        data = {"x": x, "z": z, "y": x + z + 0.5 * x * z + e}
        found = ask(fitted(additive, data, seed), data, seed)
        assert any("interaction of x × z" in check.words for check in found.checks if check.fails)


def chain(n):
    weight = pyro.sample("weight", dist.Normal(torch.zeros(2), 3.0).to_event(1))
    spread = pyro.sample("spread", dist.HalfNormal(torch.full((2,), 3.0)).to_event(1))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        m = pyro.sample("m", dist.Normal(weight[0] * x, spread[0]))
        pyro.sample("y", dist.Normal(weight[1] * m, spread[1]))


@pytest.mark.parametrize("bend", ["linear", "square"])
def test_a_missing_edge_is_called_out(bend):
    called = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x, e, f = rng.normal(size=(3, 500))
        m = x + e
        data = {"x": x, "m": m, "y": m + 0.4 * (x if bend == "linear" else x**2) + f}
        found = ask(fitted(chain, data, seed), data, seed)
        called += any(c.fails and c.kind == "independence" and c.about == "x given m" for c in found.checks)
        assert not called or "y depends on x given m" in found.verdict["graph"]
    assert called >= 19


def test_a_graph_is_told_from_random_ones():
    def tree():
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        b = pyro.sample("b", dist.Normal(a, 1.0))
        c = pyro.sample("c", dist.Normal(a, 1.0))
        d = pyro.sample("d", dist.Normal(b, 1.0))
        pyro.sample("e", dist.Normal(c, 1.0))
        pyro.sample("f", dist.Bernoulli(logits=2 * d))

    found = ask(pcm.SCM(tree), pcm.SCM(tree).sample(800, seed=0), 0).graph
    assert found.implied == 10 and found.share <= 0.2
    assert found.expected > 0.5 and found.as_good <= 0.05
