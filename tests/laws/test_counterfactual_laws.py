"""Laws 1–5 for complete evidence, on random programs."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import pcm
from tests.laws.random_programs import CONTINUOUS, FAMILIES, Linear, Spec, linears, specs

LOCATION_SCALE = {"normal", "laplace", "gumbel", "hetero"}
EXAMPLES = settings(max_examples=25, deadline=None)


def observed(spec, units=40, seed=0):
    scm = pcm.SCM(spec.program())
    return scm, scm.sample(units, seed=seed).astype(float)


@EXAMPLES
@given(specs(), st.integers(0, 2**31), st.data())
def test_consistency_do_of_the_observed_value_returns_the_observed_unit(spec, seed, data):
    scm, frame = observed(spec, seed=seed)
    target = data.draw(st.sampled_from(spec.names))
    cf = scm.counterfactual(frame, do={target: frame[target].to_numpy()}, draws=8, seed=seed)
    for name, family in zip(spec.names, spec.families, strict=True):
        apart = np.abs(cf.draws(name) - frame[name].to_numpy()) / np.maximum(1, frame[name].abs().to_numpy())
        limit = 0 if family not in CONTINUOUS else 1e-12 if family in LOCATION_SCALE else 1e-6
        assert apart.max() <= limit, (name, family)


@EXAMPLES
@given(specs(families=CONTINUOUS), st.integers(0, 2**31), st.floats(-1e-9, 1e-9), st.data())
def test_consistency_with_a_nudged_parent_moves_the_child_by_its_derivative(spec, seed, nudge, data):
    """Returning the observation cannot pass: a nudged parent must move its children by about weight × nudge."""
    scm, frame = observed(spec, seed=seed)
    target = data.draw(st.sampled_from(spec.names))
    fine = scm.counterfactual(frame, do={target: frame[target].to_numpy() + nudge})
    coarse = scm.counterfactual(frame, do={target: frame[target].to_numpy() + 1e-4})
    for name in spec.names:
        base = frame[name].to_numpy()
        slope = (coarse.mean(name) - base) / 1e-4
        scale = np.maximum(1, np.abs(base))
        moved = fine.mean(name) - base
        assert np.all(np.abs(moved - slope * nudge) <= 2e-12 * scale + 1e-3 * np.abs(slope * nudge) + 1e-12), name


@EXAMPLES
@given(specs(), st.integers(0, 2**31), st.data())
def test_effectiveness_and_non_descendants_bit_for_bit(spec, seed, data):
    scm, frame = observed(spec, seed=seed)
    target = data.draw(st.sampled_from(spec.names))
    value = float(scm.sample(1, seed=seed + 1)[target].iloc[0])
    cf = scm.counterfactual(frame, do={target: value}, draws=4, seed=seed)
    assert (cf.draws(target) == value).all()
    below = nx.descendants(scm.graph, target) | {target}
    for name in set(spec.names) - below:
        assert (cf.draws(name) == frame[name].to_numpy()).all()


@EXAMPLES
@given(specs(), st.integers(0, 2**31), st.data())
def test_composition_setting_a_variable_to_what_it_would_be_changes_nothing(spec, seed, data):
    """W_x = w implies Y_{x,w} = Y_x (Galles & Pearl 1998), draw by draw."""
    scm, frame = observed(spec, units=12, seed=seed)
    first = data.draw(st.sampled_from(spec.names[:-1]))
    second = data.draw(st.sampled_from([name for name in spec.names if name != first]))
    value = float(scm.sample(1, seed=seed + 1)[first].iloc[0])
    alone = scm.counterfactual(frame, do={first: value}, draws=3, seed=seed)
    would = alone.draws(second)
    for draw in range(len(would)):
        both = scm.counterfactual(frame, do={first: value, second: would[draw]}, draws=3, seed=seed)
        for name in spec.names:
            a, b = alone.draws(name)[draw], both.draws(name)[draw]
            assert np.all(np.abs(a - b) <= 1e-9 * np.maximum(1, np.abs(a))), name


@EXAMPLES
@given(linears(), st.integers(0, 2**31))
def test_reversibility_two_ways_that_agree_are_the_solution(linear, seed):
    """Y_{xw} = y and W_{xy} = w imply Y_x = y (Galles & Pearl 1998)."""
    scm = pcm.SCM(linear.program())
    frame = scm.sample(20, seed=seed)
    x, y, w = linear.names[0], linear.names[-1], linear.names[len(linear.names) // 2]
    if len({x, y, w}) < 3:
        return
    once = scm.counterfactual(frame, do={x: 1.5})
    y_of, w_of = once.mean(y), once.mean(w)
    assert np.allclose(scm.counterfactual(frame, do={x: 1.5, w: w_of}).mean(y), y_of, atol=1e-10)
    assert np.allclose(scm.counterfactual(frame, do={x: 1.5, y: y_of}).mean(w), w_of, atol=1e-10)


@EXAMPLES
@given(specs(), st.integers(0, 2**31), st.data())
def test_the_last_do_wins(spec, seed, data):
    scm = pcm.SCM(spec.program())
    target = data.draw(st.sampled_from(spec.names))
    values = scm.sample(2, seed=seed + 1)[target].astype(float).tolist()
    twice = scm.do({target: values[0]}).do({target: values[1]})
    once = scm.do({target: values[1]})
    assert twice.sample(30, seed=3).equals(once.sample(30, seed=3))


@EXAMPLES
@given(linears(), st.integers(0, 2**31), st.data())
def test_linear_gaussian_programs_equal_the_algebra(linear: Linear, seed, data):
    scm = pcm.SCM(linear.program())
    frame = scm.sample(25, seed=seed)
    targets = data.draw(st.lists(st.sampled_from(linear.names), min_size=1, max_size=2, unique=True))
    values = {name: np.random.default_rng(seed).normal(size=25) for name in targets}
    cf = scm.counterfactual(frame, do=values)
    truth = linear.counterfactual(frame.to_numpy(), {linear.names.index(n): v for n, v in values.items()})
    for place, name in enumerate(linear.names):
        assert np.abs(cf.mean(name) - truth[:, place]).max() <= 1e-11
    edges = {(a, b) for a, b in scm.graph.edges}
    assert edges == {(linear.names[a], linear.names[b]) for b, a in zip(*np.nonzero(linear.coefficients), strict=True)}


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_rung_two_from_rung_three(family):
    """Counterfactuals of units of the model have the law of do().sample: KS or chi-square, level 1e-4 overall."""
    spec = Spec(("normal", family, "normal", "bernoulli"), ((), (1.1,), (0.6, 0.8), (0.5, -0.7, 0.9)))
    scm = pcm.SCM(spec.program())
    frame = scm.sample(4000, seed=1)
    cf = scm.counterfactual(frame, do={"v0": 1.0}, draws=1, seed=2)
    fresh = scm.do(v0=1.0).sample(4000, seed=3)
    level = 1e-4 / (3 * len(FAMILIES))
    for name in spec.names[1:]:
        a, b = cf.draws(name)[0], fresh[name].to_numpy().astype(float)
        values = np.unique(np.concatenate([a, b]))
        if len(values) < 30:
            table = np.array([[(column == value).sum() for value in values] for column in (a, b)])
            table = table[:, table.sum(0) > 10]
            assert stats.chi2_contingency(table).pvalue > level, name
        else:
            assert stats.ks_2samp(a, b).pvalue > level, name
    probability, drawn = cf.probability("v3", 1).mean(), fresh["v3"].mean()
    assert abs(probability - drawn) < 5 * np.sqrt(0.25 / 4000 * 2)


@EXAMPLES
@given(specs(families=("bernoulli", "categorical"), most=4), st.integers(0, 2**31))
def test_discrete_probabilities_agree_with_draws_of_the_noise(spec, seed):
    """Computed probabilities against 4,000 draws, every cell at a level of 1e-7: a binomial tail, not a z-score."""
    scm, frame = observed(spec, units=4, seed=seed)
    value = float(scm.sample(1, seed=seed + 1)["v0"].iloc[0])
    cf = scm.counterfactual(frame, do={"v0": value}, draws=4000, seed=seed)
    for name, family in zip(spec.names, spec.families, strict=True):
        for outcome in range(2 if family == "bernoulli" else 3):
            p = np.clip(cf.probability(name, outcome), 0, 1)
            hits = (cf.draws(name) == outcome).sum(0)
            tail = 2 * np.minimum(stats.binom.cdf(hits, 4000, p), stats.binom.sf(hits - 1, 4000, p))
            assert (tail > 1e-7).all(), (name, outcome, p, hits / 4000)


def test_split_order_and_batch_leave_draws_as_they_are():
    spec = Spec(("normal", "categorical", "gamma", "bernoulli"), ((), (1.0,), (0.5, 0.7), (0.3, 0.9, -0.4)))
    scm, frame = observed(spec, units=60)
    whole = scm.counterfactual(frame, do={"v0": 0.3}, draws=16, seed=5)
    shuffled = frame.sample(frac=1.0, random_state=0)
    other = scm.counterfactual(shuffled, do={"v0": 0.3}, draws=16, seed=5)
    part = scm.counterfactual(frame.iloc[40:], do={"v0": 0.3}, draws=16, seed=5)
    places = [whole.index.get_loc(label) for label in shuffled.index]
    for name in spec.names:
        assert np.allclose(whole.draws(name)[:, places], other.draws(name), rtol=1e-12, atol=0)
        assert np.allclose(whole.draws(name)[:, 40:], part.draws(name), rtol=1e-12, atol=0)
