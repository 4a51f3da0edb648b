"""Rows with holes, completed by one draw from the model.

If the model is right, what was observed together with one draw of the rest given it, under one draw of the parameters
given the data, is a data set like any other of the model's. So every test keeps its level; filled cells never speak
against the model, and the more there are, the less a test sees.

References
----------
Gelman, Van Mechelen, Verbeke, Heitjan & Meulders (2005), "Multiple imputation for model checking: completed-data plots
with missing and latent data", *Biometrics* 61.

>>> from pcm.query.criticism.completed import narrowed
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pcm.errors import QueryError, listed
from pcm.infer.latent.between import Between
from pcm.query.evaluate import Evaluation
from pcm.query.evidence import Units
from pcm.query.model import Model
from pcm.query.named_worlds import FACTUAL

__all__ = ["completed", "narrowed"]

#: Draws of a row's missing cells of which one is taken: importance weights want some to choose from.
_DRAWS = 32


def narrowed(model: Model, units: Units, places: np.ndarray) -> Units:
    """Some of the units, by position."""
    rows, sites = torch.from_numpy(places), model.structure.sites

    def part(values: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.index_select(len(sites[name].inner), rows) for name, value in values.items()}

    return replace(
        units,
        values=part(units.values),
        index=units.index.take(places),
        missing={name: mask[rows] for name, mask in units.missing.items() if bool(mask[rows].any())},
        bounds=Between(sites, units.bounds).narrowed(rows).bounds,
        solved={name: mask[rows] for name, mask in units.solved.items()},
        holes=part(units.holes),
    )


def completed(model: Model, units: Units, seed: int) -> tuple[dict[str, Tensor], pd.Index, list[str]]:
    """Values of all units with nothing missing, and what was filled, in words."""
    if not units.missing:
        return dict(units.values), units.index, []
    stochastic = [name for name in model.structure.stochastic if name in units.values or name in units.missing]
    if all(name in units.missing and bool(units.missing[name].all()) for name in stochastic) and not units.solved:
        raise QueryError(
            f"criticise was given no recorded cell of {listed(stochastic)}: a model that fills everything itself is "
            "never contradicted. Give what was observed."
        )
    run = Evaluation(
        model,
        units.values,
        units.index,
        {},
        model.parameters(_DRAWS, seed, prior=False),
        draws=_DRAWS,
        seed=seed,
        missing=units.missing,
        bounds=units.bounds,
        solved=units.solved,
        holes=units.holes,
    )
    # computed columns with holes are left to the program
    values = {
        name: value
        for name, value in units.values.items()
        if name not in units.solved or bool(units.solved[name].all())
    }
    said = []
    for name, mask in units.missing.items():
        values[name] = run.drawn(FACTUAL, name)[0].to(values[name].dtype)
        empty = int(mask.sum())
        said.append(f"{name} ({'all' if empty == len(mask) else format(empty, ',')})")
    note = (
        f"cells not recorded, of {len(units.index):,} rows: {', '.join(said)}; filled by one draw from the model given "
        "the rest of the row, so they never speak against it"
    )
    return values, units.index, [note]
