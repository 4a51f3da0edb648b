"""The paper's hospital: every row of the table, both readings of the environment, both kinds of outcome."""

from __future__ import annotations

import numpy as np
import pytest

import pcm
from pcm_models.hospital_readmission import artifact, binary, fair, fair_artifact, program, robust, truth


def value(question: str) -> float:
    return truth[question][0]


def risk(verdict: pcm.Verdict, name: str) -> float:
    return float(verdict.row(name).risk)


def test_the_table():
    found = pcm.check(pcm.SCM(program), [fair, robust])
    near = {"abs": 1e-6}
    assert risk(found, "Bayes (A, E, X, Z)") == pytest.approx(value("MSE, Bayes"), **near)
    assert risk(found, "unaware (drop A)") == pytest.approx(value("MSE, unaware"), **near)
    assert risk(found, "uniform in A") == pytest.approx(value("MSE, uniform in A"), **near)
    assert risk(found, "A: A → X → Y, faithful") == pytest.approx(value("MSE, fair"), **near)
    optimum = found.row("A: A → X → Y, observational optimum")
    assert float(optimum.risk) == pytest.approx(value("MSE, fair, observational optimum"), **near)
    assert float(optimum.effects["A"]) == pytest.approx(value("effect of A, fair, observational optimum"), **near)
    assert risk(found, "E: E → Y, faithful") == pytest.approx(value("MSE, robust"), **near)
    assert risk(found, "together, faithful") == pytest.approx(value("MSE, both"), **near)
    assert risk(found, "uniform in A and E") == pytest.approx(value("MSE, uniform in A and E"), **near)
    assert float(found.price) == pytest.approx(value("price of both"), **near)
    assert float(found.shadow_prices["A"]) == pytest.approx(value("shadow price of fair"), **near)
    assert float(found.shadow_prices["E"]) == pytest.approx(value("shadow price of robust"), **near)


def test_hidden_environment():
    found = pcm.check(pcm.SCM(program), [fair, robust], hidden=["E"])
    faithful = found.row("together, faithful")
    assert float(faithful.risk) == pytest.approx(value("MSE, both, E hidden"), abs=1e-6)
    assert float(faithful.effects["E"]) == pytest.approx(value("effect of E, both, E hidden"), abs=1e-6)
    assert risk(found, "together, matched") == pytest.approx(value("MSE, both matched, E hidden"), abs=1e-6)


def test_robustness_against_an_artifact_is_free():
    scm = pcm.SCM(artifact)
    found = pcm.check(scm, [fair_artifact, robust], hidden=["X_true"])
    assert risk(found, "together, faithful") == pytest.approx(value("MSE, both, artifact"), abs=1e-6)
    assert pcm.check(scm, [robust], hidden=["X_true"]).kinds == ("free",)
    simulated = pcm.check(scm, [fair_artifact, robust], inputs=["A", "E", "X_true", "Z"], simulate=True, seed=0)
    assert risk(simulated, "together, faithful") == pytest.approx(value("MSE, both, artifact"), rel=0.01)


def test_what_is_read_of_a_hidden_parent_is_inferred_by_simulation_too():
    """X_true is what X says without the artifact: the observational optimum reads it, and launders through it."""
    asked = {"hidden": ["X_true"], "units": 2_000, "seed": 1}
    exact, found = (pcm.check(pcm.SCM(artifact), [fair_artifact], simulate=each, **asked) for each in (False, True))
    name = "A: A → X_true → Y, observational optimum"
    assert risk(exact, name) == pytest.approx(1 + 1.69 / 1.64, abs=1e-6)
    assert abs(risk(found, name) - risk(exact, name)) < 4 * found.row(name).risk.standard_error
    assert float(found.row(name).effects["A"]) == pytest.approx(float(exact.row(name).effects["A"]), rel=0.03)


def test_binary_outcome():
    found = pcm.check(pcm.SCM(binary), [fair, robust], units=4_000, seed=0)
    assert abs(found.price.mean - value("price of both, binary outcome")) < 4 * found.price.standard_error
    assert all(np.isclose(gap.mean, 0.0, atol=1e-9) for gap in found.gaps.values())
