"""What independence costs where equations are not jointly Gaussian: exact methods, and a refusal where none is known.

- *every variable finite*: the least risk over all predictions, randomised ones too, by a linear programme on the table;
- *demographic parity* in one finite variable that is read, squared error: the barycentre of the groups' laws;
- *otherwise*, finite variables that are read: the least risk among predictions derived from the score ``E[Y | x]``, cut
  into classes within each group, and these variables (Hardt, Price & Srebro 2016), above the best of them. For a binary
  outcome nothing is lost but by the classes (whose own price, the same with and without the requirement, cancels up to
  second order): the score and the variables tell all that ``x`` says of the outcome.

>>> import pyro, pyro.distributions as dist, pcm
>>> def hiring():
...     a = pyro.sample("a", dist.Bernoulli(0.5))
...     x = pyro.sample("x", dist.Bernoulli(0.3 + 0.4 * a))
...     pyro.sample("y", dist.Bernoulli(0.1 + 0.6 * x + 0.2 * a))
>>> found = pcm.check(pcm.SCM(hiring), [pcm.demographic_parity("a", outcome="y")], units=500, seed=0)
>>> found.price, found.least_over
(price: 0.07 (exact), 'every randomised prediction, by enumeration')
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from pcm.errors import QueryError, listed
from pcm.graph import ancestors, descendants
from pcm.query.effect import Effect
from pcm.requirement import Independence, Requirement
from pcm.scm import SCM
from pcm.trust.derived import MOST_RAYS, Cells, cells_of, least_derived
from pcm.trust.finite_law import FiniteLaw, finite_law
from pcm.trust.linear_law import LinearLaw
from pcm.trust.replays import Columns
from pcm.trust.simulation import LEAST_UNITS, Simulation
from pcm.trust.verdict import Row

__all__ = ["Apart", "not_gaussian", "without_method"]

#: Classes of the score within all groups together, and groups of units (two nets each) that the jackknife leaves out.
_CLASSES, _GROUPS = 32, 10


def not_gaussian(law: LinearLaw, asked: Sequence[Any], outcome: str, inputs: Sequence[str]) -> str | None:
    """Why a covariance of zero is no independence on a linear law, if so.

    It is one where all noise is Gaussian, and no curved function of the inputs does better. Alone, demographic parity
    in a root that is read bears any law of that root, for it only shifts the others; and any noise of the outcome,
    where nothing read shows it.
    """
    apart = [r for r in asked if isinstance(r, Independence)]
    fine = set(law.gaussian)
    if len(apart) == 1 and not apart[0].given and not any(isinstance(r, Requirement) and r.variables for r in asked):
        if apart[0].source in law.roots() and apart[0].source in inputs:
            fine.add(apart[0].source)
        if not law.values[:, [law.place[n] for n in inputs], law.place[outcome]].any():
            fine.add(outcome)
    odd = [n for n in law.names if n not in fine]
    return f"the noise of {listed(odd)} is not Gaussian" if apart and odd else None


def without_method(scm: SCM, asked: Sequence[Any], outcome: str, inputs: Sequence[str], loss: str) -> str | None:
    """Why no exact method is known for the price of these requirements, in words; None where there is one."""
    apart = [r for r in asked if isinstance(r, Independence)]
    if any(isinstance(r, Requirement) and r.variables for r in asked):
        return "beside requirements on paths it is known for jointly Gaussian variables alone"
    if any(r.tolerance for r in apart):
        return "a tolerance bounds a covariance, which is no measure of dependence where variables are not Gaussian"
    sites = scm._model.structure.sites
    if not sites[outcome].scalar or (not sites[outcome].ordered and sites[outcome].cardinality != 2):
        return f"'{outcome}' is no number"
    if loss == "log" and sites[outcome].cardinality != 2:
        return f"log loss needs a binary outcome, and '{outcome}' is not"
    below = [n for n in inputs if n in descendants(scm.graph, outcome)]
    if below:
        return f"{listed(below)} lies below '{outcome}'"
    table = _table(scm, apart, outcome, inputs)
    if table is not None and table[1].merged[0].candidates <= MOST_RAYS:
        return None
    for r in apart:
        if sites[r.source].cardinality is None:
            return f"'{r.source}' is not finite: {'equalised odds' if r.given else 'a barycentre'} needs groups"
        if r.source not in inputs:
            return f"the predictor does not read '{r.source}': what is known needs the groups"
        if r.given and sites[outcome].cardinality is None:
            return f"'{outcome}' is not finite: derived predictors need its values"
    hidden = [n for n in sites if n in ancestors(scm.graph, outcome) and n not in inputs]
    if hidden:
        return f"the predictor does not read {listed(hidden)}: what its inputs say of '{outcome}' is itself simulated"
    if not _one_parity(apart, loss) and not _classes(apart, scm, outcome):
        return "the programme of derived predictors has too many groups"
    return None


class Apart(Simulation):
    """Numbers of a check of independence by simulation or enumeration; its parameters are those of a simulation."""

    @property
    def label(self) -> str:
        """Name of the requirements as a whole."""
        return self.independence[0].label if len(self.independence) == 1 else "together"

    @property
    def delivered(self) -> str:
        """Name of the delivered predictor's row."""
        return f"{self.label}, matched"

    @property
    def least_over(self) -> str:
        """The predictors of which the price is the least."""
        return self._found[1]

    @property
    def price(self) -> Effect:
        """Least risk of an independent prediction, above the best."""
        return self.estimate(*self._found[0], "price")

    @property
    def price_minimum(self) -> Effect:
        """The same."""
        return self.estimate(*self._found[0], "least price")

    @property
    def shadow_prices(self) -> dict[str, Effect]:
        """None: an independence is no number that could move."""
        return {}

    @property
    def gaps(self) -> dict[str, Effect]:
        """None: no response is pinned."""
        return {}

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Every predictor; the last is the delivered one, its effects those of the mean prediction."""
        return (*super().rows, self.row(self.delivered, self._found[2], self._found[0]))

    # -- the methods ---------------------------------------------------------------------------------------------------

    @cached_property
    def _table(self) -> tuple[FiniteLaw, Cells, Columns, np.ndarray] | None:
        return _table(self.joint.scm, self.independence, self.outcome, self.inputs)

    @cached_property
    def _found(self) -> tuple[tuple[float, float], str, Callable[[Columns], np.ndarray]]:
        """The price with its standard error, over which predictors it is the least, and the mean prediction."""
        if self._table is not None and self._table[1].merged[0].candidates <= MOST_RAYS:
            _, cells, read, kept = self._table
            price, predicted = least_derived(cells, self.loss)
            known = np.stack([read[n][kept] for n in self.inputs], -1)

            def on_cells(asked: Columns) -> np.ndarray:
                wanted = np.stack([asked[n] for n in self.inputs], -1)
                return predicted[np.argmin(np.abs(wanted[:, None] - known).sum(-1), 1)]

            return (price, 0.0), "every randomised prediction, by enumeration", on_cells
        for r in self.independence:
            value, count = self.smallest(r.source)
            if count < LEAST_UNITS:
                raise QueryError(
                    f"{r.source} = {value:g} in {count} of {self.units} simulated units; the price of an independence "
                    f"needs {LEAST_UNITS} of each group: ask for more, units=….",
                    source=r.source,
                )
        if _one_parity(self.independence, self.loss):
            source = self.independence[0].source
            over = "every randomised prediction, by the barycentre of the groups"
            return self.barycentre(source).price, over, self.fair(source)
        return self._derived()

    def _derived(self) -> tuple[tuple[float, float], str, Callable[[Columns], np.ndarray]]:
        sources = list(dict.fromkeys(r.source for r in self.independence))
        groups = [np.unique(self.sampled[s]) for s in sources]
        count = _classes(self.independence, self.scm, self.outcome)
        of_unit = _joint_group(self.read, sources, groups)
        sizes = int(np.prod([len(g) for g in groups]))
        edges = [
            np.quantile(self.best[of_unit == g], np.arange(1, count) / count) if (of_unit == g).any() else np.zeros(0)
            for g in range(sizes)
        ]

        def place(best: np.ndarray, group: np.ndarray) -> np.ndarray:
            found = np.zeros(len(best), int)
            for g, bounds in enumerate(edges):
                found[group == g] = g * count + np.searchsorted(bounds, best[group == g], side="right")
            return found

        where, values = place(self.best, of_unit), {s: self.read[s] for s in sources}
        likelihood = self._likelihood()

        def solve(weights: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
            cells = cells_of(where, weights / weights.sum(), self.best, self.independence, values, likelihood)
            found, predicted = least_derived(cells, self.loss)
            return found, predicted, np.flatnonzero(np.bincount(where, weights) > 0)

        whole, predicted, kept = solve(np.ones(len(where)))
        each = np.arange(len(where)) % _GROUPS
        parts = [solve((each != left_out).astype(float))[0] for left_out in range(_GROUPS)]
        table = np.full(sizes * count, self.best.mean())
        table[kept] = predicted

        def on_classes(asked: Columns) -> np.ndarray:
            return table[place(self.bayes(asked).mean(0), _joint_group(asked, sources, groups))]

        error = float(np.sqrt((_GROUPS - 1) * np.var(parts)))
        over = f"predictions derived from {count} classes of E[Y | inputs] in each group, against the best of them"
        return (whole, error), over, on_classes

    def _likelihood(self) -> dict[float, np.ndarray]:
        """Probability of each value of the outcome, by unit; of more than two, whether it was drawn."""
        if self.sites[self.outcome].cardinality == 2:
            return {0.0: 1 - self.best, 1.0: self.best}
        drawn = self.sampled[self.outcome]
        return {value: (drawn == value).astype(float) for value in np.unique(drawn).tolist()}


# -- private ---------------------------------------------------------------------------------------------------------


def _one_parity(apart: Sequence[Independence], loss: str) -> bool:
    return len(apart) == 1 and not apart[0].given and loss == "squared"


def _classes(apart: Sequence[Independence], scm: SCM, outcome: str) -> int:
    """Classes of the score in each group, as many as the programme bears; 0 where it bears less than four."""
    sites = scm._model.structure.sites
    size = {s: sites[s].cardinality or 1 for s in {r.source for r in apart}}
    equations = sum((size[r.source] - 1) * ((sites[outcome].cardinality or 1) if r.given else 1) for r in apart)
    groups = int(np.prod([*size.values()]))
    for count in range(_CLASSES // groups, 3, -1):
        some = np.zeros(groups * count)
        if Cells(some, some, np.zeros((equations, len(some)))).candidates <= MOST_RAYS // 4:
            return count
    return 0


def _joint_group(read: Columns, sources: Sequence[str], groups: Sequence[np.ndarray]) -> np.ndarray:
    codes = [
        np.searchsorted(values, read[s]).clip(0, len(values) - 1) for s, values in zip(sources, groups, strict=True)
    ]
    return np.ravel_multi_index(codes, [len(values) for values in groups])


def _table(
    scm: SCM, apart: Sequence[Independence], outcome: str, inputs: Sequence[str]
) -> tuple[FiniteLaw, Cells, Columns, np.ndarray] | None:
    """A finite program's law, the cells of its inputs, their values, and those of them that have any probability."""
    law = finite_law(scm, {outcome, *inputs, *(r.source for r in apart)})
    if isinstance(law, str):
        return None
    read, place = law.cells(inputs)
    drawn, weights = law.columns[outcome], law.weights
    likelihood = {value: (drawn == value).astype(float) for value in np.unique(drawn).tolist()}
    cells = cells_of(place, weights, drawn, apart, {r.source: law.columns[r.source] for r in apart}, likelihood)
    return law, cells, read, np.bincount(place, weights) > 0
