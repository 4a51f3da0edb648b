"""General identification: what an intervention does, as an expression in the observed law, or the reason why not.

With ``D`` the ancestors of ``Y`` once ``X`` is cut out and ``D_i`` its districts (Tian & Pearl 2002)::

    P(y | do(x)) = Σ_{D − Y} Π_i Q[D_i],   Q[C](v) = P(c | do(v − c))

Each ``Q[D_i]`` is computed from the district of the whole graph around it by summing out what is no ancestor and
dividing districts apart, or a *hedge* is met, which proves that no expression exists (Shpitser & Pearl 2006; Huang &
Valtorta 2006): the method is sound and complete.

>>> import networkx as nx
>>> from pcm.graph.identify.mixed import project
>>> napkin = nx.DiGraph([("w", "r"), ("r", "x"), ("x", "y"), ("u", "w"), ("u", "x"), ("v", "w"), ("v", "y")])
>>> print(effect(project(napkin, {"u", "v"}), {"x"}, {"y"}).text())
[Σ_w P(w) P(x, y | w, r)] / [Σ_w P(w) P(x | w, r)]
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from dataclasses import dataclass
from typing import Any

import networkx as nx

from pcm.graph.identify.expression import Expression, Probability, product, ratio, total
from pcm.graph.identify.mixed import MixedGraph

__all__ = ["Hedge", "HedgeFound", "conditional_effect", "effect"]


@dataclass(frozen=True)
class Hedge:
    """Two nested c-forests with the same roots, which prove that an effect is not identified.

    In each, bidirected edges join all variables and every variable leads to a root. Two models can agree on all that
    is observed and differ in ``P(roots | do(treatment))``.

    Attributes
    ----------
    outer : frozenset
        The larger forest; it meets the treatment.
    inner : frozenset
        The smaller one; it does not.
    roots : frozenset
        Childless in both, and ancestors of the outcome.

    References
    ----------
    Shpitser & Pearl, "Identification of joint interventional distributions in recursive semi-Markovian causal models",
    AAAI 2006, Definitions 5–6 and Theorem 4.
    """

    outer: frozenset[Any]
    inner: frozenset[Any]
    roots: frozenset[Any]

    def __str__(self) -> str:
        outer, inner, roots = (", ".join(sorted(map(str, names))) for names in (self.outer, self.inner, self.roots))
        return f"the c-forests {{{outer}}} and {{{inner}}} with roots {{{roots}}}"


class HedgeFound(Exception):
    """Raised inside the search; callers turn it into an answer."""

    def __init__(self, hedge: Hedge) -> None:
        super().__init__(str(hedge))
        self.hedge = hedge


def effect(graph: MixedGraph, treatment: Collection[Hashable], outcome: Collection[Hashable]) -> Expression:
    """``P(outcome | do(treatment))`` in terms of the observed law.

    Raises
    ------
    HedgeFound
        It is not identified.
    """
    outcome = set(outcome)
    # what is no ancestor of the outcome plays no part, and keeps its margin out of the expression
    observed = graph.ancestors(outcome, graph.order)
    needed = graph.ancestors(outcome, observed - set(treatment))
    factors = []
    for inner in graph.districts(needed):
        outer = graph.district(next(iter(inner)), observed)
        factors.append(_factor(graph, inner, outer, _district_law(graph, outer, observed)))
    return total(graph.sort(needed - outcome), product(factors))


def conditional_effect(
    graph: MixedGraph, treatment: Collection[Hashable], outcome: Collection[Hashable], given: Collection[Hashable]
) -> Expression:
    """``P(outcome | do(treatment), given)`` in terms of the observed law.

    Raises
    ------
    HedgeFound
        It is not identified.

    References
    ----------
    Shpitser & Pearl, "Identification of conditional interventional distributions", UAI 2006 (algorithm IDC).
    """
    done, seen = set(treatment), set(given)
    moved = True
    while moved:  # observing is as good as doing where no back door is open (rule 2)
        moved = False
        for name in graph.sort(seen):
            dag = _explicit(graph, cut_into=done, cut_out_of={name})
            if nx.is_d_separator(dag, {name}, set(outcome), done | seen - {name}):
                done.add(name)
                seen.remove(name)
                moved = True
                break
    joint = effect(graph, done, set(outcome) | seen)
    return ratio(joint, total(graph.sort(set(outcome)), joint)) if seen else joint


def _district_law(graph: MixedGraph, district: frozenset[Any], observed: frozenset[Any]) -> Expression:
    """``Q[district]`` of an ancestral set of variables: each given its Markov pillow."""
    within = MixedGraph(
        {name: graph.parents[name] for name in graph.sort(observed)},
        {name: graph.siblings[name] & observed for name in observed},
    )
    return product(Probability((name,), graph.sort(within.pillow(name))) for name in graph.sort(district))


def _factor(graph: MixedGraph, inner: frozenset[Any], outer: frozenset[Any], law: Expression) -> Expression:
    """``Q[inner]`` from ``law = Q[outer]``; both districts, ``inner ⊆ outer``."""
    above = graph.ancestors(inner, outer)
    if above == inner:
        return total(graph.sort(outer - inner), law)
    if above == outer:
        childless = [name for name in inner if not any(name in graph.parents[other] for other in inner)]
        raise HedgeFound(Hedge(outer, inner, frozenset(childless)))
    law = total(graph.sort(outer - above), law)
    district = graph.district(next(iter(inner)), above)
    return _factor(graph, inner, district, _divided(graph, district, above, law))


def _divided(graph: MixedGraph, district: frozenset[Any], whole: frozenset[Any], law: Expression) -> Expression:
    """``Q[district]`` from ``law = Q[whole]``: ``Π_i Q[v_1 … v_i] / Q[v_1 … v_{i−1}]`` over the district's members."""
    order = graph.sort(whole)
    if district == whole:
        return law
    factors: list[Expression] = []
    start = 0
    while start < len(order):
        stop = start
        while stop < len(order) and order[stop] in district:  # consecutive members telescope
            stop += 1
        if stop > start:
            top = total(order[stop:], law)
            factors.append(ratio(top, total(order[start:], law)) if start else top)
        start = stop + 1
    return product(factors)


def _explicit(graph: MixedGraph, cut_into: Collection[Any], cut_out_of: Collection[Any]) -> nx.DiGraph:
    """A DAG with a node for every bidirected edge, arrows into and out of some variables cut."""
    dag = nx.DiGraph()
    dag.add_nodes_from(graph.order)
    dag.add_edges_from(
        (parent, name)
        for name, parents in graph.parents.items()
        for parent in parents
        if name not in cut_into and parent not in cut_out_of
    )
    for place, name in enumerate(graph.order):
        for other in graph.siblings[name].intersection(graph.order[place + 1 :]):
            latent = ("latent", name, other)
            dag.add_edges_from((latent, end) for end in (name, other) if end not in cut_into)
    return dag
