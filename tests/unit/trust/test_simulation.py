"""Simulated checks against closed forms and against integrals."""

from __future__ import annotations

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm
from pcm.errors import QueryError
from tests.unit.trust.test_check import FAIR, FIXTURE, ROBUST, SCM

Requirement = pcm.Requirement


def test_the_fixture_within_one_per_cent():
    found = pcm.check(SCM, [FAIR, ROBUST], simulate=True, units=40_000, seed=0)
    assert "simulation" in found.how
    for name, (risk, effect) in FIXTURE.items():
        if name == "A: A → X → Y, observational optimum":
            continue  # of one requirement alone: below
        assert float(found.row(name).risk) == pytest.approx(risk, rel=0.01), name
        assert float(found.row(name).effects["A"]) == pytest.approx(effect, rel=0.01, abs=1e-9), name
    assert float(found.price_minimum) == pytest.approx(2.69, rel=0.01)
    assert all(abs(gap.mean) < 1e-9 for gap in found.gaps.values())


def test_the_observational_optimum_within_one_per_cent():
    found = pcm.check(SCM, [FAIR], simulate=True, units=40_000, seed=0)
    optimum = found.row("A: A → X → Y, observational optimum")
    assert float(optimum.risk) == pytest.approx(1 + 1.69 / 1.64, rel=0.01)
    assert float(optimum.effects["A"]) == pytest.approx(1.30732, rel=0.01)


@pytest.mark.slow
def test_hidden_environment_is_integrated_out():
    found = pcm.check(SCM, [FAIR, ROBUST], hidden=["E"], simulate=True, units=20_000, seed=1)
    row = found.row("together, faithful")
    assert abs(float(row.risk) - 3.315) < 4 * row.risk.standard_error
    assert float(row.risk) == pytest.approx(3.315, rel=0.01)
    assert float(row.effects["E"]) == pytest.approx(0.75, abs=0.02)
    assert float(found.gaps["E"]) == pytest.approx(0.25, abs=0.02)


def test_partly_kept_paths_that_are_not_linear():
    """A + u = X, Y = X A, only A → X → Y kept: three matched, four faithful."""

    def product():
        a = pyro.sample("A", dist.Normal(0.0, 1.0))
        x = pyro.sample("X", dist.Normal(a, 1.0))
        pyro.sample("Y", dist.Normal(x * a, 0.1))

    found = pcm.check(pcm.SCM(product), [Requirement("A", outcome="Y", admissible="A -> X -> Y")], units=40_000, seed=2)
    assert abs(found.price.mean - 4) < 4 * found.price.standard_error
    assert abs(found.price_minimum.mean - 3) < 4 * found.price_minimum.standard_error
    assert "not linear" in found.account.notes[0]


def test_binary_outcomes_by_enumeration():
    """A and M binary: uniform invariance averages the two values of A; risks are sums over four cells."""

    def admission():
        a = pyro.sample("A", dist.Bernoulli(0.3))
        m = pyro.sample("M", dist.Bernoulli(0.6))
        pyro.sample("Y", dist.Bernoulli(logits=1.5 * a + m - 1))

    cells = [(a, m, (0.3 if a else 0.7) * (0.6 if m else 0.4)) for a in (0, 1) for m in (0, 1)]
    chance = {(a, m): 1 / (1 + np.exp(-(1.5 * a + m - 1))) for a, m, _ in cells}
    blind = {m: 0.3 * chance[1, m] + 0.7 * chance[0, m] for m in (0, 1)}
    squared = sum(p * (chance[a, m] - blind[m]) ** 2 for a, m, p in cells)
    logged = sum(
        p * (c * np.log(c / q) + (1 - c) * np.log((1 - c) / (1 - q)))
        for a, m, p in cells
        for c, q in [(chance[a, m], blind[m])]
    )
    scm, asked = pcm.SCM(admission), [pcm.counterfactual_fairness("A", outcome="Y")]
    for loss, price in (("squared", squared), ("log", logged)):
        found = pcm.check(scm, asked, loss=loss, units=20_000, seed=0)
        assert abs(found.price.mean - price) < 4 * found.price.standard_error
    assert all(abs(gap.mean) < 1e-9 for gap in found.gaps.values())


def test_noise_of_discrete_mediators_leaves_a_gap():
    def hiring():
        a = pyro.sample("A", dist.Bernoulli(0.5))
        m = pyro.sample("M", dist.Bernoulli(0.2 + 0.6 * a))
        n = pyro.sample("N", dist.Normal(0.0, 1.0))
        pyro.sample("Y", dist.Normal(2 * m + a + n, 1.0))

    found = pcm.check(pcm.SCM(hiring), [Requirement("A", outcome="Y", admissible="A -> Y")], seed=0)
    assert "soft" in found.kinds
    assert set(found.gaps) == {"A"}


def test_what_cannot_be_simulated_is_refused():
    def curved():
        a = pyro.sample("A", dist.Normal(0.0, 1.0))
        y = pyro.sample("Y", dist.Normal(a**2, 1.0))
        pyro.sample("W", dist.Normal(y, 1.0))

    scm, asked = pcm.SCM(curved), [pcm.counterfactual_fairness("A", outcome="Y")]
    with pytest.raises(QueryError, match="lies below 'Y'"):
        pcm.check(scm, asked, inputs=["A", "W"])
    with pytest.raises(QueryError, match="log loss needs a binary outcome"):
        pcm.check(scm, asked, loss="log")
    both = [*asked, pcm.demographic_parity("A", outcome="Y")]
    assert "no price" in pcm.check(scm, both).how
    assert torch.get_default_dtype() == torch.float32
