"""An estimator that was asked before it was fitted: an error of ours that scikit-learn knows for its own.

>>> from sklearn.linear_model import LinearRegression
>>> check_fitted(LinearRegression(), "coef_")
Traceback (most recent call last):
    ...
pcm.predict.unfitted.UnfittedError: this LinearRegression is not fitted yet: call fit(rows) first.
"""

from __future__ import annotations

from typing import Any

from sklearn.exceptions import NotFittedError

from pcm.errors import PCMError

__all__ = ["UnfittedError", "check_fitted"]


class UnfittedError(PCMError, NotFittedError):
    """A question to an estimator that has seen no rows."""


def check_fitted(estimator: Any, attribute: str) -> None:
    """Raise unless fitting left the attribute behind."""
    if attribute not in vars(estimator):
        raise UnfittedError(f"this {type(estimator).__name__} is not fitted yet: call fit(rows) first.")
