"""Identification against enumeration of discrete models, published examples and a criterion of its own."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, product

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from pcm.errors import ArgumentError, DataError, GraphError, QueryError, UnknownNameError
from pcm.graph import CausalGraph
from pcm.graph.identify import identify
from pcm.graph.identify.algorithm import effect
from pcm.graph.identify.mixed import project

# -- discrete models, enumerated --------------------------------------------------------------------------------


class Discrete:
    """A random discrete model on a DAG with latent roots: every law of it by enumeration."""

    def __init__(self, directed, bidirected, nodes, seed, latent_values=3, values=2):
        rng = np.random.default_rng(seed)
        self.nodes, self.pairs = list(nodes), list(bidirected)
        self.sizes = dict.fromkeys(nodes, values) | dict.fromkeys(self.pairs, latent_values)
        self.parents = {
            node: [a for a, b in directed if b == node] + [pair for pair in self.pairs if node in pair]
            for node in nodes
        }
        self.graph = nx.DiGraph()
        self.graph.add_nodes_from(nodes)
        self.graph.add_edges_from(directed)
        self.tables = {pair: rng.dirichlet(np.ones(latent_values)) for pair in self.pairs}
        for node in nodes:
            shape = [self.sizes[parent] for parent in self.parents[node]]
            self.tables[node] = rng.dirichlet(np.ones(values), size=shape) if shape else rng.dirichlet(np.ones(values))

    def law(self, do=()):
        """``[*nodes]``: the observed law; with ``do``, for each value that those are set to."""
        letter = {name: chr(97 + place) for place, name in enumerate([*self.nodes, *self.pairs])}
        terms, arrays = [], []
        for name in [*self.pairs, *(node for node in self.nodes if node not in do)]:
            terms.append("".join(letter[parent] for parent in self.parents.get(name, [])) + letter[name])
            arrays.append(self.tables[name])
        for name in do:
            terms.append(letter[name])
            arrays.append(np.ones(self.sizes[name]))
        out = np.einsum(",".join(terms) + "->" + "".join(letter[node] for node in self.nodes), *arrays, optimize=True)
        return xr.DataArray(out, dims=self.nodes)

    def effect(self, treatment, outcome, given=()):
        joint = self.law(do=treatment)
        kept = (*treatment, *given, *outcome)
        joint = joint.sum([node for node in self.nodes if node not in kept]).transpose(*kept)
        return joint / joint.sum(list(outcome)) if given else joint

    def identify(self, treatment, outcome, **options):
        return identify(self.graph, treatment, outcome, confounded=self.pairs, **options)

    @property
    def mixed(self):
        full = nx.DiGraph(self.graph)
        full.add_edges_from((pair, node) for pair in self.pairs for node in pair)
        return project(full, self.pairs)


def random_model(seed, nodes, arrows=0.5, arcs=0.28):
    rng = np.random.default_rng(seed)
    pairs = list(combinations(nodes, 2))
    directed = [pair for pair in pairs if rng.random() < arrows]
    bidirected = [pair for pair in pairs if rng.random() < arcs]
    return Discrete(directed, bidirected, nodes, seed), rng


def close(found, true):
    return float(np.abs(found.values - true.values).max()) < 1e-9


@pytest.mark.parametrize(("size", "most"), [(3, 120), (4, 120), (5, 120), (6, 60)])
def test_estimands_equal_enumeration_on_random_graphs(size, most):
    strategies: dict[str | None, int] = {}
    for seed in range(most):
        model, rng = random_model(1_000 * size + seed, "vwxyzt"[:size])
        treatment, outcome = rng.choice(model.nodes, 2, replace=False)
        found = model.identify(treatment, outcome)
        strategies[found.strategy] = strategies.get(found.strategy, 0) + 1
        assert found.identified == (found.witness is None)
        if found.identified:
            true = model.effect((treatment,), (outcome,))
            assert close(found.evaluate(model.law()), true), (seed, found)
            # the general algorithm answers what the classical criteria answer
            general = replace(found, strategy="ID", expression=effect(model.mixed, {treatment}, {outcome}))
            assert close(general.evaluate(model.law()), true), (seed, general)
        elif found.strategy is None:
            with pytest.raises(QueryError, match="not identified"):
                found.evaluate(model.law())
    assert {"none needed", "back-door", None} <= set(strategies)


def test_general_identification_on_graphs_without_an_adjustment():
    """Graphs whose treatment has arcs, kept where ID alone finds the estimand."""
    kept = 0
    for seed in range(1_000):
        model, _ = random_model(50_000 + seed, "vwxyzt"[: 5 + seed % 2], arrows=0.4, arcs=0.25)
        found = model.identify(*(str(name) for name in model.nodes[0 :: len(model.nodes) - 1]))
        if found.strategy == "ID":
            kept += 1
            assert close(found.evaluate(model.law()), model.effect(found.treatment, found.outcome)), (seed, found)
    assert kept >= 15


@pytest.mark.parametrize("size", [4, 5])
def test_joint_and_conditional_estimands_equal_enumeration(size):
    identified = 0
    for seed in range(120):
        model, rng = random_model(7_000 * size + seed, "vwxyz"[:size])
        names = [str(name) for name in rng.permutation(model.nodes)]
        two = bool(seed % 2)
        treatment, outcome = tuple(names[: 1 + two]), (names[1 + two],)
        given = tuple(names[2 + two : 3 + two])
        found = model.identify(treatment, outcome, conditional=given)
        if found.identified:
            identified += 1
            true = model.effect(found.treatment, found.outcome, found.conditional)
            assert close(found.evaluate(model.law()), true), (seed, found)
    assert identified > 30


def test_three_valued_variables():
    model = Discrete([("x", "m"), ("m", "y")], [("x", "y")], "xmy", seed=3, latent_values=4, values=3)
    found = model.identify("x", "y")
    assert found.strategy == "front-door" and found.mediators == {"m"}
    assert close(found.evaluate(model.law()), model.effect(("x",), ("y",)))


# -- when it is not identified --------------------------------------------------------------------------------


def locally_told(directed, bidirected, nodes, treatment, outcome, seed):
    """Whether the effect's gradient lies in the row space of the observed law's: the law tells it near this model.

    If an effect is identified its gradient always does; at a generic model of one that is not, it does not.
    """
    import torch

    model = Discrete(directed, bidirected, nodes, seed, latent_values=4)
    start = {name: torch.as_tensor(table).log() for name, table in model.tables.items()}
    flat = torch.cat([value.flatten() for value in start.values()])
    names = [*model.pairs, *model.nodes]
    letter = {name: chr(97 + place) for place, name in enumerate(names)}

    def laws(values, do):
        tables, place = {}, 0
        for name, value in start.items():
            tables[name] = values[place : place + value.numel()].reshape(value.shape).softmax(-1)
            place += value.numel()
        terms, arrays = [], []
        for name in names:
            if name != do:
                terms.append("".join(letter[parent] for parent in model.parents.get(name, [])) + letter[name])
                arrays.append(tables[name])
        kept = model.nodes if do is None else [do, outcome]
        if do is not None:
            terms.append(letter[do])
            arrays.append(torch.ones(2, dtype=values.dtype))
        return torch.einsum(",".join(terms) + "->" + "".join(letter[name] for name in kept), *arrays).flatten()

    observed = torch.func.jacrev(lambda values: laws(values, None))(flat).numpy()
    asked = torch.func.jacrev(lambda values: laws(values, treatment))(flat).numpy()
    left = asked - asked @ np.linalg.pinv(observed, rcond=1e-10) @ observed
    return float(np.abs(left).max()) < 1e-8


def test_every_graph_on_three_variables_against_an_independent_criterion():
    """All 64 graphs with the order a, b, c, and the effects of a on b, a on c, b on c: 192 questions."""
    pairs = list(combinations("abc", 2))
    verdicts = []
    for arrows, arcs in product(product([0, 1], repeat=3), repeat=2):
        directed = [pair for pair, there in zip(pairs, arrows, strict=True) if there]
        bidirected = [pair for pair, there in zip(pairs, arcs, strict=True) if there]
        graph = nx.DiGraph(directed)
        graph.add_nodes_from("abc")
        for treatment, outcome in pairs:
            found = identify(graph, treatment, outcome, confounded=bidirected).identified
            told = locally_told(directed, bidirected, "abc", treatment, outcome, seed=len(verdicts))
            assert found == told, (directed, bidirected, treatment, outcome)
            verdicts.append(found)
    assert (len(verdicts), sum(verdicts)) == (192, 133)


def test_the_bow_has_two_models_with_one_law_and_two_effects():
    """x ↔ y, x → y: y copies x, or both copy their common cause. P(x, y) is the same, P(y | do(x)) is not."""
    half = np.array([0.5, 0.5])
    copies_x = np.stack([np.eye(2), np.eye(2)], 1)  # [x, u, y]
    copies_u = np.stack([np.eye(2), np.eye(2)], 0)
    laws = [np.einsum("u,ux,xuy->xy", half, np.eye(2), mechanism) for mechanism in (copies_x, copies_u)]
    effects = [np.einsum("u,xuy->xy", half, mechanism) for mechanism in (copies_x, copies_u)]
    assert np.array_equal(*laws)
    assert np.abs(effects[0] - effects[1]).max() == 0.5
    found = identify(nx.DiGraph([("x", "y")]), "x", "y", confounded=[("x", "y")])
    assert not found and found.strategy is None and found.estimand is None
    assert (found.witness.outer, found.witness.inner, found.witness.roots) == ({"x", "y"}, {"y"}, {"y"})


NOT_IDENTIFIED = {
    "bow": (["x>y"], ["x-y"]),
    "confounded mediator": (["x>z", "z>y"], ["x-z"]),
    "mediator confounded with the outcome": (["x>z", "z>y"], ["x-y", "z-y"]),
    "instrument": (["z>x", "x>y"], ["x-y"]),
    "confounded on both sides": (["z>x", "z>y", "x>y"], ["x-z", "z-y"]),
    "front door ajar": (["x>m", "m>y", "x>y"], ["x-y"]),
    "M, the collider a cause of both": (["z>x", "z>y", "x>y"], ["x-z", "z-y"]),
    "a hedge of four": (["x>a", "a>y", "b>x"], ["x-b", "b-y", "a-b"]),
}
IDENTIFIED = {
    "trial": (["x>y"], [], "none needed"),
    "mediator confounded with the outcome": (["x>y", "z>y", "x>z"], ["z-y"], "none needed"),
    "covariate confounded with the outcome": (["z>x", "z>y", "x>y"], ["z-y"], "back-door"),
    "covariate confounded with the treatment": (["z>x", "z>y", "x>y"], ["z-x"], "back-door"),
    "front door": (["x>z", "z>y"], ["x-y"], "front-door"),
    "front door with a covariate": (["z>x", "z>y", "x>m", "m>y"], ["x-y"], "front-door"),
    "front door whose mediator has a confounder": (["z>x", "z>m", "z>y", "x>m", "m>y"], ["x-y"], "ID"),
    "napkin": (["w>r", "r>x", "x>y"], ["w-x", "w-y"], "ID"),
    "M bias": (["x>y", "z>z2"], ["x-z", "z-y"], "none needed"),
    "M, the collider a cause of the outcome": (["x>y", "z>y"], ["x-z"], "back-door"),
    "chain confounded at every second step": (["x>a", "a>b", "b>y"], ["x-b", "a-y"], "ID"),
}


def _drawn(arrows, arcs):
    directed = [tuple(arrow.split(">")) for arrow in arrows]
    pairs = [tuple(arc.split("-")) for arc in arcs]
    nodes = list(nx.topological_sort(nx.DiGraph(directed)))
    return directed, pairs, nodes


@pytest.mark.parametrize("name", NOT_IDENTIFIED)
def test_effects_that_are_not_identified(name):
    directed, pairs, nodes = _drawn(*NOT_IDENTIFIED[name])
    graph = nx.DiGraph(directed)
    found = identify(graph, "x", "y", confounded=pairs)
    assert not found.identified
    assert not locally_told(directed, pairs, nodes, "x", "y", seed=5)
    hedge = found.witness
    assert hedge.inner < hedge.outer and hedge.roots <= hedge.inner
    assert "x" in hedge.outer - hedge.inner
    joined = nx.Graph(pairs)
    for forest in (hedge.outer, hedge.inner):  # a c-forest: joined by arcs, every node leads to a root
        inside, arcs = graph.subgraph(forest), nx.Graph(joined.subgraph(forest))
        arcs.add_nodes_from(forest)
        assert nx.is_connected(arcs)
        assert all(nx.descendants(inside, node) & hedge.roots for node in forest - hedge.roots)


@pytest.mark.parametrize("name", IDENTIFIED)
def test_effects_that_are_identified(name):
    *graph, strategy = IDENTIFIED[name]
    directed, pairs, nodes = _drawn(*graph)
    model = Discrete(directed, pairs, nodes, seed=11)
    found = model.identify("x", "y")
    assert (found.identified, found.strategy) == (True, strategy)
    assert close(found.evaluate(model.law()), model.effect(("x",), ("y",)))


# -- instruments --------------------------------------------------------------------------------


def test_an_instrument_gives_the_slope_of_a_linear_model():
    rng = np.random.default_rng(0)
    z, u, w = rng.integers(0, 3, (3, 50_000))
    x = z + u + w
    data = pd.DataFrame({"z": z + w, "w": w, "x": x, "y": 2 * x - 3 * u - w})
    graph = nx.DiGraph([("w", "z"), ("z", "x"), ("w", "x"), ("x", "y"), ("w", "y"), ("u", "x"), ("u", "y")])
    found = identify(graph, "x", "y", latent=["u"])
    assert (found.identified, found.strategy, found.instrument) == (False, "instrument (linear)", "z")
    assert found.adjustment == {"w"} and "linear" in found.assumptions[0]
    design = np.stack([np.ones(50_000), data["w"]], 1)
    left = {name: data[name] - design @ np.linalg.lstsq(design, data[name])[0] for name in ("z", "x", "y")}
    slope = (left["z"] @ left["y"]) / (left["z"] @ left["x"])
    assert float(found.evaluate(data)) == pytest.approx(slope, rel=1e-9)
    assert float(found.evaluate(data)) == pytest.approx(2.0, abs=0.05)
    assert found.estimand == "slope of y in do(x) = cov(z, y | w) / cov(z, x | w)"


@pytest.mark.parametrize("arcs", [[("z", "y")], []])
def test_no_instrument_where_it_is_confounded_or_idle(arcs):
    edges = [("z", "x"), ("x", "y")] if arcs else [("x", "y"), ("q", "z")]
    graph = nx.DiGraph(edges)
    graph.add_node("z")
    assert identify(graph, "x", "y", confounded=[("x", "y"), *arcs]).strategy is None


# -- what is written and read --------------------------------------------------------------------------------


def test_the_projection_of_latent_variables():
    """l between observed ones passes effects on; below an observed one it confounds its children."""
    graph = nx.DiGraph([("a", "l"), ("l", "b"), ("l", "m"), ("m", "c"), ("d", "m")])
    mixed = project(graph, {"l", "m"})
    assert mixed.parents == {"a": frozenset(), "d": frozenset(), "b": {"a"}, "c": {"a", "d"}}
    assert mixed.siblings == {"a": frozenset(), "d": frozenset(), "b": {"c"}, "c": {"b"}}


def test_the_formulas():
    graph = CausalGraph([("u", "x"), ("u", "y_1"), ("x", "m"), ("m", "y_1")])
    found = identify(graph, "x", "y_1", latent="u")
    assert found.estimand == "P(y_1 | do(x)) = Σ_m P(m | x) Σ_x′ P(y_1 | x′, m) P(x′)"
    assert found.latex == (
        r"P(\mathrm{y\_1} \mid \mathrm{do}(x)) = \sum_{m} P(m \mid x) \, "
        r"\sum_{x'} P(\mathrm{y\_1} \mid x', m) \, P(x')"
    )
    assert found._repr_latex_() == f"$\\displaystyle {found.latex}$"
    assert "front-door through m" in repr(found) and "assuming" in found._repr_html_()
    within = identify(nx.DiGraph([("z", "x"), ("z", "y"), ("w", "y"), ("x", "y")]), "x", "y", conditional="w")
    assert within.estimand == "P(y | do(x), w) = Σ_z P(y | x, z, w) P(z | w)"


def test_an_effect_that_is_not_there():
    found = identify(nx.DiGraph([("u", "x"), ("u", "y"), ("y", "z"), ("x", "z")]), "x", "y", latent=["u"])
    assert found.estimand == "P(y | do(x)) = P(y)" and "no effect" in found.assumptions[1]


def test_units_counts_and_arrays_give_the_same_answer():
    model = Discrete([("z", "x"), ("z", "y"), ("x", "y")], [], "zxy", seed=1)
    found, law = model.identify("x", "y"), model.law()
    counts = (law * 1_000).round().astype(int)
    series = counts.to_series()
    units = series.index.repeat(series.to_numpy()).to_frame(index=False)
    answers = [found.evaluate(joint) for joint in (counts, series, units)]
    for other in answers[1:]:
        np.testing.assert_allclose(other.values, answers[0].values, rtol=1e-12)
    assert answers[0].dims == ("x", "y")
    by_hand = sum((units[(units.x == 1) & (units.z == z)].y.mean()) * (units.z == z).mean() for z in (0, 1))
    assert float(answers[0].sel(x=1, y=1)) == pytest.approx(by_hand, rel=1e-12)


def test_no_answer_where_positivity_fails():
    units = pd.DataFrame({"z": [0, 0, 1, 1], "x": [0, 1, 0, 0], "y": [0, 1, 1, 1]})
    found = identify(nx.DiGraph([("z", "x"), ("z", "y"), ("x", "y")]), "x", "y").evaluate(units)
    assert np.isnan(found.sel(x=1).values).all()
    assert found.sel(x=0).values.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"treatment": "xx"}, UnknownNameError, "Did you mean"),
        ({"outcome": "q"}, UnknownNameError, "'q' is not a variable of the graph"),
        ({"outcome": "x"}, ArgumentError, "'x' is both treatment and outcome"),
        ({"latent": ["y"]}, ArgumentError, "'y' is both outcome and latent"),
        ({"conditional": ["x"]}, ArgumentError, "'x' is both treatment and conditional"),
        ({"treatment": []}, ArgumentError, "the treatment is empty"),
        ({"confounded": ["xy"]}, ArgumentError, "pairs of two variables"),
        ({"confounded": [("x", "x")]}, ArgumentError, "pairs of two variables"),
        ({"confounded": [("x", "q")]}, UnknownNameError, "'q'"),
        ({"graph": nx.DiGraph([("x", "y"), ("y", "x")])}, GraphError, "x → y → x"),
        ({"graph": nx.Graph([("x", "y")])}, ArgumentError, "networkx.DiGraph"),
    ],
)
def test_questions_that_cannot_be(options, error, words):
    asked = {"graph": nx.DiGraph([("xx1", "x"), ("x", "y")]), "treatment": "x", "outcome": "y", **options}
    with pytest.raises(error, match=words):
        identify(asked.pop("graph"), asked.pop("treatment"), asked.pop("outcome"), **asked)


@pytest.mark.parametrize(
    ("joint", "words"),
    [
        (pd.DataFrame({"x": [0, 1]}), "lacks y"),
        (pd.DataFrame({"x": [0.0, np.nan], "y": [0, 1]}), "column 'x' .* empty"),
        (np.ones((2, 2)), "a ndarray"),
        (xr.DataArray([[1.0, -1.0], [1.0, 1.0]], dims=["x", "y"]), "negative"),
        (xr.DataArray(np.zeros((2, 2)), dims=["x", "y"]), "zero everywhere"),
        (pd.DataFrame({"x": np.arange(8_000.0), "y": np.arange(8_000.0)}), "'x' takes 8000 values"),
    ],
)
def test_laws_that_are_none(joint, words):
    with pytest.raises(DataError, match=words):
        identify(nx.DiGraph([("x", "y")]), "x", "y").evaluate(joint)
