"""Fresh units of a question, and expectations over every joint value of what their worlds rest on.

>>> import pyro, pyro.distributions as dist
>>> from pcm.program import Program
>>> from pcm.query.model import Model
>>> def trial():
...     t = pyro.sample("t", dist.Bernoulli(0.5))
...     pyro.sample("y", dist.Bernoulli(0.25 + 0.5 * t))
>>> asked = Question.of(Model(Program(trial)), "t", "y", {})
>>> setting = Setting(asked)
>>> joint = Joint(setting.plan(asked.sets(1)), ["y"])
>>> enumerate_joint(setting, joint, lambda here, there: {"y": here.values["y"]}, 1, by_tied=False)[1]["y"].tolist()
[[0.75]]
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pcm.query.question import Question
from pcm.query.sampling import covariates_of
from pcm.worlds import Joint, PerUnit, Replayed, Target, WorldPlan, align, lane_count, over_lanes

__all__ = ["Setting", "enumerate_joint", "exact_words"]

#: Runs of a program (parameter draws × assignments × units) up to which an average is exact.
MAX_RUNS = 2**26


class Setting:
    """Fresh units: their covariates, the parameters' draws, and plans of worlds."""

    def __init__(self, question: Question) -> None:
        model, data = question.model, question.data
        self.model = model
        self.covariates, self.index = covariates_of(model, data, None if data is not None else question.units)
        self.parameters = model.parameters(question.draws, question.seed, prior=True)
        self.lanes = lane_count(self.parameters)
        self.counted = data is not None
        if self.lanes > 1 and data is None:  # the lanes' units add up: each needs few
            self.index = self.index[: max(200, 2_000_000 // self.lanes)]
        self._fixed = align(model.interventions, self.index)
        self.natural = self.plan({})

    def plan(self, given: dict[Target, Any], reference: WorldPlan | None = None) -> WorldPlan:
        """A world in which these are set besides what the model sets."""
        return WorldPlan(self.model.structure, {**self._fixed, **align(given, self.index)}, None, reference)

    def alike(self, plans: list[WorldPlan]) -> bool:
        """Whether all units are exchangeable before anything is drawn: then one stands for all."""
        every = [each for plan in plans for each in (plan, plan.reference) if each is not None]
        return not self.counted and not any(isinstance(a, PerUnit) for p in every for a in p.interventions.values())

    def affords(self, joint: Joint, units: int) -> bool:
        """Whether all assignments of a world can be run."""
        return joint.exact and self.lanes * units * (joint.size or 1) <= MAX_RUNS


def enumerate_joint(
    setting: Setting,
    joint: Joint,
    payload: Callable[[Replayed, Replayed | None], dict[str, Tensor]],
    units: int,
    by_tied: bool,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Expectations of a payload over all assignments, or over this world's given each of the tied world's.

    Returns
    -------
    weight : Tensor ``(lane, cell)``
        Probability of each cell: a unit, or an assignment of the tied world and a unit.
    expectations : dict of str to Tensor ``(lane, cell)``
        0 in cells of no probability.
    """
    outer, inner = joint.codes
    count = joint.size or 1
    within = math.prod((joint.inner or {}).values())
    cells = count // within if by_tied else 1
    sums: dict[str, Tensor] = {}

    def one(lane: dict[str, Any]) -> dict[str, Tensor]:
        here, there, weight = joint.run(
            setting.model.program, lane["parameters"], lane["outer"], lane["inner"], units, setting.covariates
        )
        found = {name: value.expand(units) for name, value in payload(here, there).items()}
        return {
            "weight": weight,
            **{name: torch.where(weight > 0, value, 0.0) * weight for name, value in found.items()},
        }

    def inputs(part: slice) -> dict[str, Any]:
        lane = torch.arange(part.start, part.stop)
        return {
            "parameters": {name: value[lane // count] for name, value in setting.parameters.items()},
            "outer": {name: value[lane % count] for name, value in outer.items()},
            "inner": {name: value[lane % count] for name, value in inner.items()},
            "lane": lane,  # something to map over where nothing else is
        }

    def add(out: dict[str, Tensor], part: slice) -> None:
        lane = torch.arange(part.start, part.stop)
        place = lane // count * cells + (lane % count // within if by_tied else 0)
        for name, value in out.items():
            if name not in sums:
                sums[name] = value.new_zeros((setting.lanes * cells, units))
            sums[name].index_add_(0, place, value)

    width = units + sum(value[0].numel() for value in setting.parameters.values())  # a lane carries its parameters
    with setting.model.program.sealed():
        over_lanes(one, inputs, setting.lanes * count, size=width, reduce=add)
    weight = sums.pop("weight")
    scaled = {name: torch.where(weight > 0, value / weight.clamp(min=1e-300), 0.0) for name, value in sums.items()}
    if not by_tied:
        scaled = sums  # the probabilities of all assignments sum to one
    return (weight / units).reshape(setting.lanes, -1), {n: v.reshape(setting.lanes, -1) for n, v in scaled.items()}


def exact_words(joint: Joint) -> str:
    """What was enumerated."""
    outer, inner = joint.outer or {}, joint.inner or {}
    names = [*outer, *(name for name in inner if name not in outer)]
    if not names:
        return "exact, no site is drawn"
    return f"exact over {joint.size} joint assignments of {', '.join(names)}"
