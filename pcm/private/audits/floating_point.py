"""The floating-point attack: low-order bits and holes that say which input a noisy number came from.

A textbook sampler computes ``x + b·sign·log(u)`` in doubles with ``u`` on a grid. The sum is rounded where ``x`` puts
it, so that near ``x`` outputs have bits that outputs around ``x'`` cannot have, and most doubles are never hit at all:
some outputs are possible under one input alone, whatever the ε of the real-valued mechanism (Mironov 2012). This test
looks for such outputs as an attacker would: events of low-order bits (the largest power of two that divides the output,
near either input) and sets of repeated outputs, chosen on one half of the draws and counted on the other. It needs
nothing but draws.

>>> rng = np.random.default_rng(0)
>>> audit_floating_point(lambda value, n: value + rng.laplace(0.0, 1.0, n), inputs=(0.0, 1.0), claimed=1.0, n=20_000)
Audit(ε ≥ 5.577 at 99.99 %, claimed 1: REFUTED: low bits: within 0.518 of 0 and no multiple of 2^-53: 2,789 against
0 of 10,000 held-out draws)

References
----------
Mironov, "On significance of the least significant bits for differential privacy", CCS 2012. Casacuberta, Shoemate,
Vadhan & Wagaman, "Widespread underestimation of sensitivity in differentially private libraries", CCS 2022.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from pcm.private.audits.bounds import epsilon_bound
from pcm.private.audits.draws import Source, numeric, read_source
from pcm.private.audits.events import Event, best_count
from pcm.private.audits.result import Audit, check_confidence

__all__ = ["audit_floating_point", "lattice_exponent"]

_NEAR = (0.05, 0.15, 0.3, 0.5)  # shares of the draws that count as near an input


def audit_floating_point(
    source: Source,
    inputs: tuple[Any, Any] | None = None,
    *,
    n: int = 100_000,
    claimed: float | None = None,
    delta: float | None = None,
    confidence: float = 0.9999,
    seed: int | None = None,
) -> Audit:
    """Lower bound on ε from low-order bits and repeated outputs.

    Parameters
    ----------
    source : mechanism or callable
        A mechanism, whose real ``release`` is drawn from; or ``(value, n) → array (n,)``.
    inputs : pair, optional
        Two inputs; the ends of a mechanism's bounds by default.
    n : int
        Draws under each input; half of them choose the event.
    claimed, delta : float, optional
        The promise; a mechanism's own by default.
    confidence : float
        Of the bound. High by default: an exploitable sampler is refuted at any level.
    seed : int, optional
        Handed to a callable that takes ``seed=``; OpenDP's samplers cannot be seeded.

    Raises
    ------
    ArgumentError, DataError
        Inputs missing or equal; outputs that are not numbers.

    Notes
    -----
    Not to be flagged is no proof: a sampler may be attacked through other bits, or through time.
    """
    check_confidence(confidence)
    read = read_source(source, inputs, n=n, claimed=claimed, delta=delta, seed=seed, low_bits=True)
    events = partial(_events, inputs=read.numbers)
    x, other = (numeric(draws) for draws in read.draws)
    count = best_count(x, other, events, epsilon_bound, delta=read.delta, confidence=confidence)
    return count.audit(read, confidence, epsilon=count.bound)


def lattice_exponent(values: Any) -> np.ndarray:
    """Largest ``e`` such that the double is a multiple of ``2^e``; 2,000 for 0, which is a multiple of all.

    >>> lattice_exponent([1.0, 0.75, 6.0, 1 + 2**-52, 0.0]).tolist()
    [0, -2, 1, -52, 2000]
    """
    mantissa, exponent = np.frexp(np.asarray(values, np.float64))
    bits = np.ldexp(mantissa, 53).astype(np.int64)
    lowest = bits & -bits
    places = np.frexp(lowest.astype(np.float64))[1] - 1
    return np.where(bits == 0, 2_000, exponent - 53 + places)


def _events(x: np.ndarray, other: np.ndarray, inputs: tuple[float, float]) -> Iterator[Event]:
    pooled = np.concatenate([x, other])
    for centre in inputs:
        distance = np.sort(np.abs(pooled - centre))
        for share in _NEAR:
            reach = float(distance[int(share * (len(distance) - 1))])
            yield Event(
                partial(_fine, centre=centre, reach=reach),
                lambda t, c=centre, r=reach: f"low bits: within {r:.3g} of {c:g} and no multiple of 2^{int(-t) + 1}",
            )
    values, counts = np.unique(x[::2], return_counts=True)
    absent = values[(counts > 1) & ~np.isin(values, other[::2])]
    if len(absent):
        yield Event(
            lambda o: np.isin(o, absent).astype(float),
            lambda t: f"one of {len(absent):,} outputs seen again and again under one input alone",
            learnt=True,
        )


def _fine(outputs: np.ndarray, centre: float, reach: float) -> np.ndarray:
    """Minus the lattice exponent near the centre; lower than any elsewhere."""
    return np.where(np.abs(outputs - centre) <= reach, -lattice_exponent(outputs), -3_000.0)
