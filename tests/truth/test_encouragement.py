"""Pearl's encouragement design: linear Gaussian, every answer by hand."""

from __future__ import annotations

import pytest

import pcm
from pcm_models.encouragement import evidence, truth


def value(question: str) -> float:
    return truth[question][0]


def test_joes_score_with_more_homework(scm):
    joe = scm.counterfactual(evidence, do={"H": 2.0})
    assert joe.mean("Y")[0] == pytest.approx(value("Y of Joe, had H been 2"), abs=1e-12)
    assert joe.interval("Y")[0] == pytest.approx([1.90, 1.90], abs=1e-12)  # nothing is left open
    assert joe.mean("X")[0] == 0.5
    assert joe.account.rung == 3


def test_joe_without_encouragement(scm):
    joe = scm.counterfactual(evidence, do={"X": 0.0})
    assert joe.mean("H")[0] == pytest.approx(value("H of Joe, had X been 0"), abs=1e-12)
    assert joe.mean("Y")[0] == pytest.approx(value("Y of Joe, had X been 0"), abs=1e-12)


@pytest.mark.parametrize("treatment", ["X", "H"])
def test_average_effects_are_the_coefficients(scm, treatment):
    assert float(pcm.ate(scm, treatment, "Y", seed=0)) == pytest.approx(value(f"ATE of {treatment} on Y"), abs=1e-9)


def test_an_edge_alone_carries_the_direct_effect(scm):
    worlds = {"direct": {("X", "Y"): 1.5}, "through homework": {("X", "H"): 1.5}}
    joe = scm.counterfactual(evidence, worlds=worlds)
    assert joe.contrast("Y", "direct").mean[0] == pytest.approx(0.7, abs=1e-12)
    assert joe.contrast("Y", "through homework").mean[0] == pytest.approx(0.2, abs=1e-12)
