"""Fresh units from a model, under its interventions.

>>> import pyro, pyro.distributions as dist, pcm
>>> def coin():
...     pyro.sample("x", dist.Bernoulli(0.25))
>>> len(pcm.SCM(coin).sample(5, seed=0))
5
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from torch import Tensor

from pcm.arguments import check_count
from pcm.errors import ArgumentError, QueryError, listed
from pcm.io import read_evidence, row_ids
from pcm.query.evidence import check_finite, columns_of, frame_of
from pcm.query.model import Model
from pcm.worlds import WorldPlan, align, choose_seed, forward, world_noise

__all__ = ["covariates_of", "sample"]


def sample(
    model: Model, units: int | None, data: Any, seed: int | None, noise: Mapping[str, Tensor] | None = None
) -> pd.DataFrame:
    """Rows of fresh units under one draw of the parameters; see :meth:`pcm.SCM.sample`.

    ``noise``: uniforms ``(*inner, unit, *noise)`` by site, in place of those that the seed gives.
    """
    covariates, index = covariates_of(model, data, units)
    seed = choose_seed(seed)
    plan = WorldPlan(model.structure, align(model.interventions, index))
    parameters = {name: value[0] for name, value in model.parameters(1, seed, prior=True).items()}
    with model.program.sealed():
        if noise is None:
            noise = {name: value[0] for name, value in world_noise(plan, seed, row_ids(index), range(1)).items()}
        noise = {name: value.to(model.program.dtype) for name, value in noise.items()}
        made = forward(model.program, plan, parameters, noise, len(index), covariates)
    values = {**covariates, **made.values}
    for name, value in values.items():
        check_finite(value, name, index, "sample", model.structure.sites[name])
    return frame_of(model, values, index)


def covariates_of(model: Model, data: Any, units: int | None) -> tuple[dict[str, Tensor], pd.Index]:
    """Covariates from data, and the names of the units."""
    names = model.structure.covariates
    if units is not None:
        units = check_count(units, "units")
    if data is None:
        if names:
            raise QueryError(
                f"{listed(names)} {'is a covariate' if len(names) == 1 else 'are covariates'}, which the program "
                "does not model and so cannot sample: pass data= with "
                f"{'its column' if len(names) == 1 else 'their columns'}."
            )
        if units is None:
            raise ArgumentError("how many units? Pass n, or data= with the covariates.")
        return {}, pd.RangeIndex(units)
    found = read_evidence(data, columns_of(model, names), what="data")
    if found.missing:
        raise QueryError(f"data= lacks the covariates {listed(found.missing)}.")
    if found.holes:
        raise QueryError(
            f"covariate '{next(iter(found.holes))}' has empty cells; a covariate has no distribution to fill them."
        )
    if units is not None and units != len(found.index):
        raise ArgumentError(f"n={units} units asked for, but data= has {len(found.index)} rows; drop one of them.")
    return found.values, found.index
