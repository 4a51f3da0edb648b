"""Direct, indirect, path-specific effects and probabilities of causation, against closed forms and enumeration."""

from __future__ import annotations

import itertools
import math

import networkx as nx
import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from hypothesis import given, settings

import pcm
from tests.laws.random_programs import linears

NOISE = {"t": 1.0, "w": 1.0, "m": 0.7, "y": 0.5}


def linear():
    t = pyro.sample("t", dist.Normal(0.0, 1.0))
    w = pyro.sample("w", dist.Normal(0.5 * t, 1.0))
    m = pyro.sample("m", dist.Normal(2.0 * t + 0.7 * w, 0.7))
    pyro.sample("y", dist.Normal(3.0 * m + t + 1.5 * w, 0.5))


@pytest.fixture(scope="module")
def model():
    scm = pcm.SCM(linear)
    return scm, scm.sample(300, seed=0)


@pytest.mark.parametrize("with_data", [False, True])
@pytest.mark.parametrize(
    ("ask", "truth"),
    [
        (lambda s, o: pcm.cde(s, "t", "y", mediators={"m": 0.3}, **o), 1 + 0.5 * 1.5),
        (lambda s, o: pcm.cde(s, "t", "y", mediators={"m": 0.3, "w": -1.0}, **o), 1.0),
        (lambda s, o: pcm.nde(s, "t", "y", **o), 1.0),
        (lambda s, o: pcm.nie(s, "t", "y", **o), 3 * (2 + 0.35) + 0.75),
        (lambda s, o: pcm.nde(s, "t", "y", mediators=["m"], **o), 1.75),
        (lambda s, o: pcm.nie(s, "t", "y", mediators=["w"], **o), 0.5 * (1.5 + 2.1)),
        (lambda s, o: pcm.path_effect(s, "t", "y", paths=["t -> y"], **o), 1.0),
        (lambda s, o: pcm.path_effect(s, "t", "y", paths=["t → m → y"], **o), 6.0),
        (lambda s, o: pcm.path_effect(s, "t", "y", paths=["t -> w -> m -> y"], **o), 0.5 * 0.7 * 3),
        (lambda s, o: pcm.path_effect(s, "t", "y", paths=["t -> w -> y", "t -> y"], **o), 1.75),
    ],
)
def test_linear_effects_are_products_of_coefficients(model, ask, truth, with_data):
    scm, frame = model
    options = {"treated": 2.0, "control": 0.5, "seed": 0, "units": 50, "data": frame if with_data else None}
    assert abs(float(ask(scm, options)) - 1.5 * truth) <= 1e-12


@given(linears())
@settings(max_examples=25, deadline=None)
def test_random_linear_programs_agree_with_the_algebra(linear):
    """Natural and path effects are sums of products of coefficients, of fresh units and of each given one."""
    names, last = linear.names, len(linear.names) - 1
    graph = nx.DiGraph([(names[p], names[c]) for c, p in zip(*np.nonzero(linear.coefficients), strict=True)])
    if not (graph.has_node(names[0]) and graph.has_node(names[last]) and nx.has_path(graph, names[0], names[last])):
        return
    scm = pcm.SCM(linear.program())
    paths = [tuple(path) for path in nx.all_simple_paths(graph, names[0], names[last])]
    along = {
        path: math.prod(linear.coefficients[names.index(b), names.index(a)] for a, b in itertools.pairwise(path))
        for path in paths
    }
    size = max(1.0, np.abs(linear.counterfactual(np.zeros((1, last + 1)), {0: np.array([2.0])})).max())
    options = {"treated": 2.0, "control": -0.5, "seed": 0, "units": 20}
    direct = along.get((names[0], names[last]), 0.0)
    truths = [
        (lambda o: pcm.ate(scm, names[0], names[last], **o), sum(along.values())),
        (lambda o: pcm.nde(scm, names[0], names[last], **o), direct),
        (lambda o: pcm.nie(scm, names[0], names[last], **o), sum(along.values()) - direct),
        (lambda o: pcm.path_effect(scm, names[0], names[last], paths=[" -> ".join(paths[0])], **o), along[paths[0]]),
    ]
    people = scm.sample(10, seed=0).rename(index=lambda place: f"unit {place}")
    for ask, truth in truths:
        for data in (None, people):
            found = ask({**options, "data": data})
            assert abs(float(found) - 2.5 * truth) <= 1e-12 * size
            assert np.abs(found.units.mean - 2.5 * truth).max() <= 1e-11 * size
            assert len(found.units) == (20 if data is None else 10)
    assert list(found.units.index) == list(people.index)


def test_path_effects_of_all_paths_add_up_to_the_total_effect(model):
    scm, frame = model
    every = ["t -> y", "t -> w -> y", "t -> m -> y", "t -> w -> m -> y"]
    total = float(pcm.ate(scm, "t", "y", data=frame))
    assert abs(float(pcm.path_effect(scm, "t", "y", paths=every, data=frame)) - total) <= 1e-12
    assert abs(sum(float(pcm.path_effect(scm, "t", "y", paths=[p], data=frame)) for p in every) - total) <= 1e-12


def test_a_recanting_witness_is_named_and_only_where_there_is_one(model):
    scm, frame = model
    found = pcm.path_effect(scm, "t", "y", paths=["t -> w -> y"], data=frame)
    assert any("recanting witness: w" in note for note in found.account.notes)
    assert "model-dependent" in found.account.identification
    clean = pcm.path_effect(scm, "t", "y", paths=["t -> m -> y"], data=frame)
    assert not any("recanting" in note for note in clean.account.notes)


def outcome(t, m):
    return 0.1 + 0.3 * m + 0.2 * t + 0.3 * m * t


def binary():
    t = pyro.sample("t", dist.Bernoulli(0.5))
    m = pyro.sample("m", dist.Bernoulli(0.2 + 0.5 * t))
    pyro.sample("y", dist.Bernoulli(outcome(t, m)))


def test_discrete_mediation_is_the_mediation_formula():
    """Pearl's mediation formula: exact, and of drawn and given units within five standard errors."""
    scm = pcm.SCM(binary)
    direct = sum(p * (outcome(1, m) - outcome(0, m)) for m, p in ((0, 0.8), (1, 0.2)))
    indirect = 0.5 * (outcome(0, 1) - outcome(0, 0))
    for effect, truth in ((pcm.nde, direct), (pcm.nie, indirect)):
        assert abs(float(effect(scm, "t", "y")) - truth) <= 1e-12
        drawn = effect(scm, "t", "y", seed=0, units=40_000).units.mean
        assert abs(drawn.mean() - truth) <= 5 * drawn.std() / 200
        given = effect(scm, "t", "y", data=scm.sample(4_000, seed=1), seed=2)
        assert abs(float(given) - truth) <= 5 * 0.5 / np.sqrt(4_000)


def test_a_recanting_witness_shares_its_noise_unless_its_coupling_is_independent():
    """Both copies of w reach y; by enumeration of w's quantile noise: .080 shared, .0584 with a noise for each copy."""

    def career():
        t = pyro.sample("t", dist.Bernoulli(0.5))
        w = pyro.sample("w", dist.Bernoulli(0.2 + 0.5 * t))
        m = pyro.sample("m", dist.Bernoulli(0.1 + 0.6 * w))
        pyro.sample("y", dist.Bernoulli(0.1 + 0.1 * w + 0.1 * m + 0.6 * w * m))

    for coupling, truth in (("monotone", 0.08), ("independent", 0.56 * 0.16 - 0.06 * 0.52)):
        scm = pcm.SCM(career, couplings={"w": coupling})
        fresh = pcm.path_effect(scm, "t", "y", paths=["t -> w -> y"], units=100_000, seed=0)
        assert abs(float(fresh) - truth) <= 1e-12 and fresh.account.rung == 3
        drawn = fresh.units.mean
        assert abs(drawn.mean() - truth) <= 5 * drawn.std() / 100_000**0.5
        given = pcm.path_effect(scm, "t", "y", paths=["t -> w -> y"], data=scm.sample(8_000, seed=1), seed=2)
        assert abs(float(given) - truth) <= 0.012


def test_berkeley_admissions_direction():
    """Bickel, Hammel & O'Connell 1975, six departments: women are admitted less overall, not within departments."""
    applied = {"male": [825, 560, 325, 417, 191, 373], "female": [108, 25, 593, 375, 393, 341]}
    admitted = {"male": [512, 353, 120, 138, 53, 22], "female": [89, 17, 202, 131, 94, 24]}
    men, women = (np.array(applied[sex], dtype=float) for sex in ("male", "female"))
    rates = np.array([admitted["male"], admitted["female"]]) / np.array([men, women])
    shares = torch.tensor(np.array([men / men.sum(), women / women.sum()]))
    table = torch.tensor(rates)

    def berkeley():
        female = pyro.sample("female", dist.Bernoulli(0.405))
        dept = pyro.sample("dept", dist.Categorical(shares[female.long()]))
        pyro.sample("admitted", dist.Bernoulli(table[female.long(), dept]))

    scm = pcm.SCM(berkeley)
    total = (women / women.sum() * rates[1]).sum() - (men / men.sum() * rates[0]).sum()
    direct = (men / men.sum() * (rates[1] - rates[0])).sum()
    reverse = (women / women.sum() * (rates[0] - rates[1])).sum()
    assert (round(total, 5), round(direct, 5)) == (-0.14165, 0.07097)
    assert abs(float(pcm.ate(scm, "female", "admitted")) - total) <= 1e-12
    assert abs(float(pcm.nde(scm, "female", "admitted")) - direct) <= 1e-12
    back = pcm.nde(scm, "female", "admitted", treated=0, control=1)
    assert abs(float(back) - reverse) <= 1e-12


def test_probabilities_of_causation_are_the_monotone_closed_forms():
    scm = pcm.SCM(binary)
    frame = pd.DataFrame(list(itertools.product([0.0, 1.0], repeat=3)), columns=["t", "m", "y"])
    full = scm.counterfactual(frame, worlds={"on": {"t": 1.0}, "off": {"t": 0.0}})
    necessary = frame["t"].eq(1) & frame["y"].eq(1)
    sufficient = frame["t"].eq(0) & frame["y"].eq(0)
    pn = pcm.probability_of_necessity(scm, "t", "y", data=frame).units
    assert np.allclose(pn.mean, 1 - full.probability("y", 1, "off")[necessary], atol=1e-12)
    ps = pcm.probability_of_sufficiency(scm, "t", "y", data=frame).units
    assert np.allclose(ps.mean, full.probability("y", 1, "on")[sufficient], atol=1e-12)
    weights = np.exp(scm.log_prob(frame))
    pns = weights[necessary] @ np.asarray(pn.mean) + weights[sufficient] @ np.asarray(ps.mean)
    found = pcm.probability_of_necessity_and_sufficiency(scm, "t", "y")
    assert abs(float(found) - pns) <= 1e-12 and found.standard_error == 0
    drawn = pcm.probability_of_necessity_and_sufficiency(scm, "t", "y", seed=0, units=40_000).units.mean
    assert abs(drawn.mean() - pns) <= 5 * drawn.std() / 200
    bound = pcm.bounds(scm, "PNS(t, y)")
    assert bound.low - 1e-9 <= pns <= bound.high + 1e-9


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda s: pcm.path_effect(s, "t", "y", paths=["t -> z -> y"]), "'z'"),
        (lambda s: pcm.path_effect(s, "t", "y", paths=["t -> m"]), "does not lead"),
        (lambda s: pcm.path_effect(s, "t", "y", paths="t -> y"), "list"),
        (lambda s: pcm.path_effect(s, "t", "y", paths=["t -> m -> w -> y"]), "no edge"),
        (lambda s: pcm.nde(s, "t", "y", mediators=["y"]), "no mediator"),
        (lambda s: pcm.nie(s, "t", "y", mediators=["q"]), "'q'"),
        (lambda s: pcm.cde(s, "t", "y", mediators={}), "mediator"),
        (lambda s: pcm.cde(s, "t", "y", mediators={"t": 1.0}), "neither"),
        (lambda s: pcm.probability_of_necessity(s, "t", "y"), "continuous"),
    ],
)
def test_bad_questions_are_refused_by_name(model, ask, words):
    with pytest.raises(pcm.PCMError, match=words):
        ask(model[0])


def test_paths_whose_edges_make_up_another_path_are_refused():
    def kite():
        t = pyro.sample("t", dist.Normal(0.0, 1.0))
        a = pyro.sample("a", dist.Normal(t, 1.0))
        b = pyro.sample("b", dist.Normal(t, 1.0))
        c = pyro.sample("c", dist.Normal(a + b, 1.0))
        d = pyro.sample("d", dist.Normal(c, 1.0))
        pyro.sample("y", dist.Normal(c + d, 1.0))

    with pytest.raises(pcm.PCMError, match="also make up"):
        pcm.path_effect(pcm.SCM(kite), "t", "y", paths=["t -> a -> c -> y", "t -> b -> c -> d -> y"])
