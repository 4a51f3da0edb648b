"""The layered layout: boxes apart, arrows forwards, nothing run through, the same every time."""

from __future__ import annotations

import random

import networkx as nx
import pytest

from pcm.errors import ArgumentError, GraphError
from pcm.graph import CausalGraph, layered
from pcm.graph.layers import Placeholder, build_ladder
from pcm.graph.layout import _isotonic
from pcm.graph.routes import point_at


def random_graph(seed: int) -> tuple[CausalGraph, dict[str, tuple[float, float]]]:
    rng = random.Random(seed)
    names = ["v" * rng.randint(1, 14) + str(i) for i in range(rng.randint(2, 15))]
    density = rng.choice([0.1, 0.25, 0.5])
    graph = CausalGraph()
    graph.add_nodes_from(names)
    graph.add_edges_from((u, v) for i, u in enumerate(names) for v in names[i + 1 :] if rng.random() < density)
    return graph, {name: (20.0 + 9.0 * len(name), 32.0) for name in names}


def inside(point, centre, size) -> bool:
    return abs(point[0] - centre[0]) < size[0] / 2 and abs(point[1] - centre[1]) < size[1] / 2


@pytest.mark.parametrize("direction", ["right", "down"])
@pytest.mark.parametrize("seed", range(25))
def test_nothing_overlaps_and_arrows_go_forwards(seed, direction):
    graph, sizes = random_graph(seed)
    plan = layered(graph, sizes, direction=direction)
    names = list(graph)
    for i, a in enumerate(names):
        (ax, ay), (aw, ah) = plan.positions[a], sizes[a]
        assert aw / 2 <= ax + 0.01
        assert ax + aw / 2 <= plan.width + 0.01
        assert ah / 2 <= ay + 0.01
        assert ay + ah / 2 <= plan.height + 0.01
        for b in names[i + 1 :]:
            (bx, by), (bw, bh) = plan.positions[b], sizes[b]
            assert abs(ax - bx) >= (aw + bw) / 2 or abs(ay - by) >= (ah + bh) / 2
    axis = 0 if direction == "right" else 1
    for (u, v), route in plan.routes.items():
        assert plan.positions[u][axis] < plan.positions[v][axis]
        assert len(route) == 2 or len(route) % 3 == 1
        curve = [point_at(route, step / 100) for step in range(101)]
        assert not any(
            inside(point, plan.positions[other], sizes[other])
            for point in curve
            for other in graph
            if other not in (u, v)
        )
        # the bounds of a curve are taken at sampled points
        assert all(-0.5 <= x <= plan.width + 0.5 and -0.5 <= y <= plan.height + 0.5 for x, y in curve)
    assert layered(graph, sizes, direction=direction) == plan


def test_routes_end_on_their_boxes():
    graph, sizes = random_graph(7)
    plan = layered(graph, sizes)
    assert plan.routes
    for (u, v), route in plan.routes.items():
        for name, point in ((u, route[0]), (v, route[-1])):
            (x, y), (width, height) = plan.positions[name], sizes[name]
            assert not inside(point, (x, y), (width - 8, height - 8))
            assert inside(point, (x, y), (width + 0.1, height + 0.1))


def test_a_chain_is_a_straight_line():
    graph = CausalGraph(nx.path_graph(6, create_using=nx.DiGraph))
    plan = layered(graph, dict.fromkeys(graph, (40.0, 30.0)))
    assert {y for _, y in plan.positions.values()} == {15.0}
    assert all(len(route) == 2 for route in plan.routes.values())
    assert plan.height == 30.0


def test_layers_are_longest_paths_and_roots_stand_next_to_their_readers():
    ladder = build_ladder(nx.DiGraph([("a", "b"), ("b", "c"), ("a", "c"), ("late", "c")]), ["a", "b", "c", "late"])
    assert [ladder.layer[name] for name in ("a", "b", "c", "late")] == [0, 1, 2, 1]
    assert ladder.chains["a", "c"] == [Placeholder(("a", "c"), 1)]
    assert ladder.chains["a", "b"] == []


def test_a_planar_order_is_found():
    # listed so that the given order crosses three times
    graph = nx.DiGraph([("a", "z"), ("b", "y"), ("c", "x"), ("r", "a"), ("r", "b"), ("r", "c")])
    rows = build_ladder(graph, ["r", "a", "b", "c", "x", "y", "z"]).rows
    partner = dict(zip("abc", "zyx", strict=True))
    assert [partner[str(name)] for name in rows[1]] == rows[2]


def test_isotonic_known_answers():
    assert _isotonic([1.0, 3.0, 2.0, 4.0], [1.0] * 4) == [1.0, 2.5, 2.5, 4.0]
    assert _isotonic([3.0, 0.0], [2.0, 1.0]) == [2.0, 2.0]
    assert _isotonic([3.0, 2.0, 1.0], [1.0] * 3) == [2.0, 2.0, 2.0]


def test_empty_and_isolated():
    assert layered(CausalGraph(), {}).routes == {}
    many = CausalGraph({f"n{i}": [] for i in range(30)})
    plan = layered(many, dict.fromkeys(many, (60.0, 30.0)))
    assert plan.width <= 480.0
    assert len(set(plan.positions.values())) == 30


def test_wrong_arguments():
    with pytest.raises(ArgumentError, match="'LR'"):
        layered(CausalGraph(), {}, direction="LR")  # type: ignore[arg-type]
    with pytest.raises(GraphError, match="cycle"):
        layered(nx.DiGraph([(1, 2), (2, 1)]), dict.fromkeys((1, 2), (9.0, 9.0)))
