from __future__ import annotations

import math

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pcm.couplings import tail

LOG_2 = math.log(2)


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_conversions() -> None:
    uniform = double(1e-300, 1e-20, 0.25, 0.5, 0.75, 1 - 2**-53)
    t = tail.from_uniform(uniform)
    torch.testing.assert_close(tail.to_cdf(t), uniform, rtol=1e-13, atol=0)
    torch.testing.assert_close(tail.to_sf(t)[-1].item(), 2**-53, rtol=1e-13, atol=0)
    assert bool((t[1:] > t[:-1]).all())
    assert bool((t.abs() >= LOG_2 - 1e-15).all())
    torch.testing.assert_close(tail.from_probabilities(uniform, 1 - uniform), t, rtol=1e-15, atol=0)
    torch.testing.assert_close(tail.hazard(t)[0].item(), 1e-300, rtol=1e-12, atol=0)
    torch.testing.assert_close(tail.hazard(t)[2:], -torch.log1p(-uniform[2:]), rtol=1e-14, atol=0)


@given(st.floats(-700, 700))
def test_from_logit(logit) -> None:
    with mpmath.workdps(60):
        u = 1 / (1 + mpmath.exp(-mpmath.mpf(logit)))
        expected = float(mpmath.log(u) if logit <= 0 else -mpmath.log(1 - u)) if abs(logit) < 100 else None
    found = tail.from_logit(double(logit)).item()
    assert found == pytest.approx(expected if expected is not None else logit, rel=1e-14)
    assert tail.from_logit(double(-logit)).item() == -found or logit == 0


tails = st.one_of(st.floats(-800, -LOG_2), st.floats(LOG_2, 800))


@given(tails, tails, st.floats(1e-12, 1 - 1e-12))
@settings(max_examples=150)
def test_between_and_mass_against_sixty_digits(first, second, uniform) -> None:
    low, high = sorted((first, second))
    if low == high:
        return
    t = tail.between(double(low), double(high), double(uniform)).item()
    assert low < t <= high
    with mpmath.workdps(800):
        cdf = lambda t: mpmath.exp(t) if t < 0 else 1 - mpmath.exp(-mpmath.mpf(t))  # noqa: E731
        a, b = cdf(low), cdf(high)
        u = a + mpmath.mpf(uniform) * (b - a)
        expected = mpmath.log(u) if u <= 0.5 else -mpmath.log(1 - u)
        # at the median itself either side is right
        assert abs(t - expected) < 1e-13 * abs(expected) + 1e-14 or abs(u - 0.5) < 1e-14
        mass = float(b - a)
    one_tail = low > 0 or high < 0
    assert tail.mass(double(low), double(high)).item() == pytest.approx(
        mass, rel=1e-12 if one_tail and high - low > 1e-3 else 1e-9, abs=0 if one_tail and high - low > 1e-3 else 1e-15
    )


def test_mass_of_whole_and_empty() -> None:
    inf = torch.inf
    low, high = double(-inf, -inf, 1.0, 2.0, inf, -inf), double(inf, -1.0, inf, 1.0, inf, -inf)
    expected = double(1.0, math.exp(-1), math.exp(-1), 0.0, 0.0, 0.0)
    torch.testing.assert_close(tail.mass(low, high), expected, rtol=1e-15, atol=0)


def test_between_never_leaves_the_narrowest_interval() -> None:
    low = double(-30.0, 30.0, -LOG_2, 5.0)
    high = torch.nextafter(low, torch.full_like(low, torch.inf))
    for uniform in (1e-300, 0.3, 1 - 2**-53):
        assert torch.equal(tail.between(low, high, double(uniform)), high)
