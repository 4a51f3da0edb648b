r"""The outcome's own law about a prediction of the target, told from what the prediction may read and nothing else.

A faithful prediction is the law of the target ``T`` given the admissible inputs. The outcome ``Y`` of the same row
obeys another law: it reads its parents as they are. Its quantile at level ``α`` is the target's, moved by the same
amount for every row,

    q_Y(α | row) = q_T(α | row) + s(α),    s(α) the α-quantile of  Y - q_T(α | row)  over the training law

(conformalised quantile regression, Romano, Patterson & Candès 2019, with either end by itself). Intervals then hold
``Y`` at their rate over rows like those that were learned from, and respond to a source exactly as the prediction does:
two rows that are told the same target are told the same interval. ``Y`` is drawn from the fitted mechanism at the
training rows' own parents, not read from these rows, to which the mechanism may have been bent.

>>> import numpy as np
>>> from pcm.predict.prediction import Prediction
>>> target = Prediction(np.zeros((1, 1, 3)), np.array([[-1.0, 1.0]]))
>>> Observed(target, np.array([[4.0, 5.0, 6.0]])).shift(0.5)
5.0
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from pcm.predict.prediction import Prediction

__all__ = ["Observed", "ObservedRows"]

#: Training rows, and draws of the outcome for each.
_ROWS, _DRAWS = 1_000, 64


class Observed:
    """Draws of the outcome beside laws of the target, for the same rows.

    Parameters
    ----------
    target : Prediction
    outcome : array ``(draw, row)``
    """

    def __init__(self, target: Prediction, outcome: np.ndarray) -> None:
        self._target, self._outcome = target, outcome
        self._shifts: dict[float, float] = {}

    def shift(self, level: float) -> float:
        """How far the outcome's quantile at this level lies above the target's."""
        if level not in self._shifts:
            above = self._outcome - self._target.quantile(level)
            self._shifts[level] = float(np.quantile(above, level))
        return self._shifts[level]


class ObservedRows:
    """Training rows of a fitted predictor, from which :class:`Observed` is made when it is first asked for."""

    def __init__(self, estimator: Any, frame: pd.DataFrame) -> None:
        order = np.random.default_rng(estimator.seed).permutation(len(frame))[:_ROWS]
        self._estimator, self._frame = copy(estimator), frame.iloc[np.sort(order)]
        self._made: Observed | None = None

    def shift(self, level: float) -> float:
        """As :meth:`Observed.shift` has it."""
        if self._made is None:
            there = self._estimator._distribution(self._frame)
            self._made = Observed(there, self._estimator._forecast(self._frame).draws(_DRAWS))
        return self._made.shift(level)
