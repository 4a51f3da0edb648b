"""Targets and predictions of simulated units, averaged over references.

The target's copies are run by :class:`pcm.requirement.copies.Copies`, a copy of each row a reference. The outcome's
noise is averaged out: its column is removed before abduction. What the inputs do not determine (hidden variables, noise
of discrete mediators) is drawn from its posterior given them.

>>> import pyro, pyro.distributions as dist, pcm
>>> from pcm.requirement import target_plan
>>> def curved():
...     a = pyro.sample("a", dist.Normal(0.0, 1.0))
...     x = pyro.sample("x", dist.Normal(a, 1.0))
...     pyro.sample("y", dist.Normal(x * a, 1.0))
>>> scm = pcm.SCM(curved)
>>> plan = target_plan(scm.graph, [pcm.Requirement("a", outcome="y", admissible="a -> x -> y")], "y")
>>> units = {"a": np.array([1.0]), "x": np.array([3.0]), "y": np.array([0.0])}
>>> Replays(scm, plan, ("a", "x"), seed=0).averaged_target(units, {"a": np.array([2.0])}).mean(0).tolist()
[6.0]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from pcm.errors import QueryError
from pcm.graph import ancestors
from pcm.query.model import Model
from pcm.query.sampling import sample
from pcm.requirement import Copy, TargetPlan
from pcm.requirement.copies import Copies, CopyDraws
from pcm.requirement.references import reference_points
from pcm.scm import SCM
from pcm.trust.even_noise import even_noise
from pcm.trust.linear_law import mechanism_at
from pcm.worlds import Constant, PerUnit, Stochastic

__all__ = ["Columns", "Posterior", "Replays"]

Columns = dict[str, np.ndarray]

#: Draws of what the inputs leave open: hidden variables, and noise of discrete mediators; references over all draws.
_HIDDEN_DRAWS, _NOISE_DRAWS, _REFERENCES = 32, 8, 160


@dataclass(frozen=True)
class Posterior:
    """Expectations given the inputs; a row a draw of what they leave open.

    Attributes
    ----------
    outcome : numpy.ndarray (draw, unit)
        Mean of the outcome.
    variance : numpy.ndarray (draw, unit)
    target : numpy.ndarray (half, draw, unit)
        Mean of the target, averaged over each half of the references; over all of them where there are several draws,
        each of which has references of its own.
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
        self._answers: dict[int, tuple[Columns, Posterior, Columns]] = {}
        # codes throughout: labels are for people
        self.scm = SCM._of(replace(scm._model, categories={}))
        self.model, self.plan, self.inputs, self.seed = self.scm._model, plan, tuple(inputs), seed
        _check_interventions(self.model)
        self.sites, self.outcome = self.model.structure.sites, plan.outcome
        self.parameters = {name: value[0] for name, value in self.model.parameters(1, seed, prior=False).items()}
        self.hidden = tuple(
            n for n in self.sites if n in ancestors(self.scm.graph, self.outcome) and n not in self.inputs
        )

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

    def sample(self, units: int, sets: Mapping[str, float] | None = None) -> Columns:
        """Fresh units, every scalar variable; with ``sets`` the same units and noise, had these sources been set."""
        noise = even_noise(self.model, units, self.seed)
        frame = sample((self.scm.do(dict(sets)) if sets else self.scm)._model, units, None, self.seed, noise)
        return {name: frame[name].to_numpy(dtype=float) for name, site in self.sites.items() if site.scalar}

    def mean(self, values: Columns) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of the outcome given its parents, ``(unit,)``."""
        units = len(next(iter(values.values())))
        tensors = {n: torch.as_tensor(v.copy()).to(self.sites[n].dtype) for n, v in values.items()}
        with self.model.program.sealed():
            mean, variance = mechanism_at(self.model, self.outcome, tensors, self.parameters, units)
        return mean.numpy(), variance.numpy()

    def features(self, inputs: Columns, samples: Columns) -> Columns:
        """Parents that the outcome reads a copy of, or that are no input; as the target's, ``(half, draw, unit)``."""
        return self._given(inputs, samples)[1]

    def posterior(self, inputs: Columns, samples: Columns) -> Posterior:
        """Outcome and target given the inputs, averaged over references (``samples`` of each source's)."""
        return self._given(inputs, samples)[0]

    def _given(self, inputs: Columns, samples: Columns) -> tuple[Posterior, Columns]:
        """Both, from one run; inputs seen before are known by their identity, the references are always the same."""
        if id(inputs) not in self._answers:
            units, draws = len(next(iter(inputs.values()))), self.draws
            values = self._complete(inputs, units, draws)
            mean, variance = self.mean(values)
            found, weights = self._run(values, samples, draws=draws)
            shape = (draws, units)
            posterior = Posterior(
                mean.reshape(shape), variance.reshape(shape), _averaged(found, weights).reshape(-1, *shape)
            )
            features = {
                parent: (weights @ found.inputs[parent][0]).reshape(-1, *shape)
                for parent, feed in self.plan.inputs.items()
                if isinstance(feed, Copy) or (feed is not None and parent not in self.inputs)
            }
            self._answers[id(inputs)] = inputs, posterior, features  # kept too: an identity is theirs while they live
        return self._answers[id(inputs)][1:]

    def averaged_target(self, values: Columns, samples: Columns, sets: Mapping[str, float] | None = None) -> np.ndarray:
        """``T`` of complete units, averaged over two halves of references, ``(half, unit)``.

        With ``sets`` the units are those of a world where these sources were set.
        """
        return _averaged(*self._run(values, samples, sets))

    def _run(
        self, values: Columns, samples: Columns, sets: Mapping[str, float] | None = None, draws: int = 1
    ) -> tuple[CopyDraws, np.ndarray]:
        """The target's copies, a copy of each row a reference; and the references' weights ``(half, copy)``.

        Of several ``draws`` a unit the rows are independent given the inputs, and need no halves of references.
        """
        rows = len(next(iter(values.values())))
        fewer = {"strata": max(4, _REFERENCES // draws), "halves": 1} if draws > 1 else {}
        points, weights = reference_points(samples, units=rows, seed=self.seed, **fewer)
        # what do() sets is read like any other input: a prediction for other values is asked for too
        own = {target: action for target, action in self.model.interventions.items() if target not in values}
        scm = SCM._of(replace(self.model, interventions=own))
        run = Copies(
            (scm.do(dict(sets)) if sets else scm)._model,
            pd.DataFrame(values),
            self.plan,
            states=1,
            copies=weights.shape[1],
            seed=self.seed,
            noise=False,
            reference={name: torch.as_tensor(value) for name, value in points.items()},
        )
        return run.all(), weights

    def _complete(self, inputs: Columns, units: int, draws: int) -> Columns:
        """Every variable, ``(draw · unit,)``; the outcome and what is below it hold values that nothing reads."""
        key = id(inputs), draws
        if key in self._completed:
            return self._completed[key][1]
        read = {name: np.tile(inputs[name], draws) for name in self.inputs}
        if self.hidden and self.inputs:
            anchor = self.inputs[0]
            evidence = {name: inputs[name] for name in self.inputs}
            held = torch.as_tensor(inputs[anchor].copy()).to(self.sites[anchor].dtype)
            found = self.scm.counterfactual(evidence, do={anchor: held}, draws=draws, seed=self.seed)
            for name in self.hidden:
                read[name] = np.asarray(found.draws(name, world="factual"), dtype=float).reshape(-1)
        rest = [name for name, site in self.sites.items() if site.scalar and name not in read]
        if rest:
            fresh = self.sample(units)
            read |= {name: np.tile(fresh[name], draws) for name in rest}
        kept = [name for name in read if self.sites[name].kind != "deterministic" or name in inputs]
        whole = {name: read[name] for name in kept}
        self._completed[key] = inputs, whole  # the inputs are kept too: an identity is theirs while they live
        return whole


def _averaged(found: CopyDraws, weights: np.ndarray) -> np.ndarray:
    """The target's mean over two halves of references, ``(half, unit)``."""
    mean = found.mean[0]
    if mean.ndim == 3:  # probabilities of a finite outcome
        mean = mean @ np.arange(mean.shape[-1], dtype=float)
    return weights @ np.broadcast_to(mean, (weights.shape[1], mean.shape[1]))


def _check_interventions(model: Model) -> None:
    for target, action in model.interventions.items():
        alone = isinstance(target, str)
        if not isinstance(action, Constant | Stochastic | PerUnit if alone else Constant):
            name = target if alone else " → ".join(target)
            raise QueryError(
                f"a check cannot be simulated under do({name}=…), which sets it from other values: the noise behind it "
                "is not known from what is observed. Check the model without it, or write it into the program."
            )
