r"""What a predictor on admissible inputs has to be compared with: anchor regression, and the parents alone.

Anchor regression is least squares on ``W y`` and ``W X`` with ``W = I + (√γ - 1) Π_A``, ``Π_A`` the projection on the
anchors. In a linear model its objective is the risk under the worst shift of strength ``γ`` along which the anchors
act: γ = 1 is least squares, γ → ∞ leaves residuals that the anchors do not predict (instrumental variables).

>>> import numpy as np, pandas as pd
>>> rng = np.random.default_rng(0)
>>> a, u = rng.normal(size=(2, 50_000))
>>> rows = pd.DataFrame({"a": a, "x": a + u, "y": 2 * (a + u) - 3 * u + rng.normal(size=50_000)})
>>> [AnchorRegression("y", anchors=["a"], gamma=g, inputs=["x"]).fit(rows).coef_.round(1).tolist() for g in (1, 1e6)]
[[0.5], [2.0]]

References
----------
Rothenhäusler, Meinshausen, Bühlmann & Peters, "Anchor regression: heterogeneous data meet causality", JRSS B 2021.
Christiansen, Pfister, Jakobsen, Gnecco & Peters, "A causal framework for distribution generalization", 2006.07433.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.linear_model import LinearRegression, LogisticRegression

from pcm.arguments import check_names
from pcm.errors import ArgumentError, DataError, listed
from pcm.io.columns import Column
from pcm.io.frames import read_evidence
from pcm.predict.design import rows_of, variable_of
from pcm.predict.unfitted import check_fitted
from pcm.query.model import model_of

__all__ = ["AnchorRegression", "ParentsOnly"]


class AnchorRegression(RegressorMixin, BaseEstimator):
    """Least squares that shifts along the anchors, of a strength up to ``gamma``, cannot hurt.

    Parameters
    ----------
    outcome : str
    anchors : sequence of str
        Columns that stand for where the data are from; needed to fit, not to predict.
    gamma : float
        Strength of the worst shift, as a multiple of the anchors' own variance.
    inputs : sequence of str, optional
        What is predicted from; by default every other column.

    Attributes
    ----------
    coef_ : array ``(input,)``
    intercept_ : float

    Examples
    --------
    >>> import pandas as pd, pcm
    >>> rows = pd.DataFrame({"e": [0.0, 1.0, 0.0, 1.0], "x": [0.0, 1.0, 2.0, 3.0], "y": [0.0, 2.0, 4.0, 6.0]})
    >>> pcm.AnchorRegression("y", anchors=["e"], gamma=5.0).fit(rows).predict(rows).round(9).tolist()
    [0.0, 2.0, 4.0, 6.0]
    """

    def __init__(
        self, outcome: str, *, anchors: Sequence[str] = (), gamma: float = 2.0, inputs: Sequence[str] | None = None
    ) -> None:
        self.outcome, self.anchors, self.gamma, self.inputs = outcome, anchors, gamma, inputs

    def fit(self, X: pd.DataFrame, y: Any = None) -> AnchorRegression:
        """Fit to rows that have inputs, anchors, and the outcome unless ``y`` is given."""
        if isinstance(self.gamma, bool) or not isinstance(self.gamma, Real) or not 0 <= self.gamma < np.inf:
            raise ArgumentError(f"gamma={self.gamma!r}: a finite number that is not negative is needed.")
        rows = _with_outcome(X, y, self.outcome)
        known = list(rows)
        anchors = list(check_names(self.anchors, "anchors", known, kind="column", where="the data"))
        rest = [name for name in rows if name not in (self.outcome, *anchors)]
        chosen = list(
            rest if self.inputs is None else check_names(self.inputs, "inputs", known, kind="column", where="the data")
        )
        if not chosen or self.outcome in (*chosen, *anchors):
            raise ArgumentError(
                f"inputs={chosen!r}, anchors={anchors!r}: at least one input is needed, and '{self.outcome}' is what "
                "is predicted."
            )
        x, target, anchors = (_numbers(rows, names) for names in (chosen, [self.outcome], anchors))
        if len(x) <= len(chosen):
            raise DataError(f"{len(x)} rows do not fix {len(chosen)} coefficients and a constant; give more.")
        self.inputs_ = chosen
        centre, middle = x.mean(0), target.mean(0)
        basis = np.linalg.qr(anchors - anchors.mean(0))[0]

        def moved(values: np.ndarray) -> np.ndarray:
            return values + (np.sqrt(self.gamma) - 1) * basis @ (basis.T @ values)

        found = LinearRegression(fit_intercept=False).fit(moved(x - centre), moved(target - middle)[:, 0])
        self.coef_, self.intercept_ = found.coef_, float(middle[0] - centre @ found.coef_)
        return self

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Predictions ``(row,)``."""
        check_fitted(self, "coef_")
        return _numbers(X, self.inputs_) @ self.coef_ + self.intercept_


class ParentsOnly(BaseEstimator):
    """A regression on the outcome's parents in the graph, and on nothing else.

    It is minimax where interventions on the rest are of any strength, and the parents are all seen.

    Parameters
    ----------
    scm : SCM
    outcome : str
    estimator : estimator, optional
        By default least squares, and logistic regression of a finite outcome.
    hidden : sequence of str
        Parents that are not in the data.

    Examples
    --------
    >>> import pyro, pyro.distributions as dist, pcm
    >>> def program():
    ...     x = pyro.sample("x", dist.Normal(0.0, 1.0))
    ...     y = pyro.sample("y", dist.Normal(2.0 * x, 0.1))
    ...     pyro.sample("z", dist.Normal(y, 0.1))
    >>> scm = pcm.SCM(program)
    >>> pcm.ParentsOnly(scm, "y").fit(scm.sample(5_000, seed=0)).estimator_.coef_.round(1).tolist()
    [2.0]
    """

    def __init__(self, scm: Any, outcome: str, *, estimator: Any = None, hidden: Sequence[str] = ()) -> None:
        self.scm, self.outcome, self.estimator, self.hidden = scm, outcome, estimator, hidden

    def fit(self, X: pd.DataFrame, y: Any = None) -> ParentsOnly:
        """Fit to rows that have the parents, and the outcome unless ``y`` is given."""
        sites = model_of(self.scm).structure.sites
        check_names([self.outcome], "outcome", sites)
        check_names(self.hidden, "hidden", sites)
        self.parents_ = [name for name in self.scm.graph.pred[self.outcome] if name not in self.hidden]
        finite = sites[self.outcome].cardinality is not None
        default = LogisticRegression(max_iter=1_000) if finite else LinearRegression()
        if self.estimator is not None and not hasattr(self.estimator, "get_params"):
            raise ArgumentError(f"estimator={self.estimator!r} is no estimator of scikit-learn's form.")
        rows = _with_outcome(X, y, self.outcome)
        there = [variable_of(name, sites) for name in rows]
        _need(rows.set_axis(there, axis=1), [self.outcome, *self.parents_])
        target = rows[self.outcome].to_numpy() if finite else _numbers(rows, [self.outcome])[:, 0]
        self.estimator_: Any = clone(self.estimator if self.estimator is not None else default)
        self.estimator_.fit(self._design(rows), target)
        if finite:
            self.classes_ = self.estimator_.classes_
        return self

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Predictions ``(row,)``; of a finite outcome its classes."""
        check_fitted(self, "estimator_")
        return self.estimator_.predict(self._design(X))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimator_")

    def __getattr__(self, name: str) -> Any:
        if name == "predict_proba" and "classes_" in self.__dict__:
            return self._predict_proba
        raise AttributeError(f"'{type(self).__name__}' has no attribute '{name}'")

    def _predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        return self.estimator_.predict_proba(self._design(X))

    def _design(self, rows: pd.DataFrame) -> np.ndarray:
        return rows_of(self.scm._model, rows, self.parents_) if self.parents_ else np.zeros((len(rows), 1))


# -- private ---------------------------------------------------------------------------------------------------------


def _with_outcome(X: Any, y: Any, outcome: str) -> pd.DataFrame:
    """The rows, the outcome among them."""
    if not isinstance(X, pd.DataFrame):
        raise DataError(f"X is a DataFrame, a column a variable; found {type(X).__name__}.")
    if y is None:
        return X
    values = np.asarray(y)
    if values.shape != (len(X),):
        raise DataError(f"y has the shape {values.shape} for the {len(X)} rows of X; one value a row is needed.")
    return X.assign(**{outcome: values})


def _numbers(rows: Any, names: Sequence[str]) -> np.ndarray:
    """Whole columns of numbers, ``(row, column)``."""
    if not isinstance(rows, pd.DataFrame):
        raise DataError(f"X is a DataFrame, a column a variable; found {type(rows).__name__}.")
    _need(rows, names)
    found = read_evidence(rows, [Column(name) for name in names], ignore_extra=True, what="data")
    if found.holes:
        raise DataError(f"the data have empty cells in {listed(map(repr, found.holes))}: drop or fill them.")
    return np.stack([found.values[name].numpy() for name in names], 1) if names else np.zeros((len(rows), 0))


def _need(rows: pd.DataFrame, names: Sequence[str]) -> None:
    lacking = [name for name in names if name not in rows]
    if lacking:
        raise DataError(f"the data lack {listed(map(repr, lacking))}; they have {listed(rows.columns)}.")
