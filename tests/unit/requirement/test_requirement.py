"""Requirements: what parses, what prints, what is refused and how."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

import pcm
from pcm.errors import ArgumentError, GraphError, UnknownNameError
from pcm.requirement import Admissible, target_plan
from pcm.requirement.picture import ADMISSIBLE, BOTH, INADMISSIBLE

GRAPH = nx.DiGraph(
    [("A", "X"), ("E", "X"), ("A", "Z"), ("X", "Y"), ("Z", "Y"), ("A", "Y"), ("E", "Y"), ("Y", "W"), ("X", "Z")]
)
Requirement = pcm.Requirement


@pytest.mark.parametrize(
    ("admissible", "paths"),
    [
        ("none", []),
        ([], []),
        ("A -> Y", ["AY"]),
        (["A → X → Y"], ["AXY"]),
        ("A -> * -> Y", ["AXY", "AZY"]),
        ("A -> ... -> Y", ["AY", "AXY", "AZY", "AXZY"]),
        ("A -> … -> Z -> Y", ["AZY", "AXZY"]),
        ("A -> X -> ... -> Y", ["AXY", "AXZY"]),
        ("all", ["AY", "AXY", "AZY", "AXZY"]),
        (("A", "Y"), ["AY"]),
        ([("A", "X"), ("X", "Y")], ["AXY"]),
        ([("A", "X"), ("X", "Y"), ("X", "Z"), ("Z", "Y")], ["AXY", "AXZY"]),
        ([("A", "X", "Z", "Y"), "A -> Y"], ["AY", "AXZY"]),
    ],
)
def test_admissible_paths(admissible, paths):
    found = Requirement("A", outcome="Y", admissible=admissible)
    assert sorted("".join(path) for path in found.paths(GRAPH)) == sorted(paths)
    every = [tuple(p) for p in nx.all_simple_paths(GRAPH, "A", "Y")]
    assert sorted("".join(p) for p in every if found.admissible.admits(p)) == sorted(paths)


@pytest.mark.parametrize(
    "made",
    [
        Requirement("A", outcome="Y"),
        Requirement("A", outcome="Y", admissible=["A -> * -> Y", ("A", "Y")], reference=0.5, tolerance=1 / 3),
        Requirement({"X", "Z"}, outcome="Y", admissible="X -> Y", reference={"X": 2.0}),
        Requirement(pcm.TrainingRows(1.0, 1e-6)),
        pcm.environment_invariance("E", outcome="Y", admissible=[("E", "Y")]),
        pcm.environment_invariance(["X"], outcome="Y"),
    ],
    ids=range(6),
)
def test_repr_round_trips(made):
    again = eval(repr(made), {"Requirement": Requirement, "TrainingRows": pcm.TrainingRows})
    assert again == made
    assert hash(again) == hash(made)
    assert repr(again) == repr(made)


def test_an_empty_set_has_two_spellings_and_one_meaning():
    assert Requirement("A", outcome="Y", admissible=()) == Requirement("A", outcome="Y", admissible="none")
    for twice in (["none", "A -> Y"], ["all"]):
        with pytest.raises(ArgumentError, match="stands alone"):
            Requirement("A", outcome="Y", admissible=twice)
    for odd in (None, "", "A", 3, [3], [""], ["A ->"]):
        with pytest.raises(ArgumentError):
            Requirement("A", outcome="Y", admissible=odd)


def test_bad_requirements_are_refused_by_name():
    with pytest.raises(ArgumentError, match="'Y' is both source and outcome"):
        Requirement("Y", outcome="Y")
    with pytest.raises(ArgumentError, match="does not lead from A to Y"):
        Requirement("A", outcome="Y", admissible="E -> Y")
    with pytest.raises(ArgumentError, match="tolerance=-1"):
        Requirement("A", outcome="Y", tolerance=-1)
    with pytest.raises(ArgumentError, match="no path that may carry"):
        Requirement(pcm.TrainingRows(1.0), admissible="all")
    with pytest.raises(ArgumentError, match="epsilon=0"):
        pcm.TrainingRows(0)
    with pytest.raises(UnknownNameError, match="B' is not a source"):
        Requirement("A", outcome="Y", reference={"B": 0.0})
    with pytest.raises(ArgumentError, match=r"reference=\[0, 1\]"):
        Requirement("A", outcome="Y", reference=[0, 1])
    for number in (float("nan"), float("inf")):
        with pytest.raises(ArgumentError, match=r"reference=.*a finite number"):
            Requirement("A", outcome="Y", reference=number)
    with pytest.raises(ArgumentError, match="the name of what is predicted"):
        Requirement("A")


def test_numbers_of_numpy_are_numbers():
    made = Requirement("A", outcome="Y", tolerance=np.float32(0.5), reference=np.int64(1))
    assert repr(made) == "Requirement('A', outcome='Y', admissible='none', reference=1, tolerance=0.5)"


@pytest.mark.parametrize(
    ("requirement", "error", "words"),
    [
        (Requirement("B", outcome="Y"), UnknownNameError, "'B' is not a variable"),
        (Requirement("A", outcome="T"), UnknownNameError, "'T' is not a variable"),
        (Requirement("W", outcome="Y"), GraphError, "'W' is downstream of the outcome"),
        (Requirement("A", outcome="Y", admissible="A -> E -> Y"), GraphError, "Nearest: 'A -> "),
        (Requirement("A", outcome="Y", admissible="A -> X -> Q -> Y"), UnknownNameError, "'Q' is not a variable"),
        (Requirement("A", outcome="Y", admissible="A -> * -> * -> * -> Y"), GraphError, "Nearest"),
        (Requirement("A", outcome="Y", admissible=("A", "E")), GraphError, "A → E is not in the graph"),
        (Requirement("A", outcome="Y", admissible=("E", "X")), GraphError, "E → X lies on no path"),
        (Requirement("A", outcome="Y", admissible=("A", "X")), GraphError, "no path from A to Y is made of"),
        (Requirement("A", outcome="Y", admissible=[("A", "Y"), ("X", "Y")]), GraphError, "X → Y admit nothing"),
        (Requirement("A", outcome="Y", admissible=["A -> X -> Y", ("Z", "Y")]), GraphError, "Z → Y"),
    ],
    ids=range(11),
)
def test_what_is_not_in_the_graph_is_refused(requirement, error, words):
    with pytest.raises(error, match=words):
        requirement.check(GRAPH)


def test_pictures_colour_every_edge_by_the_paths_over_it():
    kept = Requirement("A", outcome="Y", admissible=["A -> X -> Y"])
    picture = kept.draw(GRAPH)
    coloured = {}
    for part in picture.split("<g><title>")[1:]:
        name = part.partition("</title>")[0]
        for colour in (ADMISSIBLE, INADMISSIBLE, BOTH):
            if f'stroke="{colour}"' in part:
                coloured[name] = colour
    assert coloured == {
        "A → X": BOTH,
        "X → Y": ADMISSIBLE,
        "X → Z": INADMISSIBLE,
        "A → Z": INADMISSIBLE,
        "Z → Y": INADMISSIBLE,
        "A → Y": INADMISSIBLE,
    }
    assert kept.on(GRAPH)._repr_svg_() == str(picture)


def test_path_states_are_read_lazily():
    """Sixty layers of two: 2**60 paths, and the walk ends."""
    edges = [(f"v{i}{a}", f"v{i + 1}{b}") for i in range(60) for a in "ab" for b in "ab"]
    graph = nx.DiGraph([("s", "v0a"), ("s", "v0b"), *edges, ("v60a", "y"), ("v60b", "y")])
    kept = Admissible.read("s -> ... -> v30a -> ... -> y", ("s",), "y")
    plan = target_plan(graph, [Requirement("s", outcome="y", admissible=kept)], "y")
    assert plan.witnesses
    assert len(plan.copies) < 400
