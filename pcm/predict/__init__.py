"""Predictors with explicit uncertainty on the causally admissible inputs.

>>> from pcm.predict import CausalRegressor
"""

from __future__ import annotations

from pcm.predict.estimators import CausalClassifier as CausalClassifier
from pcm.predict.estimators import CausalRegressor as CausalRegressor
from pcm.predict.prediction import ClassPrediction as ClassPrediction
from pcm.predict.prediction import Prediction as Prediction

__all__ = ["CausalClassifier", "CausalRegressor", "ClassPrediction", "Prediction"]
