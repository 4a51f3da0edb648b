"""The likelihood of data with holes against closed forms and scipy: value, gradient and Hessian."""

from __future__ import annotations

import itertools

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import integrate, special, stats

import pcm
from pcm.query.likelihood import target_of


def built(program, frame, given=None):
    """Log likelihood (without the prior) as a function of one vector of parameters, and its account."""
    scm = pcm.SCM(program).given(given or {})
    with torch.enable_grad():
        target, marginal = target_of(scm._model, frame)
    names = list(target.supports)

    def likelihood(vector):
        values = dict(zip(names, vector, strict=True))
        with scm._model.program.sealed(grad=torch.is_grad_enabled()):
            return marginal.log_density({**scm._model.given, **values})

    return likelihood, marginal.account


def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


def factor(n):
    load = pyro.sample("load", dist.Normal(0.0, 1.0))
    lift = pyro.sample("lift", dist.Normal(0.0, 1.0))
    spread = pyro.sample("spread", dist.LogNormal(0.0, 0.5))
    with pyro.plate("units", n):
        u = pyro.sample("u", dist.Normal(0.0, 1.0))
        a = pyro.sample("a", dist.Normal(lift + 0.5 * u, 0.8))
        b = pyro.sample("b", dist.Normal(load * u - 0.4 * a, spread))
        c = pyro.sample("c", dist.Normal(0.7 * a + load * b, 0.5))
        pyro.sample("d", dist.Normal(c + lift * u, spread))


def factor_law(load, lift, spread):
    """Mean and covariance of (u, a, b, c, d), differentiable."""
    zero, one = torch.zeros_like(load), torch.ones_like(load)
    half, near, far = 0.5 * one, 0.7 * one, -0.4 * one
    rows = [[zero] * 5, [half, *[zero] * 4], [load, far, *[zero] * 3], [zero, near, load, zero, zero]]
    weights = torch.stack([torch.stack(row) for row in [*rows, [lift, zero, zero, one, zero]]])
    noise = torch.stack([one, 0.8 * one, spread, 0.5 * one, spread])
    total = torch.linalg.inv(torch.eye(5, dtype=load.dtype) - weights)
    return total @ torch.stack([zero, lift, zero, zero, zero]), total @ torch.diag(noise**2) @ total.mT


@pytest.fixture(scope="module")
def holed():
    frame = pcm.SCM(factor).given(load=0.9, lift=0.3, spread=0.6).sample(60, seed=3)
    holes = np.random.default_rng(0).random(frame.shape) < 0.4
    return frame.mask(holes).assign(u=np.nan)


def test_a_linear_gaussian_program_with_random_holes_has_the_normal_likelihood(holed):
    likelihood, account = built(factor, holed)

    def truth(at):
        mean, covariance = factor_law(*at)
        total = torch.zeros((), dtype=torch.float64)
        for row in torch.tensor(holed.to_numpy()):
            seen = (~torch.isnan(row)).nonzero().flatten()
            if len(seen):
                law = torch.distributions.MultivariateNormal(mean[seen], covariance[seen][:, seen])
                total = total + law.log_prob(row[seen])
        return total

    for at in (vector(0.9, 0.3, 0.6), vector(-1.7, 2.0, 0.2), vector(0.0, 0.0, 3.0)):
        assert abs(float(likelihood(at) - truth(at))) <= 1e-8
        gradients = [torch.autograd.functional.jacobian(f, at) for f in (likelihood, truth)]
        assert torch.allclose(*gradients, rtol=1e-8, atol=1e-8)
        hessians = [torch.autograd.functional.hessian(f, at) for f in (likelihood, truth)]
        assert torch.allclose(*hessians, rtol=1e-7, atol=1e-7)
    assert all("closed form (Gaussian)" in words for words in account)


def noised(n):
    slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
    shift = pyro.sample("shift", dist.Normal(0.0, 1.0))
    spread = pyro.sample("spread", dist.LogNormal(0.0, 1.0))
    with pyro.plate("units", n):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        x = pyro.sample("x", dist.Normal(shift + 0.5 * z, 1.0))
        pyro.sample("w", dist.Laplace(x, 1.5))
        pyro.sample("y", dist.Normal(slope * x + z, spread))


def normal_laplace(frame, slope, shift, spread):
    """Closed form: normal posterior of x given z and y, times the normal-Laplace density of w - x."""
    z, w, y = (torch.tensor(frame[name].to_numpy()) for name in ("z", "w", "y"))
    prior = shift + 0.5 * z
    total = torch.distributions.Normal(0.0, 1.0).log_prob(z)
    variance = slope**2 + spread**2
    total = total + torch.distributions.Normal(slope * prior + z, variance.sqrt()).log_prob(y)
    gain = slope / variance
    mean, sd = prior + gain * (y - slope * prior - z), (spread**2 / variance).sqrt()
    arms = [s * (w - mean) / 1.5 + torch.special.log_ndtr(-s * (w - mean) / sd - sd / 1.5) for s in (1.0, -1.0)]
    return (total + 0.5 * (sd / 1.5) ** 2 - np.log(3.0) + torch.stack(arms).logsumexp(0)).sum()


def test_a_covariate_under_laplace_noise_has_the_normal_laplace_likelihood():
    frame = pcm.SCM(noised).given(slope=1.0, shift=0.3, spread=0.5).sample(200, seed=0).drop(columns="x")
    likelihood, account = built(noised, frame)
    assert "between the kinks" in account[0]
    for at in (vector(1.0, 0.3, 0.5), vector(-2.0, 1.0, 0.1), vector(0.0, 0.0, 2.0)):
        assert abs(float(likelihood(at) - normal_laplace(frame, *at))) <= 1e-8
        pairs = [torch.autograd.functional.jacobian(f, at) for f in (likelihood, lambda v: normal_laplace(frame, *v))]
        assert torch.allclose(*pairs, rtol=1e-8, atol=1e-7)
    at = vector(-2.0, 1.0, 0.1)
    pairs = [torch.autograd.functional.hessian(f, at) for f in (likelihood, lambda v: normal_laplace(frame, *v))]
    assert torch.allclose(*pairs, rtol=1e-6, atol=1e-6)


def twice_noised(n):
    slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
    bias = pyro.sample("bias", dist.Normal(0.0, 1.0))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("w", dist.Laplace(bias + 1.3 * x, 0.7))
        pyro.sample("v", dist.Laplace(x, 0.4))
        pyro.sample("y", dist.Normal(slope * x, 1.0))


def test_two_kinks_one_of_which_a_parameter_moves():
    frame = pcm.SCM(twice_noised).given(slope=1.0, bias=0.3).sample(6, seed=0).drop(columns="x")
    likelihood, account = built(twice_noised, frame)
    assert "between the kinks" in account[0]

    def truth(slope, bias):
        total = 0.0
        for _, (w, v, y) in frame[["w", "v", "y"]].iterrows():
            ends = sorted([-12.0, 12.0, v, (w - bias) / 1.3])

            def density(x, w=w, v=v, y=y):
                law = stats.norm.pdf(x) * stats.laplace.pdf(w, bias + 1.3 * x, 0.7) * stats.laplace.pdf(v, x, 0.4)
                return law * stats.norm.pdf(y, slope * x, 1.0)

            parts = [integrate.quad(density, a, b, epsabs=0, epsrel=1e-12)[0] for a, b in itertools.pairwise(ends)]
            total += np.log(sum(parts))
        return total

    at = vector(0.8, 0.2)
    assert abs(float(likelihood(at)) - truth(0.8, 0.2)) <= 1e-8
    step = 1e-3
    bend = (truth(0.8, 0.2 + step) - 2 * truth(0.8, 0.2) + truth(0.8, 0.2 - step)) / step**2
    assert abs(float(torch.autograd.functional.hessian(likelihood, at)[1, 1]) - bend) <= 1e-4


def logistic(n):
    slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
    pull = pyro.sample("pull", dist.Normal(0.0, 1.0))
    with pyro.plate("units", n):
        u = pyro.sample("u", dist.Normal(0.0, 1.0))
        t = pyro.sample("t", dist.Bernoulli(logits=0.8 * u))
        m = pyro.sample("m", dist.Normal(u + t, 0.6))
        pyro.sample("y", dist.Bernoulli(logits=slope * t + pull * u + 0.3 * m))


def logistic_unit(u, t, m, y, slope, pull):
    """Density of (u, t, m, y); without m, its chance of y by a sum over m."""
    z = np.linspace(-9, 9, 181)[:, None] if np.isnan(m) else np.zeros((1, 1))
    at = u + t + 0.6 * z if np.isnan(m) else m
    weight = 0.1 * stats.norm.pdf(z) if np.isnan(m) else stats.norm.pdf(m, u + t, 0.6)
    chance = special.expit((2 * y - 1) * (slope * t + pull * u + 0.3 * at))
    return stats.norm.pdf(u) * special.expit((2 * t - 1) * 0.8 * u) * (weight * chance).sum(0)


def test_a_gaussian_confounder_of_a_logistic_outcome_by_scipy():
    frame = pcm.SCM(logistic).given(slope=1.0, pull=0.7).sample(12, seed=1).astype(float).assign(u=np.nan)
    frame.loc[8:, "m"] = np.nan
    at = (0.9, -1.4)
    for rows, dimensions, tolerance in ((frame.iloc[:8], 1, 1e-7), (frame.iloc[8:], 2, 1e-5)):
        likelihood, account = built(logistic, rows)
        assert all(f"nodes in {dimensions} dimension" in words for words in account)
        truth = sum(
            np.log(integrate.quad_vec(lambda u, r=row: logistic_unit(u, *r, *at), -10, 10, epsrel=1e-11)[0])
            for row in rows[["t", "m", "y"]].to_numpy()
        )
        assert abs(float(likelihood(vector(*at))) - truth) <= tolerance


def thinned(n):
    rate = pyro.sample("rate", dist.Gamma(2.0, 0.1))
    keep = pyro.sample("keep", dist.Beta(2.0, 2.0))
    with pyro.plate("units", n):
        group = pyro.sample("group", dist.Bernoulli(0.5))
        born = pyro.sample("born", dist.Poisson(rate * (1 + group)))
        pyro.sample("seen", dist.Binomial(born, keep))


def test_a_thinned_poisson_count_is_poisson():
    frame = pcm.SCM(thinned).given(rate=12.0, keep=0.3).sample(80, seed=0).astype(float)
    frame["born"] = np.nan
    frame.loc[70:, "group"] = np.nan
    likelihood, account = built(thinned, frame)
    assert "all but 1e-12" in account[0]

    def truth(rate, keep):
        seen = torch.tensor(frame["seen"].to_numpy())
        arms = torch.stack(
            [torch.distributions.Poisson(rate * keep * (1 + g)).log_prob(seen) + np.log(0.5) for g in (0, 1)]
        )
        group = torch.tensor(frame["group"].to_numpy())
        known = torch.where(group == 1, arms[1], arms[0])
        return torch.where(torch.isnan(group), arms.logsumexp(0), known).sum()

    for at in (vector(12.0, 0.3), vector(40.0, 0.1), vector(3.0, 0.9)):
        assert abs(float(likelihood(at) - truth(*at))) <= 1e-8
        pairs = [torch.autograd.functional.hessian(f, at) for f in (likelihood, lambda v: truth(*v))]
        assert torch.allclose(*pairs, rtol=1e-8, atol=1e-8)
