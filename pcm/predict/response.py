"""How much a target responds to its sources, and units in which to ask the same of a predictor.

For each source fresh units are drawn from the model, set to two levels of the source, and everything else follows with
the units' own noise. The mean difference of the target between the two is the response that the requirements pin
(along several admissible paths at once, all other sources at their own values); that of a prediction is its total
effect; what is between them is the *gap*.

>>> import pyro, pyro.distributions as dist, pcm
>>> from pcm.requirement import Requirement, target_plan
>>> def program():
...     a = pyro.sample("A", dist.Normal(0.0, 1.0))
...     z = pyro.sample("Z", dist.Normal(2.0 * a, 1.0))
...     pyro.sample("Y", dist.Normal(z + a, 1.0))
>>> scm = pcm.SCM(program)
>>> plan = target_plan(scm.graph, [Requirement("A", outcome="Y", admissible=["A -> Z -> Y"])], "Y")
>>> (found,) = responses(scm._model, plan, units=100, seed=0)
>>> found.source, round(float(found.of_target / found.step), 9)
('A', 2.0)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pcm.query.counterfactual import counterfactual
from pcm.query.model import Model
from pcm.query.sampling import sample
from pcm.requirement import TargetPlan
from pcm.requirement.copies import Copies

__all__ = ["Response", "responses"]


@dataclass(frozen=True)
class Response:
    """Fresh units under two levels of a source.

    Attributes
    ----------
    source : str
    levels : tuple
        The lower and the higher.
    step : float
        Their difference (1 between two categories).
    low, high : DataFrame
        The units under each.
    of_target : array ``()`` or ``(class,)``
        Mean difference of the target, high less low; of a finite outcome's probabilities.
    """

    source: str
    levels: tuple[Any, Any]
    step: float
    low: pd.DataFrame
    high: pd.DataFrame
    of_target: np.ndarray


def responses(
    model: Model, plan: TargetPlan, *, units: int, seed: int, copies: int = 16, data: pd.DataFrame | None = None
) -> list[Response]:
    """The target's response to each of its sources, under the posterior's mean parameters.

    Parameters
    ----------
    units : int
        Fresh units; with covariates the rows of ``data`` are used.
    """
    if model.free:
        model = model.fix({name: value.mean(0) for name, value in model.parameters(1_000, seed, prior=False).items()})
    covariates = list(model.structure.covariates)
    rows = None if not covariates or data is None else data[covariates].reset_index(drop=True)
    fresh = sample(model, units if rows is None else None, rows, seed)
    made = []
    for source in plan.sources:
        levels = _levels(model, fresh, source)
        worlds = {"low": {source: levels[0]}, "high": {source: levels[1]}}
        cf = counterfactual(model, fresh, worlds=worlds, draws=1, seed=seed)
        frames, means = {}, {}
        for world in worlds:
            frames[world] = _frame(model, cf, world, fresh)
            marginal = fresh if covariates else None
            run = Copies(model, frames[world], plan, states=1, copies=copies, seed=seed, marginal=marginal, noise=False)
            means[world] = run.all().mean.mean((0, 1, 2))
        step = float(levels[1] - levels[0]) if not isinstance(levels[0], str) else 1.0
        made.append(Response(source, levels, step, frames["low"], frames["high"], means["high"] - means["low"]))
    return made


def _frame(model: Model, cf: Any, world: str, fresh: pd.DataFrame) -> pd.DataFrame:
    """The units of one world as a frame like the observed one."""
    from pcm.query.evidence import frame_of

    run = cf._run
    values = {name: run.drawn(world, name)[0] for name in model.structure.sites}
    return frame_of(model, values, fresh.index)


def _levels(model: Model, fresh: pd.DataFrame, source: str) -> tuple[Any, Any]:
    site, labels = model.structure.sites[source], model.categories.get(source)
    if labels is not None:
        return labels[0], labels[-1]
    if site.cardinality is not None:
        return 0, site.cardinality - 1
    values = fresh[source].to_numpy(dtype=np.float64)
    middle, spread = values.mean(), values.std() or 1.0
    if site.discrete:
        return float(np.floor(middle)), float(np.floor(middle) + 1)
    return float(middle - spread / 2), float(middle + spread / 2)
