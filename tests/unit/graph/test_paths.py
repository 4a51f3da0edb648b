"""Paths, separation and adjustment against textbook answers and brute force."""

from __future__ import annotations

from itertools import combinations

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcm.errors import ArgumentError, GraphError, UnknownNameError
from pcm.graph import (
    CausalGraph,
    ancestors,
    as_path,
    backdoor_sets,
    d_separated,
    descendants,
    directed_paths,
    is_adjustment,
    is_backdoor_adjustment,
    minimal_adjustment,
    parents,
)

# Pearl, Causality (2009), Figure 3.4: effect of Xi on Xj
PEARL = CausalGraph(
    [
        ("X1", "X3"),
        ("X1", "X4"),
        ("X2", "X4"),
        ("X2", "X5"),
        ("X3", "Xi"),
        ("X4", "Xi"),
        ("X4", "Xj"),
        ("X5", "Xj"),
        ("Xi", "X6"),
        ("X6", "Xj"),
    ]
)
M_BIAS = CausalGraph([("U1", "T"), ("U1", "M"), ("U2", "M"), ("U2", "Y"), ("T", "Y")])
FRONT_DOOR = CausalGraph([("U", "T"), ("U", "Y"), ("T", "M"), ("M", "Y")])
# Pearl & Mackenzie, The Book of Why, Figure 7.5: W → Z → X → Y, with U1: W, X and U2: W, Y
NAPKIN = CausalGraph([("W", "Z"), ("Z", "X"), ("X", "Y"), ("U1", "W"), ("U1", "X"), ("U2", "W"), ("U2", "Y")])


@st.composite
def dags(draw, largest: int = 6) -> CausalGraph:
    size = draw(st.integers(2, largest))
    pairs = list(combinations(range(size), 2))
    kept = draw(st.lists(st.sampled_from(pairs), unique=True))
    graph = CausalGraph()
    graph.add_nodes_from(range(size))
    graph.add_edges_from(kept)
    return graph


def test_directed_paths_shortest_first():
    assert directed_paths(PEARL, "X1", "Xj") == [
        ("X1", "X4", "Xj"),
        ("X1", "X3", "Xi", "X6", "Xj"),
        ("X1", "X4", "Xi", "X6", "Xj"),
    ]
    assert directed_paths(PEARL, "Xj", "X1") == []


@given(dags())
@settings(max_examples=60, deadline=None)
def test_directed_paths_are_networkx_simple_paths(graph):
    last = len(graph) - 1
    expected = {tuple(path) for path in nx.all_simple_paths(graph, 0, last)}
    found = directed_paths(graph, 0, last)
    assert set(found) == expected
    assert len(found) == len(expected)


@given(dags(), st.data())
@settings(max_examples=60, deadline=None)
def test_ancestry_is_networkx_ancestry(graph, data):
    names = data.draw(st.sets(st.sampled_from(sorted(graph)), min_size=1))
    for ours, theirs in ((ancestors, nx.ancestors), (descendants, nx.descendants)):
        expected = set().union(*(theirs(graph, name) for name in names))
        assert ours(graph, names) == expected - names
        assert ours(graph, names, include_self=True) == expected | names


def test_parents_of_one_and_several():
    assert parents(PEARL, "Xi") == {"X3", "X4"}
    assert parents(PEARL, ["Xi", "Xj"], include_self=True) == {"X3", "X4", "X5", "X6", "Xi", "Xj"}
    assert parents(PEARL, ["Xi", "X6"]) == {"X3", "X4"}
    assert parents(PEARL, "X1") == set()


def test_a_tuple_that_is_a_node_is_one_name():
    graph = nx.DiGraph([(("x", 1), "y")])
    assert descendants(graph, ("x", 1)) == {"y"}


def test_d_separation_on_textbook_structures():
    chain, fork = nx.DiGraph([("a", "b"), ("b", "c")]), nx.DiGraph([("b", "a"), ("b", "c")])
    for graph in (chain, fork):
        assert not d_separated(graph, "a", "c")
        assert d_separated(graph, "a", "c", "b")
    collider = nx.DiGraph([("a", "b"), ("c", "b"), ("b", "d")])
    assert d_separated(collider, "a", "c")
    assert not d_separated(collider, "a", "c", "b")
    assert not d_separated(collider, "a", "c", {"d"})
    assert d_separated(PEARL, "X1", "X2")
    assert not d_separated(PEARL, "X1", "X2", "X4")
    assert d_separated(PEARL, ["X3", "X1"], ["X5", "X2"])
    assert not d_separated(PEARL, "X3", "X5", {"Xj"})


def test_pearl_figure_3_4():
    # the book: {X3, X4} and {X4, X5} meet the criterion, {X4} does not, {X6} does not
    for good in ({"X3", "X4"}, {"X4", "X5"}, {"X1", "X4"}, {"X2", "X4"}):
        assert is_backdoor_adjustment(PEARL, "Xi", "Xj", good)
    for bad in ({"X4"}, {"X6"}, {"X3"}, set(), {"X3", "X4", "X6"}):
        assert not is_backdoor_adjustment(PEARL, "Xi", "Xj", bad)
    assert backdoor_sets(PEARL, "Xi", "Xj") == [{"X1", "X4"}, {"X3", "X4"}, {"X4", "X2"}, {"X4", "X5"}]
    assert minimal_adjustment(PEARL, "Xi", "Xj") in backdoor_sets(PEARL, "Xi", "Xj")
    assert minimal_adjustment(PEARL, "Xi", "Xj", observed=["X4", "X5", "X6"]) == {"X4", "X5"}
    assert minimal_adjustment(PEARL, "Xi", "Xj", observed=["X3", "X5"]) is None
    assert backdoor_sets(PEARL, "Xi", "Xj", max_size=1) == []


def test_m_bias_wants_nothing_and_is_spoilt_by_the_collider():
    assert is_backdoor_adjustment(M_BIAS, "T", "Y", ())
    assert not is_backdoor_adjustment(M_BIAS, "T", "Y", "M")
    assert is_backdoor_adjustment(M_BIAS, "T", "Y", {"M", "U1"})
    assert minimal_adjustment(M_BIAS, "T", "Y") == set()
    assert backdoor_sets(M_BIAS, "T", "Y") == [set()]


@pytest.mark.parametrize(("graph", "treatment", "hidden"), [(FRONT_DOOR, "T", {"U"}), (NAPKIN, "X", {"U1", "U2"})])
def test_no_adjustment_when_the_confounder_is_hidden(graph, treatment, hidden):
    observed = set(graph) - hidden - {treatment, "Y"}
    assert minimal_adjustment(graph, treatment, "Y", observed=observed) is None
    assert backdoor_sets(graph, treatment, "Y", observed=observed) == []
    assert not any(
        is_adjustment(graph, treatment, "Y", chosen)
        for size in range(len(observed) + 1)
        for chosen in combinations(observed, size)
    )


def test_adjustment_criterion_is_wider_than_the_back_door():
    graph = CausalGraph([("T", "Y"), ("T", "S"), ("C", "T"), ("C", "Y")])
    assert is_adjustment(graph, "T", "Y", {"C", "S"})
    assert not is_backdoor_adjustment(graph, "T", "Y", {"C", "S"})
    # below the outcome is forbidden by both
    graph.add_edge("Y", "D")
    assert not is_adjustment(graph, "T", "Y", {"C", "D"})


def test_joint_treatments_need_only_proper_paths():
    # T1 → T2 → Y and T1 ← C → T2, C → Y: C confounds T2
    graph = CausalGraph([("T1", "T2"), ("T2", "Y"), ("C", "T2"), ("C", "Y"), ("C", "T1")])
    assert is_adjustment(graph, ["T1", "T2"], "Y", {"C"})
    assert not is_adjustment(graph, ["T1", "T2"], "Y", ())
    assert minimal_adjustment(graph, ["T1", "T2"], "Y") == {"C"}


def test_an_outcome_that_causes_the_treatment_has_no_adjustment():
    graph = CausalGraph([("Y", "T")])
    assert minimal_adjustment(graph, "T", "Y") is None
    assert backdoor_sets(graph, "T", "Y") == []


def _blocks_every_backdoor_path(graph: nx.DiGraph, t: int, y: int, z: set[int]) -> bool:
    """Pearl's definition, path by path, independent of any d-separation routine."""
    for path in nx.all_simple_paths(graph.to_undirected(), t, y):
        if not graph.has_edge(path[1], t):
            continue
        blocked = False
        for a, b, c in zip(path, path[1:], path[2:], strict=False):
            collider = graph.has_edge(a, b) and graph.has_edge(c, b)
            opened = bool(z & (nx.descendants(graph, b) | {b}))
            blocked |= (not opened) if collider else (b in z)
        if not blocked:
            return False
    return True


@given(dags(), st.data())
@settings(max_examples=80, deadline=None)
def test_back_door_sets_are_the_minimal_ones_by_definition(graph, data):
    t, y = data.draw(st.permutations(sorted(graph)))[:2]
    others = sorted(set(graph) - {t, y})
    valid = [
        set(z)
        for size in range(len(others) + 1)
        for z in combinations(others, size)
        if not set(z) & nx.descendants(graph, t) and _blocks_every_backdoor_path(graph, t, y, set(z))
    ]
    for size in range(len(others) + 1):
        for z in combinations(others, size):
            assert is_backdoor_adjustment(graph, t, y, z) == (set(z) in valid)
    minimal = [z for z in valid if not any(other < z for other in valid)]
    found = backdoor_sets(graph, t, y)
    assert sorted(map(sorted, found)) == sorted(map(sorted, minimal))
    one = minimal_adjustment(graph, t, y)
    assert (one is None) == (not valid)
    assert one is None or one in minimal


def test_paths_are_checked_against_the_graph():
    assert as_path(PEARL, "X1 -> X4→Xj") == ("X1", "X4", "Xj")
    assert as_path(PEARL, ["X1", "X4"]) == ("X1", "X4")
    with pytest.raises(GraphError, match="no edge X1 → Xj") as caught:
        as_path(PEARL, "X1 -> Xj")
    assert vars(caught.value)["edge"] == ("X1", "Xj")
    with pytest.raises(UnknownNameError):
        as_path(PEARL, "X1 -> X44")
    with pytest.raises(ArgumentError, match="not a path"):
        as_path(PEARL, "X1")


def test_wrong_names_and_overlaps_are_errors():
    for call in (
        lambda: parents(PEARL, "X9"),
        lambda: ancestors(PEARL, ["X1", "X9"]),
        lambda: descendants(PEARL, "X9"),
        lambda: directed_paths(PEARL, "X9", "Xj"),
        lambda: d_separated(PEARL, "X1", "X2", {"X9"}),
        lambda: minimal_adjustment(PEARL, "Xi", "X9"),
    ):
        with pytest.raises(UnknownNameError, match="'X9' is not a variable of the graph"):
            call()
    with pytest.raises(ArgumentError, match="disjoint"):
        d_separated(PEARL, "X1", "X2", "X1")
    with pytest.raises(ArgumentError, match="treatment and adjustment both name Xi"):
        is_backdoor_adjustment(PEARL, "Xi", "Xj", {"Xi"})
    with pytest.raises(ArgumentError, match="the outcome is empty"):
        minimal_adjustment(PEARL, "Xi", ())
    with pytest.raises(ArgumentError, match="both are 'Xi'"):
        directed_paths(PEARL, "Xi", "Xi")
