"""The latent confounder: stated truths against the joint Gaussian of all columns, and the package against both."""

from __future__ import annotations

import numpy as np
import pytest

import pcm
from pcm_models.latent_confounder import evidence, truth

NAMES = list(evidence)
B = np.zeros((5, 5))  # B[child, parent], in the order A, E, X, Z, Y
B[2, :2], B[3, 0], B[4, :4] = (0.8, 0.5), -0.7, (0.3, 0.6, 1.2, 0.9)
SOLVE = np.linalg.inv(np.eye(5) - B)
COVARIANCE = SOLVE @ np.diag(np.array([1, 1, 0.5, 0.4, 0.7]) ** 2) @ SOLVE.T
UNIT = np.array([values[0] for values in evidence.values()])


def value(question: str) -> float:
    return truth[question][0]


def hidden(name: str) -> dict[str, list[float]]:
    return {other: values for other, values in evidence.items() if other != name}


def conditioned(name: str) -> tuple[float, float]:
    """Mean and sd of one column given the four others, from the joint covariance."""
    place = NAMES.index(name)
    rest = [other for other in range(5) if other != place]
    gain = COVARIANCE[place, rest] @ np.linalg.inv(COVARIANCE[np.ix_(rest, rest)])
    return float(gain @ UNIT[rest]), float(COVARIANCE[place, place] - gain @ COVARIANCE[rest, place]) ** 0.5


def test_average_truths_are_the_linear_algebra():
    for name, place in (("A", 0), ("E", 1), ("X", 2)):
        assert value(f"ATE of {name} on Y") == pytest.approx(SOLVE[4, place], abs=1e-12)
    assert value("slope of Y on X, as observed") == pytest.approx(COVARIANCE[4, 2] / COVARIANCE[2, 2], abs=1e-12)


@pytest.mark.parametrize("name", ["A", "E"])
def test_unit_truths_are_the_joint_gaussian_conditioned(name):
    mean, sd = conditioned(name)
    effect, outcome = SOLVE[4, NAMES.index(name)], UNIT[4]
    assert value(f"{name}; {name} hidden") == pytest.approx(mean, abs=1e-12)
    assert value(f"sd of {name}; {name} hidden") == pytest.approx(sd, abs=1e-12)
    assert value(f"Y, had {name} been 0; {name} hidden") == pytest.approx(outcome - effect * mean, abs=1e-12)
    assert value(f"sd of Y, had {name} been 0; {name} hidden") == pytest.approx(effect * sd, abs=1e-12)


@pytest.mark.parametrize("name", ["A", "E"])
def test_the_hidden_cause_and_its_counterfactual(scm, name):
    cf = scm.counterfactual(hidden(name), do={name: 0.0}, seed=0)
    question = f"Y, had {name} been 0; {name} hidden"
    assert cf.mean(name, "factual")[0] == pytest.approx(value(f"{name}; {name} hidden"), abs=1e-9)
    assert cf.sd(name, "factual")[0] == pytest.approx(value(f"sd of {name}; {name} hidden"), abs=1e-9)
    assert cf.mean("Y")[0] == pytest.approx(value(question), abs=1e-9)
    assert cf.sd("Y")[0] == pytest.approx(value(f"sd of {question}"), abs=1e-9)
    assert "exact Gaussian" in cf.account.sites[name].abduction


def test_nothing_hidden_leaves_nothing_open(scm):
    cf = scm.counterfactual(evidence, do={"A": 0.0})
    assert cf.mean("Y")[0] == pytest.approx(value("Y, had A been 0"), abs=1e-12)
    assert cf.sd("Y")[0] == 0.0


def test_an_effect_past_what_is_hidden_is_certain(scm):
    cf = scm.counterfactual(hidden("A"), do={"X": 0.0}, seed=0)
    assert cf.mean("Y")[0] == pytest.approx(value("Y, had X been 0; A hidden"), abs=1e-9)
    assert cf.sd("Y")[0] == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("treatment", ["A", "E", "X"])
def test_average_effects_are_the_path_sums(scm, treatment):
    assert float(pcm.ate(scm, treatment, "Y", seed=0)) == pytest.approx(value(f"ATE of {treatment} on Y"), abs=1e-9)
