"""The law of a program's finite variables, by enumeration: each mechanism's distribution at every value of its parents.

The program's couplings are forgotten; only ``P(v | parents)`` and the graph are kept.

>>> import pyro, pyro.distributions as dist
>>> from pcm.program import Program
>>> def pair():
...     x = pyro.sample("x", dist.Bernoulli(0.5))
...     pyro.sample("y", dist.Bernoulli(0.2 + 0.6 * x))
>>> law = law_of_model(Model(Program(pair)), {"y"}, {})
>>> law.factors["y"][1].round(6).tolist()
[[0.8, 0.2], [0.2, 0.8]]
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import combinations
from typing import Any

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from pcm.couplings import unwrap
from pcm.couplings.finite import FINITE, log_table
from pcm.errors import QueryError, UnknownNameError, listed
from pcm.infer.seeding import seeded
from pcm.program import Site
from pcm.query.bounds.law import Law, Shape, aligned, law_of_joint, projected
from pcm.query.bounds.tables import MAX_CELLS, MAX_LEVELS
from pcm.query.model import Model
from pcm.worlds import Constant

__all__ = ["graph_of_model", "law_of_model"]

_SEED = 0


class _Found(Exception):
    """Unwinds a run once the mechanism it was after is known."""


def graph_of_model(model: Model) -> nx.DiGraph:
    """The graph of a program under the constant interventions in force.

    Raises
    ------
    QueryError
        An intervention that is not a constant.
    """
    graph: nx.DiGraph = nx.DiGraph(model.structure.graph)
    for target, action in model.interventions.items():
        if not isinstance(target, str) or not isinstance(action, Constant):
            raise QueryError(
                f"bounds of a model under do({target}=…) need an intervention that sets a variable to one constant; "
                "name other worlds in the query."
            )
        graph.remove_edges_from(list(graph.in_edges(target)))
    return graph


def law_of_model(
    model: Model,
    names: Collection[str],
    parameters: Mapping[str, Tensor],
    confounded: Iterable[Sequence[str]] = (),
    latent: Collection[str] = (),
) -> Law:
    """The law of the variables that a query on ``names`` needs.

    Parameters
    ----------
    model : Model
    names : collection of str
        Variables of the query.
    parameters : dict of name to tensor
        One draw.
    confounded : groups of names
        Variables taken to share an unmeasured cause beside what the program says.
    latent : collection of str
        Variables of the program taken as never observed.

    Raises
    ------
    QueryError
        A variable that is not finite, a covariate, too many joint values.
    UnknownNameError
        A name that is no variable of the program.
    """
    graph = graph_of_model(model)
    for name in (*names, *latent, *(name for pair in confounded for name in pair)):
        if name not in graph:
            raise UnknownNameError(name, known=list(graph))
    seen = [name for name in names if name in latent]
    if seen:
        raise QueryError(f"the query names '{seen[0]}', which latent= says is never observed.", variable=seen[0])
    pairs = [tuple(pair) for pair in confounded]
    needed = _closure(*projected(graph, pairs, latent), names)
    every = set(needed).union(*(nx.ancestors(graph, name) for name in needed))
    order = [name for name in model.structure.sites if name in every]
    levels: dict[str, tuple[Any, ...]] = {}
    tables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    with model.program.sealed(), seeded(_SEED):
        for name in order:
            parents = tuple(parent for parent in model.structure.sites if graph.has_edge(parent, name))
            levels[name], table = _mechanism(model, name, parents, levels, parameters)
            for parent in [p for p in parents if graph.edges[p, name].get("inert")]:
                first = table.take([0], parents.index(parent))
                if np.array_equal(np.broadcast_to(first, table.shape), table):  # read, without effect
                    table = first.squeeze(parents.index(parent))
                    parents = tuple(p for p in parents if p != parent)
                    graph.remove_edge(parent, name)
            tables[name] = ((*parents, name), table)
    labels = {name: _labels(model, name, levels[name]) for name in order}
    kept = graph.subgraph(order)
    if not latent and not pairs:
        return Law(Shape.of(kept, [], labels), tables)
    return _confounded(kept, pairs, set(latent) & set(order), labels, tables)


# -- private ---------------------------------------------------------------------------------------------------------


def _closure(graph: nx.DiGraph, groups: Iterable[tuple[str, ...]], names: Collection[str]) -> set[str]:
    """Ancestors, what shares their noise, and so on: nothing else bears on the query."""
    joined: nx.Graph = nx.Graph([pair for group in groups for pair in combinations(group, 2)])
    found: set[str] = set()
    stack = list(names)
    while stack:
        name = stack.pop()
        if name not in found:
            found.add(name)
            stack += [*graph.predecessors(name), *(joined.adj.get(name, ()))]
    return found


def _confounded(
    graph: nx.DiGraph,
    pairs: list[Any],
    latent: set[str],
    levels: dict[str, tuple[Any, ...]],
    tables: dict[str, tuple[tuple[str, ...], np.ndarray]],
) -> Law:
    order = list(levels)
    sizes = [len(levels[name]) for name in order]
    if math.prod(sizes) > MAX_CELLS:
        raise QueryError(
            f"the joint table of {listed(order)} has {math.prod(sizes):,} cells, more than {MAX_CELLS:,}: confound "
            "variables of a smaller program, or give a table."
        )
    joint = np.ones((1,) * len(order))
    for axes, table in tables.values():
        joint = joint * aligned(axes, table, order)
    joint = np.broadcast_to(joint, sizes).sum(tuple(at for at, name in enumerate(order) if name in latent))
    plain, found = projected(graph, pairs, latent)
    seen = [name for name in order if name not in latent]
    shape = Shape.of(plain, found, {name: levels[name] for name in seen})
    law = law_of_joint(shape, joint.transpose([seen.index(name) for name in shape.names]))
    alone = {part[0] for part in shape.components if len(part) == 1}
    whole = {
        n: tables[n] for n in alone if set(tables[n][0][:-1]) == set(shape.parents[n])
    }  # known where P(pa) = 0 too
    return Law(shape, {**law.factors, **whole}, law.notes)


def _mechanism(
    model: Model,
    name: str,
    parents: tuple[str, ...],
    levels: Mapping[str, tuple[Any, ...]],
    parameters: Mapping[str, Tensor],
) -> tuple[tuple[Any, ...], np.ndarray]:
    """A site's values, and ``P(site | parents)`` with the site on the last axis."""
    sites = model.structure.sites
    site = sites[name]
    sizes = tuple(len(levels[parent]) for parent in parents)
    units = math.prod(sizes)
    if units > MAX_CELLS:
        raise QueryError(f"'{name}' has {units:,} configurations of parents, more than {MAX_CELLS:,}.", variable=name)
    if name in model.interventions:
        action = model.interventions[name]
        assert isinstance(action, Constant)
        if site.kind == "deterministic":
            return (float(action.value),), np.ones(1)
        _check_finite(site)
        value = action.value.argmax() if site.one_hot else action.value
        return tuple(range(site.cardinality or 0)), np.eye(site.cardinality or 0)[int(value)]
    if site.kind != "deterministic":
        _check_finite(site)
    grid = np.meshgrid(*[np.array(levels[parent], float) for parent in parents], indexing="ij") if parents else []
    assigned = {
        parent: _values(sites[parent], torch.as_tensor(values.ravel()))
        for parent, values in zip(parents, grid, strict=True)
    }
    fn = _fn_at(model, name, assigned, parameters, units)
    if site.kind == "deterministic":
        return _tabulated(name, fn, sizes, units)
    bare = unwrap(fn)[0]
    if not isinstance(bare, FINITE):
        raise _not_finite(site)
    table = log_table(bare).exp().detach().to(torch.float64)
    count = table.shape[-1]
    table = table.reshape(-1, count).expand(units, count).numpy()
    return tuple(range(count)), (table / table.sum(-1, keepdims=True)).reshape(*sizes, count)


def _fn_at(
    model: Model, target: str, assigned: Mapping[str, Tensor], parameters: Mapping[str, Tensor], units: int
) -> Any:
    """The target's distribution (a deterministic one's value) where its parents are as assigned."""
    sites, found = model.structure.sites, []

    def act(msg: Any) -> Tensor:
        name = msg["name"]
        if name in parameters:
            return parameters[name]
        if name == target:
            found.append(msg["value"] if sites[name].kind == "deterministic" else msg["fn"])
            raise _Found
        if name in assigned:
            return assigned[name]
        if name not in sites or sites[name].kind == "deterministic":
            return msg["value"]
        value = msg["fn"].sample()  # not read by the target
        return value.to(sites[name].dtype).expand(sites[name].shape(units))

    blank = {name: torch.zeros(units, dtype=sites[name].dtype) for name in model.structure.covariates}
    with suppress(_Found):
        model.program.execute(act, units, blank)
    return found[0]


def _values(site: Site, codes: Tensor) -> Tensor:
    if site.one_hot:
        return torch.nn.functional.one_hot(codes.long(), site.cardinality or -1).to(site.dtype)
    return codes.to(site.dtype)


def _tabulated(name: str, value: Any, sizes: tuple[int, ...], units: int) -> tuple[tuple[Any, ...], np.ndarray]:
    values = torch.as_tensor(value).detach()
    if values.dim() > 1 or values.numel() not in (1, units):
        raise QueryError(f"'{name}' has several values a unit; bounds need one finite value a unit.", variable=name)
    levels, codes = np.unique(values.expand(units).to(torch.float64).numpy(), return_inverse=True)
    if len(levels) > MAX_LEVELS:
        raise QueryError(f"'{name}' takes {len(levels)} values, more than {MAX_LEVELS}.", variable=name)
    words = tuple(int(level) if level == round(level) else float(level) for level in levels)
    return words, np.eye(len(levels))[codes].reshape(*sizes, len(levels))


def _labels(model: Model, name: str, levels: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(model.categories.get(name, levels))


def _check_finite(site: Site) -> None:
    if site.kind == "covariate":
        raise QueryError(
            f"'{site.name}' is a covariate, which has no distribution: bounds over response types average over all "
            "causes of the query's variables. Give the units' own values: data=.",
            variable=site.name,
        )
    if site.cardinality is None or site.inner or (site.event and not site.one_hot):
        raise _not_finite(site)


def _not_finite(site: Site) -> QueryError:
    return QueryError(
        f"'{site.name}' ({site.family}) is not a finite variable with one value a unit: bounds over response types "
        "need those. Cut it into classes (a Categorical site, or pandas.cut and a table), or ask for one unit's "
        "counterfactual with data=, which takes its continuous causes as observed.",
        variable=site.name,
    )
