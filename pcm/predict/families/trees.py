"""Boosted trees with cross-conformal noise: each fold's model, and how far it was from the rows it had not seen.

CV+ (Barber, Candès, Ramdas & Tibshirani 2021): the outcome of a new row is where model ``k`` puts it plus a residual of
fold ``k``, every fold alike. Its intervals cover whatever the law of the noise: at least ``2 prob - 1``, in practice
``prob``. Trees are scikit-learn's histogram gradient boosting.

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

from pcm.predict.families.family import ATOMS, Array, Family, Fitted, Members, checked

__all__ = ["Trees"]


@dataclass(frozen=True)
class Trees(Family):
    """Boosted trees, one model a fold.

    Parameters
    ----------
    folds : int
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
        x, y = checked(x, y, classes, least=2 * self.folds)
        if x.shape[1] == 0:
            x = np.zeros((len(x), 1))
        kind: Any = HistGradientBoostingRegressor if classes is None else HistGradientBoostingClassifier
        split: Any = KFold if classes is None or np.bincount(y.astype(int)).min() < self.folds else StratifiedKFold
        models, noise = [], []
        for seen, held in split(self.folds, shuffle=True, random_state=seed).split(x, y):
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
        x = np.asarray(x, dtype=np.float64)
        if x.shape[1] == 0:
            x = np.zeros((len(x), 1))
        which = np.arange(count) % len(self.models)
        used = self.models[:count]
        if self.classes is None:
            assert self.noise is not None
            return Members(np.stack([model.predict(x) for model in used])[which], self.noise[which])
        chance = np.zeros((len(used), len(x), self.classes))
        for place, model in enumerate(used):
            chance[place][:, model.classes_.astype(int)] = model.predict_proba(x)
        return Members(chance[which])
