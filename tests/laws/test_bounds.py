"""Bounds against brute force: random models over response types, whose truth is counted, never derived."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations, product

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from pcm.query.bounds import Query, bounds

QUERIES = [
    "PNS({0}, {1})",
    "PN({0}, {1})",
    "PS({0}, {1})",
    "ATE({0}, {1})",
    "ATT({0}, {1})",
    "P({1}=1 | do({0}=1))",
    "P({1}[{0}=1]=1 | {0}=0, {1}=0)",
    "P({1}[{0}=1]=1 | {1}[{0}=0]=0)",
]


@dataclass
class Brute:
    """A model written out: every joint response type with its probability, every world computed by substitution."""

    names: list[str]
    edges: list[tuple[str, str]]
    pairs: list[tuple[str, str]]
    weights: np.ndarray
    tables: list[dict[str, np.ndarray]]
    sizes: dict[str, int]

    @classmethod
    def random(cls, seed: int, count: int, sparse: bool) -> Brute:
        rng = np.random.default_rng(seed)
        names = [f"v{at}" for at in range(count)]
        edges: list[tuple[str, str]] = []
        for child in range(1, count):
            chosen = rng.permutation(child)[: rng.integers(1, 3)]
            edges += [(names[parent], names[child]) for parent in sorted(chosen)]
        pairs = [pair for pair in combinations(names, 2) if rng.random() < 0.25]
        sizes = {name: int(rng.choice([2, 2, 3])) if count < 4 else 2 for name in names}
        return cls.over(names, edges, pairs, rng, 0.15 if sparse else 1.0, sizes)

    @classmethod
    def over(cls, names, edges, pairs, rng, concentration=1.0, sizes=None) -> Brute:
        sizes = sizes or dict.fromkeys(names, 2)
        parents = {n: [p for p, c in edges if c == n] for n in names}
        ways = {n: list(product(range(sizes[n]), repeat=math.prod(sizes[p] for p in parents[n]))) for n in names}
        joined = nx.Graph(pairs)
        joined.add_nodes_from(names)
        parts = [[n for n in names if n in part] for part in nx.connected_components(joined)]
        laws = []
        for part in parts:
            counts = [len(ways[n]) for n in part]
            some = rng.choice(math.prod(counts), min(math.prod(counts), 48), replace=False)
            kinds = list(zip(*np.unravel_index(some, counts), strict=True))
            laws.append(list(zip(kinds, rng.dirichlet(np.full(len(kinds), concentration)), strict=True)))
        weights, tables = [], []
        for combination in product(*laws):
            chance, table = 1.0, {}
            for part, (kinds, probability) in zip(parts, combination, strict=True):
                chance *= probability
                table.update({n: np.array(ways[n][kind]) for n, kind in zip(part, kinds, strict=True)})
            if chance > 0:
                weights.append(chance)
                tables.append(table)
        return cls(names, edges, pairs, np.array(weights), tables, sizes)

    def world(self, do: dict[str, int]) -> dict[str, np.ndarray]:
        values: dict[str, np.ndarray] = {}
        for name in self.names:
            if name in do:
                values[name] = np.full(len(self.tables), do[name])
                continue
            place = np.zeros(len(self.tables), int)
            for parent, child in self.edges:
                if child == name:
                    place = self.sizes[parent] * place + values[parent]
            values[name] = np.array([table[name][at] for table, at in zip(self.tables, place, strict=True)])
        return values

    def table(self) -> pd.DataFrame:
        frame = pd.DataFrame(self.world({}))
        frame["probability"] = self.weights
        return frame.groupby(self.names, as_index=False).sum()

    def truth(self, query: str, x: str, y: str) -> float:
        factual, w = self.world({}), self.weights
        one, zero = self.world({x: 1})[y], self.world({x: 0})[y]
        fx, fy = factual[x], factual[y]

        def chance(event, condition=True):
            return (w * (event & condition)).sum() / (w * np.broadcast_to(condition, w.shape)).sum()

        match QUERIES.index(query):
            case 0:
                return chance((one == 1) & (zero != 1))
            case 1:
                return chance(zero != 1, (fx == 1) & (fy == 1))
            case 2:
                return chance(one == 1, (fx == 0) & (fy != 1))
            case 3:
                return (w * (one - zero)).sum()
            case 4:
                return (w * (one - zero) * (fx == 1)).sum() / (w * (fx == 1)).sum()
            case 5:
                return chance(one == 1)
            case 6:
                return chance(one == 1, (fx == 0) & (fy == 0))
        return chance(one == 1, zero == 0)

    @property
    def groups(self) -> list[list[str]]:
        """A component's types are drawn jointly: all its members share one cause."""
        return [sorted(part) for part in nx.connected_components(nx.Graph(self.pairs))]

    @property
    def graph(self) -> str:
        return "; ".join(f"{a} -> {b}" for a, b in self.edges)


@settings(max_examples=120)
@given(st.integers(0, 10**6), st.integers(2, 4), st.booleans(), st.sampled_from(QUERIES))
def test_the_truth_is_always_within(seed, count, sparse, query):
    model = Brute.random(seed, count, sparse)
    x, y = model.edges[seed % len(model.edges)]
    table = model.table()
    with np.errstate(invalid="ignore"):
        truth = model.truth(query, x, y)
    assume(np.isfinite(truth) and {0, 1} <= set(table[x]) and {0, 1} <= set(table[y]))
    found = bounds(table, query.format(x, y), graph=model.graph, confounded=model.groups)
    assert found.low - 1e-6 <= truth <= found.high + 1e-6


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.sampled_from([q for q in QUERIES if "ATT" not in q]))
def test_one_component_is_sharp(seed, query):
    """The same question as one programme over all joint types, its ratio by bisection on ``n·q − λ d·q ≤ 0``."""
    rng = np.random.default_rng(seed)
    names, edges, pairs = ["z", "x", "y"], [("z", "x"), ("x", "y")], [("x", "y")]
    model = Brute.over(names, edges, pairs, rng)
    found = bounds(model.table(), query.format("x", "y"), graph=model.graph, confounded=model.groups)
    assert found.sharp
    every = Brute.over(names, edges, [("x", "y")], np.random.default_rng(0))
    kinds = [{"z": np.array([z]), "x": np.array(x), "y": np.array(y)} for z in (0, 1) for x, y in _pairs_of_ways()]
    every.tables, every.weights = kinds, np.ones(len(kinds))
    factual = every.world({})
    observed = model.table().set_index(names)["probability"]
    pz = observed.groupby("z").sum()
    # given z the types of (x, y) are independent of it: unknowns are the 16 types, observed P(x, y | z)
    rows, right = [np.ones(16)], [1.0]
    for (z, x, y), p in observed.items():
        at = (factual["z"] == z) & (factual["x"] == x) & (factual["y"] == y)
        rows.append(at.reshape(2, 16)[z].astype(float))
        right.append(p / pz[z])
    one, zero, w = every.world({"x": 1})["y"], every.world({"x": 0})["y"], np.repeat(pz.to_numpy(), 16)
    fx, fy = factual["x"], factual["y"]
    ones = np.ones(32, bool)
    top, bottom = [
        ((one == 1) & (zero == 0), ones),
        ((zero == 0) & (fx == 1) & (fy == 1), (fx == 1) & (fy == 1)),
        ((one == 1) & (fx == 0) & (fy == 0), (fx == 0) & (fy == 0)),
        (one - zero, ones),
        (one, ones),
        ((one == 1) & (fx == 0) & (fy == 0), (fx == 0) & (fy == 0)),
        ((one == 1) & (zero == 0), zero == 0),
    ][[q for q in QUERIES if "ATT" not in q].index(query)]
    top, bottom = ((w * side).reshape(2, 16).sum(0) for side in (top, bottom))
    for sign, end in ((1, found.high), (-1, found.low)):
        low, high = -1.5, 1.5
        for _ in range(28):
            middle = (low + high) / 2
            best = linprog(-(sign * top - middle * bottom), A_eq=np.array(rows), b_eq=right)
            low, high = (middle, high) if -best.fun > 0 else (low, middle)
        assert sign * low == pytest.approx(end, abs=1e-6)


@settings(max_examples=30)
@given(st.lists(st.floats(0.02, 0.98), min_size=4, max_size=4))
def test_two_components_are_sharp(chances):
    """On a chain each mechanism has one free number, P(rises): PNS is bilinear in the two, its corners are four."""
    m0, m1, y0, y1 = chances
    rows = [
        (a, m, y, 0.5 * (m1 if a else m0) ** m * (1 - (m1 if a else m0)) ** (1 - m)
         * (y1 if m else y0) ** y * (1 - (y1 if m else y0)) ** (1 - y))
        for a, m, y in product((0, 1), repeat=3)
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["a", "m", "y", "probability"])
    found = bounds(table, "PNS(a, y)", graph="a -> m -> y")
    rises = lambda p, q: np.linspace(max(0, q - p), min(q, 1 - p), 41)  # noqa: E731  P(0 → 1) given the two margins
    up_m, up_y = np.meshgrid(rises(m0, m1), rises(y0, y1))
    down_m, down_y = up_m - (m1 - m0), up_y - (y1 - y0)
    values = up_m * up_y + down_m * down_y
    assert found.sharp
    assert [found.low, found.high] == pytest.approx([values.min(), values.max()], abs=1e-9)


@settings(max_examples=4)
@given(st.integers(0, 10**6))
def test_the_relaxation_holds_the_corners(seed):
    from pcm.query.bounds import products

    rng = np.random.default_rng(seed)
    model = Brute.over(["a", "m", "y"], [("a", "m"), ("a", "y"), ("m", "y")], [], rng)
    exact = bounds(model.table(), "PNS(a, y)", graph=model.graph, confounded=model.groups)
    kept = products.MAX_WORK, products.MAX_PROGRAMMES, products.MAX_LIFTED, products.FEW_PROGRAMMES
    try:
        products.MAX_WORK = products.MAX_PROGRAMMES = products.FEW_PROGRAMMES = 0
        lifted = bounds(model.table(), "PNS(a, y)", graph=model.graph, confounded=model.groups)
        products.MAX_LIFTED = 0
        apart = bounds(model.table(), "PNS(a, y)", graph=model.graph, confounded=model.groups)
        products.MAX_PROGRAMMES = 10**4
        programmes = bounds(model.table(), "PNS(a, y)", graph=model.graph, confounded=model.groups)
    finally:
        products.MAX_WORK, products.MAX_PROGRAMMES, products.MAX_LIFTED, products.FEW_PROGRAMMES = kept
    assert exact.sharp and programmes.sharp
    assert [programmes.low, programmes.high] == pytest.approx([exact.low, exact.high], abs=1e-7)
    for wider in (lifted, apart):
        assert wider.low <= exact.low + 1e-7 and wider.high >= exact.high - 1e-7
        if wider.sharp:
            assert [wider.low, wider.high] == pytest.approx([exact.low, exact.high], abs=1e-6)
        else:
            assert exact.low <= wider.attained[0] + 1e-7 and wider.attained[1] - 1e-7 <= exact.high


def test_a_certificate_attains_its_end():
    """The distributions of the certificate give back the law, and the end that they are said to attain."""
    model = Brute.over(["a", "m", "y"], [("a", "m"), ("m", "y")], [], np.random.default_rng(4))
    found = bounds(model.table(), Query.pns("a", "y"), graph=model.graph, confounded=model.groups)
    read = {}
    for row in found.certificate.itertuples():
        answers = tuple(int(piece.split("=")[-1]) for piece in row.type.split())
        read.setdefault(row.component, []).append((answers, row.low, row.high))
    for side, end in ((1, found.low), (2, found.high)):
        joint = {(m[0], y[0]): m[side] * y[side] for m in read["m"] for y in read["y"]}
        assert sum(joint.values()) == pytest.approx(1)
        assert sum(p for (m, y), p in joint.items() if y[m[1]] == 1 and y[m[0]] == 0) == pytest.approx(end, abs=1e-9)
        table = model.table()
        for a, m, y in product((0, 1), repeat=3):
            cell = table[(table.a == a) & (table.m == m) & (table.y == y)].probability.sum()
            implied = sum(p for (wm, wy), p in joint.items() if wm[a] == m and wy[m] == y)
            assert implied == pytest.approx(cell / table[table.a == a].probability.sum(), abs=1e-9)


def _pairs_of_ways():
    ways = list(product((0, 1), repeat=2))
    return product(ways, ways)
