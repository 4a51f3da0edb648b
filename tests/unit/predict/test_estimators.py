"""Predictors as scikit-learn estimators, and classification."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator

import pcm
from pcm.predict.families import GaussianProcess, Network, Trees

QUICK: dict[str, Any] = {
    "linear": "linear",
    "gp": GaussianProcess(60, 60),
    "network": Network((8,), 2, 150),
    "trees": Trees(folds=3, max_iter=30),
}


@pytest.mark.parametrize(
    "family", ["linear", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gp", "network", "trees"))]
)
@pytest.mark.parametrize("kind", [pcm.CausalRegressor, pcm.CausalClassifier])
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_own_checks(kind: Any, family: str) -> None:
    found = check_estimator(kind(family=QUICK[family], states=4), on_skip=None, on_fail=None)
    failed = {each["check_name"]: each["exception"] for each in found if each["status"] == "failed"}
    assert not failed, failed


def admission() -> None:
    """A -> D (a department, one of three) -> Y and A -> Y."""
    a = pyro.sample("A", dist.Bernoulli(0.4))
    d = pyro.sample("D", dist.Categorical(logits=torch.stack([0 * a, a, -a], -1)))
    pyro.sample("Y", dist.Bernoulli(logits=0.5 * a + 1.0 * (d == 1) - 1.0 * (d == 2)))


def test_classes_by_enumeration() -> None:
    """Direct path barred: P(T = 1 | d) = .6 sigmoid(g(d)) + .4 sigmoid(.5 + g(d)), as the marginal of A has it."""
    scm = pcm.SCM(admission, categories={"D": ["arts", "law", "physics"], "Y": ["no", "yes"]})
    data = scm.sample(20_000, seed=0)
    kept = pcm.Requirement("A", outcome="Y", admissible=["A -> D -> Y"])
    part = {"arts": 0.0, "law": 1.0, "physics": -1.0}
    people = pd.DataFrame({"A": [0, 1, 0, 1, 0, 1], "D": ["arts", "arts", "law", "law", "physics", "physics"]})
    g = people["D"].map(part).to_numpy()
    expected = 0.6 / (1 + np.exp(-g)) + 0.4 / (1 + np.exp(-g - 0.5))
    for family, limit in (("mechanism", 0.004), ("linear", 0.02), (Trees(folds=3), 0.04)):
        model = pcm.CausalClassifier(scm, "Y", requirements=[kept], family=family, copies=32).fit(data)
        assert model.classes_.tolist() == ["no", "yes"]
        chance = model.predict_proba(people)
        assert np.abs(chance[:, 1] - expected).max() < limit
        assert np.allclose(chance[::2], chance[1::2])  # twins by A are told the same
        assert model.predict(people).tolist() == np.where(expected > 0.5, "yes", "no").tolist()


def test_a_discrete_mediator_is_replayed_with_its_own_noise() -> None:
    """Path through D barred: D is replaced by what it would be under A's reference; on average over units that gives
    the reference mixture of P(D | A), whatever the unit's A."""
    scm = pcm.SCM(admission)
    barred = pcm.Requirement("A", outcome="Y", admissible=["A -> Y"])
    model = pcm.CausalClassifier(scm, "Y", requirements=[barred], family="mechanism", states=4, copies=16).fit(
        scm.sample(100, seed=0)
    )
    weights = np.array([np.exp([0.0, a, -a]) for a in (0.0, 1.0)])
    weights /= weights.sum(1, keepdims=True)
    mixed = 0.6 * weights[0] + 0.4 * weights[1]
    for a in (0, 1):
        units = scm.do(A=a).sample(4_000, seed=3)
        expected = mixed @ (1 / (1 + np.exp(-(0.5 * a + np.array([0.0, 1.0, -1.0])))))
        assert model.predict_proba(units)[:, 1].mean() == pytest.approx(expected, abs=0.012)


def test_settings_survive_cloning_and_the_data_are_left_alone() -> None:
    scm = pcm.SCM(admission)
    data = scm.sample(300, seed=0)
    before = data.copy()
    model = pcm.CausalClassifier(scm, "Y", family="trees", states=5)
    again = clone(model)
    assert again.scm is not None and again.get_params()["states"] == 5
    found = again.fit(data).predict_distribution(data)
    assert data.equals(before) and len(found) == 300 and found.index.equals(data.index)


def test_y_may_be_given_apart() -> None:
    scm = pcm.SCM(admission)
    data = scm.sample(300, seed=0)
    one = pcm.CausalClassifier(scm, "Y").fit(data)
    two = pcm.CausalClassifier(scm, "Y").fit(data.drop(columns="Y"), data["Y"])
    assert np.array_equal(one.predict_proba(data), two.predict_proba(data.drop(columns="Y")))
