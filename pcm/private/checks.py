"""What mechanisms and statistics ask of their constants and of their data; nothing is debited where one refuses.

>>> check_loss("Laplace", scale=None, epsilon=0.5)
('epsilon', 0.5)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from pcm.errors import ArgumentError, DataError, listed

__all__ = [
    "check_delta",
    "check_distance",
    "check_ledger",
    "check_loss",
    "check_plain",
    "check_units",
    "refuse_own_bounds",
    "refuse_rows",
]

ROWS = ("row", "record")
"""Units of privacy of which one person may have several."""
SHORT = 31
"""Longest scale of whole numbers (grades, days of a month) whose ends data are likely to reach."""
DIGITS = 4
"""Significant digits of a fraction that was written down beforehand, and that data may well reach."""


# -- constants -------------------------------------------------------------------------------------------------------


def check_plain(value: Any, asked: str, public: bool) -> float:
    """A finite Python number; anything that looks computed from data is refused unless it was declared public."""
    if type(value) not in (int, float) and not public:
        raise ArgumentError(
            f"{asked}: {value!r} ({type(value).__name__}) is not a plain number. A bound computed from the data gives "
            "the data away: write down one known beforehand, or declare it with public=True."
        )
    try:
        number = float(value) if not isinstance(value, str | bool) else None
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError):
        number = None
    if number is None:
        raise ArgumentError(f"{asked}: {value!r} is no number.")
    if not math.isfinite(number):
        raise ArgumentError(f"{asked}: {value!r} is not finite.")
    return int(value) if isinstance(value, int) else number


def check_loss(asked: str, **given: Any) -> tuple[str, float]:
    """The one of several ways to state the noise that was given: its name and its positive number."""
    named = {name: value for name, value in given.items() if value is not None}
    if len(named) != 1:
        raise ArgumentError(f"{asked}: give one of {', '.join(f'{name}=' for name in given)}; found {named or 'none'}.")
    ((name, value),) = named.items()
    number = float(check_plain(value, f"{asked}({name}=…)", True))
    if not number > 0:
        raise ArgumentError(f"{asked}({name}={value!r}): a positive number is needed.")
    return name, number


def check_delta(value: Any) -> float:
    """A δ: at least 0, below 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ArgumentError(f"delta={value!r} must be at least 0 and below 1.")
    return float(value)


def check_distance(value: Any) -> float:
    """How far two inputs are apart: a number, finite and not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ArgumentError(f"map(distance={value!r}): a finite number, not negative, is needed.")
    return float(value)


# -- data ------------------------------------------------------------------------------------------------------------


def refuse_rows(name: str, index: pd.Index, bad: np.ndarray, found: str, advice: str) -> None:
    """Raise for the rows of a mask, if there are any. The message names rows, never their values."""
    if not bad.any():
        return
    rows = index[np.flatnonzero(bad)[:5]].tolist()
    raise DataError(
        f"'{name}' {found} in {int(bad.sum())} of {len(bad)} rows (first: {listed(map(repr, rows))}). {advice} "
        "Nothing was debited.",
        column=name,
        rows=rows,
    )


def refuse_own_bounds(name: str, values: np.ndarray, bounds: tuple[float, float]) -> None:
    """Raise where public bounds are the data's own least and largest value, unless these may well reach them.

    One bound alone tells where it is a fraction with more digits than anyone would write down beforehand.
    """
    low, high = bounds
    if len(values) < 2:
        return
    own = [end for end, found in ((low, values.min()), (high, values.max())) if end == found]
    both = len(own) == 2 and not _by_convention(low, high)
    if not (both or any(end % 1 and float(f"{end:.{DIGITS}g}") != end for end in own)):
        return
    which = "the smallest and largest value" if both else "the smallest or largest value"
    raise DataError(
        f"the bounds {bounds} are {which} of '{name}' itself: bounds computed from the data give rows away. Choose "
        "bounds known beforehand, or declare these with public=True. Nothing was debited.",
        column=name,
    )


def check_ledger(ledger: Any, asked: str) -> None:
    """Raise unless this is a ledger."""
    from pcm.private.ledger import Ledger

    if not isinstance(ledger, Ledger):
        raise ArgumentError(f"{asked}: the ledger is a private.Ledger; found {ledger!r}.")


def check_units(index: pd.Index, unit: str, name: str) -> None:
    """Raise where one unit of privacy has several rows."""
    if index.is_unique or unit in ROWS:
        return
    again = index[index.duplicated()].unique()
    raise DataError(
        f"'{name}' has several rows for one {unit} ({listed(again, 5)}), and the ledger's unit of privacy is one "
        f"{unit}: give each one row, or keep a ledger of unit='row'.",
        column=name,
        rows=list(again[:5]),
    )


# -- private ---------------------------------------------------------------------------------------------------------


def _by_convention(low: float, high: float) -> bool:
    """Whether bounds are likely to have been fixed beforehand: a short scale of whole numbers, or round ends."""
    if low % 1 or high % 1:
        return False
    return high - low <= SHORT or all(abs(end) <= 1 or end % 5 == 0 for end in (low, high))
