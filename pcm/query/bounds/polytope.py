"""The polytope of distributions over one block's response types: is it empty, what does it fix, where are its corners.

``{q ≥ 0, A q = b}``; functionals ``ℓ·q`` in the row space of ``A`` are known, the others range over an interval.

>>> import networkx as nx, numpy as np
>>> from pcm.query.bounds.law import Shape, law_of_joint
>>> from pcm.query.bounds.responses import Responses
>>> shape = Shape.of(nx.DiGraph([("x", "y")]), [], {"x": (0, 1), "y": (0, 1)})
>>> law = law_of_joint(shape, np.array([[0.3, 0.2], [0.1, 0.4]]))
>>> helped, treated = frozenset({("y", 0, 0), ("y", 1, 1)}), frozenset({("y", 1, 1)})
>>> polytope = Polytope(Responses(law, ("y",), (), ()), 0, {0: helped, 1: treated})
>>> {number: round(value, 9) for number, value in polytope.known.items()}
{1: 0.8}
>>> polytope.corners.round(3).tolist()
[[0.2, 0.4, 0.0, 0.4], [0.0, 0.6, 0.2, 0.2]]
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import combinations

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from pcm.errors import GraphError, QueryError
from pcm.query.bounds.responses import Responses

__all__ = ["Polytope", "fractional"]

#: Bases of a polytope up to which its corners are enumerated.
MAX_BASES = 30_000
_DENSE = 10**7
_ZERO = 1e-10
_FEASIBLE = 1e-7


class Polytope:
    """Distributions over a block's response types; types that nothing tells apart are one.

    Parameters
    ----------
    responses : Responses
    context : int
    wanted : dict of number to requirement
        The functionals that the query asks for.
    tolerance : float
        How far (total absolute difference) the law may be from the nearest that the graph allows, which then is used.
    check : bool
        Whether the polytope may be empty.
    measured : list of (dict of number to coefficient, value)
        Further equations between the functionals, from experiments.

    Raises
    ------
    GraphError
        It is empty: no distribution over response types gives the law.
    """

    def __init__(
        self,
        responses: Responses,
        context: int,
        wanted: Mapping[int, frozenset[tuple[str, int, int]]],
        *,
        tolerance: float = 0.0,
        check: bool = False,
        measured: Sequence[tuple[Mapping[int, float], float]] = (),
    ) -> None:
        self.responses, self.context = responses, context
        matrix, b = responses.constraints(context)
        equations, columns = len(b), responses.count
        numbers = list(wanted)
        asked = np.stack([responses.fits(wanted[n]) for n in numbers]).astype(float)
        if equations * columns > _DENSE * 5:
            raise QueryError(
                f"the programme of {', '.join(responses.members)} has {equations:,} equations in "
                f"{columns:,} response types, too many: merge values or leave out parents.",
                types=columns,
            )
        full = np.concatenate([matrix.toarray(), asked])
        self.kinds = _distinct_columns(full)
        self.distance, self.b, self._law_rows = 0.0, b, len(b)
        self.a, rows = full[: len(b), self.kinds], dict(zip(numbers, full[len(b) :, self.kinds], strict=True))
        for terms, value in measured:
            self.a = np.vstack([self.a, sum(c * rows[number] for number, c in terms.items())])
            self.b = np.append(self.b, value)
        if check or measured:
            self._check(tolerance)
        empty = self.a[(np.abs(self.b) <= _ZERO) & (self.a >= 0).all(1)]
        possible = ~(empty > 0).any(0)  # a cell of probability zero rules its types out
        self.kinds, self.a = self.kinds[possible], self.a[:, possible]
        self.functionals = {number: row[possible] for number, row in rows.items()}
        self.known: dict[int, float] = self._known()

    @property
    def size(self) -> int:
        """Number of distinguishable types."""
        return len(self.kinds)

    @cached_property
    def homogeneous(self) -> sparse.csr_matrix:
        """``A − b 1ᵀ``: with it, ``y = t q`` satisfies the constraints for any t."""
        return sparse.csr_matrix(self.a[1:] - self.b[1:, None])

    @cached_property
    def corners(self) -> np.ndarray | None:
        """All vertices ``(vertex, type)``, or None where there are too many bases."""
        a, b = self._independent()
        rank, size = a.shape
        if math.comb(size, rank) > MAX_BASES:
            return None
        bases = np.array(list(combinations(range(size), rank)))
        square = a[:, bases].transpose(1, 0, 2)
        regular = np.abs(np.linalg.det(square)) > 1e-9
        bases = bases[regular]
        weights = np.linalg.solve(square[regular], np.broadcast_to(b[:, None], (len(bases), rank, 1)))[..., 0]
        feasible = (weights >= -1e-9).all(1)
        found = np.zeros((int(feasible.sum()), size))
        np.put_along_axis(found, bases[feasible], np.maximum(weights[feasible], 0), 1)
        _, first = np.unique(found.round(9), axis=0, return_index=True)
        return found[np.sort(first)]

    def words(self, kind: int) -> str:
        """The ``kind``-th distinguishable type in words."""
        return self.responses.words(int(self.kinds[kind]))

    # -- private -----------------------------------------------------------------------------------------------------

    def _known(self) -> dict[int, float]:
        if self.a.size > _DENSE:
            return {}
        asked = np.stack(list(self.functionals.values()))
        weights = np.linalg.lstsq(self.a.T, asked.T, rcond=None)[0]
        exact = np.abs(self.a.T @ weights - asked.T).max(0) < 1e-8
        values = np.clip(weights.T @ self.b, 0, 1)
        return {n: float(values[at]) for at, n in enumerate(self.functionals) if exact[at]}

    def _independent(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows of ``A`` that are linearly independent, and their ``b``."""
        kept: list[int] = []
        rest = self.a.copy()
        for row in range(len(rest)):
            pivot = int(np.abs(rest[row]).argmax())
            if abs(rest[row, pivot]) > 1e-9:
                kept.append(row)
                below = rest[row + 1 :]
                below -= np.outer(below[:, pivot] / rest[row, pivot], rest[row])
        return self.a[kept], self.b[kept]

    def _check(self, tolerance: float) -> None:
        rows, size = self.a.shape
        slack = sparse.identity(rows - 1)
        none = sparse.csr_matrix((1, rows - 1))
        matrix = sparse.hstack([sparse.csr_matrix(self.a), sparse.vstack([none, slack]), sparse.vstack([none, -slack])])
        cost = np.concatenate([np.zeros(size), np.ones(2 * (rows - 1))])
        found = linprog(cost, A_eq=sparse.csr_matrix(matrix), b_eq=self.b, method="highs")
        if found.status != 0:
            raise QueryError(f"the linear programme of {', '.join(self.responses.members)} failed: {found.message}")
        self.distance = float(found.fun)
        if self.distance > max(tolerance, _FEASIBLE):
            apart = self.a @ found.x[:size] - self.b
            raise self._contradiction(int(np.abs(apart).argmax()))
        if self.distance > _ZERO:
            self.b = self.a @ found.x[:size]
            self.b[np.abs(self.b) < 1e-12] = 0.0

    def _contradiction(self, row: int) -> GraphError:
        responses = self.responses
        where = responses.context_words(self.context)
        cell = responses.cell_words(self.context, row) if row < self._law_rows else "what an experiment measured"
        return GraphError(
            f"the law contradicts the graph: no distribution over the response types of {', '.join(responses.members)}"
            f"{f' (given {where})' if where else ''} gives it; the nearest misses {cell} "
            f"and is {self.distance:.3g} away in all.{_instrumental(responses, self.context)} Drop what the table "
            f"refutes (a missing edge, a monotone assumption), or, if it is sampling noise or rounding, pass "
            f"tolerance={math.ceil(self.distance * 100) / 100:g}.",
            component=responses.members,
            distance=self.distance,
        )


def fractional(
    numerator: np.ndarray,
    denominator: np.ndarray,
    homogeneous: sparse.csr_matrix,
    *,
    largest: bool,
    interior: bool = False,
) -> tuple[float, np.ndarray] | None:
    """Extreme of ``n·q / d·q`` over ``{q ≥ 0, 1·q = 1, H q = 0}`` by one linear programme (Charnes & Cooper 1962).

    With ``y = t q`` and ``d·y = 1`` it is the extreme of ``n·y``; ``d = 1`` is the plain linear objective. None where
    ``d·q = 0`` everywhere. ``interior`` starts with HiGHS's interior-point method, faster on large programmes.

    >>> value, q = fractional(np.array([1.0, 0.0]), np.array([1.0, 2.0]), sparse.csr_matrix((0, 2)), largest=True)
    >>> value, q.tolist()
    (1.0, [1.0, 0.0])
    """
    matrix = sparse.csr_matrix(sparse.vstack([homogeneous, sparse.csr_matrix(denominator)]))
    right = np.append(np.zeros(matrix.get_shape()[0] - 1), 1.0)
    cost = -numerator if largest else numerator
    found = linprog(cost, A_eq=matrix, b_eq=right, method="highs-ipm" if interior else "highs")
    if interior and found.status not in (0, 2):
        found = linprog(cost, A_eq=matrix, b_eq=right, method="highs")
    if found.status == 2:
        return None
    if found.status != 0:
        raise QueryError(f"a linear programme over {len(numerator)} response types failed: {found.message}")
    total = float(found.x.sum())
    return float(numerator @ found.x), found.x / total


# -- private ---------------------------------------------------------------------------------------------------------


def _distinct_columns(matrix: np.ndarray) -> np.ndarray:
    """First place of each distinct column of a 0/1 matrix, in order."""
    packed = np.ascontiguousarray(np.packbits(matrix.astype(bool), axis=0).T)
    rows = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()
    return np.sort(np.unique(rows, return_index=True)[1])


def _instrumental(responses: Responses, context: int) -> str:
    """Pearl's instrumental inequality where it is what fails: ``max_x Σ_y max_z P(x, y | z) ≤ 1``."""
    members, outside = responses.members, responses.outside
    if len(members) != 2 or responses.reads[members[1]] != (members[0],) or responses.reads[members[0]] != outside:
        return ""
    known = responses.law_of_members(context)
    sums = np.nanmax(known.reshape(-1, *known.shape[-2:]), axis=0).sum(-1)
    worst = int(sums.argmax())
    if sums[worst] <= 1 + _ZERO:
        return ""
    (x, y), z = members, ", ".join(outside)
    value = responses.law.shape.levels[x][worst]
    return (
        f" It breaks the instrumental inequality: Σ_{y} max_{z} P({x}={value}, {y} | {z}) = {sums[worst]:.4g} > 1, so "
        f"{z} is no instrument for the effect of {x} on {y}."
    )
