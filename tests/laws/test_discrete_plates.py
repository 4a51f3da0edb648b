"""Discrete values of a plate inside a unit, some of them missing under observed children: brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import pcm
from pcm import Interval
from pcm.errors import QueryError
from pcm.program import Program
from pcm.query.likelihood import target_of
from pcm.query.model import Model

NAN = float("nan")


# -- 0/1 visits: a cause above, a number and a 0/1 outcome below -------------------------------------------------------


def visits(count=4, form="plate"):
    """g above ``count`` visits, each made or not; y a number and z a 0/1 that both weigh them."""

    def program():
        g = pyro.sample("g", dist.Bernoulli(0.4))
        weights = torch.arange(1.0, count + 1.0)
        if form == "plate":
            with pyro.plate("visits", count, dim=-2):
                made = pyro.sample("v", dist.Bernoulli(0.3 + 0.1 * weights[:, None] / count + 0.2 * g))
            total = (weights[:, None] * made).sum(0)
        else:
            chance = 0.3 + 0.1 * weights / count + 0.2 * g[..., None]
            total = (weights * pyro.sample("v", dist.Bernoulli(chance).to_event(1))).sum(-1)
        pyro.sample("y", dist.Normal(total + 2 * g, 1.5))
        pyro.sample("z", dist.Bernoulli(logits=0.5 * total - 1.0))

    return pcm.SCM(program)


def joint(g, v, y, z, count):
    """Probability of one unit's values; y and z may be unknown."""
    weights = np.arange(1.0, count + 1.0)
    chance, total = 0.3 + 0.1 * weights / count + 0.2 * g, (weights * v).sum()
    found = (0.4 if g else 0.6) * np.where(v > 0.5, chance, 1 - chance).prod()
    found *= 1.0 if np.isnan(y) else stats.norm.pdf(y, total + 2 * g, 1.5)
    yes = 1 / (1 + np.exp(1.0 - 0.5 * total))
    return found * (1.0 if np.isnan(z) else yes if z else 1 - yes)


def brute(row, count):
    """Every completion of g and v with its probability."""
    g, v, y, z = row
    free = [[0.0, 1.0] if np.isnan(g) else [g], *([0.0, 1.0] if np.isnan(x) else [x] for x in v)]
    every = np.array(list(itertools.product(*free)))
    weight = np.array([joint(one[0], one[1:], y, z, count) for one in every])
    return every, weight / weight.sum(), weight.sum()


def holed(rng, units, count):
    """Units with values of g, v, y and z, about half of them missing."""
    frame = visits(count).sample(units, seed=int(rng.integers(1 << 30)))
    return frame.mask(rng.random(frame.shape) < 0.45)


@settings(max_examples=6)
@given(st.integers(0, 2**31), st.sampled_from(["plate", "event"]))
def test_any_pattern_of_a_plate_is_brute_force(seed, form):
    frame = holed(np.random.default_rng(seed), 12, 4)
    if frame[["y", "z"]].notna().to_numpy().sum() == 0:
        return
    scm = visits(4, form)
    frame["z"] = frame["z"].fillna(1.0)  # with everything finite but y: a y that is missing is drawn
    frame["y"] = frame["y"].fillna(0.5)
    cf = scm.counterfactual(frame, do={"g": 1.0}, seed=0)
    for at, row in enumerate(frame[["g", "v[0]", "v[1]", "v[2]", "v[3]", "y", "z"]].to_numpy()):
        every, weight, _ = brute((row[0], row[1:5], row[5], row[6]), 4)
        assert np.abs(cf.mean("v", "factual")[at] - weight @ every[:, 1:]).max() <= 1e-10
        assert abs(cf.probability("g", 1, "factual")[at] - weight @ every[:, 0]) <= 1e-10
        assert abs(cf.mean("z", "factual")[at] - row[6]) <= 1e-10
    assert set(cf.diagnostics["method"]) <= {"enumerate", "none"}
    seen = frame[["v[0]", "v[1]", "v[2]", "v[3]"]].to_numpy()
    assert (np.isnan(seen) | (cf.draws("v", "factual") == seen)).all()


@settings(max_examples=6)
@given(st.integers(0, 2**31))
def test_a_number_below_a_plate_keeps_its_noise(seed):
    """do(v = 0): y falls by the total of v and no more; exactly, whatever of v was recorded."""
    frame = holed(np.random.default_rng(seed), 8, 3).assign(y=1.7)
    cf = visits(3).counterfactual(frame, do={"v": np.zeros((8, 3))}, seed=0)
    for at, row in enumerate(frame[["g", "v[0]", "v[1]", "v[2]", "y", "z"]].to_numpy()):
        every, weight, _ = brute((row[0], row[1:4], row[4], row[5]), 3)
        drop = every[:, 1:] @ [1.0, 2.0, 3.0]
        assert abs(cf.mean("y")[at] - (1.7 - weight @ drop)) <= 1e-10
        stay, fall = 1 / (1 + np.exp(1.0 - 0.5 * drop)), 1 / (1 + np.exp(1.0))  # monotone: z can but fall
        known = fall / stay if row[5] == 1 else np.zeros(len(stay)) if row[5] == 0 else np.full(len(stay), fall)
        if not np.isnan(row[5]):
            assert abs(cf.probability("z", 1)[at] - weight @ known) <= 1e-10


def test_units_that_lack_different_values_share_configurations():
    """Each of twelve lacks two of twelve: four configurations, not 2¹²."""
    frame = visits(12).sample(12, seed=1)
    for row in range(12):
        frame.loc[row, [f"v[{row}]", f"v[{(row + 5) % 12}]"]] = NAN
    cf = visits(12).counterfactual(frame, do={"g": 0.0}, seed=0)
    assert cf.account.sites["v"].abduction.startswith("posterior (enumerated)")
    assert len(cf._run.latent.space.configurations) == 4
    for at, row in enumerate(frame.to_numpy()):
        every, weight, _ = brute((row[0], row[1:13], row[13], row[14]), 12)
        assert np.abs(cf.mean("v", "factual")[at] - weight @ every[:, 1:]).max() <= 1e-10


# -- categories, one-hot rows, counts ----------------------------------------------------------------------------------


def kinds(one_hot):
    """Three episodes, each of one of three kinds; y weighs the kinds by episode, w is of one of them alone."""

    def program(n):
        shift = pyro.sample("shift", dist.Normal(0.0, 1.0))
        with pyro.plate("units", n):
            a = pyro.sample("a", dist.Normal(0.0, 1.0))
            logits = torch.stack([0 * a, a + shift, -a], -1)
            with pyro.plate("episodes", 3, dim=-2):
                if one_hot:
                    rows = pyro.sample("k", dist.OneHotCategorical(logits=logits))
                    level = rows @ torch.tensor([0.0, 1.0, 3.0])
                else:
                    level = torch.tensor([0.0, 1.0, 3.0])[pyro.sample("k", dist.Categorical(logits=logits)).long()]
            pyro.sample("y", dist.Normal(level[0] + 2 * level[1] - level[2] + shift, 1.0))
            pyro.sample("w", dist.Normal(level[1], 0.5))

    return program


EPISODES = [[NAN, 1, 2], [0, NAN, NAN], [NAN, NAN, NAN], [2, 1, 0], [NAN, 2, NAN], [0, NAN, NAN]]
A, Y, W = [0.3, -0.5, 1.0, 0.0, 2.0, -0.5], [1.0, 2.5, NAN, 3.0, 0.5, 2.5], [0.5, 2.0, 1.5, NAN, 3.0, 2.0]


def kinds_by_hand(shift):
    """For each unit the completions, their probabilities, and the evidence's density."""
    found = []
    for k, a, y, w in zip(EPISODES, A, Y, W, strict=True):
        every = np.array(list(itertools.product(*(range(3) if np.isnan(x) else [int(x)] for x in k)))).astype(int)
        logits = np.array([0.0, a + shift, -a])
        weight = (np.exp(logits) / np.exp(logits).sum())[every].prod(1) * stats.norm.pdf(a)
        level = np.array([0.0, 1.0, 3.0])[every]
        weight = weight * (1 if np.isnan(y) else stats.norm.pdf(y, level @ [1, 2, -1] + shift, 1.0))
        weight = weight * (1 if np.isnan(w) else stats.norm.pdf(w, level[:, 1], 0.5))
        found.append((every, weight / weight.sum(), weight.sum()))
    return found


def evidence(one_hot):
    k = np.array(EPISODES, dtype=float)
    if one_hot:
        k = np.where(np.isnan(k)[..., None], NAN, np.eye(3)[np.nan_to_num(k).astype(int)])
    return {"a": A, "k": k, "y": Y, "w": W}


@pytest.mark.parametrize("one_hot", [False, True])
def test_categories_of_a_plate_are_brute_force(one_hot):
    scm = pcm.SCM(kinds(one_hot)).given(shift=0.4)
    cf = scm.counterfactual(evidence(one_hot), do={"a": 0.0}, seed=0)
    for at, (every, weight, _) in enumerate(kinds_by_hand(0.4)):
        for kind in range(3):
            found = cf.probability("k", kind, "factual")[at]
            assert np.abs(found - weight @ (every == kind)).max() <= 1e-10


@pytest.mark.parametrize("one_hot", [False, True])
def test_a_fit_sums_over_the_open_values(one_hot):
    target, marginal = target_of(Model(Program(kinds(one_hot))), evidence(one_hot))
    for shift in (0.4, -1.1):
        truth = stats.norm.logpdf(shift) + sum(np.log(part[2]) for part in kinds_by_hand(shift))
        with torch.no_grad():
            found = float(target.log_density({"shift": torch.tensor(shift, dtype=torch.float64)}))
        assert found == pytest.approx(truth, abs=1e-10)
    assert marginal is not None and any("summed over 9 values" in words for words in marginal.account)
    parts = {len(part.space.configurations): len(part.rows) for part in marginal.parts}
    assert parts == {1: 1, 3: 1, 9: 3, 27: 1}  # grouped by how many values a unit lacks


def test_a_fit_finds_what_made_the_data():
    """Half of all values missing: the shift is still found, with more to learn than from complete units alone."""
    scm = pcm.SCM(kinds(False))
    frame = scm.given(shift=0.8).sample(120, seed=2)
    hide = np.random.default_rng(0).random((120, 3)) < 0.5
    names = ["k[0]", "k[1]", "k[2]"]
    frame[names] = frame[names].astype(float).mask(hide)
    fitted = scm.fit(frame, method="laplace", seed=0, draws=200, progress=False)
    shift = fitted.posterior["shift"].numpy()
    assert abs(shift.mean() - 0.8) < 4 * shift.std() and shift.std() < 0.15
    cf = fitted.counterfactual(frame, do={"a": 0.0}, seed=0)
    assert np.isfinite(cf.mean("y")).all()


def test_counts_between_two_ends_are_enumerated():
    """Poisson visits in classes of their own, a total below that was seen."""

    def program():
        with pyro.plate("visits", 3, dim=-2):
            count = pyro.sample("count", dist.Poisson(torch.tensor([1.0, 2.0, 3.0])[:, None]))
        pyro.sample("total", dist.Normal(count.sum(0), 0.5))

    rows = [[Interval(0, 2), 1, Interval(2, 5)], [3, Interval(1, 4), 0], [1, 2, 3]]
    cf = pcm.SCM(program).counterfactual({"count": rows, "total": [5.0, 5.5, 6.0]}, do={"total": 0.0}, seed=0)
    for at, total in ((0, 5.0), (1, 5.5)):
        ends = [(c.low, c.high) if isinstance(c, Interval) else (c, c) for c in rows[at]]
        every = np.array(list(itertools.product(*(range(low, high + 1) for low, high in ends))))
        weight = stats.poisson.pmf(every, [1, 2, 3]).prod(1) * stats.norm.pdf(total, every.sum(1), 0.5)
        assert np.abs(cf.mean("count", "factual")[at] - weight / weight.sum() @ every).max() <= 1e-10


def test_ordered_values_of_a_plate_in_intervals():
    """Grades known to be high or low: only the codes within count."""

    def program():
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        with pyro.plate("exams", 2, dim=-2):
            grade = pyro.sample("grade", dist.OrderedLogistic(a, torch.tensor([-1.0, 0.0, 1.0])))
        pyro.sample("mark", dist.Normal(grade.sum(0) * 1.0, 1.0))

    rows = [[Interval(2, 3), NAN], [0, Interval(0, 1)]]
    cf = pcm.SCM(program).counterfactual({"a": [0.5, 0.0], "grade": rows, "mark": [4.0, 0.5]}, do={"a": 0.0}, seed=0)
    for at, (a, mark, ends) in enumerate(((0.5, 4.0, [(2, 3), (0, 3)]), (0.0, 0.5, [(0, 0), (0, 1)]))):
        law = np.diff(stats.logistic.cdf(np.array([-np.inf, -1.0, 0.0, 1.0, np.inf]) - a))
        every = np.array(list(itertools.product(*(range(low, high + 1) for low, high in ends))))
        weight = law[every].prod(1) * stats.norm.pdf(mark, every.sum(1), 1.0)
        assert np.abs(cf.mean("grade", "factual")[at] - weight / weight.sum() @ every).max() <= 1e-10


def test_beside_a_continuous_value_that_is_missing():
    """A mixture: each configuration with the Gaussian of the number that is open."""

    def program():
        u = pyro.sample("u", dist.Normal(0.0, 1.0))
        with pyro.plate("visits", 3, dim=-2):
            v = pyro.sample("v", dist.Bernoulli(torch.tensor([0.2, 0.5, 0.7])[:, None]))
        pyro.sample("y", dist.Normal(u + (torch.tensor([1.0, 2.0, 4.0])[:, None] * v).sum(0), 0.5))

    cf = pcm.SCM(program).counterfactual({"v": [[NAN, 1.0, NAN]], "y": [4.2]}, do={"u": 0.0}, seed=0)
    every = np.array(list(itertools.product([0, 1], [1], [0, 1])))
    total = every @ [1.0, 2.0, 4.0]
    weight = np.where(every, [0.2, 0.5, 0.7], [0.8, 0.5, 0.3]).prod(1) * stats.norm.pdf(4.2, total, 1.25**0.5)
    weight = weight / weight.sum()
    assert abs(cf.mean("u", "factual")[0] - weight @ ((4.2 - total) / 1.25)) <= 1e-10
    assert np.abs(cf.mean("v", "factual")[0] - weight @ every).max() <= 1e-10
    assert np.abs(cf.probability("v", 0, "factual")[0] - weight @ (1 - every)).max() <= 1e-10


# -- limits ------------------------------------------------------------------------------------------------------------


def test_too_many_values_to_enumerate_are_refused_by_name():
    frame = visits(16).sample(3, seed=0)
    frame.loc[1, [f"v[{place}]" for place in range(13)]] = NAN
    with pytest.raises(QueryError, match=r"v \(13 values of it\) have 8,192 joint values in some unit"):
        visits(16).counterfactual(frame, do={"g": 0.0})


def test_endless_counts_of_a_plate_are_refused_by_name():
    def program():
        with pyro.plate("visits", 3, dim=-2):
            count = pyro.sample("count", dist.Poisson(torch.ones(3, 1)))
        pyro.sample("total", dist.Normal(count.sum(0), 0.5))

    with pytest.raises(QueryError, match=r"'count' is missing .* Poisson with several values a unit"):
        pcm.SCM(program).counterfactual({"count": [[1.0, NAN, 2.0]], "total": [4.0]}, do={"total": 0.0})


def test_a_plate_that_nothing_hangs_on_is_drawn_or_enumerated():
    """Nothing below: the mechanism; exactly where that is few configurations."""

    def program():
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        with pyro.plate("visits", 20, dim=-2):
            pyro.sample("v", dist.Bernoulli(logits=a))

    frame = pd.DataFrame({"a": [0.5, -1.0], **{f"v[{place}]": NAN for place in range(20)}})
    cf = pcm.SCM(program).counterfactual(frame, do={"a": 0.0}, draws=2000, seed=0)
    chance = 1 / (1 + np.exp(-frame["a"].to_numpy()))[:, None]
    assert np.abs(cf.mean("v", "factual") - chance).max() < 0.05
    few = frame.assign(**{f"v[{place}]": 1.0 for place in range(17)})
    cf = pcm.SCM(program).counterfactual(few, do={"a": 0.0}, seed=0)
    assert np.abs(cf.mean("v", "factual")[:, 17:] - chance).max() <= 1e-10


def test_a_unit_answers_alike_in_any_company():
    frame = holed(np.random.default_rng(5), 12, 4).assign(y=1.0, z=1.0)
    whole = visits(4).counterfactual(frame, do={"g": 0.0}, seed=1)
    for part in (frame.iloc[:5], frame.iloc[5:], frame.iloc[::-1]):
        alone, rows = visits(4).counterfactual(part, do={"g": 0.0}, seed=1), whole.index.get_indexer(part.index)
        for name, world in itertools.product("vyz", ("factual", "do")):
            assert np.allclose(alone.mean(name, world), whole.mean(name, world)[rows], rtol=0, atol=1e-12)
