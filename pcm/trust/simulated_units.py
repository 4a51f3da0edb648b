"""Units drawn from a model that is not linear, and predictors of its outcome evaluated on them.

Baselines and the observational optimum are cubic regressions of ``E[Y | x]`` (logistic ones for log loss), free of the
noise of features that are averages over draws (:mod:`pcm.trust.regressions`); a faithful prediction averages the
target's copies over references. The same units, with the same noise, are there in every world
in which a source is set. They are spread evenly (:mod:`pcm.trust.even_noise`).

>>> import pyro, pyro.distributions as dist, pcm
>>> from pcm.query.account import Account
>>> def curved():
...     a = pyro.sample("a", dist.Normal(0.0, 1.0))
...     pyro.sample("y", dist.Normal(a**2, 1.0))
>>> scm = pcm.SCM(curved)
>>> fair = [pcm.counterfactual_fairness("a", outcome="y")]
>>> units = SimulatedUnits(scm, scm.graph, fair, "y", ("a",), "squared", 1_000, 0, Account(rung=3))
>>> bool(np.allclose(units.best, units.read["a"] ** 2))
True
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import networkx as nx
import numpy as np

from pcm.errors import ArgumentError, QueryError, listed
from pcm.graph import descendants
from pcm.query.account import Account
from pcm.query.effect import Effect
from pcm.requirement import Independence, Requirement, target_plan
from pcm.requirement.references import reference_samples
from pcm.scm import SCM
from pcm.trust.even_noise import mean_and_error
from pcm.trust.regressions import Regression, split
from pcm.trust.replays import Columns, Posterior, Replays

__all__ = ["Predictor", "SimulatedUnits", "halves"]

#: Units over which effects are averaged, and rows (units × draws) where the inputs leave something open.
_FEW, _ROWS = 2_000, 640_000
#: Units without which nothing is said, and that a weight of a regression needs.
_LEAST, _FEWEST = 100, 20
_SOURCE_VALUES = 5

Predictor = Callable[[Columns], np.ndarray]


class SimulatedUnits:
    """Simulated units and predictors on them.

    Parameters
    ----------
    scm : SCM
        Without free parameters.
    graph : DiGraph
    requirements : sequence of Requirement and Independence
    outcome : str
    inputs : sequence of str
    loss : "squared" or "log"
    units : int
    seed : int
    account : Account
    """

    def __init__(
        self,
        scm: SCM,
        graph: nx.DiGraph,
        requirements: Sequence[Any],
        outcome: str,
        inputs: Sequence[str],
        loss: str,
        units: int,
        seed: int,
        account: Account,
    ) -> None:
        self.graph, self.outcome, self.inputs, self.loss = graph, outcome, tuple(inputs), loss
        self.pinning = tuple(r for r in requirements if isinstance(r, Requirement) and r.variables)
        self.independence = tuple(r for r in requirements if isinstance(r, Independence))
        self.seed, self.account = seed, account
        model, below = scm._model, set(inputs) & descendants(graph, outcome)
        if below:
            raise QueryError(f"{listed(below)} lies below '{outcome}': a simulated check reads what comes before it.")
        if loss == "log" and model.structure.sites[outcome].cardinality != 2:
            raise QueryError(f"log loss needs a binary outcome where equations are not linear; '{outcome}' is not.")
        target, named = model.structure.sites[outcome], {n for r in self.pinning for n in r.variables}
        if not target.ordered and target.cardinality != 2:
            raise QueryError(
                f"'{outcome}' is categorical, and its labels have no order: a squared error means nothing. Make an "
                "indicator of one label the outcome."
            )
        for name in named & set(inputs):
            if model.structure.sites[name].kind == "deterministic":
                raise QueryError(
                    f"the program computes the source '{name}' from other variables: no unit has it otherwise with "
                    "these unchanged, so what a predictor would say there is not simulated. Make it a sampled "
                    "variable, or require it of its causes."
                )
        after = descendants(graph, outcome)
        for name, site in model.structure.sites.items():
            if not site.scalar and name not in after:
                raise QueryError(f"'{name}' has several values a unit; a simulated check takes scalar variables.")
        if units < _LEAST:
            raise ArgumentError(f"units={units}: a simulated check needs at least {_LEAST}.")
        self.scm, self.sites = scm, model.structure.sites
        self._completed: dict[Any, Any] = {}
        self._plans: dict[tuple[int, ...], tuple[tuple[Requirement, ...], Replays]] = {}
        self._arms: dict[tuple[str, float], Columns] = {}
        self._worlds: dict[tuple[str, float], Columns] = {}
        self.joint = self._replays(self.pinning)
        computed = [n for n in inputs if self.sites[n].kind == "deterministic"]  # no unit has it otherwise: no response
        apart = [r.source for r in self.independence if r.source not in computed]
        self.sources = tuple(dict.fromkeys((*self.joint.plan.sources, *apart)))
        self.units = units if self.joint.draws == 1 else min(units, _ROWS // self.joint.draws)
        self.sampled = self.joint.sample(self.units)
        self.few = min(self.units, _FEW if self.joint.draws == 1 else _ROWS // (40 * self.joint.draws))
        self.read = {name: self.sampled[name] for name in self.inputs}

    def _replays(self, pinning: Sequence[Requirement]) -> Replays:
        key = tuple(map(id, pinning))
        if key not in self._plans:
            plan = target_plan(self.graph, pinning, self.outcome)
            made = Replays(self.scm, plan, self.inputs, seed=self.seed, completed=self._completed)
            self._plans[key] = tuple(pinning), made  # kept too: an identity is theirs while they live
        return self._plans[key][1]

    def _references(self, replays: Replays) -> Columns:
        return reference_samples(self.scm._model, replays.plan, self.sampled, self.seed)

    # -- predictors ----------------------------------------------------------------------------------------------------

    def _posterior(self, replays: Replays, read: Columns) -> Posterior:
        return replays.posterior(read, self._references(replays))

    @cached_property
    def known(self) -> Posterior:
        """The joint target and the outcome given the inputs."""
        return self._posterior(self.joint, self.read)

    @cached_property
    def best(self) -> np.ndarray:
        """``E[Y | inputs]``, ``(unit,)``."""
        return self.known.outcome.mean(0)

    def faithful(self, pinning: Sequence[Requirement]) -> Predictor:
        replays = self._replays(pinning)
        return lambda read: halves(self._posterior(replays, read).target)

    def bayes(self, read: Columns) -> np.ndarray:
        return halves(self._posterior(self._replays(()), read).outcome)

    def _regression(self, features: Callable[[Columns], np.ndarray]) -> Predictor:
        """Cubic regression of the outcome's conditional mean on features ``(feature, half, draw, unit)``.

        Of chances that, or the cubic's logistic function, whichever errs less.
        """
        made = features(self.read)
        if not len(made):
            return lambda read: np.full(len(next(iter(read.values()))), self.best.mean())
        degree = 3 if len(made) <= 8 else 2
        while degree > 1 and _FEWEST * math.comb(len(made) + degree, degree) > self.units:
            degree -= 1
        best = halves(self.known.outcome)
        fits = [Regression(made, best, degree, self.loss)]
        if self.loss == "squared" and self.sites[self.outcome].cardinality == 2:
            fits.append(Regression(made, best, degree, "log"))  # chances bend: often the log-odds are the polynomial
        lost = [np.prod(best - fit(made), 0).mean() for fit in fits]
        fitted = fits[int(np.argmin(lost))]
        return lambda read: fitted(features(read))

    def on(self, names: Sequence[str]) -> Predictor:
        return self._regression(lambda read: np.array([[[read[n]]] * 2 for n in names]))

    def corrected(self, pinning: Sequence[Requirement]) -> Predictor:
        """The observational optimum: what the outcome may read, each parent's copy averaged over references."""
        replays = self._replays(pinning)
        feeds = replays.plan.inputs
        plain = [n for n, feed in feeds.items() if isinstance(feed, str) and n in self.inputs]

        def features(read: Columns) -> np.ndarray:
            copies = [split(each) for each in replays.features(read, self._references(replays)).values()]
            draws = copies[0].shape[1] if copies else 1
            return np.array([*(np.tile(read[n], (2, draws, 1)) for n in plain), *copies])

        return self._regression(features)

    # -- worlds in which a source is set -----------------------------------------------------------------------------

    def _levels(self, source: str) -> tuple[float, float]:
        """Two values of a source, for effects by unit."""
        values = self.sampled[source]
        low, high = float(values.min()), float(values.max())
        if low == high:  # held by do(): one step up, or down where that is not a value
            step = -1.0 if self.sites[source].cardinality == low + 1 else 1.0
            return min(low, low + step), max(low, low + step)
        if self.sites[source].discrete:
            return low, high
        return float(values.mean() - values.std()), float(values.mean() + values.std())

    def arm(self, source: str, value: float) -> Columns:
        """What a predictor would read, had the source been set."""
        if (source, value) not in self._arms:
            self._arms[source, value] = {name: self._world(source, value)[name] for name in self.inputs}
        return self._arms[source, value]

    def pairs(self, source: str) -> list[tuple[float, float]]:
        """Values of a source that effects compare: two of a number, each label with the first one of a category."""
        site = self.sites[source]
        if site.ordered or site.cardinality == 2:
            return [self._levels(source)]
        first, *others = (float(value) for value in np.unique(self.sampled[source]))
        return [(first, other) for other in others] or [self._levels(source)]

    def step(self, source: str, low: float, high: float) -> float:
        return high - low if len(self.pairs(source)) == 1 else 1.0

    def effect_names(self, source: str) -> list[str]:
        """What each response is called."""
        pairs = self.pairs(source)
        if len(pairs) == 1:
            return [source]
        labels = self.scm._model.categories.get(source)
        return [f"{source} = {labels[int(high)] if labels else int(high)}" for _, high in pairs]

    def pinned_mean(self, source: str, value: float) -> np.ndarray:
        values, samples = self._world(source, value), self._references(self.joint)
        return self.joint.averaged_target(values, samples, {source: value}).mean(0)

    def _world(self, source: str, value: float) -> Columns:
        """The first units, had the source been set."""
        if (source, value) not in self._worlds:
            self._worlds[source, value] = self.joint.sample(self.few, {source: value})
        return self._worlds[source, value]

    def grid(self, source: str) -> list[float]:
        values = self.sampled[source]
        distinct = np.unique(values)
        if len(distinct) == 1:
            return [*self._levels(source)]
        if len(distinct) <= _SOURCE_VALUES:
            return distinct.tolist()
        # within a tolerance polynomials would bend between few values
        count = _SOURCE_VALUES if not any(r.tolerance for r in self.pinning) else 2 * _SOURCE_VALUES
        return np.quantile(values, (np.arange(count) + 0.5) / count).tolist()

    def averaged(self, values: np.ndarray, label: str) -> Effect:
        mean, error = mean_and_error(values)
        small = error is not None and error <= 1e-12 * (1 + abs(mean))
        return Effect(np.array([mean]), label=label, account=self.account, standard_error=None if small else error)

    def estimate(self, mean: float, error: float | None, label: str) -> Effect:
        """One number with its Monte-Carlo standard error; 0 where it is exact."""
        return Effect(np.array([mean]), label=label, account=self.account, standard_error=error)


def halves(values: np.ndarray) -> np.ndarray:
    """Two estimates ``(half, unit)`` of a mean over draws ``(draw, unit)``, or ``(half, draw, unit)`` of references."""
    return split(np.stack([values, values]) if values.ndim == 2 else values).mean(1)
