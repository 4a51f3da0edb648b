"""Numbers as a reader wants them: a few significant digits, equal decimals down a column, a true minus sign.

>>> number(-0.012345), number(1234567), number(float("nan"))
('−0.0123', '1,234,567', '–')
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["column_texts", "number"]

_MISSING = "–"


def number(value: Any, digits: int = 3) -> str:
    """One number with ``digits`` significant digits; integers in full."""
    if pd.isna(value):
        return _MISSING
    if isinstance(value, int | np.integer):
        return _signed(_integer(int(value)))
    return _signed(_float(float(value), _decimals(np.array([float(value)]), digits), digits))


def column_texts(column: pd.Series, spec: str | Callable[[Any], str] | None = None, digits: int = 3) -> list[str]:
    """The texts of a column's cells.

    Parameters
    ----------
    column
        Values ``[row]``.
    spec
        A format specification, or a function of the value; missing cells do not reach it.
    digits
        Significant digits of floats: those of the column's typical magnitude, so that decimals align.
    """
    values = column.tolist()
    missing = column.isna().tolist()
    if spec is not None:
        write = spec if callable(spec) else lambda value: _signed(format(value, spec))
    elif pd.api.types.is_bool_dtype(column.dtype):
        write = _yes_no
    elif pd.api.types.is_integer_dtype(column.dtype):
        commas = any(abs(value) >= 10_000 for value, gone in zip(values, missing, strict=True) if not gone)
        write = lambda value: _signed(f"{value:,}" if commas else str(value))  # noqa: E731
    elif pd.api.types.is_float_dtype(column.dtype):
        decimals = _decimals(column.to_numpy(float, na_value=np.nan), digits)
        write = lambda value: _signed(_float(value, decimals, digits))  # noqa: E731
    else:
        write = str
    return [_MISSING if gone else write(value) for value, gone in zip(values, missing, strict=True)]


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"


def _integer(value: int) -> str:
    return f"{value:,}" if abs(value) >= 10_000 else str(value)  # years and codes stay whole


def _decimals(values: np.ndarray, digits: int) -> int | None:
    """Decimals that show ``digits`` significant digits of the typical value; ``None``: use powers of ten."""
    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    if not sizes.size:
        return 0
    largest, typical = float(sizes.max()), float(np.median(sizes))
    if largest >= 1e9 or largest < 1e-4:
        return None
    if np.all(values[np.isfinite(values)] % 1 == 0):
        return 0
    return min(max(digits - 1 - math.floor(math.log10(typical)), 0), digits + 3)


def _float(value: float, decimals: int | None, digits: int) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.{digits - 1}e}" if decimals is None and value else f"{value:,.{decimals or 0}f}"


def _signed(text: str) -> str:
    return "−" + text[1:] if text.startswith("-") else text
