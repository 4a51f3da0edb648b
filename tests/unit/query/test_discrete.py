"""Counterfactuals of discrete variables: computed probabilities against enumeration of the noise by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import stats

import pcm

LIMIT = 80  # counts above this have no mass here


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class Monotone:
    """Brute force over quantile noise.

    A unit's noise of a discrete site is uniform on (F(x-1), F(x)), where F is the cdf under its observed parents. Under
    other parents the value is k where the noise lies in (F'(k-1), F'(k)). Sites' noises are independent given the
    evidence, so joint probabilities multiply along the program.
    """

    def __init__(self, tables, continuous=()):
        self.tables, self.continuous = tables, dict(continuous)

    def law(self, unit, do):
        """Joint law of the world: list of (probability, values)."""
        worlds = [(1.0, {})]
        for name, mass in self.tables.items():
            grown = []
            for weight, values in worlds:
                if name in do:
                    set_ = do[name](values) if callable(do[name]) else do[name]
                    grown.append((weight, {**values, name: set_}))
                elif name in self.continuous:
                    residual = unit[name] - mass(unit)
                    grown.append((weight, {**values, name: mass(values) + residual}))
                else:
                    before = np.concatenate([[0.0], np.cumsum(mass(unit))])
                    after = np.concatenate([[0.0], np.cumsum(mass(values))])
                    low, high = before[int(unit[name])], before[int(unit[name]) + 1]
                    for k in range(len(after) - 1):
                        shared = min(high, after[k + 1]) - max(low, after[k])
                        if shared > 0:
                            grown.append((weight * shared / (high - low), {**values, name: k}))
            worlds = grown
        return worlds


def normalise(weights):
    weights = np.asarray(weights)
    return weights / weights.sum()


def mixed():
    a = pyro.sample("a", dist.Bernoulli(0.4))
    b = pyro.sample("b", dist.Categorical(logits=torch.stack([0.5 * a, 1 - a, a - 0.3], -1)))
    x = pyro.sample("x", dist.Normal(a + b - 1.0, 0.6))
    c = pyro.sample("c", dist.Binomial(3, logits=x - 0.5 * b))
    d = pyro.sample("d", dist.Bernoulli(logits=0.8 * c - 1 + a))
    e = pyro.sample("e", dist.Poisson(torch.exp(0.3 * c - 0.2 * b)))
    pyro.sample("f", dist.OrderedLogistic(0.5 * e - x + d, torch.tensor([-1.0, 0.5, 2.0])))


MIXED = Monotone(
    {
        "a": lambda v: np.array([0.6, 0.4]),
        "b": lambda v: normalise(np.exp([0.5 * v["a"], 1 - v["a"], v["a"] - 0.3])),
        "x": lambda v: v["a"] + v["b"] - 1.0,
        "c": lambda v: stats.binom.pmf(np.arange(4), 3, sigmoid(v["x"] - 0.5 * v["b"])),
        "d": lambda v: np.array([1 - sigmoid(0.8 * v["c"] - 1 + v["a"]), sigmoid(0.8 * v["c"] - 1 + v["a"])]),
        "e": lambda v: stats.poisson.pmf(np.arange(LIMIT), np.exp(0.3 * v["c"] - 0.2 * v["b"])),
        "f": lambda v: np.diff(
            np.concatenate([[0.0], sigmoid(np.array([-1.0, 0.5, 2.0]) - (0.5 * v["e"] - v["x"] + v["d"])), [1.0]])
        ),
    },
    {"x": None},
)
WORLDS = {
    "a": {"a": 1.0},
    "b": {"b": 2},
    "x": {"x": 0.25},
    "two": {"a": 0.0, "c": 3.0},
    "policy": {"c": lambda a: 1 + a},
}
BY_HAND = {
    "a": {"a": 1},
    "b": {"b": 2},
    "x": {"x": 0.25},
    "two": {"a": 0, "c": 3},
    "policy": {"c": lambda v: 1 + v["a"]},
}


@pytest.fixture(scope="module")
def result():
    scm = pcm.SCM(mixed, couplings={"b": "monotone"})
    frame = scm.sample(12, seed=4)
    return frame, scm.counterfactual(frame, worlds=WORLDS, draws=400, seed=0)


@pytest.mark.parametrize("world", WORLDS)
def test_every_probability_equals_the_enumeration_of_the_noise(result, world):
    frame, cf = result
    for row in range(len(frame)):
        unit = {name: float(value) for name, value in frame.iloc[row].items()}
        law = MIXED.law(unit, BY_HAND[world])
        assert abs(sum(weight for weight, _ in law) - 1) < 1e-9
        for name, outcomes in {"a": 2, "b": 3, "c": 4, "d": 2, "f": 4}.items():
            for k in range(outcomes):
                known = sum(weight for weight, values in law if values[name] == k)
                found = cf.probability(name, k, world)[row]
                if cf._run.exact(world, name):
                    assert abs(found - known) <= 1e-9, (name, k, row)
                else:
                    assert abs(found - known) <= 5 * np.sqrt(max(known * (1 - known), 1e-3) / 400), (name, k, row)
        for name in ("x", "c", "d", "e"):
            known = sum(weight * values[name] for weight, values in law)
            if cf._run.exact(world, name):
                assert abs(cf.mean(name, world)[row] - known) <= 1e-8, (name, row)


def test_the_account_says_what_is_exact_and_what_is_drawn(result):
    _, cf = result
    assert cf.account.rung == 3
    assert "f averaged over 400 draws" in cf.account.worlds["a"]  # below a Poisson variable: no finite enumeration
    assert "joint assignments" in cf.account.worlds["a"]
    assert cf.account.sites["x"].abduction == "exact" and cf.account.sites["d"].abduction == "law"
    assert all(cf._run.exact("a", name) for name in "abxcde")


def test_probabilities_are_probabilities(result):
    _, cf = result
    for world, name in itertools.product(WORLDS, "abcdf"):
        total = sum(cf.probability(name, k, world) for k in range({"a": 2, "b": 3, "c": 4, "d": 2, "f": 4}[name]))
        assert np.abs(total - 1).max() <= 1e-12
    for outcome in (0, 3, 79):
        chance = cf.probability("e", outcome, "x")
        assert (chance >= 0).all() and (chance <= 1).all()
        assert not np.signbit(chance).any()
    assert (cf.probability("e", -1, "x") == 0).all()


def test_a_value_that_a_count_cannot_take_has_no_probability(result):
    _, cf = result
    with pytest.raises(pcm.PCMError, match=r"'e'.*2\.5"):
        cf.probability("e", 2.5, "x")


def test_sd_interval_and_draws_tell_one_story(result):
    frame, cf = result
    for world, name in itertools.product(("a", "b", "two"), "xcdef"):
        mean, sd, draws = cf.mean(name, world), cf.sd(name, world), cf.draws(name, world).astype(float)
        assert draws.shape == (400, len(frame))
        spread = draws.std(0)
        assert np.all(np.abs(draws.mean(0) - mean) <= 5 * np.maximum(sd, spread) / 20 + 1e-9), (world, name)
        assert np.all(np.abs(spread - sd) <= 0.25 * np.maximum(sd, 0.2)), (world, name)
        interval = cf.interval(name, 0.8, world)
        assert np.all(interval[:, 0] <= interval[:, 1])
        inside = ((draws >= interval[:, 0]) & (draws <= interval[:, 1])).mean(0)
        assert np.all(inside >= 0.8 - 5 * np.sqrt(0.16 / 400)), (world, name)
        wider = cf.interval(name, 0.95, world)
        assert np.all(wider[:, 0] <= interval[:, 0]) and np.all(wider[:, 1] >= interval[:, 1])
        low, high = np.quantile(draws, [0.0, 1.0], axis=0)
        assert np.all(interval[:, 0] >= low - 1e-9) and np.all(interval[:, 1] <= high + 1e-9)


def test_gumbel_max_downstream_of_gumbel_max_by_the_table_of_the_theory():
    """THEORY §1: p = (.5, .3, .2) to p' = (.2, .3, .5); a Bernoulli child averages over the three outcomes."""
    p, q = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]], dtype=torch.float64)
    chance = torch.tensor([0.9, 0.2, 0.4], dtype=torch.float64)

    def program():
        s = pyro.sample("s", dist.Bernoulli(0.5))
        k = pyro.sample("k", dist.Categorical(torch.where(s[..., None] > 0, q, p)))
        pyro.sample("r", dist.Bernoulli(chance[k]))

    cf = pcm.SCM(program).counterfactual({"s": [0, 0, 0], "k": [0, 1, 2], "r": [1, 0, 1]}, do={"s": 1.0})
    rows = np.array([[0.4, 0.138462, 0.461538], [0.0, 0.769231, 0.230769], [0.0, 0.0, 1.0]])
    found = np.stack([cf.probability("k", k) for k in range(3)], -1)
    assert np.abs(found - rows).max() <= 5e-7
    c = chance.numpy()
    for row, (k, r) in enumerate(((0, 1), (1, 0), (2, 1))):
        stays = np.minimum(c, c[k]) / c[k] if r else np.maximum(c - c[k], 0) / (1 - c[k])
        assert abs(cf.probability("r", 1)[row] - found[row] @ stays) <= 1e-12


def test_monotone_and_independent_couplings_change_the_answer_as_they_should():
    p, q = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]], dtype=torch.float64)

    def program():
        s = pyro.sample("s", dist.Bernoulli(0.5))
        pyro.sample("k", dist.Categorical(torch.where(s[..., None] > 0, q, p)))

    evidence = {"s": [0, 0, 0], "k": [0, 1, 2]}

    def table(coupling):
        cf = pcm.SCM(program, couplings={"k": coupling}).counterfactual(evidence, do={"s": 1})
        return cf, np.stack([cf.probability("k", k) for k in range(3)], -1)

    # u uniform on (0, .5), (.5, .8), (.8, 1) against cuts .2, .5
    cf, found = table("monotone")
    assert np.abs(found - [[0.4, 0.6, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]).max() <= 1e-12
    assert cf.account.rung == 3 and cf.account.sites["k"].coupling == "monotone"
    cf, found = table("independent")
    assert np.abs(found - [[0.2, 0.3, 0.5]] * 3).max() <= 1e-12
    assert cf.account.rung == 2 and cf.account.sites["k"].abduction == "fresh"


def test_independent_coupling_of_a_continuous_variable_is_fresh_noise():
    def program():
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        x = pyro.sample("x", dist.Normal(z, 2.0))
        pyro.sample("y", dist.Normal(x, 0.5))

    scm = pcm.SCM(program, couplings={"x": "independent"})
    frame = scm.sample(3, seed=0)
    cf = scm.counterfactual(frame, do={"z": 5.0}, draws=4000, seed=0)
    x = cf.draws("x")
    assert abs(x.mean() - 5) < 5 * 2 / np.sqrt(x.size) and abs(x.std() - 2) < 5 * 2 / np.sqrt(2 * x.size)
    u_y = (frame["y"] - frame["x"]).to_numpy()
    assert np.abs(cf.draws("y") - x - u_y).max() <= 1e-12
    assert cf.account.rung == 2


def test_many_discrete_ancestors_fall_back_to_draws_and_say_so():
    def program(count):
        def made():
            start = pyro.sample("s", dist.Bernoulli(0.5))
            parts = [pyro.sample(f"b{i}", dist.Bernoulli(0.3 + 0.4 * start)) for i in range(count)]
            pyro.sample("y", dist.Normal(sum(parts), 1.0))

        return made

    # u uniform given b; P(b' = 1 | b = 0, s: 0 → 1) = (.7 - .3) / .7
    known = 0.4 / 0.7
    for count, exact in ((12, True), (13, False)):
        evidence = {"s": [0.0], "y": [0.5], **{f"b{i}": [0.0] for i in range(count)}}
        cf = pcm.SCM(program(count)).counterfactual(evidence, do={"s": 1.0}, draws=1000, seed=0)
        tolerance = 1e-10 if exact else 5 * np.sqrt(count * known * (1 - known) / 1000)
        assert abs(cf.mean("y")[0] - 0.5 - count * known) <= tolerance
        assert ("y averaged over 1000 draws" in cf.account.worlds["do"]) is not exact


def test_discrete_variables_inside_plates_and_vectors():
    def program():
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("v", dist.Bernoulli(logits=torch.stack([z, -z], -1)).to_event(1))
        with pyro.plate("visits", 2, dim=-2):
            pyro.sample("w", dist.Bernoulli(logits=z))

    scm = pcm.SCM(program)
    frame = scm.sample(6, seed=0)
    cf = scm.counterfactual(frame, do={"z": 0.7}, draws=3000, seed=0)

    def known(before, after, seen):
        return np.where(seen == 1, np.minimum(before, after) / before, np.maximum(after - before, 0) / (1 - before))

    z = frame["z"].to_numpy()[:, None]
    v = known(sigmoid(z * [1, -1]), sigmoid(0.7 * np.array([1, -1])), frame[["v[0]", "v[1]"]].to_numpy())
    w = known(sigmoid(z), sigmoid(0.7), frame[["w[0]", "w[1]"]].to_numpy())
    assert np.abs(cf.mean("v") - v).max() <= 1e-12 and np.abs(cf.probability("v", 1) - v).max() <= 1e-12
    tolerance = 1e-12 if cf._run.exact("do", "w") else 5 * 0.5 / np.sqrt(3000)
    assert np.abs(cf.mean("w") - w).max() <= tolerance
    assert cf.draws("v").shape == cf.draws("w").shape == (3000, 6, 2)


def test_sampled_units_do_not_meet_the_uniforms_that_made_them():
    """With one seed for data and query, one draw a unit still flips at the coupling's rate: .3 of the zeros."""

    def coin():
        t = pyro.sample("t", dist.Bernoulli(0.5))
        pyro.sample("y", dist.Bernoulli(0.5 + 0.15 * t))

    scm = pcm.SCM(coin)
    people = scm.do(t=0.0).sample(4_000, seed=3)
    drawn = scm.counterfactual(people, do={"t": 1.0}, draws=1, seed=3).draws("y")[0]
    zeros = people["y"].to_numpy() == 0
    assert abs(drawn[zeros].mean() - 0.3) < 0.05
