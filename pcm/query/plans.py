"""The plans of a query's worlds, with every value per unit in the order of the units.

>>> import pyro, pyro.distributions as dist, pandas
>>> from pcm.program import Program
>>> from pcm.query.model import Model
>>> def pair():
...     x = pyro.sample("x", dist.Normal(0.0, 1.0))
...     pyro.sample("y", dist.Normal(2 * x, 1.0))
>>> model = Model(Program(pair))
>>> base, plans = plans_of(model, {"do": model.do({"x": 0.0}).interventions}, {}, pandas.RangeIndex(1))
>>> base.changed, plans["do"].replayed
(frozenset(), ('y',))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from pcm.errors import InterventionError
from pcm.query.model import Model
from pcm.worlds import Target, WorldPlan, align

__all__ = ["plans_of"]


def plans_of(
    model: Model,
    worlds: Mapping[str, Mapping[Target, Any]],
    references: Mapping[str, Mapping[Target, Any]],
    index: pd.Index,
) -> tuple[WorldPlan, dict[str, WorldPlan]]:
    """The plan of the world that the evidence comes from, and those of the worlds asked for.

    Parameters
    ----------
    model : Model
        Its interventions are in force in every world.
    worlds : dict of world to its interventions
    references : dict of world to interventions
        The reference world of a nested one.
    index : pandas.Index
        Names of the units.

    Raises
    ------
    InterventionError
        A value per unit for other units; a world that needs a value which a shift has hidden.
    """
    common = align(model.interventions, index)
    base = WorldPlan(model.structure, common)

    def plan_of(given: Mapping[Target, Any], reference: WorldPlan | None = None) -> WorldPlan:
        given = align(given, index)
        return WorldPlan(model.structure, {**common, **given}, set(given), reference)

    plans = {
        world: plan_of(given, plan_of(references[world]) if world in references else None)
        for world, given in worlds.items()
    }
    for world, plan in plans.items():
        plan.check_units(len(index))
        reused = plan.natural & {target for target in plan.active if isinstance(target, str)}
        for name in sorted(base.natural & ({*plan.replayed} | reused)):
            raise InterventionError(
                f"the evidence comes from a world where do({name}=…) shifts '{name}' from its own natural value, "
                f"which is then unknown, and world '{world}' needs it. Take evidence from the unshifted model, and "
                "give the shift as a world.",
                site=name,
            )
    return base, plans
