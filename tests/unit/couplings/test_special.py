from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch.fx.experimental.proxy_tensor import make_fx

from pcm.couplings import incomplete, special


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def signed(lower, upper):
    return float(mpmath.log(lower) if lower <= upper else -mpmath.log(upper))


@given(st.floats(-2, 3), st.floats(-4, 2))
@settings(max_examples=60)
def test_gamma_tail_against_fifty_digits(log_shape, log_ratio) -> None:
    a = 10**log_shape
    x = a * 10**log_ratio
    with mpmath.workdps(50):
        lower = mpmath.gammainc(a, 0, x, regularized=True)
        upper = mpmath.gammainc(a, x, mpmath.inf, regularized=True)
        expected = signed(lower, upper)
    found = special.gamma_tail(double(x), double(a)).item()
    assert found == pytest.approx(expected, rel=1e-11, abs=1e-12)
    if found > -700 * a:
        back = special.gamma_quantile(double(found), double(a)).item()
        assert back == pytest.approx(x, rel=1e-10)


@given(st.floats(-2, 2.5), st.floats(-2, 2.5), st.floats(-8, 8))
@settings(max_examples=60)
def test_beta_tail_against_fifty_digits(log_a, log_b, logit) -> None:
    a, b = 10**log_a, 10**log_b
    p, q = 1 / (1 + np.exp(-logit)), 1 / (1 + np.exp(logit))
    with mpmath.workdps(50):
        # p and q are rounded each on its own: the smaller one is what is meant
        small = mpmath.mpf(min(p, q))
        at = small if p < q else 1 - small
        lower = mpmath.betainc(a, b, 0, at, regularized=True)
        upper = mpmath.betainc(b, a, 0, 1 - at, regularized=True)
        expected = signed(lower, upper)
    found = special.beta_tail(double(p), double(q), double(a), double(b)).item()
    assert abs(found) == pytest.approx(abs(expected), rel=1e-11, abs=1e-12)
    assert np.sign(found) == np.sign(expected) or abs(expected) < 0.694
    if 1e-300 < p < 1 - 1e-4:
        assert special.beta_quantile(double(found), double(a), double(b)).item() == pytest.approx(p, rel=1e-9)


@pytest.mark.parametrize(("a", "x"), [(1.0, 5000.0), (30.0, 1e-40), (2.0, 1e-200), (1000.0, 1e5)])
def test_gamma_below_underflow(a, x) -> None:
    with mpmath.workdps(60):
        if x > a:
            expected = -float(mpmath.log(mpmath.gammainc(a, x, mpmath.inf, regularized=True)))
        else:
            expected = float(mpmath.log(mpmath.gammainc(a, 0, x, regularized=True)))
    found = special.gamma_tail(double(x), double(a))
    assert found.item() == pytest.approx(expected, rel=1e-13)
    assert special.gamma_quantile(found, double(a)).item() == pytest.approx(x, rel=1e-12)


@pytest.mark.parametrize("df", [0.5, 1.0, 3.0, 30.0, 1e6])
def test_student_quantile(df) -> None:
    probability = np.array([1e-12, 1e-3, 0.3, 0.5, 0.6, 0.99])
    t = torch.from_numpy(np.where(probability <= 0.5, np.log(probability), -np.log1p(-probability)))
    found = special.student_quantile(t, double(df)).numpy()
    np.testing.assert_allclose(found, stats.t.ppf(probability, df), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("quantile", "law"),
    [
        (lambda t: special.poisson_quantile(t, double(7.3)), stats.poisson(7.3)),
        (lambda t: special.binomial_quantile(t, double(40.0), double(0.3), double(0.7)), stats.binom(40, 0.3)),
        (
            lambda t: special.negative_binomial_quantile(t, double(2.5), double(0.8), double(0.2)),
            stats.nbinom(2.5, 0.2),
        ),
    ],
)
def test_count_quantiles(quantile, law) -> None:
    probability = (np.arange(1_000) + 0.5) / 1_000
    t = torch.from_numpy(np.where(probability <= 0.5, np.log(probability), -np.log1p(-probability)))
    np.testing.assert_array_equal(quantile(t).numpy(), law.ppf(probability))


def test_count_quantiles_at_the_ends() -> None:
    t = double(-torch.inf, torch.inf, torch.nan)
    assert special.binomial_quantile(t, double(5.0), double(0.3), double(0.7))[:2].tolist() == [0.0, 5.0]
    found = special.poisson_quantile(t, double(3.0))
    assert found[0] == 0
    assert found[1] > 1e15
    assert torch.isnan(found[2])
    assert special.poisson_quantile(double(-1.0), double(0.0)).item() == 0
    assert special.negative_binomial_quantile(double(30.0), double(0.0), double(0.3), double(0.7)).item() == 0


OPERATORS = [
    (special.gamma_tail, (double(0.5, 3.0, 45.0), double(2.0, 2.5, 3.0))),
    (special.gamma_quantile, (double(-3.0, -0.8, 20.0), double(2.0, 2.5, 3.0))),
    (special.beta_quantile, (double(-3.0, -0.8, 20.0), double(2.0, 2.5, 3.0), double(0.7, 1.5, 4.0))),
    (special.student_quantile, (double(-3.0, -0.8, 20.0), double(2.0, 2.5, 30.0))),
]


@pytest.mark.parametrize(("operator", "inputs"), OPERATORS)
def test_gradients(operator, inputs) -> None:
    leaves = tuple(each.clone().requires_grad_() for each in inputs)
    assert torch.autograd.gradcheck(operator, leaves, eps=1e-6, atol=1e-6, rtol=1e-5)
    for k in range(len(inputs)):
        direct = torch.func.grad(lambda *args: operator(*args).sum(), argnums=k)(*inputs)
        mapped = torch.func.vmap(torch.func.grad(operator, argnums=k))(*inputs)
        torch.testing.assert_close(direct, mapped)


def test_beta_tail_gradient_is_total_in_p() -> None:
    a, b = double(2.0), double(3.0)
    p = double(0.2, 0.9).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: special.beta_tail(p, 1 - p, a, b), (p,), eps=1e-7, rtol=1e-5)


@pytest.mark.parametrize(("operator", "inputs"), OPERATORS)
def test_vmap_over_any_dims(operator, inputs) -> None:
    lifted = [torch.stack([each, each + 0.1], 1) for each in inputs]
    mapped = torch.func.vmap(operator, in_dims=1)(*lifted)
    looped = torch.stack([operator(*(each[:, k] for each in lifted)) for k in range(2)])
    assert torch.equal(mapped, looped)
    # one mapped, the others broadcasting with fewer dims
    first = torch.stack([inputs[0], inputs[0] * 1.1])
    rest = [each[0] for each in inputs[1:]]
    mapped = torch.func.vmap(operator, in_dims=(0, *[None] * len(rest)))(first, *rest)
    assert torch.equal(mapped, torch.stack([operator(each, *rest) for each in first]))


@pytest.mark.parametrize(("operator", "inputs"), OPERATORS)
@pytest.mark.parametrize("mode", ["real", "fake"])
def test_make_fx(operator, inputs, mode) -> None:
    traced = make_fx(lambda *args: operator(*args) + 1, tracing_mode=mode)(*inputs)
    assert torch.equal(traced(*inputs), operator(*inputs) + 1)
    assert any("pcm" in str(node.target) for node in traced.graph.nodes)


def test_deep_tails_settle_within_rounding(monkeypatch) -> None:
    steps, lentz = [], incomplete._lentz
    monkeypatch.setattr(incomplete, "_lentz", lambda step, first: lentz(lambda n: (steps.append(n), step(n))[1], first))
    generator = np.random.default_rng(0)
    shape = torch.from_numpy(np.exp(generator.uniform(-2, 8, 200)))
    at = shape * (1 + torch.from_numpy(np.exp(generator.uniform(-1, 6, 200)))) + 2_000
    found = special.gamma_tail(at, shape)
    assert 1 <= len(steps) <= 100  # one unit in the last place short of 1, a ratio would go on for ever
    for place in (0, 99, 199):
        with mpmath.workdps(50):
            a, x = shape[place].item(), at[place].item()
            expected = -float(mpmath.log(mpmath.gammainc(a, x, mpmath.inf, regularized=True)))
        assert found[place].item() == pytest.approx(expected, rel=1e-14)
