"""Random DAGs with random requirements on them."""

from __future__ import annotations

import networkx as nx
import numpy as np

import pcm

__all__ = ["random_case", "random_graph"]


def random_graph(rng: np.random.Generator, size: int, density: float | None = None) -> nx.DiGraph:
    """Nodes ``v0 … `` in causal order; the last is the outcome."""
    density = rng.uniform(0.3, 0.9) if density is None else density
    names = [f"v{i}" for i in range(size)]
    graph = nx.DiGraph()
    graph.add_nodes_from(names)
    graph.add_edges_from((a, b) for i, a in enumerate(names) for b in names[i + 1 :] if rng.random() < density)
    return graph


def random_case(rng: np.random.Generator, graph: nx.DiGraph, most: int = 3) -> tuple[list[pcm.Requirement], str]:
    """One to three requirements with random path sets on sources above the last node; sources may repeat."""
    outcome = list(graph)[-1]
    made = []
    for _ in range(int(rng.integers(1, most + 1))):
        source = str(rng.choice(list(graph)[:-1]))
        paths = [" -> ".join(path) for path in nx.all_simple_paths(graph, source, outcome)]
        kept = [path for path in paths if rng.random() < 0.5]
        kind = rng.random()
        admissible = "none" if kind < 0.3 or not kept else "all" if kind < 0.4 else kept
        made.append(pcm.Requirement(source, outcome=outcome, admissible=admissible))
    return made, outcome
