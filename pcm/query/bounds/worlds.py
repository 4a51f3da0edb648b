"""From a query to a polynomial in the distributions of response types.

Each variable has a copy for every way its inputs differ between worlds (a twin network); the answer is a sum over the
values of the copies, and each term a product of one linear functional of q for each component:

    Σ_values weight · Π_C  Σ_{r fits the values of C's copies} q_C(r).

>>> import networkx as nx, numpy as np
>>> from pcm.query.bounds.law import Shape, law_of_joint
>>> from pcm.query.bounds.question import Query
>>> shape = Shape.of(nx.DiGraph([("x", "y")]), [], {"x": (0, 1), "y": (0, 1)})
>>> asked = Asked(law_of_joint(shape, np.array([[0.3, 0.2], [0.1, 0.4]])), Query.pns("x", "y"), ())
>>> [(coefficient, len(factors)) for factors, coefficient in asked.numerator.items()]
[(1.0, 1)]
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from pcm.errors import GraphError, InterventionError, QueryError, UnknownNameError, listed
from pcm.query.bounds.law import Law
from pcm.query.bounds.question import Atom, Query
from pcm.query.bounds.responses import Responses

__all__ = ["Asked", "Polynomial"]

#: Joint values of the copies of all variables that a term of a query may sum over.
MAX_ASSIGNMENTS = 2**18
_SET = -1  # an input that an intervention sets has the code -1 - value

#: Sum of coefficient · product of functionals; a functional is (component, context, number of its requirement).
Polynomial = dict[tuple[tuple[int, int, int], ...], float]


class Asked:
    """A query bound to a law: numerator and denominator as polynomials.

    Attributes
    ----------
    numerator, denominator : Polynomial
    also : list of Polynomial
        Numerators of further queries over the same types: what experiments have measured.
    responses : dict of component number to Responses
    wanted : dict of component number to list of requirement
        What a functional asks of the types: a set of (member, column, value).
    """

    def __init__(self, law: Law, query: Query, monotone: Sequence[tuple[str, str]], also: Sequence[Query] = ()) -> None:
        self.law, self.query = law, query
        self._ids: dict[Any, int] = {}
        self._copies: list[tuple[str, tuple[int, ...]]] = []
        given = tuple(query.given)
        terms = [(t.weight, self._event(t.event), self._mean(t.mean)) for t in query.terms]
        condition = (1.0, self._event(given), None)
        measured = [[(t.weight, self._event(t.event), self._mean(t.mean)) for t in more.terms] for more in also]
        every = [*terms, condition, *(term for more in measured for term in more)]
        sums = [self._included(event, mean) for _, event, mean in every if event is not None]
        self.component = {n: at for at, part in enumerate(law.shape.components) for n in part}
        contexts = self._contexts(sums)
        used = sorted({self.component[self._copies[c][0]] for copies in sums for c in copies})
        self.responses = {at: Responses(law, law.shape.components[at], contexts[at], monotone) for at in used}
        self.wanted: dict[int, list[frozenset[tuple[str, int, int]]]] = defaultdict(list)
        self._numbers: dict[tuple[int, frozenset], int] = {}
        self.numerator: Polynomial = defaultdict(float)
        for term in terms:
            self._add(self.numerator, *term)
        self.also: list[Polynomial] = []
        for more in measured:
            self.also.append(defaultdict(float))
            for term in more:
                self._add(self.also[-1], *term)
        self.denominator: Polynomial = defaultdict(float)
        if given:
            self._add(self.denominator, *condition)
        else:
            self.denominator[()] = 1.0
        for at, responses in self.responses.items():
            responses.narrow({column for asked in self.wanted[at] for _, column, _ in asked})

    # -- copies ------------------------------------------------------------------------------------------------------

    def _code(self, name: Any, value: Any) -> int:
        levels = self.law.shape.levels
        if name not in levels:
            raise UnknownNameError(name, known=list(levels), where="the bounded law")
        if value not in levels[name]:
            labelled = all(isinstance(level, str) for level in levels[name])
            if labelled and isinstance(value, int) and 0 <= value < len(levels[name]):
                return int(value)  # a code of a labelled variable, as everywhere
            raise QueryError(
                f"{self.query.label}: '{name}' is never {value!r}; its values: {listed(levels[name])}.",
                variable=name,
                value=value,
            )
        return levels[name].index(value)

    def _copy(self, name: str, world: dict[Any, int]) -> int:
        """Number of a variable's copy in a world; below zero where the world sets it. ``world`` has copies too."""
        if name in world:
            return world[name]
        inputs = tuple(
            world[parent, name] if (parent, name) in world else self._copy(parent, world)
            for parent in self.law.shape.parents[name]
        )
        key = (name, inputs)
        if key not in self._ids:
            self._ids[key] = len(self._copies)
            self._copies.append(key)
        return self._ids[key]

    def _value(self, name: str, value: Any) -> int:
        """The copy that a world takes as the value of a variable: one that is set, or the variable in another world."""
        if not isinstance(value, Atom):
            return _SET - self._code(name, value)
        if value.variable != name:
            raise QueryError(f"{self.query.label}: '{name}' takes its value from another world, found {value}.")
        return self._placed(value)

    def _placed(self, atom: Atom) -> int:
        shape, world = self.law.shape, {}
        if atom.variable not in shape.levels:
            raise UnknownNameError(atom.variable, known=list(shape.levels), where="the bounded law")
        for target, value in atom.world:
            if isinstance(target, tuple):
                if len(target) != 2 or target[1] not in shape.parents or target[0] not in shape.parents[target[1]]:
                    raise GraphError(
                        f"{self.query.label}: {' → '.join(map(str, target))} is not an edge of the graph.", edge=target
                    )
                world[target] = self._value(target[0], value)
            else:
                copy = self._value(target, value)
                if world.setdefault(target, copy) != copy:
                    raise InterventionError(f"{self.query.label} sets '{target}' to two values.", site=target)
        return self._copy(atom.variable, world)

    def _event(self, atoms: Sequence[Atom]) -> dict[int, tuple[int, ...]] | None:
        """Values allowed to each copy, or None where the event is impossible."""
        allowed: dict[int, tuple[int, ...]] = {}
        possible = True
        for atom in atoms:
            copy, code = self._placed(atom), self._code(atom.variable, atom.value)
            size = len(self.law.shape.levels[atom.variable])
            codes = tuple(c for c in range(size) if (c != code) == atom.negated)
            if copy < 0:
                possible &= _SET - copy in codes
                continue
            allowed[copy] = tuple(c for c in allowed.get(copy, codes) if c in codes)
            possible &= bool(allowed[copy])
        return allowed if possible else None

    def _mean(self, atom: Atom | None) -> tuple[int, np.ndarray] | None:
        if atom is None:
            return None
        copy = self._placed(atom)
        levels = self.law.shape.levels[atom.variable]
        try:
            values = np.array([float(level) for level in levels])
        except (TypeError, ValueError):
            raise QueryError(
                f"{self.query.label} averages '{atom.variable}', whose values {listed(levels)} are no numbers; ask for "
                "the probability of one of them.",
                variable=atom.variable,
            ) from None
        return copy, values

    def _included(self, event: dict[int, Any], mean: tuple[int, Any] | None) -> list[int]:
        """Copies that a term sums over: those it names and all they are computed from."""
        found: set[int] = set()
        stack = [*event, *([mean[0]] if mean else [])]
        while stack:
            copy = stack.pop()
            if copy >= 0 and copy not in found:
                found.add(copy)
                stack += self._copies[copy][1]
        return sorted(found)

    def _contexts(self, sums: list[list[int]]) -> dict[int, tuple[str, ...]]:
        """Outside parents read by all members of a component that no term feeds two values."""
        shape, contexts = self.law.shape, {}
        for at, part in enumerate(shape.components):
            shared = set(shape.parents[part[0]]).intersection(*(shape.parents[m] for m in part)) - set(part)
            for copies in sums:
                inputs: dict[str, set[int]] = defaultdict(set)
                for name, read in (self._copies[c] for c in copies if self._copies[c][0] in part):
                    for parent, value in zip(shape.parents[name], read, strict=True):
                        inputs[parent].add(value)
                shared = {parent for parent in shared if len(inputs[parent]) <= 1}
            contexts[at] = tuple(name for name in shape.names if name in shared)
        return contexts

    # -- terms -------------------------------------------------------------------------------------------------------

    def _add(
        self,
        polynomial: Polynomial,
        weight: float,
        event: dict[int, tuple[int, ...]] | None,
        mean: tuple[int, np.ndarray] | None,
    ) -> None:
        if event is None:
            return
        copies = self._included(event, mean)
        allowed = [event.get(c, range(len(self.law.shape.levels[self._copies[c][0]]))) for c in copies]
        count = math.prod(map(len, allowed))
        if count > MAX_ASSIGNMENTS:
            raise QueryError(
                f"{self.query.label} sums over {count:,} joint values of {len(copies)} variables in its worlds, more "
                f"than {MAX_ASSIGNMENTS:,}: leave variables out of the graph (a table over fewer), or give more.",
                assignments=count,
            )
        grid = np.meshgrid(*[np.array(codes) for codes in allowed], indexing="ij") if copies else []
        values = {copy: codes.ravel() for copy, codes in zip(copies, grid, strict=True)}
        weights = np.full(count, weight)
        if mean is not None:
            weights = weights * (mean[1][values[mean[0]]] if mean[0] >= 0 else mean[1][_SET - mean[0]])
        factors, alive = [], weights != 0
        for at in sorted({self.component[self._copies[c][0]] for c in copies}):
            context, number, possible = self._functionals(at, copies, values, count)
            factors += [np.full(count, at), context, number]
            alive &= possible
        if not factors:
            polynomial[()] += float(weights.sum())
            return
        rows, places = np.unique(np.stack(factors, -1)[alive], axis=0, return_inverse=True)
        sums = np.bincount(places.ravel(), weights[alive], len(rows))
        for row, coefficient in zip(rows.tolist(), sums.tolist(), strict=True):
            key = tuple((row[i], row[i + 1], row[i + 2]) for i in range(0, len(row), 3))
            polynomial[key] += coefficient

    def _functionals(
        self, at: int, copies: list[int], values: dict[int, np.ndarray], count: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each assignment: the component's context, the number of its functional, whether any type fits."""
        responses, shape = self.responses[at], self.law.shape
        context = np.zeros(count, int)
        keys: list[np.ndarray] = []
        members: list[str] = []
        for copy in copies:
            name, inputs = self._copies[copy]
            if self.component[name] != at:
                continue
            read = {
                parent: values[i] if i >= 0 else np.full(count, _SET - i)
                for parent, i in zip(shape.parents[name], inputs, strict=True)
            }
            kept = [read[parent] for parent in responses.reads[name]]
            column = responses.column(name, np.stack(kept, -1) if kept else np.zeros((count, 0), int))
            if responses.context:
                context = np.ravel_multi_index([read[p] for p in responses.context], shape.sizes(responses.context))
            members.append(name)
            keys += [column, values[copy]]
        rows, places = np.unique(np.stack(keys, -1), axis=0, return_inverse=True)
        numbers = np.zeros(len(rows), int)
        possible = np.ones(len(rows), bool)
        for place, row in enumerate(rows.tolist()):
            asked = frozenset(zip(members, row[::2], row[1::2], strict=True))
            possible[place] = len({(m, c) for m, c, _ in asked}) == len(asked)  # one response to one input
            if possible[place]:
                if (at, asked) not in self._numbers:
                    self._numbers[at, asked] = len(self.wanted[at])
                    self.wanted[at].append(asked)
                numbers[place] = self._numbers[at, asked]
        return context, numbers[places.ravel()], possible[places.ravel()]
