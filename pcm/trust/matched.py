"""The matched predictors of a simulated check: their programme on every cell of a finite program, or on units.

>>> import pyro, pyro.distributions as dist, pcm
>>> def admission():
...     a = pyro.sample("a", dist.Bernoulli(0.5))
...     x = pyro.sample("x", dist.Bernoulli(0.5))
...     pyro.sample("y", dist.Bernoulli(0.1 + 0.4 * a + 0.2 * a * x))
>>> found = pcm.check(pcm.SCM(admission), [pcm.counterfactual_fairness("a", outcome="y")], units=500, seed=0)
>>> found.price_minimum, found.least_over
(least price: 0.0625 (exact), 'every function of the inputs, by enumeration')
>>> round(0.5**2 * 0.25, 9)  # half the effect, .5 on average, at either value of a
0.0625
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from scipy.special import logit

from pcm.query.effect import Effect
from pcm.trust.finite_law import finite_law
from pcm.trust.least_price import Arm, MatchedProgramme, Pinned
from pcm.trust.regressions import monomials
from pcm.trust.replays import Columns
from pcm.trust.simulated_units import Predictor, SimulatedUnits

__all__ = ["Matched"]

#: Cells of the inputs on which the programme is solved exactly.
_CELLS = 256


class Matched:
    """The least price among matched predictors, and its shadow prices.

    Parameters
    ----------
    units : SimulatedUnits
    """

    def __init__(self, units: SimulatedUnits) -> None:
        self.units, self.loss = units, units.loss

    @property
    def price(self) -> Effect | None:
        """The least price; None where no predictor looked at meets the requirements."""
        return self._found[0] if self._found else None

    @property
    def shadow_prices(self) -> dict[str, Effect]:
        """What a unit of each pinned effect costs of it."""
        return self._found[1] if self._found else {}

    @property
    def over(self) -> str:
        """The predictors looked at, in words."""
        return self._found[2] if self._found else ""

    @property
    def predictor(self) -> Predictor | None:
        """The predictor that has the least price; None where none is found."""
        return self._found[3] if self._found else None

    @cached_property
    def _found(self) -> tuple[Effect, dict[str, Effect], str, Predictor] | None:
        units = self.units
        if not units.pinning or not units.inputs:
            return None
        table = self._table()
        if table is not None:
            programme, predictor = table
            solved = programme.solve()
            if solved is None:
                return None
            price, shadow = (solved[0], 0.0), {name: (abs(value), 0.0) for name, value in solved[1].items()}
            over = "every function of the inputs, by enumeration"
        else:
            programme, predictor = self._sampled()
            estimated = programme.with_errors()
            if estimated is None:
                return None
            price, shadow = estimated
            over = "polynomial corrections of E[Y | inputs]" + (", on the log-odds" if self.loss == "log" else "")
        effects = {name: units.estimate(*value, f"shadow price of {name}") for name, value in shadow.items()}
        return units.estimate(*price, "least price"), effects, over, predictor

    def _table(self) -> tuple[MatchedProgramme, Predictor] | None:
        """The programme on every cell of the inputs; None where the program is not finite, or too large."""
        units = self.units
        sources, plan = units.sources, units.joint.plan
        law = finite_law(units.joint.scm, {units.outcome, *units.inputs, *sources})
        if isinstance(law, str) or any(source not in law.factors for source in sources):
            return None
        read, place = law.cells(units.inputs)
        count, weights = len(next(iter(read.values()))), law.weights
        if count > _CELLS:
            return None

        def share(each: np.ndarray) -> np.ndarray:
            return np.bincount(place, each, count)

        chances = share(weights)
        best = share(weights * law.columns[units.outcome]) / np.where(chances > 0, chances, 1.0)
        pinned = {}
        for source in sources:
            values, at = np.unique(law.columns[source], return_inverse=True)
            arms = []
            for value in values.tolist():
                target = law.target(plan, {source: value})
                if target is None:
                    return None
                arms.append(Arm(value, np.eye(count), best, np.full(count, target), share(law.under({source: value}))))
            pinned[source] = self._pinned(source, arms, np.bincount(at.ravel(), weights, len(values)))
        # a cell that no unit is in costs nothing, but may not be weightless
        programme = MatchedProgramme(np.eye(count), best, pinned, self.loss, chances + 1e-9)

        def predictor(asked: Columns) -> np.ndarray:
            apart = sum(np.abs(np.subtract.outer(asked[name], read[name])) for name in units.inputs)
            return programme.predict(np.eye(count), best)[np.argmin(apart, 1)]

        return programme, predictor

    def _sampled(self) -> tuple[MatchedProgramme, Predictor]:
        """The programme on the simulated units, over polynomials and the faithful prediction."""
        units = self.units
        made = np.array([units.read[n] for n in units.inputs])
        centre, spread = made.mean(1, keepdims=True), np.maximum(made.std(1, keepdims=True), 1e-12)

        def features(read: Columns, best: np.ndarray) -> np.ndarray:
            scaled = (np.array([read[n] for n in units.inputs]) - centre) / spread
            extra = [
                scaled[units.inputs.index(s)] ** power
                for s in units.sources
                if s in units.inputs and not units.sites[s].discrete
                for power in (3, 4)
            ]
            if units.joint.draws == 1:  # what is delivered is then among the predictors looked at
                faithful = units.faithful(units.pinning)(read).mean(0)
                extra.append(_odds(faithful) - _odds(best) if self.loss == "log" else faithful - best)
            return np.concatenate([monomials(scaled, 2), np.array(extra).reshape(len(extra), scaled.shape[1])])

        pinned = {}
        for source in units.sources:
            arms = []
            for value in units.grid(source):
                read = units.arm(source, value)
                best = units.bayes(read).mean(0)
                arms.append(Arm(value, features(read, best), best, units.pinned_mean(source, value)))
            chances = np.array([np.mean(units.sampled[source] == arm.value) for arm in arms])
            pinned[source] = self._pinned(source, arms, chances)
        programme = MatchedProgramme(features(units.read, units.best), units.best, pinned, self.loss)

        def predictor(read: Columns) -> np.ndarray:
            best = units.bayes(read)
            return programme.predict(features(read, best.mean(0)), best)

        return programme, predictor

    def _pinned(self, source: str, arms: Sequence[Arm], chances: np.ndarray) -> Pinned:
        """A source's arms, and how they move where an effect of it grows by one, turned about the source's mean."""
        names, values = self.units.effect_names(source), np.array([arm.value for arm in arms])
        if not chances.sum() > 1 - 1e-9:  # evenly spaced quantiles stand for a continuous source
            chances = np.full(len(arms), 1 / len(arms))
        if len(names) > 1:
            directions = {name: np.eye(len(arms))[i] - chances[i] for i, name in enumerate(names, 1)}
        else:
            directions = {names[0]: values - chances @ values}
        tolerance = min(r.tolerance for r in self.units.pinning if source in r.variables)
        return Pinned(arms, tolerance, directions, chances, level=self._level(source))

    def _level(self, source: str) -> bool:
        """Whether the mean over a source's arms is pinned, beside the differences between them.

        A chosen reference moves the target's level, which no effect pins. Of roots one is enough: the mean over what a
        root may be is the mean over units, and the same equation twice would be one of noise.
        """
        units = self.units
        roots = [name for name in units.sources if not units.graph.pred[name]]
        return not any(r.references for r in units.pinning) and source not in roots[1:]


def _odds(chances: np.ndarray) -> np.ndarray:
    return logit(np.clip(chances, 1e-12, 1 - 1e-12))
