"""Targets against brute force: a source moves T along the paths that every source on them admits."""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest

import pcm
from pcm.requirement import Copy, find_path, target_plan
from tests.unit.requirement.random_graphs import random_case, random_graph

FIXTURE = nx.DiGraph([("A", "X"), ("E", "X"), ("A", "Z"), ("X", "Y"), ("Z", "Y"), ("A", "Y"), ("E", "Y")])
FAIR = pcm.Requirement("A", outcome="Y", admissible=["A -> X -> Y"])
ROBUST = pcm.Requirement("E", outcome="Y", admissible=["E -> Y"])


def slopes(plan, weights, source):
    """Effect of a change of a source (in every copy of it, never in its reference) on every copy."""
    found: dict[int, float] = {}
    for copy in plan.copies:
        total = 0.0
        for parent, feed in copy.feeds.items():
            total += weights[parent, copy.node] * found[id(feed)] if feed is not None else 0.0
        found[id(copy)] = 1.0 if copy.node == source else total
    return found[id(plan.target)]


def delivered(graph, requirements, source, outcome):
    for path in nx.all_simple_paths(graph, source, outcome):
        ends = [path[place:] for place in range(len(path) - 1)]
        if all(r.admissible.admits(end) for end in ends for r in requirements if end[0] in r.variables):
            yield path


def test_the_fixture():
    plan = target_plan(FIXTURE, [FAIR, ROBUST], "Y")
    assert {name: repr(feed) for name, feed in plan.inputs.items()} == {
        "X": "X[E']",
        "Z": "Z[A']",
        "A": "None",
        "E": "'E'",
    }
    assert [repr(copy) for copy in plan.replayed] == ["X[E']", "Z[A']", "Y[A', E']"]
    assert plan.witnesses == ()
    assert target_plan(FIXTURE, [], "Y").target.factual


def test_kites_have_a_witness():
    kite = nx.DiGraph([("A", "W"), ("W", "B"), ("W", "C"), ("B", "Y"), ("C", "Y")])
    plan = target_plan(kite, [pcm.Requirement("A", outcome="Y", admissible=["A -> W -> B -> Y"])], "Y")
    assert plan.witnesses == ("W",)
    copies = [copy for copy in plan.copies if copy.node == "W"]
    assert sorted(copy.factual for copy in copies) == [False, True]
    assert all(isinstance(copy, Copy) for copy in copies)


@pytest.mark.parametrize("seed", range(150))
def test_effects_on_the_target(seed):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, int(rng.integers(3, 8)))
    requirements, outcome = random_case(rng, graph)
    plan = target_plan(graph, requirements, outcome)
    weights = {edge: rng.normal() for edge in graph.edges}
    for source in plan.sources:
        brute = sum(
            np.prod([weights[edge] for edge in pairwise(path)])
            for path in delivered(graph, requirements, source, outcome)
        )
        assert slopes(plan, weights, source) == pytest.approx(brute, abs=1e-9)


@pytest.mark.parametrize("seed", range(100))
def test_paths_are_found_where_there_are_any(seed):
    rng = np.random.default_rng(1_000 + seed)
    graph = random_graph(rng, int(rng.integers(3, 8)))
    requirements, outcome = random_case(rng, graph)
    for r in requirements:
        others = [other for other in requirements if other is not r]
        for admitted in (False, True):
            for barred in (False, True):
                found = find_path(graph, r, others, admitted=admitted, barred=barred)
                brute = [
                    tuple(path)
                    for source in r.variables
                    for path in nx.all_simple_paths(graph, source, outcome)
                    if r.admissible.admits(path) == admitted
                    and (tuple(path) not in {tuple(p) for p in delivered(graph, others, source, outcome)}) == barred
                ]
                assert (found is None) == (not brute)
                assert found is None or found[0] in brute


def test_a_walked_requirement_travels_without_the_walk():
    """States are numbered as they are met: a copy numbers its own."""
    graph = nx.DiGraph([("a", "b"), ("b", "c"), ("a", "c"), ("c", "y"), ("b", "y"), ("a", "y")])
    kept = ["a -> ... -> c -> y", "a -> b -> y"]
    walked = pcm.Requirement("a", outcome="y", admissible=kept)
    closed = pcm.Requirement("c", outcome="y")
    first = find_path(graph, walked, [closed], admitted=True, barred=True)
    assert first is not None and first[0] in {("a", "c", "y"), ("a", "b", "c", "y")} and first[1:] == (closed, "c")
    target_plan(nx.DiGraph([("a", "c"), ("c", "y"), ("b", "y"), ("a", "b")]), [walked], "y")  # met in another order
    other = deepcopy(walked)
    assert "_met" in vars(walked.admissible) and "_met" not in vars(other.admissible)
    for r in (walked, other):
        found = {tuple(path) for path in nx.all_simple_paths(graph, "a", "y") if r.admissible.admits(path)}
        assert found == {("a", "c", "y"), ("a", "b", "c", "y"), ("a", "b", "y")}
        assert find_path(graph, r, [closed], admitted=True, barred=False)[0] == ("a", "b", "y")
        assert find_path(graph, r, [closed], admitted=False, barred=True) is None
