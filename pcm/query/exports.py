"""A counterfactual as a table, a row a unit and world, and as a tree of named dims.

>>> from pcm.query.exports import to_dataframe
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from pcm.arguments import check_probability
from pcm.io.arviz import data_tree
from pcm.query.named_worlds import FACTUAL

if TYPE_CHECKING:
    from pcm.query.counterfactual import Counterfactual

__all__ = ["to_dataframe", "tree", "unit_labels"]


def to_dataframe(result: Counterfactual, prob: float) -> pd.DataFrame:
    """See :meth:`pcm.Counterfactual.to_dataframe`."""
    check_probability(prob)
    run = result._run
    uncertain = {name for name in result.variables for world in run.plans if result._uncertain(world, name)}
    parts = []
    for world in result.worlds:
        columns: dict[str, Any] = {"world": np.full(len(result), world, dtype=object)}
        for name in result.variables:
            columns.update(_columns(result, name, world, prob, name in uncertain))
        parts.append(pd.DataFrame(columns, index=result.index))
    made = pd.concat(parts)
    clash = {name: f"{name} (index)" for name in made.index.names if name is not None and name in made}
    return made.rename_axis(index=clash) if clash else made


def tree(result: Counterfactual) -> xr.DataTree:
    """Group ``posterior`` with dims (chain, draw, world, unit), ``observed_data`` with (unit)."""
    arrays: dict[str, Any] = {}
    for name in result.variables:
        draws = np.stack([result.draws(name, world) for world in result.worlds], 1)
        extra = tuple(f"{name}_dim_{axis}" for axis in range(draws.ndim - 3))
        arrays[name] = (("chain", "draw", "world", "unit", *extra), draws[None])
    for name, value in result._run.parameters.items():
        if len(value) > 1:
            extra = tuple(f"{name}_dim_{axis}" for axis in range(value.dim() - 1))
            arrays[name] = (("chain", "draw", *extra), value.numpy()[None])
    seen = {}
    for name in (each for each in result.variables if each in result._observed):
        array = result.draws(name, FACTUAL)[0]
        seen[name] = (("unit", *(f"{name}_dim_{axis}" for axis in range(array.ndim - 1))), array)
    coords = {"world": list(result.worlds), "unit": unit_labels(result.index)}
    return data_tree({"posterior": arrays, "observed_data": seen}, coords=coords)


def unit_labels(index: pd.Index) -> Any:
    """Names of units as a coordinate; those of several levels as text."""
    return [str(label) for label in index] if isinstance(index, pd.MultiIndex) else index.to_numpy()


# -- private ---------------------------------------------------------------------------------------------------------


def _columns(result: Counterfactual, name: str, world: str, prob: float, uncertain: bool) -> dict[str, Any]:
    run = result._run
    site, labels = run.structure.sites[name], result.labels(name)
    if not result.is_numeric(name) or (labels is not None and site.scalar and not site.inner):
        chances = result._chances(name, world)
        labels = range(run.category_count(name)) if labels is None else labels
        return {f"{name}={label}": chances[:, code] for code, label in enumerate(labels)}
    made = _flat(name, result.mean(name, world))
    if uncertain and site.cardinality != 2:
        for end, bound in zip(("low", "high"), np.moveaxis(result.interval(name, prob, world), -1, 0), strict=True):
            made.update({f"{column}_{end}": values for column, values in _flat(name, bound).items()})
    return made


def _flat(name: str, array: np.ndarray) -> dict[str, np.ndarray]:
    """A column a place of the values ``[unit, …]``."""
    if array.ndim == 1:
        return {name: array}
    return {f"{name}[{','.join(map(str, at))}]": array[(slice(None), *at)] for at in np.ndindex(array.shape[1:])}
