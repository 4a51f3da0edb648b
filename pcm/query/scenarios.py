"""Many worlds of the same units: arrays and tables over all of them, one world at a time, in bounded memory.

Each world's answer is made by the same operations as if it were asked alone, so its values are the same to the bit;
worlds share the abduction. Where a ``memory_limit`` is too small for a world's draws, or for a run's own arithmetic,
units go in blocks and draws in smaller chunks: the noise of a unit does not depend on which others are there, and
values agree to rounding.

>>> from pcm.query.scenarios import means
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

from pcm.arguments import check_probability
from pcm.errors import QueryError
from pcm.query.exports import unit_labels
from pcm.query.memory import check_fits
from pcm.worlds import GRAIN, lane_count

if TYPE_CHECKING:
    from pcm.query.counterfactual import Counterfactual
    from pcm.query.evaluate import Evaluation

__all__ = ["in_parts", "means", "table"]

#: Arrays of all draws that an answer holds at once: the draws, a sorted copy, what is made on the way.
COPIES = 4


def means(result: Counterfactual, name: str) -> xr.DataArray:
    """See :meth:`pcm.Counterfactual.means`."""
    run = result._run
    worlds, width = result.worlds, math.prod((*run.site(name).inner, *run.site(name).event)) if name in run.asked else 1
    check_fits(
        len(worlds) * len(result) * width,
        run.limit,
        f"{len(worlds):,} worlds × {len(result):,} units" + (f" × {width} values" if width > 1 else ""),
        "Ask table(), or mean() world by world.",
    )
    found, start = np.empty(0), 0
    for part in _parts(result, name):
        asked = part._run.in_turn(worlds, lambda world, part=part: part.mean(name, world))
        for place, (_, made) in enumerate(asked):
            if start == place == 0:
                found = np.empty((len(worlds), len(result), *made.shape[1:]))
            found[place, start : start + len(part)] = made
        start += len(part)
    extra = [f"{name}_dim_{axis}" for axis in range(found.ndim - 2)]
    coords = {"world": list(worlds), "unit": unit_labels(result.index)}
    return xr.DataArray(found, dims=("world", "unit", *extra), coords=coords, name=name)


def table(result: Counterfactual, name: str, prob: float) -> pd.DataFrame:
    """See :meth:`pcm.Counterfactual.table`."""
    check_probability(prob)
    run, site = result._run, result._run.structure.sites.get(name)
    if site is not None and not site.scalar and not site.one_hot:
        raise QueryError(f"'{name}' has several values a unit; a table takes one. Ask means().")
    if site is not None and not result.is_numeric(name):
        count = run.category_count(name)
        labels = result.labels(name) or range(count)
        rows = dict(run.in_turn(result.worlds, lambda world: result._chances(name, world).mean(0).tolist()))
        return pd.DataFrame.from_dict(rows, orient="index", columns=list(labels)).rename_axis("world")
    levels = [(1 - prob) / 2, 1 - (1 - prob) / 2]
    found = _averages(result, name)
    base, certain = next(iter(found.values())), all(len(lanes) == 1 for lanes in found.values())
    made: dict[str, dict[str, float]] = {}
    for world, lanes in found.items():
        made[world] = {}
        for column, end, values in (("mean", "", lanes), ("difference", "difference_", lanes - base)):
            made[world][column] = float(values.mean())
            if not certain:
                low, high = np.quantile(values, levels)
                made[world] |= {f"{end}low": float(low), f"{end}high": float(high)}
    return pd.DataFrame.from_dict(made, orient="index").rename_axis("world")


def _averages(result: Counterfactual, name: str) -> dict[str, np.ndarray]:
    """Each world's averages over the units, one a state of knowledge; one where they are all the same."""
    for world in result.worlds:
        result._named(name, world)
    total: dict[str, Any] = dict.fromkeys(result.worlds, 0.0)
    kinds = None if result._run.latent is None else result._run.apart
    parts = _parts(result, name) if kinds is None else [type(result)(part, result._observed) for _, part in kinds]
    for part in parts:
        run = part._run

        def sums(world: str, run: Evaluation = run) -> np.ndarray:
            analytic, fitted = run.moments(world, name), lane_count(run.parameters) > 1
            if analytic is not None and analytic.whole and not fitted:
                lanes = analytic.mean[None]
            else:
                lanes = run.mean(world, name)
                if analytic is not None:  # its spread over the lanes, about the mean that is known
                    middle = lanes.mean(0)
                    lanes = lanes + (analytic.over(analytic.mean, middle, len(run.site(name).event)) - middle)
            return lanes.to(torch.float64).flatten(1).sum(1).numpy()

        for world, lanes in run.in_turn(result.worlds, sums):
            total[world] = total[world] + lanes
    return {world: lanes / len(result) for world, lanes in total.items()}


def _parts(result: Counterfactual, name: str) -> Iterable[Counterfactual]:
    """The result for the units block by block with all its worlds, or as a whole where that fits the limit."""
    run = result._run
    if name not in run.structure.sites:
        return [result]
    size = min(_size(run, name, world) for world in result.worlds)
    return [result] if size >= run.units else _blocks(result, run, list(run.plans), size)


def in_parts(
    result: Counterfactual, name: str, world: str, ask: Callable[[Counterfactual], np.ndarray]
) -> np.ndarray | None:
    """What ``ask`` gives of the units of each kind, or block by block, numpy ``[unit, …]``; None where they are of one
    kind and fit the limit as a whole."""
    run = result._run
    if run.latent is not None:
        if run.settled(world, name) or run.apart is None:
            return None
        made = [(place, ask(type(result)(part, result._observed))) for place, part in run.apart]
        found = np.empty((run.units, *made[0][1].shape[1:]), dtype=made[0][1].dtype)
        for place, values in made:
            found[place] = values
        return found
    size = _size(run, name, world)
    if size >= run.units:
        return None
    return np.concatenate([ask(part) for part in _blocks(result, run, [world] if world in run.plans else [], size)])


def _size(run: Evaluation, name: str, world: str) -> int:
    """Units in a block."""
    if run.limit is None or run.latent is not None:  # what is missing is inferred once, for all units together
        return run.units
    draws = run.draws if run.random(world, name) or run.lanes > 1 else 1
    site = run.site(name)
    each = max(8 * COPIES * draws * math.prod((*site.inner, *site.event)), run.breadth)
    if draws == 1 or each * run.units <= run.limit:
        return run.units
    return min(run.units, max(GRAIN, run.limit // each // GRAIN * GRAIN))


def _blocks(result: Counterfactual, run: Evaluation, worlds: list[str], size: int) -> Iterator[Counterfactual]:
    for start in range(0, run.units, size):
        yield type(result)(run.among(slice(start, min(start + size, run.units)), worlds), result._observed)
