"""Auditing a mechanism from its outputs under two inputs.

Where to guess which input an output came from is chosen on 15 % of the draws; how often the guess is right on the rest
bounds ε from below, by Clopper and Pearson's limit (Gaussian noise: μ). A bound above the promise refutes it.

>>> import numpy as np
>>> def half_scale(value, n, seed):  # promises ε = 1 on [0, 1], but adds noise of scale 1/2
...     return value + np.random.default_rng(seed).laplace(0.0, 0.5, n)
>>> audit_mechanism(half_scale, (0.0, 1.0), claimed=1.0, n=20_000, seed=0).flagged
True

References
----------
Jagielski, Ullman & Oprea, NeurIPS 2020. Nasr et al., "Tight auditing of differentially private machine learning",
USENIX Security 2023 (the bound by μ). Ding et al., "Detecting violations of differential privacy", CCS 2018.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pcm.arguments import check_positive
from pcm.private.audits.draws import Source, read_source
from pcm.private.audits.guesses import best_test
from pcm.private.audits.result import Audit, check_confidence
from pcm.private.leakage import epsilon_of_mu

__all__ = ["audit_mechanism"]


def audit_mechanism(
    source: Source,
    inputs: tuple[Any, Any] | None = None,
    *,
    n: int = 200_000,
    claimed: float | None = None,
    delta: float | None = None,
    mu: float | None = None,
    confidence: float = 0.95,
    seed: int | None = None,
) -> Audit:
    """Lower bound on the privacy loss between two inputs.

    Parameters
    ----------
    source : mechanism or callable
        A mechanism, whose real ``release`` is drawn from; or ``(value, n) → array (n,)`` of independent outputs
        (``(value, n, seed)`` where ``seed=`` is given).
    inputs : pair, optional
        Two inputs; the ends of a mechanism's bounds, or its first and last category, by default.
    n : int
        Draws under each input. 15 % of them choose what is counted, the rest count it.
    claimed, delta : float, optional
        The promised (ε, δ); a mechanism's own by default, of a finite one what its own table has between the inputs.
    mu : float, optional
        The promised μ of Gaussian noise (distance of the inputs over σ); a Gaussian mechanism's own by default. The
        bound is then on μ, and ε is what that μ has at ``delta``.
    confidence : float
        Of the bound.
    seed : int, optional
        Handed to a callable that takes ``seed=``.

    Returns
    -------
    Audit

    Raises
    ------
    ArgumentError, DataError
        Inputs that do not fit, samplers that return something else than asked.

    Examples
    --------
    >>> import numpy as np
    >>> def response(value, n, seed):  # randomised response, ε = 2
    ...     keep = np.random.default_rng(seed).random(n) < np.exp(2) / (1 + np.exp(2))
    ...     return np.where(keep, value, 1 - value)
    >>> audit_mechanism(response, (0, 1), claimed=2.0, n=20_000, seed=1)
    Audit(ε ≥ 1.942 at 95 %, claimed 2: not refuted: guessing 0 where output ≤ 0, 1 where output ≥ 1: 28,706 of 32,709
    right, held-out draws)
    """
    check_confidence(confidence)
    read = read_source(source, inputs, n=n, claimed=claimed, delta=delta, seed=seed)
    gaussian = mu if mu is not None else read.mu
    if gaussian is not None:
        check_positive(gaussian, "mu")
    coins = np.random.default_rng(None if seed is None else np.random.SeedSequence(seed, spawn_key=(1,)))
    by_mu = gaussian is not None
    names = str(read.inputs[0]), str(read.inputs[1])
    delta = 0.0 if by_mu else read.delta
    test = best_test(*read.draws, confidence=confidence, coins=coins, mu=by_mu, delta=delta, names=names)
    found: dict[str, Any] = {"epsilon": test.bound}
    if by_mu:
        found = {"mu": test.bound, "claimed_mu": gaussian, "epsilon": epsilon_of_mu(test.bound, read.delta)}
    return Audit(
        **found,
        confidence=confidence,
        delta=read.delta,
        claimed=read.claimed,
        reach=test.reach,
        found=test.words,
        counts=test.counts,
    )
