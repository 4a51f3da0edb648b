"""Alice's salary, from The Book of Why."""

from __future__ import annotations

import pytest

import pcm
from pcm_models.salary import evidence, truth


def value(question: str) -> float:
    return truth[question][0]


def test_alice_with_a_degree(scm):
    alice = scm.counterfactual(evidence, do={"ED": 1})
    assert alice.mean("S")[0] == pytest.approx(value("S of Alice, had ED been 1"), abs=1e-9)
    assert alice.mean("EX")[0] == pytest.approx(value("EX of Alice, had ED been 1"), abs=1e-12)
    assert alice.mean("S", "factual")[0] == 81_000.0


def test_holding_experience_is_another_question(scm):
    alice = scm.counterfactual(evidence, do={"ED": 1, "EX": 6.0})
    assert alice.mean("S")[0] == pytest.approx(value("S of Alice, had ED been 1 and EX still 6"), abs=1e-9)
    direct = scm.counterfactual(evidence, do={("ED", "S"): 1})
    assert direct.mean("S")[0] == pytest.approx(alice.mean("S")[0], abs=1e-9)


def test_average_effect(scm):
    assert float(pcm.ate(scm, "ED", "S", seed=0)) == pytest.approx(value("ATE of ED on S"), abs=1e-6)
