"""Tables on disk: CSV and Parquet, by suffix, written whole or not at all.

>>> import pathlib, tempfile
>>> path = pathlib.Path(tempfile.mkdtemp()) / "patients.csv"
>>> write_table(pd.DataFrame({"age": [40, 50]}, index=pd.Index(["ann", "bob"], name="who")), path)
>>> read_table(path, index="who")["age"].to_dict()
{'ann': 40, 'bob': 50}
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pandas as pd

from pcm.errors import ArgumentError, DataError, StoreError, UnknownNameError

__all__ = ["read_table", "write_table"]

_PARQUET = (".parquet", ".pq")


def read_table(path: str | os.PathLike, index: str | None = None) -> pd.DataFrame:
    """Read a ``.csv`` or ``.parquet`` file.

    Parameters
    ----------
    path : path
        A file with a header; CSV in UTF-8.
    index : str, optional
        Column that names the units. A Parquet file written by pandas brings its index along.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    ArgumentError
        The suffix is neither ``.csv`` nor ``.parquet``.
    StoreError
        There is no such file, or it cannot be read as what its suffix says.
    DataError
        A CSV header that repeats a name.
    UnknownNameError
        ``index`` is not a column.

    Examples
    --------
    >>> read_table("patients.xls")
    Traceback (most recent call last):
    pcm.errors.ArgumentError: 'patients.xls' is neither .csv nor .parquet; save the table as one of the two.
    """
    path = Path(path)
    parquet = _is_parquet(path)
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise StoreError(f"the table '{path}' {found}; give the path of a .csv or .parquet file.", path=str(path))
    try:
        if parquet:
            frame = pd.read_parquet(path, engine="pyarrow")
        else:
            _refuse_repeated_header(path)
            frame = pd.read_csv(path)
    except DataError:
        raise
    except Exception as error:  # each reader has its own family of exceptions
        kind = "Parquet" if parquet else "CSV"
        raise StoreError(f"the table '{path}' cannot be read as {kind}: {error}", path=str(path)) from error
    if index is None:
        return frame
    if index not in frame.columns:
        if index in frame.index.names:
            return frame
        raise UnknownNameError(index, kind="column", known=list(frame.columns), where=f"'{path}'")
    return frame.set_index(index)


def write_table(frame: pd.DataFrame, path: str | os.PathLike) -> None:
    """Write a ``.csv`` or ``.parquet`` file; an earlier file stays as it is until the new one is complete.

    Parameters
    ----------
    frame : pandas.DataFrame
        Its index is written too, except an unnamed ``RangeIndex`` to CSV.
    path : path
        Its folder must exist.

    Raises
    ------
    ArgumentError
        The suffix is neither ``.csv`` nor ``.parquet``.
    StoreError
        The folder does not exist, or the file cannot be written.

    Examples
    --------
    >>> write_table(pd.DataFrame(), "no-such-folder/table.csv")
    Traceback (most recent call last):
    pcm.errors.StoreError: the folder of 'no-such-folder/table.csv' does not exist; make it first.
    """
    path = Path(path)
    parquet = _is_parquet(path)
    if not path.parent.is_dir():
        raise StoreError(f"the folder of '{path}' does not exist; make it first.", path=str(path))
    plain = isinstance(frame.index, pd.RangeIndex) and frame.index.name is None
    mask = os.umask(0)
    os.umask(mask)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
        try:
            if parquet:
                frame.to_parquet(temporary, engine="pyarrow")
            else:
                frame.to_csv(temporary, index=not plain)
            os.chmod(temporary, 0o666 & ~mask)  # mkstemp's files are private
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except (OSError, ValueError) as error:
        raise StoreError(f"the table '{path}' cannot be written: {error}", path=str(path)) from error


def _is_parquet(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix not in (".csv", *_PARQUET):
        raise ArgumentError(f"'{path}' is neither .csv nor .parquet; save the table as one of the two.", path=str(path))
    return suffix in _PARQUET


def _refuse_repeated_header(path: Path) -> None:
    """pandas renames a second ``age`` to ``age.1`` without a word."""
    header = pd.read_csv(path, header=None, nrows=1, dtype=str).iloc[0].dropna()
    if not header.is_unique:
        twice = header[header.duplicated()].iloc[0]
        raise DataError(f"the table '{path}' has more than one column named '{twice}'; keep one.", column=twice)
