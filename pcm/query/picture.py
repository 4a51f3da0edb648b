"""The picture of one variable of a counterfactual: unit by unit where they are few, as distributions where many.

>>> from pcm.query.picture import picture
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pcm.arguments import check_probability
from pcm.errors import QueryError, UnknownNameError, listed
from pcm.figures import interval_rows, unit_contrast, worlds

if TYPE_CHECKING:
    from pcm.figures.chart import Chart
    from pcm.query.counterfactual import Counterfactual

__all__ = ["picture"]

FEW = 20


def picture(result: Counterfactual, name: str, units: Sequence[Any] | None, prob: float) -> Chart:
    """See :meth:`pcm.Counterfactual.plot`."""
    check_probability(prob)
    if name not in result.variables:
        raise UnknownNameError(name, known=list(result.variables))
    numeric = result.is_numeric(name)
    rows = _rows(result, units)
    others = result.worlds[1:]
    if numeric and result.mean(name, "factual").ndim > 1:
        raise QueryError(f"'{name}' has several values a unit; plot takes scalar variables.")
    if numeric and len(others) == 1 and (units is not None or len(result) <= FEW):
        world = others[0]
        factual, mean = result.mean(name, "factual")[rows], result.mean(name, world)[rows]
        bounds = result.interval(name, prob, world)[rows]
        if result.is_binary(name):
            bounds = np.stack([mean, mean], -1)
        xlabel = f"P({name} = 1)" if result.is_binary(name) else name
        labels = [result.index[int(row)] for row in rows]
        return unit_contrast(labels, factual, mean, bounds[:, 0], bounds[:, 1], xlabel, world=world)
    if numeric and (units is not None or len(result) <= FEW):
        table = [(f"{result.index[int(row)]} · {world}", world, row) for row in rows for world in result.worlds]
        means = {world: result.mean(name, world) for world in result.worlds}
        bounds = {world: result.interval(name, prob, world) for world in result.worlds}
        return interval_rows(
            [label for label, _, _ in table],
            [means[world][row] for _, world, row in table],
            [bounds[world][row, 0] for _, world, row in table],
            [bounds[world][row, 1] for _, world, row in table],
            xlabel=name,
        )
    values = {world: result.draws(name, world)[:, rows].ravel() for world in result.worlds}
    return worlds(values, xlabel=name, categories=result.labels(name), prob=prob)


def _rows(result: Counterfactual, units: Sequence[Any] | None) -> np.ndarray:
    if units is None:
        return np.arange(len(result))
    units = [units] if isinstance(units, str) or not hasattr(units, "__iter__") else list(units)
    missing = [unit for unit in units if not isinstance(unit, Hashable) or unit not in result.index]
    if missing:
        raise UnknownNameError(missing[0], kind="unit", known=list(result.index[:12]), where="the result")
    if not units:
        raise QueryError(f"units=[] names nobody; the units are {listed(result.index)}.")
    return np.concatenate([np.flatnonzero(result.index == unit) for unit in units])
