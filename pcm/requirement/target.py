r"""The target of some requirements: the outcome with every inadmissible edge fed the reference.

``T`` is ``Y`` recomputed with node copies. A copy is a variable in a *joint path state*: for every requirement, where
the path from here to the outcome stands in its path set. It shares its variable's noise and reads, of each parent,

- nothing but the **reference**, where the parent is a source and the path that starts there is not admissible for it
  (a path must be admissible for every source on it);
- else the parent's own copy in the path state one edge further back.

States that read the same are one copy; the one that reads factual values throughout is the variable as it is. A linear
program's total effect of ``s`` on ``T`` is the sum over the paths that every source on them admits.

>>> import networkx as nx
>>> from pcm.requirement.requirement import Requirement
>>> graph = nx.DiGraph([("A", "X"), ("E", "X"), ("A", "Z"), ("X", "Y"), ("Z", "Y"), ("A", "Y"), ("E", "Y")])
>>> plan = target_plan(graph, [Requirement("A", outcome="Y", admissible=["A -> X -> Y"])], "Y")
>>> plan.inputs["X"], plan.inputs["Z"], plan.inputs["A"]
('X', Z[A'], None)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import networkx as nx

from pcm.graph import ancestors, descendants
from pcm.requirement.admissible import State
from pcm.requirement.requirement import Requirement

__all__ = ["Copy", "TargetPlan", "find_path", "target_plan"]


@dataclass(frozen=True, eq=False, repr=False)
class Copy:
    """A variable in a path state; it shares the variable's noise.

    Attributes
    ----------
    node : str
    feeds : dict of parent to Copy, or None
        What it reads of each parent; None is the parent's reference.
    number : int
        Tells copies of one variable apart.
    """

    node: str
    feeds: Mapping[str, Copy | None] = field(default_factory=dict)
    number: int = 0

    @cached_property
    def factual(self) -> bool:
        """Whether it is the variable as it is."""
        return all(feed is not None and feed.factual for feed in self.feeds.values())

    @cached_property
    def referred(self) -> frozenset[str]:
        """Sources whose reference it depends on."""
        own = {parent for parent, feed in self.feeds.items() if feed is None}
        return frozenset(own).union(*(feed.referred for feed in self.feeds.values() if feed is not None))

    @property
    def changed(self) -> dict[str, Copy | None]:
        """Parents that it does not read as they are, with what it reads instead."""
        return {parent: feed for parent, feed in self.feeds.items() if feed is None or not feed.factual}

    def __repr__(self) -> str:
        marks = ", ".join(f"{name}'" for name in sorted(self.referred))
        return f"{self.node}[{marks}]" if marks else self.node


@dataclass(frozen=True, eq=False)
class TargetPlan:
    """The copies that make up the target.

    Attributes
    ----------
    outcome : str
    target : Copy
        The outcome's copy, ``T``.
    copies : tuple of Copy
        Every copy that ``T`` depends on, factual ones too, parents before children; the last is ``T``.
    requirements : tuple of Requirement
        Those with path sets.
    """

    outcome: str
    target: Copy
    copies: tuple[Copy, ...]
    requirements: tuple[Requirement, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """Variables whose change some requirement pins, in the order of the requirements."""
        return tuple(dict.fromkeys(name for r in self.requirements for name in r.variables))

    @property
    def referred(self) -> tuple[str, ...]:
        """Sources whose reference the target depends on, in the order of the requirements."""
        return tuple(name for name in self.sources if name in self.target.referred)

    @property
    def replayed(self) -> tuple[Copy, ...]:
        """Copies that are not factual, parents before children; the last is the outcome's (none where ``T`` is ``Y``).

        To compute one, replay its variable with its own noise and the edges of :attr:`Copy.changed` set to the copies'
        values, or to the reference.
        """
        return tuple(copy for copy in self.copies if not copy.factual)

    @cached_property
    def inputs(self) -> dict[str, str | Copy | None]:
        """What the outcome's mechanism may read of each parent: its name (as it is), a copy, or None (dropped)."""
        return {
            parent: feed.node if feed is not None and feed.factual else feed
            for parent, feed in self.target.feeds.items()
        }

    @cached_property
    def witnesses(self) -> tuple[str, ...]:
        """Recanting witnesses: variables of which the target needs two copies at once (Avin, Shpitser & Pearl 2005)."""
        seen: dict[str, int] = {}
        for copy in self.copies:
            seen[copy.node] = seen.get(copy.node, 0) + 1
        # a variable above every source has one copy; so has a source, whose reference is no copy of it
        return tuple(name for name, count in seen.items() if count > 1)


def target_plan(graph: nx.DiGraph, requirements: Sequence[Any], outcome: str) -> TargetPlan:
    """The target of some requirements on a graph.

    Parameters
    ----------
    graph : DiGraph
    requirements : sequence
        Those that have path sets (:class:`Requirement` with variables) count; others pin no path.
    outcome : str

    Returns
    -------
    TargetPlan

    Notes
    -----
    Path states are walked lazily and states that read the same are merged, so the work grows with the number of
    distinct states, not of paths.
    """
    asked = tuple(r for r in requirements if isinstance(r, Requirement) and r.variables)
    for r in asked:
        r.check(graph)
    below = [{n for v in r.variables for n in descendants(graph, v, include_self=True)} for r in asked]
    made: dict[Any, Copy] = {}
    known: dict[Any, Copy] = {}
    counts: dict[str, int] = {}
    order: list[Copy] = []

    named = {name for r in asked for name in r.variables}
    walks = [(r.admissible.step, inside) for r, inside in zip(asked, below, strict=True)]

    def copy_of(node: str, states: tuple[State | None, ...]) -> Copy:
        if (node, states) in known:
            return known[node, states]
        feeds: dict[str, Copy | None] = {}
        for parent in graph.pred[node]:
            moved = tuple(
                [
                    # above every source of a requirement its path state no longer matters
                    step(state, parent, node) if state is not None and parent in inside else None
                    for (step, inside), state in zip(walks, states, strict=True)
                ]
            )
            barred = parent in named and any(
                parent in r.variables and state is not None and not r.admissible.accepts(state)
                for r, state in zip(asked, moved, strict=True)
            )
            feeds[parent] = None if barred else copy_of(parent, moved)
        key = (node, tuple((parent, id(feed)) for parent, feed in feeds.items()))
        if key not in made:
            counts[node] = counts.get(node, -1) + 1
            made[key] = Copy(node, feeds, counts[node])
            order.append(made[key])
        known[node, states] = made[key]
        return made[key]

    start = tuple(
        r.admissible.start(outcome) if outcome in inside else None for r, inside in zip(asked, below, strict=True)
    )
    target = copy_of(outcome, start)
    return TargetPlan(outcome, target, tuple(order), asked)


def find_path(
    graph: nx.DiGraph,
    requirement: Requirement,
    others: Sequence[Requirement],
    *,
    admitted: bool,
    barred: bool,
) -> tuple[tuple[str, ...], Requirement | None, str | None] | None:
    """A path from a source of a requirement that is (not) admitted by it and (not) barred by another on the way.

    Parameters
    ----------
    graph : DiGraph
    requirement : Requirement
    others : sequence of Requirement
        A path is barred by one of them where it passes a source of it from which the rest is not admissible.
    admitted, barred : bool
        Which paths are looked for.

    Returns
    -------
    tuple or None
        The path, which of the others bars it, and at which variable.

    Examples
    --------
    >>> graph = nx.DiGraph([("a", "m"), ("m", "y")])
    >>> kept, closed = Requirement("a", outcome="y", admissible="all"), Requirement("m", outcome="y")
    >>> find_path(graph, kept, [closed], admitted=True, barred=True)[0]
    ('a', 'm', 'y')
    """
    outcome = requirement.outcome
    if outcome is None:
        return None
    own = requirement.admissible
    rest = [r for r in others if r.outcome == outcome and r.variables and not r.admissible.everything]
    if (barred and not rest) or (own.everything and not admitted):
        return None
    inside = {n for v in requirement.variables for n in descendants(graph, v, include_self=True)}
    inside &= ancestors(graph, outcome, include_self=True)
    above = {name: [parent for parent in graph.pred[name] if parent in inside] for name in inside}
    start: tuple[Any, ...] = (outcome, own.start(outcome), tuple(r.admissible.start(outcome) for r in rest), None)
    stack: list[tuple[Any, tuple[str, ...]]] = [(start, (outcome,))]
    seen = {start}
    while stack:
        (node, mine, states, bar), path = stack.pop()
        if node in requirement.variables and node != outcome:
            fits = own.accepts(mine) == admitted and (bar is not None) == barred
            if fits:
                return (path, None, None) if bar is None else (path, rest[bar[0]], bar[1])
        for parent in above.get(node, ()):
            own_state, moved, closed = own.step(mine, parent, node), states, bar
            if admitted and not own.hopeful(own_state):
                continue
            if closed is None:
                moved = tuple([r.admissible.step(s, parent, node) for r, s in zip(rest, states, strict=True)])
                for place, (r, state) in enumerate(zip(rest, moved, strict=True)):
                    if parent in r.variables and not r.admissible.accepts(state):
                        closed, moved = (place, parent), ()  # barred once is barred: where the others are is no matter
                        break
            if closed is not None and not barred:
                continue
            key = (parent, own_state, moved, closed)
            if key not in seen:
                seen.add(key)
                stack.append((key, (parent, *path)))
    return None
