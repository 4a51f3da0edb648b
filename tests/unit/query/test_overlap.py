"""Overlap against propensities in closed form."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import stats
from scipy.special import expit, softmax

import pcm
from pcm.errors import ArgumentError, EvidenceError, QueryError, UnknownNameError
from pcm.query.overlap import Overlap, overlap


def clinic():
    age = pyro.sample("age", dist.Normal(0.0, 1.0))
    plan = pyro.sample("plan", dist.Bernoulli(logits=0.3 + 2.0 * age))
    pyro.sample("days", dist.Normal(age - (1.0 + age) * plan, 1.0))


def dosing():
    age = pyro.sample("age", dist.Normal(0.0, 1.0))
    dose = pyro.sample("dose", dist.Normal(0.5 * age, 0.8))
    pyro.sample("days", dist.Normal(age - dose, 1.0))


def wards():
    age = pyro.sample("age", dist.Normal(0.0, 1.0))
    ward = pyro.sample("ward", dist.Categorical(logits=torch.stack([0.0 * age, age, -3.0 - age], -1)))
    pyro.sample("days", dist.Normal(1.0 * (ward == 2), 1.0))


def fitted_clinic(n):
    slope = pyro.sample("slope", dist.Normal(0.0, 3.0))
    with pyro.plate("units", n):
        age = pyro.sample("age", dist.Normal(0.0, 1.0))
        plan = pyro.sample("plan", dist.Bernoulli(logits=slope * age))
        pyro.sample("days", dist.Normal(plan, 1.0))


def ask(program, *args, **options) -> Overlap:
    return overlap(pcm.SCM(program)._model, *args, **options)


@pytest.fixture(scope="module")
def people():
    frame = pcm.SCM(clinic).sample(400, seed=3)
    return frame.set_axis([f"p{row}" for row in range(400)])


def test_propensities_flags_and_sample_sizes_in_closed_form(people):
    found = ask(clinic, "plan", people)
    chance = expit(0.3 + 2.0 * people["age"].to_numpy())
    np.testing.assert_allclose(found.probability.to_numpy(), np.stack([chance, 1 - chance], 1), atol=1e-12)
    outside = (chance < 0.05) | (chance > 0.95)
    assert 10 < outside.sum() < 200
    assert found.flagged.tolist() == people.index[outside].tolist()
    treated = people["plan"].to_numpy() == 1
    for arm, member, weight in (("plan = 1", treated, 1 / chance), ("plan = 0", ~treated, 1 / (1 - chance))):
        weight = weight[member]
        row = found.sizes.loc[arm]
        assert row["units"] == member.sum()
        assert row["effective"] == pytest.approx(weight.sum() ** 2 / (weight**2).sum(), rel=1e-9)


def test_how_much_of_the_effect_rests_on_the_flagged(people):
    found = ask(clinic, "plan", people, outcome="days")
    effects = -(1.0 + people["age"].to_numpy())
    np.testing.assert_allclose(found.effects.to_numpy(), effects, atol=1e-9)
    assert found.effect == pytest.approx(effects.mean(), abs=1e-9)
    assert found.effect_in_overlap == pytest.approx(effects[~found.mask].mean(), abs=1e-9)
    assert found.share == pytest.approx(effects[found.mask].sum() / effects.sum(), abs=1e-9)
    frame = found.to_dataframe()
    assert list(frame) == ["P(plan = 1)", "P(plan = 0)", "flagged", "effect on days"]
    assert frame.index.equals(people.index)
    assert "rests on the flagged units" in repr(found)


def test_the_threshold_moves_the_flags(people):
    chance = expit(0.3 + 2.0 * people["age"].to_numpy())
    found = ask(clinic, "plan", people, threshold=0.2)
    assert found.mask.tolist() == (np.minimum(chance, 1 - chance) < 0.2).tolist()


def test_the_parameters_of_a_fit_are_averaged_over():
    rng = np.random.default_rng(0)
    age = rng.normal(size=150)
    data = {"age": age, "plan": (rng.random(150) < expit(1.5 * age)) * 1.0, "days": rng.normal(size=150)}
    fitted = pcm.SCM(fitted_clinic).fit(data, seed=0, progress=False)
    found = overlap(fitted._model, "plan", data, draws=1000, seed=0)
    slope = fitted.posterior["slope"].numpy()
    np.testing.assert_allclose(found.probability[1].to_numpy(), expit(np.outer(slope, age)).mean(0), atol=1e-9)


def test_labels_and_every_category():
    scm = pcm.SCM(wards, categories={"ward": ["A", "B", "C"]})
    data = {"age": [0.0, 2.0], "ward": ["A", "C"], "days": [0.0, 0.0]}
    found = overlap(scm._model, "ward", data)
    true = softmax([[0.0, 0.0, -3.0], [0.0, 2.0, -5.0]], axis=1)
    assert found.levels == ("A", "B", "C")
    np.testing.assert_allclose(found.probability.to_numpy(), true, atol=1e-12)
    assert found.mask.tolist() == [True, True]
    two = overlap(scm._model, "ward", data, treated="B", control="A", outcome="days")
    assert two.levels == ("B", "A") and not two.mask.any()
    assert two.effect == pytest.approx(0.0, abs=1e-12) and np.isnan(two.share)


def test_a_continuous_treatment_is_judged_by_distance():
    data = pcm.SCM(dosing).sample(300, seed=1)
    found = ask(dosing, "dose", data, treated=2.0, control=0.0)
    mean = 0.5 * data["age"].to_numpy()
    for level in (2.0, 0.0):
        away = np.abs(level - mean) / 0.8
        np.testing.assert_allclose(found.distance[level].to_numpy(), away, atol=1e-9)
        np.testing.assert_allclose(found.probability[level].to_numpy(), 2 * stats.norm.sf(away), atol=1e-9)
    assert found.mask.tolist() == (2 * stats.norm.sf(np.abs(2.0 - mean) / 0.8) < 0.05).tolist()
    own = data["dose"].to_numpy()
    whole = stats.norm.pdf(own[:, None], mean, 0.8).mean(1)
    weight = whole / stats.norm.pdf(own, mean, 0.8)
    assert found.sizes.loc["all units", "effective"] == pytest.approx(weight.sum() ** 2 / (weight**2).sum(), rel=1e-6)
    assert "outer 0.05 of their own law" in repr(found)


def test_only_what_the_treatment_reads_is_needed():
    found = ask(clinic, "plan", {"age": [0.0, 3.0]})
    assert found.observed is None and not len(found.sizes)
    np.testing.assert_allclose(found.probability[1], expit([0.3, 6.3]), atol=1e-12)
    with pytest.raises(EvidenceError, match="'age', which the data lack"):
        ask(clinic, "plan", {"plan": [0.0], "days": [1.0]})
    with pytest.raises(EvidenceError, match=r"some rows \(first: 1\)"):
        ask(clinic, "plan", {"age": [0.0, np.nan]})


@pytest.mark.parametrize(("program", "treatment"), [(clinic, "plan"), (dosing, "dose")])
def test_the_pictures(program, treatment):
    data = pcm.SCM(program).sample(60, seed=0)
    figure = ask(program, treatment, data).plot()
    assert len(figure.axes) == 2
    assert treatment in figure.axes[-1].get_xlabel()
    assert ask(clinic, "plan", {"age": [0.0, 3.0]}).plot().axes[0].get_ylabel() == "all units"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"treatment": "pln"}, UnknownNameError, "Did you mean 'plan'"),
        ({"threshold": 0.5}, ArgumentError, "threshold=0.5"),
        ({"treated": 1}, ArgumentError, "both treated= and control="),
        ({"treated": 1, "control": 1}, ArgumentError, "nothing to compare"),
        ({"treated": "x", "control": 0}, ArgumentError, "'x' is no value of 'plan'"),
        ({"treated": 7, "control": 0}, ArgumentError, "outside its support"),
        ({"outcome": "dais"}, UnknownNameError, "Did you mean 'days'"),
    ],
)
def test_questions_that_cannot_be(people, options, error, words):
    with pytest.raises(error, match=words):
        ask(clinic, options.pop("treatment", "plan"), people, **options)


def test_a_treatment_needs_a_mechanism(people):
    def given(n, *, dose):
        with pyro.plate("units", n):
            pyro.sample("y", dist.Normal(dose, 1.0))

    with pytest.raises(QueryError, match="'dose' is a covariate"):
        ask(given, "dose", pd.DataFrame({"dose": [1.0], "y": [0.0]}))
    with pytest.raises(QueryError, match="set by do"):
        overlap(pcm.SCM(clinic).do(plan=1)._model, "plan", people)
