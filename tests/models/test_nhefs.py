"""NHEFS: the fitted program against least squares standardised over the sample, and the demo that shows it."""

from __future__ import annotations

import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import statsmodels.api as sm

import pcm
from pcm.figures import number_text
from pcm_models import nhefs

VOID = {"meta", "br", "hr", "img", "link", "input", "col"}


@pytest.fixture(scope="module")
def people():
    return nhefs.load()


@pytest.fixture(scope="module")
def fitted(people) -> pcm.SCM:
    scm = pcm.SCM(nhefs.program, categories=nhefs.categories)
    return scm.fit(people, method="laplace", draws=2000, seed=0, progress=False)


def baseline(people) -> np.ndarray:
    """The book's covariates, in their own units: ``(unit, 19)``."""
    columns = [np.ones(len(people)), people["sex"], people["race"]]
    for name, levels in (("education", 5), ("exercise", 3), ("active", 3)):
        columns += [people[name] == level for level in range(1, levels)]
    for name in ("age", "smokeintensity", "smokeyrs", "wt71"):
        columns += [people[name], people[name] ** 2]
    return np.column_stack(columns).astype(float)


def design(people, quit) -> np.ndarray:
    quit = np.broadcast_to(np.asarray(quit, float), len(people))
    return np.column_stack([baseline(people), quit, quit * people["smokeintensity"]])


@pytest.fixture(scope="module")
def regression(people):
    return sm.OLS(people["wt82_71"].to_numpy(), design(people, people["qsmk"])).fit()


def standardised(regression, weights: np.ndarray) -> tuple[float, float]:
    """A linear combination of the coefficients, and its standard error by the delta method."""
    return float(weights @ regression.params), float(np.sqrt(weights @ regression.cov_params() @ weights))


def contrast(people) -> np.ndarray:
    return (design(people, 1) - design(people, 0)).mean(0)


def test_the_data_are_the_books(people):
    assert people.shape == (1566, 11)
    assert (people["qsmk"] == 1).sum() == 403
    assert people["education"].min() == 0
    assert people["education"].max() == 4
    quitters, others = (people.loc[people["qsmk"] == code, "wt82_71"] for code in (1, 0))
    value, error, _ = nhefs.truth["crude difference, kg"]
    assert quitters.mean() - others.mean() == pytest.approx(value, abs=1e-9)
    assert (quitters.var() / 403 + others.var() / 1163) ** 0.5 == pytest.approx(error, abs=1e-6)
    assert round(value, 2) == 2.54


def test_the_stated_truths_are_least_squares(people, regression):
    quitters = people[people["qsmk"] == 1]
    weights = {
        "ATE of qsmk on wt82_71, kg": contrast(people),
        "ATT of qsmk on wt82_71, kg": contrast(quitters),
        "mean weight change had all quit, kg": design(people, 1).mean(0),
        "mean weight change had none quit, kg": design(people, 0).mean(0),
    }
    for question, combination in weights.items():
        value, error = standardised(regression, combination)
        assert value == pytest.approx(nhefs.truth[question][0], abs=1e-6), question
        assert error == pytest.approx(nhefs.truth[question][1], abs=1e-6), question
    value, error, _ = nhefs.truth["ATE as published, kg"]
    assert abs(value - nhefs.truth["ATE of qsmk on wt82_71, kg"][0]) < 0.05


@pytest.mark.parametrize("effect", ["ate", "att"])
def test_effects_are_the_standardised_regression(people, fitted, regression, effect):
    over = people if effect == "ate" else people[people["qsmk"] == 1]
    value, error = standardised(regression, contrast(over))
    found = getattr(pcm, effect)(fitted, "qsmk", "wt82_71", treated="quit", data=people, draws=2000, seed=0)
    assert found.mean == pytest.approx(value, abs=0.05)  # the prior's pull and the Monte-Carlo error together
    assert found.interval(0.95) == pytest.approx((value - 1.96 * error, value + 1.96 * error), abs=0.15)
    assert found.account.rung == 3


def test_the_fit_is_to_be_trusted(fitted):
    diagnostics = fitted.posterior.diagnostics
    assert diagnostics["converged"]
    assert diagnostics["khat"] < 0.5
    assert diagnostics["ess"] > 0.4 * 2000


def test_quitting_is_the_books_propensity_model(people, fitted):
    """Chapter 12's logistic regression, compared by the log odds it gives each person."""
    x = baseline(people)
    scale = np.abs(x).max(0)
    maximum = sm.Logit(people["qsmk"].to_numpy(), x / scale).fit(disp=0)
    log_odds = x / scale @ maximum.params
    error = np.sqrt(np.einsum("ui,ij,uj->u", x / scale, maximum.cov_params(), x / scale))
    fitted_odds = -np.log(1 / _chance(fitted, people) - 1)
    assert np.abs((fitted_odds - log_odds) / error).max() < 0.5


def _chance(fitted, people) -> np.ndarray:
    """P(quit | covariates) at the posterior mean, from the density of having quit."""
    at_mean = fitted.given({name: fitted.posterior.mean(name) for name in fitted.parameters})
    both = np.stack([at_mean.log_prob(people.assign(qsmk=code, wt82_71=0.0)) for code in (0.0, 1.0)])
    gain = np.stack([_gain_density(at_mean, people, code) for code in (0.0, 1.0)])
    return np.exp((both - gain)[1])


def _gain_density(at_mean, people, code) -> np.ndarray:
    from scipy.stats import norm

    values = at_mean.do(qsmk=code).counterfactual(people.assign(qsmk=code, wt82_71=0.0), do={"qsmk": code})
    del values
    effect, gaining = (_parameter(at_mean, name) for name in ("effect", "gaining"))
    return norm.logpdf(0.0, effect, gaining)
