"""Evaluating worlds for given evidence: values where they are points, expectations where they are not.

Three cases, by what a variable depends on in a world. *Point*: all noise above it is determined by the evidence; one
replay. *Enumerated*: above it stand discrete sites with few joint assignments; ``E = Σ_a P(a | evidence) E[· | a]``,
exact, and the variable's own law given its parents is in closed form. *Drawn*: anything else; the noise is drawn
given the evidence. Each is mapped over the parameter draws of a fitted model.

>>> import pyro, pyro.distributions as dist, pcm
>>> def chain():
...     a = pyro.sample("a", dist.Normal(0.0, 1.0))
...     b = pyro.sample("b", dist.Bernoulli(logits=a))
...     pyro.sample("c", dist.Normal(b, 1.0))
>>> cf = pcm.SCM(chain).counterfactual({"a": 0.0, "b": 1.0, "c": 1.0}, do={"a": -1.0})
>>> cf.mean("c").round(4).tolist(), cf.account.worlds["do"]
([0.5379], 'probabilities in closed form, exact over 2 joint assignments')
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcm.couplings import unwrap
from pcm.errors import InterventionError, QueryError
from pcm.io import row_ids
from pcm.program import Site
from pcm.query.evidence import check_finite
from pcm.query.model import Model
from pcm.query.points import points
from pcm.worlds import Factual, Replayed, Stochastic, Target, WorldPlan, align, factual, over_lanes, replay, world_noise

__all__ = ["Evaluation"]

Intervention = Any


class Evaluation:
    """Worlds of one model for one set of units.

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
    ) -> None:
        self.model, self.program, self.structure = model, model.program, model.structure
        self.index, self.units, self.seed = index, len(index), seed
        self.parameters = dict(parameters)
        self.lanes = len(next(iter(parameters.values()))) if parameters else 1
        self.draws = self.lanes if self.lanes > 1 else draws
        model = replace(model, interventions=align(model.interventions, index))
        worlds = {world: align(given, index) for world, given in worlds.items()}
        self.model = model
        self.base = WorldPlan(self.structure, model.interventions)
        self.plans = {
            world: WorldPlan(self.structure, {**model.interventions, **given}, set(given))
            for world, given in worlds.items()
        }
        for world, plan in self.plans.items():
            plan.check_units(self.units)
            reused = plan.natural & {target for target in plan.active if isinstance(target, str)}
            for name in sorted(self.base.natural & ({*plan.replayed} | reused)):
                raise InterventionError(
                    f"the evidence comes from a world where do({name}=…) shifts '{name}' from its own natural value, "
                    f"which is then unknown, and world '{world}' needs it. Take evidence from the unshifted model, and "
                    "give the shift as a world.",
                    site=name,
                )
        self.looped = False
        self._cache: dict[tuple[Any, ...], Any] = {}
        with self.program.sealed():
            self.points = points(model, self.plans, values, index, self._lane_parameters(0), self.needed)
        if self.lanes == 1:
            for (world, name), chance in self.points.chances.items():
                self._cache["mean", world, name] = chance[None]

    # -- runs --------------------------------------------------------------------------------------------------------

    @cached_property
    def needed(self) -> frozenset[str]:
        """Sites whose factual distribution some world transports from."""
        return frozenset(itertools.chain.from_iterable(plan.replayed for plan in self.plans.values()))

    def _lane_parameters(self, lane: int) -> dict[str, Tensor]:
        return {name: value[lane] for name, value in self.parameters.items()}

    def _factual(self, values: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> Factual:
        return factual(self.program, values, parameters, self.units, self.needed, self.base)

    @cached_property
    def past(self) -> Factual:
        """The factual run under the first parameter draw."""
        return self.points.past or self._factual(self.evidence, self._lane_parameters(0))

    def _over(
        self,
        world: str,
        payload: Callable[[Replayed, Factual], dict[str, Tensor]],
        lanes: int,
        *,
        inputs: Callable[[slice], dict[str, dict[str, Tensor]]],
        reduce: Callable[[dict[str, Tensor], slice], None] | None = None,
    ) -> dict[str, Tensor]:
        """One world's payload over lanes of parameters, assignments or uniforms."""
        plan, evidence = self.plans[world], self.evidence

        def one(lane: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
            parameters = lane.get("parameters") or self._lane_parameters(0)
            past = self._factual(evidence, parameters) if "parameters" in lane else self.past
            made = replay(
                self.program,
                plan,
                past,
                parameters,
                assigned=lane.get("assigned"),
                uniform=lane.get("uniform"),
            )
            return payload(made, past)

        with self.program.sealed():
            out, looped = over_lanes(one, inputs, lanes, size=self.units, reduce=reduce)
        self.looped |= looped
        return out

    @cached_property
    def evidence(self) -> dict[str, Tensor]:
        """Observed values; deterministic sites are in it only where no parameter can move them."""
        if self.lanes == 1:
            return self.points.factual
        sites = self.structure.sites
        return {name: value for name, value in self.points.factual.items() if sites[name].kind != "deterministic"}

    def _parameter_lanes(self, part: slice | Tensor) -> dict[str, dict[str, Tensor]]:
        return {"parameters": {name: value[part] for name, value in self.parameters.items()}} if self.lanes > 1 else {}

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
        if site.inner or name in plan.natural:
            return False
        if isinstance(plan.sets.get(name), Stochastic):
            return site.cardinality is not None and plan.categories(name) is not None
        return site.discrete

    def value(self, world: str, name: str) -> Tensor:
        """Values of a variable that is not random, ``(lane, *inner, unit, *event)``."""
        if self.lanes == 1 or self._fixed(world, name):
            found = self.points.worlds.get((world, name))
            return (self.points.factual[name] if found is None else found)[None]
        key = ("value", world, name)
        if key not in self._cache:
            if world not in self.plans:
                self._cache[key] = self._deterministic(name)
                return self._cache[key]
            names = [name, *self._also(world, name)]
            out = self._over(
                world,
                lambda made, past: {n: made.values[n] if n in made.values else past.values[n] for n in names},
                self.lanes,
                inputs=self._parameter_lanes,
            )
            for other, found in out.items():
                self._finite(found, other, world)
                self._cache["value", world, other] = found
        return self._cache[key]

    def _also(self, world: str, name: str) -> list[str]:
        """Other variables worth keeping from the same run: all of them while that is cheap."""
        others = [
            n for n in self.structure.sites if n != name and not self.random(world, n) and not self._fixed(world, n)
        ]
        return others if self.lanes * self.units * (1 + len(others)) <= 2**24 else []

    def _fixed(self, world: str, name: str) -> bool:
        """Whether the value is the same under every parameter draw without a run."""
        return self.kept(world, name) and (self.site(name).kind != "deterministic")

    def _deterministic(self, name: str) -> Tensor:
        with self.program.sealed():
            out, looped = over_lanes(
                lambda lane: {name: self._factual(self.evidence, lane["parameters"]).values[name]},
                self._parameter_lanes,
                self.lanes,
                size=self.units,
            )
        self.looped |= looped
        return out[name]

    # -- expectations ------------------------------------------------------------------------------------------------

    def expect(self, world: str, name: str, payload: Callable[[Replayed, Factual], Tensor]) -> Tensor:
        """``Σ_a P(a | evidence) payload(a)`` over the assignments above ``name``, ``(lane, …)``."""
        branches = self.plans[world].branches(name)
        assert branches is not None
        if not branches and self.lanes == 1 and self.points.now is not None:
            with self.program.sealed():
                return payload(self.points.now[world], self.past)[None]
        count, axis = math.prod(branches.values()), len(self.site(name).inner)
        total: dict[str, Tensor] = {}

        def one(made: Replayed, past: Factual) -> dict[str, Tensor]:
            found = payload(made, past)
            if made.weight is None:
                return {"sum": found}
            shape = [1] * found.dim()
            shape[axis] = self.units
            weight = made.weight.reshape(shape)
            return {"sum": torch.where(weight > 0, found, 0.0) * weight}

        def reduce(out: dict[str, Tensor], part: slice) -> None:
            found = out["sum"]
            if not total:
                total["sum"] = found.new_zeros((self.lanes, *found.shape[1:]))
            total["sum"].index_add_(0, torch.arange(part.start, part.stop) // count, found)

        self._enumerate(world, branches, one, reduce)
        return total["sum"]

    def _enumerate(
        self,
        world: str,
        branches: dict[str, int],
        payload: Callable[[Replayed, Factual], dict[str, Tensor]],
        reduce: Callable[[dict[str, Tensor], slice], None],
    ) -> None:
        """Run the world under every parameter draw and joint assignment of ``branches``."""
        codes = torch.tensor(list(itertools.product(*map(range, branches.values()))), dtype=torch.int64)
        count = len(codes)

        def inputs(part: slice) -> dict[str, dict[str, Tensor]]:
            lane = torch.arange(part.start, part.stop)
            assigned = {source: codes[lane % count, place] for place, source in enumerate(branches)}
            return {**self._parameter_lanes(lane // count), **({"assigned": assigned} if branches else {})}

        self._over(world, payload, self.lanes * count, inputs=inputs, reduce=reduce)

    def average(self, world: str, name: str) -> Tensor:
        """Expected value over the parameter draws too, ``(*inner, unit, *event)``, without keeping the draws' values."""
        known = ("value", world, name) in self._cache or ("mean", world, name) in self._cache
        if self.lanes == 1 or known or self.random(world, name) or self._fixed(world, name) or world not in self.plans:
            found = self.mean(world, name)
            return found[0] if len(found) == 1 else found.mean(0)
        key = ("average", world, name)
        if key not in self._cache:
            total: list[Tensor] = []

            def add(out: dict[str, Tensor], part: slice) -> None:
                total[:] = [out["value"].sum(0) + (total[0] if total else 0.0)]

            self._over(
                world,
                lambda made, past: {"value": made.values.get(name, past.values.get(name)).to(self.program.dtype)},
                self.lanes,
                inputs=self._parameter_lanes,
                reduce=add,
            )
            self._cache[key] = total[0] / self.lanes
            self._finite(self._cache[key], name, world, 0)
        return self._cache[key]

    def mean(self, world: str, name: str) -> Tensor:
        """Expected value given the evidence, a row a parameter draw, ``(lane, *inner, unit, *event)``."""
        key = ("mean", world, name)
        if key not in self._cache:
            self._cache[key] = self._mean(world, name)
        return self._cache[key]

    def _mean(self, world: str, name: str) -> Tensor:
        if not self.random(world, name):
            return self.value(world, name).to(self.program.dtype)
        if not self.exact(world, name):
            drawn = self.drawn(world, name).to(self.program.dtype)
            return drawn if self.lanes > 1 else drawn.mean(0, keepdim=True)
        site = self.site(name)
        if name in self.plans[world].sources:
            if not isinstance(self.plans[world].sets.get(name), Stochastic) and site.coupling is not None:
                coupling = site.coupling

                def expected(made: Replayed, past: Factual) -> Tensor:
                    return coupling.expectation(unwrap(past.fns[name])[0], past.values[name], unwrap(made.fns[name])[0])

                return self.expect(world, name, expected)
            chances = self.chances(world, name)
            return chances @ torch.arange(chances.shape[-1], dtype=chances.dtype)
        return self.expect(world, name, lambda made, past: made.values[name].to(self.program.dtype))

    def atoms(self, world: str, name: str) -> tuple[Tensor, Tensor] | None:
        """Values and weights ``(atom, unit)`` of a scalar that is a finite mixture of points; None where it is not, or
        where they would not fit in memory."""
        if not self.random(world, name) or not self.exact(world, name) or not self.site(name).scalar:
            return None
        plan = self.plans[world]
        branches = plan.branches(name)
        if name in plan.sources or branches is None or self.lanes * math.prod(branches.values()) * self.units > 2**25:
            return None
        found: list[tuple[Tensor, Tensor]] = []

        def keep(made: Replayed, past: Factual) -> dict[str, Tensor]:
            value = made.values[name].to(self.program.dtype)
            return {
                "value": value,
                "weight": torch.ones_like(value) if made.weight is None else made.weight + 0 * value,
            }

        self._enumerate(world, branches, keep, lambda out, part: found.append((out["value"], out["weight"])))
        values, weights = (torch.cat(parts) for parts in zip(*found, strict=True))
        return values, weights / self.lanes

    def chances(self, world: str, name: str) -> Tensor:
        """Probabilities of a finite variable's categories, ``(lane, unit, category)``."""
        key = ("chances", world, name)
        if key not in self._cache:
            self._cache[key] = self._chances(world, name)
        return self._cache[key]

    def _chances(self, world: str, name: str) -> Tensor:
        site, count = self.site(name), self.category_count(name)
        if not self.exact(world, name) or not self.random(world, name):
            found = self.drawn(world, name) if self.random(world, name) else self.value(world, name)
            hot = torch.nn.functional.one_hot(self.codes(found, site), count).to(self.program.dtype)
            return hot if self.lanes > 1 or not self.random(world, name) else hot.mean(0, keepdim=True)
        action = self.plans[world].sets.get(name)
        if name not in self.plans[world].sources:
            return self.expect(
                world,
                name,
                lambda made, past: (self.codes(made.values[name], site)[..., None] == torch.arange(count)).to(
                    self.program.dtype
                ),
            )
        if isinstance(action, Stochastic):
            fn = action.distribution
            mass = fn.log_prob(fn.enumerate_support(expand=False)).exp().flatten()
            return mass.expand(self.lanes, self.units, count)
        coupling = site.coupling
        assert coupling is not None

        def transition(made: Replayed, past: Factual) -> Tensor:
            return coupling.transition(unwrap(past.fns[name])[0], past.values[name], unwrap(made.fns[name])[0])

        return self.expect(world, name, transition).clamp(min=0.0)

    def probability(self, world: str, name: str, outcome: Tensor) -> Tensor:
        """``P(variable = outcome)``, a row a parameter draw, ``(lane, *inner, unit, *event)``."""
        site = self.site(name)
        if not self.random(world, name):
            found = self.codes(self.value(world, name), site)
            return (found == outcome).to(self.program.dtype)
        if site.cardinality is not None and not site.inner and (site.scalar or site.one_hot):
            if site.cardinality == 2 and site.scalar and self.exact(world, name):
                one = self.mean(world, name)
                return one if int(outcome) == 1 else 1 - one
            return self.chances(world, name)[..., int(outcome)]
        if self.exact(world, name) and name in self.plans[world].sources and site.coupling is not None:
            coupling = site.coupling
            if not isinstance(self.plans[world].sets.get(name), Stochastic):

                def chance(made: Replayed, past: Factual) -> Tensor:
                    before, after = unwrap(past.fns[name])[0], unwrap(made.fns[name])[0]
                    return coupling.probability(before, past.values[name], after, outcome)

                return self.expect(world, name, chance).clamp(0.0, 1.0)
        if self.exact(world, name) and name not in self.plans[world].sources:
            return self.expect(
                world, name, lambda made, past: (self.codes(made.values[name], site) == outcome).to(self.program.dtype)
            )
        if self.exact(world, name):
            return self.chances(world, name)[..., int(outcome)]
        hit = (self.codes(self.drawn(world, name), site) == outcome).to(self.program.dtype)
        return hit if self.lanes > 1 else hit.mean(0, keepdim=True)

    def category_count(self, name: str) -> int:
        """Number of categories of a finite variable."""
        site = self.site(name)
        labels = self.model.categories.get(name)
        count = site.cardinality or (len(labels) if labels else None)
        if count is None:
            raise QueryError(f"'{name}' has no finite set of categories; ask probability('{name}', value).")
        return count

    def codes(self, value: Tensor, site: Site) -> Tensor:
        """Integer codes of a discrete variable's values (one-hot rows become their position)."""
        return value.argmax(-1) if site.one_hot else value.long() if site.discrete else value

    # -- draws -------------------------------------------------------------------------------------------------------

    def drawn(self, world: str, name: str) -> Tensor:
        """Draws of a variable, ``(draw, *inner, unit, *event)``."""
        if not self.random(world, name):
            found = self.value(world, name)
            return found.expand(self.draws, *found.shape[1:])
        key = ("drawn", world, name)
        if key not in self._cache:
            plan, rows = self.plans[world], self.rows
            sources = plan.randomness[name]

            def inputs(part: slice) -> dict[str, dict[str, Tensor]]:
                noise = world_noise(plan, self.seed, rows, range(part.start, part.stop), sources)
                return {**self._parameter_lanes(part), "uniform": noise}

            out = self._over(world, lambda made, past: {name: made.values[name]}, self.draws, inputs=inputs)
            self._finite(out[name], name, world)
            self._cache[key] = out[name]
        return self._cache[key]

    @cached_property
    def rows(self) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """Row ids of the units."""
        return row_ids(self.index)

    def _finite(self, value: Tensor, name: str, world: str, lanes: int = 1) -> None:
        check_finite(value, name, self.index, world, self.site(name), lanes)
