"""Claims about releases: the worked numbers, the counterexamples, the kinds kept apart, models by brute force."""

from __future__ import annotations

import itertools

import networkx as nx
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm
from pcm import private
from pcm.errors import ArgumentError, ClaimError, UnknownNameError


def response(epsilon, categories=(0, 1)):
    return private.RandomizedResponse(epsilon=epsilon, categories=list(categories))


def backdoor():
    z = pyro.sample("z", dist.Bernoulli(0.5))
    pyro.sample("a", dist.Bernoulli(0.05 + 0.9 * z))
    pyro.sample("u", dist.Bernoulli(0.1 + 0.8 * z))


def collider():
    a = pyro.sample("a", dist.Bernoulli(0.5))
    u = pyro.sample("u", dist.Bernoulli(0.5))
    pyro.sample("s", dist.Bernoulli(0.1 + 0.8 * (a == u)))


def survey():
    smoker = pyro.sample("smoker", dist.Bernoulli(0.3))
    site = pyro.sample("site", dist.Bernoulli(0.5))
    cough = pyro.sample("cough", dist.Bernoulli(0.1 + 0.6 * smoker + 0.1 * site))
    pyro.sample("visits", dist.Categorical(logits=torch.stack([0.0 * cough, cough, cough + site], -1)))


# -- the three counterexamples -----------------------------------------------------------------------------------------


def test_a_back_door_path_is_refused_though_the_interventional_leak_is_nothing():
    found = private.claims(pcm.SCM(backdoor), {"u": "raw"}, private="a")
    assert found.graph_conditional.epsilon == np.inf
    assert "u ← z → a" in found.graph_conditional.refused
    assert not found.graph_conditional.guarantee
    assert found.model_conditional.interventional == pytest.approx(0.0, abs=1e-12)
    assert found.model_conditional.epsilon == pytest.approx(np.log(0.86 / 0.14), abs=1e-9)
    assert round(found.model_conditional.epsilon, 3) == 1.815
    with pytest.raises(ClaimError, match="u ← z → a"):
        found.graph_conditional.require(1.0)


def test_a_collider_opened_by_side_information_is_refused():
    scm = pcm.SCM(collider)
    alone = private.claims(scm, {"u": "raw"}, private="a")
    assert alone.graph_conditional.require(0.0).epsilon == 0.0
    for wrong in (-1.0, float("nan"), float("inf"), "1", False):
        with pytest.raises(ArgumentError, match="or 0 is needed"):
            alone.graph_conditional.require(wrong)
    assert alone.model_conditional.epsilon == pytest.approx(0.0, abs=1e-12)
    assert "it fails if they also know s" in " ".join(alone.graph_conditional.assumptions)
    found = private.claims(scm, {"u": "raw"}, private="a", adversary=["s"])
    assert "u → [s] ← a" in found.graph_conditional.refused
    assert found.model_conditional.epsilon == pytest.approx(np.log(9), abs=1e-9)
    assert round(found.model_conditional.epsilon, 3) == 2.197


def test_a_graph_without_an_edge_of_the_program_is_refused():
    scm = pcm.SCM(survey)
    claimed = nx.DiGraph(scm.graph)
    claimed.remove_edge("smoker", "cough")
    with pytest.raises(ClaimError, match="smoker → cough") as caught:
        private.claims(scm, {"cough": "raw"}, private="smoker", graph=claimed)
    assert caught.value.edges == [("smoker", "cough")]
    # more edges than the program's claim less
    wide = nx.DiGraph(scm.graph)
    wide.add_edge("smoker", "site")
    assert private.claims(scm, {"site": "raw"}, private="smoker").graph_conditional.epsilon == 0.0
    assert private.claims(scm, {"site": "raw"}, private="smoker", graph=wide).graph_conditional.epsilon == np.inf


# -- the kinds ---------------------------------------------------------------------------------------------------------


def test_the_three_kinds_stand_apart():
    found = private.claims(pcm.SCM(survey), {"site": "raw", "cough": response(1.0)}, private="smoker")
    first, second, third = found
    assert (first.epsilon, second.epsilon) == (np.inf, 1.0)
    # P(report 1 | smoker) = .15 or .75 through response: by hand
    keep = np.e / (1 + np.e)
    one = [(0.1 + 0.6 * smoker + 0.1 * site) * (2 * keep - 1) + 1 - keep for smoker in (0, 1) for site in (0, 1)]
    reports = np.array([[[1 - p, p] for p in one[:2]], [[1 - p, p] for p in one[2:]]])
    assert third.epsilon == pytest.approx(np.abs(np.log(reports[0] / reports[1])).max(), abs=1e-9)
    assert [claim.guarantee for claim in found] == [False, True, False]
    with pytest.raises(ClaimError, match="no guarantee"):
        third.require(5.0)
    table = found.to_dataframe()
    assert list(table["kind"]) == ["unconditional", "graph-conditional", "model-conditional"]
    assert "record-level" in found.assumptions["graph-conditional"][-1]
    assert "never a guarantee" in found.assumptions["model-conditional"][1]
    assert "REFUSED" not in repr(found)
    assert found._repr_html_().count("<li>") == sum(map(len, found.assumptions.values()))


def test_costs_compose_and_separated_noise_is_free_of_charge():
    scm = pcm.SCM(survey)
    every = {"site": response(2.0), "cough": [response(0.5), response(0.25)]}
    found = private.claims(scm, every, private="smoker")
    assert found.unconditional.epsilon == pytest.approx(2.75)
    assert found.graph_conditional.epsilon == pytest.approx(0.75)
    assert found.model_conditional.epsilon < 0.75
    # what the adversary knows of the unit opens the path through cough
    known = private.claims(scm, every, private="smoker", adversary=["visits"])
    assert known.graph_conditional.epsilon == pytest.approx(2.75)


def test_the_private_variable_itself_may_be_noised_but_not_raw_nor_known():
    scm = pcm.SCM(survey)
    found = private.claims(scm, {"smoker": response(1.0)}, private="smoker")
    assert found.graph_conditional.require(1.0).epsilon == 1.0
    assert found.model_conditional.epsilon == pytest.approx(1.0)
    raw = private.claims(scm, {"smoker": "raw"}, private="smoker")
    assert "itself is released raw" in raw.graph_conditional.refused
    assert raw.model_conditional.epsilon == np.inf
    with pytest.raises(ClaimError, match="nothing is left to protect"):
        private.claims(scm, {"site": "raw"}, private="smoker", adversary=["smoker"])


def test_releases_are_read_by_their_mechanism():
    made = private.Release([1, 0], response(0.7), name="cough")
    found = private.claims(pcm.SCM(survey), {"cough": made}, private="smoker")
    assert found.graph_conditional.epsilon == 0.7


def test_a_fit_gives_a_posterior_and_an_unfitted_model_a_reason():
    def program(n):
        rate = pyro.sample("rate", dist.Beta(2.0, 2.0))
        with pyro.plate("units", n):
            a = pyro.sample("a", dist.Bernoulli(0.5))
            pyro.sample("u", dist.Bernoulli(0.5 + (a - 0.5) * rate))

    scm = pcm.SCM(program)
    unfitted = private.claims(scm, {"u": response(1.0)}, private="a")
    assert "neither fitted nor given" in unfitted.model_conditional.refused
    assert np.isnan(unfitted.model_conditional.epsilon)
    assert unfitted.graph_conditional.epsilon == 1.0
    fixed = private.claims(scm.given(rate=0.8), {"u": "raw"}, private="a")
    assert fixed.model_conditional.epsilon == pytest.approx(np.log(9))
    data = scm.given(rate=0.8).sample(400, seed=0)
    fitted = scm.fit(data, seed=0, progress=False)
    claim = private.claims(fitted, {"u": "raw"}, private="a", seed=0).model_conditional
    low, high = claim.interval(0.95)
    assert low < np.log(9) < high
    assert len(claim.draws) == 100
    assert "posterior" in claim.assumptions[0]


def test_a_model_fitted_to_a_release_knows_its_noisy_child_and_claims_need_not():
    def program(n):
        rate = pyro.sample("rate", dist.Beta(2.0, 2.0))
        with pyro.plate("units", n):
            smoker = pyro.sample("smoker", dist.Bernoulli(rate))
            pyro.sample("cough", dist.Bernoulli(0.1 + 0.6 * smoker))

    scm = pcm.SCM(program)
    people = scm.given(rate=0.4).sample(300, seed=0)
    made = private.Release(response(1.0).simulate(people["smoker"], seed=1).values, response(1.0), name="smoker")
    fitted = scm.fit({"smoker": made, "cough": people["cough"]}, seed=0, progress=False)
    assert "smoker_released" in fitted.variables
    found = private.claims(fitted, {"smoker": made}, private="smoker", graph=nx.DiGraph(scm.graph))
    assert [claim.epsilon for claim in found] == pytest.approx([1.0, 1.0, 1.0])


def test_what_cannot_be_enumerated_says_so():
    def program():
        age = pyro.sample("age", dist.Normal(0.0, 1.0))
        pyro.sample("labs", dist.Normal(age, 1.0))

    found = private.claims(pcm.SCM(program), {"labs": private.Laplace(epsilon=1.0, bounds=(0, 1))}, private="age")
    assert "age (Normal), labs (Normal): not finite" in found.model_conditional.refused
    assert "pandas.cut" in found.model_conditional.refused
    assert np.isnan(found.model_conditional.epsilon)
    assert found.graph_conditional.epsilon == found.unconditional.epsilon == 1.0
    own = private.claims(pcm.SCM(program), {"age": private.Laplace(epsilon=0.5, bounds=(0, 1))}, private="age")
    assert own.unconditional.epsilon == own.graph_conditional.epsilon == 0.5, "the mechanism's own ε, age itself"
    assert "The other two claims are made without it" in repr(own)


def noisy_survey():
    smoker = pyro.sample("smoker", dist.Bernoulli(0.3))
    reported = private.observe("reported", smoker, response(1.0))
    pyro.sample("called", dist.Bernoulli(0.2 + 0.6 * reported))


def test_noise_that_the_program_contains_costs_what_its_mechanism_costs():
    scm = pcm.SCM(noisy_survey)
    found = private.claims(scm, {"reported": "raw"}, private="smoker")
    assert [claim.epsilon for claim in found] == pytest.approx([1.0, 1.0, 1.0])
    outside = private.claims(scm, {"smoker": response(1.0)}, private="smoker")
    assert outside.model_conditional.epsilon == pytest.approx(found.model_conditional.epsilon)
    made = private.Release([1, 0], response(1.0), name="reported")
    assert private.claims(scm, {"reported": made}, private="smoker").unconditional.epsilon == 1.0
    # a graph of the causes alone will do
    causes = nx.DiGraph([("smoker", "called")])
    with pytest.raises(ClaimError, match="reported → called"):
        private.claims(scm, {"reported": "raw"}, private="smoker", graph=causes)
    # what depends on the noise is raw, and knowing it spoils the noise
    assert private.claims(scm, {"called": "raw"}, private="smoker").graph_conditional.epsilon == np.inf
    spoilt = private.claims(scm, {"reported": "raw"}, private="smoker", adversary="called")
    assert "depends on the noise of reported" in spoilt.graph_conditional.refused
    assert private.claims(scm.do(reported=1), {"reported": "raw"}, private="smoker").graph_conditional.epsilon == 0.0


# -- against brute force -----------------------------------------------------------------------------------------------


def random_program(rng):
    parents = {child: [p for p in range(child) if rng.random() < 0.6] for child in range(4)}
    tables = {child: rng.beta(0.7, 0.7, (2,) * len(parents[child])).clip(0.02, 0.98) for child in parents}

    def program():
        values = []
        for child in range(4):
            table = torch.as_tensor(tables[child])
            p = table[tuple(values[parent].long() for parent in parents[child])] if parents[child] else table
            values.append(pyro.sample(f"v{child}", dist.Bernoulli(p)))

    def joint(cell):
        chance = 1.0
        for child in range(4):
            one = tables[child][tuple(cell[parent] for parent in parents[child])]
            chance *= one if cell[child] else 1 - one
        return chance

    return program, joint


@pytest.mark.parametrize("seed", range(12))
def test_the_model_conditional_value_is_the_enumerated_one_and_below_the_guarantee(seed):
    rng = np.random.default_rng(seed)
    program, joint = random_program(rng)
    scm = pcm.SCM(program)
    secret, known, *rest = (f"v{at}" for at in rng.permutation(4))
    epsilons = dict(zip(rest, rng.uniform(0.2, 2.0, 2), strict=True))
    made = {name: response(float(epsilon)) for name, epsilon in epsilons.items()}
    made[rest[0]] = "raw" if rng.random() < 0.4 else made[rest[0]]
    adversary = [known] if rng.random() < 0.5 else []
    found = private.claims(scm, made, private=secret, adversary=adversary)
    law: dict = {}
    for cell in itertools.product((0, 1), repeat=4):
        value = {f"v{at}": cell[at] for at in range(4)}
        for outs in itertools.product((0, 1), repeat=2):
            chance = joint(cell)
            for name, out in zip(rest, outs, strict=True):
                keep = 1.0 if made[name] == "raw" else 1 / (1 + np.exp(-epsilons[name]))
                chance *= keep if out == value[name] else 1 - keep
            key = value[secret], tuple(value[name] for name in adversary), outs
            law[key] = law.get(key, 0.0) + chance
    worst = 0.0
    for (a, k, outs), chance in law.items():
        total = sum(law[a, k, o] for o in itertools.product((0, 1), repeat=2))
        other = sum(law[1 - a, k, o] for o in itertools.product((0, 1), repeat=2))
        with np.errstate(divide="ignore"):
            worst = max(worst, np.log(chance / total) - np.log(law[1 - a, k, outs] / other)) if chance else worst
    assert found.model_conditional.epsilon == pytest.approx(worst, abs=1e-9)
    assert worst <= found.graph_conditional.epsilon + 1e-9


# -- numeric noise -----------------------------------------------------------------------------------------------------


def test_laplace_noise_of_two_categories_is_exact():
    """P(o | a) a mixture of Laplaces at 0, 1, 2: the largest ratio on a fine grid is that at the inputs."""
    scm = pcm.SCM(survey)
    noise = private.Laplace(epsilon=1.0, bounds=(0, 2))
    found = private.claims(scm, {"visits": noise}, private="smoker").model_conditional
    raw = private.claims(scm, {"visits": "raw"}, private="smoker").model_conditional
    grid = np.linspace(-5, 7, 200_001)
    weights = visits_given_smoker()
    density = weights @ np.exp(-np.abs(grid - np.arange(3)[:, None]) / noise.scale)
    assert found.epsilon == pytest.approx(np.abs(np.log(density[0] / density[1])).max(), abs=1e-6)
    assert found.epsilon < raw.epsilon
    discrete = private.DiscreteLaplace(epsilon=1.0, bounds=(0, 2))
    whole = private.claims(scm, {"visits": discrete}, private="smoker").model_conditional
    assert whole.epsilon == pytest.approx(found.epsilon, abs=1e-6)  # the same ratios at the inputs
    clamped = private.DiscreteLaplace(epsilon=1.0, bounds=(0, 2), clamp=(0, 2))
    ends = private.claims(scm, {"visits": clamped}, private="smoker").model_conditional
    assert ends.epsilon == pytest.approx(whole.epsilon, abs=1e-9)


def visits_given_smoker():
    weights = np.zeros((2, 3))
    for smoker, site, cough in itertools.product((0, 1), repeat=3):
        one = 0.1 + 0.6 * smoker + 0.1 * site
        logits = np.array([0.0, cough, cough + site])
        weights[smoker] += 0.5 * (one if cough else 1 - one) * np.exp(logits) / np.exp(logits).sum()
    return weights


def test_gaussian_noise_needs_delta_and_is_exact_for_the_guarantee():
    from pcm.private.leakage import epsilon_of_mu

    scm = pcm.SCM(survey)
    noise = private.Gaussian(scale=2.0, bounds=(0, 2))
    without = private.claims(scm, {"visits": noise}, private="smoker")
    assert without.graph_conditional.epsilon == np.inf
    assert "give delta=" in without.graph_conditional.says
    assert "give delta=" in without.model_conditional.refused
    found = private.claims(scm, {"visits": noise}, private="smoker", delta=1e-5)
    assert found.graph_conditional.epsilon == pytest.approx(epsilon_of_mu(1.0, 1e-5))
    assert 0 < found.model_conditional.epsilon < found.graph_conditional.epsilon
    weights, grid = visits_given_smoker(), np.linspace(-25, 27, 400_001)
    density = weights @ np.exp(-((grid - np.arange(3)[:, None]) ** 2) / 8) * (grid[1] - grid[0]) / np.sqrt(8 * np.pi)
    from pcm.private.leakage import smallest_epsilon

    exact = max(float(smallest_epsilon(density[a], density[1 - a], 1e-5)) for a in (0, 1))
    assert found.model_conditional.epsilon == pytest.approx(exact, abs=1e-3)


def test_composition_against_dp_accounting():
    pld = pytest.importorskip("dp_accounting.pld")
    event = pytest.importorskip("dp_accounting.dp_event")
    from pcm.private.kernels import composed

    gaussians = [private.Gaussian(scale=3.0, bounds=(0, 1)), private.Gaussian(scale=2.0, bounds=(0, 1))]
    mixed = [*gaussians, private.Laplace(epsilon=0.5, bounds=(0, 1))]
    for made, slack in ((gaussians, 1e-3), (mixed, 0.5)):
        accountant = pld.PLDAccountant()
        accountant.compose(event.ComposedDpEvent([mechanism.event for mechanism in made]))
        tight = accountant.get_epsilon(1e-6)
        epsilon, delta = composed(made, 1e-6)
        assert delta == 1e-6
        assert tight - 1e-3 <= epsilon <= tight + slack
    assert composed([response(0.5)] * 3, 1e-6) == (pytest.approx(1.5), 0.0)
    many = composed([response(0.1)] * 200, 1e-6)
    assert many[0] < 0.5 * 20


# -- bad input ---------------------------------------------------------------------------------------------------------


def test_bad_arguments_are_named():
    scm = pcm.SCM(survey)
    with pytest.raises(UnknownNameError, match="'smokr'"):
        private.claims(scm, {"cough": "raw"}, private="smokr")
    with pytest.raises(UnknownNameError, match="'coughs'"):
        private.claims(scm, {"coughs": "raw"}, private="smoker")
    with pytest.raises(UnknownNameError, match="'sight'"):
        private.claims(scm, {"cough": "raw"}, private="smoker", adversary="sight")
    with pytest.raises(ArgumentError, match="neither a mechanism"):
        private.claims(scm, {"cough": "noisy"}, private="smoker")
    with pytest.raises(ArgumentError, match="neither a mechanism"):
        private.claims(scm, {"cough": 1.0}, private="smoker")
    with pytest.raises(ArgumentError, match="no mechanism"):
        private.claims(scm, {"cough": []}, private="smoker")
    with pytest.raises(ArgumentError, match="is a dict of variable"):
        private.claims(scm, {}, private="smoker")
    with pytest.raises(ArgumentError, match="delta=1"):
        private.claims(scm, {"cough": "raw"}, private="smoker", delta=1)
    with pytest.raises(ArgumentError, match="names no variable"):
        private.claims(scm, {"cough": "raw"}, private=[])
    with pytest.raises(ArgumentError, match="takes the value 2"):
        private.claims(scm, {"visits": response(1.0)}, private="smoker")
