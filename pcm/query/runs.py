"""The runs of a query: every world under every state of knowledge, and the values they leave.

>>> import pyro, pyro.distributions as dist, pandas, torch
>>> from pcm.program import Program
>>> from pcm.query.model import Model
>>> def pair():
...     x = pyro.sample("x", dist.Normal(0.0, 1.0))
...     pyro.sample("y", dist.Normal(2 * x, 1.0))
>>> model = Model(Program(pair))
>>> evidence = {"x": torch.tensor([1.0], dtype=torch.float64), "y": torch.tensor([2.5], dtype=torch.float64)}
>>> world = {"do": model.do({"x": 0.0}).interventions}
>>> Runs(model, evidence, pandas.RangeIndex(1), world, {}, draws=1, seed=0).value("do", "y")
tensor([[0.5000]], dtype=torch.float64)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from pcm.infer.latent import Between
from pcm.io import row_ids
from pcm.program import Site
from pcm.query.evidence import check_cells, check_finite
from pcm.query.lanes import Lanes, lanes_of
from pcm.query.memory import Store, check_fits
from pcm.query.missing import barren_noise, infer_missing
from pcm.query.model import Model
from pcm.query.nodes import node_lanes
from pcm.query.plans import plans_of
from pcm.query.points import points
from pcm.worlds import (
    Factual,
    Replayed,
    Stochastic,
    Target,
    factual,
    over_lanes,
    replay,
    sum_within,
    world_noise,
)

__all__ = ["Fold", "Payload", "Runs"]

Intervention = Any

#: What is wanted of a world's run.
Payload = Callable[[Replayed, Factual], dict[str, Tensor]]

#: Takes what it returned before (None at first), the outputs of a chunk of lanes, and its slice.
Fold = Callable[[Any, dict[str, Tensor], slice], Any]

#: Bytes of intermediate results that are kept at least where many worlds are asked for one outcome.
LEAST = 2**26

#: Numbers a value that a chunk is laid out for; of longer noise, or wider tables, it has fewer lanes.
_SHORT = 16


class Runs:
    """Worlds of one model for one set of units: what each run leaves.

    Parameters
    ----------
    model : Model
    values : dict of name to tensor ``(*inner, unit, *event)``
        The evidence.
    index : pandas.Index
        Names of the units.
    worlds : dict of world to its interventions
    parameters : dict of name to tensor ``(draw, *event)``
    draws : int
        Draws of noise that the evidence leaves open.
    seed : int
    missing : dict of name to bool tensor ``(unit,)``, optional
        Stochastic sites that some units lack; their values there are not read.
    bounds : dict of name to two tensors ``(*inner, unit, *event)``, optional
        Lowest and highest value of missing sites, infinite for cells that know neither.
    method : str
        How what is missing is inferred; ``"auto"`` chooses for each unit.
    solved : dict of name to bool tensor ``(unit,)``, optional
        Deterministic columns that have holes or stand below something missing, and the units that have them.
    holes : dict of name to bool tensor ``(*inner, unit, *event)``, optional
        Empty cells of missing sites that some unit has in part.
    references : dict of world to interventions, optional
        The reference world of a nested one.
    outcome : tuple of names, optional
        The variables that will be asked for (all by default): of many worlds nothing else is kept.
    limit : int, optional
        Bytes that the worlds' values and intermediate results may take together.
    rows : array (unit,), optional
        Row ids of the units, by which they have noise of their own.
    """

    def __init__(
        self,
        model: Model,
        values: Mapping[str, Tensor],
        index: Any,
        worlds: Mapping[str, Mapping[Target, Intervention]],
        parameters: Mapping[str, Tensor],
        *,
        draws: int,
        seed: int,
        missing: Mapping[str, Tensor] | None = None,
        bounds: Mapping[str, tuple[Tensor, Tensor]] | None = None,
        method: str = "auto",
        solved: Mapping[str, Tensor] | None = None,
        holes: Mapping[str, Tensor] | None = None,
        references: Mapping[str, Mapping[Target, Any]] | None = None,
        outcome: tuple[str, ...] | None = None,
        limit: int | None = None,
        rows: np.ndarray[Any, np.dtype[np.uint64]] | None = None,
    ) -> None:
        self.model, self.program, self.structure = model, model.program, model.structure
        self.values, self.outcome, self.limit, self.requested = values, outcome, limit, draws
        self.index, self.units, self.seed = index, len(index), seed
        self.rows = row_ids(index) if rows is None else rows
        self.parameters = dict(parameters)
        self.base, self.plans = plans_of(model, worlds, references or {}, index)
        self.model = model = replace(model, interventions=self.base.interventions)
        self.looped, self.method = False, method
        # the same site's noise in world after world
        self._uniforms = Store(0 if len(worlds) < 2 else LEAST // 2 if limit is None else limit // 8)
        size = self._result_size()
        if limit is not None:
            self._cache = Store(max(0, limit - 2 * size))  # the values kept, and an array of them handed out
        else:
            self._cache = Store(None if outcome is None else max(size, LEAST))
        self.missing, self.solved, self.holes = dict(missing or {}), dict(solved or {}), dict(holes or {})
        self.between = Between(self.structure.sites, bounds or {})
        with self.program.sealed():
            self.latent = infer_missing(self, values, draws, method) if self.missing else None
            known = self.latent is None or (self.latent.space.closed and len(self.latent.chances) == 1)
            barren = barren_noise(self)
            self.main, self.sampled = lanes_of(self.parameters, None if known else self.latent, draws, barren)
            if self.latent is not None and self.main is self.sampled:
                integrating = node_lanes(self.latent, self.parameters)
                if integrating is not None and bool(integrating[1].all()):
                    self.main = integrating[0]
            plain = {name: value for name, value in values.items() if name not in self.solved}
            first = {**plain, **self._first_values()}
            # of several states of knowledge this first run is a check, and each query runs them all
            keep = frozenset(self.asked) if self.main.single else frozenset()
            lean = outcome is not None or limit is not None
            self.points = points(
                model, self.plans, first, index, self._lane_parameters(0), self.needed, keep=keep, lean=lean
            )
            if self.latent is None:
                check_cells(self.model, values, self.points.factual, self.solved, index)

    def among(self, units: slice | Tensor, worlds: Sequence[str]) -> Self:
        """The same query in these worlds of some of the units, a slice or an index of them; what they lack is inferred
        again."""
        given, references = {}, {}
        for world in worlds:
            plan = self.plans[world].narrow(units)
            given[world] = {target: plan.interventions[target] for target in plan.active}
            if plan.reference is not None:
                references[world] = {t: plan.reference.interventions[t] for t in plan.reference.active}
        where = units if isinstance(units, slice) else units.numpy()

        def part(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {n: v[(*[slice(None)] * len(self.site(n).inner), units)] for n, v in values.items()}

        return type(self)(
            replace(self.model, interventions=self.base.narrow(units).interventions),
            part(self.values),
            self.index[where],
            given,
            self.parameters,
            draws=self.requested,
            seed=self.seed,
            references=references,
            outcome=self.outcome,
            missing={name: mask[units] for name, mask in self.missing.items() if bool(mask[units].any())},
            bounds=self.between.narrowed(torch.arange(self.units)[units]).bounds,
            method=self.method,
            solved={name: mask[units] for name, mask in self.solved.items()},
            holes=part(self.holes),
            limit=self.limit,
            rows=self.rows[where],  # of a repeated label it counts which one it is
        )

    @property
    def asked(self) -> tuple[str, ...]:
        """The variables that can be asked for."""
        return self.structure.variables if self.outcome is None else self.outcome

    def _result_size(self) -> int:
        """Bytes of the asked variables in every world, checked against the limit."""
        width = sum(math.prod((*self.site(name).inner, *self.site(name).event)) for name in self.asked)
        return check_fits(
            len(self.plans) * self.units * width,
            self.limit,
            f"{len(self.plans):,} worlds × {self.units:,} units × {width} values",
            "Ask for fewer variables (outcome=), worlds or units at a time, or raise the limit.",
        )

    # -- runs --------------------------------------------------------------------------------------------------------

    @cached_property
    def needed(self) -> frozenset[str]:
        """Sites whose factual distribution some world transports from."""
        plans = [*self.plans.values(), *(plan.reference for plan in self.plans.values() if plan.reference is not None)]
        return frozenset(itertools.chain.from_iterable(plan.replayed for plan in plans))

    @property
    def lanes(self) -> int:
        """How many states of knowledge expectations run over."""
        return self.main.count

    @property
    def draws(self) -> int:
        """How many draws there are."""
        return self.sampled.count

    @property
    def breadth(self) -> int:
        """Bytes a run holds of one unit in one lane, at most: two worlds' distributions and values, and what the
        arithmetic takes on its way."""
        sites = self.structure.sites.values()
        return 8 * (6 * len(sites) + 8 + sum(site.breadth for site in sites if site.breadth > 1))

    def _first_values(self) -> dict[str, Tensor]:
        """Likely values of what is missing, to check the program with."""
        if self.latent is None:
            return {}
        noise = barren_noise(self)
        uniform = {name: value[0] for name, value in noise(range(1)).items()} if noise is not None else {}
        return self.latent.space.complete(self._lane_parameters(0), *self.latent.likely, uniform)

    def _lane_parameters(self, lane: int) -> dict[str, Tensor]:
        return {name: value[lane] for name, value in self.parameters.items()}

    def _factual(self, values: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> Factual:
        return factual(self.program, values, parameters, self.units, self.needed, self.base)

    @cached_property
    def past(self) -> Factual:
        """The factual run under the first parameter draw."""
        return self.points.past or self._factual(self.evidence, self._lane_parameters(0))

    def now(self, world: str) -> Replayed | None:
        """The world's run under the first parameter draw; None where the first pass split the units."""
        if self.points.past is None:
            return None
        found = self.points.now.get(world)
        return replay(self.program, self.plans[world], self.past, self._lane_parameters(0)) if found is None else found

    def _over(
        self,
        world: str,
        payload: Payload,
        lanes: int,
        *,
        inputs: Callable[[slice], dict[str, Any]],
        fold: Fold | None = None,
        states: Lanes | None = None,
        within: Mapping[str, int] | None = None,
    ) -> Any:
        """The world's payload over lanes of knowledge (of ``states``), assignments or uniforms.

        Parameters
        ----------
        fold : callable, optional
            Takes what it returned before (None at first), a chunk's outputs and its slice; then nothing is stacked.
        within : dict of site to cardinality, optional
            Random sites over whose assignments the payload is summed inside each lane.
        """
        evidence, states, plan, within = self.evidence, states or self.main, self.plans.get(world), within or {}

        def one(lane: dict[str, Any]) -> dict[str, Tensor]:
            parameters = lane.get("parameters") or self._lane_parameters(0)
            if "parameters" in lane:
                past = self._factual({**evidence, **states.missing_values(lane)}, parameters)
            else:
                past = self.past

            def assigned(codes: dict[str, Tensor]) -> dict[str, Tensor]:
                if plan is None:
                    return payload(Replayed(), past)
                given = {**lane.get("assigned", {}), **codes}
                made = replay(self.program, plan, past, parameters, assigned=given, uniform=lane.get("uniform"))
                return payload(made, past)

            return sum_within(assigned, within)

        folded: Any = None

        def reduce(out: dict[str, Tensor], part: slice) -> None:
            nonlocal folded
            assert fold is not None
            folded = fold(folded, out, part)

        with self.program.sealed():
            out, looped = over_lanes(
                one,
                inputs,
                lanes,
                size=self.units * self._width * math.prod(within.values()),
                room=self._room,
                reduce=None if fold is None else reduce,
            )
        self.looped |= looped
        return out if fold is None else folded

    @cached_property
    def _width(self) -> int:
        """How many numbers are held for one unit's value, in units of a short noise."""
        sites = self.structure.sites.values()
        # what differs between lanes by noise alone has one table of outcomes for all of them
        widths = [math.prod(site.noise) if self.main.single else site.breadth for site in sites]
        return max(1, max(widths) // _SHORT)

    @property
    def _room(self) -> int | None:
        """Lanes × units that one chunk may have under the limit, so that what a run holds keeps to it too."""
        return None if self.limit is None else self.limit // self.breadth

    def in_turn(self, worlds: Sequence[str], ask: Callable[[str], Any]) -> Iterator[tuple[str, Any]]:
        """``ask(world)`` of each world."""
        cache = self._cache
        if cache.limit is not None and 8 * self.lanes * self.units * len(worlds) > cache.limit:
            self._cache = Store(0)  # the last few would be kept: of no use, and in the way of other memory
        try:
            for world in worlds:
                yield world, ask(world)
        finally:
            self._cache = cache

    @cached_property
    def evidence(self) -> dict[str, Tensor]:
        """Observed values; deterministic sites are in it only where no parameter can move them."""
        if self.main.single:
            return self.points.factual
        sites = self.structure.sites
        return {name: value for name, value in self.points.factual.items() if sites[name].kind != "deterministic"}

    def values_over(self, states: Lanes, world: str, name: str) -> Tensor:
        """Values of a variable over the given states of knowledge, ``(lane, *inner, unit, *event)``."""
        out = self._over(
            world,
            lambda made, past: {name: made.values[name] if name in made.values else past.values[name]},
            states.count,
            inputs=states.inputs,
            states=states,
        )
        return out[name]

    # -- what a variable is in a world ---------------------------------------------------------------------------------

    def site(self, name: str) -> Site:
        """The site of that name."""
        return self.structure.sites[name]

    def random(self, world: str, name: str) -> bool:
        """Whether the evidence leaves the variable open in that world (whatever the parameters)."""
        return world in self.plans and bool(self.plans[world].randomness[name])

    def kept(self, world: str, name: str) -> bool:
        """Whether the variable has its factual value in that world."""
        return world not in self.plans or name not in self.plans[world].changed

    def exact(self, world: str, name: str) -> bool:
        """Whether expectations of the variable are computed rather than drawn."""
        if not self.random(world, name):
            return True
        plan = self.plans[world]
        if plan.branches(name) is None:
            return False
        if name not in plan.sources:
            return True
        site = self.site(name)
        if site.inner or name in plan.natural or plan.draws_edges(name):
            return False
        if isinstance(plan.sets.get(name), Stochastic):
            return site.cardinality is not None and plan.categories(name) is not None
        return site.discrete

    def value(self, world: str, name: str) -> Tensor:
        """Values of a variable that is not random, ``(lane, *inner, unit, *event)``."""
        if self.main.single or self._fixed(world, name):
            found = self.points.worlds.get((world, name))
            return (self.points.factual[name] if found is None else found)[None]
        key = ("value", world, name)
        if key not in self._cache:
            names = [name, *self._also(world, name)]
            out = self._over(
                world,
                lambda made, past: {n: made.values[n] if n in made.values else past.values[n] for n in names},
                self.lanes,
                inputs=self.main.inputs,
            )
            for other, found in reversed(out.items()):  # the one asked for is the last to be dropped
                self._finite(found, other, world)
                self._cache["value", world, other] = found
            return out[name]
        return self._cache[key]

    def _also(self, world: str, name: str) -> list[str]:
        """Other variables worth keeping from the same run: all of them while that is cheap."""
        others = [n for n in self.asked if n != name and not self.random(world, n) and not self._fixed(world, n)]
        return others if self.lanes * self.units * (1 + len(others)) <= 2**24 else []

    def _fixed(self, world: str, name: str) -> bool:
        """Whether the value is the same under every parameter draw without a run."""
        return self.kept(world, name) and self.site(name).kind != "deterministic" and name not in self.missing

    # -- draws -------------------------------------------------------------------------------------------------------

    def drawn(self, world: str, name: str) -> Tensor:
        """Draws of a variable, ``(draw, *inner, unit, *event)``."""
        if not self.random(world, name) and (self.main is self.sampled or self._fixed(world, name) or self.main.single):
            found = self.value(world, name)
            return found.expand(self.draws, *found.shape[1:])
        key = ("drawn", world, name)
        if key not in self._cache:
            sources = self.plans[world].randomness[name] if world in self.plans else ()
            out = self._over(
                world,
                lambda made, past: {name: made.values[name] if name in made.values else past.values[name]},
                self.draws,
                inputs=self._noise(world, sources),
                states=self.sampled,
            )
            self._finite(out[name], name, world)
            self._cache[key] = out[name]
            return out[name]
        return self._cache[key]

    def _noise(self, world: str, sources: tuple[str, ...]) -> Callable[[slice], dict[str, Any]]:
        """Inputs of draws in which these sites are open."""

        def inputs(part: slice) -> dict[str, Any]:
            draws = range(part.start, part.stop)
            plan = self.plans.get(world)
            noise = {}
            if plan is not None and sources:
                noise = world_noise(plan, self.seed, self.rows, draws, sources, self._uniforms, given=True)
            # one state of knowledge is run once, whatever is drawn
            state = {} if self.main.single else self.sampled.inputs(part)
            return {**state, "uniform": noise} if noise else state

        return inputs

    def _finite(self, value: Tensor, name: str, world: str, lanes: int = 1) -> None:
        check_finite(value, name, self.index, world, self.site(name), lanes)
