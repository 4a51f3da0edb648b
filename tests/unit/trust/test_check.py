"""The check against known numbers: the reference fixture, an independent quadratic programme, refusals."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
from scipy.optimize import minimize

import pcm
from pcm.errors import ArgumentError, DataError, GraphError, QueryError, UnknownNameError
from pcm.requirement import target_plan
from pcm.trust.linear_answers import LinearAnswers
from pcm.trust.linear_law import generic_law, linear_law
from pcm_models.hospital_readmission import program as hospital
from tests.unit.requirement.random_graphs import random_graph

Requirement = pcm.Requirement
FAIR = Requirement("A", outcome="Y", admissible=["A -> X -> Y"])
ROBUST = Requirement("E", outcome="Y", admissible=["E -> Y"])


SCM = pcm.SCM(hospital)
FIXTURE = {
    "Bayes (A, E, X, Z)": (1.0, 2.1),
    "unaware (drop A)": (1.0 + 0.49 / 2.64, 1.4 + 0.7 * 1.64 / 2.64),
    "uniform in A": (5.41, 0.0),
    "A: A → X → Y, faithful": (2.69, 0.8),
    "A: A → X → Y, observational optimum": (1 + 1.69 / 1.64, 0.8 * (1 + 1.3 * 0.8 / 1.64)),
    "E: E → Y, faithful": (2.0, 2.1),
    "together, faithful": (3.69, 0.8),
    "uniform in A and E": (7.66, 0.0),
}


def test_the_reference_fixture():
    found = pcm.check(SCM, [FAIR, ROBUST])
    assert found.feasible
    assert found.how == "closed form"
    for name, (risk, effect) in FIXTURE.items():
        row = found.row(name)
        assert float(row.risk) == pytest.approx(risk, abs=1e-6), name
        assert float(row.effects["A"]) == pytest.approx(effect, abs=1e-6), name
    assert float(found.price) == pytest.approx(2.69, abs=1e-6)
    assert float(found.price_minimum) == pytest.approx(2.69, abs=1e-6)
    assert {name: float(e) for name, e in found.shadow_prices.items()} == pytest.approx({"A": 2.6, "E": 2.0}, abs=1e-6)
    uniform = pcm.check(SCM, [Requirement("A", outcome="Y"), Requirement("E", outcome="Y")])
    assert {n: float(e) for n, e in uniform.shadow_prices.items()} == pytest.approx({"A": 4.2, "E": 3.0}, abs=1e-6)
    weights = found.row("A: A → X → Y, observational optimum").predictor
    assert dict(zip(weights.inputs, weights.weights[0], strict=True))["X"] == pytest.approx(1 + 1.04 / 1.64, abs=1e-6)


@pytest.mark.parametrize(("variance", "optimum"), [(1.64, 3.752), (9.0, 6.711), (100.0, 43.306)])
def test_risk_under_interventions(variance, optimum):
    found = pcm.check(SCM, [FAIR])
    other = SCM.do(X=dist.Normal(0.0, variance**0.5))
    assert float(found.risk_under(other)) == pytest.approx(2.69, abs=1e-6)
    weight = 1.3 * 0.8 / 1.64  # that X has in place of A
    exact = 1 + 1.69 + weight**2 * (variance + 1)
    assert float(found.risk_under(other, "A: A → X → Y, observational optimum")) == pytest.approx(exact, abs=1e-6)
    assert exact == pytest.approx(optimum, abs=1e-3)


def test_hidden_environment():
    found = pcm.check(SCM, [FAIR, ROBUST], hidden=["E"])
    assert found.feasible
    assert found.kinds == ("informational", "soft")
    assert float(found.row("together, faithful").risk) == pytest.approx(3.315, abs=1e-6)
    assert float(found.row("together, matched").risk) == pytest.approx(3.94, abs=1e-6)
    assert float(found.row("together, faithful").effects["E"]) == pytest.approx(0.75, abs=1e-6)
    assert float(found.gaps["E"]) == pytest.approx(0.25, abs=1e-6)
    assert any("residual gap of E: 0.25" in c.certificate for c in found.conflicts)
    lax = [FAIR, Requirement("E", outcome="Y", admissible=["E -> Y"], tolerance=0.3)]
    assert not any("residual" in c.certificate for c in pcm.check(SCM, lax, hidden=["E"]).conflicts)


def test_measurement_artifact():
    def artifact():
        a = pyro.sample("A", dist.Normal(0.0, 1.0))
        e = pyro.sample("E", dist.Normal(0.0, 1.0))
        star = pyro.sample("X_true", dist.Normal(0.8 * a, 1.0))
        pyro.deterministic("X", star + e)
        z = pyro.sample("Z", dist.Normal(a, 1.0))
        pyro.sample("Y", dist.Normal(star + 0.6 * z + 0.7 * a + 0.5 * e, 1.0))

    fair = Requirement("A", outcome="Y", admissible="A -> X_true -> Y")
    found = pcm.check(pcm.SCM(artifact), [fair, ROBUST], hidden=["X_true"])
    assert found.feasible
    assert float(found.row("together, faithful").risk) == pytest.approx(2.69, abs=1e-6)
    assert float(pcm.check(pcm.SCM(artifact), [ROBUST], hidden=["X_true"]).price) == pytest.approx(0.0, abs=1e-9)


def test_free_and_log_loss():
    free = pcm.check(SCM, [pcm.responsive_to("A", outcome="Y")])
    assert free.kinds == ("free",)
    assert float(free.price) == pytest.approx(0.0, abs=1e-12)
    logged = pcm.check(SCM, [FAIR], loss="log")
    assert float(logged.price) == pytest.approx(0.5 * np.log(2.69), abs=1e-9)
    step = 1e-5  # the shadow price is the slope of the least price in what is pinned
    assert float(logged.shadow_prices["A"]) == pytest.approx(
        (np.log(1 + (1.3 + step) ** 2) - np.log(1 + 1.3**2)) / (2 * step), rel=1e-4
    )


def test_references_move_the_mean_alone():
    fixed = Requirement("A", outcome="Y", admissible="A -> X -> Y", reference=2.0)
    found = pcm.check(SCM, [fixed])
    assert float(found.price) == pytest.approx(1.69 + (1.3 * 2.0) ** 2, abs=1e-6)
    assert float(found.price_minimum) == pytest.approx(1.69, abs=1e-6)
    drawn = Requirement("A", outcome="Y", admissible="A -> X -> Y", reference=dist.Normal(1.0, 3.0))
    assert float(pcm.check(SCM, [drawn]).price) == pytest.approx(2 * 1.69, abs=1e-6)


@pytest.mark.parametrize("seed", range(40))
def test_prices_equal_an_independent_quadratic_programme(seed):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, 6, 0.7)
    law = generic_law(graph, seed)
    inputs = [n for n in list(graph)[:-1] if rng.random() < 0.85] or ["v0"]
    asked = []
    for source in ("v0", "v1"):
        kept = [p for p in nx.all_simple_paths(graph, source, "v5") if rng.random() < 0.5]
        asked.append(Requirement(source, outcome="v5", admissible=kept or "none", tolerance=float(seed % 2) * 0.1))
    answers = LinearAnswers(law, target_plan(graph, asked, "v5"), inputs)
    rows, values, slack, _ = answers.equations
    rows, values, place = rows[0], values[0], law.place
    total = law.values[0, :, :-1]
    full = total @ np.diag(law.variances[0]) @ total.T
    some = [place[n] for n in inputs]
    sigma, towards, spread = full[np.ix_(some, some)], full[some, place["v5"]], full[place["v5"], place["v5"]]
    if not answers.attainable[0]:
        pytest.skip("the equations cannot be met")
    limits = [{"type": "ineq", "fun": lambda w, s=s: slack + 1e-10 - s * (rows @ w - values)} for s in (1, -1)]
    done = minimize(
        lambda w: w @ sigma @ w - 2 * towards @ w + spread,
        np.linalg.pinv(rows) @ values,
        jac=lambda w: 2 * (sigma @ w - towards),
        constraints=limits,
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    assert float(answers.risk(answers.matched)[0]) == pytest.approx(done.fun, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("seed", range(60))
def test_laundering_is_caught(seed):
    """The optimum on corrected features never has more risk; where it has less, it responds to what is closed."""
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, 6, 0.8)
    kept = [p for p in nx.all_simple_paths(graph, "v0", "v5") if rng.random() < 0.5]
    law = generic_law(graph, seed)
    asked = [Requirement("v0", outcome="v5", admissible=kept or "none")]
    answers = LinearAnswers(law, target_plan(graph, asked, "v5"), list(graph)[:-1])
    faithful, optimum = answers.risk(answers.faithful)[0], answers.risk(answers.observational)[0]
    assert optimum <= faithful + 1e-9
    assert all(abs(answers.gap(answers.faithful, name)[0]) < 1e-9 for name in list(graph)[:-1])
    if optimum < faithful - 1e-6:
        moved = [abs(answers.gap(answers.observational, name)[0]) for name in list(graph)[:-1]]
        assert max(moved) > 1e-6


def test_posterior_draws_give_intervals():
    def study(n):
        slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
        with pyro.plate("units", n):
            a = pyro.sample("A", dist.Normal(0.0, 1.0))
            x = pyro.sample("X", dist.Normal(a, 1.0))
            pyro.sample("Y", dist.Normal(x + slope * a, 1.0))

    data = pcm.SCM(study).given(slope=0.7).sample(2_000, seed=0)
    fitted = pcm.SCM(study).fit(data, seed=0, progress=False)
    found = pcm.check(fitted, [Requirement("A", outcome="Y", admissible="A -> X -> Y")], seed=0)
    slopes = np.asarray(fitted.posterior["slope"])
    low, high = found.price.interval(0.999)
    assert len(found.price.draws) == 200
    assert low < 0.49 < high
    assert found.price.mean == pytest.approx(np.mean(slopes**2), rel=0.02)
    assert "posterior" in found.account.parameters
    assert {"low", "high"} < set(found.to_dataframe(0.9))


def test_a_class_of_graphs():
    fair, flat = Requirement("a", outcome="y", admissible="a -> b -> y"), pcm.irrelevant_to("b", outcome="y")
    class_of = nx.DiGraph([("a", "b"), ("b", "a"), ("b", "y"), ("a", "y")])
    found = pcm.check(nx.DiGraph([*class_of.edges, ("n", "y")]), [fair, flat])
    assert (found.probability, found.feasible) == (0.5, False)
    chosen = [verdict.graph for verdict in found.verdicts]
    first = 0.75 if found.verdicts[0].feasible else 0.25
    assert pcm.check(chosen, [fair, flat], weights=[3, 1]).probability == first
    rng = np.random.default_rng(0)
    a = rng.normal(size=500)
    b = a + rng.normal(size=500)
    data = {"a": a, "b": b, "y": 2 * a + b + rng.normal(size=500)}
    priced = pcm.check(class_of, [Requirement("a", outcome="y")], data=data)
    low, high = priced.price_interval
    assert priced.probability == 1
    assert low == pytest.approx(4, rel=0.15)  # where b → a, only the effect 2 of a
    assert high == pytest.approx(9, rel=0.15)  # where a → b, the effect 2 + 1
    assert len(priced.table) == 2
    with pytest.raises(DataError, match="a holds no numbers"):
        pcm.check(class_of, [flat], data={"a": ["low", "high"] * 250, "b": b, "y": b})
    with pytest.raises(DataError, match="lack y"):
        pcm.check(class_of, [flat], data={"a": a, "b": b})
    with pytest.raises(GraphError, match="not in the graph"):
        pcm.check(class_of, [Requirement("a", outcome="y", admissible="a -> b -> a -> y")])


def test_members_in_which_a_source_comes_after_the_outcome():
    """No change of it reaches the outcome there: it asks nothing, but the other sources of its requirement do."""
    rng = np.random.default_rng(0)
    a, c = rng.normal(size=(2, 2_000))
    data = {"a": a, "c": c, "y": 2 * a + c + rng.normal(size=2_000)}
    causes, below = nx.DiGraph([("a", "y"), ("c", "y")]), nx.DiGraph([("y", "a"), ("c", "y")])
    found = pcm.check([causes, below], [pcm.counterfactual_fairness("a", outcome="y")], data=data)
    assert [verdict.kinds for verdict in found.verdicts] == [("soft",), ("free",)]
    assert found.price_interval == (0, pytest.approx(4, rel=0.1))
    assert str(found.verdicts[1]).startswith("Verdict: nothing is asked of y here")
    every = [nx.DiGraph([*causes.edges, ("n", "y")]), nx.DiGraph([*below.edges, ("n", "y")])]
    flat = pcm.environment_invariance(["a", "c"], outcome="y")
    also = {"n": rng.normal(size=2_000)}
    found = pcm.check(every, [flat], data={**data, **also, "y": data["y"] + 3 * also["n"]})
    assert [[r.variables for r in verdict.requirements] for verdict in found.verdicts] == [[("a", "c")], [("c",)]]
    assert found.price_interval == (pytest.approx(1, rel=0.2), pytest.approx(5, rel=0.1))
    kept = pcm.environment_invariance(["a", "c"], outcome="y", admissible="all", reference={"a": 1.0})
    assert pcm.check(every, [kept]).verdicts[1].requirements[0].admissible.everything
    with pytest.raises(GraphError, match="'a' is downstream"):
        pcm.check([below, below], [pcm.counterfactual_fairness("a", outcome="y")])


def test_shown():
    found = pcm.check(SCM, [FAIR, ROBUST])
    assert "can coexist" in repr(found)
    assert "together, faithful" in repr(found)
    assert "<table" in found._repr_html_() and "<svg" in found._repr_html_()
    assert found.plot()._repr_svg_().startswith("<svg")
    assert list(found.table.columns) == ["MSE", "price", "effect of A", "effect of E"]
    graph_only = pcm.check(SCM.graph, [FAIR])
    assert graph_only.table.empty
    with pytest.raises(QueryError, match="no prices"):
        graph_only.plot()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: pcm.check(SCM, []), ArgumentError, "list of requirements"),
        (lambda: pcm.check(SCM, ["A"]), ArgumentError, "no requirement"),
        (lambda: pcm.check(SCM, [FAIR, Requirement("A", outcome="Z")]), ArgumentError, "one outcome"),
        (lambda: pcm.check(hospital, [FAIR]), ArgumentError, "found the function 'program'"),
        (lambda: pcm.check(SCM, [FAIR], inputs=["Y"]), ArgumentError, "is among the inputs"),
        (lambda: pcm.check(SCM, [FAIR], inputs=["W"]), UnknownNameError, "'W' is not a variable"),
        (lambda: pcm.check(SCM, [FAIR], hidden="E"), ArgumentError, "a list of names"),
        (lambda: pcm.check(SCM, [FAIR], loss="zero-one"), ArgumentError, "loss='zero-one'"),
        (lambda: pcm.check(SCM, [Requirement("B", outcome="Y")]), UnknownNameError, "'B' is not a variable"),
        (
            lambda: pcm.check(SCM, [Requirement("A", outcome="Y", admissible="A -> E -> Y")]),
            GraphError,
            "Nearest: 'A -> ",
        ),
        (lambda: pcm.check(SCM, [Requirement("Y", outcome="X")]), GraphError, "downstream of the outcome"),
        (lambda: pcm.check(SCM, [Requirement(pcm.TrainingRows(1.0))]), ArgumentError, "one outcome"),
    ],
    ids=range(12),
)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_laws_that_are_not_linear_say_why():
    def curved():
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        pyro.sample("b", dist.Normal(a**2, 1.0))

    def spread():
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        pyro.sample("b", dist.Normal(a, 1.0 + a.abs()))

    assert linear_law(pcm.SCM(curved)) == "the mean of 'b' is not linear in its parents"
    assert linear_law(pcm.SCM(spread)) == "the spread of 'b' depends on its parents"
