"""Labels and codes: the label at position ``k`` of the categories has code ``k``.

>>> labels_of(("none", "basic", "full"), np.array([2.0, np.nan]))
['full', NaN]
Categories (3, str): ['none', 'basic', 'full']
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pcm.errors import DataError, listed, suggestion

__all__ = ["codes_of", "labels_of"]


def codes_of(name: str, categories: tuple, raw: pd.Series | np.ndarray, fail: Callable[..., DataError]) -> np.ndarray:
    """Codes of a column of labels.

    Parameters
    ----------
    name : str
        Name of the column, for messages.
    categories : tuple
        The labels there are.
    raw : Series or array
        ``[unit, event…]``. Numbers are codes if no category is a number, and labels otherwise; where categories are
        text that reads as numbers, numbers are refused.
    fail : callable
        ``fail(column, found, bad, advice)`` makes the error.

    Returns
    -------
    array
        Integer codes, or floats with NaN where a cell is missing.

    Raises
    ------
    DataError
        A label that is not listed, a code out of range, numbers that could be either.

    Examples
    --------
    >>> codes_of("plan", ("none", "full"), np.array(["full", "none", None], dtype=object), ValueError)
    array([ 1.,  0., nan])
    """
    if isinstance(raw.dtype, pd.CategoricalDtype):
        positions = raw.cat.codes.to_numpy()  # type: ignore[union-attr]
        table = _lookup(categories, raw.dtype.categories)
        codes = np.append(table, -1)[positions]
        return _checked(name, categories, raw, codes, positions < 0, fail)
    numeric = raw.dtype.kind in "iufb"
    if numeric and not any(isinstance(c, (numbers.Number, np.bool_)) for c in categories):
        return _as_codes(name, categories, raw, fail)
    flat = raw if isinstance(raw, pd.Series) else raw.reshape(-1)
    codes = _lookup(categories, flat)
    absent = None if (codes >= 0).all() else np.asarray(pd.isna(flat))
    return _checked(name, categories, flat, codes, absent, fail, raw.shape)


def labels_of(categories: tuple, codes: np.ndarray) -> pd.Categorical:
    """The labels of codes, as a pandas categorical; a NaN code or one below 0 has no label.

    Examples
    --------
    >>> list(labels_of(("none", "full"), np.array([1, 0])))
    ['full', 'none']
    """
    if codes.dtype.kind == "f":
        codes = np.where(np.isnan(codes), -1, codes)
    return pd.Categorical.from_codes(codes.astype(np.intp), categories=pd.Index(categories))


def _lookup(categories: tuple, values: Any) -> np.ndarray:
    """Position of each value among the categories, −1 where it is not there."""
    text = isinstance(values, pd.Series) and isinstance(values.dtype, pd.StringDtype)
    if text and all(isinstance(c, str) for c in categories):
        found = pc.call_function("index_in", [pa.array(values)], pc.SetLookupOptions(pa.array(categories)))
        return found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.intp)
    return pd.Index(categories).get_indexer(pd.Index(values))


def _as_codes(name: str, categories: tuple, raw: Any, fail: Callable[..., DataError]) -> np.ndarray:
    array = raw.to_numpy(dtype=np.float64, na_value=np.nan) if isinstance(raw, pd.Series) else np.asarray(raw)
    if any(_reads_as_number(c) for c in categories):
        raise fail(
            name,
            f"holds numbers, and the categories are text that reads as numbers ({listed(map(repr, categories))}), so "
            "that a number could be a label or a code",
            None,
            "Turn the column into text.",
        )
    absent = np.isnan(array)
    with np.errstate(invalid="ignore"):
        outside = ~absent & ~((array >= 0) & (array < len(categories)) & (array == np.floor(array)))
    if outside.any():
        found = f"holds the code {array[outside][0]:g}, which is none of 0 … {len(categories) - 1}"
        raise fail(
            name, found, outside.reshape(len(array), -1).any(axis=1), f"Labels: {listed(map(repr, categories))}."
        )
    return array


def _checked(
    name: str,
    categories: tuple,
    cells: Any,
    codes: np.ndarray,
    absent: np.ndarray | None,
    fail: Callable[..., DataError],
    shape: tuple[int, ...] | None = None,
) -> np.ndarray:
    shape = codes.shape if shape is None else shape
    unknown = codes < 0
    if absent is not None:
        unknown &= ~absent
    if unknown.any():
        value = (cells.iloc if isinstance(cells, pd.Series) else cells)[int(np.flatnonzero(unknown)[0])]
        raise fail(
            name,
            f"holds {value!r}, which is none of its categories",
            unknown.reshape(shape).reshape(shape[0], -1).any(axis=1),
            f"Categories: {listed(map(repr, categories))}.{suggestion(value, categories)}",
            value=value,
        )
    if absent is not None and absent.any():
        codes = np.where(absent, np.nan, codes)
    return codes.reshape(shape)


def _reads_as_number(label: object) -> bool:
    try:
        float(str(label))
    except ValueError:
        return False
    return True
