"""How much a release tells about one variable, and gives away of another, for every split of ε among its noisy parts.

>>> law = np.array([[0.4, 0.1], [0.1, 0.4]])  # P(utility, release)
>>> {name: round(measure.of(law, np.array([0.0, 1.0])), 4) for name, measure in MEASURES.items()}
{'information': 0.1927, 'error': 0.2, 'squared': 0.16}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, permutations
from math import comb
from typing import Any

import numpy as np

from pcm.errors import ArgumentError, QueryError
from pcm.private.enumeration import eliminate, factors_of
from pcm.private.kernels import kernel_of
from pcm.private.leakage import leak_between
from pcm.private.mechanism import Mechanism
from pcm.private.randomized_response import MOST, RandomizedResponse
from pcm.query.model import Model

__all__ = ["DROP", "MEASURES", "NONE", "TARGETED", "UNIFORM", "Measure", "Worlds", "best_split", "read_worlds"]

TARGETED, UNIFORM, DROP, NONE = "targeted", "uniform", "drop", "no privacy"

_LEAST = 1e-3  # a smaller ε is a dropped variable
_POINTS, _ROUNDS = 300, 24


@dataclass(frozen=True)
class Measure:
    """A measure of a law ``P(utility, release)``; ``sign`` is 1 where more is better."""

    of: Callable[[np.ndarray, np.ndarray], float]
    sign: int
    words: str


def _information(law: np.ndarray, values: np.ndarray) -> float:
    apart = law.sum(1, keepdims=True) * law.sum(0, keepdims=True)
    return max(float((law * np.log(np.where(law > 0, law, 1.0) / np.where(law > 0, apart, 1.0))).sum()), 0.0)


def _error(law: np.ndarray, values: np.ndarray) -> float:
    return float(law.sum() - law.max(0).sum())


def _squared(law: np.ndarray, values: np.ndarray) -> float:
    mass = law.sum(0)
    mean = np.divide(values @ law, mass, out=np.zeros(len(mass)), where=mass > 0)
    return float((law * (values[:, None] - mean) ** 2).sum())


MEASURES = {
    "information": Measure(_information, 1, "information about {}"),
    "error": Measure(_error, -1, "error rate on {}"),
    "squared": Measure(_squared, -1, "squared error on {}"),
}


@dataclass(frozen=True, eq=False)
class Worlds:
    """The joint law under each draw of the parameters, ``(secret, known, utility, *candidates)``, and what is asked.

    A plan gives each released variable its ε: infinite says raw; what is absent, or has an ε near 0, is dropped.
    """

    joints: tuple[np.ndarray, ...]
    levels: Mapping[str, tuple[Any, ...]]
    candidates: tuple[str, ...]
    values: np.ndarray
    measure: str
    make: Callable[[str, float, tuple[Any, ...]], Any]
    kernels: dict[tuple[str, float], np.ndarray] = field(default_factory=dict, repr=False)

    @staticmethod
    def kept(share: float) -> bool:
        """Whether a variable of this ε is released at all."""
        return share >= _LEAST

    def mechanism(self, name: str, epsilon: float) -> Any:
        """The mechanism of a variable at an ε.

        Raises
        ------
        ArgumentError
            A ``mechanism=`` that makes one of a larger loss.
        """
        made = self.make(name, epsilon, self.levels[name])
        if not isinstance(made, Mechanism):
            raise ArgumentError(f"mechanism=: {made!r}, made for '{name}', is no mechanism of pcm.private.")
        if not float(made.epsilon) <= epsilon * (1 + 1e-9):
            raise ArgumentError(f"mechanism=: {made!r} has ε = {made.epsilon}, where '{name}' was given {epsilon:g}.")
        return made

    def value(self, plan: Mapping[str, float]) -> float:
        """The measure, averaged over the draws."""
        of = MEASURES[self.measure].of
        found = [of(law.reshape(len(law), -1), self.values) for law in self._laws(plan, (0, 1))]
        return float(np.mean(found))

    def leak(self, plan: Mapping[str, float]) -> float:
        """The model-conditional ε, averaged over the draws."""
        found = [leak_between(law.reshape(*law.shape[:2], -1))[0] for law in self._laws(plan, (2,))]
        return float(np.mean(found))

    def _laws(self, plan: Mapping[str, float], summed: tuple[int, ...]) -> Iterator[np.ndarray]:
        kernels = [self._kernel(name, plan.get(name, 0.0)) for name in self.candidates]
        for joint in self.joints:
            law = joint.sum(summed)
            first = joint.ndim - len(summed) - len(kernels)
            for kernel in kernels:  # the axis in front goes to the back
                law = law.sum(first) if kernel is None else np.tensordot(law, kernel, (first, 0))
            yield law

    def _kernel(self, name: str, share: float) -> np.ndarray | None:
        if np.isinf(share):
            return np.eye(len(self.levels[name]))
        if not self.kept(share):
            return None
        if (name, share) not in self.kernels:
            made = kernel_of(self.mechanism(name, share), self.levels[name], 0.0, name)
            self.kernels[name, share] = made.table
        return self.kernels[name, share]


def read_worlds(
    model: Model,
    private: Sequence[str],
    known: Sequence[str],
    utility: str,
    candidates: tuple[str, ...],
    measure: str,
    mechanism: Callable[[str, float, tuple[Any, ...]], Any] | None,
    draws: int,
    seed: int | None,
) -> Worlds:
    """Enumerate the model.

    Raises
    ------
    QueryError
        A variable that is not finite, too large a law, parameters neither fitted nor given, a utility without numbers
        for ``measure="squared"``.
    """
    joints, levels = [], {}
    for factors, levels in factors_of(model, [*private, *known, utility, *candidates], draws, seed):
        # a copy of each: one variable may play several parts
        axes = [(part, name) for part, group in enumerate((private, known, (utility,), candidates)) for name in group]
        copies = [((name, (part, name)), np.eye(len(levels[name]))) for part, name in axes]
        joint = eliminate([*factors.values(), *copies], axes)
        secrets, seen = (int(np.prod([len(levels[n]) for n in group], dtype=int)) for group in (private, known))
        joints.append(joint.reshape(secrets, seen, len(levels[utility]), *(len(levels[n]) for n in candidates)))
    values = np.arange(len(levels[utility]), dtype=float)
    if measure == "squared":
        try:
            values = np.array([float(level) for level in levels[utility]])
        except (TypeError, ValueError):
            raise QueryError(f"'{utility}' has labels, not numbers: measure='error' or 'information'.") from None
    return Worlds(tuple(joints), levels, candidates, values, measure, mechanism or _response)


def best_split(worlds: Worlds, free: Sequence[str], noised: Sequence[str], epsilon: float) -> dict[str, float]:
    """ε of each noised variable, together ``epsilon``: a grid over the simplex, then transfers between pairs.

    Equal shares and all for one are on the grid, so that the split is never worse than those, nor than dropping.
    """
    if len(noised) < 2:
        return dict.fromkeys(noised, epsilon)
    sign, raw = MEASURES[worlds.measure].sign, dict.fromkeys(free, np.inf)
    seen: dict[tuple[float, ...], float] = {}

    def worth(shares: tuple[float, ...]) -> float:
        if shares not in seen:
            plan = {name: epsilon * share for name, share in zip(noised, shares, strict=True)}
            seen[shares] = sign * worlds.value({**raw, **plan})
        return seen[shares]

    count = len(noised)
    steps = max((s for s in range(1, 21) if comb(s + count - 1, count - 1) <= _POINTS), default=1)
    starts = [*_simplex(count, steps), (1 / count,) * count]
    best, step = max(starts, key=worth), 1 / (2 * steps)
    for _ in range(_ROUNDS):
        moves = []
        for giver, taker in permutations(range(count), 2):
            moved, gift = list(best), min(step, best[giver])
            moved[giver], moved[taker] = moved[giver] - gift, moved[taker] + gift
            moves.append(tuple(moved))
        found = max(moves, key=worth)
        if worth(found) > worth(best) + 1e-12:
            best = found
        elif step < 1e-3:
            break
        else:
            step /= 2
    return {name: epsilon * share for name, share in zip(noised, best, strict=True)}


# -- private ---------------------------------------------------------------------------------------------------------


def _simplex(count: int, steps: int) -> Iterator[tuple[float, ...]]:
    for bars in combinations(range(steps + count - 1), count - 1):
        ends = (-1, *bars, steps + count - 1)
        yield tuple((ends[at + 1] - ends[at] - 1) / steps for at in range(count))


def _response(name: str, epsilon: float, values: tuple[Any, ...]) -> Any:
    return RandomizedResponse(epsilon=min(epsilon, MOST), categories=list(values))
