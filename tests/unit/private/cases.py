"""Eight parameter values of each mechanism, with the inputs that its answers are tested at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pcm import private


def near(true: Any, answer: Any) -> float:
    return -abs(true - answer)


@dataclass(frozen=True)
class Case:
    """A mechanism and one input."""

    mechanism: private.Mechanism
    given: Any

    def __str__(self) -> str:
        return f"{self.mechanism!r} at {self.given!r}"


def _responses() -> list[Case]:
    two = [private.RandomizedResponse(epsilon=e, categories=[0, 1]) for e in (0.1, 0.5, 1.0, 4.0)]
    three = private.RandomizedResponse(epsilon=0.5, categories=["a", "b", "c"])
    more = [private.RandomizedResponse(epsilon=e, categories=list("abcde")) for e in (0.2, 1.0, 3.0)]
    return [Case(m, g) for m, g in zip([*two, three, *more], [0, 1, 1, 0, "b", "a", "c", "e"], strict=True)]


def _additive(family: Any, low: Any, high: Any) -> list[Case]:
    scales = (0.3, 0.7, 1.0, 2.0, 5.0, 20.0)
    plain = [Case(family(scale=s, bounds=(low, high)), low if s < 1 else high) for s in scales]
    clamped = [
        Case(family(scale=2.0, bounds=(low, high), clamp=(low, high)), high),
        Case(family(scale=3.0, bounds=(low, high), clip=True, clamp=(low - 1, None)), high + 5),
    ]
    return [*plain, *clamped]


def _selections(family: Any) -> list[Case]:
    grades = [0, 1, 2, 3]
    made = [Case(family(epsilon=e, categories=grades, utility=near), 1) for e in (0.1, 0.5, 1.0, 2.0, 4.0, 8.0)]
    uneven = [[3.0, 0.0, 1.0], [0.5, 2.0, 2.0]]
    rest = [family(epsilon=e, categories=["x", "y"], utility=uneven, candidates=["p", "q", "r"]) for e in (1.0, 3.0)]
    return made + [Case(mechanism, "y") for mechanism in rest]


CASES = {
    "RandomizedResponse": _responses(),
    "Laplace": _additive(private.Laplace, 0.0, 4.5),
    "Gaussian": _additive(private.Gaussian, 0.0, 4.5),
    "DiscreteLaplace": _additive(private.DiscreteLaplace, -1, 4),
    "DiscreteGaussian": _additive(private.DiscreteGaussian, -1, 4),
    "Exponential": _selections(private.Exponential),
    "PermuteAndFlip": _selections(private.PermuteAndFlip),
}
