"""A latent confounder of two strengths, taken out of an observed effect.

With ``U ~ N(0, 1)`` independent of the covariates ``x``, strengths ``a`` and ``b``::

    treatment:  logit P(T = 1 | x, u) = η(x) + a u     or    E[T | x, u] = μ(x) + a u
    outcome:    g(E[Y | t, x, u])     = ζ(t, x) + b u,       g identity, logit or log

``η`` and ``ζ`` are chosen such that, ``U`` summed out, the treatment's law and the outcome's mean are those of the
fitted program: only then is the comparison between models that fit the data alike. The effect is
``E[g⁻¹(ζ(1, x) + b U) − g⁻¹(ζ(0, x) + b U)]`` with ``U`` from its own law rather than its law given ``t``. Of a Normal
treatment and an identity outcome this is the omitted-variable formula ``τ − a b / Var(T | x)``; otherwise integrals
over ``u`` are by Gauss–Hermite quadrature. Nothing is simulated.

>>> import numpy as np
>>> treatment = TreatmentLaw("mean", np.zeros(1), np.ones(1) * 2.0, 1.0, 0.0)
>>> outcome = OutcomeLaw("identity", np.ones(1), np.zeros(1), 1.5)
>>> float(bias(treatment, outcome, 0.8, np.array([0.5]))[0])
0.2
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import expit, logit

__all__ = ["OutcomeLaw", "TreatmentLaw", "bias", "spread_ratio"]

_NODES = 40
Array = np.ndarray


@dataclass(frozen=True)
class TreatmentLaw:
    """The treatment's law given the covariates, as observed.

    Attributes
    ----------
    kind : {"logit", "mean"}
        Bernoulli or Normal.
    mean : numpy.ndarray, [unit]
        Propensity, or conditional mean.
    variance : numpy.ndarray, [unit]
    treated, control : float
    """

    kind: str
    mean: Array
    variance: Array
    treated: float
    control: float


@dataclass(frozen=True)
class OutcomeLaw:
    """The outcome's mean in each arm given the covariates, as observed.

    Attributes
    ----------
    link : {"identity", "logit", "log"}
    treated, control : numpy.ndarray, [unit]
    variance : float
        What covariates and treatment leave over, averaged.
    """

    link: str
    treated: Array
    control: Array
    variance: float


def bias(treatment: TreatmentLaw, outcome: OutcomeLaw, a: float, b: Array) -> Array:
    """What the confounder adds to the average effect, ``[strength on the outcome]``.

    Parameters
    ----------
    a : float
        Strength on the treatment.
    b : numpy.ndarray
        Strengths on the outcome.

    Returns
    -------
    numpy.ndarray
        NaN where no model with these strengths fits: the confounder would explain more than there is to explain.
    """
    arms = _given_arm(treatment, a)
    if arms is None:
        return np.full(len(b), np.nan)
    (nodes, treated, *_), (others, control, *_) = arms
    if outcome.link == "identity":
        tilt = (nodes * treated).sum(1) - (others * control).sum(1)
        out = b * tilt.mean()
        spread = _left(treatment, a, arms)
        return np.where(b**2 * spread > outcome.variance, np.nan, out)
    out = np.zeros(len(b))
    for sign, mean, u, weight in ((1, outcome.treated, nodes, treated), (-1, outcome.control, others, control)):
        start = None  # each strength's solution is the next one's start
        for place, strength in enumerate(b):
            standard, start = _standardised(outcome.link, mean, u, weight, float(strength), start)
            out[place] += sign * (mean - standard).mean()
    return out


def spread_ratio(treatment: TreatmentLaw, outcome: OutcomeLaw, a: float, b: Array) -> Array:
    """How the standard error of a linear effect changes once the confounder is accounted for.

    ``√((1 − R²_{Y~U|T,X}) / (1 − R²_{T~U|X}))``, as if ``U`` had been observed; 1 for other links.
    """
    arms = _given_arm(treatment, a)
    if outcome.link != "identity" or arms is None:
        return np.ones(len(b))
    kept = 1 - b**2 * _left(treatment, a, arms) / outcome.variance
    if treatment.kind == "mean":
        left = np.mean(treatment.variance - a**2) / np.mean(treatment.variance)
    else:
        u, weight = _quadrature()
        chance = expit(_offset(treatment.mean, a)[:, None] + a * u)
        left = ((chance * (1 - chance)) @ weight).mean() / treatment.variance.mean()
    return np.sqrt(np.maximum(kept, 0.0) / left)


def _left(treatment: TreatmentLaw, a: float, arms: Any) -> float:
    """Variance of ``U`` given treatment and covariates, averaged over both."""
    if treatment.kind == "mean":
        return float(np.mean(1 - a**2 / treatment.variance))
    spreads = [(u**2 * weight).sum(1) - (u * weight).sum(1) ** 2 for u, weight in arms]
    return float((treatment.mean * spreads[0] + (1 - treatment.mean) * spreads[1]).mean())


def _given_arm(treatment: TreatmentLaw, a: float) -> tuple[tuple[Array, Array], tuple[Array, Array]] | None:
    """Nodes and weights ``[unit, node]`` of ``U`` given each arm; None where the strength cannot be."""
    u, weight = _quadrature()
    if treatment.kind == "mean":
        left = 1 - a**2 / treatment.variance
        if (left <= 0).any():
            return None
        centres = [
            a * (value - treatment.mean) / treatment.variance for value in (treatment.treated, treatment.control)
        ]
        width = np.sqrt(left)[:, None] * u
        shape = (len(treatment.mean), len(u))
        first, second = ((centre[:, None] + width, np.broadcast_to(weight, shape)) for centre in centres)
        return first, second
    chance = expit(_offset(treatment.mean, a)[:, None] + a * u)
    nodes = np.broadcast_to(u, chance.shape)
    one = (nodes, weight * chance / treatment.mean[:, None])
    zero = (nodes, weight * (1 - chance) / (1 - treatment.mean)[:, None])
    return (one, zero) if treatment.treated else (zero, one)


def _offset(
    mean: Array, a: float, u: Array | None = None, weight: Array | None = None, start: Array | None = None
) -> Array:
    """``η`` with ``Σ_u weight · expit(η + a u) = mean``, by Newton's method kept within a bracket."""
    if u is None or weight is None:
        u, weight = _quadrature()
    reach = np.abs(a) * np.abs(u).max()
    low, high = logit(mean) - reach, logit(mean) + reach
    found = logit(mean) if start is None else np.clip(start, low, high)
    for _ in range(60):
        chance = expit(found[:, None] + a * u)
        over = (weight * chance).sum(-1) - mean
        low, high = np.where(over < 0, found, low), np.where(over > 0, found, high)
        slope = (weight * chance * (1 - chance)).sum(-1)
        step = found - over / np.maximum(slope, 1e-300)
        found = np.where((step >= low) & (step <= high), step, (low + high) / 2)
        if np.abs(over).max() < 1e-12:
            break
    return found


def _standardised(
    link: str, mean: Array, u: Array, weight: Array, b: float, start: Array | None
) -> tuple[Array, Array | None]:
    """The arm's mean had ``U`` its own law, from its mean under the law ``weight`` of ``U`` given the arm; ``ζ``."""
    if link == "log":
        return mean * np.exp(b**2 / 2) / (np.exp(b * u) * weight).sum(1), None
    nodes, own = _quadrature()
    offset = _offset(np.clip(mean, 1e-12, 1 - 1e-12), b, u, weight, start)
    return expit(offset[:, None] + b * nodes) @ own, offset


@lru_cache(maxsize=1)
def _quadrature() -> tuple[Array, Array]:
    """Nodes and weights of the standard normal law."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    return nodes, weights / weights.sum()
