"""Fréchet bounds on a unit's own counterfactual where its causes are observed, continuous ones too, in closed form.

A unit had ``Y = i`` with probability p_i under its mechanism, and in the other world that mechanism gives p'. Over all
couplings of the two, ``max(0, p_i + p'(J) − 1) / p_i ≤ P(Y' ∈ J | Y = i) ≤ min(1, p'(J) / p_i)``. Variables between
that a continuous mechanism determines keep their structural equation.

>>> import pyro, pyro.distributions as dist
>>> from pcm.program import Program
>>> def trial():
...     z = pyro.sample("z", dist.Normal(0.0, 1.0))
...     t = pyro.sample("t", dist.Bernoulli(0.5))
...     pyro.sample("y", dist.Bernoulli(torch.sigmoid(z + t)))
>>> query = Query.counterfactual({"y": 1}, {"t": 1})
>>> found = frechet(Model(Program(trial)), query, {"z": [0.0, 0.0], "t": [0, 0], "y": [1, 0]})
>>> found.low.round(3).tolist(), found.high.round(3).tolist()
([0.462, 0.462], [1.0, 1.0])
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from pcm.couplings import unwrap
from pcm.couplings.finite import FINITE, log_table
from pcm.errors import EvidenceError, QueryError, UnknownNameError, listed
from pcm.io.frames import read_evidence
from pcm.program import Site
from pcm.query.bounds.programs import graph_of_model
from pcm.query.bounds.question import Atom, Query
from pcm.query.bounds.result import Bounds
from pcm.query.evidence import columns_of
from pcm.query.model import Model
from pcm.worlds import lane_count, read_interventions, set_value

__all__ = ["frechet"]


class _Found(Exception):
    """Unwinds a run once the outcome's distribution is known."""


@dataclass
class _World:
    """Values and distributions of one world by site, and the outcome's table ``(unit, category)``."""

    values: dict[str, Tensor] = field(default_factory=dict)
    fns: dict[str, Any] = field(default_factory=dict)
    table: Tensor = field(default_factory=lambda: torch.empty(0))


def frechet(model: Model, query: Query, data: Any, *, draws: int = 50, seed: int | None = 0) -> Bounds:
    """Bounds on ``P(outcome in the world do | the unit's own evidence)`` for every unit of ``data``.

    Parameters
    ----------
    model : Model
    query : Query
        One event, all its atoms about one finite outcome in one world (a counterfactual), given nothing.
    data : DataFrame or dict
        Every cause of the outcome, and the outcome.

    Raises
    ------
    QueryError
        A question of another form; a mechanism between that its value does not determine.
    EvidenceError
        A cause of the outcome, or the outcome, is missing.
    """
    atom, codes = _asked(model, query)
    graph, sites = graph_of_model(model), model.structure.sites
    outcome = atom.variable
    above = nx.ancestors(graph, outcome)
    order = [name for name in sites if name in above or name == outcome]
    evidence = read_evidence(data, columns_of(model), what="data")
    _complete(model, order, evidence)
    if any(isinstance(value, Atom) for _, value in atom.world):
        raise QueryError(
            f"{query.label} takes values from a second world; of units with continuous causes it cannot be bounded. "
            "Cut them into classes, or ask for the average of a program of finite variables."
        )
    do = read_interventions(dict(atom.world), model.structure, model.program.parameters, model.categories)
    changed = set(do).union(*(nx.descendants(graph, name) for name in do))
    _determined(model, outcome, [name for name in order if name in changed and name not in do])
    units = len(evidence.index)
    given = {name: value for name, value in evidence.values.items() if sites[name].kind != "deterministic"}
    parameters = model.parameters(draws, seed, prior=False)
    count = lane_count(parameters)
    ends = []
    with model.program.sealed():
        observed = _codes(given[outcome], sites[outcome].one_hot)
        for lane in range(count):
            one = {name: value[lane] for name, value in parameters.items()}
            before = _run(model, outcome, given, one, units, {}, None)
            after = _run(model, outcome, given, one, units, do, before)
            p = before.table.gather(-1, observed[:, None])[:, 0]
            q = after.table[:, codes].sum(-1)
            if bool((p <= 0).any()):
                rows = [evidence.index[int(row)] for row in (p <= 0).nonzero().flatten()[:5]]
                raise EvidenceError(
                    f"'{outcome}' has a value of probability zero in rows {listed(rows)}.", column=outcome, rows=rows
                )
            low, high = ((p + q - 1).clamp(min=0) / p).clamp(max=1), (q / p).clamp(max=1)
            # the same causes give the same value: for those units nothing is open
            same = _same(before, after, [sites[n] for n in graph.predecessors(outcome) if n in changed], units)
            stays = torch.isin(observed, torch.as_tensor(codes)).to(torch.float64)
            low, high = torch.where(same, stays, low), torch.where(same, stays, high)
            ends.append(torch.stack([low, high]).numpy())
    found = np.stack(ends)
    kept = [name for name in order if name in changed and name not in do and name != outcome]
    notes = (f"{listed(kept)} keep their structural equations",) if kept else ()
    return Bounds(
        found[:, 0].mean(0),
        found[:, 1].mean(0),
        True,
        f"Fréchet bounds over the couplings of {outcome}",
        query.label,
        index=evidence.index,
        notes=notes,
        draws=found if count > 1 else None,
    )


# -- private ---------------------------------------------------------------------------------------------------------


def _asked(model: Model, query: Query) -> tuple[Any, list[int]]:
    """The outcome's atom, and the codes that the event allows."""
    term = query.terms[0]
    alike = {(atom.variable, atom.world) for atom in term.event}
    if len(query.terms) > 1 or term.mean is not None or query.given or len(alike) != 1 or term.weight != 1:
        raise QueryError(
            f"{query.label}: with causes that are not finite, bounds are on P(outcome | unit) in one world, the "
            "evidence in data=: Query.counterfactual({'y': 1}, do={'x': 1}). Other questions need finite causes "
            "(pandas.cut)."
        )
    atom, sites = term.event[0], model.structure.sites
    if atom.variable not in sites:
        raise UnknownNameError(atom.variable, known=list(sites))
    site = sites[atom.variable]
    if site.cardinality is None or site.inner:
        raise QueryError(f"{query.label}: '{site.name}' ({site.family}) is not finite.", variable=site.name)
    levels = model.categories.get(site.name, tuple(range(site.cardinality)))
    codes = list(range(site.cardinality))
    for one in term.event:
        if one.value not in levels:
            raise QueryError(f"{query.label}: '{site.name}' is never {one.value!r}; its values: {listed(levels)}.")
        at = levels.index(one.value)
        codes = [code for code in codes if (code != at) == one.negated]
    return atom, codes


def _complete(model: Model, order: list[str], evidence: Any) -> None:
    for name in order:
        if model.structure.sites[name].kind == "deterministic" or name in model.interventions:
            continue
        if name not in evidence.values or name in evidence.holes:
            raise EvidenceError(
                f"'{name}' is {'missing from' if name not in evidence.values else 'empty in some rows of'} the data; "
                "bounds on a unit's own counterfactual need its outcome and all causes of it.",
                column=name,
            )


def _determined(model: Model, outcome: str, between: list[str]) -> None:
    for name in between:
        site = model.structure.sites[name]
        if name == outcome or site.kind == "deterministic":
            continue
        if site.coupling is None or not site.coupling.invertible:
            raise QueryError(
                f"'{name}' changes too, and its value does not determine its noise: make every cause of '{outcome}' "
                "finite, and the bound runs over its couplings as well.",
                variable=name,
            )


def _codes(value: Tensor, one_hot: bool) -> Tensor:
    return value.argmax(-1) if one_hot else value.long()


def _same(before: _World, after: _World, sites: list[Site], units: int) -> Tensor:
    """Units whose values of these sites are the same in both worlds."""
    same = torch.ones(units, dtype=torch.bool)
    for site in sites:
        equal = before.values[site.name] == after.values[site.name]
        same = same & equal.movedim(len(site.inner), 0).reshape(units, -1).all(-1)
    return same


def _run(
    model: Model,
    outcome: str,
    given: Mapping[str, Tensor],
    parameters: Mapping[str, Tensor],
    units: int,
    do: Mapping[Any, Any],
    before: _World | None,
) -> _World:
    """One world up to the outcome: what was observed, what ``do`` sets, what a mechanism with its noise kept gives."""
    sites, world = model.structure.sites, _World()
    actions = {**model.interventions, **do}

    def value(name: str, msg: Any) -> Tensor:
        site = sites[name]
        if name in actions:
            return set_value(actions[name], site, units, {})
        if site.kind == "deterministic":
            return torch.as_tensor(msg["value"]).to(site.dtype).expand(site.shape(units))
        if name not in given:  # no cause of the outcome
            return msg["fn"].sample().to(site.dtype).expand(site.shape(units))
        world.fns[name] = fn = unwrap(msg["fn"])[0]
        if before is None or site.coupling is None or not site.coupling.invertible:
            return given[name]
        return site.coupling.transport(before.fns[name], given[name], fn)

    def act(msg: Any) -> Tensor:
        name = msg["name"]
        if name in parameters:
            return parameters[name]
        if name not in sites:
            return msg["value"]
        if name == outcome:
            bare = unwrap(msg["fn"])[0]
            if not isinstance(bare, FINITE):
                raise QueryError(f"'{outcome}' ({type(bare).__name__}) is not a finite variable.", variable=outcome)
            table = log_table(bare).exp().to(torch.float64)
            world.table = table.reshape(-1, table.shape[-1]).expand(units, table.shape[-1])
            raise _Found
        world.values[name] = value(name, msg)
        return world.values[name]

    for name in model.structure.covariates:
        world.values[name] = set_value(actions[name], sites[name], units, {}) if name in actions else given[name]
    covariates = {name: world.values[name] for name in model.structure.covariates}
    with suppress(_Found), torch.no_grad():
        model.program.execute(act, units, covariates)
    return world
