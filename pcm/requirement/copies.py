"""Running a target's copies: what a predictor may read of each unit, and the target's own law there.

Each unit's noise is pulled back from its inputs (the outcome's column is never read), what is missing is drawn given
the rest, and every copy of the plan is its variable replayed with that noise and with the copies, or the reference, in
place of the parents that it must not see as they are. A *state* is one draw of the model's parameters; in each there
are several *copies of a row*, which differ in the reference, in missing inputs, and in noise that a discrete mediator
leaves open.

>>> import pandas, pyro, pyro.distributions as dist, pcm
>>> from pcm.requirement import Requirement, target_plan
>>> def program():
...     a = pyro.sample("A", dist.Normal(0.0, 1.0))
...     z = pyro.sample("Z", dist.Normal(2.0 * a, 1.0))
...     pyro.sample("Y", dist.Normal(z + a, 1.0))
>>> scm = pcm.SCM(program)
>>> fair = Requirement("A", outcome="Y", reference=0.0)
>>> rows = pandas.DataFrame({"A": [1.0], "Z": [2.5]})
>>> run = Copies(scm._model, rows, target_plan(scm.graph, [fair], "Y"), states=1, copies=4, seed=0)
>>> found = run.all()
>>> found.inputs["Z"][0, 0].tolist(), found.inputs["A"][0, 0].tolist(), found.mean[0, 0].tolist()
([0.5], [0.0], [0.5])
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pcm.couplings import resolve, unwrap
from pcm.errors import QueryError
from pcm.graph import descendants
from pcm.query.evidence import read_units
from pcm.query.lanes import Lanes
from pcm.query.model import Model
from pcm.query.runs import Runs
from pcm.requirement.references import references
from pcm.requirement.target import Copy, TargetPlan
from pcm.worlds import Constant, Factual, WorldPlan, lane_count, over_lanes, world_noise
from pcm.worlds.replay import Run, set_value

__all__ = ["Copies", "CopyDraws"]


@dataclass(frozen=True)
class CopyDraws:
    """What the runs left.

    Attributes
    ----------
    inputs : dict of parent to array ``(state, copy, row, *event)``
        What the outcome's mechanism reads of each parent, the reference included.
    mean : array ``(state, copy, row)``, or ``(state, copy, row, class)``
        Expected target given what it reads, under the model's own mechanism; of a finite outcome, probabilities.
    departure : array ``(state, copy, row)`` or None
        A draw of the target less that mean; None for a finite outcome.
    own : array ``(state, copy, row)`` or None
        The target with each row's own noise of the outcome; None where the outcome was not read.
    """

    inputs: dict[str, np.ndarray]
    mean: np.ndarray
    departure: np.ndarray | None
    own: np.ndarray | None = None


class Copies(Runs):
    """A target's copies for some units.

    Parameters
    ----------
    model : Model
    data : DataFrame
        The inputs. Columns that are missing, and empty cells, are drawn given the others.
    plan : TargetPlan
    states, copies : int
        At most so many draws of the parameters, and so many copies of a row in each.
    seed : int
    outcome_seen : bool
        Whether the outcome's column is evidence about what is missing (in training), or is not read.
    marginal : DataFrame, optional
        Where a covariate that is a source takes its reference from.
    noise : bool
        Whether draws of the target are wanted (and with ``outcome_seen`` the target of each row's own noise); without
        them a row that is settled has one copy.
    reference : dict of source to tensor ``(state * copy, row)``, optional
        What the inadmissible edges are fed, row by row, instead of the requirements' own references.
    numeric : bool
        Whether a finite outcome is a number: its mean is then the expected code, not its probabilities.
    """

    def __init__(
        self,
        model: Model,
        data: pd.DataFrame,
        plan: TargetPlan,
        *,
        states: int,
        copies: int,
        seed: int,
        outcome_seen: bool = False,
        marginal: pd.DataFrame | None = None,
        noise: bool = True,
        reference: Mapping[str, Tensor] | None = None,
        numeric: bool = False,
    ) -> None:
        _check_interventions(model)
        self.noise, self.outcome_seen, self.numeric = noise, outcome_seen, numeric
        self._by_row = reference is not None
        self.plan, self.predicted = plan, model.structure.sites[plan.outcome]
        if not outcome_seen:
            below = [plan.outcome, *descendants(model.structure.graph, plan.outcome)]
            model, data = _unread(model, below), data.drop(columns=below, errors="ignore")
        units = read_units(model, data)
        parameters = model.parameters(states, seed, prior=False)
        self.structure = model.structure
        spread = any(self._spread(copy.node) for copy in plan.replayed if copy.node != plan.outcome)
        varies = bool(noise or spread or units.missing or plan.referred)
        fitted = lane_count(parameters)
        # without parameter draws the states differ in their copies alone, where these differ at all
        self.states, self.copies = states if fitted == 1 and varies else fitted, copies if varies else 1
        parameters = {name: value.expand(self.states, *value.shape[1:]) for name, value in parameters.items()}
        if reference is None:
            reference = references(model, parameters, plan, self.states, self.copies, seed, marginal)
        self.reference = dict(reference)
        super().__init__(
            model,
            units.values,
            units.index,
            {},
            {name: value.repeat_interleave(self.copies, 0) for name, value in parameters.items()},
            draws=self.states * self.copies,
            seed=seed,
            missing=units.missing,
            bounds=units.bounds,
            solved=units.solved,
            holes=units.holes,
        )

    @property
    def needed(self) -> frozenset[str]:
        """Sites whose factual distribution some copy is transported from."""
        own = {self.plan.outcome} if self._own else set()
        return frozenset(own.union(copy.node for copy in self.plan.replayed if copy.node != self.plan.outcome))

    def all(self) -> CopyDraws:
        """Every state and every copy of a row."""
        count = self.states * self.copies
        # the same lanes whether or not anything is uncertain: references differ within a state
        states = self.sampled if self.sampled.count == count else Lanes(count, self.parameters)
        drawn = {copy.node for copy in self.plan.replayed if self._spread(copy.node)} - {self.plan.outcome}
        drawn_outcome = self.predicted.kind == "variable" and (self.noise or self._own)
        names = [*drawn, self.plan.outcome] if drawn_outcome else [*drawn]

        def inputs(part: slice) -> dict[str, Any]:
            noise = world_noise(self._plain, self.seed, self.rows, range(part.start, part.stop), names, given=True)
            reference = {name: value[part] for name, value in self.reference.items()}
            return {**states.inputs(part), "noise": noise, "reference": reference}

        with self.program.sealed():
            out, looped = over_lanes(
                lambda lane: self._one(lane, states), inputs, count, size=self.units * (1 + len(self.plan.inputs))
            )
        self.looped |= looped
        shaped = {name: value.reshape(self.states, self.copies, *value.shape[1:]) for name, value in out.items()}
        for name, value in shaped.items():
            if not bool(torch.isfinite(value.sum())) and not bool(torch.isfinite(value).all()):
                what = name.removeprefix("input ")
                raise QueryError(
                    f"the copy of '{what}' that '{self.plan.outcome}' may read is not finite for some units; look at "
                    "what its mechanism does there.",
                    site=what,
                )
        return CopyDraws(
            {parent: shaped[f"input {parent}"].numpy() for parent in self.plan.inputs},
            shaped["mean"].numpy(),
            shaped["departure"].numpy() if "departure" in shaped else None,
            shaped["own"].numpy() if "own" in shaped else None,
        )

    @property
    def _own(self) -> bool:
        return self.noise and self.outcome_seen

    def _spread(self, name: str) -> bool:
        """Whether the variable's value leaves its noise open."""
        coupling = self.structure.sites[name].coupling
        return coupling is not None and not coupling.invertible

    @property
    def _plain(self) -> WorldPlan:
        """A plan that sets nothing: under it every site has noise of its own."""
        return WorldPlan(self.structure, {})

    def _one(self, lane: dict[str, Any], states: Lanes) -> dict[str, Tensor]:
        parameters = lane.get("parameters") or self._lane_parameters(0)
        past = self._factual({**self.evidence, **states.missing_values(lane)}, parameters)
        run = Run(self.program, self.base, past, parameters, {}, {})
        made: dict[Copy, Tensor] = {}

        def read(parent: str, feed: Copy | None) -> Tensor:
            if feed is None:
                site = self.site(parent)
                value = lane["reference"][parent]
                if self._by_row:
                    return value.to(site.dtype)
                return value.reshape(*[1] * len(site.inner), 1, *site.event).expand(site.shape(self.units))
            return past.values[parent] if feed.factual else made[feed]

        for copy in self.plan.replayed:
            seen = self._cut(copy.node) | {parent: read(parent, feed) for parent, feed in copy.changed.items()}
            if copy is self.plan.target:
                continue
            made[copy] = self._replayed(copy.node, run.seen_by(copy.node, seen), past, lane["noise"])
        target = self.plan.target
        out = {f"input {parent}": read(parent, feed).to(self.program.dtype) for parent, feed in target.feeds.items()}
        seen = self._cut(target.node) | {parent: read(parent, feed) for parent, feed in target.changed.items()}
        fn = run.seen_by(target.node, seen)
        if self._own:
            out["own"] = self._replayed(target.node, fn, past, lane["noise"]).to(self.program.dtype)
        return {**out, **self._law(fn, lane["noise"])}

    def _cut(self, child: str) -> dict[str, Tensor]:
        """What a child sees of the parents that the model's own ``do()`` cuts off from it."""
        cut = {target[0]: action for target, action in self.model.interventions.items() if target[1:] == (child,)}
        return {parent: set_value(action, self.site(parent), self.units, {}) for parent, action in cut.items()}

    def _replayed(self, name: str, fn: Any, past: Factual, noise: Mapping[str, Tensor]) -> Tensor:
        site = self.site(name)
        if name in self.model.interventions:
            return past.values[name]
        if site.coupling is None:
            return fn.expand(site.shape(self.units))
        before, after = unwrap(past.fns[name])[0], unwrap(fn)[0]
        if site.coupling.invertible:
            return site.coupling.transport(before, past.values[name], after)
        return site.coupling.transport(before, past.values[name], after, noise[name])

    def _law(self, fn: Any, noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The target's mean (or probabilities) and a draw's departure from it."""
        if self.predicted.kind == "deterministic":
            value = fn.expand(self.predicted.shape(self.units)).to(self.program.dtype)
            return {"mean": value, "departure": torch.zeros_like(value)}
        coupling, bare = resolve(fn)
        shape = self.predicted.shape(self.units)
        if self.predicted.cardinality is not None:
            codes = torch.arange(self.predicted.cardinality, dtype=self.program.dtype)
            chances = [bare.log_prob(code.to(self.predicted.dtype)).exp().expand(shape) for code in codes]
            if not self.numeric:
                return {"mean": torch.stack(chances, -1)}
            mean = torch.stack(chances, -1) @ codes
        else:
            mean = bare.mean.to(self.program.dtype).expand(shape)
        if not self.noise:
            return {"mean": mean}
        drawn = coupling.push(bare, coupling.fresh(bare, noise[self.plan.outcome])).to(self.program.dtype).expand(shape)
        return {"mean": mean, "departure": drawn - mean}


# -- private ---------------------------------------------------------------------------------------------------------


def _unread(model: Model, below: list[str]) -> Model:
    """The model with the outcome and what depends on it set aside: they are not evidence about the inputs."""
    sites = model.structure.sites
    aside = {
        name: Constant(torch.zeros(sites[name].event, dtype=sites[name].dtype))
        for name in below
        if sites[name].kind == "variable" and name not in model.interventions
    }
    return replace(model, interventions={**model.interventions, **aside})


def _check_interventions(model: Model) -> None:
    odd = [target for target, action in model.interventions.items() if not isinstance(action, Constant)]
    if odd:
        name = odd[0] if isinstance(odd[0], str) else " → ".join(odd[0])
        raise QueryError(
            f"targets are replayed under do() of constants alone; this model's do({name}=…) is not one. Take the model "
            "without it, or write it into the program."
        )
