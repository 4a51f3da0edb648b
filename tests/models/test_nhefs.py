"""NHEFS: the fitted program against least squares standardised over the sample, and the demo that shows it."""

from __future__ import annotations

import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import pcm
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


def test_the_prior_hardly_moves_the_effect(people, regression):
    at_mode = pcm.SCM(nhefs.program).fit(people, method="map", progress=False)
    value, _ = standardised(regression, contrast(people))
    assert pcm.ate(at_mode, "qsmk", "wt82_71", data=people).mean == pytest.approx(value, abs=0.02)


def test_the_fit_is_to_be_trusted(fitted):
    diagnostics = fitted.posterior.diagnostics
    assert diagnostics["converged"]
    assert diagnostics["khat"] < 0.5
    assert diagnostics["ess"] > 0.4 * 2000


def test_quitting_is_the_books_propensity_model(people, fitted):
    """Chapter 12's logistic regression, compared by the log odds it gives each person."""
    x = baseline(people)
    x = x / np.abs(x).max(0)
    maximum = sm.Logit(people["qsmk"].to_numpy(), x).fit(disp=0)
    error = np.sqrt(np.einsum("ui,ij,uj->u", x, maximum.cov_params(), x))
    at_mean = {name: fitted.posterior.mean(name) for name in fitted.parameters}
    flat = pcm.SCM(nhefs.program).given({**at_mean, "spread": 1e9})  # weight says nothing: quitting's odds remain
    quit, smoked = (flat.log_prob(people.assign(qsmk=code)) for code in (1.0, 0.0))
    assert np.abs((quit - smoked - x @ maximum.params) / error).max() < 0.5


def test_the_report_names_the_coefficients_rightly(people, fitted):
    """Each named coefficient against least squares on a column of that meaning, in the program's scales."""
    scaled = {
        "age": (people["age"] - 44) / 12,
        "smokeintensity": (people["smokeintensity"] - 20) / 12,
        "smokeyrs": (people["smokeyrs"] - 25) / 12,
        "wt71": (people["wt71"] - 71) / 16,
    }
    columns = {"intercept": np.ones(len(people)), "female": people["sex"], "black or other": people["race"]}
    for name, prefix in (("education", ""), ("exercise", "exercise "), ("active", "")):
        for level, label in enumerate(nhefs.categories[name][1:], 1):
            columns[prefix + label] = people[name] == level
    for name, value in scaled.items():
        columns |= {name: value, f"{name}²": value**2}
    columns |= {"qsmk": people["qsmk"], "qsmk × smokeintensity": people["qsmk"] * scaled["smokeintensity"]}
    fit = sm.OLS(people["wt82_71"].to_numpy(), np.column_stack(list(columns.values())).astype(float)).fit()
    least = dict(zip(columns, zip(fit.params, fit.bse, strict=True), strict=True))
    for site in ("gaining", "effect"):
        for name, value in zip(nhefs._coefficients()[site], fitted.posterior.mean(site).tolist(), strict=True):
            assert abs(value - least[name][0]) < 0.2 * least[name][1], name
    assert sum(map(len, nhefs._coefficients().values())) == len(fitted.posterior.summary())


def test_three_people_in_the_other_world(people, fitted):
    chosen = people.loc[list(nhefs.PEOPLE)]
    worlds = {"quit": {"qsmk": "quit"}, "smoked on": {"qsmk": "smoked on"}}
    cf = fitted.counterfactual(chosen, worlds=worlds, draws=2000, seed=0)
    effect = fitted.posterior["effect"].numpy()
    adds = effect[:, :1] + effect[:, 1:] * (chosen["smokeintensity"].to_numpy() - 20) / 12  # (draw, unit)
    for code, world in enumerate(("smoked on", "quit")):
        closed = chosen["wt82_71"].to_numpy() + (code - chosen["qsmk"].to_numpy()) * adds
        np.testing.assert_allclose(cf.mean("wt82_71", world), closed.mean(0), atol=1e-9)
        bounds = np.quantile(closed, [0.025, 0.975], axis=0).T
        np.testing.assert_allclose(cf.interval("wt82_71", 0.95, world), bounds, atol=1e-9)
    assert list(cf.index) == list(nhefs.PEOPLE)
    np.testing.assert_array_equal(cf.mean("wt82_71", "factual"), chosen["wt82_71"])


def test_labels_and_codes_are_one(people, fitted):
    chosen = people.loc[list(nhefs.PEOPLE)]
    labelled = chosen.assign(
        **{
            name: pd.Categorical.from_codes(chosen[name].astype(int), list(labels))
            for name, labels in nhefs.categories.items()
        }
    )
    by_code, by_label = (fitted.counterfactual(frame, do={"qsmk": "quit"}, seed=0) for frame in (chosen, labelled))
    np.testing.assert_array_equal(by_code.mean("wt82_71"), by_label.mean("wt82_71"))


def test_the_people_are_as_described(people):
    for seqn, who in nhefs.PEOPLE.items():
        person = people.loc[seqn]
        sex = "woman" if person["sex"] else "man"
        did = "quit" if person["qsmk"] else "smoked on"
        assert who == f"{sex} of {person['age']:.0f}, {person['smokeintensity']:.0f} a day, {did}"


def test_the_data_package_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "causaldata", None)
    with pytest.raises(pcm.PCMError, match="causaldata"):
        nhefs.load()


class Outline(HTMLParser):
    """Headings, pictures, and whether every tag is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.count = {"svg": 0, "table": 0, "section": 0}

    def handle_starttag(self, tag, attrs):
        if tag in self.count:
            self.count[tag] += 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["h2"]:
            self.headings.append(data)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "report.html"
    return nhefs.demo(out), out.read_text("utf-8")


def test_the_demo_prints_the_answers(demo):
    text, _ = demo
    assert max(map(len, text.splitlines()[:-1])) <= 80
    lines = {line[:40].strip(): line[44:].split() for line in text.splitlines()}
    assert float(lines["Crude difference, quitters − others"][0]) == 2.54
    mean, low, _, high = map(str, lines["Average effect of quitting (ATE)"])
    assert (float(mean), float(low), float(high)) == pytest.approx((3.52, 2.65, 4.38), abs=0.1)
    assert lines["Hernán & Robins, What If, §13.3"] == ["3.5", "2.6", "to", "4.5"]
    assert float(lines["Average effect on those who quit (ATT)"][0]) == pytest.approx(3.43, abs=0.1)
    assert all(f"seqn {seqn}: {who}" in text for seqn, who in nhefs.PEOPLE.items())


def test_the_demo_writes_a_whole_report(demo):
    _, html = demo
    outline = Outline()
    outline.feed(html)
    outline.close()
    assert outline.open == []
    assert outline.headings == [
        "Quitting smoking and body weight",
        "Effect",
        "People",
        "Graph",
        "Posterior",
        "What this rests on",
    ]
    assert outline.count["section"] == 6
    assert outline.count["svg"] >= 4
    assert outline.count["table"] >= 4
    assert "http" not in html.replace("http://www.w3.org", "")  # nothing is fetched
