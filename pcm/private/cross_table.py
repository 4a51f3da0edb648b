"""Noisy counts of every combination of finite variables.

One row replaced moves two counts by one: ``Δ₁ = 2``, ``Δ₂ = √2``. A single variable gives counts, several a
cross-table; noisy counts may be negative.

>>> CrossTable({"t": [0, 1], "y": ["no", "yes"]}, epsilon=1.0).labels
('t = 0, y = no', 't = 0, y = yes', 't = 1, y = no', 't = 1, y = yes')
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pcm.errors import ArgumentError
from pcm.private.checks import refuse_rows
from pcm.private.finite import check_labels, codes_of
from pcm.private.release import read_column
from pcm.private.statistic import Statistic

__all__ = ["CrossTable"]

MOST_CELLS = 4096


@final
@dataclass(frozen=True, init=False)
class CrossTable(Statistic):
    """Counts of every combination of finite variables.

    Parameters
    ----------
    categories : mapping of variable to labels
        Public labels in the order of the program's codes.
    epsilon, rho : float
        One of the two: discrete Laplace noise, or discrete Gaussian.
    public : bool
        Declare labels public that look computed from the data.

    Raises
    ------
    ArgumentError
        No variables, repeated labels, more than 4,096 cells, a loss that is not positive and finite.

    Examples
    --------
    >>> table = CrossTable({"t": [0, 1]}, epsilon=1.0)
    >>> table.scale, round(table.variance, 6)
    (2.0, 7.835396)
    """

    categories: tuple[tuple[str, tuple[Any, ...]], ...]
    public: bool = field(default=False, compare=False, repr=False)

    def __init__(
        self,
        categories: Mapping[str, Sequence[Any]],
        *,
        epsilon: float | None = None,
        rho: float | None = None,
        public: bool = False,
    ) -> None:
        if not isinstance(public, bool):
            raise ArgumentError(f"CrossTable(public={public!r}): True or False.")
        if not isinstance(categories, Mapping) or not categories:
            raise ArgumentError(f"CrossTable(categories): a dict of variable to labels; found {categories!r}.")
        made = tuple(
            (str(name), check_labels(labels, f"CrossTable(categories of '{name}')", public))
            for name, labels in categories.items()
        )
        if math.prod(len(labels) for _, labels in made) > MOST_CELLS:
            raise ArgumentError(f"CrossTable: more than {MOST_CELLS:,} cells; leave out a variable.")
        self._set(epsilon, rho, categories=made, public=public)

    @property
    def variables(self) -> tuple[str, ...]:
        """Columns it counts."""
        return tuple(name for name, _ in self.categories)

    @property
    def labels(self) -> tuple[str, ...]:
        """Cells, the last variable fastest."""
        cells = itertools.product(*([(name, label) for label in labels] for name, labels in self.categories))
        return tuple(", ".join(f"{name} = {label}" for name, label in cell) for cell in cells)

    @property
    def distances(self) -> tuple[int, float]:
        """One row leaves a cell and enters another."""
        return 2, math.sqrt(2.0)

    def read(self, frame: pd.DataFrame) -> np.ndarray:
        """One-hot cells."""
        cell = np.zeros(len(frame), dtype=np.int64)
        for name, labels in self.categories:
            codes = codes_of(labels, read_column(frame[name], name)[0])
            refuse_rows(name, frame.index, codes < 0, "is none of the public labels", f"They are {labels}.")
            cell = cell * len(labels) + codes
        return np.eye(len(self.labels), dtype=np.int64)[cell]

    def features(self, values: Mapping[str, Tensor]) -> Tensor:
        """One-hot cells of the program's codes."""
        cell = torch.zeros((), dtype=torch.int64)
        for name, labels in self.categories:
            cell = cell * len(labels) + values[name].long()
        every = torch.arange(len(self.labels))
        return (cell[:, None] == every).to(torch.get_default_dtype())
