"""How far two laws of an output can be told apart: the smallest ε at a δ, by hockey-stick divergence.

``P(S) ≤ e^ε Q(S) + δ`` for every event ``S`` exactly when ``Σ_o max(0, p(o) − e^ε q(o)) ≤ δ``. The worst events are the
sets of outputs with the largest ratios ``p/q``, so the smallest such ε is ``max_i log((P(S_i) − δ) / Q(S_i))`` over
them; with δ = 0 it is the largest log-ratio.

>>> import numpy as np
>>> p, q = np.array([0.75, 0.25]), np.array([0.25, 0.75])
>>> round(float(smallest_epsilon(p, q)), 4), round(float(smallest_epsilon(p, q, delta=0.25)), 4)
(1.0986, 0.6931)

References
----------
Barthe & Olmedo, "Beyond differential privacy: composition theorems and relational logic for f-divergences", 2013.
Balle & Wang, "Improving the Gaussian mechanism for differential privacy", ICML 2018. Dong, Roth & Su, JRSS-B 2022.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr, ndtri

__all__ = ["epsilon_of_mu", "leak_between", "smallest_epsilon"]


def smallest_epsilon(p: Any, q: Any, delta: float = 0.0) -> np.ndarray:
    """Smallest ε ≥ 0 with ``P(S) ≤ e^ε Q(S) + δ`` for every event, over the last axis; one direction.

    Parameters
    ----------
    p, q : array (…, output)
        Two laws.
    delta : float

    Returns
    -------
    numpy.ndarray (…)
        Infinite where an output of mass more than δ under ``p`` is impossible under ``q``.
    """
    p, q = np.broadcast_arrays(np.asarray(p, float), np.asarray(q, float))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(p > 0, np.where(q > 0, p / q, np.inf), 0.0)
        if delta == 0.0:
            return np.maximum(np.log(ratio.max(-1, initial=1.0)), 0.0)
        order = np.argsort(-ratio, axis=-1, kind="stable")
        above = np.take_along_axis(p, order, -1).cumsum(-1) - delta
        below = np.take_along_axis(q, order, -1).cumsum(-1)
        # sums of a law that miss δ by rounding alone do not exceed it
        found = np.where(above > 1e-15, np.log(np.maximum(above, 0.0)) - np.log(below), -np.inf)
    return np.maximum(found.max(-1, initial=0.0), 0.0)


def leak_between(joint: np.ndarray, delta: float = 0.0) -> tuple[float, tuple[int, int, int] | None]:
    """The worst ratio of a release's law between two values of a secret, whatever else the adversary saw.

    Parameters
    ----------
    joint : array (secret, known, output)
        ``P(secret, known, output)``. Pairs ``(secret, known)`` of probability 0 are left out.
    delta : float

    Returns
    -------
    epsilon : float
    where : tuple of int or None
        Secret, other secret, known; None where no two secrets are possible together with one ``known``.

    Examples
    --------
    >>> joint = np.array([[[0.45, 0.05]], [[0.05, 0.45]]])
    >>> leak_between(joint)[0].__round__(4)
    2.1972
    """
    mass = joint.sum(-1, keepdims=True)
    law = np.divide(joint, mass, out=np.zeros(joint.shape), where=mass > 0)
    possible = mass[..., 0] > 0
    worst, where = 0.0, None
    for secret in range(len(joint)):
        found = smallest_epsilon(law[secret], law, delta)  # (other secret, known)
        found = np.where(possible & possible[secret], found, -1.0)
        found[secret] = -1.0
        at = np.unravel_index(int(np.round(found, 12).argmax()), found.shape)  # of equals, the first
        if found[at] >= 0 and (where is None or found[at] > worst + 1e-12):
            worst, where = float(found[at]), (secret, int(at[0]), int(at[1]))
    return worst, where


def epsilon_of_mu(mu: float, delta: float) -> float:
    """The ε at which a μ-GDP mechanism has this δ: ``δ = Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ)``.

    >>> round(epsilon_of_mu(1.0, 1e-5), 4)
    4.3772
    """
    if mu <= 0 or delta >= 1:
        return 0.0
    if delta <= 0 or not np.isfinite(mu):
        return np.inf

    def excess(epsilon: float) -> float:
        return ndtr(mu / 2 - epsilon / mu) - np.exp(epsilon + log_ndtr(-mu / 2 - epsilon / mu)) - delta

    if excess(0.0) <= 0:
        return 0.0
    high = mu * mu / 2 + mu * float(-ndtri(delta))  # there Φ(μ/2 − ε/μ) alone is δ
    found: Any = brentq(excess, 0.0, max(high, 1e-12), xtol=1e-12)
    return float(found)
