"""Quadrature that has to go far out for a heavy tail, where ``exp(latent)`` overflows: those places weigh nothing."""

from __future__ import annotations

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import special, stats

import pcm
from pcm.errors import PCMError
from pcm.program import Program
from pcm.query.likelihood import target_of
from pcm.query.model import Model


def counts(n):
    b = pyro.sample("b", dist.Normal(0.0, 2.0))
    with pyro.plate("units", n):
        z = pyro.sample("z", dist.StudentT(4.0, 0.0, 1.0))
        pyro.sample("w", dist.Poisson(torch.exp(b + z)))


DATA = {"z": [float("nan")] * 4, "w": [0.0, 1.0, 3.0, 40.0]}


def truth(b):
    """Log likelihood by the trapezoid rule in s, z = sinh(s) / 2, out to 1e5."""
    s = np.linspace(-np.arcsinh(2e5), np.arcsinh(2e5), 40_001)
    z = np.sinh(s) / 2
    total = stats.norm.logpdf(b, 0, 2)
    for w in DATA["w"]:
        with np.errstate(over="ignore"):
            rate = w * (b + z) - np.exp(b + z) - special.gammaln(w + 1)
        density = np.exp(stats.t.logpdf(z, 4) + rate) * np.cosh(s) / 2
        total += np.log(density.sum() * (s[1] - s[0]))
    return total


def test_the_likelihood_of_a_heavy_tail_that_overflows():
    target, marginal = target_of(Model(Program(counts)), DATA)
    for b in (0.4, -1.5, 2.0):
        at = torch.tensor(b, dtype=torch.float64, requires_grad=True)
        found = target.log_density({"b": at})
        slope = torch.autograd.grad(found, at)[0]
        assert float(found.detach()) == pytest.approx(truth(b), abs=1e-7)
        assert float(slope) == pytest.approx((truth(b + 1e-5) - truth(b - 1e-5)) / 2e-5, abs=1e-6)
    assert marginal is not None and "quadrature" in marginal.account[0]


def test_the_fit_ends():
    scm = pcm.SCM(counts)
    frame = scm.given(b=1.0).sample(100, seed=0)
    frame.loc[::2, "z"] = float("nan")
    fitted = scm.fit(frame, seed=0, draws=20, progress=False)
    assert abs(float(fitted.posterior.mean("b")) - 1.0) < 0.3


def test_what_is_not_a_number_where_the_density_is_alive_is_no_zero():
    """sqrt(1.5 − z) has no value for 7 in 100: those are not left out in silence."""

    def program(n):
        b = pyro.sample("b", dist.Normal(0.0, 2.0))
        with pyro.plate("units", n):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(b * torch.sqrt(1.5 - z), 1.0))

    with pytest.raises(PCMError, match=r"not finite|NaN|nan"):
        pcm.SCM(program).fit({"z": [float("nan")] * 3, "y": [0.3, 1.0, -0.5]}, progress=False)
