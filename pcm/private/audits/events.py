"""Which event tells two inputs apart: chosen on one half of the draws, counted on the other.

An event chosen on the draws that it is counted on would look rarer or commoner than it is, and the bound would be void;
half and half keeps it exact. The candidates are the sets of outputs on one side of a threshold; where there are few
distinct outputs, also the sets of those with the largest ratios of frequencies.

>>> from pcm.private.audits.bounds import epsilon_bound
>>> rng = np.random.default_rng(0)
>>> x, other = rng.laplace(0.0, 1.0, 20_000), rng.laplace(1.0, 1.0, 20_000)
>>> found = best_count(x, other, threshold_events, epsilon_bound)
>>> found.words, bool(found.bound < 1.0)
('output ≤ -0.09816', True)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pcm.private.audits.draws import FEW, Draws
from pcm.private.audits.result import Audit

__all__ = ["Count", "Event", "best_count", "threshold_events"]

#: Thresholds that are looked at.
_THRESHOLDS = 500
# distinct outputs whose ratios hardly look better on the draws that they were learnt on
_SURE = 16
# of all thresholds together, so that rare events do not win by luck
_SELECTION = 1_000


@dataclass(frozen=True)
class Event:
    """A family of nested events ``{score ≥ threshold}``, with words for each.

    Attributes
    ----------
    score : callable
        Outputs ``(draw,)`` to numbers ``(draw,)``.
    words : callable
        A threshold to what the event is.
    below : callable
        A threshold to what ``{score ≤ threshold}`` is.
    learnt : bool
        Whether the score was learnt from every other draw of the first half; the rest then chooses the threshold.
    """

    score: Callable[[np.ndarray], np.ndarray]
    words: Callable[[float], str]
    below: Callable[[float], str] = "the score is at most {:g}".format
    learnt: bool = False


@dataclass(frozen=True)
class Count:
    """The event that was chosen and how often it came: ``hits`` under one input, ``others`` under the other.

    ``reach`` is the bound that an event would have had that came always under one input and never under the other.
    """

    words: str
    hits: int
    others: int
    trials: int
    bound: float
    reach: float

    def audit(self, read: Draws, confidence: float, **found: Any) -> Audit:
        """What rests on it: ``found`` are the bounds, by the names that they have there."""
        return Audit(
            **found,
            confidence=confidence,
            delta=read.delta,
            claimed=read.claimed,
            reach=self.reach,
            found=f"{self.words}: {self.hits:,} against {self.others:,} of {self.trials:,} held-out draws",
            counts={"hits": self.hits, "others": self.others, "trials": self.trials},
        )


Events = Callable[[np.ndarray, np.ndarray], Iterator[Event]]
"""Candidates from the first halves of the draws under two inputs."""


def threshold_events(x: np.ndarray, other: np.ndarray) -> Iterator[Event]:
    """Sides of a threshold, and sets of the outputs that are the likelier under ``x``."""
    values = np.unique(np.concatenate([x, other]))
    if np.issubdtype(values.dtype, np.number):
        least, most = "output ≥ {:.4g}".format, "output ≤ {:.4g}".format
        yield Event(lambda o: o, least, most)
        yield Event(lambda o: -o, lambda t: most(0.0 - t), lambda t: least(0.0 - t))
    if len(values) <= FEW:
        # many ratios are learnt on draws that do not choose among them
        learnt = len(values) > _SURE
        seen = [draws[::2] if learnt else draws for draws in (x, other)]
        share = [np.bincount(np.searchsorted(values, draws), minlength=len(values)) + 0.5 for draws in seen]
        ratio = share[0] / share[1]

        def score(outputs: np.ndarray) -> np.ndarray:
            place = np.searchsorted(values, outputs).clip(max=len(values) - 1)
            return np.where(values[place] == outputs, ratio[place], 0.0)

        def words(chosen: np.ndarray) -> str:
            shown = ", ".join(map(str, chosen[:4])) + (", …" if len(chosen) > 4 else "")
            return f"output in {{{shown}}}"

        yield Event(score, lambda t: words(values[ratio >= t]), lambda t: words(values[ratio <= t]), learnt)


def best_count(
    x: np.ndarray,
    other: np.ndarray,
    events: Events,
    bound: Callable[..., Any],
    *,
    confidence: float = 0.95,
    **options: Any,
) -> Count:
    """The best event of the first halves, counted in the second ones.

    Parameters
    ----------
    x, other : array (draw,)
        Independent outputs under each of two inputs, as many of each.
    events : callable
        Candidates; they see the first halves only.
    bound : callable
        ``(hits, others, trials, confidence=…, **options)`` to the quantity to be large.
    """
    strict = 1 - (1 - confidence) / _SELECTION
    half = len(x) // 2
    trials = len(x) - half
    best: tuple[float, Any] = (-np.inf, None)
    for swapped, (first, second) in enumerate(((x, other), (other, x))):
        for event in events(first[:half], second[:half]):
            fresh = slice(1, half, 2) if event.learnt else slice(half)
            hits, others = event.score(first[fresh]), event.score(second[fresh])
            thresholds = np.unique(np.concatenate([hits, others]))
            if len(thresholds) > _THRESHOLDS:
                thresholds = thresholds[np.linspace(0, len(thresholds) - 1, _THRESHOLDS).astype(int)]
            above = [len(scores) - np.searchsorted(np.sort(scores), thresholds) for scores in (hits, others)]
            found = bound(*above, len(hits), confidence=strict, **options)
            at = int(np.argmax(found))
            if found[at] > best[0]:
                best = float(found[at]), (event, float(thresholds[at]), bool(swapped))
    event, threshold, swapped = best[1]
    first, second = (other, x) if swapped else (x, other)
    hits = int((event.score(first[half:]) >= threshold).sum())
    others = int((event.score(second[half:]) >= threshold).sum())
    found = max(float(bound(hits, others, trials, confidence=confidence, **options)), 0.0)
    reach = float(bound(trials, 0, trials, confidence=confidence, **options))
    return Count(event.words(threshold), hits, others, trials, found, reach)
