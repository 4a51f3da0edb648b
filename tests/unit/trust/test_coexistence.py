"""Verdicts against brute force, and the kinds one by one."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

import pcm
from pcm.trust.conflicts import Coexistence
from tests.unit.requirement.random_graphs import random_case, random_graph
from tests.unit.trust.brute_force import BruteForce

Requirement = pcm.Requirement


def compare(seed: int) -> bool:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, int(rng.integers(3, 7)))
    requirements, outcome = random_case(rng, graph, most=4)
    if rng.random() < 0.3:
        source = str(rng.choice(list(graph)[:-1]))
        given = "outcome" if rng.random() < 0.5 else None
        requirements.append(pcm.Independence(source, outcome=outcome, given=given))
        if rng.random() < 0.5:
            requirements.append(pcm.Independence(source, outcome=outcome, given=None if given else "outcome"))
    every = list(graph)[:-1]
    inputs = every if rng.random() < 0.5 else [name for name in every if rng.random() < 0.7]
    found = Coexistence(graph, requirements, outcome, inputs)
    brute = BruteForce(rng, graph, requirements, outcome, inputs)
    everything = tuple(range(len(requirements)))
    assert found.feasible == brute.feasible(everything), seed
    if not found.feasible:
        core = found.core
        assert not brute.feasible(core), seed
        assert all(brute.feasible(tuple(i for i in core if i != gone)) for gone in core if len(core) > 1), seed
        assert found.conflicts[0].fatal
    else:
        assert not any(conflict.fatal for conflict in found.conflicts)
    return found.feasible


def test_verdicts_agree_with_brute_force():
    feasible = [compare(seed) for seed in range(300)]
    assert 0.15 < np.mean(feasible) < 0.85


@pytest.mark.slow
def test_ten_thousand_verdicts_agree_with_brute_force():
    for seed in range(10_000):
        compare(seed)


GRAPH = nx.DiGraph([("A", "X"), ("E", "X"), ("A", "Z"), ("X", "Y"), ("Z", "Y"), ("A", "Y"), ("E", "Y")])


def test_contradictions_name_the_path():
    pair = [Requirement("A", outcome="Y", admissible="A -> X -> Y"), Requirement("A", outcome="Y")]
    found = pcm.check(GRAPH, pair)
    assert not found.feasible
    assert found.kinds == ("contradiction",)
    assert found.core == tuple(pair)
    assert "keeps A → X → Y" in found.conflicts[0].certificate
    assert found.price is None


def test_what_one_closes_the_other_cannot_keep():
    found = pcm.check(GRAPH, [Requirement("A", outcome="Y", admissible="A -> X -> Y"), Requirement("X", outcome="Y")])
    assert (found.feasible, found.kinds) == (False, ("subsumption",))


def test_a_mediator_that_is_closed_makes_its_causes_redundant():
    chain = nx.DiGraph([("A", "X"), ("X", "Y"), ("Z", "Y")])
    found = pcm.check(chain, [Requirement("A", outcome="Y"), Requirement("X", outcome="Y")])
    assert found.feasible
    assert found.kinds == ("subsumption",)
    assert found.conflicts[0].core == (Requirement("A", outcome="Y"), Requirement("X", outcome="Y"))
    assert "redundant" in found.conflicts[0].certificate


def test_only_constants_are_left_where_nothing_else_says_anything():
    chain = nx.DiGraph([("A", "X"), ("X", "Y")])
    assert pcm.check(chain, [Requirement("A", outcome="Y")]).feasible  # X less its part of A remains
    found = pcm.check(chain, [Requirement("A", outcome="Y"), Requirement("X", outcome="Y")])
    assert (found.feasible, found.conflicts[0].kind) == (False, "subsumption")
    assert "constant" in found.conflicts[0].certificate


def test_kites_have_a_recanting_witness():
    kite = nx.DiGraph([("A", "W"), ("W", "B"), ("W", "C"), ("B", "Y"), ("C", "Y")])
    found = pcm.check(kite, [Requirement("A", outcome="Y", admissible="A -> W -> B -> Y")])
    assert found.feasible
    assert found.kinds == ("recanting witness",)
    assert "W twice" in found.conflicts[0].certificate
    assert pcm.check(kite, [Requirement("A", outcome="Y", admissible="all")]).kinds == ()


def test_hidden_sources():
    both = [
        Requirement("A", outcome="Y", admissible="A -> X -> Y"),
        Requirement("E", outcome="Y", admissible="E -> Y"),
    ]
    found = pcm.check(GRAPH, both, hidden=["E"])
    assert found.feasible
    assert found.kinds == ("informational",)
    found = pcm.check(GRAPH, both, inputs=["X"])
    assert not found.feasible
    assert found.conflicts[0].kind == "informational"


def test_parity_and_odds_leave_only_constants():
    asked = [pcm.demographic_parity("A", outcome="Y"), pcm.equalized_odds("A", outcome="Y")]
    found = pcm.check(GRAPH, asked)
    assert (found.feasible, found.core) == (False, tuple(asked))
    assert found.conflicts[0].kind == "contradiction"
    assert all(pcm.check(GRAPH, [one]).feasible for one in asked)
    apart = nx.DiGraph([("A", "B"), ("X", "Y"), ("A", "X2"), ("X2", "X3")])  # equal base rates: A and Y independent
    assert pcm.check(apart, asked).feasible


def test_training_rows_are_a_statistical_matter():
    asked = [Requirement("A", outcome="Y"), Requirement(pcm.TrainingRows(1.0, 1e-6))]
    found = pcm.check(GRAPH, asked)
    assert found.kinds == ("statistical",)
    assert "ε = 1" in found.conflicts[0].certificate
