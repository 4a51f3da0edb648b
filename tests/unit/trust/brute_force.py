"""Coexistence by brute force: every path listed, generic coefficients, every subset tried; none of pcm.trust."""

from __future__ import annotations

from itertools import combinations, pairwise

import networkx as nx
import numpy as np
from scipy.linalg import null_space

import pcm

__all__ = ["BruteForce"]


class BruteForce:
    """Feasibility of subsets of requirements on a graph with random linear mechanisms."""

    def __init__(self, rng, graph, requirements, outcome, inputs):
        self.graph, self.requirements, self.outcome, self.inputs = graph, requirements, outcome, list(inputs)
        self.weights = {edge: rng.uniform(0.5, 1.5) * rng.choice([-1, 1]) for edge in graph.edges}
        names = list(nx.topological_sort(graph))
        self.place = {name: i for i, name in enumerate(names)}
        slopes = np.zeros((len(names), len(names)))
        for (parent, child), weight in self.weights.items():
            slopes[self.place[child], self.place[parent]] = weight
        self.totals = np.linalg.inv(np.eye(len(names)) - slopes)
        self.covariance = self.totals @ np.diag(rng.uniform(0.5, 2.0, len(names))) @ self.totals.T

    def effect(self, source, kept):
        paths = nx.all_simple_paths(self.graph, source, self.outcome)
        return sum(np.prod([self.weights[edge] for edge in pairwise(path)]) for path in paths if kept(path))

    def feasible(self, places):
        chosen = [self.requirements[i] for i in places]
        pinning = [r for r in chosen if isinstance(r, pcm.Requirement)]
        rows, values = [], []
        columns = [self.place[name] for name in self.inputs]
        for r in pinning:
            for source in r.variables:
                pinned = self.effect(source, r.admissible.admits)
                joint = self.effect(
                    source,
                    lambda path: all(
                        other.admissible.admits(path[at:])
                        for at in range(len(path) - 1)
                        for other in pinning
                        if path[at] in other.variables
                    ),
                )
                if abs(pinned - joint) > 1e-9:
                    return False
                rows.append(self.totals[columns, self.place[source]])
                values.append(pinned)
        y = self.place[self.outcome]
        for r in chosen:
            if isinstance(r, pcm.Independence):
                s = self.place[r.source]
                row = self.covariance[columns, s].copy()
                if r.given:
                    row -= self.covariance[columns, y] * self.covariance[y, s] / self.covariance[y, y]
                rows.append(row)
                values.append(0.0)
        towards = self.covariance[columns, y]
        if not columns:
            return False
        if not rows:
            return bool(np.abs(towards).max() > 1e-9)
        matrix, right = np.array(rows), np.array(values)
        matrix[np.abs(matrix) < 1e-12] = 0.0
        start = np.linalg.pinv(matrix, rcond=1e-9) @ right
        if np.abs(matrix @ start - right).max() > 1e-7:
            return False
        free = null_space(matrix, rcond=1e-9)
        return bool(abs(start @ towards) > 1e-8 or (free.size and np.abs(free.T @ towards).max() > 1e-8))

    def subsets(self):
        """Every subset's feasibility."""
        count = len(self.requirements)
        return {
            places: self.feasible(places) for size in range(count + 1) for places in combinations(range(count), size)
        }
