"""Model criticism: a program against data, part by part, in tests whose false alarms are counted together.

>>> import numpy as np, pandas as pd, pyro, pyro.distributions as dist
>>> from pcm.program import Program
>>> from pcm.query.model import Model
>>> def line():
...     x = pyro.sample("x", dist.Normal(0.0, 1.0))
...     pyro.sample("y", dist.Normal(x, 0.5))
>>> rng = np.random.default_rng(0)
>>> x = rng.normal(size=500)
>>> found = criticise(Model(Program(line)), {"x": x, "y": np.tanh(3 * x) + 0.5 * rng.normal(size=500)}, seed=0)
>>> found.passed, found.verdict["x"]
(False, 'x: nothing found against its mechanism')
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pyro.distributions as dist
from pyro.distributions.torch_distribution import MaskedDistribution
from torch import Tensor

from pcm.couplings import unwrap
from pcm.errors import ArgumentError, QueryError, listed
from pcm.io import row_ids
from pcm.program import Structure
from pcm.query.criticism.completed import completed, narrowed
from pcm.query.criticism.independence import Pool, baseline, implied_by
from pcm.query.criticism.mechanisms import Check, Inputs, adjusted, check_mechanism
from pcm.query.criticism.predictive import compare, kind_of, replicates
from pcm.query.criticism.residuals import as_columns, noises
from pcm.query.criticism.result import Criticism
from pcm.query.evidence import Units, check_evidence, read_units
from pcm.query.model import Model
from pcm.worlds import PerUnit, WorldPlan, align, choose_seed, lane_count

__all__ = ["FEWEST", "collapsed", "criticise"]

#: Units below which nothing is tested.
FEWEST = 30


def criticise(
    model: Model,
    data: Any,
    *,
    draws: int = 200,
    seed: int | None = None,
    level: float = 0.05,
    rows: int = 2000,
) -> Criticism:
    """Test a model against data.

    Parameters
    ----------
    model : Model
    data : DataFrame or dict
        Units: those that the model was fitted to, or others. Empty cells, intervals and columns of variables that were
        never recorded are filled by one draw from the model (said in ``notes``); covariates must be complete.
    draws : int
        Of the parameters, and data sets to compare with.
    seed : int, optional
    level : float
        Chance of any false alarm, over all checks together, of a model that is right.
    rows : int
        Units used, at most; beyond, a random sample (said in ``notes``).

    Returns
    -------
    Criticism

    Raises
    ------
    EvidenceError
        A missing covariate; contradictory evidence.
    QueryError
        Fewer than 30 units, parameters that are neither fitted nor given, nothing to check.
    ArgumentError
        ``draws`` or ``rows`` too small, a ``level`` that is no probability.

    References
    ----------
    See the modules of this package, one a kind of check.
    """
    for name, number, least in (("draws", draws, 20), ("rows", rows, FEWEST)):
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < least:
            raise ArgumentError(f"{name}={number!r}: a whole number of at least {least} is needed.")
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level < 1:
        raise ArgumentError(f"level={level!r}: the chance of any false alarm lies between 0 and 1, such as 0.05.")
    found = read_units(model, data, what="data")
    model = replace(model, interventions=align(model.interventions, found.index))
    if len(found.index) < FEWEST:
        count = len(found.index)
        raise QueryError(f"criticise was given {count} units; fewer than {FEWEST} can refute nothing: give more.")
    seed = choose_seed(seed)
    rng = np.random.default_rng(seed % 2**63)
    notes: list[str] = []
    values, index, filled = completed(model, _subsample(model, found, rows, rng, notes), seed)
    notes += filled
    parameters = model.parameters(draws, seed, prior=False)
    return _Run(model, values, index, parameters, seed, rng, notes).result(draws, level)


class _Run:
    def __init__(
        self,
        model: Model,
        values: dict[str, Tensor],
        index: pd.Index,
        parameters: dict[str, Tensor],
        seed: int,
        rng: np.random.Generator,
        notes: list[str],
    ) -> None:
        self.model, self.index, self.parameters = model, index, parameters
        self.seed, self.rng, self.notes = seed, rng, notes
        self.plan = WorldPlan(model.structure, model.interventions)
        self.rows = row_ids(index)
        with model.program.sealed():
            self.past = check_evidence(model, values, index, {name: value[0] for name, value in parameters.items()})
        self.values = self.past.values
        self.names = self._checked()
        self.graph = collapsed(self.plan.graph, model.structure)

    def _checked(self) -> list[str]:
        """Variables with a mechanism that data can speak about."""
        structure, found = self.model.structure, []
        masked = self._masked()
        for name in structure.stochastic:
            fn, site = self.past.fns.get(name), structure.sites[name]
            if name in self.plan.sets:
                self.notes.append(f"{name}: set by an intervention, so it has no mechanism to check")
            elif fn is None or site.coupling is None or isinstance(unwrap(fn)[0], dist.Delta):
                self.notes.append(f"{name}: has no noise to check")
            elif name in masked:
                self.notes.append(f"{name}: not checked, its distribution is masked for some units")
            else:
                found.append(name)
        if not found:
            raise QueryError(f"the program has no mechanism to check: {'; '.join(self.notes) or 'it samples nothing'}.")
        return found

    def _masked(self) -> set[str]:
        """Sites whose likelihood leaves units out: their values there are nobody's."""
        found: set[str] = set()

        def act(msg: Any) -> Tensor:
            name = msg["name"]
            if name in self.past.fns and (_partial(msg["mask"]) or _partial(_own_mask(msg["fn"]))):
                found.add(name)
            if name in self.parameters:
                return self.parameters[name][0]
            return self.values[name] if name in self.values else msg["value"]

        with self.model.program.sealed():
            self.model.program.execute(act, len(self.index), self.values)
        return found

    def result(self, draws: int, level: float) -> Criticism:
        """Every check, adjusted together, and what they rest on."""
        model, structure = self.model, self.model.structure
        with model.program.sealed():
            noise, looped = noises(model, self.plan, self.past, self.parameters, self.names, self.rows, self.seed)
            given, forwards = replicates(
                model, self.plan, self.values, self.parameters, self.names, self.rows, self.seed, draws
            )
        if looped:
            self.notes.append("the program cannot be mapped over draws: they were run one by one")
        self._parameters()
        inputs = self._inputs()
        checks: list[Check] = []
        for name in self.names:
            checks += check_mechanism(noise[name], list(self.graph.pred[name]), inputs)
        statements = [
            each
            for each in implied_by(self.graph, list(self.graph), structure.covariates)
            if {each[0], each[1]} <= {*self.names, *structure.covariates}
        ]
        pool = Pool(inputs.columns, inputs.categorical)
        for x, y, before in statements:
            found = pool.test(x, y, before)
            words = f"graph: {y} depends on {x}" + (f" given {listed(before)}" if before else "") + "; there is no edge"
            about = x + (f" given {', '.join(before)}" if before else "")
            checks.append(Check("independence", y, about, found.statistic, found.df, found.p, words=words))
        kinds = {name: kind_of(structure.sites[name], self.past.fns[name]) for name in self.names}
        for name in self.names:
            site, labels = structure.sites[name], model.categories.get(name)
            if self.graph.in_degree(name):
                checks += compare(site, self.values[name], given[name], "given parents", labels, kinds[name])
            checks += compare(site, self.values[name], forwards[name], "marginal", labels, kinds[name])
        reference = baseline(pool, statements, list(self.graph), level=level, rng=self.rng)
        return Criticism(
            adjusted(checks, level),
            level=level,
            graph=reference,
            noise=noise,
            observed={name: self.values[name] for name in (*structure.covariates, *self.names)},
            replicated=given,
            predicted=forwards,
            inputs=inputs,
            index=self.index,
            sites={name: structure.sites[name] for name in (*structure.covariates, *self.names)},
            notes=tuple(self.notes),
        )

    def _parameters(self) -> None:
        lanes = lane_count(self.parameters)
        if lanes == 1 and (self.model.free or self.model.program.trainable):
            self.notes.append(
                "parameters at one point estimate: on the data that they were fitted to, the tests err on the side of "
                "the model; on other data, their error counts against it"
            )

    def _inputs(self) -> Inputs:
        sites = self.model.structure.sites
        columns, categorical = {}, set()
        for name in self.graph:
            site, value = sites[name], self.values[name]
            if site.one_hot:
                columns[name] = np.moveaxis(value.argmax(-1).numpy().astype(float), len(site.inner), 0)
                columns[name] = columns[name].reshape(len(self.index), -1)
            else:
                columns[name] = as_columns(value, site)
            codes = site.one_hot or not site.ordered or (site.kind == "covariate" and name in self.model.categories)
            if codes:
                categorical.add(name)
        return Inputs(columns, frozenset(categorical))


def collapsed(graph: nx.DiGraph, structure: Structure) -> nx.DiGraph:
    """The graph of stochastic variables and covariates: a computed one is replaced by what it is computed from."""
    sites = structure.sites
    read: dict[str, set[str]] = {}
    for name in nx.topological_sort(graph):
        read[name] = set()
        for parent in graph.pred[name]:
            read[name] |= read[parent] if sites[parent].kind == "deterministic" else {parent}
    kept = [name for name in structure.variables if sites[name].kind != "deterministic"]
    made = nx.DiGraph()
    made.add_nodes_from(kept)
    made.add_edges_from((parent, name) for name in kept for parent in kept if parent in read[name])
    return made


def _subsample(model: Model, units: Units, rows: int, rng: np.random.Generator, notes: list[str]) -> Units:
    count = len(units.index)
    if count <= rows:
        return units
    if any(isinstance(action, PerUnit) for action in model.interventions.values()):
        notes.append(f"all {count:,} units were used: an intervention gives each a value of its own")
        return units
    notes.append(f"a random sample of {rows:,} of the {count:,} units was used (rows={rows})")
    return narrowed(model, units, np.sort(rng.choice(count, rows, replace=False)))


def _own_mask(fn: Any) -> Any:
    while fn is not None and not isinstance(fn, MaskedDistribution):
        fn = getattr(fn, "base_dist", None)
    return None if fn is None else fn._mask


def _partial(mask: Any) -> bool:
    return not (mask is None or mask is True or (isinstance(mask, Tensor) and bool(mask.all())))
