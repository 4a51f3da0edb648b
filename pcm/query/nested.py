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

from pcm.errors import ArgumentError, GraphError, QueryError, UnknownNameError, listed
from pcm.graph import as_path, directed_paths
from pcm.query.arms import Arm, run_arms
from pcm.query.effect import Effect
from pcm.query.effects import effect_of
from pcm.query.identified import accounted, adjusted, graph_of, open_edges, routed, witnesses
from pcm.query.model import Model
from pcm.query.question import Question
from pcm.worlds import Baseline, Target

__all__ = ["cde", "nde", "nie", "path_effect"]


def cde(model: Model, treatment: str, outcome: str, *, mediators: Mapping[str, Any], **options: Any) -> Effect:
    """Controlled direct effect; see :func:`pcm.cde`."""
    asked = Question.of(model, treatment, outcome, options)
    if not isinstance(mediators, Mapping) or not mediators:
        raise ArgumentError("cde(mediators={…}) is a dict of mediator to the value it is held at.")
    if treatment in mediators or outcome in mediators:
        raise ArgumentError("a mediator is neither the treatment nor the outcome.")
    values = {"treated": asked.treated, "control": asked.control}
    found = run_arms(asked, {world: Arm(asked.sets(value, **mediators)) for world, value in values.items()})
    words = accounted(found.account, asked, lambda: adjusted(asked, list(mediators)))
    return effect_of(asked, replace(found, account=words), f"CDE of {asked.told} on {outcome}")


def nde(model: Model, treatment: str, outcome: str, **options: Any) -> Effect:
    """Natural direct effect; see :func:`pcm.nde`."""
    return _natural(model, treatment, outcome, "NDE", **options)


def nie(model: Model, treatment: str, outcome: str, **options: Any) -> Effect:
    """Natural indirect effect; see :func:`pcm.nie`."""
    return _natural(model, treatment, outcome, "NIE", **options)


def _natural(
    model: Model, treatment: str, outcome: str, kind: str, *, mediators: Sequence[str] | None = None, **options: Any
) -> Effect:
    asked = Question.of(model, treatment, outcome, options)
    chosen = _mediators(model, treatment, outcome, mediators)
    first, second = asked.sets(asked.treated), asked.sets(asked.control)
    own, other = (first, second) if kind == "NDE" else (second, first)
    borrowed: dict[Target, Any] = {name: Baseline() for name in chosen}
    label = f"{kind} of {asked.told} on {outcome} through {listed(chosen) if chosen else 'nothing'}"
    graph = graph_of(asked)
    closed = [(parent, name) for name in chosen for parent in graph.predecessors(name)]
    carried = ("treated", "control") if kind == "NDE" else ("control", "treated")
    bounding = f"pcm.Query.{kind.lower()}({treatment!r}, {outcome!r}, mediators={chosen!r}{_values(asked)})"
    return _crossed(asked, Arm({**own, **borrowed}, other), second, closed, label, bounding, carried)


def path_effect(model: Model, treatment: str, outcome: str, *, paths: Sequence[Any], **options: Any) -> Effect:
    """Path-specific effect; see :func:`pcm.path_effect`."""
    asked = Question.of(model, treatment, outcome, options)
    graph = graph_of(asked)
    edges = _edges(graph, treatment, outcome, paths)
    below = {treatment, *nx.descendants(graph, treatment)}
    above = {outcome, *nx.ancestors(graph, outcome)}
    closed = [(a, b) for a, b in graph.edges if a in below and b in above and (a, b) not in edges]
    reference = asked.sets(asked.control)
    borrowed: dict[Target, Any] = {edge: Baseline() for edge in closed}
    label = f"effect of {asked.told} on {outcome} along {'; '.join(_words(paths))}"
    bounding = repr(f"PSE({'; '.join(_words(paths))})")
    if _values(asked):
        bounding = f"pcm.Query.path_effect({treatment!r}, {outcome!r}, paths={_words(paths)!r}{_values(asked)})"
    return _crossed(
        asked, Arm({**asked.sets(asked.treated), **borrowed}, reference), reference, closed, label, bounding
    )


# -- private ---------------------------------------------------------------------------------------------------------


def _crossed(
    asked: Question,
    treated: Arm,
    control: dict[Target, Any],
    closed: list[tuple[str, str]],
    label: str,
    bounding: str,
    carried: tuple[str, str] = ("treated", "control"),
) -> Effect:
    """The contrast of a nested world with the control world; a recanting witness is noted."""
    found = run_arms(asked, {"treated": treated, "control": Arm(control)})
    graph = graph_of(asked)
    opened = open_edges(graph, asked.treatment, asked.outcome, closed)
    recanting = witnesses(graph, asked.treatment, asked.outcome, opened)
    notes = [
        f"recanting witness: {listed(recanting)} carries the effect along an open path and withholds it along another; "
        f"over every coupling of a program of finite variables it is bounded by pcm.bounds(scm, {bounding})"
    ]
    account = accounted(
        found.account,
        asked,
        lambda: routed(graph, asked.treatment, asked.outcome, opened, asked.unseen, carried),
        *(notes if recanting else []),
    )
    return effect_of(asked, replace(found, account=account), label)


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


def _edges(graph: nx.DiGraph, treatment: str, outcome: str, paths: Sequence[Any]) -> set[tuple[str, str]]:
    """Edges of the paths; an error where those edges make up another path too."""
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


def _values(asked: Question) -> str:
    """The arms' values as arguments, where they are not the usual ones."""
    if all(isinstance(v, int | float) and v == usual for v, usual in ((asked.treated, 1), (asked.control, 0))):
        return ""
    return f", treated={asked.treated!r}, control={asked.control!r}"


def _words(paths: Sequence[Any]) -> list[str]:
    return [path if isinstance(path, str) else " -> ".join(path) for path in paths]
