"""Guessing by which of two inputs a draw came about: the tightest count of what a mechanism gives away.

A fair coin chooses the input of each draw. Whatever was seen, ε-privacy leaves either input odds of at most e^ε; so of
``r`` guesses, made where the output is telling and passed elsewhere, the right ones are at most ``Binomial(r, e^ε / (1
+ e^ε))``: one Clopper–Pearson limit over the draws of both inputs, where two probabilities need two. Under μ-GDP a
guess of every draw is right with at most ``Φ(μ / 2)``.

Where to guess is chosen on a twentieth of the draws and counted on the rest: a choice counted on its own draws would
look better than it is, and the bound would be void. Where there are few wrong guesses to choose by, at large ε, a fifth
chooses. Draws simulated from what the mechanism is said to be propose as well; they are counted nowhere.

With ``r`` guesses the bound falls short of ε by ``1.645 (1 + e^ε) / √(r e^ε)`` on average, and no event does better:
with five categories at ε = .25, whose answers tell two inputs apart in three draws of seven, 3.2 % with a standard
deviation of 1.9 % were all of 200,000 draws an input counted, 3.3 % and 2 % as they are.

>>> rng = np.random.default_rng(0)
>>> x, other = rng.laplace(0.0, 1.0, 20_000), rng.laplace(1.0, 1.0, 20_000)
>>> found = best_test(x, other, confidence=0.95, coins=rng)
>>> round(found.bound, 2), found.words
(0.96, "guessing x where output ≤ 0.2098, x' where output ≥ 1.322: 17,011 of 23,396 right, held-out draws")

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
from scipy.special import ndtr

from pcm.private.audits.bounds import epsilon_bound, guess_bound, guess_mu_bound, mu_bound
from pcm.private.audits.events import Event, threshold_events

__all__ = ["FRESH", "STRICT", "Test", "best_test", "first_share", "odds"]

#: Share of the draws by which the choice is made, and of so few draws three of it.
_SHARE, _CHOOSING = 0.05, 1_500
# where it shows fewer wrong guesses, which is where ε is large, a larger share chooses
_FEW_WRONG, _LARGER = 30, 0.2
# standard errors taken off what a test shows on the draws that proposed it (fewer let rare events win by luck), and on
# draws that did not
STRICT, FRESH = 5.0, 2.0
_LUCK = 3.0
_THRESHOLDS, _TAIL = 150, 40
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
    names: tuple[str, ...]

    def count(self, x: np.ndarray, other: np.ndarray) -> tuple[int, int]:
        """Right and all guesses among the draws of each input."""
        first, second = (self.event.score(draws) for draws in ((other, x) if self.swapped else (x, other)))
        right = int((first >= self.above).sum() + (second <= self.below).sum())
        return right, right + int((second >= self.above).sum() + (first <= self.below).sum())

    def bound(self, right: int, guesses: int, confidence: float) -> float:
        """ε or μ below which so many right guesses are too many."""
        return float((guess_mu_bound if self.mu else guess_bound)(right, guesses, confidence=confidence))

    def quick(self, x: np.ndarray, other: np.ndarray, strict: float) -> tuple[float, int]:
        """The bound by which the choice is made, so many standard errors off and without coins; and wrong guesses."""
        fresh = _fresh(self.event, x)
        right, guesses = self.count(x[fresh], other[fresh])
        return self.bound(right, guesses, float(ndtr(strict))), guesses - right

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

    def quick(self, x: np.ndarray, other: np.ndarray, strict: float) -> tuple[float, int]:
        fresh = _fresh(self.event, x)
        hits, others, trials = self.count(x[fresh], other[fresh])
        return float(self.bounded(hits, others, trials, confidence=float(ndtr(strict)))), others

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
    names: tuple[str, ...] = ("x", "x'"),
    law: tuple[np.ndarray, ...] | None = None,
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
    law : pair of array, optional
        Draws of what the mechanism is said to be, under the two inputs: they propose tests too, and cost nothing.
    """
    make = partial(_proposals, mu=mu, delta=delta, names=names)
    own = None if law is None else _best(make(*law), law)
    for chosen in (first_share(len(x)), max(1, int(_LARGER * len(x)))):
        part, rest = (x[:chosen], other[:chosen]), (x[chosen:], other[chosen:])
        best = _best(make(*part), part)
        if own is not None and own.quick(*part, FRESH)[0] >= best.quick(*part, STRICT)[0]:
            best = own
        if mu or delta or best is own or best.quick(*part, STRICT)[1] >= _FEW_WRONG:
            break
    return best.found(*rest, confidence, coins)


def first_share(count: int) -> int:
    """How many of so many draws choose what is counted on the rest: a twentieth, of few draws up to three."""
    return max(1, int(max(_SHARE * count, min(3 * _SHARE * count, _CHOOSING))))


def odds(right: Any, wrong: Any, strict: float) -> np.ndarray:
    """Log-odds of a right guess, so many standard errors taken off: of Wilson's limit, which stands few wrong ones.

    >>> odds([900, 1000], [100, 0], 2.0).round(2).tolist()
    [1.99, 5.52]
    """
    right, wrong = np.asarray(right, float), np.asarray(wrong, float)
    half = strict**2 / 2
    spread = strict * np.sqrt(right * wrong / np.maximum(right + wrong, 1) + half / 2)
    low, high = right + half - spread, wrong + half + spread
    with np.errstate(divide="ignore"):
        return np.log(np.maximum(low, 0.0)) - np.log(high)


# -- private ---------------------------------------------------------------------------------------------------------


def _best(tests: Iterator[Any], draws: tuple[np.ndarray, ...]) -> Any:
    """The test that looks best on the draws that proposed all of them; the first of equals."""
    return max(tests, key=lambda test: test.quick(*draws, STRICT)[0])


def _proposals(x: np.ndarray, other: np.ndarray, *, mu: bool, delta: float, names: tuple[str, ...]) -> Iterator[Any]:
    """The test of each family that looks best on these draws."""
    bounded: Callable[..., Any] = mu_bound if mu else partial(epsilon_bound, delta=delta)
    sides = mu or delta > 0
    for swapped, (first, second) in enumerate(((x, other), (other, x)) if sides else ((x, other),)):
        for event in threshold_events(first, second):
            fresh = _fresh(event, first)
            scores = event.score(first[fresh]), event.score(second[fresh])
            levels = np.unique(np.concatenate(scores))
            ordered = [np.sort(each) for each in scores]
            if not sides:
                yield _Guess(event, *_telling(levels, ordered), bool(swapped), False, names)
                continue
            thresholds = levels[_places(len(levels))]
            above = [len(each) - np.searchsorted(each, thresholds) for each in ordered]
            strict = bounded(above[0], above[1], len(scores[0]), confidence=float(ndtr(STRICT)))
            yield _Side(event, float(thresholds[int(np.argmax(strict))]), bool(swapped), bounded)
            if mu:
                # each guess that is not made of one is made of the other; away from the median by more than luck
                away = np.abs(above[0] + above[1] - len(scores[0]))
                at = int(np.argmax(above[0] - above[1] - _LUCK * np.sqrt(away)))
                low = thresholds[at - 1] if at else -np.inf
                yield _Guess(event, float(np.nextafter(low, np.inf)), float(low), bool(swapped), True, names)


def _fresh(event: Event, draws: np.ndarray) -> slice:
    """Those of the draws by which the event is judged."""
    return slice(1, None, 2) if event.learnt and len(draws) > 1 else slice(None)


def _places(count: int) -> np.ndarray:
    """Some of so many ordered thresholds: evenly, and ever closer towards both ends."""
    if count <= _THRESHOLDS + 2 * _TAIL:
        return np.arange(count)
    tail = np.geomspace(1, count, _TAIL) - 1
    found = np.concatenate([np.linspace(0, count - 1, _THRESHOLDS), tail, count - 1 - tail])
    return np.unique(found.round().astype(int))


def _telling(levels: np.ndarray, ordered: list[np.ndarray]) -> tuple[float, float]:
    """The pair ``(above, below)`` of the largest odds of a right guess; first among some levels, then near the best."""
    places = _places(len(levels))
    high = low = 0.0
    for _ in range(2):
        thresholds = levels[places]
        above = [np.append(len(each) - np.searchsorted(each, thresholds), 0)[:, None] for each in ordered]
        below = [np.append(0, np.searchsorted(each, thresholds, "right")) for each in ordered]
        highs, lows = np.append(thresholds, np.inf), np.append(-np.inf, thresholds)  # one of the two may be left out
        worth = odds(above[0] + below[1], above[1] + below[0], STRICT)
        at = np.unravel_index(int(np.where(lows < highs[:, None], worth, -np.inf).argmax()), worth.shape)
        high, low = float(highs[at[0]]), float(lows[at[1]])
        if len(places) == len(levels):
            break
        near = [places[np.clip([each - 1, each + 1], 0, len(places) - 1)] for each in (at[0], at[1] - 1)]
        fine = [np.linspace(ends[0], ends[1], _THRESHOLDS // 2).round().astype(int) for ends in near]
        places = np.unique(np.concatenate([places[at[0] : at[0] + 1], places[at[1] - 1 : at[1]], *fine]))
    return high, low
