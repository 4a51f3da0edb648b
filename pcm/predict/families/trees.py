"""Boosted trees with cross-conformal noise: each fold's model, and how far it was from the rows it had not seen.

CV+ (Barber, Candès, Ramdas & Tibshirani 2021): the outcome of a new row is where model ``k`` puts it plus a residual of
fold ``k``, every fold alike. Its intervals cover whatever the law of the noise: at least ``2 prob - 1``, in practice
``prob``. Trees are scikit-learn's histogram gradient boosting.

The residuals are kept by own code, a line: MAPIE's cross-conformal intervals are the same construction for one row at
one level, and an average over a row's copies needs its whole law; crepes has the law, calibrated on rows set apart,
which the trees then lack (``python -m tests.bench.families`` has both beside this).

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> x = rng.normal(size=(2_000, 1))
>>> fitted = Trees().fit(x, np.abs(x[:, 0]) + 0.1 * rng.standard_t(3, size=2_000))
>>> found = fitted.members(np.array([[-1.0]]), 10)
>>> bool(abs(found.mean.mean() - 1) < 0.1), found.noise.shape
(True, (10, 199))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import KFold, StratifiedKFold

from pcm.predict.families.family import ATOMS, Array, Family, Fitted, Members, by_member, checked

__all__ = ["Trees"]


@dataclass(frozen=True)
class Trees(Family):
    """Boosted trees, one model a fold.

    Parameters
    ----------
    folds : int
        At most; a fold has two rows at least.
    max_iter : int
        Trees at most; boosting stops earlier where a tenth of the rows, held out, gains no more.
    learning_rate : float
    max_leaf_nodes : int
    """

    folds: int = 10
    max_iter: int = 300
    learning_rate: float = 0.05
    max_leaf_nodes: int = 12
    name = "trees"

    def fit(self, x: Array, y: Array, *, classes: int | None = None, seed: int = 0) -> Fitted:
        x, y = checked(x, y, classes, least=4)
        if x.shape[1] == 0:
            x = np.zeros((len(x), 1))
        kind: Any = HistGradientBoostingRegressor if classes is None else HistGradientBoostingClassifier
        folds = min(self.folds, len(x) // 2)
        every = classes is not None and np.bincount(y.astype(int), minlength=classes).min() >= folds
        split: Any = StratifiedKFold if every else KFold
        models, noise = [], []
        for seen, held in split(folds, shuffle=True, random_state=seed).split(x, y):
            model = kind(
                max_iter=self.max_iter,
                learning_rate=self.learning_rate,
                max_leaf_nodes=self.max_leaf_nodes,
                early_stopping=len(seen) >= 200,
                random_state=seed,
            )
            if classes is not None and len(np.unique(y[seen])) == 1:
                models.append(_Always(int(y[seen][0])))
                continue
            models.append(model.fit(x[seen], y[seen]))
            if classes is None:
                left = y[held] - model.predict(x[held])
                noise.append(np.quantile(left, (np.arange(ATOMS) + 0.5) / ATOMS, method="hazen"))
        return _TreesFit(models, np.array(noise) if classes is None else None, classes)


@dataclass(frozen=True)
class _Always:
    """The only class there was."""

    code: int

    @property
    def classes_(self) -> Array:
        return np.array([float(self.code)])

    def predict_proba(self, x: Array) -> Array:
        return np.ones((len(x), 1))


@dataclass(frozen=True)
class _TreesFit(Fitted):
    models: list[Any]
    noise: Array | None
    classes: int | None

    def members(self, x: Array, count: int) -> Members:
        x = by_member(x, count)
        if x.shape[2] == 0:
            x = np.zeros((*x.shape[:2], 1))
        which = np.arange(count) % len(self.models)
        shape = (count, x.shape[1]) if self.classes is None else (count, x.shape[1], self.classes)
        out = np.zeros(shape)
        for place, model in enumerate(self.models[:count]):
            mine = np.flatnonzero(which == place)
            rows = (x if len(x) == 1 else x[mine]).reshape(-1, x.shape[2])
            if self.classes is None:
                out[mine] = model.predict(rows).reshape(-1, x.shape[1])
            else:
                chance = model.predict_proba(rows).reshape(-1, x.shape[1], len(model.classes_))
                out[np.ix_(mine, np.arange(x.shape[1]), model.classes_.astype(int))] = chance
        return Members(out) if self.noise is None else Members(out, self.noise[which])
