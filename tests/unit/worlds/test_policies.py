"""A policy is elementwise over units, and networks' priors and captured tensors take the program's dtype."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule, PyroSample

import pcm
from pcm.errors import UnitMixingError

SHIFT = torch.tensor([[0.1, 0.2]])
PRIOR = dist.Normal(0.0, 1.0)


def pair():
    x = pyro.sample("x", dist.Normal(0.0, 1.0))
    pyro.sample("y", dist.Normal(2.0 * x, 1.0))


@pytest.mark.parametrize(
    "policy",
    [lambda x: x - x.mean(), lambda x: x.sort().values, lambda x: x.flip(-1), lambda x: x / len(x), lambda x: x[0]],
    ids=["mean", "sort", "flip", "number", "first"],
)
def test_a_policy_that_reads_other_units_is_refused(policy):
    with pytest.raises(UnitMixingError, match=r"do\(x=…\)"):
        pcm.SCM(pair).do(x=policy)


@pytest.mark.parametrize(
    "policy", [lambda x: x + 1, lambda x: torch.where(x > 0, x, 0.0), lambda x: 3.0], ids=["shift", "where", "constant"]
)
def test_an_elementwise_policy_is_accepted(policy):
    frame = pcm.SCM(pair).do(x=policy).sample(5, seed=0)
    assert frame.notna().all().all()


class Bayesian(PyroModule):
    def __init__(self):
        super().__init__()
        self.linear = PyroModule[torch.nn.Linear](1, 1)
        self.linear.weight = PyroSample(dist.Normal(0.0, 1.0).expand([1, 1]).to_event(2))

    def forward(self, n):
        linear = self.linear
        weight = linear.weight
        with pyro.plate("units", n):
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal((x[..., None] @ weight.T)[..., 0], 0.1))


def test_priors_of_modules_and_captured_tensors_run_in_float64():
    assert pcm.SCM(Bayesian()).parameters == ("linear.weight",)

    def captured(n):
        slope = pyro.sample("slope", PRIOR)
        with pyro.plate("units", n):
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(slope * (x[..., None] @ SHIFT).sum(-1), 1.0))

    scm = pcm.SCM(captured).given(slope=1.0)
    cf = scm.counterfactual({"x": [0.0], "y": [0.5]}, do={"x": 1.0})
    assert abs(cf.mean("y")[0] - 0.8) < 1e-7 and SHIFT.dtype == torch.float32
