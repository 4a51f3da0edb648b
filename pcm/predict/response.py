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

from pcm.errors import QueryError
from pcm.predict.moved import dealt, fresh_units, moved
from pcm.query.model import Model
from pcm.requirement import TargetPlan
from pcm.requirement.copies import Copies

__all__ = ["Response", "responses"]

#: Of a fitted model's parameters; each unit is under one of them.
_DRAWS = 16


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
    model: Model,
    plan: TargetPlan,
    *,
    units: int,
    seed: int,
    copies: int = 16,
    data: pd.DataFrame | None = None,
    numeric: bool = False,
) -> list[Response]:
    """The target's response to each of its sources; of a fitted model, averaged over its posterior draws too.

    Parameters
    ----------
    units : int
        Fresh units; with covariates the rows of ``data`` are used.
    numeric : bool
        Whether a finite outcome is a number.

    Raises
    ------
    QueryError
        A source that is a vector.
    """
    covariates = data if model.structure.covariates else None
    groups = []
    for one, places, own in dealt(model, units if covariates is None else len(covariates), _DRAWS, seed):
        part = None if covariates is None else covariates.iloc[places]
        groups.append((one, fresh_units(one, len(places), part, own), own))
    fresh = pd.concat([rows for _, rows, _ in groups], ignore_index=True)
    settings: dict[str, Any] = {"states": 1, "copies": copies, "noise": False, "numeric": numeric}
    made = []
    for source in plan.sources:
        levels = _levels(model, fresh, source)
        worlds = {"low": {source: levels[0]}, "high": {source: levels[1]}}
        frames, means = {world: [] for world in worlds}, {world: [] for world in worlds}
        for one, rows, own in groups:
            there = moved(one, rows, worlds, seed=own)
            for world in worlds:
                run = Copies(
                    one, there[world], plan, marginal=None if covariates is None else fresh, seed=own, **settings
                )
                frames[world].append(there[world])
                means[world].append(run.all().mean.mean((0, 1)))
        low, high = (pd.concat(frames[world], ignore_index=True) for world in worlds)
        change = np.concatenate(means["high"]).mean(0) - np.concatenate(means["low"]).mean(0)
        step = float(levels[1] - levels[0]) if not isinstance(levels[0], str) else 1.0
        made.append(Response(source, levels, step, low, high, change))
    return made


def _levels(model: Model, fresh: pd.DataFrame, source: str) -> tuple[Any, Any]:
    site, labels = model.structure.sites[source], model.categories.get(source)
    if not site.scalar or site.inner:
        raise QueryError(f"'{source}' has several values a unit, so there is no one response to it: ask about one.")
    if labels is not None:
        return labels[0], labels[-1]
    if site.cardinality is not None:
        return 0, site.cardinality - 1
    values = fresh[source].to_numpy(dtype=np.float64)
    middle, spread = values.mean(), values.std() or 1.0
    if site.discrete:
        return float(np.floor(middle)), float(np.floor(middle) + 1)
    return float(middle - spread / 2), float(middle + spread / 2)
