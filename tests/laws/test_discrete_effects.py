"""Law 6 for effects: on random discrete programs every effect equals brute force over the noise types of all sites."""

from __future__ import annotations

import itertools

import networkx as nx
import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm
from pcm.graph import directed_paths
from tests.laws.discrete_programs import Discrete

SEEDS = range(8)


@pytest.fixture(scope="module", params=SEEDS)
def case(request):
    made = Discrete.random(request.param)
    return made, made.scm(), *made.types()


def is_exact(effect: pcm.Effect, truth: float) -> bool:
    return abs(float(effect) - truth) <= 1e-12 and effect.standard_error == 0 and "exact" in repr(effect)


def test_average_effects(case):
    made, scm, weight, noise = case
    on, off, natural = made.world(noise, {"v0": 1}), made.world(noise, {"v0": 0}), made.world(noise)
    difference = on["v3"] - off["v3"]
    assert is_exact(pcm.ate(scm, "v0", "v3"), weight @ difference)
    ratio = pcm.ate(scm, "v0", "v3", scale="ratio")
    assert abs(float(ratio) - (weight @ on["v3"]) / (weight @ off["v3"])) <= 1e-12
    for treated in range(made.sizes[1]):  # of v1, whose causes may be confounders
        first, second = made.world(noise, {"v1": treated}), made.world(noise, {"v1": 0})
        has = weight * (natural["v1"] == treated)
        truth = has @ (first["v3"] - second["v3"]) / has.sum()
        assert is_exact(pcm.att(scm, "v1", "v3", treated=treated, control=0), truth)
    groups = pcm.cate(scm, "v0", "v3", given=["v1", "v2"])
    for at, key in enumerate(groups.index):
        member = weight * (natural["v1"] == key[0]) * (natural["v2"] == key[1])
        assert abs(groups.mean[at] - member @ difference / member.sum()) <= 1e-12


def test_controlled_and_natural_effects(case):
    made, scm, weight, noise = case
    first, second = made.world(noise, {"v0": 1, "v1": 1}), made.world(noise, {"v0": 0, "v1": 1})
    assert is_exact(pcm.cde(scm, "v0", "v3", mediators={"v1": 1}), weight @ (first["v3"] - second["v3"]))
    on, off = made.world(noise, {"v0": 1}), made.world(noise, {"v0": 0})
    between = nx.descendants(made.graph, "v0") & nx.ancestors(made.graph, "v3")
    for chosen in ["v1"], [name for name in ("v1", "v2") if name in between]:
        direct = made.world(noise, {"v0": 1, **{name: off[name] for name in chosen}})
        indirect = made.world(noise, {"v0": 0, **{name: on[name] for name in chosen}})
        assert is_exact(pcm.nde(scm, "v0", "v3", mediators=chosen), weight @ (direct["v3"] - off["v3"]))
        assert is_exact(pcm.nie(scm, "v0", "v3", mediators=chosen), weight @ (indirect["v3"] - off["v3"]))


def test_path_effects_with_and_without_a_recanting_witness(case):
    made, scm, weight, noise = case
    off = made.world(noise, {"v0": 0})
    for path in directed_paths(made.graph, "v0", "v3"):
        edges = set(itertools.pairwise(path))
        closed = {(a, b): off[a] for a, b in made.graph.edges if (a, b) not in edges}
        along = made.world(noise, {"v0": 1}, closed)
        found = pcm.path_effect(scm, "v0", "v3", paths=[" -> ".join(path)])
        assert is_exact(found, weight @ (along["v3"] - off["v3"]))


def test_probabilities_of_causation(case):
    made, scm, weight, noise = case
    natural = made.world(noise)
    for treatment in ("v0", "v1"):
        on, off = (made.world(noise, {treatment: value})["v3"] for value in (1, 0))
        necessary = weight * (natural[treatment] == 1) * (natural["v3"] == 1)
        sufficient = weight * (natural[treatment] == 0) * (natural["v3"] == 0)
        truths = [
            (pcm.probability_of_necessity, necessary @ (off == 0) / necessary.sum()),
            (pcm.probability_of_sufficiency, sufficient @ (on == 1) / sufficient.sum()),
            (pcm.probability_of_necessity_and_sufficiency, weight @ ((on == 1) & (off == 0))),
        ]
        for ask, truth in truths:
            assert is_exact(ask(scm, treatment, "v3"), truth)


def test_probabilities_of_causation_of_given_units(case):
    """Also of units that took a third value: theirs is a law over three worlds."""
    made, scm, weight, noise = case
    natural = made.world(noise)
    rows = pd.DataFrame(natural).drop_duplicates(ignore_index=True)
    fits = np.all([natural[n][None] == rows[n].to_numpy()[:, None] for n in made.names], axis=0) * weight
    last = made.sizes[1] - 1
    for treated, control in itertools.permutations({0, 1, last}, 2):
        on, off = (made.world(noise, {"v1": value})["v3"] for value in (treated, control))
        truth = fits @ ((on == 1) & (off == 0)) / fits.sum(1)
        found = pcm.probability_of_necessity_and_sufficiency(
            scm, "v1", "v3", treated=treated, control=control, data=rows
        )
        assert np.abs(found.units.mean - truth).max() <= 1e-12 and "draws of noise" not in str(found.account)
        assert ("joint assignments of the two worlds" in str(found.account.notes)) == (last == 2)


def test_units_with_their_own_evidence(case):
    """Nested worlds of given units: each one's noise types are those that its row leaves."""
    made, scm, weight, noise = case
    natural, off = made.world(noise), made.world(noise, {"v0": 0})
    rows = pd.DataFrame(natural).drop_duplicates(ignore_index=True).rename(index=lambda place: f"unit {place}")
    fits = np.all([natural[n][None] == rows[n].to_numpy()[:, None] for n in made.names], axis=0) * weight
    between = nx.descendants(made.graph, "v0") & nx.ancestors(made.graph, "v3")
    direct = made.world(noise, {"v0": 1, **{name: off[name] for name in between}})
    truth = fits @ (direct["v3"] - off["v3"]) / fits.sum(1)
    found = pcm.nde(scm, "v0", "v3", data=rows)
    assert list(found.units.index) == list(rows.index)
    assert np.abs(found.units.mean - truth).max() <= 1e-12 and "draws of noise" not in str(found.account.worlds)
    assert abs(float(found) - truth.mean()) <= 1e-12
    for path in directed_paths(made.graph, "v0", "v3"):  # a recanting witness has three values: seen, here, there
        edges = set(itertools.pairwise(path))
        along = made.world(noise, {"v0": 1}, {(a, b): off[a] for a, b in made.graph.edges if (a, b) not in edges})
        truth = fits @ (along["v3"] - off["v3"]) / fits.sum(1)
        found = pcm.path_effect(scm, "v0", "v3", paths=[" -> ".join(path)], data=rows)
        assert np.abs(found.units.mean - truth).max() <= 1e-12 and "draws of noise" not in str(found.account.worlds)


def test_fitted_programs_are_exact_under_each_draw():
    def study(n):
        rates = pyro.sample("rates", dist.Beta(torch.ones(2, 2), 1.0).to_event(2))
        shares = pyro.sample("shares", dist.Beta(torch.ones(2), 1.0).to_event(1))
        with pyro.plate("units", n):
            t = pyro.sample("t", dist.Bernoulli(0.5)).long()
            m = pyro.sample("m", dist.Bernoulli(shares[t])).long()
            pyro.sample("y", dist.Bernoulli(rates[t, m]))

    fixed = {"rates": torch.tensor([[0.2, 0.4], [0.3, 0.8]]), "shares": torch.tensor([0.3, 0.6])}
    people = pcm.SCM(study).given(**fixed).sample(200, seed=0)
    fitted = pcm.SCM(study).fit(people, seed=0, progress=False)
    found = pcm.nde(fitted, "t", "y", draws=len(fitted.posterior["rates"]), seed=0)
    rates, shares = (np.asarray(fitted.posterior[name]) for name in ("rates", "shares"))
    chance = shares[:, 0]
    truth = (1 - chance) * (rates[:, 1, 0] - rates[:, 0, 0]) + chance * (rates[:, 1, 1] - rates[:, 0, 1])
    assert np.abs(np.sort(found.draws) - np.sort(truth)).max() <= 1e-12 and found.standard_error == 0
    low, high = found.interval(0.9)
    assert low < found.mean < high


def test_beyond_the_limit_units_are_drawn_and_the_account_says_so():
    def many():
        t = pyro.sample("t", dist.Bernoulli(0.5))
        total = 0.0
        for place in range(13):
            total = total + pyro.sample(f"m{place}", dist.Bernoulli(0.2 + 0.5 * t))
        pyro.sample("y", dist.Bernoulli(0.05 * total))

    found = pcm.ate(pcm.SCM(many), "t", "y", seed=0)
    assert "8,192 joint assignments, more than 4,096" in found.account.worlds["treated"]
    assert found.standard_error > 0 and abs(float(found) - 0.05 * 13 * 0.5) <= 5 * found.standard_error


def test_one_continuous_ancestor_means_drawing():
    def mixed():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        t = pyro.sample("t", dist.Bernoulli(0.5))
        pyro.sample("y", dist.Bernoulli(torch.sigmoid(x + t)))
        pyro.sample("z", dist.Normal(x, 1.0))  # no ancestor of anything

    scm = pcm.SCM(mixed)
    found = pcm.ate(scm, "t", "y", seed=0)
    assert found.standard_error > 0 and "fresh units" in found.account.worlds["treated"]
    assert pcm.ate(scm, "t", "z", seed=0).mean == 0


def test_gumbel_max_is_joined_by_its_own_transition():
    """Fixture of Oberst & Sontag: the pairs of skills of the two worlds have a closed form."""
    before, after = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.3, 0.5])
    pairs = np.array([[0.4, 0.1384615384615, 0.4615384615385], [0, 0.7692307692308, 0.2307692307692], [0, 0, 1]])

    def career():
        training = pyro.sample("training", dist.Bernoulli(0.5))
        skill = pyro.sample("skill", dist.Categorical(torch.where(training[..., None] == 1, after, before)))
        post = pyro.sample("post", dist.Bernoulli(0.1 + 0.4 * skill))
        pyro.sample("pay", dist.Bernoulli(0.1 + 0.7 * (skill == 2) * post))

    found = pcm.path_effect(pcm.SCM(career), "training", "pay", paths=["training -> skill -> pay"])
    post = np.array([0.1, 0.5, 0.9])
    truth = (before.numpy() * post * 0.7 * (pairs[:, 2] - np.array([0, 0, 1]))).sum()
    assert abs(float(found) - truth) <= 1e-7 and found.standard_error == 0
    assert abs(found.units.mean.mean() - truth) <= 5 * found.units.mean.std() / len(found.units) ** 0.5


def test_distributions_and_values_a_unit_as_treatments():
    def program():
        t = pyro.sample("t", dist.Binomial(2, 0.5))
        m = pyro.sample("m", dist.Bernoulli(0.2 + 0.3 * t))
        pyro.sample("y", dist.Normal(t * m, 1.0))

    scm, mean = pcm.SCM(program), np.arange(3) * (0.2 + 0.3 * np.arange(3))
    few, many = (dist.Binomial(2, torch.tensor(p, dtype=torch.float64)) for p in (0.25, 0.75))
    found = pcm.ate(scm, "t", "y", treated=few, control=many)
    assert is_exact(found, np.array([9, 6, 1]) / 16 @ mean - np.array([1, 6, 9]) / 16 @ mean)
    each = pcm.ate(scm, "t", "y", treated=torch.tensor([0.0, 1.0, 2.0]), units=3)
    assert np.abs(each.units.mean - mean).max() <= 1e-12 and each.standard_error == 0
    assert is_exact(pcm.nde(scm, "t", "y", treated=few), 0.2 * np.array([9, 6, 1]) / 16 @ np.arange(3))


def test_covariates_policies_and_shifts_are_exact_too():
    def program(n, *, age):
        with pyro.plate("units", n):
            t = pyro.sample("t", dist.Binomial(2, torch.sigmoid(age)))
            m = pyro.sample("m", dist.Bernoulli(torch.sigmoid(age - 0.5 * t)))
            pyro.sample("y", dist.Poisson(torch.exp(0.3 * t * m + 0.1 * age)))

    people = pd.DataFrame({"age": [-1.0, 0.0, 2.0]}, index=["ann", "bob", "cid"])
    found = pcm.ate(
        pcm.SCM(program),
        "t",
        "y",
        data=people,
        treated=lambda t: (t + 1).clamp(max=2),
        control=lambda age: (age > 0) * 2,
    )
    age = people["age"].to_numpy()
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731

    def mean(t):
        p = sigmoid(age - 0.5 * t)
        return np.exp(0.1 * age) * (1 - p + p * np.exp(0.3 * t))

    p = sigmoid(age)
    shifted = (1 - p) ** 2 * mean(1) + (1 - (1 - p) ** 2) * mean(2)
    truth = shifted - mean(np.where(age > 0, 2, 0))
    assert np.abs(found.units.mean - truth).max() <= 1e-12 and list(found.units.index) == ["ann", "bob", "cid"]
    assert abs(float(found) - truth.mean()) <= 1e-12 and found.standard_error == 0
