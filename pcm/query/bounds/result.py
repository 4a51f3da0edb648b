"""An interval that holds the answer under every model compatible with what is known.

>>> found = Bounds(0.25, 0.53, sharp=True, how="vertices of 2 polytopes", label="PNS of a on y")
>>> found
PNS of a on y: between 0.25 and 0.53 (sharp: vertices of 2 polytopes)
>>> 0.3 in found, 0.6 in found, round(found.width, 9)
(True, False, 0.28)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from pcm.arguments import check_probability
from pcm.errors import QueryError
from pcm.notebook import Shown

__all__ = ["Bounds"]

_SLACK = 1e-9


@dataclass(frozen=True, eq=False, repr=False)
class Bounds(Shown):
    """Bounds on a causal quantity.

    Attributes
    ----------
    low, high : float, or numpy.ndarray of shape (unit,)
        No compatible model gives less, or more.
    sharp : bool
        Whether both ends are attained: by a compatible model. Where False the bounds are valid, not proven sharp.
    how : str
        What was solved, in words.
    label : str
    certificate : pandas.DataFrame
        The distributions of response types that attain each end: a row a type, columns ``component``, ``context``,
        ``type``, ``low``, ``high`` (probabilities).
    attained : tuple of float, or None
        Where ``sharp`` is False, values between which some compatible models are known to lie: the sharp bounds are
        between these and ``low``, ``high``.
    index : pandas.Index or None
        Names of the units.
    notes : tuple of str
        What the bounds rest on.
    draws : numpy.ndarray of shape (draw, 2) or (draw, 2, unit), or None
        Of a fitted model: the bounds under each draw of its parameters; ``low`` and ``high`` are their means.

    Examples
    --------
    >>> low, high = Bounds(0.25, 0.53, sharp=True, how="…")
    >>> low, high
    (0.25, 0.53)
    """

    low: Any
    high: Any
    sharp: bool
    how: str
    label: str = "bounds"
    certificate: pd.DataFrame = field(default_factory=pd.DataFrame)
    attained: tuple[Any, Any] | None = None
    index: pd.Index | None = None
    notes: tuple[str, ...] = ()
    draws: np.ndarray | None = None

    def interval(self, prob: float = 0.95) -> tuple[Any, Any]:
        """Where the bounds lie with this probability under the parameter draws; ``(low, high)`` without draws."""
        check_probability(prob)
        if self.draws is None:
            return self.low, self.high
        low, high = (
            np.quantile(self.draws[:, 0], (1 - prob) / 2, axis=0),
            np.quantile(self.draws[:, 1], (1 + prob) / 2, axis=0),
        )
        return (low, high) if np.ndim(low) else (float(low), float(high))

    @property
    def width(self) -> Any:
        """``high − low``."""
        return self.high - self.low

    def to_dataframe(self) -> pd.DataFrame:
        """Columns ``low`` and ``high``, a row a unit (one row for an average)."""
        index = [self.label] if self.index is None else self.index
        return pd.DataFrame({"low": np.atleast_1d(self.low), "high": np.atleast_1d(self.high)}, index=index)

    def __contains__(self, value: Any) -> bool:
        value = np.asarray(value, dtype=float)
        return bool(np.all((self.low - _SLACK <= value) & (value <= self.high + _SLACK)))

    def __iter__(self) -> Any:
        return iter((self.low, self.high))

    def __float__(self) -> float:
        raise QueryError(f"{self.label} is bounded, not known: take .low and .high.")

    def __repr__(self) -> str:
        words = f"{'sharp' if self.sharp else 'valid, not proven sharp'}: {self.how}"
        if np.ndim(self.low):
            low, high = np.asarray(self.low), np.asarray(self.high)
            if not len(low):
                return f"{self.label}: no units"
            return f"{self.label}: {len(low)} units, mean width {(high - low).mean():.4g}, within " + (
                f"{low.min():.4g} and {high.max():.4g} ({words})"
            )
        spread = ""
        if self.draws is not None:
            low, high = self.interval(0.95)
            spread = f" [{low:.3g}, {high:.3g}] (95 %, {len(self.draws)} draws)"
        return f"{self.label}: between {self.low:.4g} and {self.high:.4g}{spread} ({words})"
