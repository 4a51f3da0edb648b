"""The mechanisms of a treatment and an outcome, on the scales on which a confounder moves them.

What a causal study knows of its own variables sets the scale for what it does not know: the strength of an observed
cause is the standard deviation of a mechanism's predictor as the cause runs over its own distribution with the others
held, ``|β| sd(x)`` in a linear one. A standard normal confounder of strength ``a`` has just that of ``a``.

>>> import pyro, pyro.distributions as dist
>>> from pcm.program import Program
>>> from pcm.query.model import Model
>>> def study():
...     z = pyro.sample("z", dist.Normal(0.0, 1.0))
...     t = pyro.sample("t", dist.Bernoulli(logits=2 * z))
...     pyro.sample("y", dist.Normal(t - 3 * z, 1.0))
>>> units = {"z": [-1.0, 1.0], "t": [0, 1], "y": [0.0, 0.0]}
>>> Mechanisms(Model(Program(study)), "t", "y", units, 1, 0).benchmarks()
{'z': (2.0, 3.0)}
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcm.errors import ArgumentError, EvidenceError, QueryError, UnknownNameError, listed
from pcm.graph import ancestors, descendants
from pcm.query.confounded_program import link_of, shift_of
from pcm.query.confounder import OutcomeLaw, TreatmentLaw
from pcm.query.mechanisms import at_mechanisms, parents_in
from pcm.query.model import Model

__all__ = ["Mechanisms"]

#: Units over which the confounder is integrated; other links than the identity solve an equation for each.
_MOST_UNITS = {"identity": 1_000, "log": 1_000, "logit": 400}
#: Values of a covariate at which a mechanism is looked at.
_PLACES = 25


class Mechanisms:
    """The mechanisms of treatment and outcome at some units, under the posterior mean of the parameters.

    Parameters
    ----------
    model : Model
    treatment, outcome : str
    data : DataFrame, dict or Arrow table
    draws : int
        Parameter draws that are averaged.
    seed : int

    Raises
    ------
    QueryError
        Strengths are not defined for their distributions.
    EvidenceError
        A column that they read is missing.
    """

    def __init__(self, model: Model, treatment: str, outcome: str, data: Any, draws: int, seed: int) -> None:
        self.model, self.treatment, self.outcome = model, treatment, outcome
        self.values, index = parents_in(model, data, [treatment, outcome])
        self.units = len(index)
        parameters = model.parameters(draws, seed, prior=False)
        self.parameters = {name: value.mean(0, keepdim=True) for name, value in parameters.items()}
        kinds: list[str] = []

        if treatment not in self.values:
            raise EvidenceError(f"the data lack the treatment '{treatment}'.", column=treatment)

        def kind(fns: dict[str, Any]) -> dict[str, Tensor]:
            kinds[:] = [shift_of(fns[treatment], treatment), link_of(fns[outcome], outcome)]
            return {}

        at_mechanisms(model, self.values, self.units, self.parameters, [treatment, outcome], kind)
        self.shift, self.link = kinds
        sites, graph = model.structure.sites, model.structure.graph
        between = descendants(graph, treatment) & ancestors(graph, outcome)
        #: Variables through which the treatment moves the outcome.
        self.mediators = [name for name in sites if name in between and sites[name].kind == "variable"]

    def _run(
        self, values: dict[str, Tensor], read: Callable[[dict[str, Any]], dict[str, Tensor]]
    ) -> dict[str, np.ndarray]:
        found = at_mechanisms(self.model, values, self.units, self.parameters, [self.treatment, self.outcome], read)
        return {key: value[0].expand(self.units).numpy() for key, value in found.items()}

    def _predictor(self, fns: dict[str, Any]) -> dict[str, Tensor]:
        """Both mechanisms on the scale on which a confounder moves them, ``(unit)``."""
        return {"treatment": _on(self.shift, fns[self.treatment]), "outcome": _on(self.link, fns[self.outcome])}

    def laws(self, treated: float, control: float) -> tuple[TreatmentLaw, OutcomeLaw]:
        """Treatment and outcome given the covariates, as the program has them, in both arms."""
        name = self.treatment
        if self.link != "identity" and self.mediators:
            raise QueryError(
                f"{listed(self.mediators)} lies between {name} and {self.outcome}, whose mean is not linear: the "
                "confounder's part in it has no closed form. Ask on a linear outcome, or without the mediator."
            )

        def moments(fns: dict[str, Any]) -> dict[str, Tensor]:
            t, y = fns[self.treatment], fns[self.outcome]
            return {"t": t.mean, "tt": t.variance, "y": y.mean, "yy": y.variance}

        own = self._run(self.values, moments)
        shape = self.values[name].shape
        arms = []
        for value in (treated, control):
            set_to = torch.full(shape, value, dtype=self.values[name].dtype)
            arms.append(self._run({**self.values, name: set_to}, moments)["y"])
        if not all(np.isfinite(array).all() for array in (*own.values(), *arms)):
            raise QueryError(f"a mean or variance of '{name}' or '{self.outcome}' is not finite; strengths need them.")
        if self.shift == "logit" and {treated, control} != {0.0, 1.0}:
            raise ArgumentError(f"'{name}' is Bernoulli: treated= and control= are its two values.")
        # units spread evenly over the treatment's mean stand for all: what is integrated is smooth in it
        step = max(1, -(-self.units // _MOST_UNITS[self.link]))
        few = np.argsort(own["t"], kind="stable")[step // 2 :: step] if step > 1 else np.arange(self.units)
        mean = np.clip(own["t"], 1e-9, 1 - 1e-9) if self.shift == "logit" else own["t"]
        return (
            TreatmentLaw(self.shift, mean[few], own["tt"][few], treated, control),
            OutcomeLaw(self.link, arms[0][few], arms[1][few], float(own["yy"].mean())),
        )

    def rank(self) -> int:
        """Rank of the outcome's predictor in the free parameters: coefficients that the data were fitted with."""
        free = [name for name in self.model.free if name in self.parameters]
        sizes = {name: self.parameters[name][0].numel() for name in free}
        lanes = 1 + sum(sizes.values())
        step, place, moved = 1e-3, 1, {}
        for name, start in self.parameters.items():
            block = start.expand(lanes, *start.shape[1:]).clone()
            for element in range(sizes.get(name, 0)):
                block.reshape(lanes, -1)[place, element] += step
                place += 1
            moved[name] = block
        found = at_mechanisms(
            self.model,
            self.values,
            self.units,
            moved,
            [self.outcome],
            lambda fns: {"y": _on(self.link, fns[self.outcome]).expand(self.units)},
        )["y"]
        design = (found[1:] - found[:1]) / step
        return int(torch.linalg.matrix_rank(design @ design.T, rtol=1e-9)) if lanes > 1 else 0

    def benchmarks(self, names: Sequence[str] | None = None) -> dict[str, tuple[float, float]]:
        """Strengths of observed causes: how much both predictors vary as the cause runs over its own distribution."""
        causes = self._causes()
        if names is not None:
            for name in names:
                if name not in self.model.structure.sites:
                    raise UnknownNameError(name, known=list(self.model.structure.sites))
                if name not in causes:
                    raise ArgumentError(
                        f"'{name}' is no direct cause of {self.treatment} or {self.outcome} that {self.treatment} does "
                        f"not move; those are {listed(causes)}."
                    )
            causes = list(names)
        found = {}
        for name in causes:
            own = self.values[name]
            places, weight = _places(own)
            rows = [self._run({**self.values, name: place.expand(own.shape)}, self._predictor) for place in places]
            spread = []
            for key in ("treatment", "outcome"):
                values = np.stack([row[key] for row in rows])
                mean = weight @ values
                spread.append(math.sqrt(float((weight @ (values - mean) ** 2).mean())))
            found[name] = (spread[0], spread[1])
        return found

    def _causes(self) -> list[str]:
        sites, graph = self.model.structure.sites, self.model.structure.graph
        below = descendants(graph, self.treatment, include_self=True)
        stack, seen = [self.treatment, self.outcome], set()
        while stack:
            for parent in graph.pred[stack.pop()]:
                if parent not in seen and parent not in below:
                    seen.add(parent)
                    if sites[parent].kind == "deterministic":
                        stack.append(parent)
        return [name for name in sites if name in seen and sites[name].scalar and sites[name].kind != "deterministic"]


def _on(scale: str, fn: Any) -> Tensor:
    if scale == "logit":
        return fn.logits
    return fn.mean.log() if scale == "log" else fn.mean


def _places(values: Tensor) -> tuple[list[Tensor], np.ndarray]:
    """Values that stand for a variable's distribution, and their weights."""
    distinct, counts = torch.unique(values, return_counts=True)
    if len(distinct) > _PLACES:
        ordered = values.flatten().sort().values
        edges = torch.linspace(0, len(ordered), _PLACES + 1).round().long()
        groups = [ordered[a:b] for a, b in pairwise(edges.tolist())]
        distinct = torch.stack([group.to(torch.float64).mean() for group in groups]).to(values.dtype)
        # group means are closer together than what they stand for
        spread, whole = distinct.to(torch.float64).std(correction=0), values.to(torch.float64).std(correction=0)
        if values.is_floating_point():
            distinct = distinct.mean() + (distinct - distinct.mean()) * (whole / spread)
        counts = torch.tensor([len(group) for group in groups])
    weight = (counts / counts.sum()).numpy()
    return list(distinct), weight
