"""What an effect rests on, in words: whether the graph fixes it and by which formula, or what stands in the way.

Average and controlled effects are asked of :func:`pcm.identify`. A natural or path-specific effect is fixed by the
graph where no district of the outcome's ancestors carries it along an open path and withholds it along another one
(Shpitser 2013; without latent variables a district is one variable, the recanting witness of Avin, Shpitser & Pearl
2005); then it is the edge g-formula: every factor ``P(v | parents)`` at the treatment value that reaches ``v``.

>>> import networkx as nx
>>> graph = nx.DiGraph([("t", "m"), ("m", "y"), ("t", "y")])
>>> routed(graph, "t", "y", {("t", "y")}, ())
'identified by the graph: Σ_m P(y | m, t=treated) P(m | t=control)'
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import networkx as nx
import numpy as np

from pcm.errors import PCMError, listed
from pcm.graph.identify import identify
from pcm.query.account import Account
from pcm.query.overlap import overlap
from pcm.query.question import Question
from pcm.worlds.plan import intervened_graph

__all__ = ["accounted", "adjusted", "graph_of", "open_edges", "routed", "witnesses"]

Edges = Collection[tuple[str, str]]


def accounted(account: Account, question: Question, words: Callable[[], str], *notes: str) -> Account:
    """The account with what fixes the effect, and how far the units overlap: worked out when they are read."""
    own = account.identification  # of given units: what their counterfactuals rest on

    def identification() -> str:
        try:
            said = words()
        except PCMError as error:
            said = f"not assessed: {error}"
        return f"{own}; on average: {said}" if own else said

    positivity = (lambda: _positivity(question)) if question.given else ""
    return replace(account, identification=identification, positivity=positivity, notes=(*account.notes, *notes))


def graph_of(question: Question) -> nx.DiGraph:
    """The graph under the interventions that the model has."""
    return nx.DiGraph(intervened_graph(question.model.structure, question.model.interventions))


def adjusted(
    question: Question, treatments: Collection[str] = (), groups: Collection[str] = (), on_the_treated: bool = False
) -> str:
    """Whether the graph fixes the effect of the treatment (and of further variables that are set) on the outcome, on
    average, within groups of other variables, or on the treated."""
    asked = [question.treatment, *treatments]
    graph, unseen = graph_of(question), question.unseen
    after = [name for name in groups if name in nx.descendants(graph, question.treatment)]
    if after:
        return f"model-dependent: the units are grouped by {listed(after)}, which the treatment changes"
    given = [name for name in groups if name != question.treatment and name not in unseen]
    found = identify(
        graph, asked if treatments else question.treatment, question.outcome, latent=unseen, conditional=given
    )
    what = f" ({listed(unseen)} unobserved)" if unseen else ""
    if not found:
        hint = ""
        if found.instrument is not None:
            hint = f"; the instrument {found.instrument} bounds it: pcm.bounds(scm, …, latent={list(unseen)!r})"
        return f"model-dependent{what}: {found.summary} ({found.witness}), so it rests on the program's own laws{hint}"
    binary = question.model.structure.sites[question.treatment].cardinality == 2
    on_the_treated = on_the_treated or question.treatment in groups
    if on_the_treated and found.strategy not in ("none needed", "back-door") and not binary:
        return f"model-dependent{what}: {found.summary}, but not the effect on those who take one of several values"
    return f"identified by the graph{what}: {found.summary}; {found.estimand}"


def open_edges(graph: nx.DiGraph, treatment: str, outcome: str, closed: Edges) -> set[tuple[str, str]]:
    """Edges that lie on a path from treatment to outcome with no closed edge."""
    kept = graph.edge_subgraph([edge for edge in graph.edges if edge not in closed])
    if treatment not in kept or outcome not in kept:
        return set()
    below = {treatment, *nx.descendants(kept, treatment)}
    above = {outcome, *nx.ancestors(kept, outcome)}
    return {(a, b) for a, b in kept.edges if a in below and b in above}


def witnesses(graph: nx.DiGraph, treatment: str, outcome: str, opened: Edges) -> list[str]:
    """Variables that the effect reaches and that pass it on along one edge and withhold it along another."""
    above = {outcome, *nx.ancestors(graph, outcome)}
    reached = {b for _, b in opened} - {treatment, outcome}
    return [
        name
        for name in graph
        if name in reached and any((name, child) not in opened and child in above for child in graph.successors(name))
    ]


def routed(
    graph: nx.DiGraph,
    treatment: str,
    outcome: str,
    opened: Edges,
    latent: Collection[str],
    carried: tuple[str, str] = ("treated", "control"),
) -> str:
    """Whether the graph fixes the effect along the paths that the open edges make up.

    ``carried`` names the treatment's values along the open edges and along all others.
    """
    seen = witnesses(graph, treatment, outcome, opened)
    if seen:
        return (
            f"model-dependent: recanting witness {listed(seen)} carries the effect along an open path and withholds it "
            "along another; no experiment identifies this effect, it rests on the model's own noise"
        )
    above = [name for name in nx.topological_sort(graph) if name in nx.ancestors(graph, outcome) | {outcome}]
    rest = [name for name in above if name != treatment and name not in latent]
    if latent:
        words = f"model-dependent ({listed(sorted(latent))} unobserved)"
        joint = identify(graph, treatment, rest, latent=latent) if treatment in above else None
        if joint is not None and not joint:
            return f"{words}: {joint.summary} ({joint.witness})"
        for district in _districts(graph.subgraph(above), treatment, latent):
            carry = [n for n in district if n in _carrying(treatment, opened, latent)]
            withhold = [n for n in district if n in _withheld(graph, treatment, outcome, opened, latent)]
            if carry and withhold:
                return (
                    f"{words}: recanting district {listed(district)}, whose members share unobserved causes: "
                    f"{listed(carry)} carries the effect and {listed(withhold)} withholds it"
                )
        return f"identified by the graph ({listed(sorted(latent))} unobserved): no recanting district"
    factors = [_factor(graph, name, treatment, carried[(treatment, name) not in opened]) for name in reversed(rest)]
    summed = ",".join(name for name in rest if name != outcome)
    return f"identified by the graph: {f'Σ_{summed} ' if summed else ''}{' '.join(factors)}"


# -- private ---------------------------------------------------------------------------------------------------------


def _factor(graph: nx.DiGraph, name: str, treatment: str, value: str) -> str:
    parents = [p for p in graph.predecessors(name) if p != treatment]
    if graph.has_edge(treatment, name):
        parents.append(f"{treatment}={value}")
    return f"P({name}{' | ' + ', '.join(parents) if parents else ''})"


def _visible(graph: nx.DiGraph, treatment: str, latent: Collection[str]) -> set[str]:
    """Observed variables that the treatment reaches at once, or through latent ones alone."""
    found, stack = set(), [treatment]
    while stack:
        for child in graph.successors(stack.pop()):
            if child in latent:
                stack.append(child)
            else:
                found.add(child)
    return found


def _carrying(treatment: str, opened: Edges, latent: Collection[str]) -> set[str]:
    """Observed children of the treatment through which an open path begins."""
    kept = nx.DiGraph(list(opened))
    return _visible(kept, treatment, latent) if treatment in kept else set()


def _withheld(graph: nx.DiGraph, treatment: str, outcome: str, opened: Edges, latent: Collection[str]) -> set[str]:
    """Observed children of the treatment through which a path begins that is not open."""
    found = set()
    for child in _visible(graph, treatment, latent):
        if child != outcome and not nx.has_path(graph, child, outcome):
            continue
        below = {child, *nx.descendants(graph, child)}
        above = {outcome, *nx.ancestors(graph, outcome)}
        onward = {(a, b) for a, b in graph.edges if a in below and b in above}
        shut = graph.has_edge(treatment, child) and (treatment, child) not in opened
        if shut or not onward <= set(opened):
            found.add(child)
    return found


def _districts(graph: nx.DiGraph, treatment: str, latent: Collection[str]) -> list[list[str]]:
    """Observed variables joined by latent common causes, the treatment left out."""
    joined: nx.Graph = nx.Graph()
    joined.add_nodes_from(name for name in graph if name not in latent and name != treatment)
    for cause in latent:
        if cause in graph:
            reached = [name for name in _visible(graph, cause, latent) if name != treatment]
            nx.add_path(joined, reached)
    return [sorted(part) for part in nx.connected_components(joined)]


def _positivity(question: Question) -> str:
    compared: dict[str, Any] = {"treated": question.treated, "control": question.control}
    if not all(isinstance(value, bool | int | float | str | np.number) for value in compared.values()):
        return "not assessed: the arms set no single value"
    options: dict[str, Any] = {"draws": min(question.draws, 100), "seed": question.seed, **compared}
    try:
        found = overlap(question.model, question.treatment, question.data, **options)
    except PCMError as error:
        return f"not assessed: {error}"
    count, units = int(found.mask.sum()), len(found.mask)
    call = f"pcm.overlap(scm, {question.treatment!r}, data, outcome={question.outcome!r})"
    if not count:
        return f"all {units:,} units have comparable ones (probability of each treatment at least {found.threshold:g})"
    return (
        f"{count:,} of {units:,} units have no comparable ones (probability of a treatment under "
        f"{found.threshold:g}); what rests on them: {call}"
    )
