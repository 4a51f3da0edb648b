"""What both predictors share: learning from rows, and predicting, on the causally admissible inputs.

A prediction is made in blocks of rows: of each the copies of the parents that the target reads, then what was learned
from the rows over the copies. See :mod:`pcm.predict.estimators`.

>>> CausalEstimator(target="fair").fit([[0.0]], [1.0])
Traceback (most recent call last):
    ...
pcm.errors.ArgumentError: target='fair' is none of faithful, matched, observational.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from pcm.arguments import check_count, check_names, check_seed
from pcm.errors import ArgumentError, DataError, QueryError, UnknownNameError, listed
from pcm.predict.design import column_names, columns, outcome_of_rows, rows_of, variable_of
from pcm.predict.families import Family, Fitted, family, members_of
from pcm.predict.matched import fit_matched
from pcm.predict.observed import ObservedRows
from pcm.predict.releases import released_rows, told_by_noise
from pcm.predict.response import responses
from pcm.predict.unfitted import check_fitted
from pcm.predict.wiring import Wiring
from pcm.query.model import model_of
from pcm.requirement import Requirement, target_plan
from pcm.requirement.copies import Copies

__all__ = ["TARGETS", "CausalEstimator"]

TARGETS = ("faithful", "matched", "observational")
#: Imputations of missing inputs that are learned from.
_IMPUTATIONS = 8
#: Numbers at a time for one variable, states × copies × rows: they stay in the cache.
_BLOCK = 2**19


class CausalEstimator(BaseEstimator):
    """What :class:`pcm.CausalRegressor` and :class:`pcm.CausalClassifier` share; their parameters."""

    def __init__(
        self,
        scm: Any = None,
        outcome: str | None = None,
        *,
        requirements: Sequence[Any] = (),
        target: str = "faithful",
        family: str | Family = "linear",
        hidden: Collection[str] = (),
        states: int = 16,
        copies: int = 16,
        seed: int = 0,
    ) -> None:
        self.scm, self.outcome, self.requirements, self.target = scm, outcome, requirements, target
        self.family, self.hidden, self.states, self.copies, self.seed = family, hidden, states, copies, seed

    # -- fitting -----------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None) -> Any:
        """Learn from rows.

        Parameters
        ----------
        X : DataFrame, or dict of columns
            A column a variable, the outcome among them unless ``y`` is given; a dict where some are releases of a
            private mechanism, ``{**frame, "lab": release}``. Without a causal model any array.
        y : array ``(row,)``, optional

        Raises
        ------
        DataError
            A column that the admissible inputs need is not there; an outcome that is not finite.
        """
        self._check_settings()
        if self.scm is None:
            return self._fit_plain(X, y)
        self._check_outcome()
        self.wiring_: Any = Wiring.of(self.scm.graph, list(self.requirements), self._name)
        frame = self._frame(X, y)
        outcome = outcome_of_rows(self._model, frame, self._name)
        if self.family == "mechanism" and self.target == "faithful":
            self.fits_, self.feature_names_ = [], column_names(self.wiring_.plan.inputs, self._sites, self._labels)
        elif self.target == "matched":
            self.fits_ = [self._fit_matched(frame, outcome)]
        else:
            self.fits_ = self._learn(frame, outcome)
        self.marginal_: Any = frame[list(self.scm.covariates)] if self.scm.covariates else None
        self.n_features_in_ = len(frame.columns) - 1
        self.observed_: Any = None
        if self._regression and self.target == "faithful" and self.wiring_.plan.referred:
            self.observed_ = ObservedRows(self, frame.drop(columns=self._name))
        return self

    def _learn(self, frame: pd.DataFrame, outcome: np.ndarray) -> list[Fitted]:
        chosen = family(self.family)
        if self.target == "observational":
            found = self._copies(frame).all()
            kept = [parent for parent, kind in self.wiring_.inputs.items() if kind != "dropped"]
            if not kept:
                raise ArgumentError("these requirements leave no input to observe: take target='faithful'.")
            means = {parent: found.inputs[parent].mean((0, 1)) for parent in kept}
            self.feature_names_ = column_names(kept, self._sites, self._labels)
            return [chosen.fit(columns(means, self._sites), outcome, classes=self._classes, seed=self.seed)]
        # the mechanism is learned where it acts: on the parents as they were
        run = self._copies(frame, self._plain, states=1, copies=_IMPUTATIONS, outcome_seen=True)
        found = run.all()
        design = columns(found.inputs, self._sites).reshape(-1, len(frame), self._width(found.inputs))
        self.feature_names_ = column_names(found.inputs, self._sites, self._labels)
        return [
            chosen.fit(rows, outcome, classes=self._classes, seed=self.seed + place)
            for place, rows in enumerate(design)
        ]

    def _width(self, inputs: dict[str, np.ndarray]) -> int:
        return len(column_names(inputs, self._sites, self._labels))

    def _fit_matched(self, frame: pd.DataFrame, outcome: np.ndarray) -> Fitted:
        if self._classes is not None or self.family != "linear":
            raise ArgumentError(
                "target='matched' is the least squared risk of a linear prediction under linear constraints: it needs "
                "CausalRegressor and family='linear'. Take target='faithful', or pcm.violation in your own training."
            )
        below = {self._name, *self.scm.graph.successors(self._name)}
        names = dict.fromkeys(self._variable(name) for name in frame.columns)
        self.feature_names_ = [name for name in names if name in self._sites and name not in below]
        effects = responses(self._model, self.wiring_.plan, units=4_000, seed=self.seed, data=frame, numeric=True)
        return fit_matched(self._matched_design(frame), outcome, effects, self._matched_design, self.seed)

    def _matched_design(self, frame: pd.DataFrame) -> np.ndarray:
        return rows_of(self._model, frame, self.feature_names_)

    def _fit_plain(self, X: Any, y: Any) -> Any:
        """Without a causal model: every column is an input as it is."""
        if self.requirements or self.target != "faithful" or self.family == "mechanism":
            raise ArgumentError("requirements=, target= and family='mechanism' need a causal model: pass scm=.")
        if y is None and isinstance(X, pd.DataFrame) and self.outcome in X:
            X, y = X.drop(columns=[self.outcome]), X[self.outcome]
        if y is None:
            # scikit-learn's own words for it
            raise DataError("this estimator requires y to be passed, but the target y is None.")
        checked: Any = validate_data
        X, y = checked(self, X, y, dtype=np.float64, y_numeric=self._regression, multi_output=False)
        self.wiring_ = None
        self.fits_ = [family(self.family).fit(X, self._plain_outcome(y), classes=self._classes, seed=self.seed)]
        return self

    # -- predicting --------------------------------------------------------------------------------------------------

    def predict_distribution(self, X: Any) -> Any:
        """The law of the target for each row: a :class:`Prediction`, or a :class:`ClassPrediction`.

        Raises
        ------
        DataError
            A column that the admissible inputs need is not there.
        """
        check_fitted(self, "fits_")
        if self.wiring_ is None:
            found = self.fits_[0].members(self._plain_rows(X), self.states)
            index = X.index if isinstance(X, pd.DataFrame) else None
            return self._law(found.mean[:, None], found.noise, index)
        return self._distribution(self._inputs(X))

    def _forecast(self, frame: pd.DataFrame) -> Any:
        """The outcome's law for rows whose parents are read as they are."""
        return self._distribution(frame, self._plain)

    def _distribution(self, frame: pd.DataFrame, wiring: Wiring | None = None) -> Any:
        parts = list(self._parts(frame, noise=True, wiring=wiring))
        mean = np.concatenate([mean for mean, _ in parts], 2)
        noise = parts[0][1]
        if noise is not None and noise.ndim == 3:
            noise = np.concatenate([part for _, part in parts if part is not None], 2)
        return self._law(mean, noise, frame.index)

    def _mean(self, X: Any) -> np.ndarray:
        """Means ``(row,)`` or ``(row, class)``, without keeping every state's."""
        check_fitted(self, "fits_")
        if self.wiring_ is None:
            found = self.fits_[0].members(self._plain_rows(X), self.states)
            return found.mean.mean(0) + (0.0 if found.noise is None else found.noise.mean())
        return self._average(self._inputs(X))

    def _average(self, frame: pd.DataFrame) -> np.ndarray:
        return np.concatenate(
            [
                mean.mean((0, 1)) + (0.0 if noise is None or noise.ndim == 3 else noise.mean())
                for mean, noise in self._parts(frame, noise=False)
            ]
        )

    def _parts(
        self, frame: pd.DataFrame, *, noise: bool, wiring: Wiring | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Blocks of rows: means ``(state, copy, row, …)`` and noise."""
        size = max(_BLOCK // (self.states * self.copies), 1)
        for start in range(0, max(len(frame), 1), size):
            yield self._predicted(frame.iloc[start : start + size], noise, wiring)

    def _predicted(
        self, frame: pd.DataFrame, noise: bool, wiring: Wiring | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        if self.target == "matched":
            found = self.fits_[0].members(self._matched_design(frame), self.states)
            return found.mean[:, None], found.noise
        run = self._copies(frame, wiring, noise=noise and self.family == "mechanism")
        made = run.all()
        if self.family == "mechanism":
            return made.mean, made.departure
        if self.target == "observational":
            kept = [parent for parent, kind in self.wiring_.inputs.items() if kind != "dropped"]
            design = columns({parent: made.inputs[parent].mean(1, keepdims=True) for parent in kept}, self._sites)
        else:
            design = columns(made.inputs, self._sites)
        states, copies, rows, width = design.shape
        count = states if states > 1 else self.states
        found = members_of(self.fits_, design.reshape(states, copies * rows, width), count)
        return found.mean.reshape(count, copies, rows, *found.mean.shape[2:]), found.noise

    def gaps(self, *, units: int = 4_000) -> pd.DataFrame:
        """How the prediction responds to each source, beside what the requirements pin: a row a source.

        ``effect`` is the prediction's mean change between two levels of the source (divided by their distance),
        ``pinned`` the target's; their difference ``gap`` is 0 where the noise that the target needs is a function of
        the inputs, and is a residual to report where a source is hidden or a mediator discrete. Of a binary outcome on
        the probability scale.
        """
        check_fitted(self, "fits_")
        if self.wiring_ is None:
            raise QueryError("gaps() needs a causal model: pass scm=.")
        rows = {}
        settings: dict[str, Any] = {"units": units, "seed": self.seed + 1, "numeric": self._regression}
        for found in responses(self._model, self.wiring_.plan, data=self.marginal_, **settings):
            unread = [name for name in found.low if self._variable(name) in (*self.hidden, *self.told_, self._name)]
            change = self._average(found.high.drop(columns=unread)) - self._average(found.low.drop(columns=unread))
            effect, pinned = change.mean(0) / found.step, found.of_target / found.step
            if np.ndim(effect):
                effect, pinned = effect[-1], pinned[-1]
            rows[found.source] = {"effect": float(effect), "pinned": float(pinned), "gap": float(effect - pinned)}
        return pd.DataFrame.from_dict(rows, orient="index", columns=["effect", "pinned", "gap"]).rename_axis("source")

    def _plain_rows(self, X: Any) -> np.ndarray:
        checked: Any = validate_data
        return checked(self, X, dtype=np.float64, reset=False)

    # -- plumbing ----------------------------------------------------------------------------------------------------

    def _copies(self, frame: pd.DataFrame, wiring: Wiring | None = None, **given: Any) -> Copies:
        settings = {"states": self.states, "copies": self.copies, "noise": False, "numeric": self._regression, **given}
        return Copies(
            self._model,
            frame,
            (wiring or self.wiring_).plan,
            seed=self.seed,
            marginal=getattr(self, "marginal_", frame if self.scm.covariates else None),
            **settings,
        )

    @property
    def _plain(self) -> Wiring:
        """Every parent as it is."""
        return replace(self.wiring_, plan=target_plan(self.scm.graph, [], self._name))

    @property
    def _model(self) -> Any:
        """The causal model, for rows whose releases have been read."""
        return replace(self.scm._model, plain=True)

    @property
    def _sites(self) -> dict[str, Any]:
        return self.scm._model.structure.sites

    @property
    def _labels(self) -> dict[str, tuple[Any, ...]]:
        return self.scm._model.categories

    @property
    def _name(self) -> str:
        if self.outcome is None:
            raise ArgumentError("outcome= is the name of what is predicted; none was given.")
        if not isinstance(self.outcome, str) or self.outcome not in self._sites:
            raise UnknownNameError(self.outcome, known=list(self._sites))
        return self.outcome

    def _check_settings(self) -> None:
        if self.target not in TARGETS:
            raise ArgumentError(f"target={self.target!r} is none of {listed(TARGETS)}.")
        if self.family != "mechanism":
            family(self.family)
        check_count(self.states, "states")
        check_count(self.copies, "copies")
        check_seed(self.seed)
        if self.scm is not None:
            model_of(self.scm)
        given = self.requirements
        if isinstance(given, Requirement | Mapping | str) or not isinstance(given, Collection):
            raise ArgumentError(f"requirements={given!r}: a list of requirements, empty for none.")
        check_names(self.hidden, "hidden", [] if self.scm is None else self._sites)
        if self.scm is not None and self._name in self.hidden:
            raise ArgumentError(f"hidden= names the outcome '{self._name}', which a predictor learns from.")

    def _frame(self, X: Any, y: Any) -> pd.DataFrame:
        """Rows with the outcome, for training."""
        X = released_rows(self.scm._model, X)
        if y is not None:
            if self._name in X:
                raise DataError(f"the outcome '{self._name}' is both a column of X and y; give it once.")
            values = np.asarray(y)
            if values.shape != (len(X),):
                found = f"{values.shape[0]} values" if values.ndim == 1 else f"the shape {values.shape}"
                raise DataError(f"y has {found} for the {len(X)} rows of X; one value a row is needed.")
            X = X.assign(**{self._name: values})
        if self._name not in X:
            raise DataError(f"the data lack the outcome '{self._name}'; they have {listed(X.columns)}.")
        self._check_inputs(X)
        self.told_: Any = told_by_noise(self.scm._model, X)
        return X.drop(columns=[name for name in X if self._variable(name) in self.hidden or not self._known(name)])

    def _inputs(self, X: Any) -> pd.DataFrame:
        X = released_rows(self.scm._model, X)
        self._check_inputs(X)
        unread = (*self.hidden, self._name)
        return X.drop(columns=[name for name in X if self._variable(name) in unread or not self._known(name)])

    def _variable(self, column: Any) -> Any:
        return variable_of(column, self._sites)

    def _known(self, column: Any) -> bool:
        return self._variable(column) in self._sites

    def _check_inputs(self, X: pd.DataFrame) -> None:
        computed = [name for name, site in self._sites.items() if site.kind == "deterministic"]
        inferred = {*self.hidden, *told_by_noise(self.scm._model, X)}
        self.wiring_.check_columns([self._variable(name) for name in X.columns], inferred, computed)

    def _check_outcome(self) -> None:
        site = self._sites[self._name]
        if not site.scalar or site.inner:
            raise ArgumentError(
                f"'{self._name}' has several values a unit; a predictor's outcome is one number or label."
            )
        if self._regression and site.cardinality is not None and site.cardinality > 2 and not site.ordered:
            raise ArgumentError(f"'{self._name}' is a category without an order: take CausalClassifier.")

    _regression = True

    @property
    def _classes(self) -> int | None:
        return None

    def _plain_outcome(self, y: np.ndarray) -> np.ndarray:
        return y

    def _law(self, mean: np.ndarray, noise: np.ndarray | None, index: pd.Index | None) -> Any:
        raise NotImplementedError
