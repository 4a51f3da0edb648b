"""What tells whether draws can be trusted: Pareto k-hat, R-hat, effective sample size, and the words for them.

The formulas are those of ArviZ and are tested against it; written here because they are needed at every fit and ArviZ
takes seconds to import.

>>> import numpy as np
>>> weights, khat = psis(np.random.default_rng(0).normal(size=1000))        # log-normal ratios: every moment is finite
>>> bool(khat < 0.7), round(float(np.exp(weights).sum()), 6)
(True, 1.0)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import logsumexp, ndtri
from scipy.stats import rankdata

from pcm.errors import listed

__all__ = ["KHAT_LIMIT", "chain_problems", "elbo_rise", "ess", "importance_ess", "khat_problem", "psis", "rhat"]

KHAT_LIMIT = 0.7  # Vehtari et al. 2024: beyond it the error of importance sampling is unreliable
RHAT_LIMIT = 1.05  # Stan's: 1.01 (Vehtari et al. 2021) is within noise for a few hundred draws a chain
ESS_PER_CHAIN = 50  # a mean is then known to 0.07 sd with four chains; BDA3 asks for 10, Vehtari et al. 2021 for 100


def psis(log_ratios: np.ndarray) -> tuple[np.ndarray, float]:
    """Pareto-smoothed importance sampling.

    Parameters
    ----------
    log_ratios
        log target − log proposal ``(draw,)``; −inf for a draw outside the support.

    Returns
    -------
    weights
        Normalised, smoothed log weights ``(draw,)``.
    khat
        Shape of the Pareto tail; below 0.7 the weights can be relied on. 0 where no ratio exceeds their mean by a
        tenth: no draw carries weight then, and the shape of so thin a tail is that of noise. Infinite where the tail
        has too few distinct draws to tell.

    References
    ----------
    Vehtari, Simpson, Gelman, Yao & Gabry (2024), Pareto smoothed importance sampling, JMLR 25(72).
    """
    ratios = np.array(log_ratios, dtype=float)
    top = ratios.max(initial=-math.inf)
    if not math.isfinite(top):
        return np.full_like(ratios, -math.log(max(1, len(ratios)))), math.inf
    ratios -= top
    if np.exp(ratios).mean() > 1 / 1.1:
        return _normalised(ratios), 0.0
    size = len(ratios)
    tail_size = math.ceil(min(size / 5.0, 3.0 * math.sqrt(size)))
    if tail_size + 1 > size:
        return _normalised(ratios), math.inf
    cut = max(np.partition(ratios, -tail_size - 1)[-tail_size - 1], math.log(np.finfo(float).tiny))
    (tail,) = np.nonzero(ratios > cut)
    if len(tail) <= 4:
        return _normalised(ratios), math.inf
    tail = tail[np.argsort(ratios[tail])]
    excess = np.exp(ratios[tail]) - math.exp(cut)
    khat, scale = _fit_pareto(excess)
    if math.isfinite(khat):
        places = np.arange(0.5, len(tail)) / len(tail)
        quantiles = -scale * np.log1p(-places) if khat == 0 else scale * np.expm1(-khat * np.log1p(-places)) / khat
        ratios[tail] = np.minimum(np.log(quantiles + math.exp(cut)), 0.0)
    return _normalised(ratios), float(khat)


def importance_ess(log_weights: np.ndarray) -> float:
    """Effective number of draws of normalised log weights ``(draw,)``: 1 / Σ w²."""
    return float(np.exp(-np.asarray(logsumexp(2.0 * np.asarray(log_weights)))))


def rhat(draws: np.ndarray) -> np.ndarray:
    """Rank-normalised split R-hat, the larger of bulk and folded (Vehtari et al. 2021).

    Parameters
    ----------
    draws
        ``(chain, draw, …)``.

    Returns
    -------
    numpy.ndarray
        ``(…)``; NaN for fewer than four draws a chain, and for a constant.
    """
    if draws.shape[1] < 4:
        return np.full(draws.shape[2:], np.nan)
    split = _split(draws)
    folded = np.abs(split - np.median(split, axis=(0, 1)))
    worst = np.maximum(_rhat(_rank_normal(split)), _rhat(_rank_normal(folded)))
    return np.where(_constant(draws), np.nan, worst)


def ess(draws: np.ndarray) -> np.ndarray:
    """Bulk effective sample size, by rank-normalised split chains and Geyer's initial monotone sequence.

    Parameters
    ----------
    draws
        ``(chain, draw, …)``.

    Returns
    -------
    numpy.ndarray
        ``(…)``; NaN for fewer than four draws a chain; the number of draws for a constant.
    """
    if draws.shape[1] < 4:
        return np.full(draws.shape[2:], np.nan)
    split = _split(draws)
    flat = split.reshape(*split.shape[:2], -1)
    fixed = _constant(flat)
    sizes = [
        float(flat[..., index].size) if fixed[index] else _ess(_rank_normal(flat[..., index]))
        for index in range(flat.shape[-1])
    ]
    return np.array(sizes).reshape(draws.shape[2:])


def khat_problem(khat: float, what: str) -> str | None:
    """Words for a k-hat beyond its limit, or None. ``what`` names the approximation, e.g. ``'Laplace'``."""
    if khat < KHAT_LIMIT:
        return None
    return (
        f"The {what} approximation does not match the posterior (Pareto k-hat {khat:.2f}, must be below {KHAT_LIMIT}): "
        "intervals may be wrong. Fit with method='nuts', or reparametrise towards a rounder posterior."
    )


def chain_problems(
    rhats: Mapping[str, np.ndarray], sizes: Mapping[str, np.ndarray], divergences: int, chains: int
) -> list[str]:
    """Words for what is wrong with Markov chains, naming the parameters; empty if nothing is."""
    problems = []
    unmixed = [f"{name} ({np.nanmax(value):.3f})" for name, value in rhats.items() if _any(value > RHAT_LIMIT)]
    if unmixed:
        problems.append(
            f"The chains do not agree on {listed(unmixed)}: R-hat above {RHAT_LIMIT}. Draw more, or look for several "
            "modes and parameters that trade off against each other."
        )
    floor = ESS_PER_CHAIN * chains
    few = [f"{name} ({np.nanmin(value):.0f})" for name, value in sizes.items() if _any(value < floor)]
    if few:
        problems.append(
            f"Too few effective draws of {listed(few)}: below {floor}; quantiles are unsure. Ask for more draws."
        )
    if divergences:
        problems.append(
            f"{divergences} divergent transitions: regions of high curvature are left out of the posterior. Raise "
            "target_accept towards 1, or reparametrise (a scale near 0 is best written as scale * standard normal)."
        )
    return problems


def elbo_rise(trace: Sequence[float]) -> float:
    """Nats by which an ELBO trace still rose between its last two fifths; 0 where that is within noise (4 s.e.)."""
    values = np.asarray(trace, dtype=float)
    fifth = len(values) // 5
    if fifth < 2:
        return math.inf
    before, after = values[-2 * fifth : -fifth], values[-fifth:]
    rise = float(np.median(after) - np.median(before))
    error = math.sqrt(1.57 * (before.var(ddof=1) + after.var(ddof=1)) / fifth)
    return rise if rise > max(0.1, 4.0 * error) else 0.0


# -- private -------------------------------------------------------------------------------------------------------


def _normalised(log_weights: np.ndarray) -> np.ndarray:
    return log_weights - np.asarray(logsumexp(log_weights))


def _constant(draws: np.ndarray) -> np.ndarray:
    """Which scalars vary by rounding alone, as the diagonal of a correlation matrix does."""
    return np.ptp(draws, axis=(0, 1)) <= 1e-12 * np.abs(draws).max(axis=(0, 1))


def _any(condition: np.ndarray) -> bool:
    return bool(np.any(condition))


def _fit_pareto(excess: np.ndarray) -> tuple[float, float]:
    """Shape and scale of a generalised Pareto sample, ascending (Zhang & Stephens 2009); k has a weak prior at ½."""
    size = len(excess)
    candidates = 30 + int(math.sqrt(size))
    quartile = excess[int(size / 4 + 0.5) - 1]
    with np.errstate(all="ignore"):
        thetas = 1.0 - np.sqrt(candidates / (np.arange(1, candidates + 1) - 0.5))
        thetas = thetas / (3.0 * quartile) + 1.0 / excess[-1]
        shapes = np.log1p(-thetas[:, None] * excess).mean(axis=1)
        heights = size * (np.log(-(thetas / shapes)) - shapes - 1.0)
        weights = 1.0 / np.exp(heights - heights[:, None]).sum(axis=1)
    if not np.isfinite(weights).all():
        return math.inf, math.nan
    kept = weights >= 10 * np.finfo(float).eps
    weights, thetas = weights[kept] / weights[kept].sum(), thetas[kept]
    theta = float((thetas * weights).sum())
    shape = float(np.log1p(-theta * excess).mean())
    return (size * shape + 10.0 * 0.5) / (size + 10.0), -shape / theta


def _split(draws: np.ndarray) -> np.ndarray:
    half = draws.shape[1] // 2
    return np.concatenate([draws[:, :half], draws[:, -half:]], axis=0)


def _rank_normal(draws: np.ndarray) -> np.ndarray:
    shape = draws.shape
    ranks = rankdata(draws.reshape(shape[0] * shape[1], -1), method="average", axis=0)
    return ndtri((ranks - 0.375) / (shape[0] * shape[1] + 0.25)).reshape(shape)


def _rhat(draws: np.ndarray) -> np.ndarray:
    length = draws.shape[1]
    between = length * draws.mean(axis=1).var(axis=0, ddof=1)
    within = draws.var(axis=1, ddof=1).mean(axis=0)
    with np.errstate(all="ignore"):
        ratio = np.sqrt((between / within + length - 1) / length)
    return ratio


def _ess(draws: np.ndarray) -> float:
    chains, length = draws.shape
    padded = 2 * length
    spectrum = np.fft.rfft(draws - draws.mean(axis=1, keepdims=True), n=padded, axis=1)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2, n=padded, axis=1)[:, :length] / length
    within = covariance[:, 0].mean() * length / (length - 1)
    total = within * (length - 1) / length
    if chains > 1:
        total += draws.mean(axis=1).var(ddof=1)
    correlation = np.zeros(length)
    correlation[0] = 1.0
    correlation[1] = odd = 1.0 - (within - covariance[:, 1].mean()) / total
    even, lag = 1.0, 1
    while lag < length - 3 and even + odd > 0.0:
        even = 1.0 - (within - covariance[:, lag + 1].mean()) / total
        odd = 1.0 - (within - covariance[:, lag + 2].mean()) / total
        if even + odd >= 0:
            correlation[lag + 1], correlation[lag + 2] = even, odd
        lag += 2
    last = lag - 2
    if even > 0 and last + 1 < length:
        correlation[last + 1] = even
    for lag in range(1, last - 1, 2):  # Geyer: the sums of neighbours never rise
        if correlation[lag + 1] + correlation[lag + 2] > correlation[lag - 1] + correlation[lag]:
            correlation[lag + 1] = correlation[lag + 2] = 0.5 * (correlation[lag - 1] + correlation[lag])
    time = -1.0 + 2.0 * correlation[: last + 1].sum() + correlation[last + 1 : last + 2].sum()
    size = chains * length
    return float(size / max(time, 1.0 / math.log10(size)))
