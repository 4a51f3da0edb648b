"""Cells that are known to lie in an interval: censored, rounded, binned.

>>> bounds = take_intervals(Column("dose"), np.array([Interval(1, 2), 3.0, None], dtype=object), fail=None)
>>> bounds.cells, bounds.low, bounds.rest
(array([ True, False, False]), array([  1., -inf, -inf]), array([None, 3.0, None], dtype=object))
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pcm.errors import ArgumentError, DataError, listed
from pcm.io.columns import Column, element_names

__all__ = ["Bounds", "Interval", "take_intervals"]


class Interval:
    """A value that was not seen exactly: somewhere from ``low`` to ``high``, both included.

    A cell of a frame or of a list; or, with arrays of ends, a whole column in a dict. pandas' intervals are understood
    too (``pandas.cut`` makes them), with their own idea of which ends are included. Of a vector, or a plate inside a
    unit, each value may be one: in the columns ``x[0]``, ``x[1]``, … or in lists.

    Parameters
    ----------
    low, high : number, or array ``(unit,)``
        ``-inf`` and ``inf`` where nothing is known on that side. Equal ends are an exact value. Of a variable with
        labels that have an order, labels.

    Examples
    --------
    An income reported as a class, and one above the top code:

    >>> import pcm, pyro, pyro.distributions as dist
    >>> def pay():
    ...     skill = pyro.sample("skill", dist.Normal(0.0, 1.0))
    ...     pyro.sample("income", dist.Normal(30.0 + 5.0 * skill, 4.0))
    >>> people = {"skill": [0.0, 1.0], "income": [pcm.Interval(20.0, 30.0), pcm.Interval(low=50.0)]}
    >>> cf = pcm.SCM(pay).counterfactual(people, do={"skill": 2.0}, seed=0)
    >>> cf.mean("income", "factual").round(6).tolist()          # a normal's mean within the class, and above the code
    [26.910316, 50.951437]
    >>> pcm.SCM(pay).counterfactual({"skill": 0.0, "income": pcm.Interval([20.0], [30.0])}, do={"skill": 0.0})
    Counterfactual(1 units; worlds: factual, do; variables: skill, income; rung 3)

    One of two jointly normal scores, known to be positive:

    >>> import torch
    >>> def scores():
    ...     pyro.sample("x", dist.MultivariateNormal(torch.zeros(2), torch.tensor([[1.0, 0.6], [0.6, 1.0]])))
    >>> cf = pcm.SCM(scores).counterfactual({"x": [[pcm.Interval(low=0.0), 0.5]]}, do={"x": [0.0, 0.0]})
    >>> cf.mean("x", "factual").round(6).tolist()
    [[0.760381, 0.5]]
    """

    __slots__ = ("high", "low")

    def __init__(self, low: Any = -math.inf, high: Any = math.inf) -> None:
        ends = []
        for end in (low, high):
            try:
                array = np.asarray(end)
            except (TypeError, ValueError):
                array = np.asarray(None)
            if array.ndim > 1 or array.dtype.kind not in "fiubUOT":
                raise ArgumentError(f"pcm.Interval takes two numbers, or two arrays of numbers; found {end!r}.")
            ends.append(array)
        if all(end.ndim for end in ends) and len(ends[0]) != len(ends[1]):
            raise ArgumentError(f"pcm.Interval: {len(ends[0])} low ends, but {len(ends[1])} high ones.")
        self.low, self.high = (end if end.ndim else end.item() for end in ends)

    @property
    def units(self) -> int | None:
        """How many cells the ends are arrays for; None for a single cell."""
        return next((len(end) for end in (self.low, self.high) if isinstance(end, np.ndarray)), None)

    def cells(self) -> list[Interval]:
        """One interval a unit, for a column of a frame.

        Examples
        --------
        >>> Interval([0, 2], [1, 3]).cells()
        [Interval(0, 1), Interval(2, 3)]
        """
        low, high = np.broadcast_arrays(np.atleast_1d(self.low), np.atleast_1d(self.high))
        made = [object.__new__(Interval) for _ in range(len(low))]  # the ends were looked at as arrays
        for cell, one, other in zip(made, low.tolist(), high.tolist(), strict=True):
            cell.low, cell.high = one, other
        return made

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Interval):
            return NotImplemented
        return np.array_equal(self.low, other.low) and np.array_equal(self.high, other.high)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Interval({self.low}, {self.high})"


@dataclass(frozen=True)
class Bounds:
    """The intervals of a column, and what is left without them.

    Attributes
    ----------
    cells : bool array ``(unit, event…)``
        Which cells are intervals.
    low, high : array ``(unit, event…)``
        Closed ends, infinite elsewhere; whole numbers for discrete columns.
    rest : Series, array or None
        The column, empty where an interval was; None of one that was joined from its elements.
    """

    cells: np.ndarray
    low: np.ndarray
    high: np.ndarray
    rest: Any


def take_intervals(column: Column, raw: Any, fail: Callable[..., DataError] | None) -> Bounds | None:
    """Take the intervals out of a column; None where it has none.

    Parameters
    ----------
    column : Column
    raw : Series, array or Interval
    fail : callable
        ``fail(column, found, bad, advice)`` makes the error.

    Raises
    ------
    DataError
        Ends that are no numbers, missing, in the wrong order; no whole number between the ends of a discrete variable.

    Examples
    --------
    >>> take_intervals(Column("k", discrete=True), pd.cut(pd.Series([1.5]), [1, 2, 3]), None).low
    array([2.])
    """
    fail = fail or (lambda name, what, *_: DataError(f"column '{name}' {what}", column=name))
    found = _found(column, raw, fail)
    if found is None:
        return None
    cells, low, high, open_low, open_high, rest = found
    if column.event_shape:
        advice = f"Give each value its own: a column '{element_names(column)[0]}' and so on, or lists with intervals."
        raise fail(column.name, "has several values a unit; an interval is one number's", cells, advice)
    low, high = (_numbers(column, end, cells, fail) for end in (low, high))
    if (bad := cells & (np.isnan(low) | np.isnan(high))).any():
        raise fail(column.name, "holds an interval with a missing end", bad, "Give -inf or inf where it is open.")
    if (bad := cells & ((low > high) | (low == np.inf) | (high == -np.inf))).any():
        at = int(np.flatnonzero(bad)[0])
        raise fail(column.name, f"holds the interval from {low[at]:g} to {high[at]:g}, which is empty", bad)
    if column.discrete or not column.dtype.is_floating_point:
        least, most = np.ceil(low), np.floor(high)
        least, most = least + (open_low & (least == low)), most - (open_high & (most == high))
        if (bad := cells & (least > most)).any():
            at = int(np.flatnonzero(bad)[0])
            raise fail(
                column.name, f"holds the interval from {low[at]:g} to {high[at]:g}, with no whole number in it", bad
            )
        low, high = least, most
    return Bounds(cells, np.where(cells, low, -np.inf), np.where(cells, high, np.inf), rest)


def _found(column: Column, raw: Any, fail: Callable[..., DataError]) -> tuple[Any, ...] | None:
    """Which cells are intervals, their ends, which ends are excluded, and the rest of the column."""
    if isinstance(raw, Interval):
        units = raw.units or 1
        low, high = (np.broadcast_to(np.asarray(end), (units,)) for end in (raw.low, raw.high))
        return np.ones(units, dtype=bool), low, high, False, False, np.full(units, np.nan)
    if isinstance(raw.dtype, pd.CategoricalDtype) and isinstance(raw.dtype.categories, pd.IntervalIndex):
        raw = pd.Series(pd.arrays.IntervalArray(raw.to_numpy(), closed=raw.dtype.categories.closed))
    if isinstance(raw.dtype, pd.IntervalDtype):
        array = raw.array
        cells = ~np.asarray(array.isna())
        left, right = array.closed in ("right", "neither"), array.closed in ("left", "neither")
        return cells, np.asarray(array.left), np.asarray(array.right), left, right, np.full(len(cells), np.nan)
    if raw.dtype != np.dtype(object) or raw.ndim > 1:
        return None
    array = np.asarray(raw, dtype=object)
    cells = np.fromiter((isinstance(cell, (Interval, pd.Interval)) for cell in array), dtype=bool, count=len(array))
    if not cells.any():
        return None
    whole = [at for at in np.flatnonzero(cells) if getattr(array[at], "units", None) is not None]
    if whole:
        found = "holds a whole column of intervals in each cell"
        raise fail(column.name, found, whole, "In a frame write pcm.Interval(low, high).cells().")
    low, high = np.full(len(array), -np.inf, dtype=object), np.full(len(array), np.inf, dtype=object)
    shut = [(cell.open_left, cell.open_right) if isinstance(cell, pd.Interval) else (False, False) for cell in array]
    low[cells] = [cell.left if isinstance(cell, pd.Interval) else cell.low for cell in array[cells]]
    high[cells] = [cell.right if isinstance(cell, pd.Interval) else cell.high for cell in array[cells]]
    rest = array.copy()
    rest[cells] = None
    open_low, open_high = np.array(shut, dtype=bool).reshape(-1, 2).T
    return cells, low, high, open_low, open_high, rest


def _numbers(column: Column, ends: np.ndarray, cells: np.ndarray, fail: Callable[..., DataError]) -> np.ndarray:
    """Ends as floats; labels as their codes."""
    if ends.dtype.kind in "fiub":
        return ends.astype(np.float64)
    codes = {label: code for code, label in enumerate(column.categories or ())}
    out = np.full(len(ends), np.nan)
    for at in np.flatnonzero(cells):
        end = ends[at]
        if isinstance(end, str) or (codes and end in codes):
            if end not in codes:
                advice = f"Categories: {listed(codes)}." if codes else "Give numbers."
                raise fail(column.name, f"holds an interval that ends at {end!r}", [at], advice)
            out[at] = codes[end]
        elif isinstance(end, numbers.Real):
            out[at] = float(end)
        elif not (end is None or end is pd.NA or end is pd.NaT):
            raise fail(column.name, f"holds an interval that ends at {end!r}, which is no number", [at])
    return out
