"""`bounds`: from a model or a table and a question to the interval that holds its answer.

>>> import pandas as pd
>>> table = pd.DataFrame({"x": [0, 0, 1, 1], "y": [0, 1, 0, 1], "probability": [0.3, 0.2, 0.1, 0.4]})
>>> bounds(table, "PNS(x, y)", graph="x -> y")
PNS of x on y: between 0.4 and 0.6 (sharp: a linear programme over 4 response types of y)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd

from pcm.errors import ArgumentError, QueryError, UnknownNameError
from pcm.query.bounds.law import Law, Shape, law_of_joint, projected
from pcm.query.bounds.notation import parse_graph, parse_query
from pcm.query.bounds.programme import Solved, solve
from pcm.query.bounds.programs import graph_of_model, law_of_model
from pcm.query.bounds.question import Atom, Query
from pcm.query.bounds.result import Bounds
from pcm.query.bounds.tables import check_table, read_table
from pcm.query.bounds.units import frechet
from pcm.query.bounds.worlds import Asked
from pcm.query.model import Model
from pcm.worlds import lane_count

__all__ = ["bounds"]

Experiment = tuple[Mapping[str, Any], Any]


def bounds(
    source: Any,
    query: str | Query,
    *,
    graph: Any = None,
    confounded: Iterable[Sequence[str]] | None = None,
    latent: Collection[str] = (),
    monotone: Iterable[Sequence[str]] = (),
    experiments: Iterable[Experiment] = (),
    data: Any = None,
    tolerance: float = 0.0,
    draws: int = 50,
    seed: int | None = 0,
) -> Bounds:
    """Bounds on a causal quantity over every model compatible with the graph and the law of the observed variables.

    Parameters
    ----------
    source : Model, or a table
        A model whose variables are finite: its mechanisms' distributions are kept and its couplings forgotten. Or a
        table: a DataFrame with a column a variable and a column ``probability`` or ``count`` (or neither: a row a
        unit), a Series with a named MultiIndex, an ``xarray.DataArray``, a dict.
    query : str or Query
        ``"PNS(x, y)"``, ``"PN"``, ``"PS"``, ``"ATE"``, ``"ATT"``, ``"NDE"``, ``"NIE"``, ``"PSE(x -> m -> y)"``
        (several paths: ``"PSE(x -> m -> y; x -> y)"``), ``"P(y=1 | do(x=1))"``,
        ``"P(y[x=1]=1 | x=0, y=0)"``, or a :class:`Query`.
    graph : networkx.DiGraph, edges, or str such as ``"z -> x -> y; x <-> y"``
        Of a table; a model has its own.
    confounded : groups of variables, optional
        Pairs (``x <-> y``) or larger groups that share one unmeasured cause.
    latent : collection of str
        Variables of the graph that are not observed: they are projected out.
    monotone : pairs (parent, child)
        Edges along which no unit's response falls when the parent's value rises (values in the order of the table's
        or the program's levels).
    experiments : pairs (do, table)
        What was measured under interventions.
    data : DataFrame or dict, optional
        Units: each row's cells are that unit's evidence, added to what the query is given; bounds a unit.
    tolerance : float
        How far (total absolute difference a component) the table may be from the nearest law that the graph allows;
        that law is then used.
    draws, seed
        Of a fitted model: draws of its parameters.

    Returns
    -------
    Bounds

    Raises
    ------
    ArgumentError, UnknownNameError, QueryError, DataError
        A question that cannot be asked of this source; a table that is none.
    GraphError
        The law contradicts the graph, or an experiment does.

    Notes
    -----
    Over one confounded component the answer is a linear programme over response types: sharp where all its members
    may share one cause, valid where they share causes only pair by pair (of a chain ``a <-> b <-> c`` those causes are
    taken for one). A latent variable may take any number of values. Where a question multiplies components, corners of
    the polytopes are enumerated (sharp) or the product relaxed (valid; sharp where a model attains it). Bounds from a
    sample are those of its frequencies: they carry no sampling uncertainty.

    References
    ----------
    Balke & Pearl, JASA 1997. Tian & Pearl, "Probabilities of causation: bounds and identification", 2000. Zhang, Tian
    & Bareinboim, ICML 2022.

    Examples
    --------
    >>> import pandas as pd
    >>> trial = pd.DataFrame({"z": [0, 0, 0, 0, 1, 1, 1, 1], "x": [0, 0, 1, 1] * 2, "y": [0, 1] * 4})
    >>> trial["probability"] = [0.4595, 0.0405, 0.0, 0.0, 0.1575, 0.0365, 0.0695, 0.2365]
    >>> bounds(trial, "ATE(x, y)", graph="z -> x -> y; x <-> y").to_dataframe().round(3).values.tolist()
    [[0.392, 0.78]]
    """
    asked = parse_query(query) if isinstance(query, str) else query
    if not isinstance(asked, Query):
        raise ArgumentError(f"query={query!r}: a string such as 'PNS(x, y)' or a pcm.query.bounds.Query is needed.")
    pairs, rising = (
        [tuple(group) if not isinstance(group, str) else group for group in confounded or ()],
        _edges(monotone),
    )
    if isinstance(source, Model):
        if graph is not None:
            raise ArgumentError("graph= is for tables: a program has its own graph. Declare confounded= or latent=.")
        if data is not None and not (latent or pairs or rising) and not _finite(source, asked):
            return frechet(source, asked, data, draws=draws, seed=seed)
        laws, experiments = _laws_of_model(source, asked, pairs, latent, data, experiments, draws, seed)
    else:
        check_table(source)
        if graph is None:
            raise ArgumentError("a table needs its graph: graph='z -> x -> y; x <-> y', a networkx.DiGraph, or edges.")
        plain, more = parse_graph(graph)
        laws = [_law_of_table(source, plain, [*pairs, *more], latent, tolerance)]
    measured = _measured(list(experiments), laws[0].shape)
    _check_monotone(rising, laws[0].shape)
    rows, index, place = _units(data, laws[0].shape)
    found = [
        [_one(law, _with(asked, row), rising, measured, tolerance, cache) for row in rows]
        for law, cache in ((law, {}) for law in laws)
    ]
    return _collected(asked, found, index, place, laws, rising)


# -- private ---------------------------------------------------------------------------------------------------------


def _edges(monotone: Iterable[Sequence[str]]) -> list[tuple[str, str]]:
    made = []
    for pair in monotone:
        if isinstance(pair, str) or len(pair) != 2:
            raise ArgumentError(f"monotone={pair!r}: pairs (parent, child) are needed, such as [('x', 'y')].")
        made.append((pair[0], pair[1]))
    return made


def _names(query: Query) -> set[str]:
    names: set[str] = set()
    stack = [*query.given, *(a for t in query.terms for a in (*t.event, *([t.mean] if t.mean else [])))]
    while stack:
        atom = stack.pop()
        names.add(atom.variable)
        for target, value in atom.world:
            names.update(target if isinstance(target, tuple) else (target,))
            stack += [value] if isinstance(value, Atom) else []
    return names


def _finite(model: Model, query: Query) -> bool:
    graph = graph_of_model(model)
    names = {name for name in _names(query) if name in graph}
    needed = names.union(*(nx.ancestors(graph, name) for name in names))
    sites = model.structure.sites
    return all(sites[n].kind == "deterministic" or sites[n].cardinality is not None for n in needed)


def _laws_of_model(
    model: Model,
    query: Query,
    pairs: list[Any],
    latent: Collection[str],
    data: Any,
    experiments: Iterable[Experiment],
    draws: int,
    seed: int | None,
) -> tuple[list[Law], list[Experiment]]:
    experiments = list(experiments)
    names = _names(query)
    if data is not None:
        names |= {name for name in _columns(data) if name in model.structure.sites}
    for do, table in experiments:
        names |= {n for n in (*do, *_columns(table)) if n in model.structure.sites}
    parameters = model.parameters(draws, seed, prior=False)
    count = lane_count(parameters)
    lanes = [{name: value[lane] for name, value in parameters.items()} for lane in range(count)]
    return [law_of_model(model, names, lane, pairs, latent) for lane in lanes], experiments


def _columns(data: Any) -> list[Any]:
    if isinstance(data, pd.Series):
        return list(data.index.names)
    return list(data.columns if isinstance(data, pd.DataFrame) else getattr(data, "dims", data))


def _law_of_table(source: Any, graph: nx.DiGraph, pairs: list[Any], latent: Collection[str], tolerance: float) -> Law:
    plain, found = projected(graph, pairs, latent)
    order = list(nx.topological_sort(plain))
    table = read_table(source, [name for name in graph if name not in latent])
    shape = Shape.of(plain, found, {name: table.levels[name] for name in order})
    joint = table.array.transpose([table.names.index(name) for name in shape.names])
    law = law_of_joint(shape, joint, exact=table.exact, tolerance=tolerance)
    if table.exact:
        return law
    return Law(
        shape, law.factors, (*law.notes, f"frequencies of {table.size} units: no sampling uncertainty is included")
    )


def _measured(experiments: list[Experiment], shape: Shape) -> list[tuple[Query, float, str]]:
    """Each cell of each experiment as a query and its value."""
    made = []
    for experiment in experiments:
        try:
            do, table = experiment
            world = tuple(do.items())
        except (TypeError, ValueError, AttributeError):
            raise ArgumentError(
                "experiments are pairs ({'x': 1}, table): what was set, and what was measured."
            ) from None
        names = [name for name in shape.names if name not in do]
        found = read_table(table, names, levels={n: shape.levels[n] for n in names}, partial=True)
        for cell in np.ndindex(found.array.shape):
            values = [found.levels[n][c] for n, c in zip(found.names, cell, strict=True)]
            event = tuple(Atom(n, v, world) for n, v in zip(found.names, values, strict=True))
            query = Query.of(event)
            made.append((query, float(found.array[cell]), query.label))
    return made


def _check_monotone(rising: list[tuple[str, str]], shape: Shape) -> None:
    for parent, child in rising:
        for name in (parent, child):
            if name not in shape.levels:
                raise UnknownNameError(name, known=list(shape.levels), where="the bounded law")
        if parent not in shape.parents[child]:
            raise QueryError(
                f"monotone=[({parent!r}, {child!r})]: {parent} → {child} is not an edge; monotonicity is declared edge "
                f"by edge ({child} reads {', '.join(shape.parents[child]) or 'nothing'})."
            )


def _units(data: Any, shape: Shape) -> tuple[list[dict[str, Any]], pd.Index | None, np.ndarray]:
    """Distinct rows of evidence, the units' names, and each unit's row."""
    if data is None:
        return [{}], None, np.zeros(1, int)
    frame = data if isinstance(data, pd.DataFrame) else pd.DataFrame({k: np.atleast_1d(v) for k, v in data.items()})
    kept = [name for name in shape.names if name in frame.columns]
    unknown = [name for name in frame.columns if name not in shape.levels]
    if not kept:
        raise UnknownNameError(unknown[0] if unknown else "", kind="column", known=list(shape.levels), where="the law")
    if not len(frame):
        return [], frame.index, np.zeros(0, int)
    cells = [pd.factorize(frame[name]) for name in kept]  # an empty cell has the code -1
    rows, place = np.unique(np.stack([codes for codes, _ in cells], 1), axis=0, return_inverse=True)
    made = [
        {name: values[code] for name, code, (_, values) in zip(kept, row, cells, strict=True) if code >= 0}
        for row in rows
    ]
    return made, frame.index, place.ravel()


def _with(query: Query, row: dict[str, Any]) -> Query:
    if not row:
        return query
    evidence = tuple(Atom(name, value) for name, value in row.items())
    terms = tuple(replace(term, event=(*term.event, *evidence)) for term in query.terms)
    return Query(query.label, terms, (*query.given, *evidence))


def _one(
    law: Law,
    query: Query,
    rising: list[tuple[str, str]],
    measured: list[tuple[Query, float, str]],
    tolerance: float,
    cache: dict,
) -> Solved:
    asked = Asked(law, query, rising, [more for more, _, _ in measured])
    values = [(value, words) for _, value, words in measured]
    return solve(asked, tolerance=tolerance, monotone=bool(rising), measured=values, polytopes=cache)


def _collected(
    query: Query,
    found: list[list[Solved]],
    index: pd.Index | None,
    place: np.ndarray,
    laws: list[Law],
    rising: list[tuple[str, str]],
) -> Bounds:
    low, high = (np.array([[getattr(s, end) for s in lane] for lane in found]) for end in ("low", "high"))
    every = [s for lane in found for s in lane]
    notes = list(laws[0].notes)
    distance = max((s.distance for s in every), default=0.0)
    if distance > 1e-9:
        notes.append(f"the law of the graph nearest to the table is used, {distance:.2g} away")
    notes += [f"no unit's {child} falls when {parent} rises (assumed)" for parent, child in rising]
    ends: Any = [side[:, place] if index is not None else side[:, 0] for side in (low, high)]
    means = [side.mean(0) if index is not None else float(side.mean()) for side in ends]
    attained = None
    if not all(s.sharp for s in every):
        inner = [
            np.array([[(s.attained or (s.low, s.high))[at] for s in lane] for lane in found]).mean(0) for at in (0, 1)
        ]
        attained = (inner[0][place], inner[1][place]) if index is not None else (float(inner[0][0]), float(inner[1][0]))
    return Bounds(
        means[0],
        means[1],
        all(s.sharp for s in every),
        every[0].how if every else "no units",
        query.label,
        every[0].certificate if len(every) == 1 else pd.DataFrame(),
        attained,
        index,
        tuple(notes),
        np.stack(ends, 1) if len(found) > 1 else None,
    )
