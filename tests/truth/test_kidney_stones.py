"""Kidney stones: standardisation of a published table, exactly."""

from __future__ import annotations

import pytest

import pcm
from pcm_models.kidney_stones import load, truth


@pytest.fixture(scope="module")
def patients():
    return load()


def value(question: str) -> float:
    return truth[question][0]


def test_the_published_totals(patients):
    assert len(patients) == 700
    recovered = patients.groupby("treatment")["recovery"].agg(["sum", "count"])
    assert recovered.loc[1].tolist() == [273, 350]
    assert recovered.loc[0].tolist() == [289, 350]
    crude = recovered["sum"] / recovered["count"]
    assert crude[1] - crude[0] == pytest.approx(value("crude difference"), abs=1e-12)


@pytest.mark.parametrize("treatment", ["open", "puncture"])
def test_standardised_recovery(scm, patients, treatment):
    cf = scm.counterfactual(patients, do={"treatment": treatment})
    assert cf.probability("recovery", "yes").mean() == pytest.approx(value(f"P(recovery | do({treatment}))"), abs=1e-12)
    assert cf.probability("recovery", "yes").mean() == pytest.approx(
        {"open": 0.832, "puncture": 0.779}[treatment], abs=1e-3
    )


def test_the_paradox(scm, patients):
    effect = pcm.ate(scm, "treatment", "recovery", treated="open", control="puncture", data=patients)
    assert float(effect) == pytest.approx(value("ATE of open surgery"), abs=1e-12)
    assert value("crude difference") < 0 < float(effect)


def test_effects_by_size(scm, patients):
    effect = pcm.cate(scm, "treatment", "recovery", given=["size"], data=patients)
    table = effect.to_dataframe()["mean"]
    assert len(table) == 2
    assert table.iloc[0] == pytest.approx(value("ATE of open surgery, small stones"), abs=1e-12)
    assert table.iloc[1] == pytest.approx(value("ATE of open surgery, large stones"), abs=1e-12)


def test_fresh_units_agree_within_their_error(scm):
    effect = pcm.ate(scm, "treatment", "recovery", units=20_000, seed=1)
    assert effect.standard_error == 0 and abs(float(effect) - value("ATE of open surgery")) <= 1e-12
    drawn = effect.units.mean
    assert abs(drawn.mean() - value("ATE of open surgery")) < 5 * drawn.std() / 20_000**0.5
