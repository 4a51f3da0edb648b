"""A parameter that moves the likelihood without a gradient is refused by name, not returned as its prior."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm
from pcm.errors import FitError


def threshold(n):
    tau = pyro.sample("tau", dist.Normal(0.0, 1.0))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(3.0 * (x > tau), 1.0))


def switch(n):
    w = pyro.sample("w", dist.Normal(0.0, 1.0))
    slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(torch.where(w > 0, slope * x, -slope * x), 1.0))


def idle(n):
    pyro.sample("unused", dist.Normal(0.0, 1.0))
    slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(slope * x, 1.0))


@pytest.mark.parametrize(("program", "name"), [(threshold, "tau"), (switch, "w")], ids=["threshold", "switch"])
@pytest.mark.parametrize("method", ["laplace", "map"])
def test_a_step_is_refused_with_the_parameter_named(program, name, method):
    scm = pcm.SCM(program)
    frame = scm.given(dict.fromkeys(scm.parameters, 1.0)).sample(100, seed=0)
    with pytest.raises(FitError, match=f"parameter '{name}' enters 'y' without a gradient"):
        scm.fit(frame, method, progress=False)


def test_a_parameter_that_nothing_reads_keeps_its_prior():
    scm = pcm.SCM(idle)
    frame = scm.given(unused=0.0, slope=1.0).sample(200, seed=0)
    fitted = scm.fit(frame, seed=0, progress=False, draws=2000)
    assert abs(float(fitted.posterior["unused"].std()) - 1.0) < 0.1
    assert abs(float(fitted.posterior.mean("slope")) - 1.0) < 0.3
