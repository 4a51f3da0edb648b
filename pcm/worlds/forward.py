"""Running a program forward: every site from fresh noise, under interventions.

>>> import pyro, pyro.distributions as dist, torch
>>> from pcm.program import Program
>>> from pcm.worlds.plan import REFERENCE, WorldPlan
>>> def coin():
...     pyro.sample("x", dist.Bernoulli(0.5))
>>> program = Program(coin)
>>> with program.sealed():
...     made = forward(program, WorldPlan(program.structure, {}), {}, {"x": torch.tensor([0.2, 0.9])}, 2)
>>> made.values["x"]
tensor([0., 1.], dtype=torch.float64)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from pcm.couplings import resolve, unwrap
from pcm.program import Program, Site
from pcm.worlds.intervention import Baseline, Stochastic
from pcm.worlds.noise import uniforms
from pcm.worlds.plan import REFERENCE, WorldPlan
from pcm.worlds.replay import Factual, Replayed, Run

__all__ = ["Forward", "forward", "noise_shape", "world_noise"]


def forward(
    program: Program,
    plan: WorldPlan,
    parameters: Mapping[str, Tensor],
    uniform: Mapping[str, Tensor],
    units: int,
    covariates: Mapping[str, Tensor] | None = None,
) -> Replayed:
    """Values and distributions of every site, from uniforms by site (see :func:`world_noise`)."""
    run = Forward(program, plan, Factual(dict(covariates or {}), {}, units), parameters, {}, uniform)
    if plan.reference is not None:
        noise = plan.reference_noise(uniform)
        run.reference = forward(program, plan.reference, parameters, noise, units, covariates).values
    run.execute()
    return run.out


class Forward(Run):
    """A run in which every site's noise is new."""

    def ahead(self) -> str | None:
        """The first site that this run has not answered yet."""
        answered = {*self.out.values, *self.program.structure.covariates}
        return next((name for name in self.sites if name not in answered), None)

    def act(self, msg: Any) -> Tensor:
        name = msg["name"]
        if name in self.parameters:
            return self.parameters[name]
        if name not in self.sites:
            return msg["value"]
        value = self.changed_value(name, msg)
        self.out.values[name] = value
        return value

    def mechanism(self, name: str, site: Site, fn: Any) -> Tensor:
        coupling, bare = site.coupling, unwrap(fn)[0]
        assert coupling is not None
        self.out.fns[name] = fn
        value = coupling.push(bare, coupling.fresh(bare, self.uniform[name]))
        return value.to(site.dtype).expand(site.shape(self.past.units))


def world_noise(
    plan: WorldPlan,
    seed: int,
    rows: np.ndarray,
    draws: range,
    names: Collection[str] | None = None,
    held: Any = None,
    *,
    given: bool = False,
) -> dict[str, Tensor]:
    """Uniforms ``(draw, *inner, unit, *noise)`` for the sites that a run draws (or those of ``names``).

    A site's noise is the same in every world; a distribution given to ``do`` has noise of its own. ``held`` (a mapping)
    keeps them for the next world of the same seed and rows. Noise ``given`` evidence is that of the draws behind the
    first, which is ``scm.sample``'s: units sampled with the same seed would else meet again the very uniforms that made
    them.
    """
    draws = range(draws.start + 1, draws.stop + 1) if given else draws
    wanted: dict[str, tuple[str, tuple[tuple[int, ...], tuple[int, ...]]]] = {}
    for name in plan.structure.sites if names is None else names:
        if isinstance(plan.sets.get(name), Stochastic):
            wanted[name] = f"do({name})", noise_shape(plan, name)
        elif plan.structure.sites[name].kind == "variable" and (
            name not in plan.sets or name in plan.natural or isinstance(plan.sets[name], Baseline)
        ):
            wanted[name] = name, noise_shape(plan, name)
        for parent, action in plan.edges.get(name, {}).items():
            if isinstance(action, Stochastic):
                wanted[f"{parent} -> {name}"] = f"do({parent} -> {name})", noise_shape(plan, parent, action)
    for name in plan.afresh:
        if name in wanted:
            wanted[name + REFERENCE] = name + REFERENCE, wanted[name][1]
    found: dict[str, Tensor] = {}
    for key, (site, shape) in wanted.items():
        which = site, draws, shape
        if held is not None and which in held:
            found[key] = held[which]
            continue
        found[key] = uniforms(seed, site, rows, draws, *shape)
        if held is not None:
            held[which] = found[key]
    return found


def noise_shape(plan: WorldPlan, name: str, action: Any = None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Dims of a site's noise left and right of the unit dim."""
    site, action = plan.structure.sites[name], action or plan.sets.get(name)
    if isinstance(action, Stochastic):
        coupling, fn = resolve(action.distribution)
        return site.inner, (*site.event[: len(site.event) - len(fn.event_shape)], *coupling.noise_event(fn))
    return site.inner, site.noise
