"""Data in and out: frames, dicts and Arrow tables to named tensors and back, by name and never by position.

A column of data becomes a tensor ``[unit, event…]``; labels become codes, ``code = categories.index(label)``; a cell
that is NaN, None or NA is a hole. Sites with an event shape come as columns ``name[0]``, ``name[1]``, … (``name[0,1]``
for matrices), as one column of lists, or as an array ``[unit, event…]`` in a dict.

>>> import pandas, torch
>>> patients = pandas.DataFrame({"age": [40.0, None], "plan": ["full", "none"], "ward": [3, 4]}, index=["ann", "bob"])
>>> columns = [Column("age"), Column("plan", categories=("none", "full"), dtype=torch.long), Column("dose")]
>>> evidence = read_evidence(patients, columns)
>>> evidence.values["plan"], evidence.holes, evidence.missing
(tensor([1, 0]), {'age': tensor([False,  True])}, ('dose',))
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pcm.errors import DataError, listed
from pcm.io.columns import Column, element_names
from pcm.io.intervals import Bounds, Interval, take_intervals
from pcm.io.labels import codes_of, labels_of
from pcm.io.sources import Source, open_source, refuse_strangers

__all__ = ["Column", "Evidence", "read_evidence", "write_frame"]


@dataclass(frozen=True)
class Evidence:
    """Data as tensors, one a column that was found.

    Attributes
    ----------
    values : dict of str to Tensor
        ``[unit, event…]``. A hole holds NaN in a float tensor and 0 in an integer one.
    index : pandas.Index
        Names of the units.
    missing : tuple of str
        Columns that the data does not have.
    holes : dict of str to Tensor
        ``bool [unit]``, true where the cell is empty (or any element of it) or an interval; only for columns with
        holes.
    elements : dict of str to Tensor
        ``bool [unit, event…]``, true where an element is empty; only for columns where some unit has others.
    bounds : dict of str to (Tensor, Tensor)
        Lowest and highest value of every cell ``[unit, event…]``, infinite but for cells that are intervals; only for
        columns with intervals.
    ignored : tuple of str
        Columns of the data that were not looked for.
    """

    values: dict[str, Tensor]
    index: pd.Index
    missing: tuple[str, ...] = ()
    holes: dict[str, Tensor] = field(default_factory=dict)
    bounds: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    elements: dict[str, Tensor] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.index)


def read_evidence(
    data: Any,
    columns: Sequence[Column],
    *,
    ignore_extra: bool = False,
    what: str = "evidence",
    share: bool = False,
) -> Evidence:
    """Read named tensors out of data.

    Parameters
    ----------
    data : DataFrame, mapping, pyarrow.Table, pyarrow.RecordBatch or other Arrow stream
        A mapping holds arrays, tensors, lists or Series (then their index names the units); a scalar stands for
        every unit, and a mapping of scalars alone is one unit.
    columns : sequence of Column
        What is looked for. Other columns are ignored, unless their name looks like a misspelling of one that is
        looked for and absent.
    ignore_extra : bool
        Accept such misspellings too.
    what : str
        What messages call the data.
    share : bool
        Where dtype and layout allow, let tensors view the data's memory, which must then not be written: later
        changes to a frame leave them as they are (pandas copies on write), changes to an array or tensor do not.

    Returns
    -------
    Evidence

    Raises
    ------
    DataError
        Data that is no table, is empty, repeats a column, or has columns of unequal length; a cell that is text
        where a number belongs, infinite, complex, a date, or a label outside the categories; a name that looks
        misspelt.

    Notes
    -----
    Absent columns and holes are reported, not refused: whether they are acceptable is for the caller to say.

    A column with ``categories`` holds labels. Numbers in it are codes if no category is a number (or text that reads
    as one, which is refused as ambiguous), and labels otherwise.

    Examples
    --------
    >>> read_evidence({"dose": [1, 2], "sex": True}, [Column("dose"), Column("sex")]).values
    {'dose': tensor([1., 2.], dtype=torch.float64), 'sex': tensor([1., 1.], dtype=torch.float64)}
    """
    source = open_source(data, columns, what)
    values: dict[str, Tensor] = {}
    holes: dict[str, Tensor] = {}
    bounds: dict[str, tuple[Tensor, Tensor]] = {}
    elements: dict[str, Tensor] = {}
    missing = []
    for column in columns:
        cells, between = _gather(column, source)
        if cells is None:
            missing.append(column.name)
            continue
        if between is not None:
            cells = _met(cells, between)
            if (open_ := between.cells & (between.low < between.high)).any():
                low, high = np.where(open_, between.low, -np.inf), np.where(open_, between.high, np.inf)
                bounds[column.name] = torch.from_numpy(low), torch.from_numpy(high)
        values[column.name], empty = _tensor(column, cells, source, share)
        if empty is not None:
            holes[column.name] = hole = empty.reshape(len(empty), -1).any(1)
            if bool((hole & ~empty.reshape(len(empty), -1).all(1)).any()):
                elements[column.name] = empty
    if missing:
        refuse_strangers(columns, missing, source, ignore_extra=ignore_extra)
    ignored: tuple[str, ...] = ()
    if len(source.names) > len(values):
        known = {name for column in columns for name in (column.name, *element_names(column))}
        ignored = tuple(str(name) for name in source.names if name not in known)
    return Evidence(values, source.index, tuple(missing), holes, bounds, elements, ignored)


def write_frame(
    values: Mapping[str, np.ndarray | Tensor], columns: Sequence[Column], index: Any = None
) -> pd.DataFrame:
    """Write named arrays as a frame, a row a unit: the inverse of :func:`read_evidence`.

    Parameters
    ----------
    values : mapping of str to array or Tensor
        ``[unit, event…]``; names that are no column are left out.
    columns : sequence of Column
        Their order is the order of the frame. Labelled columns become pandas categoricals, other discrete ones
        integers, and sites with event dims one column an element.
    index : pandas.Index, optional
        Names of the units.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    DataError
        If an array does not have the event shape of its column.

    Examples
    --------
    >>> columns = [Column("plan", categories=("a", "b")), Column("x", (2,))]
    >>> write_frame({"plan": np.array([1, 0]), "x": np.eye(2)}, columns)
      plan  x[0]  x[1]
    0    b   1.0   0.0
    1    a   0.0   1.0
    """
    table: dict[str, Any] = {}
    for column in columns:
        if column.name not in values:
            continue
        array = values[column.name]
        array = array.detach().cpu().numpy() if isinstance(array, Tensor) else np.asarray(array)
        if array.shape[1:] != column.event_shape:
            raise DataError(
                f"'{column.name}' has event shape {column.event_shape}, but the array has shape {array.shape}.",
                column=column.name,
            )
        for name, at in zip(element_names(column), np.ndindex(column.event_shape), strict=True):
            table[name] = _written(column, array[(slice(None), *at)])
    return pd.DataFrame(table, index=index)


def _met(cells: np.ndarray, between: Bounds) -> np.ndarray:
    """The column's cells where intervals whose ends meet are exact values."""
    met = between.cells & (between.low == between.high)
    return np.where(met, between.low, cells) if met.any() else cells


def _gather(column: Column, source: Source) -> tuple[np.ndarray | None, Bounds | None]:
    """The column's cells as bools, integers, or floats with NaN for holes (None where the data has no such column),
    and its intervals."""
    if column.name not in source.names or (column.event_shape and _elements(column, source)):
        return _stacked(column, source)
    raw = source.get(column.name)
    each = _unrolled(column, raw, source)
    return _one(column, raw, source) if each is None else _joined(column, each, source)


def _one(column: Column, raw: Any, source: Source) -> tuple[np.ndarray, Bounds | None]:
    """The cells and intervals of one column of the data."""
    plain = not isinstance(raw, Interval) and isinstance(raw.dtype, np.dtype) and raw.dtype.kind != "O"
    between = None if plain else take_intervals(column, raw, source.fail)
    return _cells(column, raw if between is None else between.rest, source), between


def _elements(column: Column, source: Source) -> list[str]:
    return [name for name in element_names(column) if name in source.names]


def _stacked(column: Column, source: Source) -> tuple[np.ndarray | None, Bounds | None]:
    """A column that stands in the data as one column an element."""
    here = column.name in source.names
    if not column.event_shape:
        return None, None
    names = element_names(column)
    found = _elements(column, source)
    if not found:
        return None, None
    if here:
        raise source.fail(column.name, f"stands beside '{found[0]}'", None, "Keep one of the two forms.")
    if len(found) < len(names):
        absent = [name for name in names if name not in source.names]
        raise source.fail(
            column.name,
            f"lacks the elements {listed(absent)}",
            None,
            f"It needs all of {listed(names)}; leave the cells empty of one that was not recorded.",
        )
    return _joined(column, [source.get(name) for name in names], source)


def _unrolled(column: Column, raw: Any, source: Source) -> list[np.ndarray] | None:
    """A column of lists that hold intervals, as one array an element; None of any other column."""
    if not column.event_shape or isinstance(raw, Interval) or raw.dtype != np.dtype(object):
        return None
    array = np.asarray(raw, dtype=object)
    rows = [np.asarray(row, dtype=object) for row in array]
    if not any(isinstance(cell, (Interval, pd.Interval)) for row in rows if row.ndim for cell in row.flat):
        return None
    out = np.full((len(rows), math.prod(column.event_shape)), None, dtype=object)
    for at, row in enumerate(rows):
        if row.shape == column.event_shape:
            out[at] = row.reshape(-1)
        elif row.ndim or not pd.isna(row.item()):
            found = f"holds {array[at]!r}, where the program has shape {column.event_shape}"
            raise source.fail(column.name, found, [at])
    return list(out.T)


def _joined(column: Column, parts: Sequence[Any], source: Source) -> tuple[np.ndarray, Bounds | None]:
    """A column from its elements."""
    shape = (len(source.index), *column.event_shape)
    found = [
        _one(replace(column, name=name, event_shape=()), raw, source)
        for name, raw in zip(element_names(column), parts, strict=True)
    ]
    cells = np.stack([each for each, _ in found], axis=-1).reshape(shape)
    if all(between is None for _, between in found):
        return cells, None
    nothing = np.zeros(len(cells), dtype=bool)
    marked = [nothing if between is None else between.cells for _, between in found]
    low = [np.full(len(cells), -np.inf) if between is None else between.low for _, between in found]
    high = [np.full(len(cells), np.inf) if between is None else between.high for _, between in found]
    stacked = [np.stack(each, axis=-1).reshape(shape) for each in (marked, low, high)]
    return cells, Bounds(stacked[0], stacked[1], stacked[2], None)


def _cells(column: Column, raw: Any, source: Source) -> np.ndarray:
    if column.categories is not None:
        array = codes_of(column.name, column.categories, raw, source.fail)
    else:
        array = _plain(raw)
        if array.dtype.kind == "O":
            array = _from_objects(column, array, source)
        if array.dtype.kind not in "fiub":
            found = _KINDS.get(array.dtype.kind, str(array.dtype))
            raise source.fail(column.name, f"holds {found} where numbers belong", None, _advice(column, found))
    if array.shape[1:] != column.event_shape:
        shape = f"a value of shape {array.shape[1:]}" if array.ndim > 1 else "a single number"
        raise source.fail(column.name, f"holds {shape} a unit, where the program has shape {column.event_shape}")
    return array


_KINDS = {"c": "complex numbers", "M": "dates", "m": "time spans", "U": "text", "S": "text"}


def _plain(raw: Any) -> np.ndarray:
    """A Series or array as a NumPy array; nullable and Arrow numbers as floats."""
    dtype = raw.dtype
    if isinstance(dtype, np.dtype):
        return raw.to_numpy() if isinstance(raw, pd.Series) else raw
    if isinstance(dtype, pd.CategoricalDtype):
        codes = raw.cat.codes.to_numpy()
        kinds = np.asarray(dtype.categories)
        return kinds[codes] if codes.min() >= 0 else np.append(kinds.astype(object), np.array([None]))[codes]
    if dtype.kind in "iufb":
        return raw.to_numpy(dtype=np.float64, na_value=np.nan)
    if dtype.kind in "mM":
        return np.empty(len(raw), f"{dtype.kind}8[ns]")
    return raw.to_numpy(dtype=object)


def _from_objects(column: Column, array: np.ndarray, source: Source) -> np.ndarray:
    """Objects that are numbers, missing, or lists of numbers, as floats."""
    out = np.empty((len(array), *column.event_shape))
    for at, cell in enumerate(array):
        if cell is None or cell is pd.NA or cell is pd.NaT:
            out[at] = np.nan
        elif not column.event_shape and isinstance(cell, (numbers.Real, np.bool_)):
            out[at] = float(cell)
        elif column.event_shape and not isinstance(cell, (str, bytes)):
            try:
                value = np.asarray(cell, dtype=np.float64)
            except (TypeError, ValueError):
                value = None
            empty = value is not None and value.ndim == 0 and np.isnan(value)
            if value is None or not (empty or value.shape == column.event_shape):
                found = f"holds {cell!r}, where the program has shape {column.event_shape}"
                raise source.fail(column.name, found, [at])
            out[at] = value
        else:
            kind = "text" if isinstance(cell, str) else f"objects of type {type(cell).__name__}"
            bad = [k for k, other in enumerate(array) if type(other) is type(cell)]
            raise source.fail(column.name, f"holds {kind} where numbers belong: {cell!r}", bad, _advice(column, kind))
    return out


def _advice(column: Column, found: str) -> str:
    if found == "text":
        return (
            f"Turn it into numbers with pandas.to_numeric, or name its labels: categories={{'{column.name}': [...]}}."
        )
    return "Turn it into numbers first."


def _tensor(column: Column, cells: np.ndarray, source: Source, share: bool) -> tuple[Tensor, Tensor | None]:
    """The column, and which of its elements are empty; None where none is."""
    empty = None
    if cells.dtype.kind == "f" and not _all_finite(cells):
        if (infinite := np.isinf(cells)).any():
            rows = infinite.reshape(len(cells), -1).any(axis=1)
            raise source.fail(
                column.name, "holds infinite numbers", rows, "Give finite numbers, or leave the cell empty."
            )
        empty = np.isnan(cells)
    if cells.dtype.kind == "f" and not column.dtype.is_floating_point:
        cells = cells if empty is None else np.where(empty, 0.0, cells)
        if (broken := cells != np.rint(cells)).any():
            rows = broken.reshape(len(cells), -1).any(axis=1)
            raise source.fail(column.name, f"holds {cells[broken][0]} where whole numbers belong", rows)
    keep = source.keep if share else None
    return _converted(cells, column.dtype, share, keep), None if empty is None else torch.from_numpy(empty)


def _all_finite(array: np.ndarray) -> bool:
    """One pass, no temporary: a sum is finite only if every term is. A sum that overflows is looked at again."""
    if array.dtype == np.float64 and array.flags.c_contiguous:
        view = array if array.flags.writeable else np.asarray(_View(array, None))
        total = float(torch.from_numpy(view).sum())  # three times as fast as numpy's
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            total = float(array.sum())
    return math.isfinite(total) or bool(np.isfinite(array).all())


def _converted(array: np.ndarray, dtype: torch.dtype, share: bool, keep: Any) -> Tensor:
    if share and array.flags.c_contiguous and _TORCH.get(array.dtype) is dtype:
        return torch.from_numpy(array if array.flags.writeable else np.asarray(_View(array, keep)))
    if array.dtype not in _TORCH:  # long double, half or foreign byte order
        array = array.astype(np.float64)
    return torch.tensor(np.ascontiguousarray(array), dtype=dtype)  # torch takes no negative strides


class _View:
    """Read-only memory lent to torch, which warns of such arrays. It lives as long as the tensor and holds ``keep``, a
    shallow copy of the frame, so that pandas copies the memory before a later write to the frame."""

    __slots__ = ("__array_interface__", "held")

    def __init__(self, array: np.ndarray, keep: Any) -> None:
        self.held = array, keep
        interface = dict(array.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface


_TORCH = {
    np.dtype(kind): getattr(torch, kind)
    for kind in ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")
}


def _written(column: Column, array: np.ndarray) -> Any:
    if column.categories is not None:
        return labels_of(column.categories, array)
    if column.discrete and array.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            whole = array.astype(np.int64)
        return whole if np.array_equal(whole, array) else array
    return array
