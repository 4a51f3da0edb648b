"""``log_prob`` against Pyro's own traces and scipy."""

from __future__ import annotations

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import stats

import pcm


def everything(n, *, age):
    b = pyro.sample("b", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    s = pyro.sample("s", dist.HalfNormal(1.0))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.StudentT(4.0, b[0] * age, s))
        c = pyro.sample("c", dist.Categorical(logits=torch.stack([0 * x, x, -x], -1)))
        m = pyro.deterministic("m", b[1] * x + c)
        v = pyro.sample("v", dist.Normal(torch.stack([m, -m], -1), s).to_event(1))
        with pyro.plate("visits", 3, dim=-2):
            w = pyro.sample("w", dist.Gamma(2.0, torch.exp(0.1 * v.sum(-1))))
        k = pyro.sample("k", dist.Poisson(w.sum(0)))
        with pyro.poutine.mask(mask=age > 0):
            pyro.sample("y", dist.Bernoulli(logits=m + 0.1 * k))


@pytest.fixture(scope="module")
def case():
    scm = pcm.SCM(everything)
    known = scm.given(b=[0.5, -0.3], s=0.8)
    frame = known.sample(data={"age": np.linspace(-1, 2, 8)}, seed=0)
    return scm, known, frame


def traced(scm, frame):
    """The same density by Pyro: condition the program, trace it, sum the units' terms."""
    n = len(frame)
    columns = {name: torch.tensor(frame[name].to_numpy(dtype=float)) for name in ("age", "x", "c", "k", "y")}
    columns["c"] = columns["c"].long()
    columns["v"] = torch.tensor(frame[["v[0]", "v[1]"]].to_numpy())
    columns["w"] = torch.tensor(frame[["w[0]", "w[1]", "w[2]"]].to_numpy().T.copy())
    data = {**{k: v for k, v in columns.items() if k != "age"}, **scm._model.given}
    torch.set_default_dtype(torch.float64)
    try:
        trace = pyro.poutine.trace(pyro.poutine.condition(everything, data=data)).get_trace(n, age=columns["age"])
        trace.compute_log_prob()
    finally:
        torch.set_default_dtype(torch.float32)
    return sum(trace.nodes[name]["log_prob"].reshape(-1, n).sum(0) for name in ("x", "c", "v", "w", "k", "y")).numpy()


def test_log_prob_is_pyros(case):
    _, known, frame = case
    assert np.abs(known.log_prob(frame) - traced(known, frame)).max() <= 1e-12
    assert np.abs(known.log_prob(frame.drop(columns="m")) - known.log_prob(frame)).max() == 0
    assert known.log_prob(frame).shape == (8,)


def test_log_prob_of_a_draw_of_parameters_is_that_of_given(case):
    scm, _, frame = case
    for b, s in (([0.0, 0.0], 1.0), ([1.0, 2.0], 0.3)):
        made = scm.given(b=b, s=s)
        data = frame.drop(columns="m")
        assert np.abs(made.log_prob(data) - traced(made, data)).max() <= 1e-11


def test_an_intervention_takes_its_factor_away():
    def chain():
        a = pyro.sample("a", dist.Normal(1.0, 2.0))
        pyro.sample("b", dist.Normal(a, 0.5))

    scm = pcm.SCM(chain)
    data = {"a": [0.3, 0.3], "b": [1.0, -1.0]}
    a, b = stats.norm(1, 2).logpdf(data["a"]), stats.norm(0.3, 0.5).logpdf(data["b"])
    assert np.abs(scm.log_prob(data) - a - b).max() <= 1e-12
    assert np.abs(scm.do(a=0.3).log_prob(data) - b).max() <= 1e-12
    assert np.abs(scm.do(b=lambda a: a).log_prob({"a": [0.3]}) - a[:1]).max() <= 1e-12
    assert np.abs(scm.do({("a", "b"): 2.0}).log_prob(data) - a - stats.norm(2.0, 0.5).logpdf(data["b"])).max() <= 1e-12
    with pytest.raises(pcm.PCMError, match="lacks the variable a"):
        scm.log_prob({"b": [1.0]})


def test_a_value_of_probability_zero_is_minus_infinity_or_refused():
    def program():
        x = pyro.sample("x", dist.Bernoulli(0.5))
        pyro.sample("y", dist.Uniform(0.0, 1.0 + x))

    scm = pcm.SCM(program)
    assert np.abs(scm.log_prob({"x": [0, 1], "y": [0.5, 1.5]}) + np.log([2, 4])).max() <= 1e-12
    with pytest.raises(pcm.PCMError, match="y"):
        scm.log_prob({"x": [0], "y": [1.5]})


def test_given_fixes_and_refuses(case):
    scm, _, _ = case
    assert scm.given(s=0.5)._model.free == ("b",)
    assert scm.given({"s": 0.5}, b=[0.0, 1.0])._model.free == ()
    assert scm._model.free == ("b", "s")
    assert scm.given(s=0.5).given(s=0.7)._model.given["s"] == 0.7
    assert torch.equal(scm.given(b=1.0)._model.given["b"], torch.ones(2, dtype=torch.float64))
