"""The laws of counterfactuals, run on a program: consistency, effectiveness, composition, rung 2 from 3, partition.

Units are sampled from the program itself; every variable with a mechanism is intervened on in turn, at values that the
program gives it. The laws are those of Galles and Pearl [1]_ and what a query promises about its noise.

References
----------
.. [1] Galles, Pearl (1998). An axiomatic characterization of causal counterfactuals. Foundations of Science 3.

>>> import pyro, pyro.distributions as dist
>>> def pair():
...     x = pyro.sample("x", dist.Normal(0.0, 1.0))
...     pyro.sample("y", dist.Poisson(x.exp()))
>>> print(check_program(pair))
pair, 2 variables: 6 laws kept
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import networkx as nx
import numpy as np

from pcm.errors import ArgumentError, listed
from pcm.scm import SCM
from pcm.testing.report import Report, same_law

__all__ = ["check_program"]

_ALARM = 1e-6


def check_program(
    program: SCM | Callable[..., Any],
    *,
    data: Any = None,
    units: int = 40,
    draws: int = 6,
    many: int = 2_000,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> Report:
    """Run the laws of counterfactuals on a program.

    Parameters
    ----------
    program : SCM or callable
        Its parameters must be given (``scm.given(…)``): units are sampled under the same parameters as they are asked
        about.
    data : DataFrame or dict, optional
        Covariates, a row a unit, where the program reads any; ``units`` and ``many`` are then its number of rows.
    units : int
        Units behind the laws that hold for each of them.
    draws : int
        Draws of noise that the evidence leaves open.
    many : int
        Units behind the comparison of laws, which raises a false alarm once in a million comparisons.
    tolerance : float
        Largest error, relative to ``max(1, |value|)``; discrete values must be equal.
    seed : int

    Returns
    -------
    Report
        What was checked, with the worst found; a law that does not apply is in ``.skipped`` with the reason.

    Raises
    ------
    AssertionError
        Some law is broken: the message lists all of them with what was found.
    ArgumentError
        Parameters that are not given.

    Examples
    --------
    >>> import pyro, pyro.distributions as dist
    >>> def coin():
    ...     fair = pyro.sample("fair", dist.Bernoulli(0.5))
    ...     pyro.sample("heads", dist.Bernoulli(0.5 + 0.4 * fair))
    >>> check_program(coin).broken
    {}
    """
    scm = program if isinstance(program, SCM) else SCM(program)
    model = replace(scm._model, categories={})  # codes are what mechanisms see
    if model.free:
        raise ArgumentError(
            f"check_program needs the parameters {listed(model.free)} to be given: pass scm.given({model.free[0]}=…)."
        )
    scm = SCM._of(model)
    report = Report(f"{model.program.name}, {len(scm.variables)} variables")
    laws = _Laws(scm, report, data, units, draws, many, tolerance, seed)
    for name, law in (
        ("consistency", laws.consistency),
        ("effectiveness, and non-descendants to the bit", laws.effectiveness),
        ("composition", laws.composition),
        ("the last do wins", laws.last),
        ("rung 2 from rung 3", laws.rung_two),
        ("partition invariance", laws.partition),
    ):
        if laws.fresh and name in ("consistency", "composition"):
            report.skip(name, f"{listed(laws.fresh)}: coupling 'independent', rung 2 on purpose")
            continue
        with report.law(name):
            law()
    return report.settle()


class _Laws:
    def __init__(
        self, scm: SCM, report: Report, data: Any, units: int, draws: int, many: int, tolerance: float, seed: int
    ) -> None:
        self.scm, self.report, self.data = scm, report, data
        self.units, self.draws, self.many, self.tolerance, self.seed = units, draws, many, tolerance, seed
        sites = scm._model.structure.sites
        set_already = {target for target in scm._model.interventions if isinstance(target, str)}
        self.names = [name for name in scm._model.structure.stochastic if name not in set_already]
        self.discrete = {name for name in sites if sites[name].discrete}
        self.fresh = [name for name in self.names if getattr(sites[name].coupling, "rung", 3) < 3]
        self.axis = {name: len(site.inner) for name, site in sites.items()}
        self.frame = self.sample(units, seed)
        self.values = self.arrays(self.frame)
        self.others = self.arrays(self.sample(units, seed + 1))

    # -- laws ----------------------------------------------------------------------------------------------------------

    def consistency(self) -> None:
        """``do(x = observed x)`` returns the observed unit; a billionth more moves it by about as little."""
        for target in self.names:
            made = self.ask(self.frame, {target: self.values[target]})
            for name in self.scm.variables:
                self.equal(f"do({target}): error of {name}", made.draws(name), self.values[name], name)
            if target in self.discrete or self.values[target].ndim > 1:
                continue
            nudged = self.ask(self.frame, {target: self.values[target] * (1.0 + 1e-12)})
            for name in self.scm.variables:
                if self.determined(target, name):
                    self.equal(f"do({target} + 1e-12): movement of {name}", nudged.draws(name), self.values[name], name)

    def effectiveness(self) -> None:
        """A set variable has its value; what does not descend from it keeps its own to the bit."""
        for target in self.names:
            made = self.ask(self.frame, {target: self.others[target]})
            found = made.draws(target)
            self.report.holds(f"do({target}) did not set {target}", bool((found == self.others[target]).all()))
            for name in set(self.scm.variables) - nx.descendants(self.scm.graph, target) - {target}:
                kept = bool((made.draws(name) == self.values[name]).all())
                self.report.holds(f"do({target}) changed {name}, which does not descend from it", kept)

    def composition(self) -> None:
        """``W_x = w`` implies ``Y_xw = Y_x``, draw by draw."""
        for first, second in zip(self.names, self.names[1:], strict=False):
            alone = self.ask(self.frame, {first: self.others[first]})
            would = alone.draws(second)
            for draw in range(min(len(would), 3)):
                both = self.ask(self.frame, {first: self.others[first], second: would[draw]})
                for name in self.scm.variables:
                    found, expected = both.draws(name), alone.draws(name)
                    row = found[draw] if len(found) > draw else found[0]
                    kept = expected[draw] if len(expected) > draw else expected[0]
                    self.equal(f"do({first}, {second}): error of {name}", row[None], kept, name)

    def last(self) -> None:
        """``do`` twice on one variable is the last of them."""
        for target in self.names:
            twice = self.scm.do({target: self.values[target]}).do({target: self.others[target]})
            once = self.scm.do({target: self.others[target]})
            drawn = [each.sample(**self.size(self.units), seed=self.seed) for each in (twice, once)]
            self.report.holds(f"do({target}) twice is not the last do({target})", drawn[0].equals(drawn[1]))

    def rung_two(self) -> None:
        """Counterfactuals of units of the model have the law of fresh units under the same intervention."""
        units = self.sample(self.many, self.seed + 2)
        for target in self.names:
            first = np.take(self.others[target], 0, self.axis[target])
            made = self.ask(units, {target: first}, draws=1)
            fresh = self.arrays(self.scm.do({target: first}).sample(**self.size(self.many), seed=self.seed + 3))
            for name in nx.descendants(self.scm.graph, target):
                a, b = (self.columns(each, name) for each in (made.draws(name)[0], fresh[name]))
                for column in range(a.shape[1]):
                    pvalue = same_law(a[:, column], b[:, column])
                    self.report.holds(f"do({target}): {name} has another law (p = {pvalue:.1g})", pvalue > _ALARM)

    def partition(self) -> None:
        """Any order and any split of the units: the same answers."""
        order = np.random.default_rng(self.seed).permutation(len(self.frame))
        half = len(order) // 2
        for target in self.names:
            value = self.others[target]
            whole = self.ask(self.frame, {target: value})
            for rows in (order, order[:half]):
                part = self.ask(self.frame.iloc[rows], {target: np.take(value, rows, self.axis[target])})
                for name in self.scm.variables:
                    axis = self.axis[name] + 1
                    expected = np.take(whole.draws(name), rows, axis)
                    self.equal(f"do({target}): {name} of a part of the units", part.draws(name), expected, name, 1e-12)

    # -- tools ---------------------------------------------------------------------------------------------------------

    def size(self, count: int) -> dict[str, Any]:
        """How many fresh units, or the covariates that say it."""
        return {"n": count} if self.data is None else {"data": self.data}

    def sample(self, count: int, seed: int) -> Any:
        """Evidence: a frame of fresh units."""
        return self.scm.sample(**self.size(count), seed=seed)

    def arrays(self, frame: Any) -> dict[str, np.ndarray]:
        """Every variable's values in a frame, ``[inner…, unit, event…]``."""
        made = self.scm.counterfactual(frame, worlds={"asked": {self.names[0]: self.first(frame)}}, draws=1, seed=0)
        return {name: made.draws(name, world="factual")[0] for name in self.scm.variables}

    def first(self, frame: Any) -> Any:
        """Some value of the first variable with a mechanism."""
        site = self.scm._model.structure.sites[self.names[0]]
        if self.names[0] in frame.columns:
            return frame[self.names[0]].iloc[0]
        columns = [name for name in frame.columns if str(name).startswith(f"{self.names[0]}[")]
        return frame[columns].iloc[0].to_numpy().reshape(site.inner + site.event)

    def ask(self, frame: Any, do: dict[str, Any], draws: int | None = None) -> Any:
        """A counterfactual under one intervention."""
        return self.scm.counterfactual(frame, do=do, draws=draws or self.draws, seed=self.seed)

    def determined(self, target: str, name: str) -> bool:
        """Whether everything from the target down to a variable is continuous and determined by the evidence."""
        graph, sites = self.scm.graph, self.scm._model.structure.sites
        between = (nx.ancestors(graph, name) | {name}) & nx.descendants(graph, target)
        return all(getattr(sites[each].coupling, "invertible", True) for each in between)

    def columns(self, values: np.ndarray, name: str) -> np.ndarray:
        """Values as ``[unit, column]``."""
        moved = np.moveaxis(np.asarray(values, dtype=float), self.axis[name], 0)
        return moved.reshape(len(moved), -1)

    def equal(self, what: str, found: np.ndarray, expected: np.ndarray, name: str, limit: float | None = None) -> None:
        """Every draw equals what is expected: to the bit where the variable is discrete."""
        if name in self.discrete:
            wrong = int((found != expected).sum())
            self.report.holds(f"{what}: {wrong} discrete values differ", wrong == 0)
            return
        found, expected = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
        apart = np.abs(found - expected) / np.maximum(1.0, np.abs(expected))
        self.report.within(what, float(apart.max()), limit or self.tolerance)
