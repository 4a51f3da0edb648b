"""Extremes of a query's polynomial over the polytopes of its blocks.

What the law fixes is put in first. A rest that is linear in each block falls apart into one linear programme a block
(sharp). A rest that multiplies blocks takes its extremes at corners of the polytopes, which are enumerated where few
(sharp); else it is relaxed to a joint distribution over the types of all blocks that keeps every block's law given the
others (Sherali & Adams 1990; valid), and alternating programmes say what is attained: where the two meet, it is sharp.

>>> import networkx as nx, numpy as np
>>> from pcm.query.bounds.law import Shape, law_of_joint
>>> from pcm.query.bounds.question import Query
>>> shape = Shape.of(nx.DiGraph([("x", "y")]), [], {"x": (0, 1), "y": (0, 1)})
>>> solved = solve(Asked(law_of_joint(shape, np.array([[0.3, 0.2], [0.1, 0.4]])), Query.pns("x", "y"), ()))
>>> round(solved.low, 9), round(solved.high, 9), solved.sharp
(0.4, 0.6, True)

References
----------
Balke & Pearl, "Bounds on treatment effects from studies with imperfect compliance", JASA 1997. Sherali & Adams, "A
hierarchy of relaxations", SIAM J. Discrete Math. 1990. Zhang, Tian & Bareinboim, "Partial counterfactual
identification from observational and experimental data", ICML 2022.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np
import pandas as pd

from pcm.errors import GraphError, QueryError
from pcm.query.bounds.polytope import Polytope
from pcm.query.bounds.products import Extreme, Piece, extremes
from pcm.query.bounds.worlds import Asked, Polynomial

__all__ = ["Solved", "solve"]

Block = tuple[int, int]


@dataclass(frozen=True)
class Solved:
    """Both ends of a query's range, whether they are attained, how they were found, and by which distributions."""

    low: float
    high: float
    sharp: bool
    how: str
    certificate: pd.DataFrame
    attained: tuple[float, float] | None = None
    distance: float = 0.0


def solve(
    asked: Asked,
    *,
    tolerance: float = 0.0,
    monotone: bool = False,
    measured: Sequence[tuple[float, str]] = (),
    polytopes: dict | None = None,
) -> Solved:
    """Solve a query.

    Parameters
    ----------
    asked : Asked
    tolerance : float
        See :class:`~pcm.query.bounds.polytope.Polytope`.
    monotone : bool
        Whether monotone edges were declared, which may empty even a lone variable's polytope.
    measured : sequence of (value, words)
        What ``asked.also`` was found to be.
    polytopes : dict, optional
        Polytopes already built, by block and functionals; new ones are added.

    Raises
    ------
    GraphError
        The law contradicts the graph.
    QueryError
        What is conditioned on has probability zero; a programme is too large.
    """
    cache = {} if polytopes is None else polytopes
    made = _polytopes(asked, tolerance, monotone, {}, cache)
    if measured:
        equations = _equations(asked, made, measured, tolerance)
        made = _polytopes(asked, tolerance, monotone, equations, cache)
    top, bottom = (_reduced(polynomial, made) for polynomial in (asked.numerator, asked.denominator))
    distance = sum(polytope.distance for polytope in made.values())
    constant = top.pop((), 0.0)
    if set(bottom) <= {()}:
        scale = bottom.get((), 0.0)
        if scale <= 1e-12:
            raise _impossible(asked)
        pieces = [Piece(blocks, terms, None, made) for blocks, terms in _grouped(top)]
    else:
        scale = 1.0
        terms = {**top, (): constant}
        blocks = sorted({block for key in [*terms, *bottom] for block, _ in key})
        pieces, constant = [Piece(blocks, terms, bottom, made)], 0.0
    ends = [extremes(piece) for piece in pieces]
    if any(end is None for end in ends):
        raise _impossible(asked)
    found = [end for end in ends if end is not None]
    low = (constant + sum(end.low for end in found)) / scale
    high = (constant + sum(end.high for end in found)) / scale
    loose = [_apart(asked, piece) for piece in pieces]  # components whose causes were taken for one
    sharp = all(end.sharp and (not apart or end.high - end.low < 1e-9) for end, apart in zip(found, loose, strict=True))
    attained = None
    if not sharp and not any(loose):
        first, last = (sum(end.attained[at] for end in found) for at in (0, 1))
        attained = (constant + first) / scale, (constant + last) / scale
    how = _words(asked, pieces, found)
    if any(loose) and not sharp:
        how += (
            f", the unmeasured causes of {' and of '.join(sorted({w for apart in loose for w in apart}))} taken for one"
        )
    return Solved(low, high, sharp, how, _certificate(asked, pieces, found), attained, distance)


# -- private ---------------------------------------------------------------------------------------------------------


def _polytopes(
    asked: Asked, tolerance: float, monotone: bool, measured: dict[Block, list], cache: dict
) -> dict[Block, Polytope]:
    numbers: dict[Block, set[int]] = defaultdict(set)
    for polynomial in (asked.numerator, asked.denominator, *asked.also):
        for key in polynomial:
            for component, context, number in key:
                numbers[component, context].add(number)
    made = {}
    for (component, context), used in numbers.items():
        responses, equations = asked.responses[component], measured.get((component, context), [])
        wanted = {number: asked.wanted[component][number] for number in sorted(used)}
        key = (responses.members, responses.context, context, tuple(wanted.items()), str(equations))
        if key not in cache:
            check = monotone or len(responses.members) > 1
            cache[key] = Polytope(responses, context, wanted, tolerance=tolerance, check=check, measured=equations)
        made[component, context] = cache[key]
    return made


def _equations(
    asked: Asked, made: dict[Block, Polytope], measured: Sequence[tuple[float, str]], tolerance: float
) -> dict[Block, list[tuple[dict[int, float], float]]]:
    """What experiments measured, as equations between the functionals of one block each."""
    found: dict[Block, list[tuple[dict[int, float], float]]] = defaultdict(list)
    for polynomial, (value, words) in zip(asked.also, measured, strict=True):
        rest = _reduced(polynomial, made)
        value -= rest.pop((), 0.0)
        blocks = {block for key in rest for block, _ in key}
        if not blocks:
            if abs(value) > max(tolerance, 1e-6):
                raise GraphError(
                    f"the experiment contradicts the graph and the law, which fix {words}: it is off by {value:.3g}. "
                    "Add the missing edge or confounded pair, or pass tolerance= if it is sampling noise or rounding."
                )
            continue
        if len(blocks) > 1 or any(len(key) > 1 for key in rest):
            raise QueryError(
                f"the experiment's {words} depends on several confounded components at once, so that it is no linear "
                "constraint: give a table of more of the variables between, or a graph without them."
            )
        found[blocks.pop()].append(({key[0][1]: coefficient for key, coefficient in rest.items()}, value))
    return found


def _reduced(polynomial: Polynomial, made: dict[Block, Polytope]) -> dict[tuple[tuple[Block, int], ...], float]:
    """The polynomial with known functionals put in."""
    answer: dict[tuple[tuple[Block, int], ...], float] = defaultdict(float)
    for key, coefficient in polynomial.items():
        rest = []
        for component, context, number in key:
            block = (component, context)
            if number in made[block].known:
                coefficient *= made[block].known[number]
            else:
                rest.append((block, number))
        if coefficient != 0:
            answer[tuple(rest)] += coefficient
    return answer


def _grouped(terms: dict) -> list[tuple[list[Block], dict]]:
    """Terms by blocks that they multiply: groups that share none are extremised apart."""
    graph: nx.Graph = nx.Graph()
    for key in terms:
        blocks = [block for block, _ in key]
        graph.add_nodes_from(blocks)
        nx.add_path(graph, blocks)
    parts = list(nx.connected_components(graph))
    return [(sorted(part), {key: c for key, c in terms.items() if key[0][0] in part}) for part in parts]


def _apart(asked: Asked, piece: Piece) -> list[str]:
    """Components of a piece whose members share causes only by parts."""
    parts = [asked.responses[component].members for component in dict.fromkeys(block[0] for block in piece.blocks)]
    return [", ".join(part) for part in parts if part not in asked.law.shape.joint]


def _impossible(asked: Asked) -> QueryError:
    given = ", ".join(map(str, asked.query.given))
    return QueryError(f"{asked.query.label}: what is given ({given}) has probability zero; nothing follows from it.")


def _words(asked: Asked, pieces: list[Piece], found: list[Extreme]) -> str:
    if not found:
        return "the graph and the law fix it"
    words: dict[str, None] = {}
    for piece, end in zip(pieces, found, strict=True):
        members = [
            ", ".join(asked.responses[component].members) for component in dict.fromkeys(b[0] for b in piece.blocks)
        ]
        types = " × ".join(str(piece.polytopes[block].size) for block in piece.blocks)
        words[f"{end.how} over {types} response types of {' and of '.join(members)}"] = None
    first = next(iter(words))
    return first if len(words) == 1 else f"{first}, and {len(words) - 1} more"


def _certificate(asked: Asked, pieces: list[Piece], found: list[Extreme]) -> pd.DataFrame:
    rows = []
    for piece, end in zip(pieces, found, strict=True):
        for at, block in enumerate(piece.blocks):
            polytope = piece.polytopes[block]
            responses = asked.responses[block[0]]
            low, high = (end.arguments[side][at] + 0.0 for side in (0, 1))  # a solver's -0.0 is 0
            rows += [
                (
                    ", ".join(responses.members),
                    responses.context_words(block[1]),
                    polytope.words(int(kind)),
                    low[kind],
                    high[kind],
                )
                for kind in np.flatnonzero((low > 1e-9) | (high > 1e-9))
            ]
    return pd.DataFrame(rows, columns=["component", "context", "type", "low", "high"])
