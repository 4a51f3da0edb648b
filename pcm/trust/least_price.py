r"""The least price of a *matched* predictor, where equations are not linear, and its shadow prices.

Among ``E[Y | x]`` corrected by a combination of given functions of ``x`` (on the log-odds for log loss), the one of
least risk whose mean, with each source set to each of a few values, is that of the target: a quadratic programme, or
for log loss a sequence of them. The *shadow price* of a source is the slope of that least price as the pinned effect
grows by one unit per unit of the source (turned about the source's mean), towards the best predictor: the multiplier
that a linear law has in closed form. Where one equation holds the effect this is also what a unit of tolerance saves.

Means are weighted sums, so that the same programme is exact on a table of cells and a Monte-Carlo estimate on units;
there a grouped jackknife (common random numbers: the same units in every world) gives standard errors.

>>> import numpy as np
>>> arms = [Arm(k, np.eye(2)[:, [int(k)]], np.array([k]), np.array([0.5])) for k in (0.0, 1.0)]
>>> effect, chances = {"a": np.array([-0.5, 0.5])}, np.array([0.5, 0.5])
>>> made = MatchedProgramme(np.eye(2), np.array([0.0, 1.0]), {"a": Pinned(arms, 0.0, effect, chances)})
>>> price, shadow = made.solve()
>>> round(price, 9), {name: round(value, 9) for name, value in shadow.items()}
(0.25, {'a': 0.5})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.special import expit, logit

from pcm.requirement.programme import least_risk
from pcm.trust.even_noise import NETS

__all__ = ["Arm", "MatchedProgramme", "Pinned"]

#: Quadratic programmes of a log loss. The jackknife leaves out one net of units in turn.
_STEPS = 100


@dataclass(frozen=True)
class Arm:
    """What a predictor reads where a source is set to a value.

    Attributes
    ----------
    value : float
    features : numpy.ndarray (feature, unit)
    best : numpy.ndarray (unit,)
        ``E[Y | x]`` there.
    pinned : numpy.ndarray (unit,)
        What the prediction should be on average.
    weights : numpy.ndarray (unit,), optional
        Probabilities of cells; units count alike.
    """

    value: float
    features: np.ndarray
    best: np.ndarray
    pinned: np.ndarray
    weights: np.ndarray | None = None


@dataclass(frozen=True)
class Pinned:
    """A source's arms.

    Attributes
    ----------
    arms : sequence of Arm
    tolerance : float
    directions : dict of name to numpy.ndarray (arm,)
        How the arms' pinned means move where an effect grows by one: a shadow price each.
    shares : numpy.ndarray (arm,)
        Probability of each value of the source.
    level : bool
        Whether the arms' mean is pinned too, beside the differences between them.
    """

    arms: Sequence[Arm]
    tolerance: float
    directions: Mapping[str, np.ndarray]
    shares: np.ndarray
    level: bool = True


class MatchedProgramme:
    """The programme of a least price.

    Parameters
    ----------
    features : numpy.ndarray (feature, unit)
    best : numpy.ndarray (unit,)
    pinned : dict of source to Pinned
    loss : "squared" or "log"
    weights : numpy.ndarray (unit,), optional
    """

    def __init__(
        self,
        features: np.ndarray,
        best: np.ndarray,
        pinned: Mapping[str, Pinned],
        loss: str = "squared",
        weights: np.ndarray | None = None,
    ) -> None:
        self.features, self.best, self.pinned, self.loss, self.weights = features, best, pinned, loss, weights
        self._solution: tuple[np.ndarray, np.ndarray] | None = None  # of the whole, where parts of it start

    def predict(self, features: np.ndarray, best: np.ndarray) -> np.ndarray:
        """The matched prediction for features ``(feature, unit)`` and ``E[Y | x]`` there, ``(…, unit)``.

        Of the whole, which :meth:`solve` has found before.
        """
        assert self._solution is not None
        moved = self._solution[0] @ features
        return best + moved if self.loss == "squared" else expit(_odds(best) + moved)

    def solve(self, left_out: int | None = None) -> tuple[float, dict[str, float]] | None:
        """Least price and signed slopes by effect, without one group of units; None where the equations are not met."""
        kept = self._share(len(self.best), self.weights, left_out)
        found = self._squared(kept, left_out) if self.loss == "squared" else self._log(kept, left_out)
        if found is None:
            return None
        price, multipliers = found
        slopes, place = {}, 0
        for asked in self.pinned.values():
            count = len(asked.arms) - 1 + asked.level
            for name, direction in asked.directions.items():
                moved = [*np.diff(direction), *([asked.shares @ direction] if asked.level else [])]
                slopes[name] = float(multipliers[place : place + count] @ moved)
            place += count
        return price, slopes

    def with_errors(self) -> tuple[tuple[float, float], dict[str, tuple[float, float]]] | None:
        """Least price and shadow prices of equally likely units, each with its jackknife standard error."""
        whole = self.solve()
        if whole is None:
            return None
        parts = [found for group in range(NETS) if (found := self.solve(group)) is not None]
        sign = {name: -1.0 if value < 0 else 1.0 for name, value in whole[1].items()}

        def error(values: Sequence[float]) -> float:
            return float(np.sqrt((len(values) - 1) * np.var(values)))

        return (whole[0], error([price for price, _ in parts])), {
            name: (sign[name] * value, error([found[name] for _, found in parts])) for name, value in whole[1].items()
        }

    # -- the programmes ----------------------------------------------------------------------------------------------

    def _squared(self, kept: np.ndarray, left_out: int | None) -> tuple[float, np.ndarray] | None:
        gram = (self.features * kept) @ self.features.T
        rows, values, slack = self._equations(np.zeros(len(gram)), left_out)
        weights, multipliers, _ = least_risk(gram[None], np.zeros((1, len(gram))), rows[None], values[None], slack)
        if not _met(rows @ weights[0], values, slack):
            return None
        if left_out is None:
            self._solution = weights[0], multipliers[0]
        return float((weights[0] @ self.features) ** 2 @ kept), multipliers[0]

    def _log(self, kept: np.ndarray, left_out: int | None) -> tuple[float, np.ndarray] | None:
        """Newton's method on the log-odds: each step is the quadratic programme of the Lagrangian there."""
        start, best = _odds(self.best), np.clip(self.best, 1e-12, 1 - 1e-12)
        if self._solution is None or left_out is None:
            weights, multipliers, near = np.zeros(len(self.features)), None, False
        else:
            (weights, multipliers), near = self._solution, True
        for _ in range(_STEPS):
            made = expit(start + weights @ self.features)
            slope = self.features @ (kept * (made - best))
            curve = (self.features * (kept * made * (1 - made))) @ self.features.T
            curve += 1e-10 * np.eye(len(curve)) * max(float(np.trace(curve)) / len(curve), 1e-12)
            rows, values, slack = self._equations(weights, left_out)
            if near and multipliers is not None and not slack.any():
                curve += self._bent(weights, multipliers, left_out)
            # least_risk takes wᵀΣw − 2bᵀw: half the curvature and half the slope
            step, found, _ = least_risk(curve[None] / 2, -slope[None] / 2, rows[None], values[None], slack)
            longest = float(np.abs(step[0] @ self.features).max())
            weights, multipliers = weights + step[0] * min(1.0, 2.0 / max(longest, 1e-300)), found[0]
            near = longest < 0.5
            if longest < 1e-8:
                break
        _, values, slack = self._equations(weights, left_out)
        if multipliers is None or not _met(np.zeros(len(values)), values, slack, 1e-3):
            return None
        if left_out is None:
            self._solution = weights, multipliers
        made = np.clip(expit(start + weights @ self.features), 1e-12, 1 - 1e-12)
        paid = best * np.log(best / made) + (1 - best) * np.log((1 - best) / (1 - made))
        return float(kept @ paid), multipliers

    def _bent(self, weights: np.ndarray, multipliers: np.ndarray, left_out: int | None) -> np.ndarray:
        """What the curvature of the constraints adds to that of the risk."""
        total, place = np.zeros((len(weights), len(weights))), 0
        for asked in self.pinned.values():
            count = len(asked.arms)
            steps = multipliers[place : place + count - 1]
            place += count - 1 + asked.level
            shares = -np.diff(steps, prepend=0.0, append=0.0)
            if asked.level:
                shares = shares + multipliers[place - 1] * asked.shares
            for arm, share in zip(asked.arms, shares, strict=True):
                made = expit(_odds(arm.best) + weights @ arm.features)
                kept = self._share(len(made), arm.weights, left_out)
                total += share * (arm.features * (kept * made * (1 - made) * (1 - 2 * made))) @ arm.features.T
        return total

    def _equations(self, weights: np.ndarray, left_out: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Linear equations ``|rows · step − values| ≤ slack`` of a step from the present weights."""
        rows, values, slack = [], [], []
        for asked in self.pinned.values():
            means = [self._arm(arm, weights, left_out) for arm in asked.arms]
            for (below, low), (above, high) in pairwise(zip(asked.arms, means, strict=True)):
                rows.append(high[0] - low[0])
                values.append(high[1] - low[1])
                slack.append(asked.tolerance * (above.value - below.value))
            if asked.level:
                rows.append(asked.shares @ np.array([row for row, _ in means]))
                values.append(asked.shares @ np.array([value for _, value in means]))
                slack.append(0.0)
        return np.reshape(rows, (len(rows), len(weights))), np.array(values), np.array(slack)

    def _arm(self, arm: Arm, weights: np.ndarray, left_out: int | None) -> tuple[np.ndarray, float]:
        """Mean change of the prediction a unit of each weight, and how far the mean is from what is pinned."""
        kept = self._share(len(arm.best), arm.weights, left_out)
        if self.loss == "squared":
            return arm.features @ kept, float(kept @ (arm.pinned - arm.best - weights @ arm.features))
        made = expit(_odds(arm.best) + weights @ arm.features)
        return arm.features @ (kept * made * (1 - made)), float(kept @ (arm.pinned - made))

    def _share(self, units: int, weights: np.ndarray | None, left_out: int | None) -> np.ndarray:
        """Weights that sum to one."""
        if weights is not None:
            return weights
        kept = np.ones(units) if left_out is None else (np.arange(units) % NETS != left_out).astype(float)
        return kept / kept.sum()


def _odds(chances: np.ndarray) -> np.ndarray:
    return logit(np.clip(chances, 1e-12, 1 - 1e-12))


def _met(found: np.ndarray, values: np.ndarray, slack: np.ndarray, size: float | None = None) -> bool:
    """Whether the equations hold up to what a finite set of functions leaves."""
    if not len(values):
        return True
    size = float(np.abs(values).max()) if size is None else size
    return bool((np.abs(found - values) - slack).max() <= 0.05 * (1e-6 + size) + 1e-6)
