"""Targeted obfuscation: the least set, the best split, baselines by brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm
from pcm import private
from pcm.errors import ArgumentError, ClaimError, QueryError


def clinic():
    hiv = pyro.sample("hiv", dist.Bernoulli(0.3))
    site = pyro.sample("site", dist.Bernoulli(0.5))
    drug = pyro.sample("drug", dist.Bernoulli(0.1 + 0.8 * hiv))
    test = pyro.sample("test", dist.Bernoulli(0.2 + 0.6 * hiv))
    pyro.sample("stay", dist.Bernoulli(0.05 + 0.3 * drug + 0.1 * test + 0.4 * site))


def keep(epsilon):
    return 1 / (1 + np.exp(-epsilon))


def law(flips):
    """P(stay, site', drug', test'), each reported with its probability of being kept; 1 raw, 1/2 dropped."""
    joint = np.zeros((2, 2, 2, 2))
    for hiv, site, drug, test, stay in itertools.product((0, 1), repeat=5):
        chance = (0.3 if hiv else 0.7) * 0.5
        for value, p in ((drug, 0.1 + 0.8 * hiv), (test, 0.2 + 0.6 * hiv)):
            chance *= p if value else 1 - p
        p = 0.05 + 0.3 * drug + 0.1 * test + 0.4 * site
        chance *= p if stay else 1 - p
        for outs in itertools.product((0, 1), repeat=3):
            seen = chance
            for value, out, kept in zip((site, drug, test), outs, flips, strict=True):
                seen *= kept if value == out else 1 - kept
            joint[(stay, *outs)] += seen
    return joint.reshape(2, -1)


def information(joint):
    return float((joint * np.log(joint / joint.sum(0) / joint.sum(1, keepdims=True))).sum())


def obfuscated(**options):
    asked = {"private": "hiv", "candidates": ["site", "drug", "test"], "utility": "stay", "epsilon": 1.0, **options}
    return private.targeted(pcm.SCM(clinic), **asked)


def test_the_least_set_and_the_four_strategies_by_hand():
    found = obfuscated()
    assert found.raw == ("site",)
    assert found.noised == {"drug": "drug ← hiv", "test": "test ← hiv"}
    values = found.at()["information"]
    grid = [information(law((1.0, keep(share), keep(1 - share)))) for share in np.linspace(0, 1, 2_001)]
    assert values["targeted"] == pytest.approx(max(grid), abs=1e-7)
    assert values["uniform"] == pytest.approx(information(law((keep(1 / 2),) * 3)), abs=1e-9)
    assert values["drop"] == pytest.approx(information(law((1.0, 0.5, 0.5))), abs=1e-9)
    raw = np.clip(law((1.0, 1.0, 1.0)), 1e-300, None)
    assert values["no privacy"] == pytest.approx(information(raw), abs=1e-9)
    assert sum(found.split.values()) == pytest.approx(1.0)
    assert found.split["drug"] > found.split["test"]  # it tells more about the stay
    assert found.gain() == pytest.approx(values["targeted"] - values["drop"])


def test_what_it_chooses_is_what_the_claims_say():
    found = obfuscated(epsilon=2.0)
    claims = private.claims(pcm.SCM(clinic), found.releases, private="hiv")
    assert claims.graph_conditional.require(2.0).epsilon == pytest.approx(2.0)
    row = found.at().loc["targeted"]
    assert row["graph_conditional"] == pytest.approx(2.0)
    assert row["unconditional"] == np.inf
    assert row["leak"] == pytest.approx(claims.model_conditional.epsilon, abs=1e-9)
    assert found.at().loc["uniform", ["unconditional", "graph_conditional"]].tolist() == [3.0, 2.0]
    assert found.at().loc["drop", "leak"] == pytest.approx(0.0, abs=1e-12)


def test_small_budgets_tie_with_dropping_and_the_baseline_is_always_printed():
    found = obfuscated()
    gains = [found.gain(epsilon) for epsilon in (0.25, 0.5, 1.0, 2.0, 8.0)]
    assert gains == sorted(gains)
    assert gains[0] < 0.05 * found.at()["information"]["drop"]
    assert "\n  drop " in repr(found)
    assert "test (test ← hiv), drop it" in repr(found)
    assert "test" not in found.releases
    assert "drop" in found._repr_html_()
    assert set(found.to_dataframe()["strategy"]) == {"targeted", "uniform", "drop", "no privacy"}


@pytest.mark.parametrize("measure", ["information", "error", "squared"])
@pytest.mark.parametrize("seed", range(4))
def test_no_privacy_beats_targeted_beats_uniform_and_dropping(seed, measure):
    """Data processing; a response of smaller ε is a garbling of one of larger ε."""
    rng = np.random.default_rng(seed)
    edges = {child: [parent for parent in range(child) if rng.random() < 0.5] for child in range(5)}
    tables = {child: torch.as_tensor(rng.beta(0.5, 0.5, (2,) * len(edges[child]))) for child in edges}

    def program():
        values = []
        for child in range(5):
            at = tuple(values[parent].long() for parent in edges[child])
            values.append(pyro.sample(f"v{child}", dist.Bernoulli(tables[child][at] if at else tables[child])))

    found = private.targeted(
        pcm.SCM(program),
        private="v0",
        candidates=["v1", "v2", "v3"],
        utility="v4",
        epsilon=1.0,
        epsilons=[4.0],
        measure=measure,
    )
    sign = 1 if measure == "information" else -1
    for epsilon in (1.0, 4.0):
        values = sign * found.at(epsilon)[measure]
        assert values["no privacy"] >= values["targeted"] - 1e-9
        assert values["targeted"] >= max(values["uniform"], values["drop"]) - 1e-9


def test_knowledge_of_the_adversary_changes_the_set():
    assert obfuscated(adversary=["stay"]).raw == ()
    # given stay, all three are joined; with the test known, it costs nothing more
    assert obfuscated(adversary=["test"]).raw == ("site", "test")


def test_the_private_variable_may_be_a_candidate():
    found = obfuscated(candidates=["hiv", "site"])
    assert found.noised == {"hiv": "hiv itself"}
    assert found.at().loc["targeted", "leak"] == pytest.approx(1.0)


def test_nothing_to_hide_needs_no_noise():
    found = obfuscated(candidates=["site"])
    assert found.noised == {} and found.split == {}
    assert found.at()["information"].drop("uniform").nunique() == 1
    assert "noise on nothing" in repr(found)


def test_other_mechanisms_can_be_asked_for():
    def noise(name, epsilon, values):
        return private.DiscreteLaplace(epsilon=epsilon, bounds=(0, 1), clamp=(0, 1))

    # on two values, clamped discrete Laplace noise is randomised response
    assert obfuscated(mechanism=noise).at()["information"].to_numpy() == pytest.approx(
        obfuscated().at()["information"].to_numpy(), abs=1e-9
    )
    with pytest.raises(ArgumentError, match="has ε = 2"):
        obfuscated(mechanism=lambda name, epsilon, values: private.Laplace(epsilon=2.0, bounds=(0, 1)))


def test_the_curve_is_drawn():
    figure = obfuscated().plot()
    lines = figure.axes[0].get_lines()
    assert [line.get_label() for line in lines] == ["targeted noise", "noise on everything", "dropped", "no privacy"]
    assert len(lines[0].get_xdata()) == 6
    assert figure._repr_svg_().startswith("<svg")


def test_bad_arguments_are_named():
    with pytest.raises(ArgumentError, match="ε = 0"):
        obfuscated(epsilon=0)
    with pytest.raises(ArgumentError, match="ε = inf"):
        obfuscated(epsilons=[np.inf])
    with pytest.raises(ArgumentError, match="both private and"):
        obfuscated(utility="hiv")
    with pytest.raises(ArgumentError, match="measure='joy'"):
        obfuscated(measure="joy")
    with pytest.raises(ClaimError, match="nothing is left"):
        obfuscated(adversary=["hiv"])
    with pytest.raises(ArgumentError, match="not on the curve"):
        obfuscated().at(3.0)

    def continuous():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(x, 1.0))

    with pytest.raises(QueryError, match=r"x \(Normal\).*classes: a Categorical site.*pandas\.cut"):
        private.targeted(pcm.SCM(continuous), private="x", candidates=["y"], utility="y", epsilon=1.0)
