"""The first pass of a query: evidence checked, noise pulled back, every world replayed under one parameter draw.

Units are independent, so many of them are run in blocks that stay in the cache; what a block leaves behind are the
values of the sites that changed and the chances of 0/1 outcomes.

>>> from pcm.query.points import BLOCK
>>> BLOCK
65536
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import Tensor

from pcm.couplings import unwrap
from pcm.query.evidence import check_evidence, check_finite
from pcm.query.model import Model
from pcm.worlds import SMALL, Factual, Replayed, Stochastic, WorldPlan, replay, settle_allocator

__all__ = ["BLOCK", "Points", "points"]

#: Units in a block; up to twice as many are run at once.
BLOCK = 65_536


@dataclass
class Points:
    """What the first pass found.

    Attributes
    ----------
    factual : dict of name to tensor ``(*inner, unit, *event)``
        Evidence, and what the program computes from it.
    worlds : dict of (world, name) to tensor
        Values of the sites that changed in a world.
    chances : dict of (world, name) to tensor ``(unit,)``
        ``P(1)`` of 0/1 sites whose parents are determined.
    past, now : Factual or None, and dict of world to Replayed
        The runs themselves, where all units were one block and something is left open; of a lean first pass the
        factual one alone.
    """

    factual: dict[str, Tensor] = field(default_factory=dict)
    worlds: dict[tuple[str, str], Tensor] = field(default_factory=dict)
    chances: dict[tuple[str, str], Tensor] = field(default_factory=dict)
    past: Factual | None = None
    now: dict[str, Replayed] = field(default_factory=dict)


def points(
    model: Model,
    plans: dict[str, WorldPlan],
    values: Mapping[str, Tensor],
    index: pd.Index,
    parameters: Mapping[str, Tensor],
    needed: frozenset[str],
    *,
    keep: frozenset[str],
    lean: bool = False,
) -> Points:
    """Check the evidence and replay every world under these parameters, one after the other.

    Parameters
    ----------
    keep : set of names
        Variables whose values (or chances) are kept.
    lean : bool
        Whether to forget the worlds' runs: many worlds then take no more than the values kept.
    """
    base, units = WorldPlan(model.structure, model.interventions), len(index)
    found = Points(factual=dict(values))
    closed = all(_is_last(model, plan, name) for plan in plans.values() for name in plan.sources)
    final = next(reversed(plans)) if plans else None
    for start, stop in _blocks(units):
        whole = stop - start == units
        part = dict(values) if whole else {n: _narrow(model, n, v, start, stop) for n, v in values.items()}
        rows = index if whole else index[start:stop]
        here = base if whole else base.narrow(slice(start, stop))
        past = check_evidence(model, part, rows, parameters, here, needed, possible=True)
        for name, value in past.values.items():
            if name not in values:
                _keep(found.factual, name, value, model, name, start, stop, units)
        now: dict[str, Replayed] = {}
        for world, plan in plans.items():
            spend = world == final and (closed or not whole)
            made = replay(
                model.program, plan if whole else plan.narrow(slice(start, stop)), past, parameters, spend=spend
            )
            for name, value in made.values.items():
                if not plan.randomness[name]:
                    check_finite(value, name, rows, world, model.structure.sites[name])
                    if name in keep:
                        _keep(found.worlds, (world, name), value, model, name, start, stop, units)
            for name in _binary(model, plan, made):
                if name not in keep:
                    continue
                chance = model.structure.sites[name].coupling.expectation(  # type: ignore[union-attr]
                    unwrap(past.fns[name])[0], past.values[name], unwrap(made.fns[name])[0]
                )
                check_finite(chance, name, rows, world, model.structure.sites[name])
                _keep(found.chances, (world, name), chance, model, name, start, stop, units)
            if not lean:
                now[world] = made
        if whole and not closed:
            found.past, found.now = past, now  # something is still open
    return found


def _blocks(units: int) -> Iterator[tuple[int, int]]:
    if units > SMALL:
        settle_allocator()
    if units <= 2 * BLOCK:
        yield 0, units
        return
    for start in range(0, units, BLOCK):
        yield start, min(start + BLOCK, units)


def _narrow(model: Model, name: str, value: Tensor, start: int, stop: int) -> Tensor:
    return value.narrow(len(model.structure.sites[name].inner), start, stop - start)


def _keep(store: dict, key: object, value: Tensor, model: Model, name: str, start: int, stop: int, units: int) -> None:
    """Put a block's values into the whole."""
    if stop - start == units:
        store[key] = value
        return
    axis = len(model.structure.sites[name].inner)
    if key not in store:
        store[key] = torch.empty((*value.shape[:axis], units, *value.shape[axis + 1 :]), dtype=value.dtype)
    store[key].narrow(axis, start, stop - start).copy_(value)


def _binary(model: Model, plan: WorldPlan, made: Replayed) -> Iterator[str]:
    """Scalar 0/1 sites whose only open noise is their own."""
    return (name for name in made.fns if _is_last(model, plan, name))


def _is_last(model: Model, plan: WorldPlan, name: str) -> bool:
    """Whether one run gives the site's chance in closed form: a scalar 0/1 site open for its own noise alone."""
    site = model.structure.sites[name]
    return (
        site.cardinality == 2
        and site.scalar
        and plan.randomness[name] == (name,)
        and name not in plan.natural
        and not plan.draws_edges(name)
        and not isinstance(plan.sets.get(name), Stochastic)
    )
