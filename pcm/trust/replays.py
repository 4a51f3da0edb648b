"""Targets and predictions unit by unit, through the engine's edge worlds.

A copy of the target plan is one counterfactual of its variable: the edges that it does not read as they are get the
value of another copy, or the reference; its noise is the unit's own. The outcome's noise is averaged out: its column is
removed before abduction. What the inputs do not determine (hidden variables, noise of discrete mediators) is drawn from
its posterior given them.

>>> import pyro, pyro.distributions as dist, pcm
>>> from pcm.requirement import target_plan
>>> def curved():
...     a = pyro.sample("a", dist.Normal(0.0, 1.0))
...     x = pyro.sample("x", dist.Normal(a, 1.0))
...     pyro.sample("y", dist.Normal(x * a, 1.0))
>>> scm = pcm.SCM(curved)
>>> plan = target_plan(scm.graph, [pcm.Requirement("a", outcome="y", admissible="a -> x -> y")], "y")
>>> units = {"a": np.array([1.0]), "x": np.array([3.0]), "y": np.array([0.0])}
>>> Replays(scm, plan, ("a", "x"), seed=0).target(units, {"a": np.array([2.0])}).tolist()
[6.0]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from pcm.graph import ancestors, descendants
from pcm.requirement import Copy, TargetPlan
from pcm.scm import SCM
from pcm.trust.linear_law import mechanism_at
from pcm.trust.references import reference_points

__all__ = ["Columns", "Posterior", "Replays"]

Columns = dict[str, np.ndarray]

#: Draws of what the inputs leave open: hidden variables, and noise of discrete mediators.
_HIDDEN_DRAWS, _NOISE_DRAWS = 32, 8


@dataclass(frozen=True)
class Posterior:
    """Expectations given the inputs; a row a draw of what they leave open.

    Attributes
    ----------
    outcome : numpy.ndarray (draw, unit)
        Mean of the outcome.
    variance : numpy.ndarray (draw, unit)
    target : numpy.ndarray (half, draw, unit)
        Mean of the target, averaged over each half of the references.
    """

    outcome: np.ndarray
    variance: np.ndarray
    target: np.ndarray


class Replays:
    """One plan's targets and faithful predictions.

    Parameters
    ----------
    scm : SCM
        Without free parameters.
    plan : TargetPlan
    inputs : sequence of str
    seed : int
    completed : dict, optional
        Keeps what was inferred for inputs seen before, by their identity; several plans may share one.
    """

    def __init__(
        self,
        scm: SCM,
        plan: TargetPlan,
        inputs: Sequence[str],
        *,
        seed: int,
        completed: dict[tuple[int, int], tuple[Columns, Columns]] | None = None,
    ) -> None:
        self._completed = {} if completed is None else completed
        # codes throughout: labels are for people
        self.scm = SCM._of(replace(scm._model, categories={}))
        self.model, self.plan, self.inputs, self.seed = self.scm._model, plan, tuple(inputs), seed
        self.sites, self.outcome = self.model.structure.sites, plan.outcome
        graph = self.scm.graph
        self.hidden = tuple(n for n in self.sites if n in ancestors(graph, self.outcome) and n not in self.inputs)
        self.below = descendants(graph, self.outcome)
        self.parameters = {name: value[0] for name, value in self.model.parameters(1, seed, prior=True).items()}

    @property
    def draws(self) -> int:
        """Draws of what the inputs leave open."""
        if self.hidden:
            return _HIDDEN_DRAWS
        for copy in self.plan.replayed[:-1]:
            coupling = self.sites[copy.node].coupling
            if coupling is not None and not coupling.invertible:
                return _NOISE_DRAWS
        return 1

    def sample(self, units: int) -> Columns:
        """Fresh units, every variable."""
        frame = self.scm.sample(units, seed=self.seed)
        return {name: frame[name].to_numpy(dtype=float) for name in self.sites}

    def world(self, values: Columns, sets: Mapping[str, float]) -> Columns:
        """Complete units had some sources been set."""
        found = self.scm.counterfactual(values, do=dict(sets), draws=1, seed=self.seed)
        return {name: np.asarray(found.draws(name, world="do")[0], dtype=float) for name in self.sites}

    def mean(self, values: Columns) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of the outcome given its parents, ``(unit,)``."""
        units = len(next(iter(values.values())))
        tensors = {n: torch.as_tensor(v.copy()).to(self.sites[n].dtype) for n, v in values.items()}
        with self.model.program.sealed():
            mean, variance = mechanism_at(self.model, self.outcome, tensors, self.parameters, units)
        return mean.numpy(), variance.numpy()

    def target(self, values: Columns, reference: Columns, sets: Mapping[str, float] | None = None) -> np.ndarray:
        """``T`` of complete units for one reference, the outcome's noise averaged out, ``(unit,)``.

        With ``sets``, had these sources been set.
        """
        sets = dict(sets or {})
        factual = self.world(values, sets) if sets else values
        return self.mean({**factual, **self._reads(values, reference, sets)})[0]

    def features(self, inputs: Columns, samples: Columns) -> Columns:
        """Parents of the outcome that it reads a copy of: the copy's mean over references, where nothing is hidden."""
        units, draws = len(next(iter(inputs.values()))), self.draws
        values = self._complete(inputs, units, draws)
        kept = [parent for parent, feed in self.plan.inputs.items() if isinstance(feed, Copy)]
        total = {parent: np.zeros(units) for parent in kept}
        points, weights = reference_points(samples, units=units * draws, seed=self.seed)
        for place, weight in enumerate(weights.mean(0)):
            reads = self._reads(values, {name: value[place] for name, value in points.items()}, {})
            for parent in kept:
                total[parent] += weight * reads[parent].reshape(draws, units).mean(0)
        return total

    def _reads(self, values: Columns, reference: Columns, sets: Mapping[str, float]) -> Columns:
        """What the target's own mechanism does not read as it is, ``(unit,)``."""
        units = len(next(iter(values.values())))
        found: dict[int, np.ndarray] = {}
        reads: Columns = {}
        for copy in self.plan.replayed:
            reads = {
                parent: reference[parent] if feed is None else found[id(feed)] for parent, feed in copy.changed.items()
            }
            if copy is self.plan.target:
                break
            if copy.node in sets:
                found[id(copy)] = np.full(units, sets[copy.node])
                continue
            edges = {(parent, copy.node): self._cast(parent, value) for parent, value in reads.items()}
            made = self.scm.counterfactual(values, do={**sets, **edges}, draws=1, seed=self.seed)
            found[id(copy)] = np.asarray(made.draws(copy.node, world="do")[0], dtype=float)
        return reads

    def posterior(self, inputs: Columns, samples: Columns) -> Posterior:
        """Outcome and target given the inputs, averaged over references (``samples`` of each source's)."""
        units, draws = len(next(iter(inputs.values()))), self.draws
        values = self._complete(inputs, units, draws)
        mean, variance = self.mean(values)
        target = self.averaged_target(values, samples)
        shape = (draws, units)
        return Posterior(mean.reshape(shape), variance.reshape(shape), target.reshape(2, *shape))

    def averaged_target(self, values: Columns, samples: Columns, sets: Mapping[str, float] | None = None) -> np.ndarray:
        """``T`` of complete units, averaged over two halves of references, ``(half, unit)``."""
        units = len(next(iter(values.values())))
        points, weights = reference_points(samples, units=units, seed=self.seed)
        total = np.zeros((2, units))
        for place in range(weights.shape[1]):
            at = {name: value[place] for name, value in points.items()}
            total += weights[:, place, None] * self.target(values, at, sets)
        return total

    def _complete(self, inputs: Columns, units: int, draws: int) -> Columns:
        """Every variable, ``(draw · unit,)``; the outcome and what is below it hold values that nothing reads."""
        key = id(inputs), draws
        if key in self._completed:
            return self._completed[key][1]
        read = {name: np.tile(inputs[name], draws) for name in self.inputs}
        if self.hidden and self.inputs:
            anchor = self.inputs[0]
            evidence = {name: inputs[name] for name in self.inputs}
            found = self.scm.counterfactual(
                evidence, do={anchor: self._cast(anchor, inputs[anchor])}, draws=draws, seed=self.seed
            )
            for name in self.hidden:
                read[name] = np.asarray(found.draws(name, world="factual"), dtype=float).reshape(-1)
        rest = [name for name in self.sites if name not in read]
        if rest:
            fresh = self.sample(units * draws)
            read |= {name: fresh[name] for name in rest}
        kept = [name for name, site in self.sites.items() if site.kind != "deterministic" or name in inputs]
        whole = {name: read[name] for name in kept}
        self._completed[key] = inputs, whole  # the inputs are kept too: an identity is theirs while they live
        return whole

    def _cast(self, name: str, value: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.array(value)).to(self.sites[name].dtype)
