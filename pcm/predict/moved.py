"""Units moved to other levels of a source, everything else following with the units' own noise.

>>> import numpy as np, pyro, pyro.distributions as dist, pcm
>>> def program():
...     a = pyro.sample("A", dist.Normal(0.0, 1.0))
...     pyro.sample("Z", dist.Normal(2.0 * a, 1.0))
>>> model = pcm.SCM(program)._model
>>> rows = pcm.SCM(program).sample(3, seed=0)
>>> there = moved(model, rows, {"up": {"A": torch.tensor(rows["A"].to_numpy() + 1.0)}}, seed=0)["up"]
>>> (there["Z"] - rows["Z"]).round(9).tolist()
[2.0, 2.0, 2.0]
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pcm.arguments import check_count
from pcm.errors import ArgumentError, QueryError
from pcm.query.counterfactual import Counterfactual, counterfactual
from pcm.query.evidence import frame_of
from pcm.query.model import Model
from pcm.query.named_worlds import FACTUAL
from pcm.query.sampling import sample
from pcm.requirement.references import marginals

__all__ = ["dealt", "frame_in", "fresh_units", "in_worlds", "level_pairs", "levels_of", "moved"]

#: Units, what is drawn of their noise, and the copies of a target each have random numbers of their own: a discrete
#: value drawn and pulled back with the same ones would never change.
_FRESH, _PULLED_BACK = 0xF2E5, 0xABD
#: Between the seeds of parameter draws.
_APART = 1_000_003


def dealt(model: Model, rows: int, draws: int, seed: int) -> list[tuple[Model, np.ndarray, int]]:
    """Models that know their parameters, one for each posterior draw, and the places of the rows dealt to it.

    Each comes with a seed of its own. A model whose parameters are known has all rows.

    Raises
    ------
    ArgumentError
        A number of draws that is none.
    QueryError
        Parameters are neither fitted nor given.
    """
    check_count(draws, "draws")
    if not model.free:
        return [(model, np.arange(rows), seed)]
    found = model.parameters(max(min(draws, rows), 1), seed, prior=False)
    count = len(next(iter(found.values())))
    place = np.random.default_rng(seed).permutation(np.arange(rows) % count)
    return [
        (model.fix({name: value[k] for name, value in found.items()}), np.flatnonzero(place == k), seed + _APART * k)
        for k in range(count)
    ]


def fresh_units(model: Model, units: int, data: pd.DataFrame | None, seed: int) -> pd.DataFrame:
    """Fresh units; of a program with covariates as many as ``data`` has rows, at their covariates."""
    covariates = list(model.structure.covariates)
    if not covariates:
        return sample(model, units, None, seed ^ _FRESH)
    if data is None:
        raise ArgumentError(f"the program has covariates ({', '.join(covariates)}): pass data= with their columns.")
    return sample(model, None, data[covariates].reset_index(drop=True), seed ^ _FRESH)


def moved(
    model: Model, rows: pd.DataFrame, worlds: Mapping[str, Mapping[str, Any]], *, seed: int
) -> dict[str, pd.DataFrame]:
    """Rows as they would be in each world, a frame like theirs; one draw of what was not observed.

    Parameters
    ----------
    worlds : dict of name to dict of variable to value
        What :meth:`pcm.SCM.do` takes; tensors ``(row,)`` are codes or numbers a row. The factual world comes along.
    """
    cf = in_worlds(model, rows, worlds, draws=1, seed=seed)
    return {world: frame_in(model, cf, world) for world in (FACTUAL, *worlds)}


def in_worlds(
    model: Model, rows: pd.DataFrame, worlds: Mapping[str, Mapping[str, Any]], *, draws: int, seed: int
) -> Counterfactual:
    """Rows in several worlds, with random numbers apart from those of :func:`fresh_units`."""
    return counterfactual(model, rows, worlds=worlds, draws=draws, seed=seed ^ _PULLED_BACK)


def frame_in(model: Model, cf: Any, world: str, draw: int = 0) -> pd.DataFrame:
    """The units of one world of a counterfactual as a frame like the observed one."""
    values = {name: cf._run.drawn(world, name)[draw] for name in model.structure.sites}
    return frame_of(model, values, cf.index)


def levels_of(model: Model, source: str, count: int, *, rows: pd.DataFrame | None, seed: int) -> Tensor:
    """``count`` independent draws from a source's own marginal, by its evenly spaced quantiles in random order.

    Raises
    ------
    QueryError
        The source is a vector.
    """
    site = model.structure.sites[source]
    if not site.scalar or site.inner:
        raise QueryError(f"'{source}' has several values a unit; levels of a source are those of one number or label.")
    parameters = {name: value[None] for name, value in model.given.items()}
    values = marginals(model, parameters, [source], 1, seed, rows)[source][0].sort().values
    middle = ((torch.arange(count) + 0.5) / count * len(values)).long()
    order = np.random.default_rng([seed, *source.encode()]).permutation(count)
    return values[middle][torch.from_numpy(order)]


def level_pairs(model: Model, source: str, count: int, *, rows: pd.DataFrame | None, seed: int) -> tuple[Tensor, ...]:
    """A lower and a higher level for each of ``count`` units, and which contrast theirs is, ``(unit,)`` each.

    Of a finite source every pair of categories is a contrast and comes equally often; of a number both levels are
    draws from its marginal, and there is one contrast.
    """
    site = model.structure.sites[source]
    if site.scalar and not site.inner and site.cardinality is not None:
        pairs = torch.tensor(list(combinations(range(site.cardinality), 2)))
        place = torch.from_numpy(np.random.default_rng(seed).permutation(np.arange(count) % len(pairs)))
        low, high = pairs[place].to(site.dtype).T
        return low, high, place
    both = torch.stack([levels_of(model, source, count, rows=rows, seed=seed + k) for k in (1, 2)])
    low, high = both.sort(0).values
    return low, high, torch.zeros(count, dtype=torch.long)
