r"""The least risk of a prediction that must be independent of a finite variable, as a linear programme.

A prediction, randomised or not, is a channel ``K(z | x)``. Independence asks ``Σ_x P(x | a) K(z | x)`` to be the same
for every value ``a`` (equalised odds: ``P(x | a, y)``, within each ``y``): each column ``k(x) = K(z | x)`` lies in the
cone ``{k ≥ 0, B k = 0}``. What ``z`` costs, ``P(z) h(E[Y | z])`` with ``h`` the entropy of the loss (``−m²`` for
squared error), is concave and homogeneous in the column, so that splitting a column into extreme rays never costs more.
The least risk is therefore that of the best mixture of extreme rays with ``Σ_z K(z | x) = 1``: a linear programme,
exact, whose rays have at most ``rank B + 1`` cells each. With the score and the variable for cells, and equalised odds,
it is the programme of derived predictors of Hardt, Price & Srebro (2016, section 4).

>>> import numpy as np
>>> cells = Cells(np.full(4, 0.25), np.array([0.1, 0.3, 0.5, 0.9]), np.array([[0.5, 0.5, -0.5, -0.5]]))
>>> price, predicted = least_derived(cells, "squared")
>>> round(price, 9), predicted.round(9).tolist()
(0.065, [0.3, 0.6, 0.3, 0.6])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from scipy.optimize import linprog

from pcm.requirement import Independence
from pcm.requirement.programme import SLACK

__all__ = ["Cells", "cells_of", "least_derived", "rays"]

#: Rays that are listed.
MOST_RAYS = 50_000


@dataclass(frozen=True)
class Cells:
    """What a prediction may tell apart.

    Attributes
    ----------
    chances : numpy.ndarray (cell,)
        Probability of each, positive.
    best : numpy.ndarray (cell,)
        ``E[Y | cell]``.
    apart : numpy.ndarray (equation, cell)
        ``apart @ k = 0`` for every column ``k`` of an independent prediction.
    """

    chances: np.ndarray
    best: np.ndarray
    apart: np.ndarray

    @property
    def merged(self) -> tuple[Cells, np.ndarray]:
        """Cells that nothing here tells apart as one, and which of these each cell is in."""
        scale = np.maximum(np.abs(self.apart / self.chances).max(1, keepdims=True, initial=0.0), 1e-300)
        told = np.concatenate([self.best[None], self.apart / self.chances / scale]).T
        _, place = np.unique(told.round(10), axis=0, return_inverse=True)
        place = place.ravel()
        count = int(place.max()) + 1
        chances = np.bincount(place, self.chances, count)
        best = np.bincount(place, self.chances * self.best, count) / chances
        apart = np.reshape([np.bincount(place, row, count) for row in self.apart], (len(self.apart), count))
        return Cells(chances, best, apart), place

    @property
    def candidates(self) -> int:
        """How many sets of cells may carry a ray."""
        rank = len(self.apart)
        return sum(comb(len(self.chances), size) for size in range(1, rank + 2))


def cells_of(
    place: np.ndarray,
    weights: np.ndarray,
    outcome: np.ndarray,
    asked: Sequence[Independence],
    values: Mapping[str, np.ndarray],
    likelihood: Mapping[float, np.ndarray],
) -> Cells:
    """Cells of units (or of assignments with their probabilities).

    Parameters
    ----------
    place : numpy.ndarray (unit,)
        Which cell each is in.
    weights, outcome : numpy.ndarray (unit,)
        Probabilities, and ``E[Y | unit]``.
    asked : sequence of Independence
    values : dict of source to numpy.ndarray (unit,)
    likelihood : dict of outcome to numpy.ndarray (unit,)
        Probability of each value of the outcome, for independence given it.
    """
    count = int(place.max()) + 1
    chances = np.bincount(place, weights, count)
    kept = chances > 0
    rows = []
    for r in asked:
        for within in likelihood.values() if r.given else (np.ones(len(place)),):
            groups = [
                np.bincount(place, weights * within * (values[r.source] == value), count)
                for value in np.unique(values[r.source])
            ]
            laws = [group / group.sum() for group in groups if group.sum() > SLACK]
            rows += [law - laws[0] for law in laws[1:]]
    best = np.bincount(place, weights * outcome, count)[kept] / chances[kept]
    return Cells(chances[kept], best, np.array(rows).reshape(len(rows), count)[:, kept])


def least_derived(cells: Cells, loss: str) -> tuple[float, np.ndarray]:
    """Least risk above that of ``best``, and the mean prediction in each cell."""
    merged, place = cells.merged
    columns = rays(merged.apart)
    mass = merged.chances @ columns
    mean = np.clip((merged.chances * merged.best) @ columns / mass, merged.best.min(), merged.best.max())
    done = linprog(mass * _entropy(mean, loss), A_eq=columns, b_eq=np.ones(len(columns)), method="highs")
    floor = merged.chances @ _entropy(merged.best, loss)
    return max(float(done.fun - floor), 0.0), (columns @ (done.x * mean))[place]


def rays(apart: np.ndarray) -> np.ndarray:
    """Extreme rays of ``{k ≥ 0, apart @ k = 0}``, ``(cell, ray)``, the largest entry of each 1."""
    cells = apart.shape[1]
    if np.abs(apart).max(initial=0.0) <= 1e-12:
        return np.eye(cells)
    _, size, right = np.linalg.svd(apart, full_matrices=False)
    rank = int((size > 1e-9 * size.max()).sum())
    rows, found = (size[:rank, None] * right[:rank]), []
    for count in range(1, rank + 2):
        chosen = np.array(list(combinations(range(cells), count)), dtype=int).reshape(-1, count)
        if not len(chosen):
            continue
        parts = rows[:, chosen].swapaxes(0, 1)  # (set, row, cell)
        _, sizes, vectors = np.linalg.svd(parts, full_matrices=True)
        full = np.zeros((len(chosen), count))
        full[:, : sizes.shape[1]] = sizes
        scale = np.maximum(np.abs(parts).max((1, 2), initial=0.0), 1e-300)
        flat = full[:, -1] <= 1e-9 * scale
        alone = full[:, -2] > 1e-9 * scale if count > 1 else np.ones(len(chosen), bool)
        vector = vectors[:, -1]
        vector = vector * np.sign(vector.sum(1, keepdims=True))
        positive = (vector > 1e-9).all(1)
        fine = flat & alone & positive
        made = np.zeros((int(fine.sum()), cells))
        np.put_along_axis(made, chosen[fine], vector[fine] / vector[fine].max(1, keepdims=True), 1)
        found.append(made)
    return np.concatenate(found).T


# -- private ---------------------------------------------------------------------------------------------------------


def _entropy(mean: np.ndarray, loss: str) -> np.ndarray:
    """Risk of the best prediction where the outcome has this mean (squared error: less its second moment)."""
    if loss == "squared":
        return -(mean**2)
    p = np.clip(mean, 1e-12, 1 - 1e-12)
    return -(p * np.log(p) + (1 - p) * np.log(1 - p))
