"""Queries of fitted models carry every parameter draw: equal to a loop over models with the draw given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm
from pcm.infer import Posterior
from pcm.query.model import Model

DRAWS = 7


def program(n):
    b = pyro.sample("b", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    s = pyro.sample("s", dist.HalfNormal(1.0))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        d = pyro.sample("d", dist.Bernoulli(logits=b[0] * x))
        c = pyro.sample("c", dist.Categorical(logits=torch.stack([0 * x, b[1] * x, d], -1)))
        m = pyro.deterministic("m", b[0] * x + b[1] * d)
        v = pyro.sample("v", dist.Normal(torch.stack([m, -m], -1), s).to_event(1))
        with pyro.plate("visits", 2, dim=-2):
            w = pyro.sample("w", dist.Normal(v.sum(-1) + b[0] * x, s))
        y = pyro.sample("y", dist.Normal(w.sum(0) + c, s))
        pyro.sample("e", dist.Bernoulli(logits=y))
        pyro.sample("k", dist.Poisson(torch.exp(0.3 * torch.tanh(y))))


def branching(n):
    """Python control flow on a parameter: cannot be mapped over draws."""
    b = pyro.sample("b", dist.Normal(0.0, 1.0))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        y = pyro.sample("y", dist.Normal(2 * x if b > 0 else -x, 1.0))
        pyro.sample("e", dist.Bernoulli(logits=b * y))


def with_draws(scm, draws):
    """A model with a known posterior, as a fit would leave it."""
    made = scm._model
    posterior = Posterior({name: torch.as_tensor(value) for name, value in draws.items()}, method="known")
    return pcm.SCM._of(Model(made.program, made.interventions, posterior, made.given, made.categories))


@pytest.fixture(scope="module")
def models():
    scm = pcm.SCM(program)
    rng = np.random.default_rng(0)
    draws = {"b": rng.normal(size=(DRAWS, 2)), "s": 0.5 + rng.random(DRAWS)}
    singles = [scm.given(b=draws["b"][k], s=draws["s"][k]) for k in range(DRAWS)]
    frame = singles[0].sample(9, seed=1)
    return with_draws(scm, draws), singles, frame.drop(columns="m")


WORLDS = {
    "one": {"x": 1.0},
    "two": {"d": 1.0, "x": lambda x: x - 0.5},
    "edge": {("x", "c"): 2.0},
    "vector": {"v": [1.0, 0.0]},
}


def test_means_and_probabilities_are_averages_over_the_draws(models):
    fitted, singles, frame = models
    cf = fitted.counterfactual(frame, worlds=WORLDS, seed=3)
    apart = [single.counterfactual(frame, worlds=WORLDS, seed=3) for single in singles]
    for world in WORLDS:
        for name in ("x", "d", "m", "v", "w", "y", "e", "k"):
            if not cf._run.exact(world, name):
                continue
            known = np.mean([single.mean(name, world) for single in apart], 0)
            assert np.abs(cf.mean(name, world) - known).max() <= 1e-12, (world, name)
        for name, outcomes in (("d", 2), ("c", 3), ("e", 2), ("k", 4)):
            for outcome in range(outcomes):
                known = np.mean([single.probability(name, outcome, world) for single in apart], 0)
                assert np.abs(cf.probability(name, outcome, world) - known).max() <= 1e-12, (world, name)


def test_draws_are_one_a_parameter_draw(models):
    fitted, singles, frame = models
    cf = fitted.counterfactual(frame, do={"d": 0.0}, seed=3)
    for name in ("m", "v", "w"):  # determined by evidence and parameters
        draws = cf.draws(name)
        assert draws.shape[:2] == (DRAWS, 9)
        for k, single in enumerate(singles):
            assert np.abs(draws[k] - single.counterfactual(frame, do={"d": 0.0}).mean(name)).max() <= 1e-12
    assert cf.draws("x").shape == (DRAWS, 9) and np.ptp(cf.draws("x"), axis=0).max() == 0
    low, high = np.moveaxis(cf.interval("m", 0.5), -1, 0)
    known = np.quantile(cf.draws("m"), [0.25, 0.75], axis=0)
    assert np.abs(low - known[0]).max() <= 1e-12 and np.abs(high - known[1]).max() <= 1e-12
    assert np.abs(cf.sd("m") - cf.draws("m").std(0, ddof=1)).max() <= 1e-12


def test_deterministic_sites_under_parameters_are_carried_in_the_factual_world_too(models):
    fitted, singles, frame = models
    cf = fitted.counterfactual(frame, do={"d": 0.0})
    known = np.stack([s._model.given["b"].numpy() for s in singles]) @ np.stack([frame["x"], frame["d"]])
    assert np.abs(cf.draws("m", "factual") - known).max() <= 1e-12
    contrast = cf.contrast("m", "do")
    assert contrast.draws.shape == (DRAWS, 9)
    assert np.abs(contrast.mean - (cf.mean("m") - cf.mean("m", "factual"))).max() <= 1e-12


def test_log_prob_has_a_row_a_draw(models):
    fitted, singles, frame = models
    found = fitted.log_prob(frame)
    assert found.shape == (DRAWS, 9)
    assert np.abs(found - np.stack([single.log_prob(frame) for single in singles])).max() <= 1e-11


def test_draws_asks_for_fewer_parameter_draws_and_takes_a_subset(models):
    fitted, _, frame = models
    few = fitted.counterfactual(frame, do={"d": 0.0}, draws=3, seed=0)
    assert few.draws("m").shape == (3, 9)
    every = fitted.counterfactual(frame, do={"d": 0.0}, seed=0).draws("m")
    for draw in few.draws("m"):
        assert np.abs(every - draw).max(1).min() <= 1e-12
    again = fitted.counterfactual(frame, do={"d": 0.0}, draws=3, seed=0)
    assert np.array_equal(again.draws("m"), few.draws("m"))


def test_one_posterior_draw_is_a_model_with_that_value_given(models):
    fitted, singles, frame = models
    del fitted
    single = singles[2]
    one = with_draws(pcm.SCM(program), {name: value[None] for name, value in single._model.given.items()})
    a, b = (made.counterfactual(frame, do={"x": 1.0}, draws=20, seed=0) for made in (one, single))
    for name in ("y", "e", "k"):
        assert np.array_equal(a.mean(name), b.mean(name)) and np.array_equal(a.draws(name), b.draws(name))


def test_a_given_parameter_overrides_its_posterior(models):
    fitted, singles, frame = models
    fixed = fitted.given(b=[1.0, 2.0])
    found = fixed.counterfactual(frame, do={"d": 0.0}).mean("m")
    assert np.abs(found - frame["x"]).max() <= 1e-12
    everything = fixed.given(s=1.0)
    assert everything.counterfactual(frame, do={"d": 0.0}).account.parameters == "given"
    del singles


def test_a_branch_on_a_parameter_is_run_draw_by_draw_and_said():
    scm = pcm.SCM(branching)
    draws = {"b": np.array([-1.0, 0.5, 2.0, -0.2])}
    frame = scm.given(b=1.0).sample(8, seed=0)
    cf = with_draws(scm, draws).counterfactual(frame, do={"x": 1.0}, seed=0)
    apart = [scm.given(b=b).counterfactual(frame, do={"x": 1.0}, seed=0) for b in draws["b"]]
    for name in ("y", "e"):
        assert np.abs(cf.mean(name) - np.mean([single.mean(name) for single in apart], 0)).max() <= 1e-12
    assert any("one by one" in note for note in cf.account.notes)
    assert not any("one by one" in note for note in apart[0].account.notes)
    known = np.where(draws["b"] > 0, 2.0, -1.0)[:, None] * (1 - frame["x"].to_numpy()) + frame["y"].to_numpy()
    assert np.abs(cf.draws("y") - known).max() <= 1e-12


@pytest.mark.parametrize(
    "policy",
    [lambda y: (y > 0) * 1.0, lambda y: (y.numpy() > 0) * 1.0, lambda y: torch.tensor([float(v > 0) for v in y])],
    ids=["torch", "numpy", "a loop"],
)
def test_a_policy_that_leaves_torch_is_run_draw_by_draw(policy):
    scm = pcm.SCM(branching)
    frame = scm.given(b=1.0).sample(8, seed=0)
    draws = {"b": np.array([0.5, -2.0, 1.0])}
    do = {"x": 1.0, "e": policy}
    found = with_draws(scm, draws).counterfactual(frame, do=do, seed=0).mean("e")
    known = np.mean([scm.given(b=b).counterfactual(frame, do=do, seed=0).mean("e") for b in draws["b"]], 0)
    assert np.abs(found - known).max() <= 1e-12 and np.ptp(known) > 0


def test_interventions_on_edges_under_parameter_draws(models):
    fitted, singles, frame = models
    for action in (1.5, lambda x: x + 1, np.linspace(-1, 1, 9)):
        cf = fitted.counterfactual(frame, do={("x", "m"): action}, seed=0)
        known = np.mean([s.counterfactual(frame, do={("x", "m"): action}, seed=0).mean("w") for s in singles], 0)
        assert np.abs(cf.mean("w") - known).max() <= 1e-12


def test_a_deterministic_column_that_depends_on_parameters_is_welcome_in_fit_and_query():
    """`scm.sample(n)` then `fit` is the first round trip anyone makes."""

    def regression(n):
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        with pyro.plate("units", n):
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            mu = pyro.deterministic("mu", b * x)
            pyro.sample("y", dist.Normal(mu, 1.0))

    scm = pcm.SCM(regression)
    frame = scm.given(b=0.7).sample(50, seed=0)
    fitted = scm.fit(frame, progress=False, seed=0, draws=20)
    bare = scm.fit(frame.drop(columns="mu"), progress=False, seed=0, draws=20)
    assert torch.equal(fitted.posterior["b"], bare.posterior["b"])
    cf, other = (fitted.counterfactual(data, do={"x": 1.0}, seed=0) for data in (frame, frame.drop(columns="mu")))
    assert np.array_equal(cf.draws("y"), other.draws("y")) and np.array_equal(cf.draws("mu"), other.draws("mu"))
    assert fitted.log_prob(frame).shape == (20, 50)


def test_conjugate_posterior_reaches_the_counterfactual():
    """y = b x + u with prior b ~ N(0, 1): b | data is Gaussian in closed form, and so is Y under do(x)."""

    def regression(n):
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        with pyro.plate("units", n):
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(b * x, 1.0))

    scm = pcm.SCM(regression)
    frame = scm.given(b=1.2).sample(40, seed=3)
    precision = 1 + (frame["x"] ** 2).sum()
    mean, sd = (frame["x"] * frame["y"]).sum() / precision, precision**-0.5
    fitted = scm.fit(frame, progress=False, seed=0, draws=4000)
    cf = fitted.counterfactual(frame, do={"x": lambda x: x + 2}, draws=4000, seed=0)
    effect = cf.contrast("y", "do")
    assert np.abs(effect.mean - 2 * mean).max() <= 5 * 2 * sd / np.sqrt(4000)
    low, high = np.moveaxis(effect.interval(0.9), -1, 0)
    assert np.abs(low - 2 * (mean - 1.645 * sd)).max() <= 0.15 * sd * 2
    assert np.abs(high - 2 * (mean + 1.645 * sd)).max() <= 0.15 * sd * 2
    effect = pcm.ate(fitted, "x", "y", treated=2.0, control=0.0, seed=0, draws=4000)
    assert abs(effect.mean - 2 * mean) <= 5 * 2 * sd / np.sqrt(4000)
    assert abs(effect.sd - 2 * sd) <= 5 * 2 * sd / np.sqrt(8000)
    assert isinstance(effect.interval(0.9), tuple) and len(effect.draws) == 4000


def test_posterior_and_index_survive_every_step():
    scm = pcm.SCM(branching)
    frame = scm.given(b=1.0).sample(4, seed=0).set_axis(pd.Index(list("wxyz"), name="who"), axis=0)
    cf = with_draws(scm, {"b": np.array([0.5, 1.0])}).counterfactual(frame, do={"x": 1.0})
    assert cf.to_dataframe().index.name == "who" and list(cf.contrast("y", "do").to_dataframe().index) == list("wxyz")
    assert list(cf.inference_data["posterior"]["b"].dims) == ["chain", "draw"]
