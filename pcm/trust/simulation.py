"""A check by simulation, where the equations are not linear: the same table, with Monte-Carlo standard errors.

Given the inputs, squared error splits into what no predictor can avoid and ``(E[Y | x] − f(x))²``, so that a price is
averaged with little noise; log loss (binary outcomes) splits into entropy and divergence. The matched predictor has the
least risk among predictors whose mean, with each source set to each of a few values, is that of the target (up to a
level, where a reference was chosen): over every function of the inputs, and exactly, where the program is finite, else
over polynomial corrections of ``E[Y | x]`` (:mod:`pcm.trust.least_price`).

>>> import pyro, pyro.distributions as dist, pcm
>>> def curved():
...     a = pyro.sample("a", dist.Normal(0.0, 1.0))
...     x = pyro.sample("x", dist.Normal(a, 1.0))
...     pyro.sample("y", dist.Normal(x * a, 1.0))
>>> found = pcm.check(pcm.SCM(curved), [pcm.Requirement("a", outcome="y", admissible="a -> x -> y")], seed=0)
>>> abs(float(found.price) - 4) < 4 * found.price.standard_error, abs(float(found.price_minimum) - 3) < 0.3
(True, True)
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy.special import entr, rel_entr

from pcm.graph import parents
from pcm.query.effect import Effect
from pcm.requirement import Requirement
from pcm.trust.barycentre import Barycentre
from pcm.trust.matched import Matched
from pcm.trust.simulated_units import Predictor, SimulatedUnits, halves
from pcm.trust.verdict import Row

__all__ = ["LEAST_UNITS", "Simulation"]

#: Groups up to which the table has a row of demographic parity, and units of each group that it needs.
_GROUPS, LEAST_UNITS = 20, 80


class Simulation(SimulatedUnits):
    """Numbers of a check by simulation; its parameters are those of :class:`SimulatedUnits`."""

    @property
    def label(self) -> str:
        """Name of the requirements as a whole."""
        return self.pinning[0].label if len(self.pinning) == 1 else "together"

    @property
    def delivered(self) -> str:
        """Name of the delivered predictor's row."""
        return f"{self.label}, faithful"

    # -- the table ---------------------------------------------------------------------------------------------------

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Every predictor, the trivial baselines first."""
        made: dict[str, Predictor] = {f"Bayes ({', '.join(self.inputs)})": self.bayes}
        for source in self.sources:
            if source in self.inputs:
                made[f"unaware (drop {source})"] = self.on([n for n in self.inputs if n != source])
        read = [source for source in self.sources if source in self.inputs]
        if len(self.sources) > 1:
            made[f"unaware (drop {', '.join(self.sources)})"] = self.on([n for n in self.inputs if n not in read])
        made["parents only"] = self.on([n for n in self.inputs if n in parents(self.graph, self.outcome)])
        groups = [source for source in self.sources if self.loss == "squared" and self.in_groups(source)]
        fair = {f"demographic parity in {source}": source for source in groups}
        made |= {name: self.fair(source) for name, source in fair.items()}
        made["constant"] = self.on([])
        if len(self.pinning) > 1:
            for r in self.pinning:
                made[f"{r.label}, faithful"] = self.faithful([r])
                made[f"{r.label}, observational optimum"] = self.corrected([r])
        uniform: list[tuple[str, ...]] = [(s,) for s in self.sources]
        for group in [*uniform, self.sources] if len(uniform) > 1 else uniform:
            closed = [Requirement(s, outcome=self.outcome) for s in group]
            made[f"uniform in {' and '.join(group)}"] = self.faithful(closed)
        if self.pinning:
            made[f"{self.label}, faithful"] = self.faithful(self.pinning)
            if self.matched.predictor is not None:
                made[f"{self.label}, matched"] = self.matched.predictor
            made[f"{self.label}, observational optimum"] = self.corrected(self.pinning)
        prices = {name: self.barycentre(source).price for name, source in fair.items()}
        least = self.matched.price
        if least is not None:
            prices[f"{self.label}, matched"] = least.mean, least.standard_error or 0.0
        return tuple(self.row(name, predictor, prices.get(name)) for name, predictor in made.items())

    def row(self, name: str, made: Predictor, known: tuple[float, float] | None = None) -> Row:
        """A predictor's row; its price and that one's standard error may be known otherwise than unit by unit."""
        effects = {
            label: self.averaged(response, f"effect of {label} on {name}")
            for s in self.sources
            for label, response in zip(self.effect_names(s), self._responses(made, s), strict=True)
        }
        if known is None:
            price = self.excess(made(self.read))
            risk, paid = self.averaged(self._floor + price, f"risk of {name}"), self.averaged(price, f"price of {name}")
        else:
            floor, paid = self.averaged(self._floor, "floor"), self.estimate(*known, f"price of {name}")
            error = float(np.hypot(floor.standard_error or 0.0, known[1]))
            risk = self.estimate(floor.mean + known[0], error or None, f"risk of {name}")
        return Row(name, risk, paid, effects)

    # -- demographic parity --------------------------------------------------------------------------------------------

    def in_groups(self, source: str) -> bool:
        """Whether a predictor reads which of a few groups each unit is in, and all else that the outcome rests on."""
        count = self.sites[source].cardinality
        grouped = source in self.inputs and count is not None and count <= _GROUPS and not self.joint.hidden
        return grouped and self.smallest(source)[1] >= LEAST_UNITS

    def smallest(self, source: str) -> tuple[float, int]:
        """The value of a source that the fewest units have, and how many."""
        values, counts = np.unique(self.sampled[source], return_counts=True)
        return float(values[counts.argmin()]), int(counts.min())

    def barycentre(self, source: str) -> Barycentre:
        """Of the groups' laws of the best prediction."""
        if source not in self._barycentres:
            self._barycentres[source] = Barycentre(self.best, self.read[source])
        return self._barycentres[source]

    def fair(self, source: str) -> Predictor:
        """The least squared error under demographic parity, on average over ranks drawn within atoms."""
        return lambda read: self.barycentre(source).predict(self.bayes(read).mean(0), read[source])

    @cached_property
    def _barycentres(self) -> dict[str, Barycentre]:
        return {}

    # -- risks -------------------------------------------------------------------------------------------------------

    @cached_property
    def _floor(self) -> np.ndarray:
        """Risk that no predictor can avoid, ``(unit,)``."""
        if self.loss == "log":
            return 2 * _entropy(self.best) - _entropy(halves(self.known.outcome)).mean(0)
        spread = self.known.outcome.var(0, ddof=1) if len(self.known.outcome) > 1 else 0.0
        return self.known.variance.mean(0) + spread

    def excess(self, values: np.ndarray) -> np.ndarray:
        """Risk above that of a prediction ``(unit,)``, or of two estimates of it ``(half, unit)``: ``(unit,)``.

        The square of an average over few draws would add their noise: the product of two halves' errors does not. Of a
        divergence twice that of the average less that of the halves has none of first order.
        """
        best = halves(self.known.outcome)
        if self.loss == "log":
            made = np.broadcast_to(values, best.shape)
            return 2 * _divergence(best.mean(0), made.mean(0)) - _divergence(best, made).mean(0)
        errors = best - values
        return errors[0] * errors[1]

    @cached_property
    def price(self) -> Effect:
        """Risk of the delivered predictor above the best."""
        return self.averaged(self.excess(halves(self.known.target)), "price")

    @cached_property
    def laundering_gap(self) -> Effect | None:
        """What the observational optimum on the corrected features saves."""
        if not self.pinning:
            return None
        saved = self.excess(halves(self.known.target)) - self.excess(self.corrected(self.pinning)(self.read))
        return self.averaged(saved, "laundering gap")

    @cached_property
    def matched(self) -> Matched:
        """The least price, its shadow prices, and over which predictors it is the least."""
        return Matched(self)

    @property
    def price_minimum(self) -> Effect | None:
        """Least price of a matched predictor; None where none is found."""
        return self.matched.price

    @property
    def shadow_prices(self) -> dict[str, Effect]:
        """What a unit of each pinned effect costs of it."""
        return self.matched.shadow_prices

    @property
    def least_over(self) -> str:
        """The predictors of which it is the least price."""
        return self.matched.over

    # -- responses -----------------------------------------------------------------------------------------------------

    def _responses(self, made: Predictor, source: str) -> list[np.ndarray]:
        """Response of a predictor a unit of the source (between labels, of a category), ``(unit,)`` a pair."""

        def at(value: float) -> np.ndarray:
            found = made(self.arm(source, value))
            return found if found.ndim == 1 else found.mean(0)

        return [(at(high) - at(low)) / self.step(source, low, high) for low, high in self.pairs(source)]

    @cached_property
    def gaps(self) -> dict[str, Effect]:
        """Residual gaps of the delivered predictor."""
        found, made = {}, self.faithful(self.pinning)
        for source in self.joint.plan.sources:
            each = []
            for (low, high), response in zip(self.pairs(source), self._responses(made, source), strict=True):
                pinned = (self.pinned_mean(source, high) - self.pinned_mean(source, low)) / self.step(source, low, high)
                each.append(self.averaged(response - pinned, f"residual gap of {source}"))
            found[source] = max(each, key=lambda gap: abs(gap.mean))
        return found


# -- private ---------------------------------------------------------------------------------------------------------


def _entropy(chances: np.ndarray) -> np.ndarray:
    return entr(chances) + entr(1 - chances)


def _divergence(chances: np.ndarray, made: np.ndarray) -> np.ndarray:
    """Of a coin from a prediction; from a certain one nothing is infinitely far."""
    made = np.clip(made, 1e-12, 1 - 1e-12)
    return rel_entr(chances, made) + rel_entr(1 - chances, 1 - made)
