"""Rows with private noise in them, as a frame: what a predictor learns from and predicts for.

A frame keeps no typed column, so rows with releases come as a dict, ``{**frame, "lab": release}``. They are looked at
once, as any evidence is; from then on the noisy answers are plain columns of a model that knows their mechanism, and
the true values behind them are integrated out.

>>> import pyro, pyro.distributions as dist, pcm
>>> from pcm import private
>>> noise = private.Laplace(scale=1.0, bounds=(-8, 8), clip=True)
>>> def program():
...     lab = pyro.sample("lab", dist.Normal(0.0, 1.0))
...     private.observe("noisy", lab, noise)
...     pyro.sample("stay", dist.Normal(lab, 1.0))
>>> scm = pcm.SCM(program)
>>> rows = released_rows(scm._model, {"noisy": private.Release([0.5, -0.2], noise), "stay": [1.0, 0.0]})
>>> rows.columns.tolist(), told_by_noise(scm._model, rows)
(['noisy', 'stay'], {'lab'})
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from pcm.errors import DataError, EvidenceError
from pcm.io.sources import open_source
from pcm.predict.design import variable_of
from pcm.private.programs import admit
from pcm.private.release import public
from pcm.query.evidence import columns_of
from pcm.query.model import Model
from pcm.query.reports import read_reports

__all__ = ["as_released", "released_rows", "told_by_noise"]


def released_rows(model: Model, data: Any) -> pd.DataFrame:
    """A frame of the program's own numbers and labels.

    Raises
    ------
    DataError
        Neither a frame nor a dict of columns.
    EvidenceError
        A plain column or simulated noise where the program has private noise, a release of another mechanism, or of a
        variable without a noisy child in the program.
    """
    if isinstance(data, pd.DataFrame):
        read_reports(model, data, "rows")
        return data
    if not isinstance(data, Mapping):
        raise DataError(
            "with a causal model X is a DataFrame, a column a variable (or a dict of columns, where some are "
            f"releases); found {type(data).__name__}."
        )
    extended, columns = admit(model, data)
    if extended is not model:
        name = next(name for name in data if name not in columns)
        raise EvidenceError(
            f"'{name}' was released, and the model has no noisy child of it: fit the model to the release, or build it "
            f"from pcm.private.released(program, {{'{name}': mechanism}}).",
            column=name,
        )
    columns = read_reports(model, columns, "rows")
    index = open_source(columns, columns_of(model), "rows").index
    bare = {name: value.array if isinstance(value, pd.Series) else value for name, value in columns.items()}
    return pd.DataFrame(bare, index=index)


def as_released(model: Model, rows: pd.DataFrame, told: Collection[Any]) -> Any:
    """Rows that a model drew, the noisy answers among them public, without the variables ``told`` by these alone."""
    sites = model.structure.sites
    kept = rows.drop(columns=[name for name in rows if variable_of(name, sites) in told])
    noisy = [name for name in kept if name in sites and sites[name].mechanism is not None]
    labels = model.categories
    codes = {name: kept[name].map(list(labels[name]).index) if name in labels else kept[name] for name in noisy}
    return {**kept, **{name: public(values) for name, values in codes.items()}} if noisy else kept


def told_by_noise(model: Model, rows: pd.DataFrame) -> set[Any]:
    """Variables of which the rows have a noisy answer, and no value."""
    sites, graph = model.structure.sites, model.structure.graph
    there = {variable_of(name, sites) for name in rows}
    noisy = [name for name in there if name in sites and sites[name].mechanism is not None]
    return {parent for name in noisy for parent in graph.pred[name]} - there
