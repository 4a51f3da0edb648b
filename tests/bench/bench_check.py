"""Verdicts on twelve nodes: feasibility, minimal core and certificates from the graph; with a law, the prices too.

Goal: at most 50 ms a verdict (the median over random graphs, sparse to complete, with three requirements, half of the
paths of each listed one by one).
"""

from __future__ import annotations

import statistics
import time

import networkx as nx
import numpy as np
import pytest

import pcm
from pcm.trust.check import check
from pcm.trust.conflicts import Coexistence
from tests.unit.requirement.random_graphs import random_case, random_graph

pytestmark = pytest.mark.bench

NODES, CASES, LIMIT = 12, 60, 0.050


def cases(density: float) -> list[tuple[nx.DiGraph, list[pcm.Requirement], str]]:
    made = []
    for seed in range(CASES):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng, NODES, density)
        made.append((graph, *random_case(rng, graph)))
    return made


@pytest.mark.parametrize("density", [0.3, 0.5, 0.8, 1.0])
def test_a_verdict_on_twelve_nodes(density):
    seconds = []
    for graph, requirements, outcome in cases(density):
        inputs = [name for name in graph if name != outcome]
        start = time.perf_counter()
        found = Coexistence(graph, requirements, outcome, inputs)
        assert found.feasible or found.core
        assert isinstance(found.conflicts, list)
        seconds.append(time.perf_counter() - start)
    print(
        f"\nverdict on {NODES} nodes, density {density:g}: median {1e3 * statistics.median(seconds):.1f} ms, "
        f"largest {1e3 * max(seconds):.1f} ms over {CASES} graphs"
    )
    assert statistics.median(seconds) < LIMIT


def test_the_whole_check_on_the_hospital():
    from pcm_models.hospital_readmission import fair, program, robust

    scm = pcm.SCM(program)
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        check(scm, [fair, robust]).table  # noqa: B018
        seconds.append(time.perf_counter() - start)
    print(f"\ncheck of the hospital, table and prices: median {1e3 * statistics.median(seconds):.1f} ms")
