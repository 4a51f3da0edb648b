"""Fits whose missing number enters through a comparison, a clip or an ``abs``: the integral splits where the density
steps or bends, and a threshold that a parameter moves is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import stats

import pcm
from pcm.errors import FitError
from pcm.program import Program
from pcm.query.likelihood import target_of
from pcm.query.model import Model

NAN = float("nan")


def likelihood(program, data):
    """Log likelihood and its gradient as functions of b and s, and the account."""
    target, marginal = target_of(Model(Program(program)), data)

    def found(b, s):
        at = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (b, s)]
        total = target.log_density(dict(zip("bs", at, strict=True)))
        total = total - dist.Normal(0.0, 2.0).log_prob(at[0]) - dist.HalfNormal(1.0).log_prob(at[1])
        return float(total.detach()), [float(part) for part in torch.autograd.grad(total, at)]

    assert marginal is not None
    return found, marginal


def of(column, child=True, law=None):
    """z missing; y ~ N(b · column(z, x), s), and w ~ N(z, 1) beside it."""

    def program(n):
        b, s = pyro.sample("b", dist.Normal(0.0, 2.0)), pyro.sample("s", dist.HalfNormal(1.0))
        with pyro.plate("units", n):
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            z = pyro.sample("z", law or dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(b * column(z, x), s))
            if child:
                pyro.sample("w", dist.Normal(z, 1.0))

    return program


DATA = {"x": [0.3, -1.0, 0.8, 2.0], "z": [NAN] * 4, "y": [1.2, -0.4, 2.5, 0.1], "w": [0.5, -1.5, 3.0, -0.2]}


def checked(found, truth, tolerance=1e-8):
    """Value by the truth, gradient by its differences."""
    for b, s in ((1.5, 0.5), (-0.7, 1.3)):
        value, slopes = found(b, s)
        assert value == pytest.approx(truth(b, s), abs=tolerance)
        step = 1e-5
        assert slopes[0] == pytest.approx((truth(b + step, s) - truth(b - step, s)) / (2 * step), rel=1e-6, abs=1e-6)
        assert slopes[1] == pytest.approx((truth(b, s + step) - truth(b, s - step)) / (2 * step), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("moved", [False, True], ids=["at one place", "at each unit's own"])
def test_a_step_is_a_mixture(moved):
    """z given w is N(w/2, 1/2): y is N(b, s) with the chance that z is above, and N(0, s) else."""
    program = of(lambda z, x: (z > x) * 1.0) if moved else of(lambda z, x: (z > 0.4) * 1.0)
    found, marginal = likelihood(program, DATA)
    x, y, w = (np.array(DATA[name]) for name in "xyw")

    def truth(b, s):
        above = stats.norm.sf((x if moved else 0.4), w / 2, 0.5**0.5)
        each = above * stats.norm.pdf(y, b, s) + (1 - above) * stats.norm.pdf(y, 0, s)
        return (np.log(each) + stats.norm.logpdf(w, 0, 2**0.5) + stats.norm.logpdf(x)).sum()

    checked(found, truth)
    assert "split where the density steps" in marginal.account[0]


def test_a_bend_is_integrated_on_either_side():
    """Of max(z, 0): half a normal and half a convolution."""
    data = {name: values for name, values in DATA.items() if name != "w"}
    found, _ = likelihood(of(lambda z, x: torch.relu(z), child=False), data)
    x, y = np.array(DATA["x"]), np.array(DATA["y"])

    def truth(b, s):
        wide = np.hypot(s, b)
        upper = stats.norm.pdf(y, 0, wide) * stats.norm.cdf(b * y / wide**2 / (s / wide))
        return (np.log(0.5 * stats.norm.pdf(y, 0, s) + upper) + stats.norm.logpdf(x)).sum()

    checked(found, truth)


def test_two_steps_under_a_heavy_tail():
    def column(z, x):
        return (z > -0.5) * 1.0 + (z > 2.0) * 2.0

    found, _ = likelihood(of(column, law=dist.StudentT(4.0, 0.0, 1.0)), DATA)

    place, weight = np.polynomial.legendre.leggauss(400)
    ends = itertools.pairwise((-15.0, -0.5, 2.0, 20.0))
    parts = [(low + (high - low) * (place + 1) / 2, (high - low) * weight / 2) for low, high in ends]
    z, dz = (np.concatenate(part)[:, None] for part in zip(*parts, strict=True))
    y, w = np.array(DATA["y"]), np.array(DATA["w"])

    def truth(b, s):
        density = stats.t.pdf(z, 4) * stats.norm.pdf(w, z) * stats.norm.pdf(y, b * column(z, 0), s)
        return np.log((density * dz).sum(0)).sum() + stats.norm.logpdf(DATA["x"]).sum()

    checked(found, truth, 1e-7)


def test_a_fit_through_a_step_ends_and_is_right():
    program = of(lambda z, x: (z > 0) * 1.0, child=False)
    scm = pcm.SCM(program)
    frame = scm.given(b=2.0, s=0.5).sample(400, seed=0)
    frame.loc[::2, "z"] = NAN
    fitted = scm.fit(frame, seed=0, draws=50, progress=False)  # a warning that it is not accurate would be an error
    assert abs(float(fitted.posterior.mean("b")) - 2.0) < 0.15
    assert abs(float(fitted.posterior.mean("s")) - 0.5) < 0.08


def test_steps_in_two_numbers_are_drawn():
    def program(n):
        b, s = pyro.sample("b", dist.Normal(0.0, 2.0)), pyro.sample("s", dist.HalfNormal(1.0))
        with pyro.plate("units", n):
            u, v = pyro.sample("u", dist.Normal(0.0, 1.0)), pyro.sample("v", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(b * ((u > 0) * 1.0 + (v > 1) * 1.0), s))

    data = {"u": [NAN] * 3, "v": [NAN] * 3, "y": [1.2, -0.4, 2.5]}
    found, marginal = likelihood(program, data)
    up = stats.norm.sf(1.0)
    chances = np.array([0.5 * (1 - up), 0.5 * (1 - up) + 0.5 * up, 0.5 * up])
    truth = np.log((chances * stats.norm.pdf(np.array(data["y"])[:, None], 1.5 * np.arange(3), 0.8)).sum(1)).sum()
    assert found(1.5, 0.8)[0] == pytest.approx(truth, abs=0.3)
    assert "fixed draws" in marginal.account[0]


@pytest.mark.parametrize("smooth", [False, True], ids=["in the step alone", "outside it too"])
def test_a_threshold_that_a_parameter_moves_is_refused(smooth):
    def program(n):
        cut = pyro.sample("cut", dist.Normal(0.0, 1.0))
        with pyro.plate("units", n):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(2.0 * (z > cut) + smooth * cut, 0.5))

    frame = pcm.SCM(program).given(cut=0.5).sample(60, seed=0)
    frame.loc[::2, "z"] = NAN
    with pytest.raises(FitError, match=r"'z' is unobserved.*steps.*a parameter moves") as caught:
        pcm.SCM(program).fit(frame, progress=False)
    assert caught.value.site == "z"
