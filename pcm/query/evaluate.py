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
import warnings
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from pcm.couplings import unwrap
from pcm.errors import FitWarning, PCMError, QueryError
from pcm.program import Site
from pcm.query.moments import Moments, moments_of
from pcm.query.nodes import node_lanes
from pcm.query.runs import Fold, Payload, Runs
from pcm.worlds import CHUNK, Factual, Function, PerUnit, Replayed, Stochastic

__all__ = ["Evaluation"]

#: Runs (parameter draws × assignments × units) from which units are looked through for equal ones.
WORTH = 2**18


class Evaluation(Runs):
    """Expectations over what the evidence and the parameters leave open; see :class:`pcm.query.runs.Runs`."""

    def expect(
        self,
        world: str,
        name: str,
        payload: Callable[[Replayed, Factual], Tensor],
        branches: dict[str, int] | None = None,
    ) -> Tensor:
        """``Σ_a P(a | evidence) payload(a)`` over the assignments above ``name`` (of ``branches``), ``(lane, …)``."""
        branches = self.plans[world].branches(name) if branches is None else branches
        assert branches is not None
        if not branches and self.main.single:
            with self.program.sealed():
                now = self.now(world)
                if now is not None:
                    return payload(now, self.past)[None]
        count, axis = math.prod(branches.values()), len(self.site(name).inner)
        if self.lanes * count * self.units > WORTH and self.alike is not None:
            few, place = self.alike
            return few.expect(world, name, payload, branches).index_select(1 + axis, place)

        def one(made: Replayed, past: Factual) -> dict[str, Tensor]:
            found = payload(made, past)
            if made.weight is None:
                return {"sum": found}
            shape = [1] * found.dim()
            shape[axis] = self.units
            weight = made.weight.reshape(shape)
            return {"sum": torch.where(weight > 0, found, 0.0) * weight}

        def add(total: Any, out: dict[str, Tensor], part: slice) -> Tensor:
            found = out["sum"]
            if count == 1:
                total = found.new_empty((self.lanes, *found.shape[1:])) if total is None else total
                total[part] = found
                return total
            total = found.new_zeros((self.lanes, *found.shape[1:])) if total is None else total
            return total.index_add_(0, torch.arange(part.start, part.stop) // count, found)

        within = self._within(branches)
        if within and not self.looped:
            flat = {source: branches[source] for source in branches if source not in within}
            count = math.prod(flat.values())
            try:
                return self.main.collapse(self._enumerate(world, flat, one, add, within), axis)
            except (RuntimeError, TypeError, ValueError, NotImplementedError, PCMError):
                count = math.prod(branches.values())  # what cannot be mapped over, or fails for good in a plain run
        return self.main.collapse(self._enumerate(world, branches, one, add), axis)

    def _within(self, branches: dict[str, int]) -> dict[str, int]:
        """The last sites of ``branches`` whose assignments fit into one chunk with a lane's units."""
        room, size = min(CHUNK, self._room or CHUNK), self.units
        found: list[str] = []
        for source in reversed(branches):
            size *= branches[source]
            if size > room:
                break
            found.insert(0, source)
        return {source: branches[source] for source in found}

    def _enumerate(
        self,
        world: str,
        branches: dict[str, int],
        payload: Payload,
        fold: Fold,
        within: Mapping[str, int] | None = None,
    ) -> Any:
        """Run the world under every parameter draw and joint assignment of ``branches`` (and, summed, ``within``)."""
        codes = torch.tensor(list(itertools.product(*map(range, branches.values()))), dtype=torch.int64)
        count = len(codes)

        def inputs(part: slice) -> dict[str, Any]:
            lane = torch.arange(part.start, part.stop)
            assigned = {source: codes[lane % count, place] for place, source in enumerate(branches)}
            lanes = self.main.inputs(lane // count)
            return {**lanes, "assigned": assigned} if branches else lanes or {"lane": lane}  # something to map over

        return self._over(world, payload, self.lanes * count, inputs=inputs, fold=fold, within=within)

    @cached_property
    def alike(self) -> tuple[Self, Tensor] | None:
        """The query of one unit of each kind, and the kind of every unit, ``(unit,)``; None where few are alike.

        Whatever is computed rather than drawn is the same for units of equal evidence to which the same is done.
        """
        plans = [self.base, *self.plans.values(), *(p.reference for p in self.plans.values() if p.reference)]
        actions = itertools.chain.from_iterable(plan.interventions.values() for plan in plans)
        if self.latent is not None or any(isinstance(action, PerUnit | Function) for action in actions):
            return None
        kind = torch.zeros(self.units, dtype=torch.int64)
        for name, value in self.values.items():
            for column in value.movedim(len(self.site(name).inner), 0).reshape(self.units, -1).unbind(-1):
                codes = torch.unique(column, return_inverse=True)[1]
                found, kind = torch.unique(kind * self.units + codes, return_inverse=True)
                if 2 * len(found) > self.units:
                    return None
        first = torch.full((int(kind.max()) + 1,), self.units).scatter_reduce(0, kind, torch.arange(self.units), "amin")
        return self.among(first, list(self.plans)), kind

    @cached_property
    def apart(self) -> list[tuple[np.ndarray, Self]] | None:
        """Positions and query of the units of each kind: whose missing values are summed over, integrated along one
        line, or drawn. None where all are of one kind.

        So a unit's answer is as exact in company as it is alone.
        """
        latent = self.latent
        if latent is None or self.main is not self.sampled:
            return None
        drawn = latent.space.active.any(-1)
        for name, mask in latent.space.barren.items():
            if not latent.space.enumerable(name):
                drawn = drawn | mask
        nodes = node_lanes(latent, self.parameters)
        kind = drawn.long() if nodes is None else torch.where(nodes[1] & drawn, 2, drawn.long())
        places = [(kind == one).nonzero().flatten() for one in kind.unique()]
        if len(places) == 1:
            return None
        with warnings.catch_warnings():  # said once, of all the units
            warnings.simplefilter("ignore", FitWarning)
            return [(place.numpy(), self.among(place, list(self.plans))) for place in places]

    def joined(self, ask: Callable[[Self], Tensor], axis: int = 0) -> Tensor:
        """What ``ask`` gives of the units of each kind, ``(lane, …, unit, …)`` with ``axis`` dims between; of a kind
        with one state of knowledge it is the same in every lane."""
        if self.apart is None:
            return ask(self)
        made = [(torch.from_numpy(place), ask(part)) for place, part in self.apart]
        lanes, first = max(len(found) for _, found in made), made[0][1]
        joined = first.new_empty((lanes, *first.shape[1 : 1 + axis], self.units, *first.shape[2 + axis :]))
        for place, found in made:
            joined.index_copy_(1 + axis, place, found.expand(lanes, *found.shape[1:]))
        return joined

    def settled(self, world: str, name: str) -> bool:
        """Whether nothing about the variable is drawn or summed over lanes, in any unit."""
        if self._fixed(world, name):
            return True
        analytic = self.moments(world, name)
        return analytic is not None and analytic.whole

    def law_of(self, world: str, name: str, payload: Callable[[Replayed, Factual], Tensor]) -> Tensor:
        """Expectation of what a site's own law gives in closed form: over the assignments above it where those are
        few, else over draws of what is open there; a row a parameter draw, ``(lane, …)``."""
        if self.exact(world, name):
            return self.expect(world, name, payload)
        sources = tuple(source for source in self.plans[world].randomness[name] if source != name)
        each = self.main is self.sampled

        def add(total: Any, out: dict[str, Tensor], part: slice) -> Tensor:
            found = out["sum"]
            if total is None:
                total = found.new_zeros((self.draws if each else 1, *found.shape[1:]))
            lane = torch.arange(part.start, part.stop)
            return total.index_add_(0, lane if each else torch.zeros_like(lane), found)

        found = self._over(
            world,
            lambda made, past: {"sum": payload(made, past)},
            self.draws,
            inputs=self._noise(world, sources),
            fold=add,
            states=self.sampled,
        )
        return found if each else found / self.draws

    def has_law(self, world: str, name: str) -> bool:
        """Whether a discrete site keeps its mechanism, whose law given all above it is in closed form."""
        plan, site = self.plans[world], self.site(name)
        return (
            name in plan.sources
            and site.discrete
            and site.coupling is not None
            and not site.inner
            and name not in plan.natural
            and not isinstance(plan.sets.get(name), Stochastic)
            and not plan.draws_edges(name)
        )

    def average(self, world: str, name: str) -> Tensor:
        """Expected value over the lanes too, ``(*inner, unit, *event)``, without keeping each lane's value."""
        analytic = self.moments(world, name)
        if analytic is not None:
            if analytic.whole:
                return analytic.mean
            rest = self.mean(world, name).mean(0)
            return analytic.over(analytic.mean, rest, len(self.site(name).event))
        known = ("value", world, name) in self._cache or ("mean", world, name) in self._cache
        if (
            self.main.weights is not None
            or self._summed(world, name)
            or self.main.single
            or known
            or self.random(world, name)
            or self._fixed(world, name)
        ):
            found = self.mean(world, name)
            return found[0] if len(found) == 1 else _added(None, found)[0] / len(found)
        key = ("average", world, name)
        if key not in self._cache:

            def add(total: Any, out: dict[str, Tensor], part: slice) -> Tensor:
                return _added(total, out["value"])

            total = self._over(
                world,
                lambda made, past: {
                    "value": (made.values[name] if name in made.values else past.values[name]).to(self.program.dtype)
                },
                self.lanes,
                inputs=self.main.inputs,
                fold=add,
            )
            found = total[0] / self.lanes
            self._finite(found, name, world, 0)
            self._cache[key] = found
            return found
        return self._cache[key]

    def mean(self, world: str, name: str) -> Tensor:
        """Expected value given the evidence, a row a parameter draw, ``(lane, *inner, unit, *event)``."""
        if self.main.single and (world, name) in self.points.chances:
            return self.points.chances[world, name][None]
        key = ("mean", world, name)
        if key not in self._cache:
            self._cache[key] = found = self._mean(world, name)
            return found
        return self._cache[key]

    def _mean(self, world: str, name: str) -> Tensor:
        if self._summed(world, name):
            return self._over_configurations(name, lambda value: value.to(self.program.dtype))
        if not self.random(world, name):
            return self.main.collapse(self.value(world, name).to(self.program.dtype), len(self.site(name).inner))
        coupling = self.site(name).coupling
        if self.has_law(world, name) and coupling is not None:

            def expected(made: Replayed, past: Factual) -> Tensor:
                return coupling.expectation(unwrap(past.fns[name])[0], past.values[name], unwrap(made.fns[name])[0])

            found = self.law_of(world, name, expected)
            self._finite(found, name, world, 1)
            return found
        if not self.exact(world, name):
            return self._of_draws(self.drawn(world, name).to(self.program.dtype))
        if name in self.plans[world].sources:
            chances = self.chances(world, name)
            return chances @ torch.arange(chances.shape[-1], dtype=chances.dtype)
        return self.expect(world, name, lambda made, past: made.values[name].to(self.program.dtype))

    def atoms(self, world: str, name: str) -> tuple[Tensor, Tensor] | None:
        """Values and weights ``(atom, unit)`` of a scalar that is a finite mixture of points; None where it is not, or
        where they would not fit in memory."""
        if not self.exact(world, name) or not self.site(name).scalar:
            return None
        if not self.random(world, name):
            if self.main.weights is None or self._fixed(world, name):
                return None
            return self.value(world, name).to(self.program.dtype), self.main.weights / self.main.groups
        plan = self.plans[world]
        branches = plan.branches(name)
        if name in plan.sources or branches is None or self.lanes * math.prod(branches.values()) * self.units > 2**25:
            return None

        def keep(made: Replayed, past: Factual) -> dict[str, Tensor]:
            value = made.values[name].to(self.program.dtype)
            return {
                "value": value,
                "weight": torch.ones_like(value) if made.weight is None else made.weight + 0 * value,
            }

        found = self._enumerate(
            world, branches, keep, lambda held, out, part: [*(held or []), (out["value"], out["weight"])]
        )
        values, weights = (torch.cat(parts) for parts in zip(*found, strict=True))
        if self.main.weights is not None:
            each = len(values) // self.lanes
            return values, weights * self.main.weights.repeat_interleave(each, 0) / self.main.groups
        return values, weights / self.lanes

    def chances(self, world: str, name: str) -> Tensor:
        """Probabilities of a finite variable's categories, ``(lane, unit, category)``."""
        key = ("chances", world, name)
        if key not in self._cache:
            self._cache[key] = found = self._chances(world, name)
            return found
        return self._cache[key]

    def _chances(self, world: str, name: str) -> Tensor:
        site, count = self.site(name), self.category_count(name)
        if self.random(world, name) and self.has_law(world, name) and site.cardinality is not None:
            coupling = site.coupling
            assert coupling is not None

            def transition(made: Replayed, past: Factual) -> Tensor:
                return coupling.transition(unwrap(past.fns[name])[0], past.values[name], unwrap(made.fns[name])[0])

            return self.law_of(world, name, transition).clamp(min=0.0)
        if not self.exact(world, name) or not self.random(world, name):
            found = self.drawn(world, name) if self.random(world, name) else self.value(world, name)
            hot = torch.nn.functional.one_hot(self.codes(found, site), count).to(self.program.dtype)
            return self._of_draws(hot) if self.random(world, name) else self.main.collapse(hot, 0)
        action = self.plans[world].sets.get(name)
        if name not in self.plans[world].sources:
            return self.expect(
                world,
                name,
                lambda made, past: (self.codes(made.values[name], site)[..., None] == torch.arange(count)).to(
                    self.program.dtype
                ),
            )
        assert isinstance(action, Stochastic)  # its mechanism has a law
        fn = action.distribution
        mass = fn.log_prob(fn.enumerate_support(expand=False)).exp().flatten()
        return mass.expand(self.lanes, self.units, count)

    def probability(self, world: str, name: str, outcome: Tensor) -> Tensor:
        """``P(variable = outcome)``, a row a parameter draw, ``(lane, *inner, unit, *event)``."""
        site = self.site(name)
        if self._summed(world, name):
            return self._over_configurations(
                name, lambda value: (self.codes(value, site) == outcome).to(self.program.dtype)
            )
        if not self.random(world, name):
            found = self.codes(self.value(world, name), site)
            return self.main.collapse((found == outcome).to(self.program.dtype), len(site.inner))
        if site.cardinality is not None and not site.inner and (site.scalar or site.one_hot):
            if site.cardinality == 2 and site.scalar and (self.exact(world, name) or self.has_law(world, name)):
                one = self.mean(world, name)
                return one if int(outcome) == 1 else 1 - one
            return self.chances(world, name)[..., int(outcome)]
        if self.has_law(world, name) and site.coupling is not None:
            coupling = site.coupling

            def chance(made: Replayed, past: Factual) -> Tensor:
                before, after = unwrap(past.fns[name])[0], unwrap(made.fns[name])[0]
                return coupling.probability(before, past.values[name], after, outcome)

            return self.law_of(world, name, chance).clamp(0.0, 1.0)
        if self.exact(world, name) and name not in self.plans[world].sources:
            return self.expect(
                world, name, lambda made, past: (self.codes(made.values[name], site) == outcome).to(self.program.dtype)
            )
        if self.exact(world, name):
            return self.chances(world, name)[..., int(outcome)]
        hit = (self.codes(self.drawn(world, name), site) == outcome).to(self.program.dtype)
        return self._of_draws(hit)

    def _summed(self, world: str, name: str) -> bool:
        """Whether a missing discrete variable has its factual value there, and the configurations' posterior
        probabilities are all there is to know of it, although other things are drawn."""
        latent = self.latent
        if latent is None or self.main.weights is not None or not self.kept(world, name):
            return False
        return name in latent.space.choices and not bool(latent.space.barren[name].any())

    def _over_configurations(self, name: str, of: Callable[[Tensor], Tensor]) -> Tensor:
        """Expectation of a function of a missing discrete variable, a row a parameter draw."""
        assert self.latent is not None
        site, chances = self.site(name), self.latent.chances
        total: Tensor | None = None
        for codes, chance in zip(self.latent.space.configurations, chances.unbind(1), strict=True):
            term = of(self.latent.space.coded(name, codes))
            extra = [1] * (term.dim() - len(site.inner) - 1)
            weighed = chance.reshape(len(chance), *([1] * len(site.inner)), self.units, *extra) * term
            total = weighed if total is None else total + weighed
        assert total is not None
        return total

    def _of_draws(self, drawn: Tensor) -> Tensor:
        """Draws as rows of an expectation: one a state of knowledge where they are the same, else their mean."""
        return drawn if self.main is self.sampled else drawn.mean(0, keepdim=True)

    def moments(self, world: str, name: str) -> Moments | None:
        """Mean, standard deviation and quantiles that need no draws, for the units that allow it; see
        :mod:`pcm.query.moments`."""
        key = ("moments", world, name)
        if key not in self._cache:
            found = None
            if (
                self.latent is not None
                and not self.main.single
                and not self.random(world, name)
                and not self._fixed(world, name)
                and not self.site(name).discrete
            ):
                with self.program.sealed():
                    found = moments_of(self, self.latent, world, name)
            self._cache[key] = found
            return found
        return self._cache[key]

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


def _added(total: Tensor | None, lanes: Tensor) -> Tensor:
    """``total`` (1, …) and these lanes, one after the other: to the bit the same however they are chunked or kept."""
    total = lanes.new_zeros((1, *lanes.shape[1:])) if total is None else total
    return total.index_add_(0, torch.zeros(len(lanes), dtype=torch.int64), lanes)
