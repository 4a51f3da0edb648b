"""Discrete joint laws as arrays with named axes: read from a table, multiplied, divided and summed by name.

>>> import pandas as pd
>>> joint = read_joint(pd.DataFrame({"x": [0, 0, 1, 1], "y": [0, 1, 1, 1]}), ["x", "y"])
>>> (joint.marginal(["x", "y"]) / joint.marginal(["x"])).values.tolist()
[[0.5, 0.5], [0.0, 1.0]]
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pcm.errors import DataError, listed

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Table", "read_joint"]

#: Cells of the largest table that is built (400 MB).
_MOST_CELLS = 50_000_000


@dataclass(frozen=True, eq=False)
class Table:
    """Numbers ``[*names]``, one axis a variable.

    Attributes
    ----------
    names : tuple
    values : numpy.ndarray
        NaN where a conditional probability has no meaning (its condition never happens).
    labels : dict of name to array
        What the places along an axis stand for.
    """

    names: tuple[Any, ...]
    values: np.ndarray
    labels: dict[Any, np.ndarray] = field(default_factory=dict)

    def marginal(self, names: Collection[Any]) -> Table:
        """Summed over every other variable."""
        gone = tuple(axis for axis, name in enumerate(self.names) if name not in names)
        return Table(tuple(name for name in self.names if name in names), self.values.sum(gone), self.labels)

    def __mul__(self, other: Table) -> Table:
        names, left, right = self._aligned(other)
        # what never happens counts for nothing, whatever is said about it
        with np.errstate(invalid="ignore"):
            values = np.where((left == 0) | (right == 0), 0.0, left * right)
        return Table(names, values, {**self.labels, **other.labels})

    def __truediv__(self, other: Table) -> Table:
        names, top, bottom = self._aligned(other)
        with np.errstate(invalid="ignore", divide="ignore"):
            values = np.where(bottom == 0, np.nan, top / bottom)
        return Table(names, values, {**self.labels, **other.labels})

    def arranged(self, names: Sequence[Any], sizes: dict[Any, int]) -> np.ndarray:
        """Values with axes in this order; variables that the table does not depend on are repeated."""
        places = [self.names.index(name) for name in names if name in self.names]
        shape = [sizes[name] if name in self.names else 1 for name in names]
        return np.broadcast_to(self.values.transpose(places).reshape(shape), [sizes[name] for name in names])

    def to_xarray(self, names: Sequence[Any]) -> xr.DataArray:
        """Labelled array with these dims."""
        import xarray as xr

        sizes = {name: len(self.labels[name]) for name in names}
        dims = [str(name) for name in names]
        coordinates = {str(name): self.labels[name] for name in names}
        return xr.DataArray(self.arranged(names, sizes).copy(), dims=dims, coords=coordinates)

    def _aligned(self, other: Table) -> tuple[tuple[Any, ...], np.ndarray, np.ndarray]:
        names = self.names + tuple(name for name in other.names if name not in self.names)
        sizes = dict(zip(self.names + other.names, self.values.shape + other.values.shape, strict=True))
        shapes = [[sizes[name] if name in table.names else 1 for name in names] for table in (self, other)]
        orders = [[table.names.index(name) for name in names if name in table.names] for table in (self, other)]
        left, right = (
            table.values.transpose(order).reshape(shape)
            for table, order, shape in zip((self, other), orders, shapes, strict=True)
        )
        return names, left, right


def read_joint(joint: Any, names: Sequence[Any]) -> Table:
    """The joint law of these variables.

    Parameters
    ----------
    joint
        A ``xarray.DataArray`` with a dim a variable, a ``pandas.Series`` of probabilities or counts whose index levels
        are the variables, or a ``pandas.DataFrame`` of units, a column a variable. Others of its variables are summed
        over.

    Raises
    ------
    DataError
        Another type, a variable that is missing, negative or non-finite numbers, or nothing at all.
    """
    import pandas as pd
    import xarray as xr

    if isinstance(joint, pd.DataFrame):
        _present(joint.columns, names)
        empty = [name for name in names if bool(joint[name].isna().to_numpy().any())]
        if empty:
            raise DataError(f"column '{empty[0]}' of the data has empty cells; drop those rows.", column=empty[0])
        _few({name: len(joint[name].drop_duplicates()) for name in names})
        joint = joint.groupby(list(names), observed=True).size()
    if isinstance(joint, pd.Series):
        _present(joint.index.names, names)
        _few({name: len(joint.index.get_level_values(name).unique()) for name in names})
        # other levels are summed over, and cells that are not listed never happen
        cells: Any = joint.groupby(level=list(names), observed=True).sum()
        array = cells.to_xarray().fillna(0.0)
    elif isinstance(joint, xr.DataArray):
        _present(joint.dims, names)
        array = joint
    else:
        raise DataError(
            f"the joint law is a {type(joint).__name__}; give a DataFrame of units, a Series whose index levels are "
            "the variables, or a DataArray whose dims are."
        )
    values, dims = np.asarray(array.values, float), tuple(array.dims)
    if not np.isfinite(values).all() or (values < 0).any():
        raise DataError("the joint law has negative or non-finite entries; give probabilities or counts.")
    total = values.sum()
    if total <= 0:
        raise DataError("the joint law is zero everywhere; give probabilities or counts.")
    labels = {dim: np.asarray(array[dim].values) for dim in dims}
    return Table(dims, values / total, labels).marginal(names)


def _few(counts: dict[Any, int]) -> None:
    if math.prod(counts.values()) > _MOST_CELLS:
        name = max(counts, key=lambda name: counts[name])
        raise DataError(
            f"a table over {listed(counts)} would have {math.prod(counts.values()):.3g} cells: '{name}' takes "
            f"{counts[name]} values. An estimand is evaluated on discrete variables: cut continuous ones into bins.",
            column=name,
        )


def _present(found: Any, names: Sequence[Any]) -> None:
    missing = [name for name in names if name not in list(found)]
    if missing:
        raise DataError(
            f"the joint law lacks {listed(missing)}; it has {listed(found)}. The estimand needs {listed(names)}.",
            column=missing[0],
            missing=missing,
        )
