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

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from pcm.program import Site

__all__ = ["column_names", "columns"]


def columns(values: Mapping[str, np.ndarray], sites: Mapping[str, Site]) -> np.ndarray:
    """Values ``(…, row, *event)`` by variable, as one array ``(…, row, column)``.

    Inner plates, left of the row, become columns too.
    """
    parts = [_columns(np.asarray(value), sites[name]) for name, value in values.items()]
    return np.concatenate(parts, -1)


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
