r"""Predictors under requirements in closed form, on a linear law.

Everything is an affine function of the noises. The target ``T`` replaces, in the copies of a :class:`TargetPlan`, what
a source feeds into an inadmissible edge by the reference's mean; the *faithful* predictor is its projection on the
inputs, ``E[T | inputs]``; the *matched* one has the least risk among those whose total effect of each source is that of
``T``; the *observational optimum* regresses ``Y`` on what the outcome's mechanism may read.

>>> import networkx as nx
>>> from pcm.requirement import Requirement, target_plan
>>> from pcm.trust.linear_law import generic_law
>>> graph = nx.DiGraph([("a", "m"), ("m", "y"), ("a", "y")])
>>> plan = target_plan(graph, [Requirement("a", outcome="y")], "y")
>>> made = LinearAnswers(generic_law(graph), plan, ("a", "m"))
>>> abs(made.effect(made.faithful, "a").round(9).item())
0.0
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pcm.couplings import unwrap
from pcm.requirement import Copy, Independence, TargetPlan
from pcm.requirement.programme import least_risk, solve_symmetric
from pcm.trust.linear_law import LinearLaw

__all__ = ["LinearAnswers", "LinearPredictor"]


@dataclass(frozen=True, eq=False)
class LinearPredictor:
    """A predictor linear in its inputs.

    Attributes
    ----------
    inputs : tuple of str
    weights : numpy.ndarray (draw, input)
    intercept : numpy.ndarray (draw,)
    """

    inputs: tuple[str, ...]
    weights: np.ndarray
    intercept: np.ndarray

    def __repr__(self) -> str:
        terms = [f"{w:.4g} {n}" for n, w in zip(self.inputs, self.weights.mean(0), strict=True) if abs(w) > 5e-13]
        start = float(self.intercept.mean())
        words = " + ".join(([f"{start:.4g}"] if abs(start) > 5e-13 or not terms else []) + terms)
        return words.replace("+ -", "− ")


class LinearAnswers:
    """Every predictor of a check on a linear law, with its risk and effects (arrays over draws).

    Parameters
    ----------
    law : LinearLaw
    plan : TargetPlan
    inputs : sequence of str
        Variables that a predictor may read.
    independence : sequence of Independence
    """

    def __init__(
        self, law: LinearLaw, plan: TargetPlan, inputs: Sequence[str], independence: Sequence[Independence] = ()
    ) -> None:
        self.law, self.plan, self.inputs, self.independence = law, plan, tuple(inputs), tuple(independence)
        self.outcome = plan.outcome
        self.noise = law.variances

    # -- affine functions of the noises --------------------------------------------------------------------------------

    def value(self, name: str) -> np.ndarray:
        """A variable as an affine function of the noises, ``(draw, noise + 1)``."""
        return self.law.values[:, self.law.place[name]]

    @cached_property
    def copies(self) -> dict[int, np.ndarray]:
        """Copies of the target plan as affine functions of the noises, by their id."""
        found: dict[int, np.ndarray] = {}
        law, size = self.law, len(self.law.names)
        for copy in self.plan.copies:
            own = law.place[copy.node]
            total = np.zeros((law.draws, size + 1))
            total[:, own], total[:, -1] = 1.0, law.constants[:, own]
            for parent, feed in copy.feeds.items():
                slope = law.slopes[:, own, law.place[parent], None]
                if feed is None:
                    total[:, -1] += slope[:, 0] * self.reference(parent)
                else:
                    total += slope * found[id(feed)]
            found[id(copy)] = total
        return found

    def reference(self, source: str) -> np.ndarray:
        """Mean of what an inadmissible edge of a source is fed, ``(draw,)``; labels count from zero."""
        for r in self.plan.requirements:
            if source in r.references:
                given = r.references[source]
                if isinstance(given, str):
                    labels = self.law.labels.get(source, ())  # a graph alone has none, nor constants that would matter
                    given = labels.index(given) if given in labels else 0.0
                given = unwrap(given)[0].mean if hasattr(given, "log_prob") else given
                return np.full(self.law.draws, float(given))
        return self.value(source)[:, -1]

    @property
    def target(self) -> np.ndarray:
        """``T`` as an affine function of the noises."""
        return self.copies[id(self.plan.target)]

    # -- predictors ----------------------------------------------------------------------------------------------------

    def project(self, target: np.ndarray, inputs: Sequence[str]) -> LinearPredictor:
        """The linear function of the inputs nearest to a target."""
        rows = self._rows(inputs)
        # given a root that is read, the rest does not depend on how the root is spread: one that do() holds still is
        # given a spread here, or its weight would be arbitrary and the prediction move where it is set otherwise
        still = [
            n in inputs and n in self.law.roots() and not self.law.variances[:, i].any()
            for n, i in self.law.place.items()
        ]
        noise = np.where(still, 1.0, self.noise)
        inner, outer = _covariance(rows, rows, noise), _covariance(rows, target[:, None], noise)[..., 0]
        weights = solve_symmetric(inner, outer)
        return LinearPredictor(tuple(inputs), weights, target[:, -1] - _dot(weights, rows[..., -1]))

    @cached_property
    def bayes(self) -> LinearPredictor:
        """``E[Y | inputs]``."""
        return self.project(self.value(self.outcome), self.inputs)

    @cached_property
    def faithful(self) -> LinearPredictor:
        """``E[T | inputs]``."""
        return self.project(self.target, self.inputs)

    @cached_property
    def constant(self) -> LinearPredictor:
        """The outcome's mean."""
        return self.project(self.value(self.outcome), ())

    def without(self, names: Sequence[str]) -> LinearPredictor:
        """The best predictor that does not read some inputs."""
        return self.project(self.value(self.outcome), [n for n in self.inputs if n not in names])

    @cached_property
    def observational(self) -> LinearPredictor:
        """``E[Y | corrected features]``: parents as they are, replaced by a copy, or dropped."""
        features = []
        for parent, feed in self.plan.inputs.items():
            if feed is None:
                continue
            if isinstance(feed, Copy) or parent not in self.inputs:
                value = self.copies[id(feed)] if isinstance(feed, Copy) else self.value(parent)
                features.append(self.project(value, self.inputs))
            else:
                unit = np.tile(np.array([float(n == parent) for n in self.inputs]), (self.law.draws, 1))
                features.append(LinearPredictor(self.inputs, unit, np.zeros(self.law.draws)))
        return self._regress(features)

    def _regress(self, features: Sequence[LinearPredictor]) -> LinearPredictor:
        if not features:
            return self.constant
        outcome, rows = self.value(self.outcome), self._rows(self.inputs)
        maps = np.stack([f.weights for f in features], 1)
        made = maps @ rows
        weights = solve_symmetric(self.covariance(made, made), self.covariance(made, outcome[:, None])[..., 0])
        combined = (weights[:, None] @ maps)[:, 0]
        return LinearPredictor(self.inputs, combined, outcome[:, -1] - _dot(combined, rows[..., -1]))

    @cached_property
    def equations(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
        """What the requirements pin of the weights: rows, right-hand sides, tolerances and names."""
        rows = self._rows(self.inputs)
        place, count = self.law.place, len(self.inputs)
        left, right, slack, names = [], [], [], []
        for source in self.plan.sources:
            left.append(rows[..., place[source]])
            right.append(self.target[:, place[source]])
            slack.append(min(r.tolerance for r in self.plan.requirements if source in r.variables))
            names.append(source)
        for asked in self.independence:
            left.append(self._independence_row(asked, rows))
            right.append(np.zeros(self.law.draws))
            slack.append(asked.tolerance)
            names.append(asked.label)
        shape = (self.law.draws, 0, count)
        return (
            np.stack(left, 1) if left else np.zeros(shape),
            np.stack(right, 1) if right else np.zeros(shape[:2]),
            np.array(slack),
            tuple(names),
        )

    def _independence_row(self, asked: Independence, rows: np.ndarray) -> np.ndarray:
        source, outcome = self.value(asked.source)[:, None], self.value(self.outcome)[:, None]
        spread = self.covariance(source, source)[..., 0]
        row = self.covariance(rows, source)[..., 0]
        if asked.given:  # jointly Gaussian: independence given the outcome is a partial covariance of zero
            share = self.covariance(outcome, source)[..., 0] / self.covariance(outcome, outcome)[..., 0]
            row = row - self.covariance(rows, outcome)[..., 0] * share
        return row / np.maximum(spread, 1e-300)

    @cached_property
    def _matched(self) -> tuple[LinearPredictor, np.ndarray, np.ndarray]:
        rows, outcome = self._rows(self.inputs), self.value(self.outcome)
        left, right, slack, _ = self.equations
        weights, multipliers, met = least_risk(
            self.covariance(rows, rows), self.covariance(rows, outcome[:, None])[..., 0], left, right, slack
        )
        made = LinearPredictor(self.inputs, weights, outcome[:, -1] - _dot(weights, rows[..., -1]))
        return made, multipliers, met

    @property
    def matched(self) -> LinearPredictor:
        """The least risk among predictors that respond to each source as ``T`` does on average."""
        return self._matched[0]

    @property
    def multipliers(self) -> dict[str, np.ndarray]:
        """Shadow prices by equation: what a unit of the pinned effect costs, ``(draw,)``."""
        return {name: np.abs(self._matched[1][:, i]) for i, name in enumerate(self.equations[3])}

    @property
    def attainable(self) -> np.ndarray:
        """Whether some weights meet every equation, ``(draw,)``."""
        return self._matched[2]

    # -- what a predictor is worth -------------------------------------------------------------------------------------

    def risk(self, made: LinearPredictor) -> np.ndarray:
        """Mean squared error, ``(draw,)``."""
        return self.risk_of(made, self.value(self.outcome))

    def risk_of(self, made: LinearPredictor, target: np.ndarray) -> np.ndarray:
        """Mean squared distance from an affine function of the noises, ``(draw,)``."""
        gap = target - self.applied(made)
        return (gap[:, :-1] ** 2 * self.noise).sum(-1) + gap[:, -1] ** 2

    def applied(self, made: LinearPredictor) -> np.ndarray:
        """A predictor as an affine function of the noises."""
        found = np.einsum("di,din->dn", made.weights, self._rows(made.inputs))
        found[:, -1] += made.intercept
        return found

    def effect(self, made: LinearPredictor, source: str) -> np.ndarray:
        """Total effect of a unit of a source on a prediction, ``(draw,)``."""
        return self.applied(made)[:, self.law.place[source]]

    def gap(self, made: LinearPredictor, name: str) -> np.ndarray:
        """How much more than ``T`` a prediction responds to a variable, ``(draw,)``."""
        return self.effect(made, name) - self.target[:, self.law.place[name]]

    # -- plumbing ------------------------------------------------------------------------------------------------------

    def _rows(self, names: Sequence[str]) -> np.ndarray:
        return self.law.values[:, [self.law.place[n] for n in names]]

    def covariance(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Covariances of affine functions of the noises, ``(draw, first, second)``."""
        return _covariance(first, second, self.noise)


def _dot(first: Any, second: Any) -> np.ndarray:
    return (first * second).sum(-1)


def _covariance(first: np.ndarray, second: np.ndarray, noise: np.ndarray) -> np.ndarray:
    return (first[..., :-1] * noise[:, None]) @ second[..., :-1].swapaxes(-1, -2)
