r"""Probabilities of causation, under the model's own couplings.

With outcome event ``y`` and treatment values ``t`` (treated) and ``c`` (control), for a unit and on average (Pearl
1999; Tian & Pearl 2000):

- necessity    ``PN  = P(Y_c ≠ y | T = t, Y = y)``: would it not have happened but for the treatment?
- sufficiency  ``PS  = P(Y_t = y | T = c, Y ≠ y)``: would the treatment have made it happen?
- both         ``PNS = P(Y_t = y, Y_c ≠ y)``.

They depend on the coupling, which no data identify; :func:`pcm.bounds` gives what holds under every coupling.

>>> import pyro, pyro.distributions as dist, pcm
>>> def trial():
...     t = pyro.sample("t", dist.Bernoulli(0.5))
...     pyro.sample("y", dist.Bernoulli(0.2 + 0.5 * t))
>>> data = {"t": [1.0, 1.0, 0.0], "y": [1.0, 0.0, 0.0]}
>>> round(float(probability_of_necessity(pcm.SCM(trial)._model, "t", "y", data=data)), 6)  # (.7 - .2) / .7
0.714286
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcm.errors import QueryError
from pcm.query.accounting import account_of
from pcm.query.effect import Effect
from pcm.query.effects import check_question
from pcm.query.evaluate import Evaluation
from pcm.query.evidence import read_units
from pcm.query.model import Model
from pcm.query.sampling import sample
from pcm.worlds import Target, choose_seed

__all__ = [
    "probability_of_necessity",
    "probability_of_necessity_and_sufficiency",
    "probability_of_sufficiency",
]


def probability_of_necessity(model: Model, treatment: str, outcome: str, **options: Any) -> Effect:
    """See :func:`pcm.probability_of_necessity`."""
    return _causation("necessity", model, treatment, outcome, **options)


def probability_of_sufficiency(model: Model, treatment: str, outcome: str, **options: Any) -> Effect:
    """See :func:`pcm.probability_of_sufficiency`."""
    return _causation("sufficiency", model, treatment, outcome, **options)


def probability_of_necessity_and_sufficiency(model: Model, treatment: str, outcome: str, **options: Any) -> Effect:
    """See :func:`pcm.probability_of_necessity_and_sufficiency`."""
    return _causation("necessity and sufficiency", model, treatment, outcome, **options)


def _causation(
    kind: str,
    model: Model,
    treatment: str,
    outcome: str,
    *,
    treated: Any = 1,
    control: Any = 0,
    value: Any = 1,
    data: Any = None,
    per_unit: bool = False,
    units: int = 20_000,
    draws: int = 256,
    seed: int | None = None,
) -> Effect:
    check_question(model, treatment, outcome, "difference", units, draws)
    site = model.structure.sites[outcome]
    if not site.discrete and site.kind != "deterministic":
        raise QueryError(
            f"'{outcome}' is continuous; a probability of causation is about an event. Make it a 0/1 variable."
        )
    codes = {name: _code(model, treatment, given) for name, given in (("treated", treated), ("control", control))}
    event = _code(model, outcome, value)
    seed = choose_seed(seed)
    parameters = model.parameters(draws, seed, prior=False)
    if data is None:
        data = sample(model, units, None, seed)
    found = read_units(model, data, what="data", partial=False)
    worlds: dict[str, dict[Target, Any]] = {
        world: {treatment: model.do({treatment: code}).interventions[treatment]} for world, code in codes.items()
    }
    run = Evaluation(model, found.values, found.index, worlds, parameters, draws=draws, seed=seed)
    took, happened = run.points.factual[treatment], run.points.factual[outcome] == event
    necessary = (took == codes["treated"]) & happened
    sufficient = (took == codes["control"]) & ~happened
    if kind == "necessity":
        member, chance = necessary, 1 - run.probability("control", outcome, torch.as_tensor(event))
    elif kind == "sufficiency":
        member, chance = sufficient, run.probability("treated", outcome, torch.as_tensor(event))
    else:
        member, chance = torch.ones_like(happened), _both(run, outcome, event, took, codes, necessary, sufficient)
    if not bool(member.any()):
        asked = f"{treatment} = {treated!r} and {outcome} = {value!r}"
        if kind == "sufficiency":
            asked = f"{treatment} = {control!r} and {outcome} other than {value!r}"
        raise QueryError(f"no unit has {asked}: there is nobody whose probability of {kind} this could be.")
    label = f"probability of {kind} of {treatment} for {outcome}"
    each = chance[:, member]
    if per_unit:
        return Effect(each.numpy(), label=label, account=account_of(run), index=found.index[member.numpy()])
    error = float(each[0].std() / each.shape[1] ** 0.5) if len(each) == 1 and each.shape[1] > 1 else None
    return Effect(each.mean(1).numpy(), label=label, account=account_of(run), standard_error=error)


def _both(
    run: Evaluation,
    outcome: str,
    event: Any,
    took: Tensor,
    codes: dict[str, Any],
    necessary: Tensor,
    sufficient: Tensor,
) -> Tensor:
    """``P(Y_t = y, Y_c ≠ y | unit)``: in closed form where the unit took one of the two, by shared draws else."""
    known = (took == codes["treated"]) | (took == codes["control"])
    but_for = 1 - run.probability("control", outcome, torch.as_tensor(event))
    enough = run.probability("treated", outcome, torch.as_tensor(event))
    chance = torch.where(necessary, but_for, 0.0) + torch.where(sufficient, enough, 0.0)
    if bool(known.all()):
        return chance
    first, second = run.drawn("treated", outcome) == event, run.drawn("control", outcome) != event
    drawn = (first & second).to(chance.dtype)
    drawn = drawn if len(chance) == len(drawn) else drawn.mean(0, keepdim=True)
    return torch.where(known, chance, drawn)


def _code(model: Model, name: str, value: Any) -> Any:
    labels = model.categories.get(name)
    if labels is not None and value in labels:
        return labels.index(value)
    if not isinstance(value, bool | int | float | np.number):
        raise QueryError(
            f"'{value}' is no value of '{name}'" + (f"; categories: {', '.join(map(str, labels))}." if labels else ".")
        )
    return value
