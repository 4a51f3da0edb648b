"""The drawing: well-formed, escaped, self-contained, and it shows what the graph says."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import networkx as nx
import pytest

from pcm.graph import CausalGraph
from pcm.graph.svg import render, text_width

SVG = "{http://www.w3.org/2000/svg}"


def parsed(graph: nx.DiGraph, **options) -> Any:
    return ElementTree.fromstring(render(graph, **options))


def group(root: Any, title: str) -> Any:
    (found,) = [g for g in root.iter(f"{SVG}g") if g.findtext(f"{SVG}title") == title]
    return found


@pytest.fixture
def graph() -> CausalGraph:
    graph = CausalGraph()
    graph.add_node("sex", kind="covariate")
    graph.add_node("score", kind="deterministic")
    graph.add_edges_from([("sex", "labs"), ("labs", "score"), ("labs", "readmit")])
    graph.add_edge("sex", "readmit", inert=True)
    return graph


def test_one_box_and_label_a_node_and_one_arrow_an_edge(graph):
    root = parsed(graph)
    assert [text.text for text in root.iter(f"{SVG}text")] == list(graph)
    assert len(list(root.iter(f"{SVG}rect"))) == len(graph)
    assert len(list(root.iter(f"{SVG}path"))) == 2 * graph.number_of_edges()


def test_kinds_and_marks_show(graph):
    root = parsed(graph.do("labs"))
    assert group(root, "sex (covariate)").find(f"{SVG}rect").get("stroke-dasharray")
    plain = group(root, "readmit (variable)").find(f"{SVG}rect")
    assert plain.get("stroke-dasharray") is None
    assert group(root, "score (deterministic)").find(f"{SVG}rect").get("stroke") != plain.get("stroke")
    outer, inner = group(root, "labs (variable, intervened on)").findall(f"{SVG}rect")
    assert float(inner.get("width")) < float(outer.get("width"))
    assert outer.get("fill") != plain.get("fill")
    inert = group(root, "sex → readmit, read without numerical effect").find(f"{SVG}path")
    live = group(root, "labs → readmit").find(f"{SVG}path")
    assert inert.get("stroke-dasharray")
    assert not live.get("stroke-dasharray")


def test_colours_override(graph):
    root = parsed(graph, edge_colors={("labs", "readmit"): "green"}, node_colors={"labs": 'red"/>'})
    assert group(root, "labs → readmit").find(f"{SVG}path").get("stroke") == "green"
    assert group(root, "labs (variable)").find(f"{SVG}rect").get("stroke") == 'red"/>'


def test_text_is_escaped_and_nothing_is_fetched():
    name = "<script>alert('x') & \"y\"</script>"
    drawing = render(CausalGraph([(name, "b")]), title=name)
    assert "<script" not in drawing
    root = ElementTree.fromstring(drawing)
    assert name in [text.text for text in root.iter(f"{SVG}text")]
    assert root.findtext(f"{SVG}title") == name == root.get("aria-label")
    # neither ids nor styles nor links: several drawings share a page
    for element in root.iter():
        assert not {"id", "href", "class", "style"} & set(element.attrib)
        assert element.tag not in (f"{SVG}style", f"{SVG}image", f"{SVG}script")


@pytest.mark.parametrize("label", ["i", "probability of readmission", "WWWWWWWW", "血圧の測定値", "naïve", "Ω≤β"])
def test_boxes_hold_their_labels(label):
    rect = parsed(CausalGraph({label: []})).find(f".//{SVG}rect")
    assert float(rect.get("width")) >= text_width(label) + 20


def test_text_width_known_answers():
    # Helvetica at 1000 units: "il" 222 + 222, "MW" 833 + 944; the estimate is generous by at most a fifth
    assert 444 <= text_width("il", 1000.0) <= 533
    assert 1777 <= text_width("MW", 1000.0) <= 2133
    assert text_width("e\u0301") == text_width("e")


def test_notebooks_get_a_picture(graph):
    assert graph._repr_svg_().startswith("<svg")
    assert graph._repr_html_().startswith("<div")
    assert "<svg" in graph._repr_html_()
    assert graph.draw()._repr_svg_() == graph.draw()
    assert ElementTree.fromstring(CausalGraph()._repr_svg_()).findtext(f".//{SVG}text") == "empty graph"
    assert parsed(nx.DiGraph([(1, 2)])).findtext(f".//{SVG}text") == "1"  # any graph, any hashable names
