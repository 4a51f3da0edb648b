"""Membership inference: can the rows that a predictor was fitted on be told from others by its losses?

The attack scores a row by minus its loss and is measured by its area under the ROC curve and by its advantage, the
largest difference of true and false positive rates (threshold chosen on one half, used on the other). A causal
predictor often looks safer than another merely because it has fewer inputs, and non-members that come from a shifted
population look unlike members to any model that does not generalise. So everything stands beside a *capacity-matched
control* (the same estimator with as many inputs, not chosen causally), with non-members from the training law and from
shifted ones apart.

>>> import pandas as pd
>>> class Table:  # remembers its rows
...     def __init__(self, rows): self.rows, self.feature_names_in_ = set(rows), np.array(["x"])
...     def predict(self, X): return np.array([float(x in self.rows) for x in X["x"]])
>>> frames = [pd.DataFrame({"x": range(at, at + 100), "y": 1.0}) for at in (0, 200)]
>>> found = membership(Table(range(100)), Table([]), outcome="y", members=frames[0], nonmembers=frames[1])
>>> found.to_dataframe().round(2)[["predictor", "auc", "advantage"]]
       predictor  auc  advantage
0      predictor  1.0        1.0
1        control  0.5        0.0

References
----------
Yeom et al., "Privacy risk in machine learning", CSF 2018. Carlini et al., "Membership inference attacks from first
principles", S&P 2022. Tople, Sharma & Nori, "Alleviating privacy attacks via causal learning", ICML 2020.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm, rankdata

from pcm.arguments import check_seed
from pcm.errors import ArgumentError, DataError, PCMError, listed
from pcm.private.audits.bounds import clopper_pearson
from pcm.private.audits.result import check_confidence

__all__ = ["Membership", "membership"]

_FEWEST = 20
_LOW_RATE = 0.01


@dataclass(frozen=True, eq=False, repr=False)
class Membership:
    """How well members are told from others; made by :func:`membership`.

    Attributes
    ----------
    table : pandas.DataFrame
        A row a predictor and kind of non-members; see :meth:`to_dataframe`.
    confidence : float
    """

    table: pd.DataFrame
    confidence: float

    def to_dataframe(self) -> pd.DataFrame:
        """Columns ``predictor`` and ``control``, ``nonmembers``, ``auc`` with ``auc_low``, ``auc_high``, ``advantage``
        with its limits, ``tpr`` (true positive rate where 1 % of non-members are taken for members), ``inputs``."""
        return self.table.copy()

    def gain(self, nonmembers: str = "in-distribution") -> float:
        """How much less AUC the attack has on the predictor than on the control: what is left beside capacity."""
        chosen = self.table[self.table["nonmembers"] == nonmembers]
        rows = dict(zip(chosen["predictor"], chosen["auc"], strict=True))
        if not rows:
            raise ArgumentError(f"nonmembers={nonmembers!r}; there are {listed(self.table['nonmembers'].unique())}.")
        return float(rows["control"] - rows["predictor"])

    def __repr__(self) -> str:
        lines = [
            f"  {row['predictor']:<10} {row['nonmembers']:<16} AUC {row['auc']:.3f} [{row['auc_low']:.3f}, "
            f"{row['auc_high']:.3f}]  advantage {row['advantage']:.3f}  ({row['inputs']} inputs)"
            for _, row in self.table.iterrows()
        ]
        return f"Membership inference ({100 * self.confidence:g} % limits; AUC .5 is a coin)\n" + "\n".join(lines)

    def _repr_html_(self) -> str:
        return (
            f"<p>{html.escape(repr(self).splitlines()[0])}</p>"
            f"{self.table.to_html(index=False, float_format=lambda x: f'{x:.3f}')}"
        )


def membership(
    predictor: Any,
    control: Any,
    *,
    outcome: str,
    members: pd.DataFrame,
    nonmembers: pd.DataFrame,
    shifted: pd.DataFrame | Mapping[str, pd.DataFrame] | None = None,
    loss: Callable[[Any, pd.DataFrame, pd.Series], Any] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Membership:
    """Attack a fitted predictor and its control by their losses.

    Parameters
    ----------
    predictor, control : fitted estimators
        With ``predict_proba`` (and ``classes_``) or ``predict``, and ``feature_names_in_`` (scikit-learn's attributes);
        or :class:`pcm.CausalRegressor` and :class:`pcm.CausalClassifier` with a causal model.
        The control must have as many inputs and be fitted on the same members.
    outcome : str
        Column that they predict.
    members : DataFrame
        The rows that both were fitted on, with the outcome.
    nonmembers : DataFrame
        Other rows of the same population.
    shifted : DataFrame or dict of them, optional
        Rows of populations under interventions or of other environments, by name (``"shifted"``).
    loss : callable, optional
        ``(predictor, X, y) → loss of each row``. By default minus the log-probability of the label, or squared error.
    confidence : float
        Of each limit.
    seed : int
        Which rows choose the threshold of the advantage.

    Raises
    ------
    ArgumentError
        A control of another capacity; predictors that cannot be read.
    DataError
        Missing columns, fewer than 20 rows.
    """
    check_confidence(confidence)
    check_seed(seed)
    if not isinstance(members, pd.DataFrame):
        raise DataError(f"members= is a DataFrame, the rows that both were fitted on; found {type(members).__name__}.")
    if outcome not in members:
        raise DataError(f"members lacks the outcome {outcome!r}.", column=outcome)
    both = {"predictor": predictor, "control": control}
    inputs = {role: _inputs(fitted, role, members, outcome) for role, fitted in both.items()}
    if len(inputs["predictor"]) != len(inputs["control"]):
        raise ArgumentError(
            f"the control reads {len(inputs['control'])} inputs and the predictor {len(inputs['predictor'])}: a "
            "control of another capacity shows nothing. Fit it on as many columns."
        )
    others: dict[str, Any] = {"in-distribution": nonmembers}
    if shifted is not None:
        if not isinstance(shifted, Mapping | pd.DataFrame):
            raise DataError(f"shifted= is a DataFrame, or a dict of them; found {type(shifted).__name__}.")
        others |= dict(shifted) if isinstance(shifted, Mapping) else {"shifted": shifted}
    if loss is not None and not callable(loss):
        raise ArgumentError(f"loss={loss!r}: a function (predictor, X, y) → loss of each row is needed.")
    score = loss or _loss
    rows = []
    for name, frame in others.items():
        for who, fitted in both.items():
            taken = [
                _losses(score, fitted, inputs[who], outcome, data, at)
                for data, at in ((members, "members"), (frame, name))
            ]
            measures = _measures(-taken[0], -taken[1], confidence, seed)
            rows.append({"predictor": who, "nonmembers": name, **measures, "inputs": len(inputs[who])})
    return Membership(pd.DataFrame(rows), confidence)


# -- private ---------------------------------------------------------------------------------------------------------


def _inputs(fitted: Any, role: str, members: pd.DataFrame, outcome: str) -> list[str]:
    names = getattr(fitted, "feature_names_in_", None)
    if names is None and getattr(fitted, "wiring_", None) is not None:
        names = [name for name in members if name != outcome]  # a causal predictor finds its own among them
    if names is None or not (hasattr(fitted, "predict_proba") or hasattr(fitted, "predict")):
        raise ArgumentError(
            f"the {role} ({type(fitted).__name__}) needs predict or predict_proba, and feature_names_in_: fit it on a "
            "DataFrame."
        )
    return [str(name) for name in names]


def _losses(score: Any, fitted: Any, inputs: list[str], outcome: str, data: Any, name: str) -> np.ndarray:
    if not isinstance(data, pd.DataFrame):
        raise DataError(f"{name}: a DataFrame is needed; found {type(data).__name__}.")
    absent = [column for column in (*inputs, outcome) if column not in data]
    if absent:
        raise DataError(f"{name} lacks the columns {listed(absent)}.", column=absent[0])
    if len(data) < _FEWEST:
        raise DataError(f"{name} has {len(data)} rows; at least {_FEWEST} are needed.")
    if bool(np.asarray(data[outcome].isna()).any()):
        raise DataError(f"{name}: the outcome '{outcome}' is missing in some rows; drop them.", column=outcome)
    try:
        found = np.asarray(score(fitted, data[inputs], data[outcome]), float)
    except (TypeError, ValueError) as error:
        if isinstance(error, PCMError):
            raise
        raise DataError(f"{name}: no losses could be computed: {error}") from error
    if found.shape != (len(data),) or np.isnan(found).any():
        raise DataError(f"{name}: the losses are not a number a row.")
    return found


def _loss(fitted: Any, inputs: pd.DataFrame, labels: pd.Series) -> np.ndarray:
    if not hasattr(fitted, "predict_proba"):
        return (np.asarray(fitted.predict(inputs), float) - labels.to_numpy(float)) ** 2
    probability = np.asarray(fitted.predict_proba(inputs), float)
    classes = list(fitted.classes_)
    unknown = set(labels.unique()) - set(classes)
    if unknown:
        raise DataError(f"labels that the predictor does not know: {listed(unknown)}; it knows {listed(classes)}.")
    place = labels.map({label: at for at, label in enumerate(classes)}).to_numpy(int)
    return -np.log(np.maximum(probability[np.arange(len(place)), place], 1e-300))


def _measures(members: np.ndarray, others: np.ndarray, confidence: float, seed: int) -> dict[str, Any]:
    """AUC with DeLong's limits, advantage with Clopper–Pearson's, true positives at 1 % of false ones."""
    m, n = len(members), len(others)
    joint = rankdata(np.concatenate([members, others]))
    above = (joint[:m] - rankdata(members)) / n  # of each member: share of the others below it
    below = 1 - (joint[m:] - rankdata(others)) / m
    auc = float(above.mean())
    spread = norm.ppf((1 + confidence) / 2) * float(np.sqrt(above.var(ddof=1) / m + below.var(ddof=1) / n))
    rng = np.random.default_rng(seed)
    first, second = (np.array_split(rng.permutation(draws), 2) for draws in (members, others))
    thresholds = np.unique(np.concatenate([first[0], second[0]]))
    rate = [1 - np.searchsorted(np.sort(part[0]), thresholds) / len(part[0]) for part in (first, second)]
    threshold = thresholds[int(np.argmax(rate[0] - rate[1]))]
    hits, others_hit = int((first[1] >= threshold).sum()), int((second[1] >= threshold).sum())
    inside = clopper_pearson(hits, len(first[1]), (1 + confidence) / 2)
    outside = clopper_pearson(others_hit, len(second[1]), (1 + confidence) / 2)
    return {
        "auc": auc,
        "auc_low": max(auc - spread, 0.0),
        "auc_high": min(auc + spread, 1.0),
        "advantage": hits / len(first[1]) - others_hit / len(second[1]),
        "advantage_low": float(inside[0] - outside[1]),
        "advantage_high": float(inside[1] - outside[0]),
        "tpr": float((members > np.quantile(others, 1 - _LOW_RATE, method="higher")).mean()),
    }
