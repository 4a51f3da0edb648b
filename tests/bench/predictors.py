"""Predictors on the reference fixture beside what other libraries fit: risk, worst risk, effects, and time.

``python -m tests.bench.predictors`` prints a Markdown table. Truth is the algebra of ``tests/truth/test_training.py``:
the requirement is that A acts through A → X → Y alone (effect .8); the faithful risk is 2.69 whatever X is set to.

>>> sorted(systems())[:2]
['Fairlearn, CorrelationRemover', 'pcm, faithful']
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyro.distributions as dist
from sklearn.linear_model import LinearRegression

import pcm
from pcm_models.hospital_readmission import program

__all__ = ["main", "systems"]


SCM = pcm.SCM(program)
FAIR = pcm.Requirement("A", outcome="Y", admissible=["A -> X -> Y"])


def systems() -> dict[str, Callable[[pd.DataFrame], Callable[[pd.DataFrame], Any]]]:
    """From rows to a prediction, by name."""
    return {
        "pcm, faithful": lambda rows: _ours(rows, "faithful"),
        "pcm, observational optimum": lambda rows: _ours(rows, "observational"),
        "pcm.augment and scikit-learn": _augmented,
        "scikit-learn, every column": lambda rows: _lines(rows, ["A", "E", "X", "Z"]),
        "scikit-learn, without A (unaware)": lambda rows: _lines(rows, ["E", "X", "Z"]),
        "Fairlearn, CorrelationRemover": _fairlearn,
    }


def _ours(rows: pd.DataFrame, target: str) -> Callable[[pd.DataFrame], Any]:
    return pcm.CausalRegressor(SCM, "Y", requirements=[FAIR], target=target, states=8, copies=8).fit(rows).predict


def _augmented(rows: pd.DataFrame) -> Callable[[pd.DataFrame], Any]:
    return _lines(pcm.augment(SCM, rows, [FAIR], copies=2), ["A", "E", "X", "Z"])


def _lines(rows: pd.DataFrame, inputs: list[str]) -> Callable[[pd.DataFrame], Any]:
    found = LinearRegression().fit(rows[inputs], rows["Y"])
    return lambda new: found.predict(new[inputs])


def _fairlearn(rows: pd.DataFrame) -> Callable[[pd.DataFrame], Any]:
    from fairlearn.preprocessing import CorrelationRemover

    inputs = ["A", "E", "X", "Z"]
    remover = CorrelationRemover(sensitive_feature_ids=["A"]).fit(rows[inputs])
    found = LinearRegression().fit(remover.transform(rows[inputs]), rows["Y"])
    return lambda new: found.predict(remover.transform(new[inputs]))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    count = parser.parse_args().rows
    rows, later = SCM.sample(count, seed=1), SCM.sample(count, seed=2)
    family = {"X": dist.Normal(0.0, 10.0)}
    print("| | risk | … under do(X), variance 100 | effect of A (.8 is required) | fit, ms | predict, ms |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, fit in systems().items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            begun = time.perf_counter()
            predict = fit(rows)
            fitted = time.perf_counter()
            predict(later)
            done = time.perf_counter()
            found = pcm.interventional_risk(predict, SCM, family, outcome="Y", units=count)
            twins = [SCM.do(A=level).sample(count, seed=3) for level in (0.0, 1.0)]
            effect = float(np.mean(np.asarray(predict(twins[1])) - np.asarray(predict(twins[0]))))
        times = f"{1e3 * (fitted - begun):.0f} | {1e3 * (done - fitted):.0f}"
        print(f"| {name} | {found.observational:.2f} | {found.risk:.2f} | {effect:.2f} | {times} |")


if __name__ == "__main__":
    main()
