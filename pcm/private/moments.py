"""Noisy sums, and sums of products, of bounded numbers: sufficient statistics of linear models [1]_.

Each variable is carried from its public bounds to [-1, 1] and rounded to a grid of 1/1024; the sums of these and of
their products are whole. One row replaced moves a sum by 2, a sum of squares by 1, of products by 2. The noisy matrix
of second moments need not be positive definite; a fit asks no more of it than that it is the true one plus noise.

References
----------
.. [1] Bernstein, Sheldon (2019). Differentially private Bayesian linear regression. NeurIPS.

>>> Moments({"x": (0, 10), "y": (-5, 5)}, epsilon=1.0).labels
('x', 'y', 'x * x', 'x * y', 'y * y')
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pcm.arguments import check_count
from pcm.errors import ArgumentError, DataError
from pcm.private.checks import check_plain, refuse_own_bounds, refuse_rows
from pcm.private.statistic import Statistic

__all__ = ["Moments"]

GRID = 1024


@final
@dataclass(frozen=True, init=False)
class Moments(Statistic):
    """Sums of variables and of their products, all scaled to [-1, 1].

    Parameters
    ----------
    bounds : mapping of variable to (low, high)
        Public bounds.
    epsilon, rho : float
        One of the two: discrete Laplace noise, or discrete Gaussian (less noise where there are many sums).
    order : {1, 2}
        Sums alone, or second moments too.
    clip : bool
        Move values beyond the bounds to them; else they are refused.
    public : bool
        Declare bounds public that look computed from the data.

    Raises
    ------
    ArgumentError
        No variables, bounds that are no plain numbers or not ascending, a loss that is not positive and finite.

    Examples
    --------
    >>> round(Moments({"x": (0, 1)}, epsilon=1.0, order=1).variance ** 0.5, 3)     # of a sum over [-1, 1]
    2.828
    """

    bounds: tuple[tuple[str, tuple[float, float]], ...]
    order: int
    clip: bool
    public: bool = field(default=False, compare=False, repr=False)

    def __init__(
        self,
        bounds: Mapping[str, tuple[float, float]],
        *,
        epsilon: float | None = None,
        rho: float | None = None,
        order: int = 2,
        clip: bool = False,
        public: bool = False,
    ) -> None:
        if not isinstance(bounds, Mapping) or not bounds:
            raise ArgumentError(f"Moments(bounds): a dict of variable to (low, high); found {bounds!r}.")
        if not isinstance(public, bool):
            raise ArgumentError(f"Moments(public={public!r}): True or False.")
        made = []
        for name, ends in bounds.items():
            if not isinstance(ends, tuple | list) or len(ends) != 2:
                raise ArgumentError(f"Moments: '{name}' needs bounds (low, high); found {ends!r}.")
            low, high = (check_plain(end, f"Moments(bounds of '{name}')", public) for end in ends)
            if not low < high:
                raise ArgumentError(f"Moments: bounds ({low}, {high}) of '{name}': low must be below high.")
            made.append((str(name), (low, high)))
        if type(order) is not int or order not in (1, 2):
            raise ArgumentError(f"Moments(order={order!r}): order is 1 or 2.")
        if not isinstance(clip, bool):
            raise ArgumentError(f"Moments(clip={clip!r}): True or False.")
        self._set(epsilon, rho, bounds=tuple(made), order=order, clip=clip, public=public)

    @property
    def variables(self) -> tuple[str, ...]:
        """Columns it sums."""
        return tuple(name for name, _ in self.bounds)

    @property
    def labels(self) -> tuple[str, ...]:
        """Variables, then their products."""
        names = self.variables
        return names + tuple(f"{names[i]} * {names[j]}" for i, j in self._pairs)

    @property
    def unit(self) -> int:
        """Two numbers on the grid are multiplied."""
        return GRID**2

    @property
    def distances(self) -> tuple[int, float]:
        """2 a sum, 1 a square, 2 a product, on the grid."""
        steps = [2] * len(self.bounds) + [1 if i == j else 2 for i, j in self._pairs]
        return sum(steps) * self.unit, math.sqrt(sum(step**2 for step in steps)) * self.unit

    @property
    def _pairs(self) -> list[tuple[int, int]]:
        size = len(self.bounds) if self.order == 2 else 0
        return [(i, j) for i in range(size) for j in range(i, size)]

    def read(self, frame: pd.DataFrame) -> np.ndarray:
        """Whole numbers on the grid, and their products."""
        columns = []
        for name, (low, high) in self.bounds:
            try:
                if frame[name].dtype.kind == "c":
                    raise TypeError("complex")
                values = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
            except (TypeError, ValueError):
                values = np.full(len(frame), np.nan)
            refuse_rows(name, frame.index, ~np.isfinite(values), "is no finite number", "Drop or mend them.")
            if not self.clip:
                outside = (values < low) | (values > high)
                advice = "Correct them, or let the statistic clip: clip=True."
                refuse_rows(name, frame.index, outside, f"lies outside the public bounds {(low, high)}", advice)
            if not self.public:
                refuse_own_bounds(name, values, (low, high))
            scaled = (2.0 * np.clip(values, low, high) - low - high) / (high - low)
            columns.append(np.rint(scaled * GRID).astype(np.int64))
        products = [columns[i] * columns[j] for i, j in self._pairs]
        return np.stack([*(GRID * column for column in columns), *products], 1)

    def features(self, values: Mapping[str, Tensor]) -> Tensor:
        """Scaled values and their products."""
        columns = []
        for name, (low, high) in self.bounds:
            value = values[name].clamp(low, high) if self.clip else values[name]
            columns.append((2.0 * value - low - high) / (high - low))
        return torch.stack([*columns, *(columns[i] * columns[j] for i, j in self._pairs)], -1)

    def describe(self, sums: Any, rows: int) -> tuple[pd.Series, pd.DataFrame]:
        """Means and second moments about 0 in the variables' own units, of noisy sums: as they are, not mended.

        Examples
        --------
        >>> import pandas as pd
        >>> made = Moments({"x": (0, 10)}, epsilon=1e6)
        >>> means, second = made.describe(made.simulate(pd.DataFrame({"x": [2.0, 6.0]}), seed=0), 2)
        >>> round(float(means["x"]), 2), round(float(second.loc["x", "x"]), 1)
        (4.0, 20.0)
        """
        if self.order == 1:
            raise ArgumentError("Moments(order=1) has no second moments; divide its sums by the rows.")
        check_count(rows, "rows")
        size, found = len(self.bounds), np.asarray(sums, dtype=np.float64) / rows
        if found.shape != (len(self.labels),):
            raise DataError(f"Moments: {len(self.labels)} sums are needed; found the shape {found.shape}.")
        middle = np.array([0.5 * (low + high) for _, (low, high) in self.bounds])
        half = np.array([0.5 * (high - low) for _, (low, high) in self.bounds])
        means = middle + half * found[:size]
        second = np.zeros((size, size))
        for (i, j), product in zip(self._pairs, found[size:], strict=True):
            cross = middle[i] * half[j] * found[j] + middle[j] * half[i] * found[i]
            second[i, j] = second[j, i] = middle[i] * middle[j] + cross + half[i] * half[j] * product
        names = list(self.variables)
        return pd.Series(means, names), pd.DataFrame(second, names, names)
