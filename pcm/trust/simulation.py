"""A check by simulation, where the equations are not linear: the same table, with Monte-Carlo standard errors.

Given the inputs, squared error splits into what no predictor can avoid and ``(E[Y | x] − f(x))²``, so that a price is
averaged with little noise; log loss (binary outcomes) splits into entropy and divergence. Baselines and the
observational optimum are cubic regressions (logistic ones for log loss); the matched predictor has the least risk among
``E[Y | x]`` plus a polynomial whose mean, with each source set to each of a few values, is that of the target (up to a
level, where a reference was chosen).

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

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import combinations_with_replacement, pairwise
from typing import Any

import networkx as nx
import numpy as np
from scipy.special import expit

from pcm.errors import QueryError, listed
from pcm.graph import descendants, parents
from pcm.query.account import Account
from pcm.query.effect import Effect
from pcm.requirement import Requirement, target_plan
from pcm.requirement.programme import least_risk
from pcm.requirement.references import reference_samples
from pcm.scm import SCM
from pcm.trust.replays import Columns, Posterior, Replays
from pcm.trust.verdict import Row

__all__ = ["Simulation"]

#: Units over which effects are averaged, and rows (units × draws) where the inputs leave something open.
_FEW, _ROWS = 2_000, 64_000
_SOURCE_VALUES = 5

Predictor = Callable[[Columns], np.ndarray]


class Simulation:
    """Numbers of a check by simulation.

    Parameters
    ----------
    scm : SCM
        Without free parameters.
    graph : DiGraph
    requirements : sequence of Requirement
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
        for name in (outcome, *inputs):
            if not model.structure.sites[name].scalar:
                raise QueryError(f"'{name}' has several values a unit; a check takes scalar variables.")
        self.scm, self.sites = scm, model.structure.sites
        self._completed: dict[Any, Any] = {}
        self._arms: dict[tuple[str, float], Columns] = {}
        self._worlds: dict[tuple[str, float], Columns] = {}
        self.joint = self._replays(self.pinning)
        self.sources = self.joint.plan.sources
        self.units = units if self.joint.draws == 1 else min(units, _ROWS // self.joint.draws)
        self.sampled = self.joint.sample(self.units)
        self.few = min(self.units, _FEW if self.joint.draws == 1 else _ROWS // (4 * self.joint.draws))
        self.read = {name: self.sampled[name] for name in self.inputs}

    def _replays(self, pinning: Sequence[Requirement]) -> Replays:
        plan = target_plan(self.graph, pinning, self.outcome)
        return Replays(self.scm, plan, self.inputs, seed=self.seed, completed=self._completed)

    def _references(self, replays: Replays) -> Columns:
        return reference_samples(self.scm._model, replays.plan, self.sampled, self.seed)

    # -- predictors ----------------------------------------------------------------------------------------------------

    @property
    def label(self) -> str:
        """Name of the requirements as a whole."""
        return self.pinning[0].label if len(self.pinning) == 1 else "together"

    @property
    def delivered(self) -> str:
        """Name of the delivered predictor's row."""
        return f"{self.label}, faithful"

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

    def _faithful(self, pinning: Sequence[Requirement]) -> Predictor:
        replays = self._replays(pinning)
        return lambda read: _halves(self._posterior(replays, read).target)

    def _bayes(self, read: Columns) -> np.ndarray:
        return self._posterior(self._replays(()), read).outcome.mean(0)

    def _regression(self, features: Callable[[Columns], np.ndarray]) -> Predictor:
        """Cubic regression of the outcome's conditional mean on features ``(feature, unit)``."""
        made = features(self.read)
        if not len(made):
            return lambda read: np.full(len(next(iter(read.values()))), self.best.mean())
        centre, spread = made.mean(1, keepdims=True), made.std(1, keepdims=True)
        spread[spread == 0] = 1.0
        degree = 3 if len(made) <= 8 else 2
        columns = _monomials((made - centre) / spread, degree)
        if self.loss == "log":
            logits = _logistic(columns, self.best)
            return lambda read: expit(logits @ _monomials((features(read) - centre) / spread, degree))
        weights, *_ = np.linalg.lstsq(columns.T, self.best, rcond=1e-9)
        return lambda read: weights @ _monomials((features(read) - centre) / spread, degree)

    def _on(self, names: Sequence[str]) -> Predictor:
        return self._regression(lambda read: np.array([read[n] for n in names]))

    def _corrected(self, pinning: Sequence[Requirement]) -> Predictor:
        """The observational optimum: what the outcome may read, each parent's copy averaged over references."""
        replays = self._replays(pinning)
        feeds = replays.plan.inputs
        plain = [n for n, feed in feeds.items() if isinstance(feed, str) and n in self.inputs]

        def features(read: Columns) -> np.ndarray:
            copies = replays.features(read, self._references(replays))
            return np.array([*(read[n] for n in plain), *copies.values()])

        return self._regression(features)

    # -- the table ---------------------------------------------------------------------------------------------------

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Every predictor, the trivial baselines first."""
        made: dict[str, Predictor] = {f"Bayes ({', '.join(self.inputs)})": self._bayes}
        for source in self.sources:
            if source in self.inputs:
                made[f"unaware (drop {source})"] = self._on([n for n in self.inputs if n != source])
        made["parents only"] = self._on([n for n in self.inputs if n in parents(self.graph, self.outcome)])
        made["constant"] = self._on([])
        if len(self.pinning) > 1:
            for r in self.pinning:
                made[f"{r.label}, faithful"] = self._faithful([r])
        groups: list[tuple[str, ...]] = [(s,) for s in self.sources]
        for group in [*groups, self.sources] if len(groups) > 1 else groups:
            uniform = [Requirement(s, outcome=self.outcome) for s in group]
            made[f"uniform in {' and '.join(group)}"] = self._faithful(uniform)
        if self.pinning:
            made[self.delivered] = self._faithful(self.pinning)
            made[f"{self.label}, observational optimum"] = self._corrected(self.pinning)
        return tuple(self._row(name, predictor) for name, predictor in made.items())

    def _row(self, name: str, made: Predictor) -> Row:
        values = made(self.read)
        effects = {
            label: self._averaged(response, f"effect of {label} on {name}")
            for s in self.sources
            for label, response in zip(self._names(s), self._responses(made, s), strict=True)
        }
        price = self._excess(values)
        return Row(
            name,
            self._averaged(self._floor + price, f"risk of {name}"),
            self._averaged(price, f"price of {name}"),
            effects,
        )

    # -- risks -------------------------------------------------------------------------------------------------------

    @cached_property
    def _floor(self) -> np.ndarray:
        """Risk that no predictor can avoid, ``(unit,)``."""
        if self.loss == "log":
            p = np.clip(self.best, 1e-12, 1 - 1e-12)
            return -(p * np.log(p) + (1 - p) * np.log(1 - p))
        spread = self.known.outcome.var(0, ddof=1) if len(self.known.outcome) > 1 else 0.0
        return self.known.variance.mean(0) + spread

    def _excess(self, values: np.ndarray) -> np.ndarray:
        """Risk above that, ``(unit,)``; of two estimates of a prediction ``(half, unit)`` the product of their errors.

        The square of an average over few draws would add their noise.
        """
        if self.loss == "log":
            values = values if values.ndim == 1 else values.mean(0)
            p, q = (np.clip(v, 1e-12, 1 - 1e-12) for v in (self.best, values))
            return p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
        if values.ndim == 1:
            return (self.best - values) ** 2
        errors = _halves(np.stack([self.known.outcome] * 2)) - values
        return errors[0] * errors[1]

    @cached_property
    def price(self) -> Effect:
        """Risk of the delivered predictor above the best."""
        return self._averaged(self._excess(_halves(self.known.target)), "price")

    @cached_property
    def laundering_gap(self) -> Effect | None:
        """What the observational optimum on the corrected features saves."""
        if not self.pinning:
            return None
        saved = self._excess(_halves(self.known.target)) - self._excess(self._corrected(self.pinning)(self.read))
        return self._averaged(saved, "laundering gap")

    @property
    def shadow_prices(self) -> dict[str, Effect]:
        """None: a pinned response is a curve here, not a number."""
        return {}

    # -- responses -----------------------------------------------------------------------------------------------------

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

    def _arm(self, source: str, value: float) -> Columns:
        """What a predictor would read, had the source been set."""
        if (source, value) not in self._arms:
            self._arms[source, value] = {name: self._world(source, value)[name] for name in self.inputs}
        return self._arms[source, value]

    def _pairs(self, source: str) -> list[tuple[float, float]]:
        """Values of a source that effects compare: two of a number, each label with the first one of a category."""
        site = self.sites[source]
        if site.ordered or site.cardinality == 2:
            return [self._levels(source)]
        first, *others = (float(value) for value in np.unique(self.sampled[source]))
        return [(first, other) for other in others] or [self._levels(source)]

    def _responses(self, made: Predictor, source: str) -> list[np.ndarray]:
        """Response of a predictor a unit of the source (between labels, of a category), ``(unit,)`` a pair."""

        def at(value: float) -> np.ndarray:
            found = made(self._arm(source, value))
            return found if found.ndim == 1 else found.mean(0)

        return [(at(high) - at(low)) / self._step(source, low, high) for low, high in self._pairs(source)]

    def _step(self, source: str, low: float, high: float) -> float:
        return high - low if len(self._pairs(source)) == 1 else 1.0

    def _names(self, source: str) -> list[str]:
        """What each response is called."""
        pairs = self._pairs(source)
        if len(pairs) == 1:
            return [source]
        labels = self.scm._model.categories.get(source)
        return [f"{source} = {labels[int(high)] if labels else int(high)}" for _, high in pairs]

    def _pinned(self, source: str, value: float) -> np.ndarray:
        values, samples = self._world(source, value), self._references(self.joint)
        return self.joint.averaged_target(values, samples, {source: value}).mean(0)

    def _world(self, source: str, value: float) -> Columns:
        """The first units, had the source been set."""
        if (source, value) not in self._worlds:
            self._worlds[source, value] = self.joint.sample(self.few, {source: value})
        return self._worlds[source, value]

    @cached_property
    def gaps(self) -> dict[str, Effect]:
        """Residual gaps of the delivered predictor."""
        found, made = {}, self._faithful(self.pinning)
        for source in self.sources:
            each = []
            for (low, high), response in zip(self._pairs(source), self._responses(made, source), strict=True):
                pinned = (self._pinned(source, high) - self._pinned(source, low)) / self._step(source, low, high)
                each.append(self._averaged(response - pinned, f"residual gap of {source}"))
            found[source] = max(each, key=lambda gap: abs(gap.mean))
        return found

    @cached_property
    def price_minimum(self) -> Effect | None:
        """Least price of a matched predictor, within polynomials; None for log loss or where none is found."""
        if self.loss == "log" or not self.pinning or not self.inputs:
            return None
        made = np.array([self.read[n] for n in self.inputs])
        centre, spread = made.mean(1, keepdims=True), np.maximum(made.std(1, keepdims=True), 1e-12)

        def basis(read: Columns) -> np.ndarray:
            scaled = (np.array([read[n] for n in self.inputs]) - centre) / spread
            extra = [
                scaled[self.inputs.index(s)] ** power
                for s in self.sources
                if s in self.inputs and not self.sites[s].discrete
                for power in (3, 4)
            ]
            return np.concatenate([_monomials(scaled, 2), np.array(extra).reshape(len(extra), scaled.shape[1])])

        rows, values, slack = [], [], []
        chosen = any(r.references for r in self.pinning)  # moves the target's level, which no effect pins
        for source in self.sources:
            tolerance = min(r.tolerance for r in self.pinning if source in r.variables)
            found = []
            for value in self._grid(source):
                read = self._arm(source, value)
                found.append(
                    (value, basis(read).mean(1), float((self._pinned(source, value) - self._bayes(read)).mean()))
                )
            for (below, low, at_low), (above, high, at_high) in pairwise(found):
                rows.append(high - low)
                values.append(at_high - at_low)
                slack.append(tolerance * (above - below))
            if not chosen:
                rows.append(np.mean([row for _, row, _ in found], 0))
                values.append(np.mean([pinned for *_, pinned in found]))
                slack.append(0.0)
        features = basis(self.read)
        gram = features @ features.T / features.shape[1]
        shape = (1, len(rows), len(gram))
        weights, _, _ = least_risk(
            gram[None],
            np.zeros((1, len(gram))),
            np.reshape(rows, shape),
            np.reshape(values, shape[:2]),
            np.array(slack),
        )
        if not rows:
            return self._averaged((weights[0] @ features) ** 2, "least price")
        left = (np.abs(np.array(rows) @ weights[0] - values) - slack).max()
        if left > 0.05 * (1e-6 + np.abs(values).max()) + 1e-6:
            return None
        return self._averaged((weights[0] @ features) ** 2, "least price")

    def _grid(self, source: str) -> list[float]:
        values = self.sampled[source]
        distinct = np.unique(values)
        if len(distinct) == 1:
            return [*self._levels(source)]
        if len(distinct) <= _SOURCE_VALUES:
            return distinct.tolist()
        # within a tolerance polynomials would bend between few values
        count = _SOURCE_VALUES if not any(r.tolerance for r in self.pinning) else 2 * _SOURCE_VALUES
        return np.quantile(values, (np.arange(count) + 0.5) / count).tolist()

    def _averaged(self, values: np.ndarray, label: str) -> Effect:
        error = float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else None
        mean = float(values.mean())
        small = error is not None and error <= 1e-12 * (1 + abs(mean))
        return Effect(np.array([mean]), label=label, account=self.account, standard_error=None if small else error)


def _halves(values: np.ndarray) -> np.ndarray:
    """Two estimates ``(half, unit)`` from halves of references and of draws, ``(half, draw, unit)``."""
    draws = values.shape[1]
    return np.stack([values[i, i::2].mean(0) if draws > 1 else values[i, 0] for i in (0, 1)])


def _logistic(columns: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """Weights of a logistic regression on probabilities, by Newton's method with a trace of ridge."""
    weights, ridge = np.zeros(len(columns)), 1e-6 * len(chances)
    for _ in range(50):
        fitted = expit(weights @ columns)
        slope = columns @ (chances - fitted) - ridge * weights
        curve = (columns * (fitted * (1 - fitted))) @ columns.T + ridge * np.eye(len(columns))
        step = np.linalg.solve(curve, slope)
        weights += step * min(1.0, 5.0 / (1e-12 + np.abs(step).max()))
        if np.abs(step).max() < 1e-8:
            break
    return weights


def _monomials(values: np.ndarray, degree: int) -> np.ndarray:
    """Products of up to ``degree`` rows, the constant first: ``(monomial, unit)``."""
    made = [np.ones(values.shape[1])]
    for power in range(1, degree + 1):
        made += [
            np.prod(values[list(chosen)], 0) for chosen in combinations_with_replacement(range(len(values)), power)
        ]
    return np.array(made)
