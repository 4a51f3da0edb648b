"""Membership inference: what overfits is found, what does not is not, and controls must match."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pcm.errors import ArgumentError, DataError
from pcm.private.audits import membership


class Polynomials:
    """Least squares on powers of its inputs: its degree is its capacity."""

    def __init__(self, inputs, degree=1):
        self.feature_names_in_, self.degree = np.array(inputs), degree

    def _features(self, data):
        return np.column_stack([np.ones(len(data)), *(data.to_numpy() ** d for d in range(1, self.degree + 1))])

    def fit(self, data, outcome):
        self.weights = np.linalg.lstsq(self._features(data[list(self.feature_names_in_)]), data[outcome], rcond=None)[0]
        return self

    def predict(self, data):
        return self._features(data) @ self.weights


def population(n, seed, shift=0.0):
    """x causes y, y causes z; under the shift z no longer follows y."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    y = x + rng.normal(size=n)
    z = (1 - shift) * y + rng.normal(size=n) * (1 + shift)
    return pd.DataFrame({"x": x, "z": z, "y": y})


@pytest.fixture(scope="module")
def frames():
    return {"members": population(200, 0), "nonmembers": population(2_000, 1), "shifted": population(2_000, 2, 1.0)}


def test_capacity_gives_members_away_in_distribution_and_the_control_says_so(frames):
    few = Polynomials(["x"]).fit(frames["members"], "y")
    many = Polynomials(["x"], degree=9).fit(frames["members"], "y")
    control = Polynomials(["z"]).fit(frames["members"], "y")
    small = membership(few, control, outcome="y", **frames)
    table = small.to_dataframe().set_index(["nonmembers", "predictor"])
    assert (
        table.loc[("in-distribution", "predictor"), "auc_low"]
        < 0.5
        < table.loc[("in-distribution", "predictor"), "auc_high"]
    )
    assert abs(small.gain()) < 0.05
    # under the shift, the causal predictor's losses stay as they were and the control's do not
    assert table.loc[("shifted", "predictor"), "auc"] == pytest.approx(0.5, abs=0.05)
    assert table.loc[("shifted", "control"), "auc"] > 0.6
    assert small.gain("shifted") > 0.1
    assert table.loc[("shifted", "control"), "advantage_low"] > 0
    large = membership(many, control, outcome="y", **frames).to_dataframe()
    assert large["auc"][0] > table.loc[("in-distribution", "predictor"), "auc"]


def test_auc_and_limits_are_right():
    """Normal scores a distance d apart: AUC = Φ(d/√2); advantage = 2Φ(d/2) − 1; the limits cover."""
    from scipy.stats import norm

    from pcm.private.audits.membership import _measures

    covered = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        found = _measures(rng.normal(0.5, 1, 300), rng.normal(0, 1, 400), 0.9, seed)
        covered.append(found["auc_low"] <= norm.cdf(0.5 / np.sqrt(2)) <= found["auc_high"])
    assert np.mean(covered) == pytest.approx(0.9, abs=0.08)
    rng = np.random.default_rng(0)
    found = _measures(rng.normal(0.5, 1, 50_000), rng.normal(0, 1, 50_000), 0.95, 0)
    assert found["auc"] == pytest.approx(norm.cdf(0.5 / np.sqrt(2)), abs=0.006)
    assert found["advantage_low"] <= 2 * norm.cdf(0.25) - 1 <= found["advantage_high"]
    assert found["tpr"] == pytest.approx(norm.cdf(0.5 - norm.ppf(0.99)), abs=0.006)


def test_classifiers_are_scored_by_the_probability_of_the_label(frames):
    class Coin(Polynomials):
        classes_ = np.array(["low", "high"])

        def predict_proba(self, data):
            one = 1 / (1 + np.exp(-data["x"].to_numpy()))
            return np.column_stack([1 - one, one])

    data = {key: frame.assign(y=np.where(frame["y"] > 0, "high", "low")) for key, frame in frames.items()}
    found = membership(Coin(["x"]), Coin(["x"]), outcome="y", **data).to_dataframe()
    assert found["auc"][0] == pytest.approx(0.5, abs=0.06)
    odd = {key: frame.assign(y="odd") for key, frame in data.items()}
    with pytest.raises(DataError, match="labels that the predictor does not know: odd"):
        membership(Coin(["x"]), Coin(["x"]), outcome="y", **odd)


def test_what_does_not_fit_is_refused(frames):
    one = Polynomials(["x"]).fit(frames["members"], "y")
    two = Polynomials(["x", "z"]).fit(frames["members"], "y")
    with pytest.raises(ArgumentError, match="control of another capacity"):
        membership(one, two, outcome="y", **frames)
    with pytest.raises(ArgumentError, match="needs predict or predict_proba"):
        membership(one, object(), outcome="y", **frames)
    with pytest.raises(DataError, match="members lacks the outcome 'q'"):
        membership(one, one, outcome="q", **frames)
    with pytest.raises(DataError, match="5 rows"):
        membership(one, one, outcome="y", members=frames["members"], nonmembers=frames["nonmembers"][:5])
    with pytest.raises(ArgumentError, match="there are in-distribution"):
        membership(one, one, outcome="y", members=frames["members"], nonmembers=frames["nonmembers"]).gain("mars")
