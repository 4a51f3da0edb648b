"""Which releases can say anything about a private variable: the d-separation rule.

Let ``U`` be what is released raw, ``C`` what is released through mechanisms, ``K`` what the adversary knows of the
unit. If every variable of ``U`` is d-separated from the private ``A`` given ``K``, then for every law Markov to the
graph ``P(u, c̃ | a, k) = P(u | k) Σ_c P(c | u, a, k) m(c̃ | c)``: a mixture of kernels, any two of which differ by a
factor ``e^{ε_C}`` at most, so ``P(release | a, k) ≤ e^{ε_C} P(release | a', k)``. A noised variable that is d-separated
from ``A`` given ``K`` can be counted with ``U`` (d-separation composes), so that only the others cost anything.

>>> import networkx as nx
>>> graph = nx.DiGraph([("age", "labs"), ("site", "labs"), ("site", "bill")])
>>> open_trails(graph, ("age",), ["labs", "bill"])
{'labs': 'labs ← age'}
>>> open_trails(graph, ("age",), ["bill"], known=["labs"])
{'bill': 'bill ← site → [labs] ← age'}

References
----------
Kifer & Machanavajjhala, "Pufferfish: a framework for mathematical privacy definitions", ACM TODS 2014.
Pearl, *Causality* (2009), 1.2.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import networkx as nx

from pcm.errors import ArgumentError, ClaimError, listed
from pcm.graph import descendants, open_trail

__all__ = ["check_graph", "open_trails", "openers"]


def open_trails(
    graph: nx.DiGraph, private: Sequence[str], released: Iterable[str], known: Iterable[str] = ()
) -> dict[str, str]:
    """The released variables that depend on the private ones given what is known, each with a trail that shows it.

    Raises
    ------
    UnknownNameError
        A name that is not in the graph.
    """
    known, found = set(known), {}
    for name in released:
        if name in private:
            found[name] = f"{name} itself"
        elif name not in known:
            trails = [trail for secret in private if (trail := open_trail(graph, name, secret, known)) is not None]
            if trails:
                found[name] = min(trails, key=len)
    return found


def openers(graph: nx.DiGraph, private: Sequence[str], released: Sequence[str], known: Iterable[str]) -> list[str]:
    """Variables that, were the adversary to know them too, would join a separated release to the private ones."""
    known = set(known)
    # only knowledge of a collider or of what descends from one opens a trail
    below = {name for name in graph if graph.in_degree(name) > 1}
    below |= descendants(graph, below)
    candidates = [name for name in graph if name in below - known - set(private)]
    return [name for name in candidates if open_trails(graph, private, released, known | {name})]


def check_graph(claimed: nx.DiGraph, program: nx.DiGraph) -> None:
    """Raise unless the claimed graph is directed, without cycles, and has every variable and edge of the program.

    More edges than the program has are welcome: they claim less.

    Raises
    ------
    ClaimError
        Fields: ``edges``, ``variables``, those that are absent.
    ArgumentError
        No directed graph, or one with a cycle, of which d-separation says nothing.
    """
    if not isinstance(claimed, nx.DiGraph) or not nx.is_directed_acyclic_graph(claimed):
        raise ArgumentError(f"graph= is a networkx.DiGraph without cycles; found {claimed!r}.")
    variables = [name for name in program if name not in claimed]
    if variables:
        raise ClaimError(
            f"the claimed graph lacks the program's variable{'s' if len(variables) > 1 else ''} {listed(variables)}: "
            "add them with their edges, latent ones too.",
            variables=variables,
            edges=[],
        )
    edges = [edge for edge in program.edges if not claimed.has_edge(*edge)]
    if edges:
        raise ClaimError(
            f"the program has edges that the claimed graph lacks: {listed(f'{u} → {v}' for u, v in edges)}. A claim "
            "on that graph would be about another model: add them, or change the program.",
            variables=[],
            edges=edges,
        )
