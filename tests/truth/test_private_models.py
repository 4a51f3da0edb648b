"""The zoo's private survey and clinic: naive adjustment errs by what enumeration and moments say, aware fits do not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import pcm
from pcm import private
from pcm_models import private_clinic, private_survey


def adjusted(noised: frozenset[str]) -> float:
    """The adjustment formula on the law of answers: by hand, over all eight values and four answers."""
    keep = private_survey.mechanism.keep
    table = np.zeros((2, 2, 2))
    for arrest, use, harm in itertools.product((0, 1), repeat=3):
        chance_use, chance_harm = 0.2 + 0.5 * arrest, 0.1 + 0.2 * use + 0.4 * arrest
        weight = (0.4 if arrest else 0.6) * (chance_use if use else 1 - chance_use)
        weight *= chance_harm if harm else 1 - chance_harm
        for said_arrest, said_use in itertools.product((0, 1), repeat=2):
            share = weight
            for name, true, said in (("arrest", arrest, said_arrest), ("use", use, said_use)):
                share *= (keep if true == said else 1 - keep) if name in noised else float(true == said)
            table[said_arrest, said_use, harm] += share
    risks = table[:, :, 1] / table.sum(2)
    return float(table.sum((1, 2)) @ (risks[:, 1] - risks[:, 0]))


@pytest.mark.parametrize(
    ("noised", "question"),
    [
        ((), "ATE of use on harm"),
        (("use",), "adjusted for answers, treatment noised"),
        (("arrest",), "adjusted for answers, confounder noised"),
        (("use", "arrest"), "adjusted for answers, both noised"),
    ],
)
def test_the_biases_of_the_survey(noised, question) -> None:
    assert adjusted(frozenset(noised)) == pytest.approx(private_survey.truth[question][0], abs=1e-6)


@pytest.mark.parametrize("noised", [("use",), ("arrest",), ("use", "arrest")])
def test_a_fit_that_knows_the_mechanism_finds_the_survey_s_effect(noised) -> None:
    frame = pcm.SCM(private_survey.program).sample(20_000, seed=4)
    data = {name: frame[name] for name in ("arrest", "use", "harm")}
    for name in noised:
        data[name] = private.Release(frame[f"said_{name}"], private_survey.mechanism, name=name)
    fitted = pcm.SCM(private_survey.survey).fit(data, seed=0, draws=200, progress=False)
    effect = pcm.ate(fitted, "use", "harm", seed=0, units=2_000)
    assert abs(float(effect) - private_survey.truth["ATE of use on harm"][0]) < 3.5 * float(effect.draws.std())
    assert float(effect.draws.std()) < 0.06


def test_the_clinic_s_dose_shortens_the_stay() -> None:
    frame = pcm.SCM(private_clinic.program).sample(4_000, seed=1)
    columns = np.stack([frame["dose"], frame["noisy"], np.ones(len(frame))], 1)
    naive = np.linalg.lstsq(columns, frame["stay"].to_numpy(), rcond=None)[0][0]
    assert naive == pytest.approx(private_clinic.truth["least squares with the noisy value"][0], abs=0.08)
    release = private.Release(frame["noisy"], private_clinic.mechanism, name="lab")
    data = {"lab": release, "dose": frame["dose"], "stay": frame["stay"]}
    fitted = pcm.SCM(private_clinic.clinic).fit(data, seed=0, draws=200, progress=False)
    effect = pcm.ate(fitted, "dose", "stay", seed=0, units=1_000)
    assert abs(float(effect) + 0.5) < 3.5 * float(effect.draws.std()) and float(effect.draws.std()) < 0.2
