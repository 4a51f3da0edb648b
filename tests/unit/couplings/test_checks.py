from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch
import torch.distributions as td

from pcm.couplings import check_distribution, check_value
from pcm.errors import SupportError
from tests.unit.couplings.cases import CASES, name_of

NAN, INF = torch.nan, torch.inf


@pytest.fixture(autouse=True)
def _unvalidated():
    td.Distribution.set_default_validate_args(False)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
    td.Distribution.set_default_validate_args(True)


def at(value: float, row: int = 2, fill: float = 0.5, units: int = 5) -> torch.Tensor:
    tensor = torch.full((units,), fill)
    tensor[row] = value
    return tensor


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_every_family_passes_its_own_members_and_draws(case) -> None:
    fn = case.member(0)
    for each in (fn, fn.to_event(1), dist.MaskedDistribution(fn, False), dist.ExpandedDistribution(fn, fn.batch_shape)):
        check_distribution(each, "x")
        check_value(each, fn.sample(), "x")


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_every_family_refuses_nan_parameters_and_values(case) -> None:
    parameters = case.parameters(0)
    for k in range(len(parameters)):
        spoilt = [each.clone() for each in parameters]
        spoilt[k][3] = NAN
        fn = None
        try:
            fn = case.build(*spoilt)
        except (ValueError, RuntimeError):  # torch found it first
            continue
        with pytest.raises(SupportError, match="'dose'") as caught:
            check_distribution(fn, "dose")
        assert caught.value.rows == [3], (name_of(case), k)  # pyright: ignore
    fn = case.member(0)
    value = fn.sample()
    if value.is_floating_point():
        value[3] = NAN
        with pytest.raises(SupportError) as caught:
            check_value(fn, value, "dose")
        assert caught.value.rows == [3]  # pyright: ignore


BAD_PARAMETERS = [
    (lambda: dist.Normal(torch.zeros(5), at(-1.0)), "scale", -1.0, [2]),
    (lambda: dist.Normal(at(INF), 1.0), "loc", INF, [2]),
    (lambda: dist.Normal(torch.zeros(5), -1.0), "scale", -1.0, [0, 1, 2, 3, 4]),
    (lambda: dist.Normal(torch.zeros(5), 1.0).expand([3, 5]), None, None, None),
    (lambda: dist.LogNormal(torch.zeros(5), at(0.0)), "scale", 0.0, [2]),
    (lambda: dist.Bernoulli(at(1.5)), "probs", 1.5, [2]),
    (lambda: dist.Bernoulli(logits=at(INF)), None, None, None),
    (lambda: dist.Bernoulli(logits=at(NAN)), "logits", NAN, [2]),
    (lambda: dist.Uniform(torch.zeros(5), at(-1.0)), "high", -1.0, [2]),
    (lambda: dist.Uniform(torch.zeros(5), at(0.0)), "high", 0.0, [2]),
    (lambda: dist.Gamma(at(0.0), 1.0), "concentration", 0.0, [2]),
    (lambda: dist.Poisson(at(-1.0)), "rate", -1.0, [2]),
    (lambda: dist.Binomial(at(2.5, fill=3.0), 0.5), "total_count", 2.5, [2]),
    (lambda: dist.Categorical(torch.tensor([[0.5, 0.5], [-1.0, 2.0]])), "probs", -1.0, [1]),
    (lambda: dist.Categorical(logits=torch.tensor([[0.5, -INF], [NAN, 2.0]])), "logits", NAN, [1]),
    (lambda: dist.Normal(torch.zeros(5, 2), torch.ones(5, 2) * at(-1.0)[:, None]).to_event(1), "scale", -1.0, [2]),
    (lambda: dist.Normal(torch.zeros(3, 5), at(-1.0)).mask(True), "scale", -1.0, [2]),
    (
        lambda: dist.TransformedDistribution(dist.Normal(torch.zeros(5), at(-1.0)), [td.ExpTransform()]),
        "scale",
        -1.0,
        [2],
    ),
    (
        lambda: dist.TransformedDistribution(
            dist.Normal(torch.zeros(5, 2), at(-1.0)[:, None].expand(5, 2)).to_event(1), [td.AffineTransform(0.0, 2.0)]
        ),
        "scale",
        -1.0,
        [2],
    ),
    (
        lambda: dist.OrderedLogistic(torch.zeros(2), torch.tensor([1.0, 0.0])),
        "cutpoints",
        [1.0, 0.0],
        [0, 1],
    ),
]


@pytest.mark.parametrize(("build", "parameter", "value", "rows"), BAD_PARAMETERS)
def test_parameters(build, parameter, value, rows) -> None:
    fn = build()
    if parameter is None:
        check_distribution(fn, "dose")
        return
    with pytest.raises(SupportError) as caught:
        check_distribution(fn, "dose")
    error = caught.value
    assert error.site == "dose"  # pyright: ignore
    assert error.parameter == parameter  # pyright: ignore
    assert error.value == value or value != value  # pyright: ignore
    assert error.rows == rows  # pyright: ignore
    assert f"'dose': the {parameter} of" in str(error)


BAD_VALUES = [
    (lambda: dist.Bernoulli(0.5), at(0.5, fill=1.0), "0 or 1", [2]),
    (lambda: dist.Categorical(logits=torch.zeros(4)), torch.tensor([0, 3, 4, -1]), "integers 0..3", [2, 3]),
    (lambda: dist.Exponential(1.0), at(-1.0), "reals from 0", [2]),
    (lambda: dist.LogNormal(0.0, 1.0), at(0.0), "positive reals", [2]),
    (lambda: dist.Normal(0.0, 1.0), at(INF), "finite reals", [2]),
    (lambda: dist.Poisson(1.0), at(0.25, fill=3.0), "integers from 0", [2]),
    (lambda: dist.Poisson(1.0), at(-1.0, fill=3.0), "integers from 0", [2]),
    (lambda: dist.Beta(1.0, 2.0), at(1.25), "reals between 0 and 1", [2]),
    (lambda: dist.Uniform(-1.0, 3.0), at(3.5), "reals between -1 and 3", [2]),
    (lambda: dist.Uniform(at(0.9, fill=0.0), 3.0), at(0.5), r"\(0 to 0.9, by unit\) and 3", [2]),
    (lambda: dist.Binomial(4, torch.full((5,), 0.5)), at(5.0, fill=4.0), "integers 0..4", [2]),
    (lambda: dist.Pareto(1.0, torch.full((5,), 2.0)), at(0.5, fill=2.0), "reals .* 1", [2]),
    (lambda: dist.OneHotCategorical(logits=torch.zeros(3)), torch.tensor([[1.0, 0, 0], [1, 1, 0]]), "single 1", [1]),
    (lambda: dist.Normal(torch.zeros(5, 2), 1.0).to_event(1), at(NAN)[:, None].expand(5, 2), "finite", [2]),
    (lambda: dist.MultivariateNormal(torch.zeros(5, 2), torch.eye(2)), at(NAN)[:, None].expand(5, 2), "finite", [2]),
]


@pytest.mark.parametrize(("build", "value", "words", "rows"), BAD_VALUES)
def test_values(build, value, words, rows) -> None:
    with pytest.raises(SupportError, match=words) as caught:
        check_value(build(), value, "dose")
    assert caught.value.rows == rows  # pyright: ignore
    assert caught.value.site == "dose"  # pyright: ignore


def test_bounds_that_differ_between_units_are_each_their_own() -> None:
    fn = dist.Uniform(torch.tensor([0.0, 10.0]), torch.tensor([1.0, 11.0]))
    check_value(fn, torch.tensor([0.5, 10.5]), "x")
    with pytest.raises(SupportError) as caught:
        check_value(fn, torch.tensor([0.5, 0.5]), "x")
    assert caught.value.rows == [1]  # pyright: ignore


def test_booleans_and_integers_are_values() -> None:
    check_value(dist.Bernoulli(0.5), torch.tensor([True, False]))
    check_value(dist.Poisson(0.5), torch.tensor([1, 0]))
