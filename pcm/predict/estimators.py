"""Predictors on the causally admissible inputs, as scikit-learn estimators.

``T`` is the outcome with every inadmissible edge fed the reference (:mod:`pcm.requirement.target`). The *faithful*
prediction is ``E[T | inputs]``, computed in two parts that the causal model keeps apart: the outcome's mechanism
``f(parents)``, learned from the rows by a family of regressions (or taken from the model, ``family="mechanism"``), and
the copies of the parents that ``T`` reads, found by pulling back each unit's noise. The prediction averages ``f`` over
the copies: a parent comes as it is, corrected, or not at all, and a change of a source along an inadmissible path has
nothing to travel through.

>>> import pyro, pyro.distributions as dist, pcm
>>> def program():
...     a = pyro.sample("A", dist.Normal(0.0, 1.0))
...     x = pyro.sample("X", dist.Normal(0.8 * a, 1.0))
...     z = pyro.sample("Z", dist.Normal(a, 1.0))
...     pyro.sample("Y", dist.Normal(x + 0.6 * z + 0.7 * a, 1.0))
>>> scm = pcm.SCM(program)
>>> fair = pcm.Requirement("A", outcome="Y", admissible=["A -> X -> Y"])
>>> model = pcm.CausalRegressor(scm, "Y", requirements=[fair]).fit(scm.sample(2_000, seed=0))
>>> print(model.wiring_)
A  not read (A's reference instead)
X  as it is
Z  as it would be, had it seen A's reference
>>> people = scm.sample(2, seed=1)
>>> model.predict_distribution(people)
Prediction of Y for 2 rows (sd 1.6... aleatoric, 0.0... epistemic)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import ClassifierMixin, RegressorMixin

from pcm.errors import ArgumentError
from pcm.predict.causal_estimator import CausalEstimator
from pcm.predict.prediction import ClassPrediction, Prediction
from pcm.query.model import model_of

__all__ = ["CausalClassifier", "CausalRegressor"]


class CausalRegressor(RegressorMixin, CausalEstimator):
    """Prediction of a number from the causally admissible inputs.

    Parameters
    ----------
    scm : SCM
        Fitted where it has parameters; its draws are carried through. Without one every column is an input as it is.
    outcome : str
    requirements : sequence of Requirement
    target : {"faithful", "matched", "observational"}
        ``E[T | inputs]``; the least risk whose average response to each source is the target's (linear); ``E[Y |
        corrected inputs]``, which may let a blocked effect through a kept input (laundering).
    family : {"linear", "gp", "network", "trees", "mechanism"} or Family
        How the outcome's mechanism is learned from the rows; ``"mechanism"`` takes the causal model's own.
    hidden : collection of str
        Variables that are not in the data; they are inferred from those that are, and :meth:`gaps` says what remains.
    states, copies : int
        States of knowledge (parameter draws, members of the family), and copies of a row in each.
    seed : int

    Attributes
    ----------
    wiring_ : Wiring
        Which input is read as it is, corrected, or not read.
    fits_ : list of Fitted
    told_ : set of str
        Variables that were learned from by a noisy answer alone; their true values are integrated out.
    observed_ : ObservedRows or None
        Training rows by which intervals of the outcome are told from those of the target, where the two differ.

    References
    ----------
    Kusner, Loftus, Russell & Silva, "Counterfactual fairness", NeurIPS 2017. Chiappa, "Path-specific counterfactual
    fairness", AAAI 2019. Binkyte et al., arXiv 2605.02640.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.linspace(-1, 1, 50)[:, None]
    >>> CausalRegressor().fit(x, 3 * x[:, 0]).predict([[0.5]]).round(3).tolist()
    [1.5]
    """

    def predict(self, X: Any) -> np.ndarray:
        """Expected target, ``(row,)``."""
        return self._mean(X)

    def _law(self, mean: np.ndarray, noise: np.ndarray | None, index: pd.Index | None) -> Prediction:
        assert noise is not None
        faithful = self.wiring_ is None or self.target == "faithful" or not self.wiring_.plan.referred
        return Prediction(
            mean,
            noise,
            index=index,
            name=self.outcome or "outcome",
            seed=self.seed,
            of="target" if faithful else "outcome",
            observed=getattr(self, "observed_", None),
        )


class CausalClassifier(ClassifierMixin, CausalEstimator):
    """Prediction of a category from the causally admissible inputs.

    Parameters are those of :class:`CausalRegressor`, without ``target="matched"``.

    Examples
    --------
    >>> import pyro, pyro.distributions as dist, pcm
    >>> def program():
    ...     a = pyro.sample("A", dist.Bernoulli(0.5))
    ...     x = pyro.sample("X", dist.Normal(a, 1.0))
    ...     pyro.sample("Y", dist.Bernoulli(logits=x + a))
    >>> scm = pcm.SCM(program, categories={"Y": ["no", "yes"]})
    >>> fair = pcm.Requirement("A", outcome="Y")
    >>> model = pcm.CausalClassifier(scm, "Y", requirements=[fair]).fit(scm.sample(500, seed=0))
    >>> model.classes_.tolist(), model.predict_proba(scm.sample(3, seed=1)).shape
    (['no', 'yes'], (3, 2))
    """

    def fit(self, X: Any, y: Any = None) -> Any:
        if self.scm is not None:
            model_of(self.scm)
            site, labels = self._sites[self._name], self._labels.get(self._name)
            if site.cardinality is None:
                raise ArgumentError(f"'{self._name}' is a {site.family}, no category: take CausalRegressor.")
            self.classes_ = np.asarray(labels if labels is not None else range(site.cardinality))
        return super().fit(X, y)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row."""
        chance = self.predict_proba(X)
        return self.classes_[chance.argmax(1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of each class, ``(row, class)``."""
        return self._mean(X)

    _regression = False

    @property
    def _classes(self) -> int | None:
        return len(self.classes_)

    def _plain_outcome(self, y: np.ndarray) -> np.ndarray:
        from sklearn.utils.multiclass import check_classification_targets

        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        return codes.astype(np.float64)

    def _law(self, mean: np.ndarray, noise: np.ndarray | None, index: pd.Index | None) -> ClassPrediction:
        return ClassPrediction(
            mean, self.classes_.tolist(), index=index, name=self.outcome or "outcome", seed=self.seed
        )
