"""Guessing by which of several inputs a draw came about, where the outputs are few.

A fair die with ``k`` faces chooses the input of each draw. Whatever was seen, ε-privacy leaves no input odds of more
than e^ε to another, so of ``r`` guesses the right ones are at most ``Binomial(r, e^ε / (k − 1 + e^ε))``. Every answer
of k-ary randomised response tells of one of its inputs, where two of them leave most answers without a guess: with five
categories at ε = .25 as many draws in all make the bound's standard error smaller by a quarter.

>>> rng = np.random.default_rng(0)
>>> draws = [np.where(rng.random(20_000) < 0.4, value, rng.integers(0, 5, 20_000)) for value in range(5)]
>>> found = best_among(draws, confidence=0.95, coins=rng)
>>> round(found.bound, 2), round(float(np.log(0.52 / 0.12)), 2)
(1.45, 1.47)
>>> found.words
'guessing 0 at 0, 1 at 1, 2 at 2, 3 at 3, …: 45,934 of 88,419 right, held-out draws'

References
----------
Kairouz, Oh & Viswanath, "Extremal mechanisms for local differential privacy", JMLR 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pcm.errors import ArgumentError
from pcm.private.audits.bounds import guess_bound
from pcm.private.audits.draws import FEW
from pcm.private.audits.guesses import FRESH, STRICT, Test, first_share, odds

__all__ = ["best_among"]

_SPARE = 6.0  # standard deviations of the die's faces for which there must be draws
_SHOWN = 4


def best_among(
    draws: Sequence[np.ndarray],
    *,
    confidence: float,
    coins: np.random.Generator,
    names: Sequence[str] | None = None,
    law: Sequence[np.ndarray] | None = None,
) -> Test:
    """Choose at which outputs to guess which input on some of the draws, count on the rest.

    Parameters
    ----------
    draws : sequence of array (draw,)
        Independent outputs under each input, as many of each.
    confidence : float
        Of the bound.
    coins : Generator
        Chooses how many of the held-out draws are taken of each input; independent of the draws.
    names : sequence of str, optional
        The inputs in words.
    law : sequence of array, optional
        Draws of what the mechanism is said to be: they propose too, and cost nothing.

    Raises
    ------
    ArgumentError
        More than 512 distinct outputs.
    """
    count, each = len(draws), len(draws[0])
    names = [str(place) for place in range(count)] if names is None else names
    chosen = first_share(each)
    part = [outputs[:chosen] for outputs in draws]
    tests = [(_Table.of(part), STRICT)]
    if law is not None:
        tests.insert(0, (_Table.of(law), FRESH))
    worth = [float(odds(*table.count(part), strict)) for table, strict in tests]
    table = tests[int(np.argmax(worth))][0]
    rest = each - chosen
    draws_taken = max(1, int(count * (rest - _SPARE * np.sqrt(rest))))
    faces = np.minimum(coins.multinomial(draws_taken, np.full(count, 1 / count)), rest)
    right, wrong = table.count([outputs[chosen : chosen + face] for outputs, face in zip(draws, faces, strict=True)])
    taken, guesses = int(faces.sum()), right + wrong
    lift = np.log(count - 1)
    return Test(
        f"guessing {table.words(names)}: {right:,} of {guesses:,} right, held-out draws",
        max(float(guess_bound(right, guesses, confidence=confidence) + lift), 0.0),
        float(guess_bound(taken, taken, confidence=confidence) + lift),
        {"right": right, "guesses": guesses, "draws": taken},
    )


# -- private ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Table:
    """Which input to guess at which output: ``guess`` are places of inputs, −1 where none is guessed."""

    values: np.ndarray
    guess: np.ndarray

    @classmethod
    def of(cls, draws: Sequence[np.ndarray]) -> _Table:
        """The commonest input at the outputs that tell most, so many standard errors taken off."""
        values = np.unique(np.concatenate(draws))
        if len(values) > FEW:
            raise ArgumentError(
                f"inputs=: {len(draws)} inputs are told apart by outputs of which there are few; here are "
                f"{len(values):,} distinct ones. Give the two inputs that are farthest apart."
            )
        seen = np.stack([np.bincount(np.searchsorted(values, each), minlength=len(values)) for each in draws])
        right = seen.max(0)
        wrong = seen.sum(0) - right
        order = np.argsort(-odds(right, wrong, 0.0), kind="stable")
        worth = odds(right[order].cumsum(), wrong[order].cumsum(), STRICT)
        guess = seen.argmax(0)
        guess[order[int(worth.argmax()) + 1 :]] = -1
        return cls(values, guess)

    def count(self, draws: Sequence[np.ndarray]) -> tuple[int, int]:
        """Right and wrong guesses."""
        right = wrong = 0
        for place, outputs in enumerate(draws):
            at = np.searchsorted(self.values, outputs).clip(max=len(self.values) - 1)
            guess = np.where(self.values[at] == outputs, self.guess[at], -1)
            right += int((guess == place).sum())
            wrong += int(((guess >= 0) & (guess != place)).sum())
        return right, wrong

    def words(self, names: Sequence[str]) -> str:
        told = [
            f"{names[place]} at {value}" for value, place in zip(self.values, self.guess, strict=True) if place >= 0
        ]
        return ", ".join(told[:_SHOWN]) + (", …" if len(told) > _SHOWN else "")
