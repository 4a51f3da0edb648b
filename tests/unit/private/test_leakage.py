"""The smallest ε of two laws, against the definition over every event."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest

from pcm.private.leakage import leak_between, smallest_epsilon


def every_event(p, q, delta):
    """The definition: the largest log((P(S) − δ) / Q(S)) over all events."""
    outputs = range(len(p))
    worst = 0.0
    for event in chain.from_iterable(combinations(outputs, size) for size in range(1, len(p) + 1)):
        above, below = p[list(event)].sum() - delta, q[list(event)].sum()
        if above > 1e-15:
            worst = max(worst, np.log(above / below) if below > 0 else np.inf)
    return worst


@pytest.mark.parametrize("delta", [0.0, 1e-3, 0.05, 0.3])
def test_every_event(delta):
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(6) / 2, size=(2, 200))
    expected = [every_event(*pair, delta) for pair in zip(p, q, strict=True)]
    np.testing.assert_allclose(smallest_epsilon(p, q, delta), expected, rtol=1e-9, atol=1e-12)


def test_an_impossible_output_is_infinite_until_delta_covers_it():
    p, q = np.array([0.9, 0.1]), np.array([1.0, 0.0])
    assert smallest_epsilon(p, q) == np.inf
    assert smallest_epsilon(p, q, 0.05) == np.inf
    assert smallest_epsilon(p, q, 0.1) == 0.0


def test_gaussian_mechanism_by_quadrature():
    """Balle & Wang 2018: δ(ε) = Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ)."""
    from scipy.stats import norm

    mu, epsilon = 1.0, 1.5
    delta = norm.cdf(mu / 2 - epsilon / mu) - np.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)
    edges = np.linspace(-12, 13, 200_001)
    p, q = np.diff(norm.cdf(edges, mu)), np.diff(norm.cdf(edges))
    assert smallest_epsilon(p, q, delta) == pytest.approx(epsilon, abs=1e-6)


def test_leak_leaves_out_what_cannot_be():
    joint = np.zeros((2, 2, 2))
    joint[0, 0], joint[1, 0], joint[0, 1] = [0.2, 0.1], [0.1, 0.2], [0.1, 0.3]  # known = 1 rules secret 1 out
    assert leak_between(joint)[0] == pytest.approx(np.log(2))
    joint[1, 0] = 0.0
    assert leak_between(joint) == (0.0, None)
