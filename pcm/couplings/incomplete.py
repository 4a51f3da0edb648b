"""Signed log tails of the incomplete gamma and beta functions and their inverses, on numpy float64 arrays.

``gamma_tail(x, a)`` is the signed log tail (:mod:`pcm.couplings.tail`) of ``u = P(a, x)``, the regularised lower
incomplete gamma function, ``beta_tail(p, q, a, b)`` that of ``u = I_p(a, b)`` with ``q = 1 - p`` given apart, so that
either may be tiny. The smaller of ``u`` and ``1 - u`` comes from :mod:`scipy.special`; where it underflows (below
1e-240), from its series or continued fraction in logarithms [1]_. The inverses start from scipy's and are polished by
Newton steps on the tail itself, ``dt/dx = exp(log density + |t|)``.

References
----------
.. [1] NIST Digital Library of Mathematical Functions, 8.7.1, 8.9.2 (gamma), 8.17.22 (beta).

>>> import numpy as np
>>> one = np.ones(1)
>>> [round(float(gamma_tail(x * one, one)[0]), 9) for x in (1e-3, 2000.0)]
[-6.908255237, 2000.0]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = [
    "beta_quantile",
    "beta_quantile_log",
    "beta_tail",
    "gamma_quantile",
    "gamma_tail",
    "normal_quantile",
    "student_quantile",
]

Array = NDArray[np.float64]

_UNDERFLOW = 1e-240
_ROUGH = 1e-12
_SETTLED = 4 * np.finfo(np.float64).eps
_TINY = np.finfo(np.float64).tiny
_LOG_2 = np.log(2.0)


def gamma_tail(x: Array, a: Array) -> Array:
    """Signed log tail of ``P(a, x)``; arrays of one shape, ``x >= 0``, ``a > 0``."""
    small = np.empty_like(x)
    upper = x >= a
    lower = ~upper
    small[lower] = special.gammainc(a[lower], x[lower])
    small[upper] = special.gammaincc(a[upper], x[upper])
    # the mean is not the median: a side that came out large is taken from the other end
    over = small > 0.5
    if over.any():
        wrong = over & lower
        small[wrong] = special.gammaincc(a[wrong], x[wrong])
        upper = upper ^ over
        wrong = over & ~upper
        small[wrong] = special.gammainc(a[wrong], x[wrong])
    log = np.log(small, out=np.full_like(x, -np.inf), where=small > 0)
    deep = (small < _UNDERFLOW) & (x > 0) & np.isfinite(x)
    if deep.any():
        side = deep & ~upper
        log[side] = _log_gamma_lower(x[side], a[side])
        side = deep & upper
        log[side] = _log_gamma_upper(x[side], a[side])
    return np.where(upper, -log, log)


def beta_tail(p: Array, q: Array, a: Array, b: Array) -> Array:
    """Signed log tail of ``I_p(a, b)``, ``q = 1 - p``; arrays of one shape, ``p`` in [0, 1], ``a, b > 0``."""
    small = np.empty_like(p)
    upper = p * b >= q * a
    lower = ~upper
    small[lower] = _incomplete_beta(p[lower], q[lower], a[lower], b[lower])
    small[upper] = _incomplete_beta(q[upper], p[upper], b[upper], a[upper])
    over = small > 0.5
    if over.any():
        wrong = over & lower
        small[wrong] = _incomplete_beta(q[wrong], p[wrong], b[wrong], a[wrong])
        upper = upper ^ over
        wrong = over & ~upper
        small[wrong] = _incomplete_beta(p[wrong], q[wrong], a[wrong], b[wrong])
    log = np.log(small, out=np.full_like(p, -np.inf), where=small > 0)
    deep = (small < _UNDERFLOW) & (p > 0) & (q > 0)
    if deep.any():
        side = deep & ~upper
        log[side] = _log_beta_lower(p[side], q[side], a[side], b[side])
        side = deep & upper
        log[side] = _log_beta_lower(q[side], p[side], b[side], a[side])
    return np.where(upper, -log, log)


def gamma_quantile(t: Array, a: Array) -> Array:
    """``x`` with ``gamma_tail(x, a) = t``, never below the smallest normal number; arrays of one shape."""
    small = np.exp(-np.abs(t))
    upper = t > 0
    x = np.empty_like(t)
    x[~upper] = special.gammaincinv(a[~upper], small[~upper])
    x[upper] = special.gammainccinv(a[upper], small[upper])
    x = np.maximum(x, _TINY)
    deep = small < _UNDERFLOW
    if deep.any():
        t, a, upper = t[deep], a[deep], upper[deep]
        lower_guess = (t + special.gammaln(a + 1.0)) / a
        upper_guess = np.log(np.abs(t) + a + np.maximum(a - 1.0, 0.0) * np.log1p(np.abs(t) / a))
        # Newton runs in log x, which keeps the iterate positive
        log_x = np.where(upper, upper_guess, np.minimum(lower_guess, np.log(a)))
        x[deep] = np.exp(_polish(np.maximum(log_x, np.log(_TINY)), t, _gamma_at, _gamma_log_slope, a, most=709.0))
    return x


def beta_quantile(t: Array, a: Array, b: Array) -> Array:
    """``x`` in the open (0, 1) with ``I_x(a, b)`` of signed log tail ``t``; arrays of one shape."""
    # the nearer end's distance, p or q, is what has relative precision
    x = _beta_lower_quantile(t, a, b)
    far = x > 0.5
    if far.any():
        x[far] = 1.0 - _beta_lower_quantile(-t[far], b[far], a[far])
    return np.clip(x, _TINY, 1.0 - np.finfo(np.float64).epsneg)


def beta_quantile_log(t: Array, a: Array, b: Array) -> Array:
    """Signed logarithm of the beta quantile ``p``: ``log p`` up to 1/2, above it ``-log(1 - p)``; one shape."""
    x = _beta_lower_quantile(t, a, b)
    log = np.log(x)
    far = x > 0.5
    if far.any():
        log[far] = -np.log(np.minimum(_beta_lower_quantile(-t[far], b[far], a[far]), 0.5))
    return log


def normal_quantile(t: Array) -> Array:
    """Standard normal quantile at signed log tail ``t``."""
    x = special.ndtri_exp(-np.abs(t))
    return np.where(t > 0, -x, x)


def student_quantile(t: Array, df: Array) -> Array:
    """Standard Student's t quantile at signed log tail ``t``; arrays of one shape, ``df > 0``."""
    # 2 (1 - u) = I_p(df / 2, 1 / 2) with p = df / (df + x^2)
    log = np.minimum(_LOG_2 - np.abs(t), 0.0)
    # log(1 - e^log), either way accurate
    other = np.log(-np.expm1(np.minimum(log, -_TINY)))
    signed = np.where(log <= -_LOG_2, log, -other)
    half = np.full_like(df, 0.5)
    p = _beta_lower_quantile(signed, df / 2.0, half)
    far = p > 0.5
    size = np.sqrt(df) * np.sqrt((1.0 - p) / p)
    if far.any():
        q = _beta_lower_quantile(-signed[far], half[far], df[far] / 2.0)
        size[far] = np.sqrt(df[far]) * np.sqrt(q / (1.0 - q))
    return np.where(t > 0, size, -size)


# -- pieces ------------------------------------------------------------------------------------------------------------


def _incomplete_beta(p: Array, q: Array, a: Array, b: Array) -> Array:
    value = special.betainc(a, b, p)
    # p = 1 - q has lost a tiny q; the complement takes q itself, but is slow
    lost = (q < 1e-3) & (q > 0)
    if lost.any():
        value[lost] = special.betaincc(b[lost], a[lost], q[lost])
    return value


def _beta_lower_quantile(t: Array, a: Array, b: Array) -> Array:
    """Beta quantile with full relative precision near 0 (and none near 1)."""
    small = np.exp(-np.abs(t))
    upper = t > 0
    x = np.empty_like(t)
    x[~upper] = special.betaincinv(a[~upper], b[~upper], small[~upper])
    x[upper] = special.betainccinv(a[upper], b[upper], small[upper])
    # scipy's inverses lose digits in the tails, and some are NaN there
    rough = ((small < _ROUGH) | np.isnan(x)) & (t > -np.inf) & (t < np.inf)
    if rough.any():
        t, a, b, upper = t[rough], a[rough], b[rough], upper[rough]
        lost = np.isnan(x[rough]) | (small[rough] < _UNDERFLOW)
        norm = special.betaln(a, b)
        from_zero = np.exp(np.minimum((-np.abs(t) + np.log(a) + norm) / a, 0.0))
        from_one = -np.expm1(np.minimum((-np.abs(t) + np.log(b) + norm) / b, 0.0))
        guess = np.where(lost, np.where(upper, from_one, from_zero), x[rough])
        guess = np.log(np.clip(guess, _TINY, 1.0 - 1e-9))
        x[rough] = np.exp(_polish(guess, t, _beta_at, _beta_log_slope, a, b, most=0.0))
    return np.clip(x, _TINY, 1.0)


def _gamma_at(y: Array, a: Array) -> Array:
    return gamma_tail(np.exp(y), a)


def _gamma_log_slope(y: Array, a: Array) -> Array:
    return a * y - np.exp(y) - special.gammaln(a)


def _beta_at(y: Array, a: Array, b: Array) -> Array:
    return beta_tail(np.exp(np.minimum(y, 0.0)), -np.expm1(np.minimum(y, 0.0)), a, b)


def _beta_log_slope(y: Array, a: Array, b: Array) -> Array:
    return a * y + (b - 1.0) * np.log(-np.expm1(np.minimum(y, -1e-15))) - special.betaln(a, b)


def _polish(
    y: Array, t: Array, signed: Callable[..., Array], log_slope: Callable[..., Array], *shape: Array, most: float
) -> Array:
    """Solve ``signed(y) = t`` for the logarithm ``y <= most`` by bracketed Newton; ``dt/dy = exp(log_slope + |t|)``."""
    y, size = np.array(y), np.full_like(y, np.inf)
    low, high = np.full_like(y, np.log(_TINY)), np.full_like(y, most)
    active = np.arange(y.size)
    for _ in range(100):
        parameters = tuple(each[active] for each in shape)
        guess, target = y[active], t[active]
        found = signed(guess, *parameters)
        below = found < target
        low[active] = np.where(below, guess, low[active])
        high[active] = np.where(below, high[active], guess)
        # the jump of t from -log 2 to log 2 at the median is no distance
        jump = np.where((found < 0) != (target < 0), np.copysign(2.0 * _LOG_2, found), 0.0)
        miss = found - jump - target
        step = miss * np.exp(-np.clip(log_slope(guess, *parameters) + np.abs(found), -600.0, 600.0))
        proposal = guess - step
        # a step that leaves the bracket, or creeps where the miss says it should not, becomes a bisection
        creeps = (np.abs(step) < 1e-9) & (np.abs(miss) > 1e-6 * np.maximum(1.0, np.abs(target)))
        inside = (proposal > low[active]) & (proposal < high[active])
        exact = (miss == 0) | ((np.abs(step) < 1e-15) & ~creeps)
        proposal = np.where(inside & ~creeps, proposal, 0.5 * (low[active] + high[active]))
        proposal = np.where(exact, guess, proposal)
        size[active] = np.abs(proposal - guess)
        y[active] = proposal
        active = active[size[active] > 1e-10 * np.maximum(1.0, np.abs(proposal))]
        if not active.size:
            break
    return y


def _log_gamma_lower(x: Array, a: Array) -> Array:
    """``log P(a, x)`` by the series ``x^a e^-x / Gamma(a + 1) * (1 + x / (a + 1) + ...)``, for ``x < a``."""
    return a * np.log(x) - x - special.gammaln(a + 1.0) + np.log(_series(lambda n: x / (a + n), x))


def _log_gamma_upper(x: Array, a: Array) -> Array:
    """``log Q(a, x)`` by the continued fraction of Legendre, for ``x > a``."""
    fraction = _lentz(lambda n: (-n * (n - a), x + 2.0 * n + 1.0 - a), x + 1.0 - a)
    return a * np.log(x) - x - special.gammaln(a) - np.log(fraction)


def _log_beta_lower(p: Array, q: Array, a: Array, b: Array) -> Array:
    """``log I_p(a, b)`` by ``p^a q^b / (a B(a, b)) * (1 + (a + b) p / (a + 1) + ...)``, for ``p`` below the mean."""
    # every factor (a + b + n - 1) / (a + n) * p stays below 1 there
    total = _series(lambda n: (a + b + (n - 1.0)) / (a + n) * p, p)
    return a * np.log(p) + b * np.log(q) - np.log(a) - special.betaln(a, b) + np.log(total)


def _series(factor: Callable[[float], Array], like: Array, limit: int = 100_000) -> Array:
    """``1 + f(1) + f(1) f(2) + ...`` until the terms vanish."""
    term, total = np.ones_like(like), np.ones_like(like)
    for n in range(1, limit):
        term = term * factor(float(n))
        total = total + term
        if not np.any(term > 1e-17 * total):
            break
    return total


def _lentz(step: Callable[[float], tuple[Any, Array]], first: Array, limit: int = 100_000) -> Array:
    """Continued fraction ``b0 + a1 / (b1 + a2 / (b2 + ...))`` by the modified Lentz method."""
    c, d, total = first.copy(), np.zeros_like(first), first.copy()
    for n in range(1, limit):
        a, b = step(float(n))
        d = 1.0 / (b + a * d)
        c = b + a / c
        ratio = c * d
        total = total * ratio
        if not np.any(np.abs(ratio - 1.0) > _SETTLED):
            break
    return total
