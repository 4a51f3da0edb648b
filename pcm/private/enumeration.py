"""The exact law of secret, knowledge and release in a finite model, by variable elimination.

``P(a, k, o) = Σ_v Π_i P(v_i | pa_i) Π_j m_j(o_j | v_j)``: the hidden variables are summed out one after another, the
one that makes the smallest table first.

>>> prior, table = np.array([0.5, 0.5]), np.array([[0.9, 0.1], [0.2, 0.8]])
>>> response = np.array([[0.75, 0.25], [0.25, 0.75]])
>>> eliminate([(("a",), prior), (("a", "u"), table), (("u", "o"), response)], ("a", "o")).round(4).tolist()
[[0.35, 0.15], [0.175, 0.325]]

References
----------
Zhang & Poole, "A simple approach to Bayesian network computations", 1994.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pcm.errors import QueryError, listed
from pcm.query.bounds.programs import graph_of_model, law_of_model
from pcm.query.model import Model
from pcm.worlds import lane_count

__all__ = ["MAX_CELLS", "Factor", "eliminate", "factors_of"]

Factor = tuple[tuple[Hashable, ...], np.ndarray]
"""Names of the axes, and the array."""

#: Cells of a table beyond which it is refused.
MAX_CELLS = 2**24


def eliminate(factors: Iterable[Factor], keep: Sequence[Hashable]) -> np.ndarray:
    """Sum of the product of the factors over all axes but ``keep``, which become the axes of the result.

    Raises
    ------
    QueryError
        A table of more than 2²⁴ cells.
    """
    factors = list(factors)
    sizes = {name: size for axes, array in factors for name, size in zip(axes, array.shape, strict=True)}
    hidden = [name for name in sizes if name not in keep]
    while hidden:
        scopes = {name: _scope(factors, name) for name in hidden}
        name = min(hidden, key=lambda name: math.prod(sizes[axis] for axis in scopes[name]))
        touching = [factor for factor in factors if name in factor[0]]
        scope = tuple(axis for axis in scopes[name] if axis != name)
        factors = [factor for factor in factors if name not in factor[0]]
        factors.append((scope, _product(touching, scope, sizes)))
        hidden.remove(name)
    return _product(factors, tuple(keep), sizes)


def factors_of(
    model: Model, names: Iterable[str], draws: int, seed: int | None
) -> Iterator[tuple[dict[str, Factor], dict[str, tuple[Any, ...]]]]:
    """Under each draw of the parameters, ``draws`` at most: the table of each mechanism that bears on these variables,
    its own on the last axis; and all their values.

    Raises
    ------
    QueryError
        Variables that are not finite, parameters neither fitted nor given.
    """
    names = sorted(set(names))
    _check_finite(model, names)
    parameters = model.parameters(draws, seed, prior=False)
    for draw in range(lane_count(parameters)):
        law = law_of_model(model, names, {name: value[draw] for name, value in parameters.items()})
        tables: dict[str, Factor] = {name: (axes, np.asarray(table)) for name, (axes, table) in law.factors.items()}
        yield tables, dict(law.shape.levels)


# -- private ---------------------------------------------------------------------------------------------------------


def _check_finite(model: Model, names: Iterable[str]) -> None:
    """Raise unless these variables and all their causes take finitely many values."""
    import networkx as nx

    graph = graph_of_model(model)
    needed = set(names).union(*(nx.ancestors(graph, name) for name in names))
    sites = model.structure.sites
    for name in model.structure.variables:
        site = sites[name]
        if name in needed and site.kind == "covariate":
            raise QueryError(f"'{name}' is a covariate, which has no distribution in the model.", variable=name)
    odd = [name for name in sites if name in needed and sites[name].kind == "variable" and not _finite(sites[name])]
    if odd:
        raise QueryError(
            f"{listed(f'{name} ({sites[name].family})' for name in odd)}: not finite with one value a unit, and the "
            "law of the release is enumerated. Cut such a variable into classes: a Categorical site in the program, "
            "pandas.cut(…) of its column in the data.",
            variables=odd,
        )


def _finite(site: Any) -> bool:
    return site.cardinality is not None and not site.inner and (not site.event or site.one_hot)


def _scope(factors: list[Factor], name: Hashable) -> tuple[Hashable, ...]:
    return tuple(dict.fromkeys(axis for axes, _ in factors if name in axes for axis in axes))


def _product(factors: list[Factor], scope: tuple[Hashable, ...], sizes: Mapping[Hashable, int]) -> np.ndarray:
    """The product over ``scope``; axes outside it are summed out."""
    cells = math.prod(sizes[axis] for axis in scope)
    if cells > MAX_CELLS:
        raise QueryError(
            f"a table over {listed(scope)} has {cells:,} cells, more than {MAX_CELLS:,}: ask about fewer releases, or "
            "about coarser ones.",
            cells=cells,
        )
    absent = [axis for axis in scope if all(axis not in axes for axes, _ in factors)]
    factors = [*factors, *(((axis,), np.ones(sizes[axis])) for axis in absent)]
    place = {axis: at for at, axis in enumerate(dict.fromkeys([*scope, *(a for axes, _ in factors for a in axes)]))}
    operands: list[Any] = []
    for axes, array in factors:
        operands += [array, [place[axis] for axis in axes]]
    return np.asarray(np.einsum(*operands, [place[axis] for axis in scope], optimize=len(factors) > 2))
