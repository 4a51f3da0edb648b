"""Extremes of a sum of products of functionals, one factor a block, over a product of polytopes.

>>> import networkx as nx, numpy as np
>>> from pcm.query.bounds.law import Shape, law_of_joint
>>> from pcm.query.bounds.responses import Responses
>>> shape = Shape.of(nx.DiGraph([("x", "y")]), [], {"x": (0, 1), "y": (0, 1)})
>>> law = law_of_joint(shape, np.array([[0.3, 0.2], [0.1, 0.4]]))
>>> helped = frozenset({("y", 0, 0), ("y", 1, 1)})
>>> polytope = Polytope(Responses(law, ("y",), (), ()), 0, {0: helped})
>>> found = extremes(Piece([(0, 0)], {(((0, 0), 0),): 1.0}, None, {(0, 0): polytope}))
>>> round(found.low, 9), round(found.high, 9)
(0.4, 0.6)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from itertools import product
from typing import Any

import numpy as np
from scipy import sparse

from pcm.query.bounds.polytope import Polytope, fractional

__all__ = ["Extreme", "Piece", "extremes"]

#: Work (corner combinations × terms) up to which all are evaluated at once.
MAX_WORK = 2 * 10**7
#: Linear programmes up to which one block is solved for every combination of the others' corners …
MAX_PROGRAMMES = 300
#: … and before a relaxation is tried.
FEW_PROGRAMMES = 24
#: Joint types up to which products are relaxed to one joint distribution.
MAX_LIFTED = 8_000
_MEET = 1e-7


class Piece:
    """Terms over some blocks: for each term a coefficient and at most one functional a block.

    Parameters
    ----------
    blocks : list of block
    terms : dict of ((block, number), …) to coefficient
    denominator : the same, or None for 1
    polytopes : dict of block to Polytope
    """

    def __init__(self, blocks: list, terms: dict, denominator: dict | None, polytopes: dict[Any, Polytope]) -> None:
        self.blocks, self.polytopes = blocks, polytopes
        self.sizes = tuple(polytopes[block].size for block in blocks)
        self.top = self._stacked(terms)
        self.bottom = None if denominator is None else self._stacked(denominator)

    def _stacked(self, terms: dict) -> tuple[np.ndarray, list[np.ndarray]]:
        """Coefficients ``(term,)`` and for each block the terms' functionals ``(term, type)``."""
        factors = []
        for block in self.blocks:
            polytope = self.polytopes[block]
            ones = np.ones(polytope.size)
            factors.append(
                np.stack([polytope.functionals[dict(k)[block]] if block in dict(k) else ones for k in terms])
            )
        return np.array(list(terms.values())), factors

    def ratio(self, arguments: list[np.ndarray]) -> np.ndarray:
        """Values on the grid of the blocks' candidates, each ``(candidate, type)``; NaN where the denominator is 0."""
        above = _grid(self.top, arguments)
        if self.bottom is None:
            return above
        below = _grid(self.bottom, arguments)
        return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 1e-12)

    def partial(self, at: int, others: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Numerator and denominator as functionals of block ``at``, the others fixed."""
        size = self.sizes[at]
        top = _slice(self.top, at, others)
        return top, np.ones(size) if self.bottom is None else _slice(self.bottom, at, others)


@dataclass(frozen=True)
class Extreme:
    """Ends of a piece's range, the distributions (low, high) that attain them or come nearest, and how."""

    low: float
    high: float
    sharp: bool
    how: str
    arguments: tuple[list[np.ndarray], list[np.ndarray]]
    attained: tuple[float, float]


def extremes(piece: Piece) -> Extreme | None:
    """Both ends of a piece's range; None where its denominator is zero everywhere."""
    if len(piece.blocks) == 1:
        return _solved_for(piece, 0, [np.zeros((1, 0))], "a linear programme")
    corners = [piece.polytopes[block].corners for block in piece.blocks]
    few = [found is not None for found in corners]
    terms = len(piece.top[0]) + (0 if piece.bottom is None else len(piece.bottom[0]))
    if all(few) and math.prod(len(found) for found in corners if found is not None) * terms <= MAX_WORK:
        return _at_corners(piece, [found for found in corners if found is not None])
    last = few.index(False) if few.count(False) == 1 else int(np.argmax(piece.sizes))
    others = [found for at, found in enumerate(corners) if at != last]
    count = math.prod(MAX_PROGRAMMES + 1 if found is None else len(found) for found in others)
    relaxed = None
    if count > FEW_PROGRAMMES and math.prod(piece.sizes) <= MAX_LIFTED:
        relaxed = _relaxed(piece, _lifted)  # quick, and mostly what alternating programmes attain
        if relaxed is None or relaxed.sharp:
            return relaxed
    if count <= MAX_PROGRAMMES:
        return _solved_for(piece, last, others, f"linear programmes at {count} corners")
    return relaxed or _relaxed(piece, _separate)


# -- private ---------------------------------------------------------------------------------------------------------


def _grid(terms: tuple[np.ndarray, list[np.ndarray]], arguments: list[np.ndarray]) -> np.ndarray:
    coefficients, factors = terms
    values = [points @ factor.T for points, factor in zip(arguments, factors, strict=True)]  # (candidate, term)
    operands: list[Any] = [coefficients, [0]]
    for at, value in enumerate(values, 1):
        operands += [value, [at, 0]]
    return np.einsum(*operands, list(range(1, len(values) + 1)), optimize=True)


def _slice(terms: tuple[np.ndarray, list[np.ndarray]], at: int, others: list[np.ndarray]) -> np.ndarray:
    weights, factors = terms
    rest = [factor for place, factor in enumerate(factors) if place != at]
    for point, factor in zip(others, rest, strict=True):
        weights = weights * (factor @ point)
    return weights @ factors[at]


def _at_corners(piece: Piece, corners: list[np.ndarray]) -> Extreme | None:
    values = piece.ratio(corners)
    if np.isnan(values).all():
        return None
    ends = [np.unravel_index(int(pick(values)), values.shape) for pick in (np.nanargmin, np.nanargmax)]
    low, high = (float(values[end]) for end in ends)
    arguments = tuple([found[place] for found, place in zip(corners, end, strict=True)] for end in ends)
    how = f"all {values.size} combinations of corners"
    return Extreme(low, high, True, how, arguments, (low, high))  # type: ignore[arg-type]


def _solved_for(piece: Piece, last: int, others: list[Any], how: str) -> Extreme | None:
    """One block by linear programming, for every combination of the others' corners."""
    matrix = piece.polytopes[piece.blocks[last]].homogeneous
    fixed = list(product(*others)) if len(piece.blocks) > 1 else [()]
    best: list[tuple[float, list[np.ndarray]] | None] = [None, None]
    for points in fixed:
        top, bottom = piece.partial(last, list(points))
        for side, largest in enumerate((False, True)):
            found = fractional(top, bottom, matrix, largest=largest)
            if found is None:
                continue
            before = best[side]
            if before is None or (found[0] > before[0]) == largest:
                best[side] = found[0], [*points[:last], found[1], *points[last:]]
    low, high = best
    if low is None or high is None:
        return None
    return Extreme(low[0], high[0], True, how, (low[1], high[1]), (low[0], high[0]))


def _relaxed(piece: Piece, relaxation: Callable[[Piece, bool], float | None]) -> Extreme | None:
    """Valid ends by a relaxation, and what alternating programmes attain."""
    outer = [relaxation(piece, largest) for largest in (False, True)]
    low, high = outer
    if low is None or high is None:
        return None
    inner = [_alternating(piece, largest) for largest in (False, True)]
    sharp = abs(inner[0][0] - low) < _MEET and abs(inner[1][0] - high) < _MEET
    how = "a linear relaxation" if relaxation is _lifted else "an interval relaxation"
    how += ", which alternating programmes attain," if sharp else ""
    return Extreme(low, high, sharp, how, (inner[0][1], inner[1][1]), (max(inner[0][0], low), min(inner[1][0], high)))


def _lifted(piece: Piece, largest: bool) -> float | None:
    """One joint distribution over all types, each block's law kept given the types of the others."""
    rows = []
    for at, block in enumerate(piece.blocks):
        before, after = math.prod(piece.sizes[:at]), math.prod(piece.sizes[at + 1 :])
        inner = sparse.kron(piece.polytopes[block].homogeneous, sparse.identity(after))
        rows.append(sparse.kron(sparse.identity(before), inner))
    top = _outer(piece.top)
    bottom = np.ones(top.shape) if piece.bottom is None else _outer(piece.bottom)
    found = fractional(top, bottom, sparse.csr_matrix(sparse.vstack(rows)), largest=largest, interior=True)
    return None if found is None else found[0]


def _outer(terms: tuple[np.ndarray, list[np.ndarray]]) -> np.ndarray:
    """The polynomial as one functional of the joint types."""
    coefficients, factors = terms
    joined = reduce(lambda one, other: (one[:, :, None] * other[:, None, :]).reshape(len(one), -1), factors)
    return coefficients @ joined


def _separate(piece: Piece, largest: bool) -> float | None:
    """Every factor but one block's ranges over its own interval: the best over which block is kept."""
    if piece.bottom is not None:
        top = [_kept_best(piece, piece.top, side) for side in (False, True)]
        bottom = [max(_kept_best(piece, piece.bottom, side), 0.0) for side in (False, True)]
        if bottom[1] <= 0:
            return None
        chosen = top[largest]
        divisor = bottom[0] if (chosen > 0) == largest else bottom[1]
        return chosen / divisor if divisor > 0 else math.copysign(math.inf, chosen)
    return _kept_best(piece, piece.top, largest)


def _kept_best(piece: Piece, terms: tuple[np.ndarray, list[np.ndarray]], largest: bool) -> float:
    sign = 1.0 if largest else -1.0
    coefficients, factors = terms
    low, high = [], []
    for block, factor in zip(piece.blocks, factors, strict=True):
        matrix = piece.polytopes[block].homogeneous
        ends = {row.tobytes(): _range(row, matrix) for row in factor}
        low.append(np.array([ends[row.tobytes()][0] for row in factor]))
        high.append(np.array([ends[row.tobytes()][1] for row in factor]))
    best = math.inf
    for at, block in enumerate(piece.blocks):
        rest = [place for place in range(len(piece.blocks)) if place != at]
        small, large = (np.prod([side[place] for place in rest], axis=0) for side in (low, high))
        weights = np.maximum(sign * coefficients * small, sign * coefficients * large)
        objective = weights @ factors[at]
        found = fractional(objective, np.ones(len(objective)), piece.polytopes[block].homogeneous, largest=True)
        if found is not None:
            best = min(best, found[0])
    return sign * best


def _range(functional: np.ndarray, matrix: sparse.csr_matrix) -> tuple[float, float]:
    ones = np.ones(len(functional))
    ends = [fractional(functional, ones, matrix, largest=largest) for largest in (False, True)]
    return (max(ends[0][0], 0.0) if ends[0] else 0.0, min(ends[1][0], 1.0) if ends[1] else 1.0)


def _alternating(piece: Piece, largest: bool, starts: int = 6) -> tuple[float, list[np.ndarray]]:
    """What is attained: from several starts, one block after the other by linear programming until nothing moves."""
    rng = np.random.default_rng(0)
    best: tuple[float, list[np.ndarray]] | None = None
    for _ in range(starts):
        point = []
        for block in piece.blocks:
            polytope = piece.polytopes[block]
            found = fractional(
                rng.normal(size=polytope.size), np.ones(polytope.size), polytope.homogeneous, largest=True
            )
            assert found is not None
            point.append(found[1])
        value = -math.inf if largest else math.inf
        for _ in range(100):
            before = value
            for at, block in enumerate(piece.blocks):
                others = [q for place, q in enumerate(point) if place != at]
                found = fractional(*piece.partial(at, others), piece.polytopes[block].homogeneous, largest=largest)
                if found is not None:
                    value, point[at] = found
            if math.isfinite(value) and abs(value - before) < 1e-12:
                break
        if math.isfinite(value) and (best is None or (value > best[0]) == largest):
            best = value, list(point)
    return best if best is not None else (math.nan, point)
