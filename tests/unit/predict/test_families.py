"""Every family: calibrated, one function a member, ignorant where there are no data; linear ones against algebra."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from pcm.errors import DataError, UnknownNameError
from pcm.predict.families import FAMILIES, Family, GaussianProcess, Linear, Network, Trees, family
from pcm.predict.prediction import ClassPrediction, Prediction

QUICK: list[Family] = [
    Linear(),
    Linear(degree=2),
    GaussianProcess(most=250, inducing=100),
    Network(hidden=(8,), ensemble=2, steps=250),
    Trees(folds=4, max_iter=50),
]


def _label(each: Family) -> str:
    return f"{each.name}{getattr(each, 'degree', '')}"


@pytest.fixture(params=QUICK, ids=_label)
def each(request: pytest.FixtureRequest) -> Family:
    return request.param


def _linear_data(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 2))
    return x, 1 + x @ [2.0, -1.0] + 0.5 * rng.normal(size=rows)


def test_every_family_has_a_name_and_is_found_by_it() -> None:
    for name, kind in FAMILIES.items():
        assert family(name) == kind() and family(name).name == name
    assert {type(each).name for each in QUICK} == set(FAMILIES)
    with pytest.raises(UnknownNameError, match=r"'forest' is not a family.*linear, gp, network, trees"):
        family("forest")


def test_the_linear_posterior_is_the_algebras() -> None:
    """With many rows the ridge is least squares: weights, their covariance, the noise."""
    x, y = _linear_data(400, 0)
    design = np.column_stack([np.ones(400), x])
    weights, left, *_ = np.linalg.lstsq(design, y, rcond=None)
    sd = np.sqrt(left[0] / 397)
    covariance = sd**2 * np.linalg.inv(design.T @ design)
    at = np.array([[0.0, 0.0], [3.0, -2.0]])
    found = Linear().fit(x, y).members(at, 20_000)
    rows = np.column_stack([np.ones(2), at])
    assert np.allclose(found.mean.mean(0), rows @ weights, atol=2e-3)
    assert np.allclose(found.mean.std(0), np.sqrt(np.diag(rows @ covariance @ rows.T)), rtol=0.03)
    assert abs(found.noise.std() / sd - 1) < 0.01


def test_the_logistic_posterior_is_laplaces() -> None:
    """Against the observed information of plain logistic regression at its mode, found here by Newton's method."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3_000, 1))
    y = (rng.random(3_000) < expit(0.5 + x[:, 0])) * 1.0
    design, weights = np.column_stack([np.ones(3_000), x]), np.zeros(2)
    for _ in range(20):
        p = expit(design @ weights)
        information = (design * (p * (1 - p))[:, None]).T @ design
        weights += np.linalg.solve(information, design.T @ (y - p))
    at = np.array([[0.7]])
    row = np.array([1.0, 0.7])
    found = Linear(prior_sd=100.0).fit(x, y, classes=2).members(at, 20_000).mean[:, 0, 1]
    odds = np.log(found / (1 - found))
    assert abs(odds.mean() - row @ weights) < 3e-3
    assert abs(odds.std() / np.sqrt(row @ np.linalg.inv(information) @ row) - 1) < 0.03


def test_intervals_cover_at_their_rate(each: Family) -> None:
    hit = []
    for seed in range(3):
        x, y = _linear_data(300, seed)
        new, truth = _linear_data(1_000, 100 + seed)
        found = each.fit(x, y, seed=seed).members(new, 40)
        low, high = Prediction(found.mean[:, None], found.noise).interval(0.9).T
        hit.append(((low <= truth) & (truth <= high)).mean())
    assert 0.86 < np.mean(hit) < 0.95, hit


def test_a_member_is_one_function(each: Family) -> None:
    x, y = _linear_data(200, 3)
    fitted = each.fit(x, y, seed=1)
    many = fitted.members(np.repeat(x[:3], 2, 0), 8).mean
    assert np.allclose(many[:, ::2], many[:, 1::2], atol=1e-10)
    assert np.allclose(fitted.members(x[:3], 8).mean, many[:, ::2], atol=1e-10)
    own = np.stack([x[k : k + 3] for k in range(8)])
    every = fitted.members(own.reshape(-1, 2), 8).mean.reshape(8, 8, 3)
    assert np.allclose(fitted.members(own, 8).mean, every[np.arange(8), np.arange(8)], atol=1e-10)


def test_ignorance_grows_away_from_the_data() -> None:
    x, y = _linear_data(200, 3)
    for each in (Linear(), GaussianProcess(most=150, inducing=150), Network(hidden=(16,), ensemble=2, steps=250)):
        fitted = each.fit(x, y)
        near, far = (fitted.members(np.full((1, 2), at), 60).mean.std() for at in (0.0, 12.0))
        assert far > 3 * near, each


@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_are_right(each: Family, classes: int) -> None:
    rng = np.random.default_rng(5)

    def data(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x = rng.normal(size=(rows, 1))
        odds = np.exp(np.column_stack([0 * x, 1.5 * x, -1.0 + 0 * x])[:, :classes])
        chance = odds / odds.sum(1, keepdims=True)
        return x, (rng.random((rows, 1)) > chance.cumsum(1)).sum(1) * 1.0, chance

    x, y, _ = data(800)
    new, _, chance = data(500)
    found = each.fit(x, y, classes=classes, seed=0).members(new, 30).mean
    assert found.shape == (30, 500, classes)
    assert np.allclose(found.sum(-1), 1)
    assert np.abs(found.mean(0) - chance).mean() < 0.055


def test_no_inputs_at_all_is_the_outcomes_own_law(each: Family) -> None:
    y = np.random.default_rng(0).normal(3.0, 2.0, size=300)
    found = each.fit(np.zeros((300, 0)), y).members(np.zeros((2, 0)), 20)
    law = Prediction(found.mean[:, None], found.noise)
    assert np.allclose(law.mean, 3.0, atol=0.5) and np.allclose(law.sd, 2.0, atol=0.4)


def test_one_class_only_is_nearly_certain(each: Family) -> None:
    x = np.random.default_rng(0).normal(size=(100, 1))
    chance = each.fit(x, np.ones(100), classes=2).members(x[:2], 10).mean
    assert (chance[..., 1].mean(0) > 0.95).all()


def test_what_is_wrong_is_named(each: Family) -> None:
    x, y = _linear_data(50, 0)
    with pytest.raises(DataError, match="row 3"):
        each.fit(np.where(np.arange(50)[:, None] == 3, np.nan, x), y)
    with pytest.raises(DataError, match="n_samples = 1: too few rows"):
        each.fit(x[:1], y[:1])
    with pytest.raises(DataError, match="run from 0 to 1"):
        each.fit(x, np.full(50, 2.0), classes=2)


def test_prediction_parts_add_up() -> None:
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(50, 8, 3)) + 5 * rng.normal(size=(50, 1, 1))
    found = Prediction(mean, rng.normal(size=(1, 99)) * 2)
    draws = found.draws(200_000)
    assert np.allclose(draws.mean(0), found.mean, atol=0.05)
    assert np.allclose(draws.var(0), found.variance, rtol=0.02)
    assert np.allclose(found.quantile([0.05, 0.95]), found.interval(0.9))
    assert (np.diff(found.to_dataframe()[["low", "mean", "high"]].to_numpy(), axis=1) > 0).all()


def test_class_prediction_parts_add_up() -> None:
    chance = np.random.default_rng(0).dirichlet([1, 2, 3], size=(20, 4, 5))
    found = ClassPrediction(chance, ["a", "b", "c"])
    assert np.allclose(found.aleatoric + found.epistemic, found.entropy)
    share = (found.draws(50_000) == "b").mean(0)
    assert np.allclose(share, found.probability("b"), atol=0.02)


def test_a_network_of_few_steps_is_trained_all_the_same() -> None:
    x, y = _linear_data(200, 0)
    left = [Network(hidden=(16,), ensemble=1, steps=steps)._train(x, y, None, 0)[0][0] for steps in (1, 40)]
    assert not np.allclose(left[0], left[1])
