"""What a newcomer gets wrong in a check, and what models under do(), labels and several parameters give."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm
from pcm.errors import ArgumentError, GraphError, QueryError
from pcm.trust.over_draws import parameter_draws
from tests.unit.trust.test_check import FAIR, SCM

Requirement = pcm.Requirement


def plans():
    age = pyro.sample("age", dist.Normal(0.0, 1.0))
    plan = pyro.sample("plan", dist.Categorical(logits=torch.stack([0 * age, age, -age], -1)))
    pyro.sample("y", dist.Normal(1.0 * (plan == 1) + 3.0 * (plan == 2) + 0.5 * age, 1.0))


PLANS = pcm.SCM(plans, categories={"plan": ["none", "basic", "full"]})


def blind(source="A", **options):
    return Requirement(source, outcome="Y", **options)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: pcm.check(SCM, [blind(admissible=[("A", "X")])]), GraphError, "no path from A to Y is made of"),
        (lambda: pcm.check(SCM, [FAIR], inputs=[]), ArgumentError, "nothing to read"),
        (lambda: pcm.check(SCM, [FAIR], hidden=["A", "E", "X", "Z"]), ArgumentError, "names all of A, E, X, Z"),
        (lambda: pcm.check(SCM, [FAIR], weights=[1.0]), ArgumentError, "of a class"),
        (lambda: pcm.check(SCM, [FAIR], data=SCM.sample(9)), ArgumentError, "a model has its own"),
        (lambda: pcm.check(SCM, [blind(reference=0.0), blind(reference=1.0)]), ArgumentError, "different references"),
        (lambda: pcm.check(SCM, [blind(reference="mean")]), ArgumentError, "'mean' is no value of 'A'"),
        (lambda: pcm.check(nx.DiGraph(SCM.graph), [blind(reference="low")]), ArgumentError, "a graph knows no labels"),
        (lambda: pcm.check(SCM.do(X=lambda X: X + 1), [blind()]), QueryError, "cannot be simulated under do"),
        (lambda: pcm.check(nx.Graph([("A", "Y")]), [blind()]), ArgumentError, "both a → b and b → a"),
        (
            lambda: pcm.check(PLANS, [Requirement("plan", outcome="y", reference=7)]),
            ArgumentError,
            "reference=7 is no value of 'plan'",
        ),
        (lambda: pcm.check(PLANS, [Requirement("age", outcome="plan")]), QueryError, "labels have no order"),
    ],
    ids=range(12),
)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_requirement_may_not_bar_its_own_path():
    found = pcm.check(SCM, [Requirement(["A", "X"], outcome="Y", admissible="A -> X -> Y")])
    assert not found.feasible
    assert found.kinds[0] == "contradiction"
    assert "another source of its own" in found.conflicts[0].certificate
    assert "0.8 pinned, 0 left" in found.conflicts[0].certificate
    both = Requirement(["A", "X"], outcome="Y", admissible=["A -> X -> Y", "X -> Y"])
    assert pcm.check(SCM, [both]).feasible


def test_parity_beside_a_pinned_effect_is_a_contradiction_without_a_price():
    found = pcm.check(SCM, [pcm.demographic_parity("A", outcome="Y"), pcm.responsive_to("A", outcome="Y")])
    assert not found.feasible
    assert found.conflicts[0].kind == "contradiction"
    assert "pins the effect of A at 2.1" in found.conflicts[0].certificate
    assert found.price is None
    assert found.price_minimum is None


def test_inputs_that_tell_nothing():
    graph = nx.DiGraph([("a", "y"), ("b", "c")])
    found = pcm.check(graph, [Requirement("a", outcome="y")], inputs=["b"])
    assert not found.feasible
    assert found.conflicts[0].certificate.startswith("b say nothing of y")


@pytest.mark.parametrize("simulate", [False, True])
def test_a_source_that_do_holds_still(simulate):
    """A is 1 for everyone; a prediction for another A still follows the requirement."""
    found = pcm.check(SCM.do(A=1.0), [blind()], simulate=simulate, units=2_000, seed=0)
    faithful = found.row("A: none, faithful")
    assert float(faithful.effects["A"]) == pytest.approx(0.0, abs=1e-9)
    assert float(found.price) == pytest.approx(0.0, abs=1e-9)
    assert "free" in found.kinds


def curved(direct=1.0, spread=None):
    def program():
        a = pyro.sample("A", dist.Normal(0.0, 1.0))
        x = pyro.sample("X", dist.Normal(a, 1.0) if spread is None else dist.Normal(0.0, spread))
        z = pyro.sample("Z", dist.Normal(torch.sin(a), 1.0))
        pyro.sample("Y", dist.Normal(x * z + direct * a if direct else x * z, 1.0))

    return pcm.SCM(program)


def test_checks_under_do_are_those_of_the_program_written_so():
    cut = pcm.check(curved().do({("A", "Y"): 0.0}), [blind()], units=2_000, seed=0)
    written = pcm.check(curved(direct=0.0), [blind()], units=2_000, seed=0)
    assert float(cut.price) == pytest.approx(float(written.price), abs=1e-9)
    spread = pcm.check(curved().do(X=dist.Normal(0.0, 2.0)), [blind()], units=8_000, seed=0)
    written = pcm.check(curved(spread=2.0), [blind()], units=8_000, seed=1)
    assert abs(spread.price.mean - written.price.mean) < 4 * np.hypot(
        spread.price.standard_error, written.price.standard_error
    )


@pytest.mark.parametrize("options", [{"tolerance": 0.5}, {"reference": 2.0}])
def test_simulated_least_prices_know_tolerance_and_reference(options):
    closed = pcm.check(SCM, [blind(**options)])
    found = pcm.check(SCM, [blind(**options)], simulate=True, units=4_000, seed=0)
    exact = {"tolerance": 2.56, "reference": 4.41}[next(iter(options))]
    assert float(closed.price_minimum) == pytest.approx(exact, abs=1e-6)
    assert abs(found.price_minimum.mean - exact) < 4 * found.price_minimum.standard_error


def test_labels_as_references_and_effects_between_labels():
    by_label = pcm.check(PLANS, [Requirement("plan", outcome="y", reference="basic")], units=2_000, seed=0)
    by_code = pcm.check(PLANS, [Requirement("plan", outcome="y", reference=1)], units=2_000, seed=0)
    assert float(by_label.price) == pytest.approx(float(by_code.price), abs=1e-12)
    effects = by_label.rows[0].effects
    assert {name: round(float(effect), 9) for name, effect in effects.items()} == {"plan = basic": 1, "plan = full": 3}
    assert float(by_label.gaps["plan"]) == pytest.approx(0.0, abs=1e-9)


def test_a_root_leaves_no_gap_whatever_the_noise_between():
    """do() on a root is conditioning on it, so E[T | inputs] responds as T does on average, labels between or not."""
    asked = Requirement("age", outcome="y", admissible=["age -> y"])
    found = pcm.check(PLANS, [asked], units=2_000, seed=0)
    assert abs(found.gaps["age"].mean) < 4 * found.gaps["age"].standard_error


def test_simulations_carry_the_parameters():
    """The price of uniform invariance is (slope + 1)² under each draw."""

    def program(n):
        slope = pyro.sample("slope", dist.Normal(1.0, 0.3))
        with pyro.plate("units", n):
            a = pyro.sample("A", dist.Normal(0.0, 1.0))
            x = pyro.sample("X", dist.Normal(slope * a, 1.0))
            pyro.sample("Y", dist.Normal(x + a, 1.0))

    scm = pcm.SCM(program)
    found = pcm.check(scm, [blind()], simulate=True, units=8_000, draws=4, seed=0)
    slopes = np.array([float(each._model.given["slope"]) for each in parameter_draws(scm, 4, 8_000, 0)])
    assert len(found.price.draws) == len(slopes) == 4
    assert found.price.draws == pytest.approx((slopes + 1) ** 2, rel=0.12)
    low, high = found.price.interval(0.95)
    assert low < found.price.mean < high
    assert "draws of the parameters" in found.how


def test_log_loss_baselines_are_logistic():
    """All parents are read and the log odds are linear: nothing is left to pay, and no optimum is beaten."""

    def admission():
        a = pyro.sample("A", dist.Normal(0.0, 1.0))
        x = pyro.sample("X", dist.Normal(a, 1.0))
        pyro.sample("Y", dist.Bernoulli(logits=2 * x + a))

    asked = [Requirement("A", outcome="Y", admissible="A -> X -> Y")]
    found = pcm.check(pcm.SCM(admission), asked, loss="log", units=4_000, seed=0)
    assert float(found.row("parents only").price) == pytest.approx(0.0, abs=1e-6)
    assert found.laundering_gap is not None
    assert found.laundering_gap.mean > -1e-3


def test_a_recanting_witness_is_bounded_over_couplings():
    """Two couplings of w at the corners: w rises with t in as many units, or in as few, as its law allows."""

    def kite():
        t = pyro.sample("t", dist.Bernoulli(0.5))
        w = pyro.sample("w", dist.Bernoulli(0.3 + 0.4 * t))
        m = pyro.sample("m", dist.Bernoulli(0.2 + 0.5 * w))
        pyro.sample("y", dist.Bernoulli(0.1 + 0.3 * w * m + 0.3 * m + 0.2 * t))

    def effect(up, down):
        """E y(w₁, m(w₀)) − E y(w₀, m(w₀)): 0.3 (w₁ − w₀) m(w₀)."""
        return 0.3 * (up * 0.2 - down * 0.7)

    ends = sorted(effect(up, up - 0.4) for up in (0.4, 0.7))
    asked = [Requirement("t", outcome="y", admissible="t -> w -> y")]
    found = pcm.check(pcm.SCM(kite), asked, units=1_000, seed=0)
    witness = next(c for c in found.conflicts if c.kind == "recanting witness")
    assert witness.certificate.endswith(f"lies between {ends[0]:.4g} and {ends[1]:.4g}")
