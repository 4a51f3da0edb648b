"""Predictors with explicit uncertainty on the causally admissible inputs, and what to ask of any predictor.

>>> from pcm.predict import CausalRegressor
"""

from __future__ import annotations

from pcm.predict.augmentation import augment as augment
from pcm.predict.baselines import AnchorRegression as AnchorRegression
from pcm.predict.baselines import ParentsOnly as ParentsOnly
from pcm.predict.estimators import CausalClassifier as CausalClassifier
from pcm.predict.estimators import CausalRegressor as CausalRegressor
from pcm.predict.family_of_worlds import Grid as Grid
from pcm.predict.family_of_worlds import Shifts as Shifts
from pcm.predict.interventional import InterventionalRisk as InterventionalRisk
from pcm.predict.interventional import interventional_risk as interventional_risk
from pcm.predict.penalty import AugmentedLagrangian as AugmentedLagrangian
from pcm.predict.penalty import Violation as Violation
from pcm.predict.penalty import violation as violation
from pcm.predict.prediction import ClassPrediction as ClassPrediction
from pcm.predict.prediction import Prediction as Prediction
from pcm.predict.twin_rows import Twins as Twins
from pcm.predict.twin_rows import twins as twins

__all__ = [
    "AnchorRegression",
    "AugmentedLagrangian",
    "CausalClassifier",
    "CausalRegressor",
    "ClassPrediction",
    "Grid",
    "InterventionalRisk",
    "ParentsOnly",
    "Prediction",
    "Shifts",
    "Twins",
    "Violation",
    "augment",
    "interventional_risk",
    "twins",
    "violation",
]
