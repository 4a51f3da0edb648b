"""The clinic against numerical integration of the model and against the closed form of a binary counterfactual."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax

import pcm
from pcm_models.clinic import evidence, truth


def value(question: str) -> float:
    return truth[question][0]


def risk(labs: float | None = None, site: float | None = None, plan: int | None = None) -> float:
    """P(readmit = 1) under an intervention: axes are age, noise of labs, site, plan."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / np.sqrt(2 * np.pi)
    age, noise = nodes[:, None, None, None], nodes[None, :, None, None]
    sites, plans = np.array([0.0, 1.0])[:, None], np.arange(3)
    share = np.array([0.6, 0.4] if site is None else [1 - site, site])[:, None]
    logits = np.stack([0 * nodes, nodes, -nodes], -1)
    chosen = softmax(logits, -1)[:, None, None, :] if plan is None else (plans == plan) * 1.0
    value = 0.8 * age + 0.5 * sites + 0.5 * noise if labs is None else labs
    chance = expit(1.2 * value - 0.4 * (plans == 1) + 0.3 * age + 0.7 * sites)
    return float((chance * share * chosen * weights[:, None, None, None] * weights[None, :, None, None]).sum())


def test_the_stated_truths_are_the_integrals():
    assert risk() == pytest.approx(value("P(readmit)"), abs=1e-12)
    assert risk(labs=0.0) == pytest.approx(value("P(readmit | do(labs = 0))"), abs=1e-12)
    assert risk(labs=1.0) - risk(labs=0.0) == pytest.approx(value("ATE of labs on readmit"), abs=1e-12)
    assert risk(site=1.0) - risk(site=0.0) == pytest.approx(value("ATE of site on readmit"), abs=1e-12)
    assert risk(plan=1) - risk(plan=0) == pytest.approx(value("ATE of plan basic on readmit"), abs=1e-12)


def arms(name):
    return {"treated": "basic", "control": "none"} if name == "plan" else {}


@pytest.mark.parametrize(
    ("treatment", "question"),
    [
        ("labs", "ATE of labs on readmit"),
        ("site", "ATE of site on readmit"),
        ("plan", "ATE of plan basic on readmit"),
    ],
)
def test_average_effects(scm, treatment, question):
    effect = pcm.ate(scm, treatment, "readmit", units=40_000, seed=3, **arms(treatment))
    assert 0 < effect.standard_error < 2e-3
    assert abs(float(effect) - value(question)) < 5 * effect.standard_error


@pytest.mark.parametrize(("do", "question"), [({}, "P(readmit)"), ({"labs": 0.0}, "P(readmit | do(labs = 0))")])
def test_sampled_risk(scm, do, question):
    units = 40_000
    found = (scm.do(do) if do else scm).sample(units, seed=5)["readmit"].mean()
    chance = value(question)
    assert abs(found - chance) < 5 * (chance * (1 - chance) / units) ** 0.5


def test_counterfactual_risk_of_two_patients(scm):
    worlds = {"low": {"labs": 0.0}, "high": {"labs": 1.0}}
    cf = scm.counterfactual(evidence, worlds=worlds)
    low, high = (cf.probability("readmit", 1, world) for world in worlds)
    assert low[0] == pytest.approx(value("P(readmit) of the first, had labs been 0"), abs=1e-9)
    assert high[1] == pytest.approx(value("P(readmit) of the second, had labs been 1"), abs=1e-9)

    age, site, labs, plan, seen = (np.array(evidence[name]) for name in ("age", "site", "labs", "plan", "readmit"))
    for new, found in ((0.0, low), (1.0, high)):
        p, q = (expit(1.2 * x - 0.4 * (plan == 1) + 0.3 * age + 0.7 * site) for x in (labs, new))
        np.testing.assert_allclose(
            found, np.where(seen == 1, np.minimum(p, q) / p, np.maximum(q - p, 0) / (1 - p)), atol=1e-9
        )
