"""Front doors and instruments: the two classical ways round a confounder that is not observed.

>>> import networkx as nx
>>> smoking = nx.DiGraph([("gene", "smoking"), ("gene", "cancer"), ("smoking", "tar"), ("tar", "cancer")])
>>> front_door(smoking, "smoking", "cancer", ["smoking", "tar", "cancer"])
('tar',)
>>> trial = nx.DiGraph([("assigned", "taken"), ("will", "taken"), ("will", "health"), ("taken", "health")])
>>> instrument(trial, "taken", "health", ["assigned", "taken", "health"])
('assigned', ())
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from itertools import combinations
from typing import Any

import networkx as nx

from pcm.graph.paths import ancestors, descendants

__all__ = ["front_door", "instrument"]

#: Sets of mediators looked at; general identification decides beyond.
_MOST_SETS = 500


def front_door(
    graph: nx.DiGraph, treatment: Hashable, outcome: Hashable, observed: Collection[Hashable]
) -> tuple[Any, ...] | None:
    """A smallest set that meets the front-door criterion, or None.

    It intercepts every directed path, no back door leads from the treatment to it, and the treatment blocks every back
    door from it to the outcome.

    References
    ----------
    Pearl, *Causality* (2nd ed., 2009), Definition 3.3.3.
    """
    between = descendants(graph, treatment) & ancestors(graph, outcome) & set(observed)
    behind = nx.restricted_view(graph, (), list(graph.out_edges(treatment)))
    # a set has no open back door from the treatment exactly when none of its members has
    candidates = [name for name in graph if name in between and nx.is_d_separator(behind, {treatment}, {name}, set())]
    looked = 0
    for size in range(1, len(candidates) + 1):
        for chosen in combinations(candidates, size):
            looked += 1
            if looked > _MOST_SETS:
                return None
            rest = nx.restricted_view(graph, chosen, ())
            if outcome in nx.descendants(rest, treatment):
                continue
            cut = nx.restricted_view(graph, (), [edge for name in chosen for edge in graph.out_edges(name)])
            if nx.is_d_separator(cut, set(chosen), {outcome}, {treatment}):
                return chosen
    return None


def instrument(
    graph: nx.DiGraph, treatment: Hashable, outcome: Hashable, observed: Collection[Hashable]
) -> tuple[Any, tuple[Any, ...]] | None:
    """A (conditional) instrument and what it must be held given, or None.

    ``z`` is an instrument given ``w`` if ``w`` leaves it dependent on the treatment and, the treatment's effect on the
    outcome cut out of the graph, separates it from the outcome; ``w`` has no descendant of the treatment.

    References
    ----------
    Brito & Pearl, "Generalized instrumental variables", UAI 2002; van der Zander, Textor & Liśkiewicz, "Efficiently
    finding conditional instruments for causal inference", IJCAI 2015.
    """
    below = descendants(graph, treatment)
    onward = [
        (treatment, child) for child in graph.succ[treatment] if child == outcome or child in ancestors(graph, outcome)
    ]
    cut = nx.restricted_view(graph, (), onward)
    allowed = [name for name in graph if name in observed and name not in below and name not in (treatment, outcome)]
    found = []
    for name in allowed:
        given = nx.find_minimal_d_separator(cut, {name}, {outcome}, restricted=set(allowed) - {name})
        # one that the separator leaves independent of the treatment says nothing of it
        if given is not None and not nx.is_d_separator(graph, {name}, {treatment}, given):
            found.append((name, tuple(other for other in graph if other in given)))
    return min(found, key=lambda pair: len(pair[1]), default=None)
