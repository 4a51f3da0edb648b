"""`CausalGraph`: a networkx graph that stays acyclic, and what it says about its variables."""

from __future__ import annotations

import copy

import networkx as nx
import pytest

from pcm.errors import ArgumentError, GraphError, UnknownNameError
from pcm.graph import CausalGraph


@pytest.fixture
def clinic() -> CausalGraph:
    graph = CausalGraph(name="clinic")
    graph.add_node("age", kind="covariate")
    graph.add_node("site")
    graph.add_edges_from([("age", "labs"), ("site", "labs"), ("labs", "readmit")])
    graph.add_edge("site", "readmit", inert=True)
    graph.add_node("score", kind="deterministic")
    graph.add_edge("labs", "score")
    return graph


def test_reads_kinds_and_marks(clinic):
    assert [clinic.kind(name) for name in clinic] == [
        "covariate",
        "variable",
        "variable",
        "variable",
        "deterministic",
    ]
    assert clinic.inert_edges == [("site", "readmit")]
    assert clinic.is_inert("site", "readmit")
    assert not clinic.is_inert("labs", "readmit")
    assert not clinic.is_intervened("labs")
    assert set(clinic.edges) - set(clinic.without_inert().edges) == {("site", "readmit")}


@pytest.mark.parametrize(
    ("edges", "cycle"),
    [
        ([("a", "b"), ("b", "c"), ("c", "a")], {"a", "b", "c"}),
        ([("a", "a")], {"a"}),
        ([("x", "y"), ("p", "q"), ("q", "p")], {"p", "q"}),
    ],
)
def test_a_cycle_is_named(edges, cycle):
    with pytest.raises(GraphError, match="cycle") as caught:
        CausalGraph(edges)
    found = vars(caught.value)["cycle"]
    assert set(found) == cycle
    assert found[0] == found[-1]
    graph = CausalGraph(edges[:-1])
    with pytest.raises(GraphError):
        graph.add_edge(*edges[-1])
    with pytest.raises(GraphError):
        CausalGraph(nx.DiGraph(edges))


def test_a_refused_edge_leaves_the_graph_as_it_was(clinic):
    before = nx.to_dict_of_dicts(clinic)
    with pytest.raises(GraphError, match="labs → readmit → labs"):
        clinic.add_edge("readmit", "labs")
    with pytest.raises(GraphError):
        clinic.add_edges_from([("new", "age"), ("readmit", "age")])
    assert nx.to_dict_of_dicts(clinic) == before
    clinic.add_edge("labs", "readmit", inert=True)  # updating an edge is no cycle
    assert clinic.is_inert("labs", "readmit")


def test_networkx_operations_keep_class_and_marks(clinic):
    for derived in (
        clinic.copy(),
        clinic.subgraph(["age", "site", "labs", "readmit"]),
        clinic.subgraph(["site", "readmit"]).copy(),
        clinic.reverse(),
        clinic.to_directed(),
        clinic.edge_subgraph([("site", "readmit")]),
        nx.relabel_nodes(clinic, {"age": "years"}),
        copy.deepcopy(clinic),
    ):
        assert type(derived) is CausalGraph
        assert repr(derived)
        assert derived.kind("site") == "variable"
        assert "<svg" in derived.draw()
    assert clinic.reverse().is_inert("readmit", "site")
    assert clinic.subgraph(["age"]).kind("age") == "covariate"
    assert type(clinic.to_undirected()) is nx.Graph
    assert nx.transitive_closure(clinic).has_edge("age", "readmit")
    assert nx.utils.graphs_equal(CausalGraph(clinic), clinic)


def test_do_cuts_incoming_edges_of_a_copy(clinic):
    done = clinic.do("labs", "readmit")
    assert list(done.in_edges(["labs", "readmit"])) == []
    assert done.has_edge("labs", "score")
    assert done.is_intervened("labs")
    assert clinic.has_edge("age", "labs")
    assert not clinic.is_intervened("labs")


def test_wrong_names_and_kinds_are_errors(clinic):
    with pytest.raises(UnknownNameError, match="Did you mean 'labs'"):
        clinic.do("lab")
    with pytest.raises(UnknownNameError, match="of the graph"):
        clinic.kind("income")
    with pytest.raises(GraphError, match="age → site is not an edge"):
        clinic.is_inert("age", "site")
    with pytest.raises(ArgumentError, match="'latent'"):
        clinic.add_node("u", kind="latent")
    with pytest.raises(ArgumentError, match="'latent'"):
        clinic.add_nodes_from([("u", {"kind": "latent"})])
    with pytest.raises(ArgumentError, match="'latent'"):
        clinic.add_nodes_from(["u"], kind="latent")
    assert "u" not in clinic


def test_repr_is_one_short_line(clinic):
    assert repr(clinic) == "CausalGraph(5 variables: age, site → labs → readmit, score)"
    assert str(clinic) == repr(clinic)
    assert repr(CausalGraph()) == "CausalGraph(no variables)"
    assert repr(CausalGraph({"x": []})) == "CausalGraph(1 variable: x)"
    chain = CausalGraph(nx.path_graph(40, create_using=nx.DiGraph))
    assert repr(chain) == "CausalGraph(40 variables: 0 → 1 → 2 → 3 → 4 → 5 → 6 → 7 → …)"
    wide = CausalGraph({i: [] for i in range(40)})
    assert repr(wide) == "CausalGraph(40 variables: 0, 1, 2, 3, 4, 5, 6, 7, …)"


def test_dot_escapes_and_styles(clinic):
    clinic.add_edge('a "quoted" \\ name', "age")
    dot = clinic.do("labs").to_dot(direction="down")
    assert '"a \\"quoted\\" \\\\ name" -> "age";' in dot
    assert "rankdir=TB" in dot
    assert '"labs" [peripheries=2];' in dot
    assert '"site" -> "readmit" [style=dashed, color=gray60];' in dot
    assert '"age" [style="rounded,dashed"];' in dot


def test_draw_writes_files(clinic, tmp_path):
    drawing = clinic.draw(tmp_path / "clinic.svg")
    assert (tmp_path / "clinic.svg").read_text(encoding="utf-8") == drawing
    clinic.draw(tmp_path / "clinic.dot")
    assert (tmp_path / "clinic.dot").read_text(encoding="utf-8") == clinic.to_dot()
    with pytest.raises(ArgumentError, match=r"'\.png'"):
        clinic.draw(tmp_path / "clinic.png")
    with pytest.raises(ArgumentError, match="sideways"):
        clinic.draw(direction="sideways")
    with pytest.raises(GraphError, match="age → site"):
        clinic.draw(edge_colors={("age", "site"): "green"})
    with pytest.raises(UnknownNameError):
        clinic.draw(node_colors={"income": "green"})
