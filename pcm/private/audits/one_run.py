"""Auditing in one run: many canaries, each in or out by a fair coin, guessed from what came out.

If the run is (ε, δ)-private in each canary, the number of right guesses is no larger than that of a randomised response
of the same ε: ``P(right ≥ v) ≤ P(B ≥ v) + 2 m δ max_i P(v > B ≥ v − i) / i`` with ``B ~ Binomial(r, e^ε / (1 + e^ε))``
for ``r`` guesses among ``m`` canaries. What exceeds that is ruled out.

>>> found = audit_one_run_counts(right=88, guesses=100, canaries=1000)
>>> round(found.epsilon, 2), found
(1.47, Audit(ε ≥ 1.469 at 95 %: 88 of 100 guesses right, 1,000 canaries, one run))

References
----------
Steinke, Nasr & Jagielski, "Privacy auditing with one (1) training run", NeurIPS 2023, Theorem 5.2 and appendix D.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom

from pcm.errors import ArgumentError
from pcm.private.audits.result import Audit, check_confidence
from pcm.private.checks import check_delta

__all__ = ["audit_one_run", "audit_one_run_counts", "one_run_p_value"]


def audit_one_run(
    scores: Any,
    included: Any,
    *,
    guesses: int | None = None,
    claimed: float | None = None,
    delta: float = 0.0,
    confidence: float = 0.95,
) -> Audit:
    """Lower bound on ε from one run of a mechanism or a training.

    Parameters
    ----------
    scores : array (canary,)
        High where the output suggests that the canary was in.
    included : array of bool (canary,)
        Whether it was, each by a fair coin of its own, tossed before the run.
    guesses : int, optional
        How many canaries to guess, half of them (the highest scores) as in, half as out; all by default. It must be
        chosen without looking at ``included``.
    claimed : float, optional
        The ε that is promised at ``delta``; the audit then says whether it is refuted.
    delta : float
    confidence : float
        Of the bound.

    Raises
    ------
    ArgumentError
        Arrays of different lengths, scores that are not numbers, coins that are not bits.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> included = rng.random(10_000) < 0.5
    >>> keep = rng.random(10_000) < np.e / (1 + np.e)  # randomised response at ε = 1
    >>> audit_one_run(np.where(keep, included, ~included), included, claimed=1.0)
    Audit(ε ≥ 0.9334 at 95 %, claimed 1: not refuted: 7,252 of 10,000 guesses right, 10,000 canaries, one run)
    """
    if isinstance(scores, pd.Series) and isinstance(included, pd.Series) and not scores.index.equals(included.index):
        raise ArgumentError("audit_one_run: scores and included have different indexes; align them by canary first.")
    try:
        scores, bits = np.asarray(scores, float), np.asarray(included)
    except (TypeError, ValueError):
        raise ArgumentError("audit_one_run: scores are numbers, one a canary.") from None
    if scores.ndim != 1 or scores.shape != bits.shape or not len(scores):
        raise ArgumentError(
            f"audit_one_run needs a score and a coin a canary; found shapes {scores.shape} and {bits.shape}."
        )
    if not np.isfinite(scores).all():
        raise ArgumentError("audit_one_run: some scores are not finite numbers.")
    if not np.isin(bits, (0, 1)).all():
        raise ArgumentError("audit_one_run: included= holds true or false (1 or 0) for each canary.")
    bits, canaries = bits.astype(bool), len(scores)
    if bits.all() or not bits.any():
        raise ArgumentError("audit_one_run: every coin fell the same way; fair ones choose which canaries to train on.")
    guesses = canaries if guesses is None else guesses
    if isinstance(guesses, bool) or not isinstance(guesses, int | np.integer) or not 2 <= guesses <= canaries:
        raise ArgumentError(f"guesses={guesses!r}: between 2 and the number of canaries, {canaries}.")
    order = np.argsort(-scores, kind="stable")
    upper = int(guesses) // 2
    right = int(bits[order[:upper]].sum()) + int((~bits[order[canaries - (int(guesses) - upper) :]]).sum())
    return audit_one_run_counts(
        right=right, guesses=int(guesses), canaries=canaries, claimed=claimed, delta=delta, confidence=confidence
    )


def audit_one_run_counts(
    *,
    right: int,
    guesses: int,
    canaries: int,
    claimed: float | None = None,
    delta: float = 0.0,
    confidence: float = 0.95,
) -> Audit:
    """The same from the counts alone.

    Raises
    ------
    ArgumentError
        Counts that cannot be.
    """
    check_confidence(confidence)
    check_delta(delta)
    if not 0 <= right <= guesses <= canaries or guesses < 1:
        raise ArgumentError(f"right={right}, guesses={guesses}, canaries={canaries}: the three must not decrease.")
    level = 1 - confidence
    low, high = 0.0, 1.0
    while one_run_p_value(high, right, guesses, canaries, delta) < level:
        low, high = high, 2 * high
        if high > 256:  # a binomial of success probability 1 in doubles
            break
    if one_run_p_value(low, right, guesses, canaries, delta) >= level:
        high = low
    for _ in range(50):
        middle = (low + high) / 2
        if one_run_p_value(middle, right, guesses, canaries, delta) < level:
            low = middle
        else:
            high = middle
    return Audit(
        epsilon=low,
        confidence=confidence,
        delta=delta,
        claimed=claimed,
        found=f"{right:,} of {guesses:,} guesses right, {canaries:,} canaries, one run",
        counts={"right": right, "guesses": guesses, "canaries": canaries},
    )


def one_run_p_value(epsilon: float, right: int, guesses: int, canaries: int, delta: float = 0.0) -> float:
    """Largest chance of so many right guesses under (ε, δ)-privacy.

    >>> round(one_run_p_value(0.0, 8, 10, 10), 4)  # ten fair coins
    0.0547
    """
    keep = 1 / (1 + np.exp(-epsilon))
    found = float(binom.sf(right - 1, guesses, keep))
    if delta > 0 and right > 0:
        steps = np.arange(1, right + 1)
        among = np.cumsum(binom.pmf(right - steps, guesses, keep))  # P(v > B ≥ v − i)
        found += 2 * canaries * delta * float((among / steps).max())
    return min(found, 1.0)
