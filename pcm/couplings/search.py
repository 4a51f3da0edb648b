"""Quantiles of counts: the smallest ``k`` whose signed log tail reaches ``t``, on numpy float64 arrays.

A Cornish-Fisher guess, then galloping and bisection on the very tail function that abduction uses, so that a count
pulled back to noise is found again whatever the rounding:  ``T(k - 1) < t <= T(k)`` holds to the bit.

>>> import numpy as np
>>> float(poisson_quantile(np.array([-0.7]), np.array([1e6]))[0])
999991.0
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pcm.couplings.incomplete import beta_tail, gamma_tail

__all__ = [
    "binomial_quantile",
    "binomial_tail",
    "negative_binomial_quantile",
    "negative_binomial_tail",
    "poisson_quantile",
    "poisson_tail",
]

Array = NDArray[np.float64]


def poisson_tail(k: Array, rate: Array) -> Array:
    """Signed log tail of ``P(X <= k) = Q(k + 1, rate)``; ``-inf`` below 0."""
    tail = -gamma_tail(rate, np.maximum(k, 0.0) + 1.0)
    return np.where(k < 0, -np.inf, tail)


def binomial_tail(k: Array, n: Array, p: Array, q: Array) -> Array:
    """Signed log tail of ``P(X <= k) = I_q(n - k, k + 1)``; ``-inf`` below 0, ``inf`` from ``n`` on."""
    inner = np.clip(k, 0.0, np.maximum(n - 1.0, 0.0))
    tail = beta_tail(q, p, np.maximum(n - inner, 1.0), inner + 1.0)
    return np.where(k < 0, -np.inf, np.where(k >= n, np.inf, tail))


def negative_binomial_tail(k: Array, r: Array, p: Array, q: Array) -> Array:
    """Signed log tail of ``P(X <= k) = I_q(r, k + 1)``; ``-inf`` below 0; all mass at 0 where ``r = 0``."""
    tail = beta_tail(q, p, np.where(r > 0, r, 1.0), np.maximum(k, 0.0) + 1.0)
    return np.where(k < 0, -np.inf, np.where(r > 0, tail, np.inf))


def poisson_quantile(t: Array, rate: Array) -> Array:
    """Smallest ``k`` with ``poisson_tail(k, rate) >= t``."""
    deviation = np.sqrt(rate)
    guess = _cornish_fisher(t, rate, deviation, 1.0 / np.maximum(deviation, 1e-150))
    return _smallest(guess, t, poisson_tail, np.full_like(t, np.inf), rate)


def binomial_quantile(t: Array, n: Array, p: Array, q: Array) -> Array:
    """Smallest ``k`` with ``binomial_tail(k, n, p, q) >= t``."""
    deviation = np.sqrt(n * p * q)
    guess = _cornish_fisher(t, n * p, deviation, (q - p) / np.maximum(deviation, 1e-150))
    return _smallest(guess, t, binomial_tail, n, n, p, q)


def negative_binomial_quantile(t: Array, r: Array, p: Array, q: Array) -> Array:
    """Smallest ``k`` with ``negative_binomial_tail(k, r, p, q) >= t``."""
    guess = _cornish_fisher(t, r * p / q, np.sqrt(r * p) / q, (1.0 + p) / np.maximum(np.sqrt(r * p), 1e-150))
    return _smallest(guess, t, negative_binomial_tail, np.full_like(t, np.inf), r, p, q)


def _cornish_fisher(t: Array, mean: Array, deviation: Array, skewness: Array) -> Array:
    z = -np.sign(t) * special.ndtri_exp(np.minimum(-np.abs(t), -1e-300))
    return np.ceil(mean + deviation * (z + (z * z - 1.0) * skewness / 6.0) - 0.5)


def _smallest(guess: Array, t: Array, tail: Callable[..., Array], last: Array, *parameters: Array) -> Array:
    """Smallest integer ``k`` in [0, last] with ``tail(k) >= t``; NaN where a parameter or ``t`` is."""
    k = np.clip(np.nan_to_num(guess, nan=0.0, posinf=2.0**53, neginf=0.0), 0.0, np.minimum(last, 2.0**53))
    bad = np.isnan(t) | np.any([np.isnan(each) for each in parameters], axis=0)
    # tail(low) < t <= tail(high) once both ends are found; -1 and `last` are ends without looking
    reached = tail(k, *parameters) >= t
    low, high = np.where(reached, -1.0, k), np.where(reached, k, last)
    active = np.flatnonzero(~bad)
    step = 1.0
    while active.size:
        up = ~reached[active]
        start = np.where(up, low[active], high[active])
        probe = np.where(up, np.minimum(start + step, last[active]), np.maximum(start - step, -1.0))
        over = tail(probe, *(each[active] for each in parameters)) >= t[active]
        high[active] = np.where(over, probe, high[active])
        low[active] = np.where(over, low[active], probe)
        # beyond 2^53 counts are no longer integers of float64, and t = inf has no smallest count
        active = active[(over != up) & (probe < 2.0**53) & (probe > -1.0)]
        step *= 2.0
    high = np.clip(high, 0.0, np.maximum(low + 1.0, 2.0**54))
    active = np.flatnonzero(~bad & (high - low > 1.0))
    while active.size:
        middle = np.floor((low[active] + high[active]) / 2.0)
        over = tail(middle, *(each[active] for each in parameters)) >= t[active]
        high[active] = np.where(over, middle, high[active])
        low[active] = np.where(over, low[active], middle)
        active = active[high[active] - low[active] > 1.0]
    return np.where(bad, np.nan, high)
