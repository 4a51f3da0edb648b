"""What inadmissible edges are fed in a simulation: a few weighted values that stand for the reference law.

Values of a discrete source come with their frequencies; a continuous one is cut into bins of equal probability, each
standing for itself by its mean, so that the reference's mean is kept exactly. Several sources are crossed where that is
few, else combined at random (Latin hypercube).

>>> import numpy as np
>>> points, weights = reference_points({"a": np.array([0.0, 0.0, 0.0, 1.0])}, {"a": True}, seed=0)
>>> points["a"].tolist(), weights.tolist()
([0.0, 1.0], [0.75, 0.25])
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from pcm.requirement import Requirement

__all__ = ["reference_points", "reference_samples"]

_BINS, _STRATA = 12, 16
_MOST = 64


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
    samples: Mapping[str, np.ndarray], discrete: Mapping[str, bool], seed: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Joint values ``(point,)`` by source, and their weights."""
    alone = {name: _points(values, discrete[name]) for name, values in samples.items()}
    total = int(np.prod([len(values) for values, _ in alone.values()])) if alone else 1
    if total <= _MOST or len(alone) == 1:
        places = np.meshgrid(*(np.arange(len(values)) for values, _ in alone.values()), indexing="ij")
        points = {name: alone[name][0][place.ravel()] for name, place in zip(alone, places, strict=True)}
        weights = np.ones(total)
        for (_, share), place in zip(alone.values(), places, strict=True):
            weights = weights * share[place.ravel()]
        return points, weights
    rng = np.random.default_rng(seed)
    strata = (np.arange(_STRATA) + 0.5) / _STRATA
    points = {}
    for name, values in samples.items():
        if discrete[name]:
            at = np.minimum(np.searchsorted(np.cumsum(alone[name][1]), strata), len(alone[name][0]) - 1)
            chosen = alone[name][0][at]
        else:
            chosen = np.array([part.mean() for part in np.array_split(np.sort(values), _STRATA) if len(part)])
            chosen = np.resize(chosen, _STRATA)
        points[name] = rng.permutation(chosen)
    return points, np.full(len(strata), 1 / len(strata))


def _points(values: np.ndarray, discrete: bool) -> tuple[np.ndarray, np.ndarray]:
    distinct, counts = np.unique(values, return_counts=True)
    if discrete or len(distinct) <= _BINS:
        return distinct, counts / counts.sum()
    means = np.array([part.mean() for part in np.array_split(np.sort(values), _BINS)])
    sizes = np.array([len(part) for part in np.array_split(values, _BINS)])
    return means, sizes / sizes.sum()
