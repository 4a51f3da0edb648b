"""Sets of directed paths, as a user writes them, read backwards from the outcome.

``"age -> labs -> readmit"`` is one path; ``*`` stands for one variable, ``...`` for any number of them, also none; a
pair ``("age", "labs")`` is an edge, and the paths made of listed edges alone are admitted; ``"all"`` and ``"none"``
are what they say. Whether a path is in the set is decided by an automaton that reads it from the outcome to the source,
so that the variables behind an edge know their *path state* without the paths being listed.

>>> kept = Admissible.read(["age -> ... -> readmit"], ("age",), "readmit")
>>> kept.admits(("age", "plan", "labs", "readmit")), kept.admits(("plan", "readmit"))
(True, False)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

from pcm.errors import ArgumentError, listed

__all__ = ["ANY", "ONE", "Admissible", "State"]

#: One variable, and any number of them.
ONE, ANY = "*", "..."

#: Where the automaton of one path set is, by number.
State = int

#: What the number stands for: places in the patterns, and whether every edge so far is listed.
_Places = tuple[frozenset[tuple[int, int]], bool]


@dataclass(frozen=True)
class Admissible:
    """A set of directed paths to an outcome.

    Attributes
    ----------
    everything : bool
        Whether all paths are in it.
    patterns : tuple of tuple of str
        Names, ``*`` and ``...``, in the direction of the arrows.
    edges : tuple of pairs
        Paths made of these alone are in it.
    """

    everything: bool = False
    patterns: tuple[tuple[str, ...], ...] = ()
    edges: tuple[tuple[str, str], ...] = ()

    @classmethod
    def read(cls, given: Any, sources: Sequence[str], outcome: str) -> Admissible:
        """A path set from what a user wrote.

        Raises
        ------
        ArgumentError
            What is no path, no edge and neither ``"all"`` nor ``"none"``; or a path with other ends.
        """
        if isinstance(given, Admissible):
            return given
        if isinstance(given, str) and given in ("all", "none"):
            return cls(everything=given == "all")
        if isinstance(given, str) and _arrow(given):
            given = [given]
        if given is None or isinstance(given, str) or not isinstance(given, Sequence | set | frozenset):
            raise ArgumentError(
                f"admissible={given!r}: write 'none' (no path may carry the change), 'all', or a list of paths such as "
                f"['{sources[0]} -> ... -> {outcome}'] and edges such as ('{sources[0]}', '{outcome}').",
                admissible=given,
            )
        if isinstance(given, tuple) and given and all(isinstance(n, str) and not _arrow(n) for n in given):
            given = [given]  # one path or edge, without its list
        patterns, edges = [], []
        for item in sorted(given, key=str) if isinstance(given, set | frozenset) else given:
            names = _names(item)
            if item in ("all", "none"):
                raise ArgumentError(
                    f"admissible={list(given)!r}: {item!r} stands alone; write admissible={item!r}, or list the paths.",
                    admissible=given,
                )
            if names is None:
                raise ArgumentError(
                    f"{item!r} is no admissible path: write names joined by arrows, such as "
                    f"'{sources[0]} -> {outcome}', or an edge ('a', 'b').",
                    admissible=item,
                )
            if not isinstance(item, str) and len(names) == 2:
                edges.append((names[0], names[1]))
                continue
            if names[0] not in sources or names[-1] != outcome:
                raise ArgumentError(
                    f"the admissible path {' → '.join(names)} does not lead from {listed(sources)} to {outcome}; those "
                    f"of a requirement do, such as '{sources[0]} -> ... -> {outcome}'.",
                    admissible=item,
                )
            patterns.append(names)
        return cls(False, tuple(dict.fromkeys(patterns)), tuple(dict.fromkeys(edges)))

    @property
    def nothing(self) -> bool:
        """Whether no path is in it, however that was written."""
        return not (self.everything or self.patterns or self.edges)

    @property
    def written(self) -> str | list[Any]:
        """As a user would write it."""
        if self.everything:
            return "all"
        if self.nothing:
            return "none"
        return [*(" -> ".join(pattern) for pattern in self.patterns), *self.edges]

    def admits(self, path: Sequence[str]) -> bool:
        """Whether a path, source first, is in the set."""
        state = self.start(path[-1])
        for before, after in reversed(list(pairwise(path))):
            state = self.step(state, before, after)
        return self.accepts(state)

    # -- the automaton -----------------------------------------------------------------------------------------------

    @cached_property
    def _tokens(self) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(reversed(pattern)) for pattern in self.patterns)

    @cached_property
    def _edges(self) -> frozenset[tuple[str, str]]:
        return frozenset(self.edges)

    @cached_property
    def _met(self) -> _Met:
        """States met before, by number: of a few hundred listed paths each is a set of as many places."""
        return _Met()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_met"}

    def start(self, outcome: str) -> State:
        """The state at the outcome, before any edge."""
        places = {(i, 1) for i, tokens in enumerate(self._tokens) if tokens[0] == outcome}
        return self._numbered((self._closed(places), bool(self._edges)))

    def step(self, state: State, parent: str, child: str) -> State:
        """The state at ``parent`` of a path that goes on over the edge ``parent → child``."""
        met = self._met
        asked = state, parent, child
        found = met.steps.get(asked)
        if found is None:
            found = met.steps[asked] = self._numbered(self._step(met.states[state], parent, child))
        return found

    def accepts(self, state: State) -> bool:
        """Whether the path read so far, from here to the outcome, is in the set."""
        return self._met.accepted[state]

    def hopeful(self, state: State) -> bool:
        """Whether a path that goes on from here, or ends here, may be in the set."""
        places, listed_alone = self._met.states[state]
        return self.everything or listed_alone or bool(places)

    def _step(self, state: _Places, parent: str, child: str) -> _Places:
        moved = set()
        for i, place in state[0]:
            tokens = self._tokens[i]
            if place == len(tokens):
                continue
            token = tokens[place]
            if token == ANY:
                moved.add((i, place))
            elif token in (ONE, parent):
                moved.add((i, place + 1))
        return self._closed(moved), state[1] and (parent, child) in self._edges

    def _numbered(self, state: _Places) -> State:
        met = self._met
        if state not in met.numbers:
            met.numbers[state] = len(met.states)
            met.states.append(state)
            ended = any(place == len(self._tokens[i]) for i, place in state[0])
            met.accepted.append(self.everything or state[1] or ended)
        return met.numbers[state]

    def _closed(self, places: set[tuple[int, int]]) -> frozenset[tuple[int, int]]:
        """With every place that is reached by letting ``...`` stand for nothing."""
        found, stack = set(places), list(places)
        while stack:
            i, place = stack.pop()
            tokens = self._tokens[i]
            if place < len(tokens) and tokens[place] == ANY and (i, place + 1) not in found:
                found.add((i, place + 1))
                stack.append((i, place + 1))
        return frozenset(found)


@dataclass
class _Met:
    """The automaton, as far as it was walked."""

    states: list[_Places] = field(default_factory=list)
    accepted: list[bool] = field(default_factory=list)
    numbers: dict[_Places, State] = field(default_factory=dict)
    steps: dict[tuple[State, str, str], State] = field(default_factory=dict)


def _arrow(text: str) -> bool:
    return "->" in text or "→" in text


def _names(item: Any) -> tuple[str, ...] | None:
    if isinstance(item, str):
        names = [part.strip().replace("…", ANY) for part in item.replace("→", "->").split("->")]
    elif isinstance(item, tuple | list) and all(isinstance(name, str) for name in item):
        names = [name.strip().replace("…", ANY) for name in item]
    else:
        return None
    return tuple(names) if len(names) >= 2 and all(names) else None
