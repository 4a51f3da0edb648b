r"""Direct, indirect and path-specific effects, by worlds that borrow values from one another.

With ``t`` the treated value and ``c`` the control value of the treatment:

- controlled direct effect  ``CDE(m) = E[Y(t, m)] - E[Y(c, m)]``;
- natural direct effect     ``NDE = E[Y(t, M(c))] - E[Y(c)]``;
- natural indirect effect   ``NIE = E[Y(c, M(t))] - E[Y(c)]``   (Pearl 2001);
- path-specific effect along a set of paths: the treatment takes ``t`` along their edges and ``c`` along all others.

A world borrows by setting a variable, or one edge, to its value in a reference world of the same unit and noise. A node
whose two copies both reach the outcome is a *recanting witness* (Avin, Shpitser & Pearl 2005): the effect then rests on
the model's own joint law of the two, which no experiment identifies, and the result says so.

>>> import pyro, pyro.distributions as dist, pcm
>>> def mediation():
...     t = pyro.sample("t", dist.Bernoulli(0.5))
...     m = pyro.sample("m", dist.Normal(2.0 * t, 1.0))
...     pyro.sample("y", dist.Normal(3.0 * m + t, 1.0))
>>> scm = pcm.SCM(mediation)
>>> [round(float(effect(scm._model, "t", "y", seed=0)), 9) for effect in (nde, nie)]
[1.0, 6.0]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import networkx as nx
import torch

from pcm.errors import ArgumentError, GraphError, QueryError, UnknownNameError, listed
from pcm.graph import as_path, directed_paths
from pcm.query.effect import Effect
from pcm.query.effects import Arm, Arms, check_question, effect_of, run_arms
from pcm.query.model import Model
from pcm.worlds import Baseline, Target

__all__ = ["cde", "nde", "nie", "path_effect"]


def cde(
    model: Model,
    treatment: str,
    outcome: str,
    *,
    mediators: Mapping[str, Any],
    treated: Any = 1,
    control: Any = 0,
    data: Any = None,
    scale: str = "difference",
    units: int = 10_000,
    draws: int = 500,
    seed: int | None = None,
) -> Effect:
    """Controlled direct effect; see :func:`pcm.cde`."""
    check_question(model, treatment, outcome, scale, units, draws)
    if not isinstance(mediators, Mapping) or not mediators:
        raise ArgumentError("cde(mediators={…}) is a dict of mediator to the value it is held at.")
    if treatment in mediators or outcome in mediators:
        raise ArgumentError("a mediator is neither the treatment nor the outcome.")
    arms = {
        world: Arm(_sets(model, {treatment: value, **mediators}))
        for world, value in (("treated", treated), ("control", control))
    }
    found = run_arms(model, arms, outcome, data, units, draws, seed)
    return _all(found, scale, f"CDE of {treatment} on {outcome}")


def nde(model: Model, treatment: str, outcome: str, **options: Any) -> Effect:
    """Natural direct effect; see :func:`pcm.nde`."""
    return _natural(model, treatment, outcome, "NDE", **options)


def nie(model: Model, treatment: str, outcome: str, **options: Any) -> Effect:
    """Natural indirect effect; see :func:`pcm.nie`."""
    return _natural(model, treatment, outcome, "NIE", **options)


def _natural(
    model: Model,
    treatment: str,
    outcome: str,
    kind: str,
    *,
    mediators: Sequence[str] | None = None,
    treated: Any = 1,
    control: Any = 0,
    data: Any = None,
    scale: str = "difference",
    units: int = 10_000,
    draws: int = 500,
    seed: int | None = None,
) -> Effect:
    check_question(model, treatment, outcome, scale, units, draws)
    chosen = _mediators(model, treatment, outcome, mediators)
    first, second = _sets(model, {treatment: treated}), _sets(model, {treatment: control})
    own, other = (first, second) if kind == "NDE" else (second, first)
    borrowed: dict[Target, Any] = {name: Baseline() for name in chosen}
    arms = {"treated": Arm({**own, **borrowed}, other), "control": Arm(second)}
    found = run_arms(model, arms, outcome, data, units, draws, seed)
    return _all(found, scale, f"{kind} of {treatment} on {outcome} through {listed(chosen) if chosen else 'nothing'}")


def path_effect(
    model: Model,
    treatment: str,
    outcome: str,
    *,
    paths: Sequence[Any],
    treated: Any = 1,
    control: Any = 0,
    data: Any = None,
    scale: str = "difference",
    units: int = 10_000,
    draws: int = 500,
    seed: int | None = None,
) -> Effect:
    """Path-specific effect; see :func:`pcm.path_effect`."""
    check_question(model, treatment, outcome, scale, units, draws)
    graph = model.structure.graph
    edges = _edges(model, treatment, outcome, paths)
    below = {treatment, *nx.descendants(graph, treatment)}
    above = {outcome, *nx.ancestors(graph, outcome)}
    closed = [(a, b) for a, b in graph.edges if a in below and b in above and (a, b) not in edges]
    reference = _sets(model, {treatment: control})
    borrowed: dict[Target, Any] = {edge: Baseline() for edge in closed}
    arms = {
        "treated": Arm({**_sets(model, {treatment: treated}), **borrowed}, reference),
        "control": Arm(reference),
    }
    found = run_arms(model, arms, outcome, data, units, draws, seed)
    witnesses = _witnesses(edges, closed, treatment)
    if witnesses:
        note = (
            f"recanting witness: {listed(witnesses)} carries the effect along an open path and withholds it along "
            "another; no experiment identifies this effect, it rests on the model's own noise"
        )
        account = replace(
            found.account,
            identification=f"model-dependent (recanting witness {listed(witnesses)})",
            notes=(*found.account.notes, note),
        )
        found = replace(found, account=account)
    return _all(found, scale, f"effect of {treatment} on {outcome} along {'; '.join(_words(paths))}")


# -- private ---------------------------------------------------------------------------------------------------------


def _sets(model: Model, given: Mapping[str, Any]) -> dict[Target, Any]:
    made = model.do(given).interventions
    return {name: made[name] for name in given}


def _all(found: Arms, scale: str, label: str) -> Effect:
    return effect_of(found, torch.ones(found.treated.shape[-1], dtype=torch.bool), scale, label)


def _mediators(model: Model, treatment: str, outcome: str, given: Sequence[str] | None) -> list[str]:
    graph = model.structure.graph
    between = nx.descendants(graph, treatment) & nx.ancestors(graph, outcome)
    if given is None:
        return [name for name in model.structure.sites if name in between]
    names = [given] if isinstance(given, str) else list(given)
    for name in names:
        if name not in model.structure.sites:
            raise UnknownNameError(name, known=list(model.structure.sites))
        if name not in between:
            raise QueryError(
                f"'{name}' is no mediator: no directed path {treatment} → … → {outcome} goes through it; mediators: "
                f"{listed(sorted(between))}."
            )
    return names


def _edges(model: Model, treatment: str, outcome: str, paths: Sequence[Any]) -> set[tuple[str, str]]:
    """Edges of the paths; an error where those edges make up another path too."""
    graph = model.structure.graph
    if isinstance(paths, str) or not isinstance(paths, Sequence) or not paths:
        raise ArgumentError(f"paths= is a list such as ['{treatment} -> … -> {outcome}']; found {paths!r}.")
    walks = [tuple(as_path(graph, path)) for path in paths]
    for walk in walks:
        if walk[0] != treatment or walk[-1] != outcome:
            raise GraphError(f"the path {' → '.join(walk)} does not lead from '{treatment}' to '{outcome}'.")
    edges = {edge for walk in walks for edge in pairwise(walk)}
    opened = nx.DiGraph(list(edges))
    extra = [path for path in directed_paths(opened, treatment, outcome) if tuple(path) not in walks]
    if extra:
        raise GraphError(
            f"the edges of these paths also make up {' → '.join(extra[0])}, which is not among them: no way of opening "
            "edges separates them. Add that path, or ask for fewer."
        )
    return edges


def _witnesses(edges: set[tuple[str, str]], closed: list[tuple[str, str]], treatment: str) -> list[str]:
    """Nodes reached by the effect that pass it on along one edge and not along another."""
    reached = {b for _, b in edges}
    return sorted({a for a, _ in closed if a in reached and a != treatment and any(a == c for c, _ in edges)})


def _words(paths: Sequence[Any]) -> list[str]:
    return [path if isinstance(path, str) else " -> ".join(path) for path in paths]
