"""A finite program as a table: every joint value of its variables with its probability, and the target's law.

Each mechanism is run once at all assignments. Under ``do(s = k)`` the factor of ``s`` is left out. The target's mean
there is a sum too, as long as it needs one copy of each variable: a copy reads the reference where its requirement
closes an edge, and no noise is shared between two copies (where it is, at a recanting witness, no table of the
mechanisms' laws says how).

>>> import pyro, pyro.distributions as dist, pcm
>>> from pcm.requirement import target_plan
>>> def pair():
...     a = pyro.sample("a", dist.Bernoulli(0.25))
...     pyro.sample("y", dist.Bernoulli(0.1 + 0.4 * a))
>>> scm = pcm.SCM(pair)
>>> law = finite_law(scm, ("a", "y"))
>>> law.mean("y", law.weights), law.target(target_plan(scm.graph, [pcm.Requirement("a", outcome="y")], "y"), {"a": 1.0})
(0.2, 0.2)
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcm.couplings import unwrap
from pcm.couplings.finite import FINITE, log_table
from pcm.graph import ancestors
from pcm.program import Site
from pcm.query.model import Model
from pcm.requirement import TargetPlan
from pcm.requirement.references import reference_laws
from pcm.scm import SCM
from pcm.worlds import Constant, PerUnit, Stochastic, Target, WorldPlan, forward, world_noise

__all__ = ["FiniteLaw", "finite_law"]

#: Joint assignments that are listed.
_MOST = 65_536

Columns = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class FiniteLaw:
    """A finite program's joint law; arrays over assignments.

    Attributes
    ----------
    model : Model
        Without free parameters, speaking codes.
    columns : dict of name to numpy.ndarray (assignment,)
        Values of every variable that was asked for and of those above it, in causal order.
    factors : dict of name to numpy.ndarray (assignment,)
        Probability of each random variable's value given its parents'.
    """

    model: Model
    columns: Columns
    factors: Columns

    @property
    def weights(self) -> np.ndarray:
        """Probability of each assignment."""
        return self.under({})

    def under(self, sets: Mapping[str, float]) -> np.ndarray:
        """Probability of each assignment, had some random variables been set."""
        found = np.ones(len(next(iter(self.columns.values()))))
        for name, factor in self.factors.items():
            found = found * ((self.columns[name] == sets[name]) if name in sets else factor)
        return found

    def mean(self, name: str, weights: np.ndarray) -> float:
        """Mean of a variable."""
        return float(weights @ self.columns[name])

    def cells(self, names: Sequence[str]) -> tuple[Columns, np.ndarray]:
        """Distinct joint values of some variables, and which of them each assignment has."""
        table = np.stack([self.columns[name] for name in names], -1)
        values, place = np.unique(table, axis=0, return_inverse=True)
        return {name: values[:, i] for i, name in enumerate(names)}, place.ravel()

    def target(self, plan: TargetPlan, sets: Mapping[str, float]) -> float | None:
        """Mean of the target, had some of its sources been set; None where it needs a variable twice."""
        if plan.witnesses:
            return None
        references: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for name, law in reference_laws(self.model, plan.requirements).items():
            if name in plan.referred:
                found = self._reference(name, law)
                if found is None:
                    return None
                references[name] = found
        drawn = [copy.node for copy in plan.copies if copy.node in self.factors and copy.node not in sets]
        counts = [*(len(references[n][0]) for n in references), *(_count(self.model, n) or 1 for n in drawn)]
        if math.prod(counts) > _MOST:
            return None
        codes = np.indices(counts).reshape(len(counts), -1)
        size, weight = codes.shape[1], np.ones(codes.shape[1])
        fed: Columns = {}
        for (name, (values, chances)), code in zip(references.items(), codes, strict=False):
            fed[name], weight = values[code], weight * chances[code]
        assigned = dict(zip(drawn, codes[len(references) :], strict=True))
        made: Columns = {}
        for copy in plan.copies:
            node = copy.node
            read = {p: made[feed.node] if feed is not None else fed[p] for p, feed in copy.feeds.items()}
            if node in sets:
                made[node] = np.full(size, float(sets[node]))
                continue
            values, chances = _mechanism(self.model, node, read, size)
            if chances is not None:
                values, weight = assigned[node].astype(float), weight * chances[np.arange(size), assigned[node]]
            assert values is not None
            made[node] = values
        return float(weight @ made[plan.outcome])

    def _reference(self, name: str, law: object) -> tuple[np.ndarray, np.ndarray] | None:
        """Values and probabilities of what an inadmissible edge of a source is fed."""
        if law is None:
            values, place = np.unique(self.columns[name], return_inverse=True)
            return values, np.bincount(place.ravel(), self.weights)
        if isinstance(law, Tensor):
            return np.array([float(law)]), np.ones(1)
        bare = unwrap(law)[0]
        if not isinstance(bare, FINITE):
            return None
        chances = log_table(bare).exp().numpy().reshape(-1).astype(float)
        return np.arange(len(chances), dtype=float), chances


def finite_law(scm: SCM, wanted: Collection[str]) -> FiniteLaw | str:
    """The table of some variables and all above them, or the reason why there is none, in words."""
    model, graph = scm._model, scm.graph
    sites = model.structure.sites
    names = [n for n in sites if n in set(wanted).union(*(ancestors(graph, w) for w in wanted))]
    random: dict[str, int] = {}
    for name in names:
        site, action = sites[name], model.interventions.get(name)
        if not site.scalar or site.kind == "covariate":
            return f"'{name}' is {'a covariate' if site.kind == 'covariate' else 'not one value a unit'}"
        if isinstance(action, Constant) or (action is None and site.kind == "deterministic"):
            continue
        if not (action is None or isinstance(action, Stochastic)):
            return f"'{name}' is set to what differs between units"
        count = _count(model, name)
        if count is None:
            return f"'{name}' is not finite"
        random[name] = count
    if any(isinstance(t, tuple) and not isinstance(a, Constant) for t, a in model.interventions.items()):
        return "an edge is set to what differs between units"
    if math.prod(random.values()) > _MOST:
        return f"there are more than {_MOST} joint values"
    codes = np.indices([*random.values()]).reshape(len(random), -1) if random else np.zeros((0, 1), int)
    assigned, size = dict(zip(random, codes, strict=True)), codes.shape[1]
    columns: Columns = {}
    factors: Columns = {}
    for name in names:
        read = {parent: columns[parent] for parent in graph.pred[name]}
        values, chances = _mechanism(model, name, read, size)
        if name not in random:
            assert values is not None
            columns[name] = values
        elif chances is None or chances.shape[1] != random[name]:
            return f"'{name}' has no table of probabilities"
        else:
            columns[name] = assigned[name].astype(float)
            factors[name] = chances[np.arange(size), assigned[name]]
    return FiniteLaw(model, columns, factors)


# -- private ---------------------------------------------------------------------------------------------------------


def _count(model: Model, name: str) -> int | None:
    """How many values a random variable has."""
    action = model.interventions.get(name)
    if isinstance(action, Stochastic):
        bare = unwrap(action.distribution)[0]
        return log_table(bare).shape[-1] if isinstance(bare, FINITE) else None
    return model.structure.sites[name].cardinality


def _mechanism(model: Model, name: str, read: Columns, units: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """A mechanism at its parents' values: its own value ``(unit,)``, or a probability of each ``(unit, value)``."""
    sites, action = model.structure.sites, model.interventions.get(name)
    if isinstance(action, Stochastic):
        return None, _chances(action.distribution, sites[name], units)
    others: dict[Target, Any] = {n: PerUnit(_tensor(sites[n], v)) for n, v in read.items()}
    # a parent that do() cut off from this child is not among those read; the edge's own action feeds it
    others |= {t: a for t, a in model.interventions.items() if t == name or (isinstance(t, tuple) and t[1] == name)}
    plan = WorldPlan(model.structure, others)
    drawn = [n for n in model.structure.stochastic if n not in read]
    noise = world_noise(plan, 0, np.zeros(units, np.uint64), range(1), drawn)
    parameters = {n: value[0] for n, value in model.parameters(1, 0, prior=False).items()}
    with model.program.sealed():
        made = forward(model.program, plan, parameters, {n: v[0] for n, v in noise.items()}, units, {})
        if name in made.fns:
            return None, _chances(made.fns[name], sites[name], units)
        return made.values[name].to(torch.float64).expand(units).numpy().copy(), None


def _chances(fn: object, site: Site, units: int) -> np.ndarray | None:
    bare = unwrap(fn)[0]
    if isinstance(bare, FINITE):
        table = log_table(bare).exp()
    elif site.cardinality is not None:
        codes = [torch.as_tensor(code).to(site.dtype) for code in range(site.cardinality)]
        table = torch.stack([bare.log_prob(code).exp().expand(units) for code in codes], -1)
    else:
        return None
    return table.reshape(-1, table.shape[-1]).expand(units, -1).to(torch.float64).numpy()


def _tensor(site: Site, values: np.ndarray) -> Tensor:
    return torch.as_tensor(values.copy()).to(site.dtype)
