"""Criticism part by part: residuals against scipy, tests against closed forms, statements against d-separation."""

from __future__ import annotations

import itertools

import networkx as nx
import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import special, stats

import pcm
from pcm.couplings import resolve
from pcm.errors import ArgumentError, DataError, QueryError, UnknownNameError
from pcm.query.criticism import Check, criticise
from pcm.query.criticism.criticise import collapsed
from pcm.query.criticism.features import interaction, legendre, orthonormal, smooth
from pcm.query.criticism.independence import Pool, baseline, implied_by
from pcm.query.criticism.mechanisms import adjusted
from pcm.query.criticism.moments import Finding, Moments, quadratic
from pcm.query.criticism.predictive import bayesian_p
from pcm.query.criticism.residuals import as_uniform


def ask(scm: pcm.SCM, data, **options):
    return criticise(scm._model, data, seed=0, **{"draws": 50, **options})


# -- residuals -------------------------------------------------------------------------------------------------------

LAWS = {
    "Normal": (dist.Normal(1.0, 2.0), stats.norm(1, 2)),
    "Cauchy": (dist.Cauchy(1.0, 2.0), stats.cauchy(1, 2)),
    "Laplace": (dist.Laplace(1.0, 2.0), stats.laplace(1, 2)),
    "Gumbel": (dist.Gumbel(1.0, 2.0), stats.gumbel_r(1, 2)),
    "Uniform": (dist.Uniform(1.0, 3.0), stats.uniform(1, 2)),
    "Exponential": (dist.Exponential(0.5), stats.expon(scale=2)),
    "HalfNormal": (dist.HalfNormal(2.0), stats.halfnorm(scale=2)),
    "HalfCauchy": (dist.HalfCauchy(2.0), stats.halfcauchy(scale=2)),
    "LogNormal": (dist.LogNormal(0.3, 0.5), stats.lognorm(0.5, scale=np.exp(0.3))),
    "Weibull": (dist.Weibull(2.0, 1.5), stats.weibull_min(1.5, scale=2)),
    "Pareto": (dist.Pareto(2.0, 3.0), stats.pareto(3, scale=2)),
    "Gamma": (dist.Gamma(2.0, 0.5), stats.gamma(2, scale=2)),
    "InverseGamma": (dist.InverseGamma(3.0, 2.0), stats.invgamma(3, scale=2)),
    "Beta": (dist.Beta(2.0, 3.0), stats.beta(2, 3)),
    "StudentT": (dist.StudentT(4.0, 1.0, 2.0), stats.t(4, 1, 2)),
}


@pytest.mark.parametrize("family", LAWS)
def test_continuous_noise_is_the_distribution_function(family):
    fn, law = LAWS[family]
    u = np.array([1e-6, 0.01, 0.3, 0.5, 0.8, 0.999])
    coupling, bare = resolve(fn)
    found = as_uniform(coupling, bare, coupling.abduct(bare, torch.as_tensor(law.ppf(u))))
    np.testing.assert_allclose(found.numpy(), u, rtol=1e-4, atol=1e-9)


def test_a_decreasing_transform_keeps_its_base_noise():
    from torch.distributions import AffineTransform, TransformedDistribution

    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    fn = TransformedDistribution(dist.Gamma(2 * one, one), [AffineTransform(zero, -one)])
    coupling, bare = resolve(fn)
    found = as_uniform(coupling, bare, coupling.abduct(bare, torch.tensor([-1.5], dtype=torch.float64)))
    np.testing.assert_allclose(found, stats.gamma(2).cdf(1.5), rtol=1e-9)


def test_a_counts_noise_lies_in_its_interval():
    def counts():
        pyro.sample("c", dist.Poisson(1.7))

    data = {"c": np.random.default_rng(0).poisson(1.7, 400).astype(float)}
    u = ask(pcm.SCM(counts), data).residuals("c")
    law, c = stats.poisson(1.7), data["c"]
    assert np.all(u > law.cdf(c - 1)) and np.all(u <= law.cdf(c) + 1e-12)
    assert stats.kstest((u - law.cdf(c - 1)) / law.pmf(c), "uniform").pvalue > 1e-4


def test_an_independent_coupling_is_still_criticised_by_its_value():
    def pair():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(x, 0.5))

    x = np.random.default_rng(0).normal(size=300)
    data = {"x": x, "y": 3 * x}
    found = ask(pcm.SCM(pair, couplings={"y": "independent"}), data)
    np.testing.assert_allclose(found.residuals("y"), stats.norm.cdf(2 * x / 0.5), rtol=1e-9, atol=1e-11)


# -- features and moments --------------------------------------------------------------------------------------------


def test_legendre_is_scipys_and_orthonormal():
    u = np.linspace(0, 1, 7)
    for degree in range(1, 7):
        expected = np.sqrt(2 * degree + 1) * special.eval_legendre(degree, 2 * u - 1)
        np.testing.assert_allclose(legendre(u, 6)[..., degree - 1], expected, atol=1e-12)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    values = legendre((nodes + 1) / 2, 6)
    np.testing.assert_allclose((values.T * weights / 2) @ values, np.eye(6), atol=1e-12)


def test_features_are_blind_to_monotone_maps_and_outliers():
    x = np.random.default_rng(0).normal(size=200)
    np.testing.assert_allclose(smooth(x, 4), smooth(np.exp(5 * x), 4), atol=1e-12)
    assert np.abs(smooth(np.append(x, 1e12), 5)).max() < 5


def test_few_values_are_levels_and_rare_ones_are_not():
    column = np.repeat([0.0, 1.0, 2.0, 3.0], [100, 60, 30, 3])
    assert smooth(column, 5, categorical=True).shape == (193, 2)
    assert smooth(np.zeros(50), 5).shape == (50, 0)


def test_interactions_are_beyond_main_functions():
    rng = np.random.default_rng(0)
    first, second = (smooth(rng.normal(size=300), 3) for _ in range(2))
    found = interaction(first, second)
    assert found.shape == (300, 4)
    np.testing.assert_allclose(found.T @ np.concatenate([first, second], 1) / 300, 0.0, atol=1e-12)
    assert orthonormal(np.ones((5, 2))).shape == (5, 0)


def test_quadratic_form_is_mahalanobis():
    rng = np.random.default_rng(0)
    root, mean = rng.normal(size=(4, 4)), rng.normal(size=4)
    covariance = root @ root.T
    found = quadratic(mean, covariance)
    expected = mean @ np.linalg.solve(covariance, mean)
    assert found.statistic == pytest.approx(expected, rel=1e-9)
    assert found.df == 4 and found.p == pytest.approx(stats.chi2.sf(expected, 4), rel=1e-9)
    assert quadratic(mean, np.zeros((4, 4))).df == 0 or quadratic(mean, np.zeros((4, 4))).p <= 1


def test_frequency_of_a_coin_is_the_score_test():
    def coin():
        pyro.sample("x", dist.Bernoulli(0.3))

    data = {"x": np.repeat([1.0, 0.0], [40, 60])}
    row = ask(pcm.SCM(coin), data).to_dataframe().query("kind == 'law'").iloc[0]
    expected = (40 - 30) ** 2 / (100 * 0.3 * 0.7)
    assert row.statistic == pytest.approx(expected, rel=1e-12)
    assert row.p == pytest.approx(stats.chi2.sf(expected, 1), rel=1e-12)


def test_frequencies_of_categories_are_pearsons_chi_square():
    chances, counts = np.array([0.5, 0.3, 0.2]), np.array([80, 70, 50])

    def die():
        pyro.sample("x", dist.Categorical(torch.tensor([0.5, 0.3, 0.2])))

    data = {"x": np.repeat([0, 1, 2], counts)}
    row = ask(pcm.SCM(die), data).to_dataframe().query("kind == 'law'").iloc[0]
    assert row.p == pytest.approx(stats.chisquare(counts, 200 * chances).pvalue, rel=1e-9)


def test_posterior_spread_of_a_moment_is_added():
    rng = np.random.default_rng(0)
    feature, score = np.ones((100, 1)), rng.normal(size=(1, 100, 1))
    lanes = score + rng.normal(size=(4000, 1, 1)) * 0.1  # the posterior moves every score by N(0, 0.1²): as much again
    alone, spread = Moments(feature, score).test(slice(0, 1)), Moments(feature, lanes).test(slice(0, 1))
    ratio = (lanes.mean() / score.mean()) ** 2
    assert spread.statistic == pytest.approx(alone.statistic * ratio / 2, rel=0.05)


def test_holm():
    p = [0.01, 0.04, 0.03, 0.005]
    made = adjusted([Check("law", "x", p=each) for each in p], 0.05)
    np.testing.assert_allclose([check.holm for check in made], [0.03, 0.06, 0.06, 0.02])
    assert [check.fails for check in made] == [True, False, False, True]


# -- the graph -------------------------------------------------------------------------------------------------------


def test_implied_independencies_are_d_separations_one_a_missing_edge():
    rng = np.random.default_rng(0)
    for _ in range(20):
        names = [f"v{i}" for i in range(6)]
        graph = nx.DiGraph()
        graph.add_nodes_from(names)
        graph.add_edges_from(pair for pair in itertools.combinations(names, 2) if rng.random() < 0.4)
        found = implied_by(graph, names)
        assert len(found) == 15 - graph.number_of_edges()
        assert all(nx.is_d_separator(graph, {x}, {y}, set(given)) for x, y, given in found)


def test_covariates_owe_each_other_nothing():
    graph = nx.DiGraph([("a", "y"), ("b", "y"), ("y", "z")])
    assert implied_by(graph, ["y", "a", "b", "z"], roots=["a", "b"]) == [("a", "z", ("y",)), ("b", "z", ("y",))]


def test_computed_variables_give_way_to_what_they_are_computed_from():
    def program():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        d = pyro.deterministic("d", 2 * x)
        pyro.sample("y", dist.Normal(d, 1.0))

    model = pcm.SCM(program)._model
    assert set(collapsed(model.structure.graph, model.structure).edges) == {("x", "y")}
    found = ask(pcm.SCM(program), pcm.SCM(program).sample(300, seed=0))
    assert found.variables == ("x", "y") and found.passed


def test_two_binary_columns_are_pearsons_test():
    rng = np.random.default_rng(0)
    x = (rng.random(1000) < 0.4) * 1.0
    y = (rng.random(1000) < 0.5 + 0.06 * x) * 1.0
    table = pd.crosstab(x, y).to_numpy()
    p = Pool({"x": x[:, None], "y": y[:, None]}, ()).test("x", "y", ()).p
    # the variance of products of indicators, unlike Pearson's, is estimated off the null: the same to first order
    assert p == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue, rel=0.15)


@pytest.mark.parametrize("shape", ["linear", "sine", "product"])
def test_conditional_independence_holds_after_a_nonlinear_cause(shape):
    p, without = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        a, b, e, f = rng.normal(size=(4, 400))
        cause = {"linear": a + b, "sine": np.sin(2 * a) + b, "product": a * b}[shape]
        columns = {"a": a, "b": b, "x": cause + 0.5 * e, "y": cause + 0.5 * f}
        pool = Pool({name: column[:, None] for name, column in columns.items()}, ())
        p.append(pool.test("x", "y", ("a", "b")).p)
        without.append(pool.test("x", "y", ("a",)).p)
    assert np.mean(np.array(p) < 0.05) <= 0.15 and min(p) > 1e-4  # a binomial of 60 at 0.05 passes 9 with 4e-4
    assert np.mean(np.array(without) < 0.05) > 0.9


def test_dependence_in_spread_alone_is_seen():
    rng = np.random.default_rng(0)
    x, e = rng.normal(size=(2, 800))
    assert Pool({"x": x[:, None], "y": (e * np.exp(x / 2))[:, None]}, ()).test("x", "y", ()).p < 1e-6


def test_the_baseline_counts_relabellings():
    class Table:  # of three variables, only a and b depend
        def test(self, x, y, given):
            return Finding(0.0, 1, 0.0 if {x, y} == {"a", "b"} else 1.0)

    rng = np.random.default_rng(0)
    graph = nx.DiGraph([("a", "b")])
    graph.add_node("c")
    statements = implied_by(graph, ["a", "b", "c"])
    found = baseline(Table(), statements, ["a", "b", "c"], level=0.05, rng=rng, relabellings=600)  # type: ignore[arg-type]
    assert (found.implied, found.violated, found.share) == (2, 0, 0.0)
    assert found.as_good == pytest.approx(1 / 3, abs=0.08)  # the edge stays on {a, b} in two of six relabellings
    assert found.expected == pytest.approx(1 / 3, abs=0.04)


# -- predictive checks -----------------------------------------------------------------------------------------------


def test_bayesian_p_counts_both_sides():
    assert bayesian_p(np.arange(100.0), 9.5) == pytest.approx(0.2)
    assert bayesian_p(np.zeros(10), 0.0) == 1.0


def test_replicates_have_the_laws_moments():
    def line():
        x = pyro.sample("x", dist.Normal(1.0, 2.0))
        pyro.sample("y", dist.Normal(3 * x, 1.0))

    x = np.random.default_rng(0).normal(5, 1, size=400)
    found = ask(pcm.SCM(line), {"x": x, "y": 3 * x}, draws=200).to_dataframe().set_index(["kind", "variable", "about"])
    given, marginal = found.loc["given parents", "y", "mean"], found.loc["marginal", "y", "mean"]
    assert given.predicted == pytest.approx(3 * x.mean(), abs=5 / np.sqrt(400 * 200))
    assert marginal.predicted == pytest.approx(3.0, abs=5 * np.sqrt(37 / (400 * 200)))
    assert given.observed == marginal.observed == pytest.approx(3 * x.mean())
    width = (marginal.high - marginal.low) / 2
    assert width == pytest.approx(1.96 * np.sqrt(37 / 400), rel=0.25)
    assert marginal.fails and not given.fails


def test_zeros_and_categories_are_counted():
    def program():
        pyro.sample("c", dist.Poisson(1.0))
        pyro.sample("k", dist.Categorical(torch.tensor([0.2, 0.3, 0.5])))

    rng = np.random.default_rng(0)
    data = {"c": rng.poisson(1.0, 300) * (rng.random(300) < 0.6) * 1.0, "k": rng.choice(3, 300, p=[0.2, 0.3, 0.5])}
    scm = pcm.SCM(program, categories={"k": ["red", "green", "blue"]})
    frame = pd.DataFrame(data).assign(k=lambda d: d["k"].map(dict(enumerate(["red", "green", "blue"]))))
    rows = ask(scm, frame).to_dataframe()
    marginal = rows[rows["kind"] == "marginal"].set_index(["variable", "about"])
    assert marginal.loc[("c", "share of zeros"), "observed"] == pytest.approx(np.mean(data["c"] == 0))
    assert marginal.loc[("c", "share of zeros"), "fails"]
    abouts = {about for name, about in marginal.index if name == "k"}
    assert abouts == {"share of red", "share of green", "share of blue"}


# -- whole programs --------------------------------------------------------------------------------------------------


def everything(n, *, dose):
    slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
    with pyro.plate("units", n):
        z = pyro.sample("z", dist.MultivariateNormal(torch.zeros(2), torch.tensor([[1.0, 0.5], [0.5, 1.0]])))
        k = pyro.sample("k", dist.OneHotCategorical(logits=torch.stack([0 * dose, dose, -dose], -1)))
        o = pyro.sample("o", dist.OrderedLogistic(z[..., 0], torch.tensor([-1.0, 0.0, 1.0])))
        two = pyro.sample("two", dist.Bernoulli(logits=torch.stack([dose, -dose], -1)).to_event(1))
        with pyro.plate("visits", 3):
            visit = pyro.sample("visit", dist.Gamma(2.0, torch.exp(0.3 * slope * z[..., 1])))
        pyro.sample("y", dist.StudentT(4.0, slope * dose + k[..., 1] + 0.2 * o + two[..., 0] + visit.sum(0) * 0.1, 1.0))


@pytest.fixture(scope="module")
def whole():
    dose = np.random.default_rng(0).normal(size=600)
    scm = pcm.SCM(everything).given(slope=0.8)
    return scm, scm.sample(data={"dose": dose}, seed=3)


def test_vectors_plates_one_hot_ordered_and_covariates(whole):
    scm, data = whole
    found = ask(scm, data)
    assert found.passed, found.failures
    rows = found.to_dataframe()
    assert found.variables == ("z", "k", "o", "two", "visit", "y")
    assert len(rows[(rows["kind"] == "law") & (rows["variable"] == "visit")]) == 3
    assert found.residuals("visit").shape == (600, 3)
    reads = rows[(rows["variable"] == "y") & (rows["kind"] == "level")]["about"]
    assert set(reads) == {"dose", "k", "o", "two", "visit", "its own prediction"}
    assert not set(rows[rows["kind"] == "independence"]["variable"]) & {"dose"}


def test_a_wrong_parameter_is_called_out_where_it_acts(whole):
    _, data = whole
    found = ask(pcm.SCM(everything).given(slope=0.3), data)
    assert found.verdict["y"] != "y: nothing found against its mechanism"
    assert found.verdict["o"] == "o: nothing found against its mechanism"
    assert found.verdict["overall"].startswith("mechanisms in doubt: ")


def test_what_it_hands_out(whole):
    import arviz
    from matplotlib.figure import Figure

    scm, data = whole
    found = ask(scm, data, rows=300)
    assert "300 of the 600 units" in found.notes[0] and len(found.index) == 300
    tree = found.inference_data
    assert tree.posterior_predictive["y"].dims == ("chain", "draw", "unit")
    assert tree.posterior_predictive["visit"].shape == (1, 50, 300, 3)
    assert tree.observed_data["z"].shape == (300, 2) and set(tree.constant_data) == {"dose"}
    np.testing.assert_array_equal(tree.observed_data["y"], data["y"].loc[found.index])
    assert float(arviz.summary(tree, group="posterior_predictive", var_names=["k"], kind="stats")["mean"].mean()) > 0
    assert isinstance(found.plot(), Figure) and len(found.plot("y").axes) == 2
    page = found._repr_html_()
    assert page.count("<th") >= len(found.verdict) and "y" in repr(found)
    assert list(found.to_dataframe()["p_holm"]) == [check.holm for check in found.checks]
    with pytest.raises(UnknownNameError, match="'nobody' is not a checked variable"):
        found.plot("nobody")
    with pytest.raises(QueryError, match="'k' has outcomes without order"):
        found.residuals("k")


def test_the_same_seed_the_same_answer(whole):
    scm, data = whole
    pd.testing.assert_frame_equal(ask(scm, data, rows=200).to_dataframe(), ask(scm, data, rows=200).to_dataframe())


def test_under_an_intervention_the_set_mechanism_is_left_out():
    def line():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(x, 1.0))

    scm = pcm.SCM(line).do(x=2.0)
    found = ask(scm, scm.sample(300, seed=0))
    assert found.variables == ("y",) and found.passed
    assert "set by an intervention" in found.notes[0]


def test_masked_sites_and_points_are_left_out_and_said():
    def program(n, *, seen):
        with pyro.plate("units", n):
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            pyro.sample("p", dist.Delta(x))
            with pyro.poutine.mask(mask=seen > 0):
                pyro.sample("y", dist.Normal(x, 1.0))

    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    data = {"seen": (rng.random(200) < 0.5) * 1.0, "x": x, "p": x, "y": np.full(200, 50.0)}
    found = ask(pcm.SCM(program), data)
    assert found.variables == ("x",)
    assert [note.split(":")[0] for note in found.notes] == ["p", "y"]
    assert {check.variable for check in found.checks} == {"x"}


def test_a_point_estimate_says_so():
    def program(n):
        loc = pyro.param("loc", torch.tensor(0.0))
        with pyro.plate("units", n):
            pyro.sample("x", dist.Normal(loc, 1.0))

    data = {"x": np.random.default_rng(0).normal(3.0, 1.0, 200)}
    found = ask(pcm.SCM(program).fit(data, "map", seed=0, progress=False), data)
    assert found.passed and "point estimate" in found.notes[0]


def test_bad_arguments():
    def coin():
        pyro.sample("x", dist.Bernoulli(0.5))

    def fair(n):
        p = pyro.sample("p", dist.Beta(1.0, 1.0))
        with pyro.plate("units", n):
            pyro.sample("x", dist.Bernoulli(p))

    scm, data = pcm.SCM(coin), {"x": np.tile([0.0, 1.0], 50)}
    with pytest.raises(ArgumentError, match="draws=3"):
        ask(scm, data, draws=3)
    with pytest.raises(ArgumentError, match="level=2"):
        ask(scm, data, level=2)
    with pytest.raises(ArgumentError, match="rows=True"):
        ask(scm, data, rows=True)
    with pytest.raises(QueryError, match="given 10 units; fewer than 30"):
        ask(scm, {"x": np.tile([0.0, 1.0], 5)})
    with pytest.raises(QueryError, match="no recorded cell of x"):
        ask(scm, {"x": np.full(50, np.nan)})
    with pytest.raises(DataError, match="none of the columns looked for: x"):
        ask(scm, {"y": np.tile([0.0, 1.0], 50)})
    with pytest.raises(QueryError, match="neither fitted nor given"):
        ask(pcm.SCM(fair), data)
