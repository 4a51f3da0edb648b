"""Pearl's firing squad: logical equations, and its probabilistic version by enumerating what the court and A did."""

from __future__ import annotations

import numpy as np
import pytest

import pcm
from pcm_models.firing_squad import truth

EVERY = {"U": [0, 0, 1, 1], "W": [0, 1, 0, 1]}


def value(question: str) -> float:
    return truth[question][0]


def test_dead_even_had_a_held_his_fire(scm):
    seen = {"U": [1], "W": [0], "C": [1], "A": [1], "B": [1], "D": [1]}
    cf = scm.counterfactual(seen, do={"A": 0})
    assert cf.mean("D")[0] == value("D after an order, had A held his fire")
    assert cf.mean("B")[0] == 1.0


def test_alive_where_only_the_nervous_one_shot(scm):
    cf = scm.counterfactual({"U": [0], "W": [1]}, do={"A": 0})
    assert cf.mean("D", "factual")[0] == 1.0
    assert cf.mean("D")[0] == value("D without an order and W = 1, had A held his fire")


def test_the_captains_signal_alone_is_enough(scm):
    cf = scm.counterfactual({"U": [0], "W": [0]}, worlds={"signal": {"C": 1}, "heard by B alone": {("C", "B"): 1}})
    assert [cf.mean(name, "signal")[0] for name in "UCABD"] == [0, 1, 1, 1, 1]
    assert [cf.mean(name, "heard by B alone")[0] for name in "UCABD"] == [0, 0, 0, 1, 1]


def test_probabilities_by_enumeration(scm):
    cf = scm.counterfactual(EVERY, do={"A": 0})
    weight = np.exp(scm.log_prob(EVERY))
    dead, dead_without = cf.mean("D", "factual"), cf.mean("D")
    assert weight.sum() == pytest.approx(1.0, abs=1e-12)
    assert weight @ dead == pytest.approx(value("P(D)"), abs=1e-12)
    assert weight @ dead_without == pytest.approx(value("P(D) had A held his fire"), abs=1e-12)
    alive = weight @ (dead * (1 - dead_without)) / (weight @ dead)
    assert alive == pytest.approx(value("P(not D had A held his fire | D)"), abs=1e-12)


def test_evidence_against_the_equations_is_refused(scm):
    with pytest.raises(pcm.PCMError, match="'D' contradicts the program"):
        scm.counterfactual({"U": [1], "W": [0], "D": [0]}, do={"A": 0})
