"""What an effect says it rests on: identification by the graph, positivity, and that neither costs until it is read."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm


def confounded():
    u = pyro.sample("u", dist.Normal(0.0, 1.0))
    t = pyro.sample("t", dist.Bernoulli(logits=3 * u))
    m = pyro.sample("m", dist.Normal(t, 1.0))
    pyro.sample("y", dist.Normal(m + u, 1.0))


def mediated():
    u = pyro.sample("u", dist.Bernoulli(0.5))
    t = pyro.sample("t", dist.Bernoulli(0.5))
    m = pyro.sample("m", dist.Bernoulli(0.2 + 0.3 * t + 0.3 * u))
    pyro.sample("y", dist.Bernoulli(0.1 + 0.2 * t + 0.3 * m + 0.2 * u))


@pytest.fixture(scope="module")
def scm():
    return pcm.SCM(confounded)


@pytest.fixture(scope="module")
def people(scm):
    return scm.sample(400, seed=0).rename(index=lambda place: f"unit {place}")


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda s: pcm.ate(s, "t", "y"), ["identified by the graph", "back-door adjustment for u", "Σ_u"]),
        (lambda s: pcm.ate(s, "t", "y", latent=["u"]), ["u unobserved", "front-door through m"]),
        (lambda s: pcm.ate(s, "t", "y", latent=["u", "m"]), ["model-dependent", "not identified", "c-forests"]),
        (lambda s: pcm.att(s, "t", "y", latent=["u"]), ["identified by the graph", "front-door"]),
        (lambda s: pcm.cate(s, "t", "y", given=["u"]), ["given u", "identified"]),
        (lambda s: pcm.cate(s, "t", "y", given=["m"]), ["model-dependent", "m, which the treatment changes"]),
        (lambda s: pcm.cde(s, "t", "y", mediators={"m": 0.0}), ["identified by the graph"]),
        (lambda s: pcm.cde(s, "t", "y", mediators={"m": 0.0}, latent=["u"]), ["u unobserved"]),
        (lambda s: pcm.nde(s, "t", "y"), ["Σ_u,m P(y | u, m)", "P(m | t=control)", "P(u)"]),
        (lambda s: pcm.nie(s, "t", "y"), ["P(m | t=treated)"]),
        (lambda s: pcm.path_effect(s, "t", "y", paths=["t -> m -> y"]), ["P(m | t=treated)"]),
    ],
)
def test_effects_say_by_what_they_are_identified(scm, ask, words):
    said = ask(scm).account.identification
    for word in words:
        assert word in said, said


def test_natural_effects_under_a_latent_mediator_outcome_confounder():
    scm = pcm.SCM(mediated)
    assert "model-dependent" not in pcm.nde(scm, "t", "y").account.identification
    said = pcm.nde(scm, "t", "y", latent=["u"]).account.identification
    assert "recanting district m, y" in said and "u unobserved" in said
    assert "identified" in pcm.ate(scm, "t", "y", latent=["u"]).account.identification


def test_natural_effects_under_a_latent_treatment_outcome_confounder(scm):
    said = pcm.nde(scm, "t", "y", latent=["u"]).account.identification
    assert "identified by the graph (u unobserved): no recanting district" in said


def test_a_column_that_the_data_lack_is_latent(scm, people):
    scm_of_two = pcm.SCM(mediated)
    seen = scm_of_two.sample(30, seed=0).drop(columns="u")
    said = pcm.nde(scm_of_two, "t", "y", data=seen, seed=0).account.identification
    assert "model-dependent: unit counterfactuals" in said and "on average: model-dependent (u unobserved)" in said
    assert "back-door" in pcm.ate(scm, "t", "y", data=people).account.identification


def test_positivity_counts_the_units_without_comparable_ones(scm, people):
    chance = 1 / (1 + np.exp(-3 * people["u"]))
    count = int(((chance < 0.05) | (chance > 0.95)).sum())
    account = pcm.ate(scm, "t", "y", data=people).account
    assert account.positivity.startswith(f"{count} of 400 units have no comparable ones")
    assert "pcm.overlap(scm, 't', data, outcome='y')" in account.positivity and account.positivity in repr(account)
    assert pcm.ate(scm, "t", "y", seed=0).account.positivity == ""
    shifted = pcm.ate(scm, "t", "y", data=people, treated=lambda t: 1 - t, control=0)
    assert "no single value" in shifted.account.positivity


def test_nothing_is_worked_out_before_it_is_read(scm, people, monkeypatch):
    calls = []
    monkeypatch.setattr("pcm.query.identified.identify", lambda *a, **k: calls.append(a) or pcm.identify(*a, **k))
    monkeypatch.setattr("pcm.query.identified.overlap", lambda *a, **k: calls.append(a) or 1 / 0)
    effect = pcm.ate(scm, "t", "y", data=people)
    assert not calls
    assert effect.account.identification == effect.account.identification and len(calls) == 1


def test_probabilities_of_causation_point_to_their_bounds():
    scm = pcm.SCM(mediated)
    found = pcm.probability_of_necessity(scm, "t", "y")
    assert "pcm.bounds(scm, 'PN(t, y)')" in found.account.identification
    assert float(found) in pcm.bounds(scm, "PN(t, y)")


def test_units_of_every_effect_have_labels_and_intervals():
    def study(n):
        slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
        with pyro.plate("units", n):
            t = pyro.sample("t", dist.Bernoulli(0.5))
            m = pyro.sample("m", dist.Normal(slope * t, 1.0))
            pyro.sample("y", dist.Bernoulli(torch.sigmoid(m + t)))

    scm = pcm.SCM(study)
    people = scm.given(slope=1.0).sample(60, seed=0).rename(index=lambda place: f"unit {place}")
    fitted = scm.fit(people, seed=0, progress=False)
    options = {"data": people, "draws": 50, "seed": 0}
    every = [
        pcm.ate(fitted, "t", "y", **options),
        pcm.cde(fitted, "t", "y", mediators={"m": 0.0}, **options),
        pcm.nde(fitted, "t", "y", **options),
        pcm.nie(fitted, "t", "y", **options),
        pcm.path_effect(fitted, "t", "y", paths=["t -> m -> y"], **options),
        pcm.probability_of_necessity_and_sufficiency(fitted, "t", "y", **options),
    ]
    for effect in every:
        each = effect.units
        assert list(each.index) == list(people.index) and each.draws.shape == (50, 60)
        assert np.allclose(each.draws.mean(1), effect.draws, atol=1e-12)
        low, high = each.interval(0.9).T
        assert (low <= each.mean + 1e-12).all() and (each.mean <= high + 1e-12).all()
        assert list(each.to_dataframe().index) == list(people.index)
    assert (every[3].units.interval(0.9)[:, 1] - every[3].units.interval(0.9)[:, 0]).max() > 0.01
    treated = pcm.att(fitted, "t", "y", **options).units
    assert list(treated.index) == list(people.index[people["t"] == 1])
    grouped = pcm.cate(fitted, "t", "y", given=["t"], **options)
    assert len(grouped) == 2 and list(grouped.units.index) == list(people.index)


def test_an_effect_that_is_no_average_has_no_units():
    with pytest.raises(pcm.PCMError, match="no average"):
        _ = pcm.Effect(np.array([1.0])).units


def test_effects_and_accounts_are_pickled(scm, people):
    effect = pcm.ate(scm, "t", "y", data=people)
    again = pickle.loads(pickle.dumps(effect))  # noqa: S301
    assert float(again) == float(effect) and again.account.identification == effect.account.identification


def test_an_effect_of_a_program_inside_a_function_is_pickled_without_it_and_without_its_data(people):
    def program():
        t = pyro.sample("t", dist.Bernoulli(0.5))
        pyro.sample("y", dist.Normal(2.0 * t, 1.0))

    wide = people[["t", "y"]].loc[people.index.repeat(500)].reset_index(drop=True)
    for data in (None, wide):
        effect = pcm.ate(pcm.SCM(program), "t", "y", data=data, seed=0)
        packed = pickle.dumps(effect)
        assert len(packed) < 20_000
        assert float(pickle.loads(packed)) == float(effect)  # noqa: S301
        with pytest.raises(pcm.PCMError, match=r"does not know its model.*effect="):
            pcm.sensitivity(pickle.loads(packed))  # noqa: S301
        assert pcm.sensitivity(effect, data=wide, seed=0).treatment == "t"


def test_options_are_checked_by_name(scm):
    with pytest.raises(pcm.PCMError, match=r"'unit' is no option of an effect.*Did you mean 'units'"):
        pcm.ate(scm, "t", "y", unit=10)
    with pytest.raises(pcm.PCMError, match="'q'"):
        pcm.ate(scm, "t", "y", latent=["q"])
    with pytest.raises(pcm.PCMError, match="effect is of 't' on 'y'"):
        pcm.ate(scm, "t", "y", latent=["t"])


def test_frames_of_covariates_alone_have_units_too():
    def program(n, *, age):
        with pyro.plate("units", n):
            t = pyro.sample("t", dist.Bernoulli(torch.sigmoid(age)))
            pyro.sample("y", dist.Normal(age * t, 1.0))

    people = pd.DataFrame({"age": [1.0, -2.0]}, index=["ann", "bob"])
    found = pcm.ate(pcm.SCM(program), "t", "y", data=people)
    assert found.units.mean.tolist() == [1.0, -2.0] and list(found.units.index) == ["ann", "bob"]
