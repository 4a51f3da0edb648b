"""Response types of one confounded component, and what the law says about their distribution.

A variable with k values and n configurations of parents responds in one of kⁿ ways; a component's types are the
combinations of its members' ways. The distribution q over types is only known through ``Σ_{r: r fits} q(r) = Q_C``, a
polytope ``{q ≥ 0, A q = b}`` for each context (values of outside parents that every member reads and no query varies).

>>> import numpy as np, networkx as nx
>>> from pcm.query.bounds.law import Shape, law_of_joint
>>> shape = Shape.of(nx.DiGraph([("x", "y")]), [], {"x": (0, 1), "y": (0, 1)})
>>> law = law_of_joint(shape, np.array([[0.3, 0.2], [0.1, 0.4]]))
>>> responses = Responses(law, ("y",), (), ())
>>> responses.count, responses.words(1)
(4, 'y(x=0)=0 y(x=1)=1')
>>> matrix, b = responses.constraints(0)
>>> b.round(3).tolist()
[1.0, 0.6, 0.4, 0.2, 0.8]
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cached_property

import numpy as np
from scipy import sparse

from pcm.errors import QueryError
from pcm.query.bounds.law import Law, aligned

__all__ = ["MAX_TYPES", "Responses"]

#: Response types of one component beyond which a programme is refused.
MAX_TYPES = 200_000


class Responses:
    """The response types of a component.

    Parameters
    ----------
    law : Law
    members : tuple of str
        The component, in topological order.
    context : tuple of str
        Outside parents that every member reads, fixed block by block.
    monotone : pairs (parent, child)
        Edges along which a response never falls when the parent's value rises.

    Raises
    ------
    QueryError
        When the types are first asked for: too many; the message says how many.
    """

    def __init__(
        self, law: Law, members: tuple[str, ...], context: tuple[str, ...], monotone: Iterable[tuple[str, str]]
    ) -> None:
        self.law, self.members, self.context = law, members, context
        shape = law.shape
        self.reads = {name: tuple(p for p in shape.parents[name] if p not in context) for name in members}
        self.outside = tuple(
            name for name in shape.names if name not in members and any(name in self.reads[m] for m in members)
        )
        self.rising = {member: [p for p in self.reads[member] if (p, member) in set(monotone)] for member in members}
        self._used: frozenset[int] | None = None

    def narrow(self, columns: Iterable[int]) -> None:
        """Tell only responses to these configurations apart: what else a lone variable does bears on nothing.

        It changes nothing for a component of several (their law links all configurations) or with monotone edges.
        """
        if len(self.members) == 1 and not self.rising[self.members[0]]:
            self._used = frozenset(columns)

    @cached_property
    def ways(self) -> dict[str, np.ndarray]:
        """Responses of each member: values ``(way, column)``, -1 in columns that are not told apart."""
        shape, made = self.law.shape, {}
        columns = {m: math.prod(shape.sizes(self.reads[m])) for m in self.members}
        used = {m: columns[m] if self._used is None else len(self._used) for m in self.members}
        sizes = {m: len(shape.levels[m]) ** used[m] for m in self.members}
        count = math.prod(sizes.values())
        if count > MAX_TYPES and (max(sizes.values()) > MAX_TYPES or not any(self.rising.values())):
            raise _too_many(self.reads, self.members, count)
        for member in self.members:
            chosen = range(columns[member]) if self._used is None else sorted(self._used)
            made[member] = np.full((sizes[member], columns[member]), -1)
            for at, column in enumerate(chosen):
                base = len(shape.levels[member])
                made[member][:, column] = np.arange(sizes[member]) // base ** (used[member] - 1 - at) % base
            for parent in self.rising[member]:
                grid = made[member].reshape(-1, *shape.sizes(self.reads[member]))
                steps = np.diff(grid, axis=1 + self.reads[member].index(parent))
                made[member] = made[member][(steps >= 0).reshape(len(grid), -1).all(1)]
        count = math.prod(map(len, made.values()))
        if count > MAX_TYPES:
            raise _too_many(self.reads, self.members, count)
        return made

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Number of ways of each member."""
        return tuple(len(self.ways[member]) for member in self.members)

    @property
    def count(self) -> int:
        """Number of types."""
        return math.prod(self.counts)

    @cached_property
    def way_of(self) -> dict[str, np.ndarray]:
        """Which way each member responds, by type: arrays ``(type,)``."""
        places = np.unravel_index(np.arange(self.count), self.counts)
        return dict(zip(self.members, places, strict=True))

    def column(self, member: str, values: np.ndarray) -> np.ndarray:
        """Column of a member's ways from its parents' values ``(..., parent)``."""
        sizes = self.law.shape.sizes(self.reads[member])
        if not sizes:
            return np.zeros(values.shape[:-1], int)
        return np.asarray(np.ravel_multi_index(tuple(np.moveaxis(values, -1, 0)), sizes))

    def fits(self, wanted: Iterable[tuple[str, int, int]]) -> np.ndarray:
        """Which types respond so: booleans ``(type,)``; ``wanted`` are (member, column, value)."""
        answer = np.ones(self.count, bool)
        for member, column, value in wanted:
            answer &= (self.ways[member][:, column] == value)[self.way_of[member]]
        return answer

    def words(self, kind: int) -> str:
        """A type in words."""
        levels, said = self.law.shape.levels, []
        for member in self.members:
            row = self.ways[member][self.way_of[member][kind]]
            sizes = self.law.shape.sizes(self.reads[member])
            for column, value in enumerate(row):
                if value < 0:
                    continue
                at = np.unravel_index(column, sizes) if sizes else ()
                given = ",".join(f"{p}={levels[p][i]}" for p, i in zip(self.reads[member], at, strict=True))
                said.append(f"{member}{f'({given})' if given else ''}={levels[member][value]}")
        return " ".join(said)

    def place(self, context: int) -> dict[str, int]:
        """Codes of the context variables."""
        at = np.unravel_index(context, self.law.shape.sizes(self.context)) if self.context else ()
        return {name: int(code) for name, code in zip(self.context, at, strict=True)}

    def context_words(self, context: int) -> str:
        """A context in words."""
        levels = self.law.shape.levels
        return ", ".join(f"{name}={levels[name][code]}" for name, code in self.place(context).items())

    def constraints(self, context: int) -> tuple[sparse.csr_matrix, np.ndarray]:
        """``A`` (cell, type) and ``b`` of the polytope in a context; the first row is the sum to one."""
        matrices, bounds, _ = self._constraints(context)
        return sparse.csr_matrix(sparse.vstack(matrices)), np.concatenate(bounds)

    def cell_words(self, context: int, row: int) -> str:
        """What a row of :meth:`constraints` says, in words."""
        if row == 0:
            return "the sum to one"
        outside, cell = divmod(
            int(self._constraints(context)[2][row - 1]), math.prod(self.law.shape.sizes(self.members))
        )
        return self._cell(context, outside, cell)

    def law_of_members(self, context: int) -> np.ndarray:
        """``Q_C`` in a context, ``(*outside, *members)``, NaN where the law is silent.

        Where it is silent about a cell but knows the members before (a longer cell of a parent value that never
        occurs), the known cells imply those: they sum to them.
        """
        place = self.place(context)
        product = np.ones(self.law.shape.sizes(self.outside))
        for upto, member in enumerate(self.members, 1):
            axes, factor = self.law.factors[member]
            for name in reversed([name for name in axes if name in place]):
                factor = factor.take(place[name], axes.index(name))
                axes = tuple(other for other in axes if other != name)
            target = (*self.outside, *self.members[:upto])
            before = product[..., None]
            product = np.where(before == 0, 0.0, before * aligned(axes, factor, target))
            product = np.broadcast_to(product, self.law.shape.sizes(target))
        return product

    # -- private -----------------------------------------------------------------------------------------------------

    def _constraints(self, context: int) -> tuple[list[sparse.csr_matrix], list[np.ndarray], np.ndarray]:
        cells = self._responses
        found = self.law_of_members(context).reshape(len(cells), -1)  # (outside, cell)
        keep = ~np.isnan(found) & (cells[:, -1, :1] >= 0)
        width = found.shape[1]
        codes = np.ravel_multi_index(
            tuple(np.maximum(cells, 0).transpose(1, 0, 2)), self.law.shape.sizes(self.members)
        )  # (outside, type)
        rows = (codes + width * np.arange(len(cells))[:, None]).ravel()
        kinds = np.tile(np.arange(self.count), len(cells))
        every = sparse.csr_matrix((np.ones(len(rows)), (rows, kinds)), shape=(found.size, self.count))
        chosen = np.flatnonzero(keep.ravel())
        one = sparse.csr_matrix(np.ones((1, self.count)))
        return [one, every[chosen]], [np.ones(1), found.ravel()[chosen]], chosen

    @cached_property
    def _responses(self) -> np.ndarray:
        """Values of the members under each outside configuration, by type: ``(outside, member, type)``."""
        outside = list(np.ndindex(*self.law.shape.sizes(self.outside)))
        answer = np.zeros((len(outside), len(self.members), self.count), int)
        for at, configuration in enumerate(outside):
            values = {name: np.full(self.count, code) for name, code in zip(self.outside, configuration, strict=True)}
            for place, member in enumerate(self.members):
                read = [values[parent] for parent in self.reads[member]]
                column = self.column(member, np.stack(read, -1) if read else np.zeros((self.count, 0), int))
                values[member] = answer[at, place] = self.ways[member][self.way_of[member], column]
        return answer

    def _cell(self, context: int, outside: int, cell: int) -> str:
        levels, sizes = self.law.shape.levels, self.law.shape.sizes
        members = self.members
        at = np.unravel_index(outside, sizes(self.outside)) if self.outside else ()
        given = {**self.place(context), **dict(zip(self.outside, map(int, at), strict=True))}
        codes = np.unravel_index(cell, sizes(members))
        left = ", ".join(f"{name}={levels[name][code]}" for name, code in zip(members, codes, strict=True))
        right = ", ".join(f"{name}={levels[name][code]}" for name, code in given.items())
        return f"Q({left} | {right})" if right else f"P({left})"


# -- private ---------------------------------------------------------------------------------------------------------


def _too_many(reads: dict[str, tuple[str, ...]], members: tuple[str, ...], count: int) -> QueryError:
    words = "; ".join(f"{m} reads {', '.join(reads[m]) or 'nothing'}" for m in members)
    return QueryError(
        f"the component {', '.join(members)} has {_short(count)} response types, more than {MAX_TYPES:,} ({words}): "
        "merge values, leave out parents, declare monotone edges, or confound fewer variables.",
        component=members,
        types=count,
    )


def _short(count: int) -> str:
    return f"{count:,}" if count < 10**9 else f"about 10^{len(str(count)) - 1}"
