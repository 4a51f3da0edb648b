"""Lower bounds on ε (or μ) from counts of one event under two inputs.

A mechanism that is (ε, δ)-private has ``P(event | x) ≤ e^ε P(event | x') + δ``. With Clopper–Pearson limits on the two
probabilities, ``ε ≥ log((low − δ) / high)`` holds with the stated confidence. A μ-GDP mechanism has ``Φ⁻¹(P(event | x))
− Φ⁻¹(P(event | x')) ≤ μ``, which is much the sharper test of Gaussian noise. Where a fair coin chose the input, a guess
of it is right with probability at most ``e^ε / (1 + e^ε)`` of those made, or ``Φ(μ / 2)`` of all: one limit, not two.
Where the counts rule nothing out the bound is negative.

>>> round(float(epsilon_bound(7311, 2689, 10_000, confidence=0.95)), 3)  # randomised response, ε = 1
0.956
>>> round(float(mu_bound(6915, 3085, 10_000, confidence=0.95)), 3)  # Gaussian noise, μ = 1
0.949
>>> round(float(guess_bound(7311 + 7311, 20_000, confidence=0.95)), 3)
0.974

References
----------
Clopper & Pearson, Biometrika 1934. Jagielski, Ullman & Oprea, "Auditing differentially private machine learning",
NeurIPS 2020. Dong, Roth & Su, "Gaussian differential privacy", JRSS-B 2022.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import betaincinv, logit, ndtri

__all__ = ["clopper_pearson", "epsilon_bound", "guess_bound", "guess_mu_bound", "mu_bound"]


def clopper_pearson(hits: Any, trials: Any, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Exact limits of a proportion; each holds by itself with probability ``1 − (1 − confidence) / 2``.

    >>> low, high = clopper_pearson(0, 100)
    >>> float(low), round(float(high), 4)
    (0.0, 0.0362)
    """
    hits, trials = np.asarray(hits, float), np.asarray(trials, float)
    tail = (1 - confidence) / 2
    low = np.where(hits > 0, betaincinv(np.maximum(hits, 1), trials - hits + 1, tail), 0.0)
    high = np.where(hits < trials, betaincinv(hits + 1, np.maximum(trials - hits, 1), 1 - tail), 1.0)
    return low, high


def epsilon_bound(hits: Any, others: Any, trials: Any, *, delta: float = 0.0, confidence: float = 0.95) -> np.ndarray:
    """The ε that an event seen ``hits`` times under one input and ``others`` times under the other rules out below.

    Parameters
    ----------
    hits, others : int or array
        Counts of the event among ``trials`` draws under each input.
    confidence : float
        Of the bound: both limits hold together.
    """
    low, high = clopper_pearson(hits, trials, confidence)[0], clopper_pearson(others, trials, confidence)[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(np.maximum(low - delta, 0.0)) - np.log(high)


def mu_bound(hits: Any, others: Any, trials: Any, *, confidence: float = 0.95) -> np.ndarray:
    """The μ of Gaussian differential privacy that the same counts rule out below."""
    low, high = clopper_pearson(hits, trials, confidence)[0], clopper_pearson(others, trials, confidence)[1]
    return ndtri(low) - ndtri(high)


def guess_bound(right: Any, guesses: Any, *, confidence: float = 0.95) -> np.ndarray:
    """The ε that ``right`` of ``guesses`` rules out below, where any draw may be passed without a guess.

    Parameters
    ----------
    right, guesses : int or array
        Of draws whose input was chosen by fair coins.
    confidence : float
        Of the bound.
    """
    return logit(_sure(right, guesses, confidence))


def guess_mu_bound(right: Any, draws: Any, *, confidence: float = 0.95) -> np.ndarray:
    """The μ that so many right guesses rule out below, where every draw is guessed."""
    return 2 * ndtri(_sure(right, draws, confidence))


def _sure(right: Any, guesses: Any, confidence: float) -> np.ndarray:
    """One-sided Clopper–Pearson limit of the probability of a right guess; 0 where none is right."""
    right, guesses = np.asarray(right, float), np.asarray(guesses, float)
    found = betaincinv(np.maximum(right, 1), guesses - right + 1, 1 - confidence)
    return np.where(right > 0, found, 0.0)
