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
from pcm.errors import PCMError
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


def vectors(n: int) -> None:
    """A -> V (two numbers) -> Y, A -> M (three numbers on a plate of their own) -> Y, A -> Y."""
    with pyro.plate("units", n, dim=-1):
        a = pyro.sample("A", dist.Bernoulli(0.5))
        v = pyro.sample("V", dist.MultivariateNormal(torch.stack([a, -a], -1), torch.eye(2)))
        with pyro.plate("k", 3, dim=-2):
            m = pyro.sample("M", dist.Normal(a, 1.0))
        pyro.sample("Y", dist.Normal(v[..., 0] + m.sum(-2) + a, 1.0))


@pytest.mark.parametrize("target", ["faithful", "observational", "matched"])
def test_vectors_and_inner_plates_are_read_by_their_columns(target: str) -> None:
    scm = pcm.SCM(vectors)
    data = scm.sample(2_000, seed=0)
    kept = pcm.Requirement("A", outcome="Y", admissible=["A -> V -> Y"])
    model = pcm.CausalRegressor(scm, "Y", requirements=[kept], target=target, states=4, copies=4).fit(data)
    found = model.gaps(units=2_000).loc["A"]
    assert found["pinned"] == pytest.approx(1.0, abs=1e-9)
    if target != "observational":
        assert found["effect"] == pytest.approx(1.0, abs=0.2 if target == "faithful" else 1e-9)
    assert pcm.twins(model, scm, data[:50], "A").settled
    violation = pcm.Violation(scm, [kept], inputs=["A", "V", "M"], units=200)
    assert violation.columns == ["A", "V[0]", "V[1]", "M[0]", "M[1]", "M[2]"]
    assert violation(lambda x: x[:, 1]) < 1e-20
    augmented = pcm.augment(scm, data[:20], [kept])
    assert np.allclose((augmented["M[1]"] - augmented["A"]).groupby(level=0).std(), 0.0)


def counts() -> None:
    a = pyro.sample("A", dist.Bernoulli(0.5))
    m = pyro.sample("M", dist.Poisson(torch.exp(0.5 * a)))
    pyro.sample("Y", dist.Poisson(torch.exp(0.2 * m + 0.3 * a)))


def test_the_mechanisms_own_law_of_counts() -> None:
    scm = pcm.SCM(counts)
    data = scm.sample(500, seed=0)
    model = pcm.CausalRegressor(scm, "Y", family="mechanism", states=16, copies=64).fit(data)
    found = model.predict_distribution(data)
    rate = np.exp(0.2 * data["M"] + 0.3 * data["A"]).to_numpy()
    assert found.mean == pytest.approx(rate, abs=1e-9)
    assert np.median(found.aleatoric / rate) == pytest.approx(1.0, abs=0.05)
    low, high = found.interval(0.9).T
    assert low.shape == (500,) and (low >= 0).all()
    assert ((low <= data["Y"]) & (data["Y"] <= high)).mean() > 0.9


def test_ordered_classes_are_numbers_to_a_regressor() -> None:
    def grade() -> None:
        a = pyro.sample("A", dist.Bernoulli(0.5))
        pyro.sample("Y", dist.OrderedLogistic(1.0 * a, torch.tensor([-1.0, 0.0, 1.0])))

    scm = pcm.SCM(grade)
    data = scm.sample(500, seed=0)
    model = pcm.CausalRegressor(scm, "Y", family="mechanism").fit(data)
    cuts = 1 / (1 + np.exp(-(data["A"].to_numpy()[:, None] - np.array([-1.0, 0.0, 1.0]))))
    assert model.predict(data) == pytest.approx(cuts.sum(1), abs=1e-9)
    pinned = pcm.CausalRegressor(scm, "Y", requirements=[pcm.Requirement("A", outcome="Y", admissible="all")])
    assert pinned.fit(data).gaps().loc["A", "pinned"] == pytest.approx(cuts.sum(1).max() - cuts.sum(1).min())
    with pytest.raises(PCMError, match="without an order"):
        pcm.CausalRegressor(pcm.SCM(admission), "D").fit(pcm.SCM(admission).sample(50, seed=0))


def test_the_target_follows_a_discrete_mediator() -> None:
    """All through M: pinned is E[T | do(A = 1)] - E[T | do(A = 0)]. With noise drawn and pulled back by the same
    random numbers M would never move."""

    def ward() -> None:
        a = pyro.sample("A", dist.Bernoulli(0.5))
        m = pyro.sample("M", dist.Bernoulli(logits=2.0 * a - 1.0))
        pyro.sample("Y", dist.Normal(3.0 * m + a, 1.0))

    scm = pcm.SCM(ward)
    kept = pcm.Requirement("A", outcome="Y", admissible=["A -> M -> Y"])
    found = pcm.CausalRegressor(scm, "Y", requirements=[kept]).fit(scm.sample(2_000, seed=0)).gaps(units=20_000)
    share = 1 / (1 + np.exp(-1)) - 1 / (1 + np.exp(1))
    assert found.loc["A", "pinned"] == pytest.approx(3.0 * share, abs=0.05)
    assert abs(found.loc["A", "gap"]) < 0.15


def test_lists_and_lengths_are_asked_for() -> None:
    scm = pcm.SCM(admission)
    data = scm.sample(50, seed=0)
    one = pcm.Requirement("A", outcome="Y")
    for given in (one, None, {"fair": one}):
        with pytest.raises(PCMError, match="a list of requirements"):
            pcm.CausalClassifier(scm, "Y", requirements=given).fit(data)  # pyright: ignore[reportArgumentType]
    with pytest.raises(PCMError, match="20 values for the 50 rows"):
        pcm.CausalClassifier(scm, "Y").fit(data.drop(columns="Y"), data["Y"][:20])


def test_what_no_prediction_can_do_is_not_fitted() -> None:
    """A requirement that closes what another keeps: the joint target would keep the one and break the other."""

    def ward() -> None:
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        x = pyro.sample("x", dist.Normal(a, 1.0))
        pyro.sample("y", dist.Normal(x + a, 1.0))

    scm, through = pcm.SCM(ward), "a -> x -> y"
    rows = scm.sample(100, seed=0)
    keeps, flat = pcm.responsive_to("a", outcome="y"), pcm.irrelevant_to("a", outcome="y")
    cases = [
        ([keeps, flat], r"\[a: all\] keeps a → y and \[a: none\] closes it"),
        ([keeps, pcm.environment_invariance("x", outcome="y")], r"keeps a → x → y and \[x: none\] closes x → y"),
        ([pcm.Requirement(["a", "x"], outcome="y", admissible=through)], "keeps a → x → y and itself closes x → y"),
    ]
    for asked, words in cases:
        assert not pcm.check(scm.graph, asked).feasible
        for call in (
            lambda asked=asked: pcm.CausalRegressor(scm, "y", requirements=asked).fit(rows),
            lambda asked=asked: pcm.Violation(scm, asked, inputs=["a", "x"]),
            lambda asked=asked: pcm.augment(scm, rows, asked),
        ):
            with pytest.raises(PCMError, match=words):
                call()
    slack = pcm.Requirement("a", outcome="y", tolerance=0.5)
    assert pcm.CausalRegressor(scm, "y", requirements=[slack, keeps]).fit(rows).wiring_.inputs["a"] == "dropped"
    twice = pcm.Requirement("a", outcome="y", admissible=through)
    assert pcm.CausalRegressor(scm, "y", requirements=[twice, twice]).fit(rows).wiring_.inputs["x"] == "kept"
    with pytest.raises(PCMError, match="found no paths: Independence"):
        pcm.Violation(scm, [pcm.demographic_parity("a", outcome="y")], inputs=["a", "x"])
