"""Open trails exist exactly where d-separation fails, and say which way their arrows point."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from pcm.errors import UnknownNameError
from pcm.graph import open_trail


def test_an_open_trail_is_found_exactly_where_separation_fails():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        n = int(rng.integers(3, 7))
        graph = nx.DiGraph([(i, j) for j in range(n) for i in range(j) if rng.random() < 0.45])
        graph.add_nodes_from(range(n))
        x, y, *rest = rng.permutation(n).tolist()
        given = {v for v in rest if rng.random() < 0.4}
        trail = open_trail(graph, x, y, given)
        assert (trail is None) == nx.is_d_separator(graph, {x}, {y}, given)
        found.append(trail is None)
        if trail is not None:
            _check(graph, trail, x, y, given)
    assert 50 < sum(found) < 350


def _check(graph, trail, x, y, given):
    parts = trail.replace("[", "").replace("]", "").split(" ")
    nodes = [int(part) for part in parts if part.isdigit()]
    assert nodes[0] == x
    assert nodes[-1] == y
    at = nodes[0]
    for arrow, node in zip(parts[1::2], parts[2::2], strict=True):
        if arrow == "⇒":
            assert nx.has_path(graph, at, int(node)) and int(node) in given
            continue
        step = (at, int(node)) if arrow == "→" else (int(node), at)
        assert graph.has_edge(*step)
        at = int(node)


def test_a_collider_opened_by_its_descendant_names_it():
    graph = nx.DiGraph([("a", "c"), ("b", "c"), ("c", "d")])
    assert open_trail(graph, "a", "b", {"d"}) == "a → [c ⇒ d] ← b"


def test_unknown_names():
    with pytest.raises(UnknownNameError, match="'q' is not a variable of the graph"):
        open_trail(nx.DiGraph([("a", "b")]), "a", "q")
