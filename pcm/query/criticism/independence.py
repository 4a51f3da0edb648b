"""What the graph alone implies, against data: every pair without an edge is independent given the parents of the later.

The local Markov property: a variable is independent of what is not below it, given its parents (Pearl, *Causality*,
theorem 1.2.7). Each such statement is tested by the generalised covariance measure: residuals of smooth functions of
both variables, each regressed on smooth functions of the conditioning set and their products, have zero covariance,

    m = (1/n) sum_i r_i ⊗ t_i,    n m' Cov(r ⊗ t)^-1 m (1 - k/n)  ~  Hotelling's T²,

with ``k`` regressors, whose overfitting the last factor takes back. No linearity is assumed, and of noise no law.

How many statements fail is compared with what the same graph with its names exchanged at random would have failed: a
graph that does no better than random says nothing (Eulig et al.).

References
----------
Shah & Peters (2020), *Annals of Statistics* 48(3). Eulig, Mastakouri, Blöbaum, Hardt & Janzing (2023), "Toward
Falsifying Causal Graphs Using a Permutation-Based Test".

>>> import networkx as nx
>>> implied_by(nx.DiGraph([("a", "b"), ("b", "c")]), ["a", "b", "c"])
[('a', 'c', ('b',))]
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import networkx as nx
import numpy as np
from scipy import stats

from pcm.query.criticism.features import (
    legendre,
    levels_of,
    normal_scores,
    orthonormal,
    ranks,
    smooth,
)
from pcm.query.criticism.moments import Finding

__all__ = ["Baseline", "Pool", "baseline", "implied_by"]

Statement = tuple[str, str, tuple[str, ...]]

_REGRESSION = 12
_INDEX_DEGREE = 5
_MOST_COLUMNS = 6
_UNITS_A_REGRESSOR = 10
_MOST_REGRESSORS = 100
_FIRST = 4


def implied_by(graph: nx.DiGraph, order: Sequence[str], roots: Collection[str] = ()) -> list[Statement]:
    """``(x, y, given)`` for every pair without an edge: ``x`` is independent of ``y`` given the parents of ``y``.

    Parameters
    ----------
    graph : networkx.DiGraph
    order : sequence of str
        A topological order; ``y`` is the later of a pair.
    roots : collection of str
        Variables whose joint law the model leaves open (covariates): a pair of them says nothing.
    """
    found = []
    names = [*(name for name in order if name in roots), *(name for name in order if name not in roots)]
    for place, y in enumerate(names):
        if y in roots:
            continue
        given = tuple(name for name in names if graph.has_edge(name, y))
        found += [(x, y, given) for x in names[:place] if not graph.has_edge(x, y)]
    return found


class Pool:
    """Variables with their functions, and the tests between them, each made once.

    Parameters
    ----------
    columns : dict of name to array ``[unit, column]``
    categorical : collection of str
        Those whose numbers are codes without an order.
    """

    def __init__(self, columns: Mapping[str, np.ndarray], categorical: Collection[str]) -> None:
        self.units = len(next(iter(columns.values())))
        self._own: dict[str, slice] = {}
        self._bases: dict[str, list[np.ndarray]] = {}
        parts, start = [], 0
        for name, array in columns.items():
            functions = [_functions(column, name in categorical) for column in array[:, :_MOST_COLUMNS].T]
            part = np.concatenate([few for few, _ in functions], 1)
            self._own[name] = slice(start, start + part.shape[1])
            start += part.shape[1]
            parts.append(part)
            self._bases[name] = [many for _, many in functions]
        self._all = np.concatenate(parts, 1)
        self._fits: dict[frozenset[str], tuple[np.ndarray, np.ndarray]] = {}
        self._tests: dict[tuple[frozenset[str], frozenset[str]], Finding] = {}

    def test(self, x: str, y: str, given: Collection[str]) -> Finding:
        """Test of ``x`` independent of ``y`` given the others."""
        key = frozenset((x, y)), frozenset(given)
        if key not in self._tests:
            self._tests[key] = self._test(min(x, y), max(x, y), key[1])
        return self._tests[key]

    def _test(self, x: str, y: str, given: frozenset[str]) -> Finding:
        first, second, used = self._residuals(x, y, given)
        # what the conditioning set determines has no residual, so nothing to say
        first, second = (part[:, (part**2).mean(0) > 1e-6] for part in (first, second))
        products = (first[:, :, None] * second[:, None, :]).reshape(self.units, -1)
        count, units = products.shape[1], self.units
        if not count or units <= 2 * (count + used):
            return Finding(0.0, 0, 1.0)
        mean = products.mean(0)
        centred = products - mean
        values, vectors = np.linalg.eigh(centred.T @ centred / (units - 1))
        kept = values > 1e-8 * values.max()
        part = (vectors[:, kept].T @ mean) ** 2 / values[kept]
        df = int(kept.sum())
        hotelling = float(part.sum()) * units * (1.0 - used / units)
        p = float(stats.f.sf(hotelling * (units - df) / (df * (units - 1)), df, units - df))
        return Finding(hotelling, df, p)

    def _residuals(self, x: str, y: str, given: frozenset[str]) -> tuple[np.ndarray, np.ndarray, int]:
        """Both variables' functions beyond those of the conditioning set, and the number of regressors."""
        first, second = self._all[:, self._own[x]], self._all[:, self._own[y]]
        if not (given and first.shape[1] and second.shape[1]):
            return first, second, 0
        if given not in self._fits:
            basis = self._regressors(sorted(given))
            self._fits[given] = basis, basis.T @ self._all / self.units
        basis, weights = self._fits[given]
        used = basis.shape[1]
        both = np.concatenate([first, second], 1)
        weights = np.concatenate([weights[:, self._own[x]], weights[:, self._own[y]]], 1)
        left = both - basis @ weights
        if sum(len(self._bases[name]) for name in given) > 1:
            # additive functions cannot follow a bent function of a sum: its fitted index can
            index = basis @ weights[:, [0, first.shape[1]]]
            bent = [orthonormal(legendre(ranks(column), _INDEX_DEGREE)) for column in index.T if np.ptp(column) > 1e-9]
            if bent:
                more = np.concatenate(bent, 1)
                more = more - basis @ (basis.T @ more / self.units)
                more = orthonormal(more[:, (more**2).mean(0) > 1e-3])
                left = left - more @ (more.T @ left / self.units)
                used += more.shape[1]
        return left[:, : first.shape[1]], left[:, first.shape[1] :], used

    def _regressors(self, names: list[str]) -> np.ndarray:
        """Functions of each variable, and products of two variables' first functions as far as the data carry them."""
        own = [part for name in names for part in self._bases[name] if part.shape[1]]
        if not own:
            return np.zeros((self.units, 0))
        pairs = [(first, second) for place, first in enumerate(own) for second in own[:place]]
        blocks = [part[:, :_FIRST] for part in own]
        for most in (1, 2):  # plain products of all pairs before any of squares
            blocks += [
                (first[:, :most, None] * second[:, None, :most]).reshape(self.units, -1) for first, second in pairs
            ]
        blocks += [part[:, _FIRST:] for part in own]
        most = max(min(self.units // _UNITS_A_REGRESSOR, _MOST_REGRESSORS), 2 * len(own))
        found = orthonormal(np.concatenate(blocks, 1)[:, : 2 * most])
        return found[:, :most]


def _functions(column: np.ndarray, categorical: bool) -> tuple[np.ndarray, np.ndarray]:
    """The few functions of a variable that are tested, and the many that it enters a regression by."""
    if levels_of(column, categorical) is not None:
        few = smooth(column, 1, categorical)
        return few, few
    scores = normal_scores(column)
    return orthonormal(scores), orthonormal(np.concatenate([scores, legendre(ranks(column), _REGRESSION)], 1))


@dataclass(frozen=True)
class Baseline:
    """How the graph does beside itself with its names exchanged at random.

    Attributes
    ----------
    implied, violated : int
        Independencies that the graph implies, and those rejected at the level, one by one.
    relabelled : tuple of float
        Share violated by each random relabelling.
    as_good : float
        Share of relabellings that violate no larger share than the graph does.
    """

    implied: int
    violated: int
    relabelled: tuple[float, ...] = field(default=(), repr=False)
    as_good: float = math.nan

    @property
    def share(self) -> float:
        """Share violated."""
        return self.violated / self.implied if self.implied else math.nan

    @property
    def expected(self) -> float:
        """Mean share that a random relabelling violates."""
        return float(np.mean(self.relabelled)) if self.relabelled else math.nan


def baseline(
    pool: Pool,
    statements: Sequence[Statement],
    names: Sequence[str],
    *,
    level: float,
    rng: np.random.Generator,
    relabellings: int = 100,
    most_tests: int = 1000,
) -> Baseline:
    """Share of violated independencies, of the graph and of random relabellings of it.

    Parameters
    ----------
    relabellings : int
        At most this many, and no more than ``most_tests`` tests in all.
    """
    implied = len(statements)
    if not implied:
        return Baseline(0, 0)
    violated = sum(pool.test(*statement).p < level for statement in statements)
    shares = []
    for _ in range(min(relabellings, max(5, most_tests // implied))):
        new = dict(zip(names, rng.permutation(list(names)).tolist(), strict=True))
        hits = sum(pool.test(new[x], new[y], [new[z] for z in given]).p < level for x, y, given in statements)
        shares.append(hits / implied)
    as_good = float(np.mean([share <= violated / implied for share in shares]))
    return Baseline(implied, violated, tuple(shares), as_good)
