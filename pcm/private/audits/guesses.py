"""Guessing by which of two inputs a draw came about: the tightest count of what a mechanism gives away.

A fair coin chooses the input of each draw. Whatever was seen, ε-privacy leaves either input odds of at most e^ε; so of
``r`` guesses, made where the output is telling and passed elsewhere, the right ones are at most ``Binomial(r, e^ε / (1
+ e^ε))``: one Clopper–Pearson limit over the draws of both inputs, where two probabilities need two. Under μ-GDP a
guess of every draw is right with at most ``Φ(μ / 2)``.

Where to guess is proposed on a tenth of the draws, chosen among few proposals on a twentieth, and counted on the rest:
a choice counted on its own draws would look better than it is, and the bound would be void. With ``r`` guesses it falls
short of ε by about ``1.6 (1 + e^ε) / √(r e^ε)`` on average: with five categories at ε = .25, where four draws in
seven are passed, by 3 % at 200,000 draws.

>>> rng = np.random.default_rng(0)
>>> x, other = rng.laplace(0.0, 1.0, 20_000), rng.laplace(1.0, 1.0, 20_000)
>>> found = best_test(x, other, confidence=0.95, coins=rng)
>>> round(found.bound, 2), found.words
(0.97, "guessing x where output ≤ -0.103, x' where output ≥ 1.323: 13,228 of 18,086 right, held-out draws")

References
----------
Steinke, Nasr & Jagielski, "Privacy auditing with one (1) training run", NeurIPS 2023 (the binomial of right guesses).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from pcm.private.audits.bounds import epsilon_bound, guess_bound, guess_mu_bound, mu_bound
from pcm.private.audits.events import Event, threshold_events

__all__ = ["Test", "best_test"]

#: Shares of the draws that propose tests, and that choose among them.
_PROPOSE, _CHOOSE = 0.1, 0.05
# standard errors by which a proposal must be ahead: few let rare events win by luck, many leave them out
_STRICT = (6.0, 4.0, 3.0, 2.0)
_THRESHOLDS, _TAIL = 150, 40
_CHOICE = 0.9999  # confidence of the bounds by which the choice is made
_SPARE = 7.0  # standard deviations of the coins for which there must be draws: one audit in 4e11 has too few


@dataclass(frozen=True)
class Test:
    """The test that was chosen, and what it found on the held-out draws.

    Attributes
    ----------
    words : str
        What was counted.
    bound : float
        On ε, or on μ.
    reach : float
        The bound, had every guess been right.
    counts : dict
    """

    __test__ = False  # pytest: it is no test

    words: str
    bound: float
    reach: float
    counts: dict[str, int]


@dataclass(frozen=True)
class _Guess:
    """Guess the first input where ``score ≥ above``, the second where ``score ≤ below``; pass between."""

    event: Event
    above: float
    below: float
    swapped: bool
    mu: bool
    names: tuple[str, str]

    def count(self, x: np.ndarray, other: np.ndarray) -> tuple[int, int]:
        """Right and all guesses among the draws of each input."""
        first, second = (self.event.score(draws) for draws in ((other, x) if self.swapped else (x, other)))
        right = int((first >= self.above).sum() + (second <= self.below).sum())
        return right, right + int((second >= self.above).sum() + (first <= self.below).sum())

    def bound(self, right: int, guesses: int, confidence: float) -> float:
        """ε or μ below which so many right guesses are too many."""
        return float((guess_mu_bound if self.mu else guess_bound)(right, guesses, confidence=confidence))

    def quick(self, x: np.ndarray, other: np.ndarray) -> float:
        """The bound by which the choice is made: without coins, of as many draws of each input."""
        return self.bound(*self.count(x, other), _CHOICE)

    def found(self, x: np.ndarray, other: np.ndarray, confidence: float, coins: np.random.Generator) -> Test:
        draws = max(len(x), int(2 * len(x) - _SPARE * np.sqrt(2 * len(x))))
        heads = int(np.clip(coins.binomial(draws, 0.5), draws - len(x), len(x)))
        right, guesses = self.count(x[:heads], other[: draws - heads])
        said = []
        if np.isfinite(self.above):
            said.append(f"{self.names[self.swapped]} where {self.event.words(self.above)}")
        if np.isfinite(self.below):
            said.append(f"{self.names[not self.swapped]} where {self.event.below(self.below)}")
        return Test(
            f"guessing {', '.join(said)}: {right:,} of {guesses:,} right, held-out draws",
            max(self.bound(right, guesses, confidence), 0.0),
            self.bound(draws, draws, confidence),
            {"right": right, "guesses": guesses, "draws": draws},
        )


@dataclass(frozen=True)
class _Side:
    """How often ``score ≥ threshold`` comes under each input; both probabilities have limits of their own."""

    event: Event
    threshold: float
    swapped: bool
    bounded: Any

    def count(self, x: np.ndarray, other: np.ndarray) -> tuple[int, int, int]:
        first, second = (other, x) if self.swapped else (x, other)
        hits, others = (int((self.event.score(draws) >= self.threshold).sum()) for draws in (first, second))
        return hits, others, len(x)

    def quick(self, x: np.ndarray, other: np.ndarray) -> float:
        return float(self.bounded(*self.count(x, other), confidence=_CHOICE))

    def found(self, x: np.ndarray, other: np.ndarray, confidence: float, coins: np.random.Generator) -> Test:
        hits, others, trials = self.count(x, other)
        return Test(
            f"{self.event.words(self.threshold)}: {hits:,} against {others:,} of {trials:,} held-out draws",
            max(float(self.bounded(hits, others, trials, confidence=confidence)), 0.0),
            float(self.bounded(trials, 0, trials, confidence=confidence)),
            {"hits": hits, "others": others, "trials": trials},
        )


def best_test(
    x: np.ndarray,
    other: np.ndarray,
    *,
    confidence: float,
    coins: np.random.Generator,
    mu: bool = False,
    delta: float = 0.0,
    names: tuple[str, str] = ("x", "x'"),
) -> Test:
    """Propose tests, choose one, count it on the rest of the draws.

    Parameters
    ----------
    x, other : array (draw,)
        Independent outputs under each of two inputs, as many of each.
    confidence : float
        Of the bound.
    coins : Generator
        Chooses how many of the held-out draws are taken of each input; independent of the draws.
    mu : bool
        Bound μ, else ε.
    delta : float
        Above 0, ε is bounded by the two limits of one event.
    names : pair of str
        The inputs in words.
    """
    ends = max(1, int(_PROPOSE * len(x))), max(2, int((_PROPOSE + _CHOOSE) * len(x)))
    propose, choose, rest = (
        (x[part], other[part]) for part in (slice(ends[0]), slice(ends[0], ends[1]), slice(ends[1], None))
    )
    best: tuple[float, Any] = (-np.inf, None)
    for test in _proposals(*propose, mu=mu, delta=delta, names=names):
        found = test.quick(*choose)
        if best[1] is None or found > best[0]:
            best = found, test
    return best[1].found(*rest, confidence, coins)


# -- private ---------------------------------------------------------------------------------------------------------


def _proposals(x: np.ndarray, other: np.ndarray, *, mu: bool, delta: float, names: tuple[str, str]) -> Iterator[Any]:
    """Tests that look good on these draws, the safest first."""
    bounded: Callable[..., Any] = mu_bound if mu else partial(epsilon_bound, delta=delta)
    for swapped, (first, second) in enumerate(((x, other), (other, x))):
        for event in threshold_events(first, second):
            fresh = slice(1, None, 2) if event.learnt and len(first) > 1 else slice(None)
            scores = event.score(first[fresh]), event.score(second[fresh])
            thresholds = np.unique(np.concatenate(scores))
            thresholds = thresholds[_places(len(thresholds))]
            ordered = [np.sort(each) for each in scores]
            above = [len(each) - np.searchsorted(each, thresholds) for each in ordered]
            if mu:
                at = int(np.argmax(above[0] - above[1]))  # each guess that is not made of one is made of the other
                low = thresholds[at - 1] if at else -np.inf
                yield _Guess(event, float(np.nextafter(low, np.inf)), float(low), bool(swapped), True, names)
            if mu or delta:
                strict = bounded(above[0], above[1], len(scores[0]), confidence=1 - 2e-5)
                yield _Side(event, float(thresholds[int(np.argmax(strict))]), bool(swapped), bounded)
            else:
                below = [np.searchsorted(each, thresholds, "right") for each in ordered]
                for high, low in _telling(thresholds, above, below):
                    yield _Guess(event, high, low, bool(swapped), False, names)


def _places(count: int) -> np.ndarray:
    """Some of so many ordered thresholds: evenly, and ever closer towards both ends."""
    if count <= _THRESHOLDS + 2 * _TAIL:
        return np.arange(count)
    tail = np.geomspace(1, count, _TAIL) - 1
    found = np.concatenate([np.linspace(0, count - 1, _THRESHOLDS), tail, count - 1 - tail])
    return np.unique(found.round().astype(int))


def _telling(thresholds: np.ndarray, above: list[Any], below: list[Any]) -> list[tuple[float, float]]:
    """Pairs ``(above, below)`` whose log-odds of a right guess are largest, so many standard errors taken off."""
    high, low = np.append(thresholds, np.inf), np.append(-np.inf, thresholds)  # one of the two may be left out
    right = np.append(above[0], 0)[:, None] + np.append(0, below[1]) + 0.5
    wrong = np.append(above[1], 0)[:, None] + np.append(0, below[0]) + 0.5
    odds, error = np.log(right / wrong), np.sqrt(1 / right + 1 / wrong)
    apart = low < high[:, None]
    found: dict[tuple[float, float], None] = {}
    for strict in _STRICT:
        at = np.unravel_index(int(np.where(apart, odds - strict * error, -np.inf).argmax()), odds.shape)
        found[float(high[at[0]]), float(low[at[1]])] = None
    return list(found)
