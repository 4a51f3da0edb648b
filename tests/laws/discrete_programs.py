"""Random discrete programs with all their noise types, to be summed by brute force."""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx
import numpy as np
import pyro
import pyro.distributions as dist
import torch

import pcm

__all__ = ["Discrete"]


@dataclass
class Discrete:
    """Sites v0 … v3 (v0 and v3 binary) of random tables under the monotone coupling, and all their noise types."""

    sizes: tuple[int, ...]
    parents: tuple[tuple[int, ...], ...]
    tables: list[np.ndarray]

    @classmethod
    def random(cls, seed: int) -> Discrete:
        rng = np.random.default_rng(seed)
        sizes = (2, *rng.integers(2, 4, 2).tolist(), 2)
        parents = tuple(
            tuple(p for p in range(place) if rng.random() < 0.75 or (p, place) in {(0, 1), (1, 3)})
            for place in range(4)
        )
        tables = [
            rng.dirichlet(np.ones(size), tuple(sizes[p] for p in read))
            for size, read in zip(sizes, parents, strict=True)
        ]
        return cls(sizes, parents, tables)

    @property
    def names(self) -> list[str]:
        return [f"v{place}" for place in range(4)]

    @property
    def graph(self) -> nx.DiGraph:
        graph = nx.DiGraph()
        graph.add_nodes_from(self.names)
        graph.add_edges_from((f"v{p}", f"v{place}") for place, read in enumerate(self.parents) for p in read)
        return graph

    def scm(self) -> pcm.SCM:
        tables = [torch.as_tensor(table) for table in self.tables]

        def random_program():
            values: list[torch.Tensor] = []
            for place, (size, read) in enumerate(zip(self.sizes, self.parents, strict=True)):
                chances = tables[place][tuple(values[p].long() for p in read)] if read else tables[place]
                fn = dist.Bernoulli(chances[..., 1]) if size == 2 else dist.Categorical(chances)
                values.append(pyro.sample(f"v{place}", fn))

        return pcm.SCM(
            random_program, couplings={n: "monotone" for n, s in zip(self.names, self.sizes, strict=True) if s > 2}
        )

    def types(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """Probability of each joint noise type, and each site's quantile noise in it (a point inside its interval)."""
        points, masses = [], []
        for table in self.tables:
            ends = np.unique(np.concatenate([[0.0, 1.0], table.cumsum(-1)[..., :-1].ravel()]))
            points.append((ends[1:] + ends[:-1]) / 2)
            masses.append(np.diff(ends))
        grid = np.meshgrid(*points, indexing="ij")
        weight = np.prod(np.meshgrid(*masses, indexing="ij"), axis=0).ravel()
        return weight, [each.ravel() for each in grid]

    def world(
        self, noise: list[np.ndarray], sets: dict | None = None, edges: dict | None = None
    ) -> dict[str, np.ndarray]:
        """Every site's value in a world; values set are constants or arrays, edges ``(parent, child)`` likewise."""
        sets, edges, made = sets or {}, edges or {}, {}
        for place, name in enumerate(self.names):
            if name in sets:
                made[name] = np.broadcast_to(sets[name], noise[0].shape)
                continue
            read = tuple(
                np.broadcast_to(edges.get((f"v{p}", name), made[f"v{p}"]), noise[0].shape) for p in self.parents[place]
            )
            below = self.tables[place][read].cumsum(-1)
            made[name] = (noise[place][:, None] > below[..., :-1]).sum(-1)
        return made
