"""Average effects against closed forms."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import stats

import pcm
from pcm.errors import ArgumentError, EvidenceError, QueryError, UnknownNameError


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def linear():
    """age confounds; effect of t on y is 2 + age; E[age] = 1, E[age | t = 1] from the logistic."""
    age = pyro.sample("age", dist.Normal(1.0, 1.0))
    t = pyro.sample("t", dist.Bernoulli(logits=age - 1))
    m = pyro.sample("m", dist.Normal(0.5 * t, 1.0))
    pyro.sample("y", dist.Normal((1.5 + age) * t + m + 3 * age, 1.0))


def logistic():
    age = pyro.sample("age", dist.Normal(0.0, 1.0))
    t = pyro.sample("t", dist.Bernoulli(logits=0.7 * age))
    pyro.sample("y", dist.Bernoulli(logits=-0.5 + 1.2 * t + 0.8 * age))


def gauss(function):
    """E[function(age)] of a standard normal, by Gauss–Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    return float(weights @ function(nodes) / np.sqrt(2 * np.pi))


UNITS = 40_000


def test_linear_effects_have_their_closed_forms():
    scm = pcm.SCM(linear)
    ate = pcm.ate(scm, "t", "y", units=UNITS, seed=0)
    assert abs(ate.mean - 3.0) <= 5 / np.sqrt(UNITS)
    assert abs(ate.standard_error - 1 / np.sqrt(UNITS)) <= 0.1 / np.sqrt(UNITS)
    assert float(ate) == ate.mean and ate.account.rung == 2 and "ATE of t on y" in repr(ate)
    treated = gauss(lambda z: sigmoid(z) * (z + 1)) / gauss(sigmoid)
    att = pcm.att(scm, "t", "y", units=UNITS, seed=0)
    assert abs(att.mean - 2 - treated) <= 5 * 1.1 / np.sqrt(UNITS / 2)
    atu = pcm.att(scm, "t", "y", units=UNITS, seed=0, treated=0, control=1)
    assert abs(-atu.mean - 2 - (2 - treated)) <= 5 * 1.1 / np.sqrt(UNITS / 2)
    assert abs(att.mean - 2 - treated) < abs(att.mean - 3)
    mediated = pcm.ate(scm, "m", "y", treated=2.0, control=-1.0, units=100, seed=0)
    assert abs(mediated.mean - 3) <= 1e-12
    shifted = pcm.ate(scm, "m", "y", treated=lambda m: m + 1, control=lambda m: m, units=100, seed=0)
    assert abs(shifted.mean - 1) <= 1e-12


def test_logistic_effects_by_quadrature_on_every_scale():
    scm = pcm.SCM(logistic)
    first, second = gauss(lambda z: sigmoid(0.7 + 0.8 * z)), gauss(lambda z: sigmoid(-0.5 + 0.8 * z))
    known = {
        "difference": first - second,
        "ratio": first / second,
        "odds": (first / (1 - first)) / (second / (1 - second)),
    }
    for scale, value in known.items():
        found = pcm.ate(scm, "t", "y", units=UNITS, seed=1, scale=scale)
        assert abs(found.mean - value) <= 5 * 1.2 * value / np.sqrt(UNITS), scale
        assert (scale in repr(found)) is (scale != "difference")
    weight = gauss(lambda z: sigmoid(0.7 * z))
    treated = gauss(lambda z: sigmoid(0.7 * z) * (sigmoid(0.7 + 0.8 * z) - sigmoid(-0.5 + 0.8 * z))) / weight
    assert abs(pcm.att(scm, "t", "y", units=UNITS, seed=1).mean - treated) <= 5 * 0.1 / np.sqrt(UNITS / 2)


def test_both_arms_share_the_units_noise():
    """Where nothing modifies the effect, ten units suffice."""

    def program():
        x = pyro.sample("x", dist.Normal(0.0, 10.0))
        k = pyro.sample("k", dist.Poisson(torch.exp(0.1 * torch.tanh(x))))
        pyro.sample("y", dist.StudentT(3.0, 2 * x + k, 1.0))

    found = pcm.ate(pcm.SCM(program), "k", "y", treated=4.0, control=1.0, units=10, seed=0)
    assert abs(found.mean - 3) <= 1e-12


def test_given_units_average_over_their_own_noise():
    scm = pcm.SCM(logistic)
    frame = scm.sample(200, seed=3)
    p0, p1 = sigmoid(-0.5 + 0.8 * frame["age"]), sigmoid(0.7 + 0.8 * frame["age"])
    seen = np.where(frame["t"] == 1, p1, p0)

    def moved(p):
        return np.where(frame["y"] == 1, np.minimum(p, seen) / seen, np.maximum(p - seen, 0) / (1 - seen))

    each = moved(p1) - moved(p0)
    ate = pcm.ate(scm, "t", "y", data=frame, seed=0)
    assert abs(ate.mean - each.mean()) <= 1e-12 and ate.account.rung == 3 and ate.standard_error is None
    has = frame["t"].to_numpy() == 1
    assert abs(pcm.att(scm, "t", "y", data=frame).mean - each[has].mean()) <= 1e-12
    ratio = pcm.ate(scm, "t", "y", data=frame, scale="ratio")
    assert abs(ratio.mean - moved(p1).mean() / moved(p0).mean()) <= 1e-12
    frame["old"] = frame["age"] > 0
    effect = pcm.cate(scm, "t", "y", given=["t"], data=frame)
    assert list(effect.index) == [0, 1]
    assert np.abs(effect.mean - [each[~has].mean(), each[has].mean()]).max() <= 1e-12
    bins = pd.qcut(frame["age"], 4)
    effect = pcm.cate(scm, "t", "y", given="age", data=frame, bins=4)
    assert np.abs(effect.mean - pd.Series(each).groupby(bins.to_numpy()).mean()).max() <= 1e-12
    both = pcm.cate(scm, "t", "y", given=["t", "age"], data=frame, bins=2)
    groups = pd.Series(each).groupby([frame["t"].to_numpy(), pd.qcut(frame["age"], 2).to_numpy()]).mean()
    assert list(both.index.names) == ["t", "age"] and np.abs(both.mean - groups.to_numpy()).max() <= 1e-12


def with_covariates(n, *, age):
    b = pyro.sample("b", dist.Normal(0.0, 1.0))
    with pyro.plate("units", n):
        t = pyro.sample("t", dist.Bernoulli(logits=age))
        pyro.sample("y", dist.Normal(b * t * age, 1.0))


def test_covariates_alone_give_fresh_units_at_those_covariates():
    scm = pcm.SCM(with_covariates).given(b=2.0)
    ages = pd.DataFrame({"age": [0.5, 1.0, 1.5]})
    assert abs(pcm.ate(scm, "t", "y", data=ages, seed=0).mean - 2.0) <= 1e-12
    groups = pcm.cate(scm, "t", "y", given=["age"], data=ages, seed=0)
    assert np.abs(groups.mean - [1, 2, 3]).max() <= 1e-12 and list(groups.index) == [0.5, 1.0, 1.5]
    assert abs(pcm.ate(scm.do(t=1.0), "age", "y", treated=3.0, control=1.0, data=ages, seed=0).mean - 4) <= 1e-12
    with pytest.raises(QueryError, match="age"):
        pcm.ate(scm, "t", "y", seed=0)
    with pytest.raises(pcm.PCMError, match="age"):
        pcm.ate(scm, "t", "y", data=pd.DataFrame({"agee": [1.0]}), seed=0)
    with pytest.raises(pcm.PCMError, match="age"):
        pcm.ate(scm, "t", "y", data=pd.DataFrame({"age": [np.nan]}), seed=0)


def test_conjugate_posterior_gives_the_interval_of_the_effect():
    """Known noise, b ~ N(0, 1): b | data is Gaussian, and the effect at these ages is b × mean age."""
    rng = np.random.default_rng(0)
    age = rng.normal(1.0, 0.5, size=100)
    t = (rng.random(100) < sigmoid(age)).astype(float)
    frame = pd.DataFrame({"age": age, "t": t, "y": 1.5 * t * age + rng.normal(size=100)})
    scm = pcm.SCM(with_covariates)
    fitted = scm.fit(frame, progress=False, seed=0, draws=4000)
    precision = 1 + (t * age**2).sum()
    mean, sd = (t * age * frame["y"]).sum() / precision, precision**-0.5
    for data, units in ((frame, slice(None)), (frame[["age"]], slice(None)), (frame.iloc[:10], slice(10))):
        effect = pcm.ate(fitted, "t", "y", data=data, draws=4000, seed=0)
        law = stats.norm(mean * age[units].mean(), sd * abs(age[units].mean()))
        assert len(effect.draws) == 4000
        assert abs(effect.mean - law.mean()) <= 5 * law.std() / np.sqrt(4000)
        low, high = effect.interval(0.9)
        assert abs(low - law.ppf(0.05)) <= 0.15 * law.std() and abs(high - law.ppf(0.95)) <= 0.15 * law.std()
    treated = pcm.att(fitted, "t", "y", data=frame, draws=4000, seed=0)
    assert abs(treated.mean - mean * age[t == 1].mean()) <= 5 * sd * 2 / np.sqrt(4000)


@pytest.mark.parametrize("units", [1, 7, 50, 199, 200, 201, 5_000])
def test_a_fitted_model_takes_any_number_of_fresh_units(units):
    def program(n):
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        with pyro.plate("units", n):
            t = pyro.sample("t", dist.Bernoulli(0.5))
            pyro.sample("y", dist.Normal(b * t, 1.0))

    scm = pcm.SCM(program)
    fitted = scm.fit(scm.given(b=1.0).sample(30, seed=0), progress=False, seed=0, draws=20)
    effect = pcm.ate(fitted, "t", "y", units=units, draws=20, seed=0)
    assert np.abs(np.sort(effect.draws) - np.sort(fitted.posterior["b"].numpy())).max() <= 1e-12


def plans():
    plan = pyro.sample("plan", dist.Categorical(torch.tensor([0.5, 0.3, 0.2])))
    pyro.sample("cured", dist.Bernoulli(0.1 + 0.2 * (plan == 1) + 0.6 * (plan == 2)))


@pytest.mark.parametrize(
    ("labels", "arms", "words", "effect"),
    [
        (["none", "basic", "full"], {}, "plan (basic against none)", 0.2),
        (["none", "basic", "full"], {"treated": "full", "control": 1}, "plan (full against basic)", 0.4),
        ([0, 1, 2], {"treated": 2}, "plan (2 against 0)", 0.6),
        ([10, 20, 30], {"treated": 30, "control": 20}, "plan (30 against 20)", 0.4),
        (None, {"treated": 2}, "plan (2 against 0)", 0.6),
        (None, {"treated": lambda plan: plan, "control": 0}, "plan", 0.18),
    ],
)
def test_an_effect_of_several_categories_says_which_two(labels, arms, words, effect):
    scm = pcm.SCM(plans, categories=None if labels is None else {"plan": labels})
    found = pcm.ate(scm, "plan", "cured", seed=0, **arms)
    assert found.label == f"ATE of {words} on cured"
    assert float(found) == pytest.approx(effect, abs=0.01)
    along = pcm.path_effect(scm, "plan", "cured", paths=["plan -> cured"], seed=0, **arms)
    assert along.label == f"effect of {words} on cured along plan -> cured"
    if len(words) > 4:
        assert words in pcm.probability_of_necessity(scm, "plan", "cured", seed=0, **arms).label


@pytest.mark.parametrize("treated", [7, -1, 0.5, np.nan, np.inf, None, "ful"])
def test_a_level_that_several_categories_lack(treated):
    scm = pcm.SCM(plans, categories={"plan": ["none", "basic", "full"]})
    for ask in (pcm.ate, pcm.nde, lambda *args, **arms: pcm.path_effect(*args, paths=["plan -> cured"], **arms)):
        with pytest.raises(pcm.PCMError, match="plan"):
            ask(scm, "plan", "cured", treated=treated)


def test_labels_name_the_arms_and_the_groups():
    def program():
        plan = pyro.sample("plan", dist.Categorical(torch.tensor([0.2, 0.3, 0.5])))
        pyro.sample("cost", dist.Normal(torch.tensor([0.0, 1.0, 3.0])[plan], 1.0))

    scm = pcm.SCM(program, categories={"plan": ["none", "basic", "full"]})
    assert abs(pcm.ate(scm, "plan", "cost", treated="full", control="basic", units=10, seed=0).mean - 2) <= 1e-12
    frame = scm.sample(50, seed=0)
    assert abs(pcm.att(scm, "plan", "cost", treated="full", control="none", data=frame).mean - 3) <= 1e-12
    groups = pcm.cate(scm, "plan", "cost", treated="full", control="none", given=["plan"], data=frame)
    assert list(groups.index) == ["none", "basic", "full"] and np.abs(groups.mean - 3).max() <= 1e-12
    with pytest.raises(QueryError, match=r"'plan' is categorical"):
        pcm.ate(scm, "cost", "plan", treated=1.0, control=0.0)


@pytest.mark.parametrize(
    "wrap",
    [lambda fn: fn, lambda fn: fn.mask(torch.tensor(True)), lambda fn: fn.expand([1])],
    ids=["bare", "mask", "expand"],
)
@pytest.mark.parametrize(
    ("family", "mean"),
    [
        (lambda x: dist.Categorical(logits=torch.stack([0 * x, x], -1)), lambda x: sigmoid(x)),
        (lambda x: dist.OrderedLogistic(x, torch.tensor([-1.0, 1.0])), lambda x: sigmoid(x + 1) + sigmoid(x - 1)),
        (lambda x: dist.Binomial(5, logits=x), lambda x: 5 * sigmoid(x)),
        (lambda x: dist.Poisson(torch.exp(x)), np.exp),
        (lambda x: dist.Gamma(2.0, torch.exp(x)), lambda x: 2 * np.exp(-x)),
        (lambda x: dist.LogNormal(x, 0.5), lambda x: np.exp(x + 0.125)),
    ],
    ids=["categorical", "ordered", "binomial", "poisson", "gamma", "lognormal"],
)
def test_means_of_outcomes_are_exact_given_their_parents(family, mean, wrap):
    def program():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        fn = family(x)
        pyro.sample("y", wrap(fn) if wrap(dist.Normal(0.0, 1.0)).batch_shape != torch.Size([1]) else fn.expand(x.shape))

    found = pcm.ate(pcm.SCM(program), "x", "y", treated=1.0, control=0.0, units=5, seed=0)
    assert abs(found.mean - (mean(1.0) - mean(0.0))) <= 1e-9


def test_a_mean_that_does_not_exist_is_refused():
    def program():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Cauchy(x, 1.0))

    with pytest.raises(QueryError, match=r"'y'.*not finite"):
        pcm.ate(pcm.SCM(program), "x", "y", treated=1.0, control=0.0, seed=0)


def test_interventions_in_force_hold_in_both_arms():
    scm = pcm.SCM(linear).do(age=2.0)
    assert abs(pcm.ate(scm, "t", "y", units=10, seed=0).mean - 4) <= 1e-12
    frame = scm.sample(20, seed=0)
    assert abs(pcm.ate(scm, "t", "y", data=frame).mean - 4) <= 1e-12


def test_an_unfitted_model_averages_over_its_prior():
    effect = pcm.ate(pcm.SCM(with_covariates), "t", "y", data={"age": [1.0]}, draws=400, seed=0)
    assert len(effect.draws) == 400 and "prior" in effect.account.parameters
    assert stats.kstest(effect.draws, "norm").pvalue > 1e-6
    with pytest.raises(QueryError, match="neither fitted nor given"):
        pcm.ate(pcm.SCM(with_covariates), "t", "y", data={"age": [1.0], "t": [1.0], "y": [0.0]})


BAD = {
    "no model": (lambda s, f: pcm.ate(linear, "t", "y"), ArgumentError, "function"),
    "misspelt treatment": (lambda s, f: pcm.ate(s, "tt", "y"), UnknownNameError, "'tt'"),
    "misspelt outcome": (lambda s, f: pcm.att(s, "t", "yy"), UnknownNameError, "'yy'"),
    "same": (lambda s, f: pcm.ate(s, "t", "t"), ArgumentError, "'t'"),
    "scale": (lambda s, f: pcm.ate(s, "t", "y", scale="log"), ArgumentError, "log"),
    "scale of another type": (lambda s, f: pcm.ate(s, "t", "y", scale=["ratio"]), ArgumentError, "ratio"),
    "no units": (lambda s, f: pcm.ate(s, "t", "y", units=0), ArgumentError, "units=0"),
    "half a unit": (lambda s, f: pcm.ate(s, "t", "y", units=1.5), ArgumentError, "units=1.5"),
    "no draws": (lambda s, f: pcm.ate(s, "t", "y", draws=0), ArgumentError, "draws=0"),
    "seed": (lambda s, f: pcm.ate(s, "t", "y", seed="a"), ArgumentError, "seed"),
    "arm outside the support": (lambda s, f: pcm.ate(s, "t", "y", treated=2), pcm.PCMError, "t"),
    "arm is nothing": (lambda s, f: pcm.ate(s, "t", "y", treated=None), pcm.PCMError, "t"),
    "arm is a label of nothing": (lambda s, f: pcm.ate(s, "t", "y", treated="yes"), pcm.PCMError, "yes"),
    "att of a function": (lambda s, f: pcm.att(s, "t", "y", treated=lambda age: age), pcm.PCMError, "t"),
    "nobody is treated": (lambda s, f: pcm.att(s, "t", "y", data=f.assign(t=0)), QueryError, "t = 1"),
    "treated or not is open": (
        lambda s, f: pcm.att(s, "t", "y", data=f.assign(t=f["t"].where(f.index > 0))),
        EvidenceError,
        "'t' says which units are averaged over, and it is open for 1 of 10 units (first: 0)",
    ),
    "the group is open": (
        lambda s, f: pcm.cate(s, "t", "y", given="age", data=f.drop(columns="age")),
        EvidenceError,
        "'age' says which units are averaged over, and it is open for 10 of 10 units",
    ),
    "nobody is that old": (lambda s, f: pcm.att(s, "age", "y", treated=1.0, control=0.0), QueryError, "age"),
    "groups of nothing": (lambda s, f: pcm.cate(s, "t", "y", given=[]), ArgumentError, "given"),
    "groups of a stranger": (lambda s, f: pcm.cate(s, "t", "y", given=["agee"]), UnknownNameError, "agee"),
    "groups by a number": (lambda s, f: pcm.cate(s, "t", "y", given=5), pcm.PCMError, "5"),
    "bins": (lambda s, f: pcm.cate(s, "t", "y", given="age", bins=0), ArgumentError, "bins=0"),
    "odds of a number": (lambda s, f: pcm.ate(s, "t", "y", scale="odds", seed=0), QueryError, "odds"),
    "data is a number": (lambda s, f: pcm.ate(s, "t", "y", data=5), pcm.PCMError, "int"),
    "data is empty": (lambda s, f: pcm.ate(s, "t", "y", data=f.iloc[:0]), pcm.PCMError, "rows"),
    "float of groups": (lambda s, f: float(pcm.cate(s, "t", "y", given=["t"], units=50, seed=0)), QueryError, "2"),
    "interval": (lambda s, f: pcm.ate(s, "t", "y", units=50).interval(95), ArgumentError, "95"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_questions(case):
    ask, error, words = BAD[case]
    scm = pcm.SCM(linear)
    with pytest.raises(error) as caught:
        ask(scm, scm.sample(10, seed=0))
    assert words in str(caught.value)
