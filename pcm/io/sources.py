"""The table behind data of whatever kind: the names of its columns, its columns, the index of its rows.

>>> source = open_source({"dose": [1, 2], "sex": True}, [Column("dose"), Column("sex")], "evidence")
>>> source.get("sex"), source.index
(array([ True,  True]), RangeIndex(start=0, stop=2, step=1))
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from pcm.errors import DataError, listed
from pcm.io.columns import Column, element_names
from pcm.io.intervals import Interval

__all__ = ["Source", "open_source", "refuse_strangers"]

_SHOWN = 5  # rows named in a message


@dataclass(frozen=True)
class Source:
    """A table of any kind. ``get`` gives a column as a Series or an array ``[unit, …]``; ``keep`` holds what keeps
    pandas from writing memory that is shared."""

    names: Collection[Any]
    get: Callable[[str], Any]
    index: pd.Index
    what: str
    keep: Any = None

    def fail(self, column: str, found: str, bad: Any = None, advice: str = "", **fields: Any) -> DataError:
        """The error for a column, naming the rows to blame (``bad``: a mask or positions)."""
        where = ""
        if bad is not None:
            bad = np.asarray(bad)
            fields["rows"] = self.index[np.flatnonzero(bad) if bad.dtype == bool else bad].tolist()
            where = f" ({'row' if len(fields['rows']) == 1 else 'rows'} {listed(map(repr, fields['rows']), _SHOWN)})"
        tail = f" {advice}" if advice else ""
        return DataError(f"column '{column}' of the {self.what} {found}{where}.{tail}", column=column, **fields)


def open_source(data: Any, columns: Sequence[Column], what: str) -> Source:
    """Open data as a table.

    Parameters
    ----------
    data : DataFrame, mapping, pyarrow.Table, pyarrow.RecordBatch or other Arrow stream
        What :func:`pcm.io.frames.read_evidence` takes.
    columns : sequence of Column
        What will be read; nothing else is touched.
    what : str
        What messages call the data.

    Returns
    -------
    Source

    Raises
    ------
    DataError
        Not a table, no rows, a column twice, unequal lengths, Series with different indexes.

    Examples
    --------
    >>> open_source({"dose": [1, 2]}, [Column("dose")], "evidence").names
    ['dose']
    """
    if isinstance(data, pd.DataFrame):
        return _open_frame(data, columns, what)
    if isinstance(data, Mapping):
        return _open_mapping(data, columns, what)
    if isinstance(data, (pd.Series, pd.Index)):
        raise DataError(
            f"the {what} is a pandas {type(data).__name__}; give a DataFrame: one unit is frame.loc[[label]]."
        )
    if isinstance(data, pa.RecordBatch):
        data = pa.Table.from_batches([data])
    elif not isinstance(data, pa.Table) and hasattr(data, "__arrow_c_stream__"):
        data = pa.table(data)
    if isinstance(data, pa.Table):
        return _open_arrow(data, columns, what)
    raise DataError(
        f"the {what} is of type {type(data).__name__}; columns are matched by name: give a pandas DataFrame, "
        "a dict of arrays or a pyarrow Table."
    )


def _open_frame(data: pd.DataFrame, columns: Sequence[Column], what: str) -> Source:
    if data.columns.nlevels > 1:
        raise DataError(f"the columns of the {what} have {data.columns.nlevels} levels; give them one name each.")
    if not len(data):
        raise DataError(f"the {what} has no rows; give at least one unit.")
    if not data.columns.is_unique:
        _refuse_repeated(set(data.columns[data.columns.duplicated()]), columns, what)
    return Source(data.columns, data.__getitem__, data.index, what, keep=data.copy(deep=False))


def _open_arrow(data: pa.Table, columns: Sequence[Column], what: str) -> Source:
    names = data.column_names
    if len(set(names)) < len(names):
        _refuse_repeated({name for name in names if names.count(name) > 1}, columns, what)
    wanted = {name for c in columns for name in (c.name, *element_names(c))}
    if not data.num_rows:
        raise DataError(f"the {what} has no rows; give at least one unit.")
    meta = data.schema.pandas_metadata or {}
    wanted.update(name for name in meta.get("index_columns", ()) if isinstance(name, str))
    frame = data.select([name for name in names if name in wanted]).to_pandas()
    return Source(names, frame.__getitem__, frame.index, what, keep=frame)


def _open_mapping(data: Mapping, columns: Sequence[Column], what: str) -> Source:
    wanted = {name for c in columns for name in (c.name, *(element_names(c) if c.event_shape else ()))}
    read = {name: _array(name, value, what) for name, value in data.items() if name in wanted}
    lengths = {name: length for name, value in read.items() if (length := _length(value)) is not None}
    n = next(iter(lengths.values()), 1)
    if any(length != n for length in lengths.values()):
        raise DataError(
            f"the columns of the {what} have unequal lengths: {listed(f'{k}: {v}' for k, v in lengths.items())}; "
            "give every unit a value.",
            column=next(name for name, length in lengths.items() if length != n),
        )
    if not data or not n:
        raise DataError(f"the {what} {'has no rows' if data else 'is empty'}; give at least one unit.")
    index: pd.Index | None = None
    for name, value in read.items():
        if isinstance(data[name], pd.Series):
            index = value.index if index is None else index
            if value.index is not index and not value.index.equals(index):
                raise DataError(
                    f"Series '{name}' of the {what} has another index than the Series before it; "
                    "put them in one DataFrame so that rows are matched by label.",
                    column=name,
                )

    def get(name: str) -> Any:
        value = read[name]
        if isinstance(value, Interval) and value.units is None:
            return Interval(np.full(n, value.low), value.high)
        return value if isinstance(value, Interval) or value.ndim else np.full(n, value[()])

    keep = [value.copy(deep=False) for value in read.values() if isinstance(value, pd.Series)]
    return Source(list(data), get, pd.RangeIndex(n) if index is None else index, what, keep)


def _length(value: Any) -> int | None:
    """How many units a mapping's entry has values for; None for one that stands for every unit."""
    if isinstance(value, Interval):
        return value.units
    return len(value) if value.ndim else None


def _array(name: str, value: Any, what: str) -> Any:
    """A mapping's entry as a Series or an array; scalars as arrays without dims. An interval stays one."""
    if isinstance(value, pd.Interval):
        value = np.array([value], dtype=object)[0:1].reshape(())
    if isinstance(value, (np.ndarray, pd.Series, Interval)) and not isinstance(value, np.ma.MaskedArray):
        return value
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        return (value.double() if value.dtype in (torch.bfloat16, torch.float16) else value).numpy()
    if isinstance(value, np.ma.MaskedArray):
        return np.ma.filled(value.astype(np.float64), np.nan)
    try:
        if isinstance(value, (pd.Index, pd.api.extensions.ExtensionArray, pa.Array, pa.ChunkedArray)):
            return pd.Series(value.to_pandas() if isinstance(value, (pa.Array, pa.ChunkedArray)) else value)
        if isinstance(value, Sequence) and not isinstance(value, str) and any(isinstance(v, str) for v in value):
            return np.asarray(value, dtype=object)  # a fixed-width text array would turn None and numbers into text
        return np.asarray(value)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"column '{name}' of the {what} cannot be made an array ({error}); give one value (or one list) a unit.",
            column=name,
        ) from error


def _refuse_repeated(twice: Collection[Any], columns: Sequence[Column], what: str) -> None:
    for column in columns:
        for name in {column.name, *element_names(column)} & set(twice):
            raise DataError(f"the {what} has more than one column named '{name}'; keep one.", column=name)


def refuse_strangers(columns: Sequence[Column], missing: Sequence[str], source: Source, *, ignore_extra: bool) -> None:
    """Refuse data that has nothing asked for, or a column whose name looks like a misspelling of a missing one.

    Names match but for case, spaces and punctuation; or by one slip of the hand (a letter too many, too few, wrong,
    or two swapped) in a name of four letters or more, digits aside: ``age`` and ``age2`` are two things.

    Raises
    ------
    DataError
        Naming the column and the variable meant.

    Examples
    --------
    >>> source = open_source({"Dose": [1], "sex": [0]}, [Column("sex")], "evidence")
    >>> refuse_strangers([Column("dose"), Column("sex")], ["dose"], source, ignore_extra=False)
    Traceback (most recent call last):
    pcm.errors.DataError: column 'Dose' of the evidence is not a variable; variables: dose, sex. Did you mean 'dose'?
    Rename it, or leave it out.
    """
    if len(missing) == len(columns):
        raise DataError(
            f"the {source.what} has none of the columns looked for: {listed(missing)}; it has: {listed(source.names)}."
        )
    if ignore_extra:
        return
    known = {name for c in columns for name in (c.name, *element_names(c))}
    for extra in source.names:
        if extra not in known and (near := next((m for m in missing if _misspelt(str(extra), m)), None)):
            raise DataError(
                f"column '{extra}' of the {source.what} is not a variable; "
                f"variables: {listed(c.name for c in columns)}. Did you mean '{near}'? Rename it, or leave it out.",
                column=extra,
            )


def _misspelt(found: str, meant: str) -> bool:
    plain = ["".join(c for c in name.casefold() if c.isalnum()) for name in (found, meant)]
    if plain[0] == plain[1]:
        return True
    a, b = sorted(plain, key=len)
    if len(a) < 4 or len(b) - len(a) > 1 or _digits(a) != _digits(b):
        return False
    start = next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))
    if len(a) < len(b):
        return a[start:] == b[start + 1 :]
    swapped = a[:start] + a[start : start + 2][::-1] + a[start + 2 :]
    return a[start + 1 :] == b[start + 1 :] or swapped == b


def _digits(name: str) -> str:
    return "".join(c for c in name if c.isdigit())
