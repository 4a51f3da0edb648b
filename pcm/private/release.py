"""What comes out of a mechanism: a real :class:`Release`, or :class:`Simulated` noise; and values declared public.

The three are typed columns. A site that is private noise takes as evidence a release of its own mechanism or declared
public values; simulated noise is for studies of the method and is refused there until it is declared public.

>>> from pcm import private
>>> public([1, 0, 1])
Public(3 units)
>>> rr = private.RandomizedResponse(epsilon=1.0, categories=["no", "yes"])
>>> Release(["yes", "no"], rr, name="smoker")
Release(smoker: 2 units through RandomizedResponse(epsilon=1.0, categories=('no', 'yes')))
"""

from __future__ import annotations

from typing import Any, ClassVar, final

import numpy as np
import pandas as pd

from pcm.couplings import Reported
from pcm.errors import ArgumentError, DataError
from pcm.notebook import Shown

__all__ = ["Public", "Release", "Simulated", "public", "read_column"]


@final
class Release(Shown, Reported):
    """Answers that a mechanism gave to real data, for anyone to see; made by a mechanism's ``release``.

    Building one by hand (from a file, say) asserts that the values came out of that mechanism.

    Parameters
    ----------
    values : array ``[unit]``
        Labels or numbers.
    mechanism : Mechanism
    index : pandas.Index, optional
        Names of the units; a Series' own, else positions.
    name : str
        Of the column.
    entry : int, optional
        Where the ledger booked it.

    Raises
    ------
    DataError
        Values that the mechanism cannot give.

    Examples
    --------
    >>> from pcm import private
    >>> rr = private.RandomizedResponse(epsilon=1.0, categories=[0, 1])
    >>> Release([1, 0], rr, index=["ann", "bob"], name="smoker").to_series()
    ann    1
    bob    0
    Name: smoker, dtype: int64
    """

    def __init__(
        self, values: Any, mechanism: Any, *, index: Any = None, name: str = "release", entry: int | None = None
    ) -> None:
        from pcm.private.mechanism import Mechanism

        if not isinstance(mechanism, Mechanism):
            raise ArgumentError(f"Release(values, mechanism): {mechanism!r} is no mechanism of pcm.private.")
        array, own, _ = read_column(values, name)
        super().__init__(array, own if index is None else pd.Index(index), mechanism)
        if len(self.index) != len(self.values):
            raise DataError(f"release '{name}' has {len(self.values)} values and {len(self.index)} index labels.")
        mechanism.encode(self.values)
        self.name, self.entry = name, entry

    def to_series(self) -> pd.Series:
        """The values under their names; what has been released may be shown and stored."""
        return pd.Series(self.values, index=self.index, name=self.name)

    def __repr__(self) -> str:
        return f"Release({self.name}: {len(self)} units through {self.mechanism!r})"

    def _table(self) -> pd.DataFrame:
        return self.to_series().to_frame()


@final
class Simulated(Reported):
    """Answers of a mechanism drawn by torch: for studies, never for real data, and no evidence."""

    evidence: ClassVar[bool] = False

    def __repr__(self) -> str:
        return f"Simulated({len(self)} units through {self.mechanism!r})"


@final
class Public(Reported):
    """Values that their owner declares public; made by :func:`public`."""

    def __init__(self, values: Any, index: pd.Index) -> None:
        super().__init__(values, index, None)

    def __repr__(self) -> str:
        return f"Public({len(self)} units)"


def public(values: Any) -> Public:
    """Declare values public, so that they can be evidence of a site that is private noise.

    Parameters
    ----------
    values : Series, array, list or Simulated
        ``[unit]``: the program's own numbers (codes of a categorical).

    Examples
    --------
    >>> public([0.5, -0.25]).values.tolist()
    [0.5, -0.25]
    """
    if isinstance(values, Simulated):
        return Public(values.codes(), values.index)
    if isinstance(values, Reported):
        raise ArgumentError(f"{values!r} is evidence as it is; pass it on.")
    array, index, _ = read_column(values, "public data")
    return Public(array, index)


def read_column(data: Any, what: str) -> tuple[np.ndarray, pd.Index, Any]:
    """One column of data: values ``[unit]``, the names of the units, the column's own name (or None).

    Raises
    ------
    DataError
        No column, or no rows.
    """
    if isinstance(data, Reported):
        raise DataError(f"{what}: {data!r} has been released already; noise is added to data once.")
    if hasattr(data, "detach"):
        data = data.detach().cpu().numpy()
    if isinstance(data, np.ma.MaskedArray):
        plain = data.data.astype(object)  # numpy alone would bring back what is masked
        plain[np.ma.getmaskarray(data)] = None
        data = plain
    if isinstance(data, pd.Series):
        array = np.asarray(data.astype(object)) if isinstance(data.dtype, pd.CategoricalDtype) else data.to_numpy()
        index, name = data.index, data.name
    elif isinstance(data, list | tuple | np.ndarray | pd.Index | pd.api.extensions.ExtensionArray):
        # an array of numbers holds no text, and is long to search
        mixed = not isinstance(data, np.ndarray) or (data.ndim > 0 and data.dtype.kind not in "biufc")
        texts = mixed and any(isinstance(each, str) for each in data)
        array = np.asarray(data, dtype=object) if texts else np.asarray(data)
        index, name = pd.RangeIndex(len(array) if array.ndim else 0), None
    else:
        raise DataError(f"{what}: one column is needed (a Series, an array or a list); found {type(data).__name__}.")
    if array.ndim != 1:
        raise DataError(f"{what}: one value a unit is needed; found an array of shape {array.shape}.")
    if not len(array):
        raise DataError(f"{what}: there are no rows.")
    return array, index, name
