"""Identity of a row: a number that depends on its index label alone, not on where the row stands.

Noise is drawn by counter from (seed, row id, site, draw), so a unit keeps its noise whatever the order of rows, the
batch or the number of workers. A label that occurs again gets the id of (label, occurrence).

>>> import pandas
>>> row_ids(pandas.RangeIndex(3))
array([0, 1, 2], dtype=uint64)
>>> bool((row_ids(pandas.Index(["a", "b"])) == row_ids(pandas.Index(["b", "a"]))[::-1]).all())
True
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from pandas.util import hash_array

__all__ = ["row_ids"]

_STEP = np.uint64(0x9E3779B97F4A7C15)


def row_ids(index: pd.Index) -> np.ndarray:
    """Ids of the rows of an index.

    Parameters
    ----------
    index : pandas.Index
        Labels of any kind. Data without an index has a ``RangeIndex``: rows are then known by position.

    Returns
    -------
    array
        ``uint64 [unit]``. A whole number is its own id (so ids of neighbours are close: mix them before use), a date
        its nanoseconds since 1970, anything else a hash; equal labels of equal kind have equal ids on every machine.

    Notes
    -----
    Of repeated labels the first has the label's own id. Two labels share an id with a chance of about 2⁻⁶⁴ a pair.

    Examples
    --------
    >>> row_ids(pd.Index([7, 7, -1])).tolist()[::2]
    [7, 18446744073709551615]
    """
    if isinstance(index, pd.RangeIndex):
        return np.arange(index.start, index.stop, index.step, dtype=np.int64).view(np.uint64)
    ids = _label_ids(index)
    if (ids[1:] > ids[:-1]).all() or index.is_unique:
        return ids
    again = pd.Series(ids).groupby(ids, sort=False).cumcount().to_numpy().astype(np.uint64)
    return np.where(again == 0, ids, _mix(ids + again * _STEP))


def _label_ids(index: pd.Index) -> np.ndarray:
    if isinstance(index, pd.MultiIndex):
        ids = np.zeros(len(index), np.uint64)
        for level, codes in zip(index.levels, index.codes, strict=True):
            ids = _mix(ids * np.uint64(31) + np.append(_label_ids(level), _STEP)[codes])
        return ids
    if isinstance(index, pd.CategoricalIndex):
        return np.append(_label_ids(index.categories), _STEP)[index.codes]
    if isinstance(index, (pd.DatetimeIndex, pd.TimedeltaIndex)):
        return index.as_unit("ns").asi8.view(np.uint64)
    kind = index.dtype.kind if isinstance(index.dtype, np.dtype) else "O"
    if kind in "iub":
        return index.to_numpy().astype(np.int64 if kind != "u" else np.uint64).view(np.uint64)
    if kind == "f":
        labels = index.to_numpy().astype(np.float64)
        whole = (labels == np.rint(labels)) & (np.abs(labels) < 2.0**53)
        ids = np.where(whole, labels, 0.0).astype(np.int64).view(np.uint64)
        return ids if whole.all() else np.where(whole, ids, hash_array(labels))  # pyright: ignore[reportCallIssue]
    return hash_array(_as_text(index), categorize=False)  # pyright: ignore[reportCallIssue]


def _as_text(index: pd.Index) -> np.ndarray:
    """Labels as text, cell by cell, so that a label's hash does not depend on the labels beside it."""
    if isinstance(index.dtype, pd.StringDtype) and not index.hasnans:
        return index.to_numpy(dtype=object)
    return np.array([label if type(label) is str else repr(label) for label in index], dtype=object)


def _mix(ids: np.ndarray) -> np.ndarray:
    """The splitmix64 finaliser."""
    ids = (ids ^ (ids >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    ids = (ids ^ (ids >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ids ^ (ids >> np.uint64(31))
