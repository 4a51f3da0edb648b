"""Bounds against published numbers and closed forms."""

from __future__ import annotations

from itertools import product

import networkx as nx
import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
import xarray as xr

import pcm
from pcm.errors import ArgumentError, DataError, EvidenceError, GraphError, QueryError, UnknownNameError
from pcm.query.bounds import Atom, Query, Term, bounds
from pcm.query.bounds.notation import parse_graph, parse_query
from pcm.query.bounds.units import frechet
from pcm_models import firing_squad

IV = "z -> x -> y; x <-> y"
BOW = "x -> y; x <-> y"


def instrument(first, second, weight=0.5):
    """A table from P(x, y | z): rows (x, y) = 00, 01, 10, 11 for z = 0 and z = 1."""
    rows = [(z, x, y) for z, x, y in product((0, 1), repeat=3)]
    frame = pd.DataFrame(rows, columns=["z", "x", "y"])
    frame["probability"] = np.concatenate([np.multiply(first, 1 - weight), np.multiply(second, weight)])
    return frame


def chain():
    a = pyro.sample("A", dist.Bernoulli(0.5))
    m = pyro.sample("M", dist.Bernoulli(0.3 + 0.5 * a))
    pyro.sample("Y", dist.Bernoulli(0.2 + 0.5 * m))


def model(program, **options):
    return pcm.SCM(program, **options)._model


def ends(found):
    return pytest.approx([found.low, found.high], abs=1e-8)


# -- published numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [0.5, 0.2])
def test_balke_pearl_lipid_trial(weight):
    """Cholestyramine: Balke & Pearl 1997, ATE in [.392, .780]."""
    table = instrument([0.919, 0.081, 0.0, 0.0], [0.315, 0.073, 0.139, 0.473], weight)
    found = bounds(table, "ATE(x, y)", graph=IV)
    assert found.sharp
    assert (found.low, found.high) == pytest.approx((0.392, 0.780), abs=1e-9)
    assert found.certificate.component.unique().tolist() == ["x, y"]
    assert found.certificate[["low", "high"]].sum().tolist() == pytest.approx([1, 1])


LEGAL = pd.DataFrame({"x": [1, 1, 0, 0], "y": [1, 0, 1, 0], "count": [2, 998, 28, 972]})
LEGAL_TRIAL = [
    ({"x": 1}, pd.DataFrame({"y": [1, 0], "count": [16, 984]})),
    ({"x": 0}, pd.DataFrame({"y": [1, 0], "count": [14, 986]})),
]


def test_pearl_legal_responsibility():
    """Causality, §9.3.4: with the trial and the survey together the drug certainly killed: PN = 1."""
    found = bounds(LEGAL, "PN(x, y)", graph=BOW, experiments=LEGAL_TRIAL)
    assert (found.low, found.high) == pytest.approx((1.0, 1.0), abs=1e-9)
    found = bounds(LEGAL, "PNS(x, y)", graph=BOW, experiments=LEGAL_TRIAL)
    assert (found.low, found.high) == pytest.approx((0.002, 0.016), abs=1e-9)


def test_pearl_radiation():
    """Causality, §9.3.3: exogenous and monotone, PN is the excess risk ratio 1 − P(y|x')/P(y|x)."""
    table = pd.DataFrame({"x": [1, 1, 0, 0], "y": [1, 0, 1, 0], "count": [30, 69130, 16, 59010]})
    p1, p0 = 30 / 69160, 16 / 59026
    found = bounds(table, "PN(x, y)", graph="x -> y", monotone=[("x", "y")])
    assert (found.low, found.high) == pytest.approx(((p1 - p0) / p1,) * 2, abs=1e-8)
    assert "assumed" in found.notes[-1]
    found = bounds(table, "PS(x, y)", graph="x -> y", monotone=[("x", "y")])
    assert found.low == pytest.approx((p1 - p0) / (1 - p0), abs=1e-10)


def test_chain_of_two_mechanisms():
    """THEORY: a programme on Y alone gives [.25, .60]; the two mechanisms together [.25, .53]."""
    found = bounds(model(chain), "PNS(A, Y)")
    assert found.sharp
    assert (found.low, found.high) == pytest.approx((0.25, 0.53), abs=1e-12)
    alone = bounds(model(chain), "PNS(A, Y)", latent=["M"])
    assert (alone.low, alone.high) == pytest.approx((0.25, 0.60), abs=1e-12)


# -- closed forms ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_tian_pearl_closed_forms(seed):
    """Tian & Pearl 2000, equations for PNS, PN, PS from experimental and observational data, and from the latter."""
    rng = np.random.default_rng(seed)
    q = rng.dirichlet(np.full(8, 0.7)).reshape(2, 2, 2)  # x, y if untreated, y if treated
    joint = {(x, y): sum(q[x, w0, w1] for w0, w1 in product((0, 1), repeat=2) if (w1 if x else w0) == y)
             for x, y in product((0, 1), repeat=2)}  # fmt: skip
    table = pd.DataFrame([(x, y, p) for (x, y), p in joint.items()], columns=["x", "y", "probability"])
    y1, y0 = q[:, :, 1].sum(), q[:, 1].sum()
    py = joint[0, 1] + joint[1, 1]
    trial = [({"x": x}, {(0,): 1 - p, (1,): p}) for x, p in ((1, y1), (0, y0))]
    trial = [(do, pd.DataFrame({"y": [0, 1], "probability": [p[0,], p[1,]]})) for do, p in trial]
    want = {
        "PNS": (max(0, y1 - y0, py - y0, y1 - py),
                min(y1, 1 - y0, joint[1, 1] + joint[0, 0], y1 - y0 + joint[1, 0] + joint[0, 1])),
        "PN": (max(0, (py - y0) / joint[1, 1]), min(1, (1 - y0 - joint[0, 0]) / joint[1, 1])),
        "PS": (max(0, (y1 - py) / joint[0, 0]), min(1, (y1 - joint[1, 1]) / joint[0, 0])),
    }  # fmt: skip
    for name, (low, high) in want.items():
        found = bounds(table, f"{name}(x, y)", graph=BOW, experiments=trial)
        assert found.sharp
        assert [low, high] == ends(found)
    assert [0, joint[1, 1] + joint[0, 0]] == ends(bounds(table, "PNS(x, y)", graph=BOW))
    manski = bounds(table, "ATE(x, y)", graph=BOW)
    assert [-(joint[1, 0] + joint[0, 1]), joint[1, 1] + joint[0, 0]] == ends(manski)
    assert "x, y" in manski.how


@pytest.mark.parametrize("seed", range(6))
def test_frechet_of_three_values(seed):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(3), 2)
    table = pd.DataFrame([(x, y, 0.5 * p[x, y]) for x in (0, 1) for y in range(3)], columns=["x", "y", "p"])
    for i, j in product(range(3), repeat=2):
        found = bounds(table, f"P(y[x=1]={j} | x=0, y={i})", graph="x -> y")
        assert [max(0, p[0, i] + p[1, j] - 1) / p[0, i], min(p[0, i], p[1, j]) / p[0, i]] == ends(found)
    either = bounds(table, "P(y[x=1]!=0 | x=0, y=0)", graph="x -> y")
    assert [max(0, p[0, 0] - p[1, 0]) / p[0, 0], min(1, (1 - p[1, 0]) / p[0, 0])] == ends(either)


def joint_of(names, chances):
    """A table of binary variables from P(v = 1 | all before)."""
    rows = []
    for values in product((0, 1), repeat=len(names)):
        p = 1.0
        for at, chance in enumerate(chances):
            one = chance(*values[:at])
            p *= one if values[at] else 1 - one
        rows.append((*values, p))
    return pd.DataFrame(rows, columns=[*names, "probability"])


def test_what_the_graph_identifies_is_a_point():
    """Back-door and front-door adjustment, and the mediation formula."""
    table = joint_of(["z", "x", "y"], [lambda: 0.3, lambda z: 0.2 + 0.5 * z, lambda z, x: 0.1 + 0.4 * x + 0.3 * z * x])
    found = bounds(table, "ATE(x, y)", graph="z -> x; z -> y; x -> y")
    assert ends(found) == [0.4 + 0.3 * 0.3] * 2
    assert found.sharp and found.how == "the graph and the law fix it"
    # u -> x, u -> y: the front door
    full = joint_of(
        ["u", "x", "m", "y"],
        [lambda: 0.4, lambda u: 0.2 + 0.5 * u, lambda u, x: 0.1 + 0.7 * x, lambda u, x, m: 0.1 + 0.3 * m + 0.4 * u],
    )
    seen = full.groupby(["x", "m", "y"], as_index=False)["probability"].sum()
    assert ends(bounds(seen, "ATE(x, y)", graph="x -> m -> y; x <-> y")) == [0.3 * 0.7] * 2
    assert ends(bounds(seen, "ATE(x, y)", graph="x -> m -> y; u -> x; u -> y", latent=["u"])) == [0.3 * 0.7] * 2
    mediated = joint_of(
        ["x", "m", "y"], [lambda: 0.5, lambda x: 0.2 + 0.6 * x, lambda x, m: 0.1 + 0.3 * x + 0.4 * x * m]
    )
    graph = "x -> m -> y; x -> y"
    assert ends(bounds(mediated, "NDE(x, y)", graph=graph)) == [0.3 + 0.4 * 0.2] * 2
    assert ends(bounds(mediated, "NIE(x, y)", graph=graph)) == [0.0] * 2
    loose = bounds(mediated, "NDE(x, y)", graph=graph, confounded=[("m", "y")])
    assert loose.sharp and loose.low < 0.38 < loose.high


def test_causes_shared_pair_by_pair_are_valid_not_sharp():
    table = joint_of(["x", "y", "w"], [lambda: 0.5, lambda x: 0.3 + 0.3 * x, lambda x, y: 0.2 + 0.5 * y])
    pairs = bounds(table, "PNS(x, y)", graph="x -> y; x <-> y; y <-> w; y -> w")
    group = bounds(table, "PNS(x, y)", graph="x -> y -> w", confounded=[("x", "y", "w")])
    assert group.sharp and not pairs.sharp
    assert [group.low, group.high] == ends(pairs)
    assert "taken for one" in pairs.how and "not proven sharp" in repr(pairs)


def test_groups_of_contexts_add_up():
    """PNS with an observed confounder is the average of its Fréchet bounds within each stratum."""
    table = joint_of(["z", "x", "y"], [lambda: 0.3, lambda z: 0.2 + 0.5 * z, lambda z, x: 0.1 + 0.4 * x + 0.3 * z])
    found = bounds(table, "PNS(x, y)", graph="z -> x; z -> y; x -> y")
    low = sum(w * max(0, q - p) for w, p, q in ((0.7, 0.1, 0.5), (0.3, 0.4, 0.8)))
    high = sum(w * min(q, 1 - p) for w, p, q in ((0.7, 0.1, 0.5), (0.3, 0.4, 0.8)))
    assert [low, high] == ends(found)
    assert set(found.certificate.context) == {"z=0", "z=1"}


# -- programs --------------------------------------------------------------------------------------------------------


def test_a_program_and_its_table_agree():
    rows = pd.DataFrame(list(product((0, 1), repeat=3)), columns=["A", "M", "Y"])
    rows["p"] = np.exp(pcm.SCM(chain).log_prob(rows))
    for query in ("PNS(A, Y)", "PN(A, Y)", "PS(A, Y)", "ATE(A, Y)", "P(Y[A=1]=1 | A=0, M=1, Y=1)"):
        one, other = bounds(model(chain), query), bounds(rows, query, graph="A -> M -> Y")
        assert [one.low, one.high] == ends(other)
        for pair in (("A", "Y"), ("M", "Y")):
            one = bounds(model(chain), query, confounded=[pair])
            other = bounds(rows, query, graph="A -> M -> Y", confounded=[pair])
            assert [one.low, one.high] == ends(other)


def test_deterministic_programs_are_known():
    """Firing squad, Causality §7.1.3: logical equations leave nothing open, evidence on D alone included."""
    found = bounds(model(firing_squad.program), "P(D[A=0]=0 | D=1)")
    truth = firing_squad.truth["P(not D had A held his fire | D)"][0]
    assert [truth, truth] == ends(found)


def test_families_labels_and_interventions():
    def program():
        c = pyro.sample("c", dist.Categorical(torch.tensor([0.2, 0.5, 0.3])))
        h = pyro.sample("h", dist.OneHotCategorical(torch.tensor([0.5, 0.5])))
        n = pyro.sample("n", dist.Binomial(2, 0.2 + 0.3 * c / 2))
        pyro.sample("y", dist.Bernoulli(0.1 + 0.2 * n + 0.1 * h[..., 1] + 0.2 * (c == 2)))
        pyro.sample("noise", dist.Normal(c.to(torch.get_default_dtype()), 1.0))

    labelled = model(program, categories={"c": ["low", "mid", "top"]})
    mean = lambda c: 0.1 + 0.2 * 2 * (0.2 + 0.15 * c) + 0.05 + 0.2 * (c == 2)  # noqa: E731
    found = bounds(labelled, Query.ate("c", "y", treated="top", control="low"))
    assert [mean(2) - mean(0)] * 2 == ends(found)
    fixed = pcm.SCM(program).do(n=2)._model
    assert ends(bounds(fixed, "P(y=1 | do(n=2))")) == [0.5 + 0.05 + 0.2 * 0.3] * 2
    assert ends(bounds(fixed, Query.ate("c", "y", treated=2))) == [0.2] * 2
    assert ends(bounds(fixed, "ATE(c, y)")) == [0.0] * 2  # through n alone, which is set


def test_a_fitted_model_carries_its_draws():
    def program(n):
        p = pyro.sample("p", dist.Beta(2.0, 2.0))
        with pyro.plate("units", n):
            x = pyro.sample("x", dist.Bernoulli(0.5))
            pyro.sample("y", dist.Bernoulli(0.2 + 0.7 * p * x))

    scm = pcm.SCM(program)
    with pytest.raises(QueryError, match="neither fitted nor given"):
        bounds(scm._model, "PNS(x, y)")
    given = bounds(scm.given(p=0.5)._model, "PNS(x, y)")
    assert ends(given) == [0.35, 0.55]
    frame = scm.given(p=0.5).sample(400, seed=1)
    fitted = scm.fit(frame, seed=0, progress=False)
    found = bounds(fitted._model, "PNS(x, y)", draws=20)
    assert found.draws.shape == (20, 2)
    low, high = found.interval(0.9)
    assert low < found.low < found.high < high
    p = fitted._model.parameters(20, 0, prior=False)["p"].numpy()
    assert np.sort(found.draws[:, 0]) == pytest.approx(np.sort(0.7 * p), abs=1e-8)
    assert "20 draws" in repr(found)


# -- units -----------------------------------------------------------------------------------------------------------


def test_each_unit_has_its_own_bounds():
    frame = pd.DataFrame({"A": [0, 0, 1, 0], "M": [0, 1, 1, np.nan], "Y": [0, 0, 1, 0]}, index=list("abcd"))
    query = Query.counterfactual({"Y": 1}, {"A": 1})
    found = bounds(model(chain), query, data=frame)
    assert found.to_dataframe().index.tolist() == list("abcd")
    for name, row in frame.iterrows():
        given = row.dropna().astype(int).to_dict()
        one = bounds(model(chain), Query.counterfactual({"Y": 1}, {"A": 1}, given=given))
        at = frame.index.get_loc(name)
        assert [found.low[at], found.high[at]] == ends(one)
    assert found.low[2] == found.high[2] == 1  # nothing changed for c
    assert "4 units" in repr(found)


def confounded_trial():
    z = pyro.sample("z", dist.Bernoulli(0.4))
    t = pyro.sample("t", dist.Bernoulli(0.2 + 0.5 * z))
    pyro.sample("y", dist.Categorical(torch.stack([0.5 - 0.2 * t, 0.3 - 0.1 * z, 0.2 + 0.2 * t + 0.1 * z], -1)))


def test_the_closed_form_of_a_unit_is_its_programme():
    frame = pd.DataFrame(list(product((0, 1), (0, 1), (0, 1, 2))), columns=["z", "t", "y"])
    for outcome in (0, 2):
        query = Query.counterfactual({"y": outcome}, {"t": 1})
        solved = bounds(model(confounded_trial), query, data=frame)
        closed = frechet(model(confounded_trial), query, frame)
        assert closed.low == pytest.approx(solved.low, abs=1e-8)
        assert closed.high == pytest.approx(solved.high, abs=1e-8)


def test_continuous_causes_of_units():
    def program(*, age):
        z = pyro.sample("z", dist.Normal(age, 1.0))
        t = pyro.sample("t", dist.Bernoulli(torch.sigmoid(z)))
        m = pyro.sample("m", dist.Normal(z + t, 1.0))
        pyro.sample("y", dist.Bernoulli(torch.sigmoid(m)))

    def with_units(n, *, age):
        with pyro.plate("units", n):
            program(age=age)

    frame = pd.DataFrame({"age": [0.1, 0.2], "z": [0.3, -0.3], "t": [0, 0], "m": [0.5, 0.0], "y": [1, 0]})
    found = bounds(model(with_units), Query.counterfactual({"y": 1}, {"t": 1}), data=frame)
    p = 1 / (1 + np.exp(-np.array([0.5, 0.0])))
    p = np.where(frame.y == 1, p, 1 - p)
    q = 1 / (1 + np.exp(-np.array([1.5, 1.0])))
    assert found.low == pytest.approx(np.maximum(0, p + q - 1) / p, abs=1e-12)
    assert found.high == pytest.approx(np.minimum(1, q / p), abs=1e-12)
    assert found.notes == ("m keep their structural equations",)
    with pytest.raises(EvidenceError, match="'m' is missing"):
        bounds(model(with_units), Query.counterfactual({"y": 1}, {"t": 1}), data=frame.drop(columns="m"))
    with pytest.raises(QueryError, match="finite causes"):
        bounds(model(with_units), "PNS(t, y)", data=frame)


# -- forms of tables, graphs, queries ---------------------------------------------------------------------------------


def test_tables_in_every_form():
    frame = instrument([0.5, 0.2, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4])
    series = frame.set_index(["z", "x", "y"])["probability"]
    counts = frame.assign(count=(frame.probability * 1000).round().astype(int)).drop(columns="probability")
    raw = counts.loc[counts.index.repeat(counts["count"]), ["z", "x", "y"]]
    want = bounds(frame, "ATE(x, y)", graph=IV)
    forms = [series, xr.DataArray.from_series(series), dict(series), frame.to_dict("list"), counts, raw]
    forms.append((series * 1000).round())
    for form in forms:
        found = bounds(form, "ATE(x, y)", graph=IV)
        assert [want.low, want.high] == ends(found)
    graph = nx.DiGraph([("z", "x"), ("x", "y")])
    assert [want.low, want.high] == ends(bounds(frame, "ATE(x, y)", graph=graph, confounded=[("x", "y")]))
    assert any("sampling" in note for note in bounds(raw, "ATE(x, y)", graph=IV).notes)
    assert want.notes == ()


def test_queries_as_strings():
    assert parse_query("pns(x, y)") == Query.pns("x", "y")
    assert parse_query("P(y=1 | do(x=1))").terms == Query.interventional({"y": 1}, {"x": 1}).terms
    assert parse_query("P(y=1 | do(x=1, w='a'), z=0)").given == (Atom("z", 0, (("x", 1), ("w", "a"))),)
    assert parse_query("P(y[x=1]=1 | x=0, y=0)") == Query.counterfactual({"y": 1}, {"x": 1}, given={"x": 0, "y": 0})
    assert parse_query("P(y[x=1,z=0.5]≠1)").terms[0] == Term(1.0, (Atom("y", 1, (("x", 1), ("z", 0.5)), negated=True),))
    for wrong in ("PNS(x)", "Q(x, y)", "P(y)", "P(y=1 |)", "P(y=1", ""):
        with pytest.raises(ArgumentError, match="cannot be read"):
            parse_query(wrong)


def test_conditioning_in_the_intervened_world():
    table = joint_of(["z", "x", "y"], [lambda: 0.3, lambda z: 0.2 + 0.5 * z, lambda z, x: 0.1 + 0.4 * x + 0.3 * z])
    found = bounds(table, "P(y=1 | do(x=1), z=1)", graph="z -> x; z -> y; x -> y")
    assert ends(found) == [0.8, 0.8]
    assert found.label == "P(y=1 | do(x=1), z=1)"
    assert repr(Query.interventional({"y": 1}, {"x": 1}, {"z": 1})) == "Query(P(y=1 | do(x=1), z=1))"


def test_a_result_behaves():
    found = bounds(model(chain), "PNS(A, Y)")
    assert 0.3 in found and 0.54 not in found
    low, high = found
    assert found.width == pytest.approx(high - low) and found.interval() == (low, high)
    assert found.to_dataframe().loc["PNS of A on Y"].tolist() == [low, high]
    assert repr(found).startswith("PNS of A on Y: between 0.25 and 0.53 (sharp: ")
    with pytest.raises(QueryError, match="bounded"):
        float(found)


# -- bad input -------------------------------------------------------------------------------------------------------

GOOD = instrument([0.5, 0.2, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(
    ("table", "error", "words"),
    [
        (GOOD.assign(probability=GOOD.probability * 0.9), DataError, "sum to 0.9, not to one"),
        (GOOD.assign(probability=-GOOD.probability), DataError, "negatives"),
        (GOOD.assign(probability=np.nan), DataError, "not finite"),
        (GOOD.assign(y=[None, 1] * 4), DataError, "'y' of the table is empty"),
        (GOOD.iloc[:0], DataError, "no rows"),
        (GOOD.drop(columns="x"), UnknownNameError, "'x' is not a column of the table"),
        (
            pd.DataFrame(np.random.default_rng(0).normal(size=(99, 3)), columns=list("zxy")),
            QueryError,
            "takes 99 values",
        ),
        (3.0, ArgumentError, "a pcm.SCM or a table .*; found a float"),
        (instrument([0.9, 0.0, 0.1, 0.0], [0.0, 0.9, 0.1, 0.0]), GraphError, "instrumental inequality: .* = 1.8 > 1"),
    ],
)
def test_bad_tables(table, error, words):
    with pytest.raises(error, match=words):
        bounds(table, "ATE(x, y)", graph=IV)


def test_a_near_table_within_tolerance():
    """Rounding or sampling noise: the nearest law of the graph stands in, and a note says how far it is."""
    table = instrument([0.95, 0.0, 0.05, 0.0], [0.03, 0.92, 0.05, 0.0])
    broken = instrument([0.99, 0.0, 0.01, 0.0], [0.0, 0.99, 0.01, 0.0])
    with pytest.raises(GraphError, match=r"tolerance=\d"):
        bounds(table, "ATE(x, y)", graph=IV)
    found = bounds(table, "ATE(x, y)", graph=IV, tolerance=2.0)
    assert -1 <= found.low <= found.high <= 1
    assert any("nearest" in note for note in found.notes)
    assert bounds(broken, "ATE(x, y)", graph="z -> x -> y; z -> y; x <-> y").sharp


def test_a_table_that_denies_an_independence():
    table = joint_of(["z", "x", "y"], [lambda: 0.5, lambda z: 0.5, lambda z, x: 0.2 + 0.5 * z])
    with pytest.raises(GraphError, match=r"'y' should not depend on z.*P\(y=.* \| z="):
        bounds(table, "ATE(x, y)", graph="z -> x -> y")


@pytest.mark.parametrize(
    ("query", "options", "error", "words"),
    [
        ("ATE(w, y)", {}, UnknownNameError, "'w' is not a variable of the bounded law"),
        (Query.ate("x", "y", treated=2), {}, QueryError, "'x' is never 2; its values: 0, 1"),
        (Query.nde("z", "y"), {}, GraphError, "z → y is not an edge"),
        ("ATE(x, y)", {"confounded": ["xy"]}, ArgumentError, "confounded='xy'"),
        ("ATE(x, y)", {"confounded": [("x", "w")]}, UnknownNameError, "'w' is not a variable of the graph"),
        ("ATE(x, y)", {"monotone": [("z", "y")]}, QueryError, "z → y is not an edge"),
        ("ATE(x, y)", {"latent": ["w"]}, UnknownNameError, "'w'"),
        ("ATE(x, y)", {"experiments": [3]}, ArgumentError, "experiments are pairs"),
        ("P(y[x=0]=1 | z=0, z=1)", {}, QueryError, "probability zero"),
        (3, {}, ArgumentError, "query=3"),
        ("ATE(x, y)", {"graph": None}, ArgumentError, "needs its graph"),
        ("ATE(x, y)", {"graph": "x -> y -> x"}, GraphError, "cycle"),
        ("ATE(x, y)", {"graph": 3}, ArgumentError, "no graph"),
    ],
)
def test_bad_questions(query, options, error, words):
    with pytest.raises(error, match=words):
        bounds(GOOD, query, **{"graph": IV, **options})


def test_bad_experiments():
    trial = [({"x": 1}, pd.DataFrame({"y": [0, 1], "probability": [0.0, 1.0]}))]
    with pytest.raises(GraphError, match="experiment"):
        bounds(GOOD, "ATE(x, y)", graph=IV, experiments=trial)
    unconfounded = joint_of(["x", "y"], [lambda: 0.5, lambda x: 0.2 + 0.5 * x])
    with pytest.raises(GraphError, match=r"which fix P\(y\[x=1\]=0\): it is off by"):
        bounds(unconfounded, "ATE(x, y)", graph="x -> y", experiments=trial)


def test_a_refuted_assumption_of_monotonicity():
    table = joint_of(["x", "y"], [lambda: 0.5, lambda x: 0.7 - 0.5 * x])
    with pytest.raises(GraphError, match="monotone assumption"):
        bounds(table, "PNS(x, y)", graph="x -> y", monotone=[("x", "y")])


def test_too_many_types_are_counted():
    names = [f"p{at}" for at in range(5)]
    table = joint_of([*names, "y"], [*[lambda *_: 0.5] * 5, lambda *p: 0.1 + 0.1 * sum(p)])
    graph = [(name, "y") for name in names]
    with pytest.raises(QueryError, match="about 10\\^11 response types"):
        bounds(table, "PNS(p0, y)", graph=graph, confounded=[(*names, "y")])
    assert bounds(table, "PNS(p0, y)", graph=graph).low == pytest.approx(0.1)  # the other causes are contexts


def test_bad_models():
    def program():
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        x = pyro.sample("x", dist.Bernoulli(0.5))
        pyro.sample("y", dist.Bernoulli(torch.sigmoid(z + x)))

    with pytest.raises(QueryError, match=r"'z' \(Normal\) is not a finite variable"):
        bounds(model(program), "PNS(x, y)")
    with pytest.raises(ArgumentError, match="a program has its own graph"):
        bounds(model(program), "PNS(x, y)", graph="x -> y")
    with pytest.raises(UnknownNameError, match="'w'"):
        bounds(model(program), "PNS(w, y)")
    with pytest.raises(QueryError, match="never observed"):
        bounds(model(chain), "PNS(A, M)", latent=["M"])
    shifted = pcm.SCM(chain).do(A=lambda A: A)._model
    with pytest.raises(QueryError, match="sets a variable to one constant"):
        bounds(shifted, "PNS(M, Y)")


def test_graphs_as_strings():
    graph, pairs = parse_graph("z -> x -> y; x ↔ y, w")
    assert set(graph.edges) == {("z", "x"), ("x", "y")} and "w" in graph and pairs == [("x", "y")]
    with pytest.raises(ArgumentError, match="no edge"):
        parse_graph("x -> ")
    with pytest.raises(ArgumentError, match="no edge"):
        parse_graph([("x", "y", "z")])
