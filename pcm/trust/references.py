"""What inadmissible edges are fed in a simulation: values by unit that stand for the reference law.

Finite references are listed with their frequencies, and crossed where that is few. Else every unit gets draws of its
own, stratified within two independent halves (a Latin hypercube each): the product of two halves' errors has no bias
from averaging over few references.

>>> import numpy as np
>>> points, weights = reference_points({"a": np.array([0.0, 0.0, 0.0, 1.0])}, units=2, seed=0)
>>> points["a"].tolist(), weights.tolist()
([[0.0, 0.0], [1.0, 1.0]], [[0.75, 0.25], [0.75, 0.25]])
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from pcm.requirement import Requirement

__all__ = ["reference_points", "reference_samples"]

#: Draws a unit in each half, and joint values up to which references are listed.
_STRATA, _MOST = 10, 32


def reference_samples(
    requirements: tuple[Requirement, ...], sampled: Mapping[str, np.ndarray], sources: tuple[str, ...], seed: int
) -> dict[str, np.ndarray]:
    """Draws of the reference of each source: its own marginal, or what its requirement says."""
    found = {}
    for source in sources:
        given: Any = "independent"
        for r in requirements:
            given = r.references.get(source, given) if source in r.variables else given
        if isinstance(given, str):
            found[source] = np.asarray(sampled[source], dtype=float)
        elif hasattr(given, "sample"):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                found[source] = given.sample((20_000,)).to(torch.float64).numpy()
        else:
            found[source] = np.array([float(given)])
    return found


def reference_points(
    samples: Mapping[str, np.ndarray], *, units: int, seed: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Joint values ``(point, unit)`` by source, and the weights ``(half, point)`` of two estimates of one average."""
    alone = {name: np.unique(values, return_counts=True) for name, values in samples.items()}
    total = int(np.prod([float(len(values)) for values, _ in alone.values()])) if alone else 1
    if total <= _MOST:
        places = np.meshgrid(*(np.arange(len(values)) for values, _ in alone.values()), indexing="ij")
        weights, points = np.ones(total), {}
        for (name, (values, counts)), place in zip(alone.items(), places, strict=True):
            points[name] = np.repeat(values[place.ravel(), None], units, 1)
            weights = weights * (counts / counts.sum())[place.ravel()]
        return points, np.stack([weights, weights])
    rng = np.random.default_rng(seed)
    points = {}
    for name, values in samples.items():
        ordered = np.sort(values)
        strata = np.tile(np.arange(_STRATA)[:, None], (2, units)).reshape(2, _STRATA, units)
        level = (rng.permuted(strata, axis=1) + rng.random(strata.shape)) / _STRATA
        points[name] = ordered[(level * len(ordered)).astype(int)].reshape(2 * _STRATA, units)
    weights = np.kron(np.eye(2), np.full(_STRATA, 1 / _STRATA))
    return points, weights
