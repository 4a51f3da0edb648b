"""Tables of finite variables: joint probabilities, counts or raw rows, as one array over named axes.

>>> import pandas as pd
>>> frame = pd.DataFrame({"x": [0, 0, 1, 1], "y": [0, 1, 0, 1], "probability": [0.3, 0.2, 0.1, 0.4]})
>>> found = read_table(frame, ["x", "y"])
>>> found.names, found.levels["x"], found.array.tolist(), found.exact
(('x', 'y'), (0, 1), [[0.3, 0.2], [0.1, 0.4]], True)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pcm.arguments import no_model
from pcm.errors import ArgumentError, DataError, QueryError, UnknownNameError, listed

__all__ = ["MAX_CELLS", "Table", "check_table", "read_table"]

#: Cells of a joint table beyond which it is refused.
MAX_CELLS = 2**20
#: Distinct values beyond which a numeric column is taken for a continuous one.
MAX_LEVELS = 50
_PROBABILITY, _COUNT = ("probability", "p", "prob"), ("count", "n", "freq")


@dataclass(frozen=True)
class Table:
    """A joint law.

    Attributes
    ----------
    names : tuple of str
    levels : dict of name to tuple of values
    array : numpy.ndarray
        Probabilities, an axis a variable.
    exact : bool
        Probabilities were given; otherwise they are the frequencies of ``size`` rows.
    """

    names: tuple[str, ...]
    levels: dict[str, tuple[Any, ...]]
    array: np.ndarray
    exact: bool
    size: int | None = None


def read_table(
    source: Any, names: Sequence[str], *, levels: Mapping[str, tuple[Any, ...]] | None = None, partial: bool = False
) -> Table:
    """A table from what a user has.

    Parameters
    ----------
    source : DataFrame, Series, xarray.DataArray or dict
        A frame with a column a variable, and a column ``probability`` or ``count`` (rows then are cells) or neither
        (rows then are units); a Series whose MultiIndex names the variables; a DataArray whose dims do; a dict of
        columns, or of probabilities by tuples of values in the order of ``names``.
    names : sequence of str
        The variables that are looked for.
    levels : dict, optional
        Values that variables may take beside those in the table.
    partial : bool
        Whether some of the variables may be absent.

    Raises
    ------
    DataError
        Probabilities that are negative, not finite, or do not sum to one; empty cells; no rows.
    QueryError
        A continuous column, or too many cells.
    UnknownNameError
        A variable that the table does not have.
    """
    check_table(source)
    frame, weight = _frame(source, list(names))
    kept = [name for name in names if name in frame.columns]
    absent = [name for name in names if name not in frame.columns]
    if absent and not partial:
        raise UnknownNameError(absent[0], kind="column", known=list(frame.columns), where="the table")
    if frame.empty or not kept:
        raise DataError("the table has no rows.")
    columns = {name: pd.Series(frame[name]) for name in kept}
    found = {name: _levels(columns[name], (levels or {}).get(name, ())) for name in kept}
    shape = tuple(len(found[name]) for name in kept)
    if math.prod(shape) > MAX_CELLS:
        raise QueryError(
            f"the table over {listed(kept)} has {math.prod(shape):,} cells, more than {MAX_CELLS:,}: leave out "
            "variables that the query does not need, or coarsen them."
        )
    codes = {name: {value: at for at, value in enumerate(found[name])} for name in kept}
    place = tuple(columns[name].astype(object).map(codes[name].__getitem__).to_numpy(int) for name in kept)
    cells = np.ravel_multi_index(place, shape)
    array = np.bincount(cells, None if weight is None else weight[0], math.prod(shape)).reshape(shape)
    if weight is not None and weight[1]:
        total = float(array.sum())
        if abs(total - 1) > 1e-6:
            raise DataError(f"the probabilities sum to {total:.9g}, not to one.", total=total)
        return Table(tuple(kept), found, array / total, True)
    size = float(array.sum())
    if size <= 0:
        raise DataError("the counts are all zero.")
    return Table(tuple(kept), found, array / size, False, int(size))


def check_table(source: Any) -> None:
    """Raise an ArgumentError where the source is of no kind that :func:`read_table` reads."""
    if not isinstance(source, pd.DataFrame | pd.Series | Mapping) and not _is_array(source):
        raise no_model(source, "a pcm.SCM or a table (DataFrame, Series, DataArray, dict)")


# -- private ---------------------------------------------------------------------------------------------------------


def _frame(source: Any, names: list[str]) -> tuple[pd.DataFrame, tuple[np.ndarray, bool] | None]:
    """Columns, and the weights of the rows with whether they are probabilities."""
    if _is_array(source):
        source = source.to_series()
    if isinstance(source, pd.Series):
        if None in source.index.names:
            raise ArgumentError("a Series of probabilities needs an index whose levels are named after the variables.")
        return source.index.to_frame(index=False), _weights(source.to_numpy(float), None, "the Series")
    if isinstance(source, Mapping):
        if source and all(isinstance(key, tuple) for key in source):
            if {len(key) for key in source} != {len(names)}:
                raise ArgumentError(
                    f"each key of a dict of probabilities holds values of {listed(names)}, in this order."
                )
            frame = pd.DataFrame(list(source), columns=names)
            return frame, _weights(np.array(list(source.values()), float), None, "the dict")
        source = pd.DataFrame(dict(source))
    for column, probability in [*((c, True) for c in _PROBABILITY), *((c, False) for c in _COUNT)]:
        if column in source.columns and column not in names:
            return source, _weights(source[column].to_numpy(float), probability, f"column '{column}'")
    return source, None


def _is_array(source: Any) -> bool:
    """Whether it is an ``xarray.DataArray``."""
    return hasattr(source, "dims") and hasattr(source, "to_series")


def _weights(values: np.ndarray, probability: bool | None, what: str) -> tuple[np.ndarray, bool]:
    if not np.isfinite(values).all() or (values < 0).any():
        raise DataError(
            f"{what} holds {'a value that is not finite' if not np.isfinite(values).all() else 'negatives'}."
        )
    if probability is None:  # whole numbers above one are counts
        probability = not (bool((values == np.round(values)).all()) and values.sum() > 1)
    return values, probability


def _levels(column: pd.Series, more: tuple[Any, ...]) -> tuple[Any, ...]:
    name = column.name
    empty = column.isna().to_numpy(bool)
    if empty.any():
        rows = list(column.index[empty][:5])
        raise DataError(f"column '{name}' of the table is empty in rows {listed(rows)}.", column=name, rows=rows)
    if isinstance(column.dtype, pd.CategoricalDtype):
        values = list(column.cat.categories)
    else:
        values = [value.item() if hasattr(value, "item") else value for value in column.unique()]
    values = list({**dict.fromkeys(more), **dict.fromkeys(values)})
    if len(values) > MAX_LEVELS:
        raise QueryError(
            f"'{name}' takes {len(values)} values: bounds over response types need finite variables with at most "
            f"{MAX_LEVELS}; cut it into classes (pandas.cut).",
            column=name,
        )
    if isinstance(column.dtype, pd.CategoricalDtype) or more:
        return tuple(values)
    try:
        return tuple(sorted(values))
    except TypeError:
        return tuple(values)
