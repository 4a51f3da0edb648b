"""From what the outcome's mechanism reads to the columns of a regression.

Numbers and 0/1 variables are columns as they are, vectors a column an element; a category without an order is a column
for each label but the first.

>>> import numpy as np, pyro, pyro.distributions as dist, pcm, torch
>>> def program():
...     plan = pyro.sample("plan", dist.Categorical(torch.ones(3) / 3))
...     labs = pyro.sample("labs", dist.Normal(1.0 * plan, 1.0))
...     pyro.sample("y", dist.Normal(labs, 1.0))
>>> sites = pcm.SCM(program)._model.structure.sites
>>> columns({"plan": np.array([[0, 2]]), "labs": np.array([[0.5, 1.5]])}, sites).tolist()
[[[0.0, 0.0, 0.5], [0.0, 1.0, 1.5]]]
>>> column_names(["plan", "labs"], sites, {"plan": ("none", "basic", "full")})
['plan = basic', 'plan = full', 'labs']
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import pandas as pd

from pcm.errors import DataError, listed
from pcm.io.frames import read_evidence
from pcm.program import Site
from pcm.query.evidence import columns_of
from pcm.query.model import Model

__all__ = ["column_names", "columns", "outcome_of_rows", "rows_of", "variable_of"]


def columns(values: Mapping[str, np.ndarray], sites: Mapping[str, Site]) -> np.ndarray:
    """Values ``(…, row, *event)`` by variable, as one array ``(…, row, column)``.

    Inner plates, left of the row, become columns too.
    """
    parts = [_columns(np.asarray(value), sites[name]) for name, value in values.items()]
    return np.concatenate(parts, -1)


def rows_of(model: Model, data: pd.DataFrame, names: Collection[str]) -> np.ndarray:
    """The columns of these variables in a frame, ``(row, column)``.

    Raises
    ------
    DataError
        A variable is not there, or has empty cells.
    """
    sites = model.structure.sites
    if not isinstance(data, pd.DataFrame):
        raise DataError(f"rows are a DataFrame, a column a variable; found {type(data).__name__}.")
    there = data[[column for column in data if variable_of(column, sites) in names]]
    found = read_evidence(there, columns_of(model, names)) if names else None
    if found is None:
        return np.zeros((len(data), 0))
    for what, lacking in (("lack", found.missing), ("have empty cells in", found.holes)):
        if lacking:
            raise DataError(f"the data {what} {listed(map(repr, lacking))}, and whole columns are needed here.")
    values = {name: found.values[name].double() for name in names}
    return columns({name: value.movedim(0, len(sites[name].inner)).numpy() for name, value in values.items()}, sites)


def outcome_of_rows(model: Model, frame: pd.DataFrame, name: str) -> np.ndarray:
    """An outcome's column as numbers, or codes, ``(row,)``.

    Raises
    ------
    DataError
        Rows that lack it, or a label that it does not have.
    """
    column: Any = frame[name]
    labels = model.categories.get(name)
    if column.isna().any():
        rows = frame.index[column.isna()]
        raise DataError(
            f"the outcome '{name}' is missing in {len(rows)} of {len(frame)} rows (first: {listed(rows, 5)}); a "
            "predictor learns from rows that have it: drop the others."
        )
    if labels is None:
        return read_evidence(frame[[name]], columns_of(model, [name])).values[name].double().numpy()
    odd = [value for value in column.unique() if value not in labels]
    if odd:
        raise DataError(f"'{name}' takes the labels {listed(labels)}; found {odd[0]!r}.")
    return column.map(list(labels).index).to_numpy(dtype=np.float64)


def variable_of(column: Any, sites: Collection[str]) -> Any:
    """The variable that a frame's column is of: ``labs[0]`` is an element of ``labs``.

    >>> variable_of("labs[0]", ["labs"]), variable_of("other[0]", ["labs"])
    ('labs', 'other[0]')
    """
    if column in sites or not isinstance(column, str):
        return column
    stem = column.partition("[")[0]
    return stem if stem in sites and column.endswith("]") else column


def _columns(value: np.ndarray, site: Site) -> np.ndarray:
    inner, event = len(site.inner), len(site.event)
    if _unordered(site):
        return (value[..., None] == np.arange(1, site.cardinality)).astype(np.float64)
    rows = value.ndim - 1 - event
    value = np.moveaxis(value, rows, rows - inner)  # (…, row, *inner, *event)
    return value.reshape(*value.shape[: rows - inner + 1], -1).astype(np.float64)


def column_names(names: Iterable[str], sites: Mapping[str, Site], categories: Mapping[str, Sequence[Any]]) -> list[str]:
    """What each column is."""
    made: list[str] = []
    for name in names:
        site = sites[name]
        width = prod((*site.inner, *site.event))
        if _unordered(site):
            labels = categories.get(name) or range(site.cardinality or 0)
            made += [f"{name} = {label}" for label in list(labels)[1:]]
        else:
            made += [name] if width == 1 and not site.event else [f"{name}[{place}]" for place in range(width)]
    return made


def _unordered(site: Site) -> bool:
    return site.scalar and not site.ordered and (site.cardinality or 0) > 2
