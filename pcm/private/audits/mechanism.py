"""Auditing a mechanism from its outputs under two inputs.

Where to guess which input an output came from is chosen by a twentieth of the draws, and by as many simulated ones as
are wanted where it is known what the mechanism should be; how often the guess is right on the rest bounds ε from below,
by Clopper and Pearson's one-sided limit (Gaussian noise: μ). A bound above the promise refutes it.

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
from pcm.errors import ArgumentError
from pcm.private.audits.among import best_among
from pcm.private.audits.draws import Source, read_source
from pcm.private.audits.guesses import best_test
from pcm.private.audits.result import Audit, check_confidence
from pcm.private.leakage import epsilon_of_mu
from pcm.private.mechanism import Mechanism

__all__ = ["audit_mechanism"]


def audit_mechanism(
    source: Source,
    inputs: tuple[Any, ...] | None = None,
    *,
    n: int = 200_000,
    claimed: float | Mechanism | None = None,
    delta: float | None = None,
    mu: float | None = None,
    confidence: float = 0.95,
    seed: int | None = None,
) -> Audit:
    """Lower bound on the privacy loss between two inputs, or more.

    Parameters
    ----------
    source : mechanism or callable
        A mechanism, whose real ``release`` is drawn from; or ``(value, n) → array (n,)`` of independent outputs
        (``(value, n, seed)`` where ``seed=`` is given).
    inputs : tuple, optional
        Two inputs, or more where there are few outputs. By default the ends of a mechanism's bounds; of its categories
        two or all, whichever tell more.
    n : int
        Draws under each of two inputs; ``2 n`` in all under more. 5 % of them choose what is counted (20 % where hardly
        a guess is wrong, up to 15 % of few draws), the rest count it.
    claimed : float or mechanism, optional
        The promised ε, or the mechanism that a callable is said to be: its law then also proposes what to count. A
        mechanism's own by default, of a finite one what its own table has between the inputs.
    delta : float, optional
        The promised δ; 0 by default.
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
    Audit(ε ≥ 1.957 at 95 %, claimed 2: not refuted: guessing 0 where output ≤ 0, 1 where output ≥ 1: 31,342 of 35,653
    right, held-out draws)
    """
    check_confidence(confidence)
    read = read_source(source, inputs, n=n, claimed=claimed, delta=delta, seed=seed, several=mu is None)
    gaussian = mu if mu is not None else read.mu
    if gaussian is not None:
        check_positive(gaussian, "mu")
    seeds = [np.random.SeedSequence(seed, spawn_key=(key,)) for key in (1, 2)]
    coins, law = np.random.default_rng(seeds[0]), read.law(seeds[1])
    by_mu = gaussian is not None
    names = tuple(map(str, read.inputs))
    if len(names) > 2:
        if by_mu or read.delta:
            raise ArgumentError(f"inputs={read.inputs!r}: of a μ, or of ε at a δ, two inputs are told apart.")
        test = best_among(read.draws, confidence=confidence, coins=coins, names=names, law=law)
    else:
        loss = 0.0 if by_mu else read.delta
        test = best_test(*read.draws, confidence=confidence, coins=coins, mu=by_mu, delta=loss, names=names, law=law)
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
