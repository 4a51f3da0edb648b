"""Published numbers, far tails and large counts, against mpmath and closed forms."""

from __future__ import annotations

import mpmath
import pyro.distributions as dist
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pcm.couplings import resolve


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_gumbel_max_fixture() -> None:
    p, q = dist.Categorical(torch.tensor([0.5, 0.3, 0.2])), dist.Categorical(torch.tensor([0.2, 0.3, 0.5]))
    coupling, bare = resolve(p)
    rows = coupling.transition(bare, torch.arange(3), resolve(q)[1])
    expected = torch.tensor([[0.4, 0.138462, 0.461538], [0.0, 0.769231, 0.230769], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(rows, expected, rtol=0, atol=1e-6)


@given(st.lists(st.floats(-6, 6), min_size=2, max_size=6), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_gumbel_max_staying_is_the_published_form(logits, seed) -> None:
    old = torch.tensor(logits, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    new = old + torch.randn(len(logits), generator=generator, dtype=torch.float64)
    p, q = torch.softmax(old, -1), torch.softmax(new, -1)
    coupling, bare = resolve(dist.Categorical(logits=old))
    rows = coupling.transition(bare, torch.arange(len(logits)), dist.Categorical(logits=new))
    ratio = q / p
    stay = 1 / (1 + (p * (torch.clamp(ratio / ratio[:, None], min=1) - 1)).sum(-1))
    torch.testing.assert_close(rows.diagonal(), stay, rtol=1e-10, atol=0)
    torch.testing.assert_close(p @ rows, q, rtol=1e-9, atol=1e-14)
    # counterfactual stability: j is reached from i only if its odds against i rose
    risen = ratio[None, :] > ratio[:, None]
    assert bool((rows[~risen & ~torch.eye(len(logits), dtype=torch.bool)] == 0).all())


def test_impossible_outcomes() -> None:
    old = dist.Categorical(logits=torch.tensor([0.0, -torch.inf, 1.0]))
    new = dist.Categorical(logits=torch.tensor([-torch.inf, 2.0, 0.0]))
    for name in ("gumbel_max", "monotone"):
        coupling, bare = resolve(old, name)
        rows = coupling.transition(bare, torch.tensor([0, 2]), new)
        weights = torch.softmax(torch.tensor([0.0, 1.0]), -1)
        torch.testing.assert_close(weights @ rows, new.probs, rtol=1e-12, atol=1e-15)
        uniform = torch.rand((500, 2, *coupling.noise_event(bare)), generator=torch.Generator().manual_seed(0))
        noise = coupling.abduct(bare, torch.tensor([0, 2]), uniform)
        assert torch.equal(coupling.push(bare, noise), torch.tensor([0, 2]).expand(500, 2))
        assert bool((coupling.push(new, noise) != 0).all())


EXTREME = [
    (lambda: dist.StudentT(3.0), [-1e6, -50.0, -0.5, 0.5, 50.0, 1e6, 1e12]),
    (lambda: dist.Gamma(2.0, 1.0), [1e-12, 45.0, 700.0, 2000.0]),
    (lambda: dist.Gamma(0.05, 1.0), [1e-100, 1e-3, 45.0]),
    (lambda: dist.InverseGamma(2.0, 1.0), [1e-3, 1e-2, 1.0, 1e12]),
    (lambda: dist.Exponential(1.0), [1e-300, 1e-12, 700.0, 1e5]),
    (lambda: dist.Normal(0.0, 1.0), [-38.0, 38.0, 1e8]),
    (lambda: dist.Beta(0.5, 0.5), [1e-300, 1e-12, 1 - 1e-12]),
    (lambda: dist.Beta(200.0, 3.0), [1e-3, 0.3, 0.9999999]),
    (lambda: dist.Kumaraswamy(2.0, 3.0), [1e-100, 1e-9, 1 - 1e-12]),
    (lambda: dist.HalfCauchy(1.0), [1e-12, 1e12]),
    (lambda: dist.LogNormal(0.0, 1.0), [1e-100, 1e100]),
    (lambda: dist.Weibull(1.0, 0.5), [1e-12, 1e6]),
    (lambda: dist.Pareto(1.0, 2.0), [1 + 1e-12, 1e100]),
    (lambda: dist.Gumbel(0.0, 1.0), [-700.0, 700.0]),
]


@pytest.mark.parametrize(("build", "values"), EXTREME)
def test_extreme_tails_round_trip(build, values) -> None:
    value = torch.tensor(values, dtype=torch.float64)
    coupling, bare = resolve(build().expand(value.shape))
    noise = coupling.abduct(bare, value)
    assert bool(torch.isfinite(noise).all())
    torch.testing.assert_close(coupling.push(bare, noise), value, rtol=1e-11, atol=0)


@pytest.mark.parametrize(
    ("old", "new", "value", "expected"),
    [
        # sf of t_3 at 50 and of t_5 at the answer; Gamma and Beta alike, by 50-digit arithmetic
        ("t", (3, 5), 50.0, None),
        ("t", (3, 5), -2000.0, None),
        ("gamma", (2, 3), 45.0, None),
        ("gamma", (2, 0.5), 700.0, None),
        ("beta", ((2, 3), (5, 1)), 1e-9, None),
        ("beta", ((2, 3), (2, 7)), 1 - 1e-9, None),
    ],
)
def test_transport_in_the_tails_against_fifty_digits(old, new, value, expected) -> None:
    def survival(parameter, x):
        if old == "t":
            half = (
                mpmath.betainc(mpmath.mpf(parameter) / 2, 0.5, 0, parameter / (parameter + x * x), regularized=True) / 2
            )
            return half if x > 0 else 1 - half
        if old == "gamma":
            return mpmath.gammainc(parameter, x, mpmath.inf, regularized=True)
        return mpmath.betainc(*parameter, x, 1, regularized=True)

    make = {
        "t": lambda p: dist.StudentT(torch.tensor(float(p), dtype=torch.float64)),
        "gamma": lambda p: dist.Gamma(torch.tensor(float(p), dtype=torch.float64), 1.0),
        "beta": lambda p: dist.Beta(*(torch.tensor(float(each), dtype=torch.float64) for each in p)),
    }[old]
    coupling, bare = resolve(make(new[0]))
    moved = coupling.transport(bare, torch.tensor(value, dtype=torch.float64), resolve(make(new[1]))[1]).item()
    with mpmath.workdps(50):
        before, after = survival(new[0], mpmath.mpf(value)), survival(new[1], mpmath.mpf(moved))
        if before > 0.5:
            before, after = 1 - before, 1 - after
        # 1 - 1e-9 is known to 1e-16, its distance from 1 to 1e-7
        assert abs(after / before - 1) < (1e-6 if old == "beta" else 1e-10)


COUNTS = [
    (lambda: dist.Poisson(1e6), [0.0, 9e5, 999_999.0, 1e6, 1.1e6]),
    (lambda: dist.Poisson(1e-20), [0.0, 1.0, 7.0]),
    (lambda: dist.Poisson(3.0), [0.0, 3.0, 60.0, 400.0]),
    (lambda: dist.Binomial(1_000_000, 1e-6), [0.0, 1.0, 50.0, 1_000_000.0]),
    (lambda: dist.Binomial(30, 1e-20), [0.0, 1.0, 30.0]),
    (lambda: dist.Binomial(30, logits=torch.tensor(46.0)), [0.0, 29.0, 30.0]),
    (lambda: dist.Geometric(1e-12), [0.0, 5.0, 1e12, 1e14]),
    (lambda: dist.Geometric(1 - 1e-12), [0.0, 1.0, 20.0]),
    (lambda: dist.NegativeBinomial(0.3, 0.999), [0.0, 1.0, 1e5]),
    (lambda: dist.NegativeBinomial(500.0, 1e-20), [0.0, 1.0, 12.0]),
    (lambda: dist.Bernoulli(torch.tensor(1e-20)), [0.0, 1.0]),
    (lambda: dist.Bernoulli(logits=torch.tensor(46.0)), [0.0, 1.0]),
    (lambda: dist.Bernoulli(logits=torch.tensor(-700.0)), [0.0, 1.0]),
]


@pytest.mark.parametrize(("build", "values"), COUNTS)
def test_extreme_counts_round_trip(build, values) -> None:
    value = torch.tensor(values, dtype=torch.float64)
    coupling, bare = resolve(build().expand(value.shape))
    ends = torch.tensor([1e-300, 1e-20, 2**-53, 0.5, 1 - 2**-53], dtype=torch.float64)
    uniform = torch.cat([ends, torch.rand(500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)])
    uniform = uniform[:, None].expand(-1, len(value))
    assert torch.equal(coupling.push(bare, coupling.abduct(bare, value, uniform)), value.expand(uniform.shape))


@given(
    st.floats(0.01, 60.0),
    st.floats(0.01, 60.0),
    st.integers(0, 80),
)
@settings(max_examples=60, deadline=None)
def test_poisson_expectation_is_the_sum(rate, other_rate, count) -> None:
    coupling, fn = resolve(dist.Poisson(torch.tensor(rate, dtype=torch.float64)))
    other, value = dist.Poisson(torch.tensor(other_rate, dtype=torch.float64)), torch.tensor(float(count))
    outcomes = torch.arange(600.0)
    share = coupling.probability(fn, value, other, outcomes)
    torch.testing.assert_close(share.sum(), torch.tensor(1.0), rtol=1e-9, atol=0)
    expected = (share * outcomes).sum()
    torch.testing.assert_close(coupling.expectation(fn, value, other), expected, rtol=1e-8, atol=1e-9)


@given(st.floats(-40, 40), st.floats(-40, 40))
@settings(max_examples=80, deadline=None)
def test_bernoulli_transition_keeps_its_tails(old, new) -> None:
    coupling, fn = resolve(dist.Bernoulli(logits=torch.tensor(old, dtype=torch.float64)))
    other = dist.Bernoulli(logits=torch.tensor(new, dtype=torch.float64))
    rows = coupling.transition(fn, torch.tensor([0.0, 1.0]), other)
    with mpmath.workdps(60):
        p, q = 1 / (1 + mpmath.exp(-mpmath.mpf(old))), 1 / (1 + mpmath.exp(-mpmath.mpf(new)))
        expected = [[min((1 - q) / (1 - p), 1), max(q - p, 0) / (1 - p)], [max(p - q, 0) / p, min(q / p, 1)]]
    expected = torch.tensor([[float(each) for each in row] for row in expected], dtype=torch.float64)
    torch.testing.assert_close(rows, expected, rtol=1e-12, atol=1e-300)


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.floats(-30, 30))
@settings(max_examples=80, deadline=None)
def test_location_scale_against_fifty_digits(loc, scale, new_loc, new_scale, z) -> None:
    value = loc + scale * z
    wide = torch.tensor([loc, scale, new_loc, new_scale, value], dtype=torch.float64)
    coupling, fn = resolve(dist.Normal(wide[0], wide[1]))
    found = coupling.transport(fn, wide[4], dist.Normal(wide[2], wide[3])).item()
    with mpmath.workdps(50):
        expected = new_loc + (mpmath.mpf(value) - loc) / scale * mpmath.mpf(new_scale)
        error = abs(found - expected)
    assert float(error) <= 1e-12 * max(1.0, abs(value), abs(loc), abs(float(expected)))
