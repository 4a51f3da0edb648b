r"""Every joint assignment of the finite sites that a world rests on, with its probability; no noise is drawn.

A site's value in one world has the probability of its distribution there. Where another world, tied to this one by
shared noise, needs a value of the same site, the two are joined by the coupling:

    P(v, v′ | pa, pa′) = P(v | pa) · P(v′ | v), the transition of the site's coupling from pa to pa′,

and a site that sees the same in both worlds has one value.

>>> import pyro, pyro.distributions as dist, torch
>>> from pcm.program import Program
>>> from pcm.worlds.intervention import read_interventions
>>> def pair():
...     x = pyro.sample("x", dist.Bernoulli(0.25))
...     pyro.sample("y", dist.Bernoulli(0.1 + 0.5 * x))
>>> program = Program(pair)
>>> plan = WorldPlan(program.structure, read_interventions({"x": 1.0}, program.structure, (), {}))
>>> Joint(plan, ["y"]).inner, Joint(plan, ["y"], WorldPlan(program.structure, {}), ["y"]).outer
({'y': 2}, {'x': 2, 'y': 2})
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping
from typing import Any

import networkx as nx
import torch
from torch import Tensor

from pcm.couplings import unwrap
from pcm.couplings.finite import FINITE, log_table
from pcm.program import Program, Site
from pcm.worlds.forward import Forward, noise_shape
from pcm.worlds.intervention import Stochastic
from pcm.worlds.plan import MAX_ASSIGNMENTS, WorldPlan
from pcm.worlds.replay import Factual, Replayed, assigned_value

__all__ = ["Joint"]


class Joint:
    """The assignments of one world, and of one that is tied to it.

    Parameters
    ----------
    plan : WorldPlan
    wanted : collection of str
        Variables whose law is wanted; a site in it is itself enumerated.
    tied : WorldPlan, optional
        The other world: the reference of a nested world by default.
    of_tied : collection of str
        Variables of the other world that are wanted too, beside what this world takes from there.
    given : collection of str
        Variables of this world whose own site is not enumerated: only what their distribution reads is.

    Attributes
    ----------
    outer, inner : dict of str to int, or None
        Cardinalities of the sites that are enumerated in the tied world, and in this one besides; None where a site
        has to be drawn.
    """

    def __init__(
        self,
        plan: WorldPlan,
        wanted: Collection[str],
        tied: WorldPlan | None = None,
        of_tied: Collection[str] = (),
        given: Collection[str] = (),
    ) -> None:
        self.plan, self.tied = plan, plan.reference if tied is None else tied
        theirs: list[str] = []
        if self.tied is not None:
            theirs = _random(self.tied, {*of_tied, *plan.taken})
        mine = [name for name in _random(plan, {*wanted, *given}) if name not in given or name in wanted]
        apart = plan.apart(self.tied) if self.tied is not None else ()
        self.shared = frozenset(name for name in mine if name in theirs and name not in apart)
        self.outer = _counts(self.tied, theirs) if self.tied is not None else {}
        self.inner = _counts(plan, [name for name in mine if name not in self.shared])
        drawn = {name for name in plan.structure.sites if isinstance(plan.sets.get(name), Stochastic)}
        if any(name in theirs and name not in self.shared for name in drawn.intersection(mine)):
            self.inner = None  # two distributions given to do(): their joint law is that of their draws
        if any(_drawn_edges(each, {*wanted, *given, *of_tied, *plan.taken}) for each in (plan, self.tied) if each):
            self.inner = None

    @property
    def size(self) -> int | None:
        """How many assignments there are; None where some site has to be drawn."""
        if self.outer is None or self.inner is None:
            return None
        return math.prod(self.outer.values()) * math.prod(self.inner.values())

    @property
    def exact(self) -> bool:
        """Whether all assignments can be run."""
        return self.size is not None and self.size <= MAX_ASSIGNMENTS

    @property
    def codes(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Codes of the tied world's sites and of this one's, ``(assignment,)``; the tied world's vary slowest."""
        assert self.outer is not None and self.inner is not None
        counts = [*self.outer.values(), *self.inner.values()]
        table = torch.tensor(list(itertools.product(*map(range, counts))), dtype=torch.int64)
        table = table.reshape(math.prod(counts), len(counts))
        columns = list(table.unbind(-1))
        outer, inner = columns[: len(self.outer)], columns[len(self.outer) :]
        return dict(zip(self.outer, outer, strict=True)), dict(zip(self.inner, inner, strict=True))

    def run(
        self,
        program: Program,
        parameters: Mapping[str, Tensor],
        outer: Mapping[str, Tensor],
        inner: Mapping[str, Tensor],
        units: int,
        covariates: Mapping[str, Tensor],
    ) -> tuple[Replayed, Replayed | None, Tensor]:
        """This world and the tied one under one assignment, and its probability ``(unit,)``."""
        there = None
        if self.tied is not None:
            there = _Enumerated(program, self.tied, parameters, outer, units, covariates)
            there.execute()
        here = _Enumerated(program, self.plan, parameters, inner, units, covariates, there, self.shared)
        here.execute()
        weight = torch.ones((units,), dtype=program.dtype)
        for run in (here, there):
            if run is not None and run.out.weight is not None:
                weight = weight * run.out.weight
        return here.out, None if there is None else there.out, weight


class _Enumerated(Forward):
    """A forward run whose finite sites take assigned values; sites that nothing asked rests on take any."""

    def __init__(
        self,
        program: Program,
        plan: WorldPlan,
        parameters: Mapping[str, Tensor],
        assigned: Mapping[str, Tensor],
        units: int,
        covariates: Mapping[str, Tensor],
        there: _Enumerated | None = None,
        shared: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(program, plan, Factual(dict(covariates), {}, units), parameters, assigned, {})
        self.there, self.shared = there, shared
        self.own: dict[str, Tensor] = {}  # what each mechanism gave, before a shift of it
        if there is not None:
            self.reference = there.out.values

    def mechanism(self, name: str, site: Site, fn: Any) -> Tensor:
        coupling, bare = site.coupling, unwrap(fn)[0]
        assert coupling is not None
        self.out.fns[name] = fn
        if name in self.shared:
            assert self.there is not None
            value = self.there.own[name]
        elif name in self.assigned:
            code = self.assigned[name]
            if self.there is not None and name in self.there.assigned:
                before = unwrap(self.there.out.fns[name])[0]
                chances = coupling.transition(before, self.there.own[name], bare)
            elif isinstance(bare, FINITE):
                chances = log_table(bare).exp()
            else:
                chances = bare.log_prob(assigned_value(code, site, torch.empty(site.event, dtype=site.dtype))).exp()[
                    ..., None
                ]
                code = torch.zeros_like(code)
            chosen = chances.movedim(-1, 0)[code]
            self._weigh(chosen.expand(self.past.units))
            value = assigned_value(
                self.assigned[name], site, torch.empty(site.shape(self.past.units), dtype=site.dtype)
            )
        else:
            left, right = noise_shape(self.plan, name)
            middle = torch.full((*left, self.past.units, *right), 0.5, dtype=self.program.dtype)
            value = coupling.push(bare, coupling.fresh(bare, middle)).to(site.dtype)
        self.own[name] = value = value.expand(site.shape(self.past.units))
        return value

    def _drawn(self, name: str, site: Site, action: Stochastic) -> Tensor:
        if name in self.shared:
            assert self.there is not None
            return self.there.out.values[name]
        return super()._drawn(name, site, action)


def _random(plan: WorldPlan, names: Collection[str]) -> list[str]:
    """Sites on whose noise these variables of a world rest, in program order."""
    above = set(names).union(*(nx.ancestors(plan.graph, name) for name in names))
    return [
        name
        for name, site in plan.structure.sites.items()
        if name in above
        and site.kind == "variable"
        and (name not in plan.sets or name in plan.natural or isinstance(plan.sets[name], Stochastic))
    ]


def _counts(plan: WorldPlan, names: list[str]) -> dict[str, int] | None:
    found: dict[str, int] = {}
    for name in names:
        count = _count(plan, name)
        if count is None:
            return None
        found[name] = count
    return found


def _count(plan: WorldPlan, name: str) -> int | None:
    site = plan.structure.sites[name]
    if name not in plan.natural:
        return plan.categories(name)
    return None if site.inner or (site.event and not site.one_hot) else site.cardinality


def _drawn_edges(plan: WorldPlan, names: Collection[str]) -> bool:
    """Whether a distribution is given to an edge on which these variables rest."""
    known = [name for name in names if name in plan.graph]
    above = set(known).union(*(nx.ancestors(plan.graph, name) for name in known))
    return any(isinstance(a, Stochastic) for name in above for a in plan.edges.get(name, {}).values())
