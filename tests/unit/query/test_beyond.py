"""Values that are no numbers any more: NaN parameters and counts beyond the whole numbers of a float."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm


def logged():
    x = pyro.sample("x", dist.Normal(0.0, 1.0))
    y = pyro.sample("y", dist.Normal(torch.log(x), 1.0))
    pyro.sample("z", dist.Normal(y, 1.0))


EVIDENCE = {"x": [-1.0, 1.0], "y": [0.0, 0.0], "z": [0.0, 1.0]}


def test_a_distribution_that_the_query_does_not_need_may_be_no_number() -> None:
    # y is set, so its distribution (NaN for the first unit) is not asked for: z keeps its noise, z' = z + 1
    cf = pcm.SCM(logged).counterfactual(EVIDENCE, do={"y": 1.0})
    assert cf.mean("z").tolist() == [1.0, 2.0] and cf.account.sites["y"].abduction == "not needed"


def test_a_distribution_that_the_query_needs_is_refused_by_name() -> None:
    with pytest.raises(pcm.PCMError, match=r"'y' a value that is not finite for 1 of 2 units \(first: 0\)"):
        pcm.SCM(logged).counterfactual(EVIDENCE, do={"x": 1.0})


def test_a_parameter_that_is_no_number_is_refused_by_name() -> None:
    def level(n):
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        with pyro.plate("units", n):
            pyro.sample("x", dist.Normal(a, 1.0))

    with pytest.raises(pcm.PCMError, match=r"given\(a=…\): the value is not finite"):
        pcm.SCM(level).given(a=math.nan)


def visits():
    a = pyro.sample("a", dist.Normal(1.0, 1.0))
    pyro.sample("count", dist.Poisson(torch.exp(a)))


def test_a_count_beyond_the_whole_numbers_is_refused_by_name() -> None:
    words = r"gives 'count' \(Poisson\) a count of 2\*\*53 or more for 3 of 3 units"
    with pytest.raises(pcm.PCMError, match=words):
        pcm.SCM(visits).do(a=60.0).sample(3, seed=0)
    with pytest.raises(pcm.PCMError, match=r"world 'do' the program gives 'count' .* 1 of 1 units"):
        pcm.SCM(visits).counterfactual({"a": [1.0], "count": [3.0]}, do={"a": 60.0}).mean("count")
    assert pcm.SCM(visits).do(a=30.0).sample(3, seed=0)["count"].min() > 1e13
