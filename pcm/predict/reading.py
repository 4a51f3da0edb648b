"""Any fitted predictor as one function of a frame: numbers, or probabilities of each class.

>>> import pandas as pd
>>> reader = Reader(lambda rows: 2 * rows["x"], "y", None, None)
>>> reader(pd.DataFrame({"x": [1.0, 2.0], "y": [0.0, 0.0]})).tolist()
[2.0, 4.0]
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from torch.nn import Module

from pcm.errors import ArgumentError, DataError, QueryError, listed
from pcm.predict.releases import as_released

__all__ = ["Reader", "outcome_name"]


class Reader:
    """Calls a predictor on rows from which the outcome has been taken away.

    Parameters
    ----------
    model : estimator or callable
        ``predict_proba`` of a classifier, else ``predict``, else the thing itself, called with a DataFrame.
    outcome : str
    labels : sequence, optional
        Classes in the order of their codes, of a finite outcome.
    inputs : sequence of str, optional
        Columns to hand on, in this order; by default those that it was fitted with (``feature_names_in_``), else all.
    """

    def __init__(self, model: Any, outcome: str, labels: Sequence[Any] | None, inputs: Sequence[str] | None) -> None:
        self.model, self.outcome, self.labels = model, outcome, None if labels is None else list(labels)
        if inputs is not None and (isinstance(inputs, str) or not isinstance(inputs, Sequence)):
            raise ArgumentError(f"inputs={inputs!r}: a list of the columns that the predictor reads is needed.")
        known = getattr(model, "feature_names_in_", None)
        self.inputs = list(inputs) if inputs is not None else None if known is None else list(known)
        self.name = type(model).__name__ if hasattr(model, "predict") else getattr(model, "__name__", "predictor")
        if not callable(model) and not hasattr(model, "predict"):
            raise ArgumentError(f"{model!r} is no predictor: it has no predict() and cannot be called.")

    def __call__(self, rows: Any) -> np.ndarray:
        """Predictions ``(row,)``, or of a finite outcome ``(row, class)``."""
        count = len(rows)
        if self.inputs is None:
            rows = self._shown(rows.drop(columns=[self.outcome], errors="ignore"))
        else:
            lacking = [name for name in self.inputs if name not in rows]
            if lacking:
                raise DataError(
                    f"the predictor reads {listed(map(repr, lacking))}, no variable of the model; it has "
                    f"{listed(rows.columns)}.",
                    missing=lacking,
                )
            rows = rows[self.inputs]
        if self.labels is not None and hasattr(self.model, "predict_proba"):
            found = self._ordered(np.asarray(self.model.predict_proba(rows), dtype=np.float64))
        else:
            predict = self.model.predict if hasattr(self.model, "predict") else self.model
            found = np.asarray(_plain(self._called(predict, rows)), dtype=np.float64)
        if found.ndim == 2 and found.shape[1] == 1:
            found = found[:, 0]
        if found.shape[:1] != (count,) or found.ndim > 2:
            raise ArgumentError(f"the predictor gave {found.shape} for {count} rows; one number a row is needed.")
        if self.labels is not None and found.ndim == 1 and len(self.labels) == 2:
            found = np.stack([1 - found, found], 1)
        if not np.isfinite(found).all():
            raise QueryError(f"{self.name} predicts what is not finite for {(~np.isfinite(found)).sum()} of the rows.")
        return found

    def _called(self, predict: Any, rows: Any) -> Any:
        try:
            return predict(rows)
        except TypeError as error:
            if not isinstance(self.model, Module):
                raise
            names = list(rows.columns)
            raise ArgumentError(
                f"the predictor, a torch {type(self.model).__name__}, is called with a DataFrame and cannot read it: "
                f"{error}. Hand over a function, such as lambda rows: module(torch.tensor(rows[{names}].to_numpy(), "
                "dtype=torch.float32))."
            ) from error

    def _shown(self, rows: Any) -> Any:
        """Rows drawn by a model, as a predictor of ours was shown its own: noisy answers in place of what they hide."""
        return as_released(self.model.scm._model, rows, self.model.told_) if hasattr(self.model, "told_") else rows

    def _ordered(self, chance: np.ndarray) -> np.ndarray:
        """Columns in the order of the outcome's codes; a class that it never saw has probability 0."""
        assert self.labels is not None
        seen: Collection[Any] = list(getattr(self.model, "classes_", range(len(self.labels))))
        odd = [label for label in seen if label not in self.labels]
        if odd:
            raise DataError(f"the predictor's class {odd[0]!r} is none of '{self.outcome}': {listed(self.labels)}.")
        full = np.zeros((len(chance), len(self.labels)))
        full[:, [self.labels.index(label) for label in seen]] = chance
        return full


def outcome_name(model: Any, outcome: str | None, names: Collection[str]) -> str:
    """What a predictor predicts: as asked, or as the predictor says."""
    found = outcome if outcome is not None else getattr(model, "outcome", None)
    if found is None:
        raise ArgumentError("outcome= is the name of what is predicted; the predictor does not say.")
    if found not in names:
        from pcm.errors import UnknownNameError

        raise UnknownNameError(found, known=list(names))
    return found


def _plain(found: Any) -> Any:
    return found.detach().cpu().numpy() if hasattr(found, "detach") else found
