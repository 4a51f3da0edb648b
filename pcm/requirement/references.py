"""What inadmissible edges are fed: values that stand for the reference law of each source.

A predictor gets a few *copies of a row*, each with one value for all rows: evenly spaced quantiles of the law
(:func:`references`). A simulated check, which squares errors, gets values row by row (:func:`reference_points`): finite
references are listed with their frequencies, and crossed where that is few; else every row gets draws of its own,
stratified within two independent halves (a Latin hypercube each), so that the product of two halves' errors has no bias
from averaging over few references.

>>> import numpy as np
>>> points, weights = reference_points({"a": np.array([0.0, 0.0, 0.0, 1.0])}, units=2, seed=0)
>>> points["a"].tolist(), weights.tolist()
([[0.0, 0.0], [1.0, 1.0]], [[0.75, 0.25], [0.75, 0.25]])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pcm.couplings import resolve
from pcm.errors import ArgumentError, DataError, PCMError, listed
from pcm.io import row_ids
from pcm.program import Site
from pcm.query.evidence import read_units
from pcm.query.model import Model
from pcm.requirement.requirement import Requirement
from pcm.requirement.target import TargetPlan
from pcm.worlds import Constant, WorldPlan, forward, over_lanes, world_noise

__all__ = ["marginals", "reference_laws", "reference_points", "reference_samples", "references"]

#: Fresh units a state from which a source's marginal is read, and points of a reference that is a distribution.
_MARGINAL = 4_096
#: Draws a unit in each half, and joint values up to which references are listed.
_STRATA, _MOST = 10, 32


def reference_laws(model: Model, requirements: Sequence[Requirement]) -> dict[str, Any]:
    """Of each source: None (its own marginal), a tensor ``(*event)`` (a value, codes for labels), or a distribution.

    Raises
    ------
    ArgumentError
        Two requirements give one source different references; a reference that the source cannot take.
    """
    given: dict[str, Any] = {}
    for requirement in requirements:
        for name in requirement.variables:
            law = requirement.references.get(name)
            if name in given and repr(given[name]) != repr(law):
                first, second = ("independent" if each is None else each for each in (given[name], law))
                raise ArgumentError(f"two requirements give '{name}' different references: {first!r}, {second!r}.")
            given[name] = law
    return {name: _value(model, name, law) for name, law in given.items()}


def references(
    model: Model,
    parameters: Mapping[str, Tensor],
    plan: TargetPlan,
    states: int,
    copies: int,
    seed: int,
    marginal: pd.DataFrame | None = None,
) -> dict[str, Tensor]:
    """Reference values of every source that the target refers to, ``(state * copy, *event)``.

    An independent draw from the source's marginal is represented by as many of its quantiles as there are copies, in
    an order of its own for each source, so that averages over copies are near to those over draws.

    Raises
    ------
    ArgumentError
        Two requirements give one source different references; a reference that does not fit.
    DataError
        A covariate without ``marginal`` rows to take its reference from.
    """
    given = reference_laws(model, plan.requirements)
    rng = np.random.default_rng(seed)
    made: dict[str, Tensor] = {}
    independent = [name for name in plan.referred if given[name] is None]
    drawn = marginals(model, parameters, independent, states, seed, marginal) if independent else {}
    for name in plan.referred:
        site, law = model.structure.sites[name], given[name]
        if law is None:
            values = drawn[name]  # (state, fresh unit, *event)
        else:
            values = _points(law, site, rng)
            values = values.expand(states, *values.shape)
        made[name] = _quantiles(values, copies, rng).flatten(0, 1)
    return made


def reference_samples(
    model: Model, plan: TargetPlan, sampled: Mapping[str, np.ndarray], seed: int
) -> dict[str, np.ndarray]:
    """Values ``(value,)`` of every scalar source that the target refers to: its sampled marginal, or its own law's."""
    given, rng = reference_laws(model, plan.requirements), np.random.default_rng(seed)
    return {
        name: np.asarray(sampled[name], dtype=float)
        if given[name] is None
        else _points(given[name], model.structure.sites[name], rng).to(torch.float64).numpy()
        for name in plan.referred
    }


def reference_points(
    samples: Mapping[str, np.ndarray], *, units: int, seed: int, strata: int = _STRATA, halves: int = 2
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Joint values ``(point, unit)`` by source, and the weights ``(half, point)`` of estimates of one average.

    Two halves, or one where a row has draws that are independent anyway; of so many ``strata`` each.
    """
    alone = {name: np.unique(values, return_counts=True) for name, values in samples.items()}
    total = int(np.prod([float(len(values)) for values, _ in alone.values()])) if alone else 1
    if total <= _MOST:
        places = np.meshgrid(*(np.arange(len(values)) for values, _ in alone.values()), indexing="ij")
        weights, points = np.ones(total), {}
        for (name, (values, counts)), place in zip(alone.items(), places, strict=True):
            points[name] = np.repeat(values[place.ravel(), None], units, 1)
            weights = weights * (counts / counts.sum())[place.ravel()]
        return points, np.tile(weights, (halves, 1))
    rng = np.random.default_rng(seed)
    points = {}
    for name, values in samples.items():
        ordered = np.sort(values)
        place = np.tile(np.arange(strata)[:, None], (halves, units)).reshape(halves, strata, units)
        level = (rng.permuted(place, axis=1) + rng.random(place.shape)) / strata
        points[name] = ordered[(level * len(ordered)).astype(int)].reshape(halves * strata, units)
    weights = np.kron(np.eye(halves), np.full(strata, 1 / strata))
    return points, weights


def marginals(
    model: Model,
    parameters: Mapping[str, Tensor],
    names: list[str],
    states: int,
    seed: int,
    marginal: pd.DataFrame | None = None,
) -> dict[str, Tensor]:
    """Draws of the sources from the model under each state, ``(state, draw, *event)``; covariates from rows."""
    sites, found = model.structure.sites, {}
    covariates: dict[str, Tensor] = {}
    units = _MARGINAL
    if model.structure.covariates:
        lacking = [name for name in model.structure.covariates if marginal is None or name not in marginal]
        if lacking:
            raise DataError(f"the reference of a source needs rows with the covariates {listed(lacking)}.")
        assert marginal is not None
        covariates = {n: v for n, v in read_units(model, marginal).values.items() if n in model.structure.covariates}
        units = len(marginal)
        found = {n: covariates[n].expand(states, *covariates[n].shape) for n in names if n in covariates}
    wanted = [name for name in names if name not in found]
    if not wanted:
        return found
    plan, rows = WorldPlan(model.structure, model.interventions), row_ids(pd.RangeIndex(units))

    def one(lane: dict[str, Any]) -> dict[str, Tensor]:
        made = forward(model.program, plan, lane["parameters"], lane["noise"], units, covariates)
        return {name: made.values[name] for name in wanted}

    def inputs(part: slice) -> dict[str, Any]:
        # seeded apart from the units: a reference is independent of every unit's own noise
        noise = world_noise(plan, seed ^ 0x5EED, rows, range(part.start, part.stop))
        return {"parameters": {name: value[part] for name, value in parameters.items()}, "noise": noise}

    with model.program.sealed():
        out, _ = over_lanes(one, inputs, states, size=units)
    inner = {name: len(sites[name].inner) for name in wanted}
    return {**found, **{name: value.movedim(1 + inner[name], 1) for name, value in out.items()}}


# -- private ---------------------------------------------------------------------------------------------------------


def _value(model: Model, name: str, law: Any) -> Any:
    """A reference as the engine takes it."""
    if law is None or hasattr(law, "log_prob"):
        return law
    site = model.structure.sites[name]
    try:
        action = model.do({name: law}).interventions[name]
        if not isinstance(action, Constant):
            raise ArgumentError("one value is needed")
        return action.value.to(site.dtype).expand(site.event)
    except (PCMError, RuntimeError) as error:
        raise ArgumentError(f"reference={law!r} is no value of '{name}': {error}") from None


def _points(law: Any, site: Site, rng: np.random.Generator) -> Tensor:
    """Values ``(value, *event)`` that stand for a law: the one there is, or evenly spaced quantiles."""
    if isinstance(law, Tensor):
        return law[None]
    coupling, bare = resolve(law)
    middle = (torch.arange(_MARGINAL, dtype=torch.float64) + 0.5) / _MARGINAL
    event = coupling.noise_event(bare)
    uniform = torch.stack([middle[torch.from_numpy(rng.permutation(_MARGINAL))] for _ in range(int(np.prod(event)))])
    noise = coupling.fresh(bare, uniform.T.reshape(_MARGINAL, *event))
    return coupling.push(bare, noise).to(site.dtype).expand(_MARGINAL, *site.event)


def _quantiles(values: Tensor, copies: int, rng: np.random.Generator) -> Tensor:
    """So many evenly spaced order statistics (rows, for vectors) in random order, ``(state, copy, *event)``."""
    states, size = values.shape[:2]
    if values.dim() == 2:
        values = values.sort(1).values
    # each state stands elsewhere in the bins, mirrored about the middle: together the states have the whole law, and
    # of a symmetric one each has the mean
    offset = (rng.permutation(states) + 0.5)[:, None] / states
    each = np.arange(copies)[None]
    level = (each + np.where(2 * each + 1 < copies, offset, np.where(2 * each + 1 == copies, 0.5, 1 - offset))) / copies
    place = np.minimum((level * size).astype(np.int64), size - 1)
    place = torch.from_numpy(np.take_along_axis(place, rng.permuted(np.broadcast_to(each, place.shape), axis=1), 1))
    return values[torch.arange(states)[:, None], place]
