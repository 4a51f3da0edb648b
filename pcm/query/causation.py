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

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pcm.errors import QueryError
from pcm.query.account import Account
from pcm.query.accounting import account_of, account_of_fresh
from pcm.query.effect import Effect
from pcm.query.evaluate import Evaluation
from pcm.query.evidence import read_units
from pcm.query.identified import accounted
from pcm.query.mechanisms import code_of
from pcm.query.model import Model
from pcm.query.question import Question
from pcm.query.sampling import sample
from pcm.query.setting import Setting, enumerate_joint, exact_words
from pcm.worlds import Factual, Joint, Replayed, Target

__all__ = [
    "probability_of_necessity",
    "probability_of_necessity_and_sufficiency",
    "probability_of_sufficiency",
]

_NAMES = {"necessity": "PN", "sufficiency": "PS", "necessity and sufficiency": "PNS"}


def probability_of_necessity(model: Model, treatment: str, outcome: str, **options: Any) -> Effect:
    """See :func:`pcm.probability_of_necessity`."""
    return _causation("necessity", model, treatment, outcome, **options)


def probability_of_sufficiency(model: Model, treatment: str, outcome: str, **options: Any) -> Effect:
    """See :func:`pcm.probability_of_sufficiency`."""
    return _causation("sufficiency", model, treatment, outcome, **options)


def probability_of_necessity_and_sufficiency(model: Model, treatment: str, outcome: str, **options: Any) -> Effect:
    """See :func:`pcm.probability_of_necessity_and_sufficiency`."""
    return _causation("necessity and sufficiency", model, treatment, outcome, **options)


def _causation(kind: str, model: Model, treatment: str, outcome: str, *, value: Any = 1, **options: Any) -> Effect:
    asked = Question.of(model, treatment, outcome, options, units=20_000, draws=256)
    if asked.scale != "difference":
        raise QueryError(f"a probability of {kind} is one number, no contrast; scale='{asked.scale}' does not apply.")
    site = model.structure.sites[outcome]
    if not site.discrete and site.kind != "deterministic":
        raise QueryError(
            f"'{outcome}' is continuous; a probability of causation is about an event. Make it a 0/1 variable."
        )
    codes = {name: code_of(model, treatment, getattr(asked, name)) for name in ("treated", "control")}
    event = code_of(model, outcome, value)
    model.parameters(1, asked.seed, prior=False)  # of a model that was not fitted: refused
    label = f"probability of {kind} of {treatment} for {outcome}"
    bounded = (
        "model-dependent: it rests on the program's couplings, which data cannot test; bounded over all of them by "
        f"pcm.bounds(scm, '{_NAMES[kind]}({treatment}, {outcome})')"
    )

    def nobody() -> QueryError:
        who = f"{treatment} = {asked.treated!r} and {outcome} = {value!r}"
        if kind == "sufficiency":
            who = f"{treatment} = {asked.control!r} and {outcome} other than {value!r}"
        return QueryError(f"no unit has {who}: there is nobody whose probability of {kind} this could be.")

    def by_unit() -> Effect:
        draws, index, account = _of_units(asked, kind, codes, event, nobody)
        account = accounted(account, asked, lambda: bounded)
        return Effect(draws, label=f"{label}, unit by unit", account=account, index=index)

    exact = None if asked.given else _exact(asked, kind, codes, event, nobody)
    if exact is not None:
        draws, account = exact
        account = accounted(account, asked, lambda: bounded)
        return Effect(draws, label=label, account=account, standard_error=0.0, by_unit=by_unit)
    each = by_unit()
    error = None
    if not asked.given and each.draws.shape[0] == 1 and each.draws.shape[1] > 1:
        error = float(each.draws[0].std(ddof=1) / each.draws.shape[1] ** 0.5)
    return Effect(each.draws.mean(1), label=label, account=each.account, standard_error=error, by_unit=lambda: each)


# -- private ---------------------------------------------------------------------------------------------------------


def _exact(
    asked: Question, kind: str, codes: dict[str, float], event: float, nobody: Any
) -> tuple[np.ndarray, Account] | None:
    """The average over every joint value of what the event rests on in two worlds; None where it has to be drawn."""
    setting = Setting(asked)
    treatment, outcome = asked.treatment, asked.outcome
    treated, control = (setting.plan(asked.sets(value)) for value in (asked.treated, asked.control))
    if kind == "necessity and sufficiency":
        joint = Joint(treated, [outcome], control, [outcome])
    else:
        joint = Joint(control if kind == "necessity" else treated, [outcome], setting.natural, [treatment, outcome])
    units = 1 if setting.alike([treated, control]) else len(setting.index)
    if not setting.affords(joint, units):
        return None

    def payload(here: Replayed, there: Replayed | None) -> dict[str, Tensor]:
        assert there is not None
        here_happens, there_happens = here.values[outcome] == event, there.values[outcome] == event
        if kind == "necessity and sufficiency":
            hit, member = here_happens & ~there_happens, torch.ones_like(here_happens)
        elif kind == "necessity":
            member = (there.values[treatment] == codes["treated"]) & there_happens
            hit = member & ~here_happens
        else:
            member = (there.values[treatment] == codes["control"]) & ~there_happens
            hit = member & here_happens
        return {"hit": hit.to(setting.model.program.dtype), "member": member.to(setting.model.program.dtype)}

    _, found = enumerate_joint(setting, joint, payload, units, by_tied=False)
    hit, member = found["hit"].mean(-1), found["member"].mean(-1)
    if not bool((member > 0).all()):
        raise nobody()
    words: dict[str, str] = dict.fromkeys(("treated", "control"), exact_words(joint))
    account = account_of_fresh(asked.model, setting.lanes, words, rung=3, needed=joint.inner or {})
    return (hit / member).numpy(), account


def _of_units(
    asked: Question, kind: str, codes: dict[str, float], event: float, nobody: Any
) -> tuple[np.ndarray, pd.Index, Account]:
    """The probability of every unit that it concerns, given what was seen of it: ``(lane, unit)``."""
    model, treatment, outcome = asked.model, asked.treatment, asked.outcome
    data = (
        asked.data
        if asked.given
        else sample(model, None if asked.data is not None else asked.units, asked.data, asked.seed)
    )
    found = read_units(model, data, what="data", partial=False)
    worlds = {"treated": asked.sets(asked.treated), "control": asked.sets(asked.control)}
    parameters = model.parameters(asked.draws, asked.seed, prior=False)
    run = Evaluation(model, found.values, found.index, worlds, parameters, draws=asked.draws, seed=asked.seed)
    took, happened = run.points.factual[treatment], run.points.factual[outcome] == event
    necessary = (took == codes["treated"]) & happened
    sufficient = (took == codes["control"]) & ~happened
    notes: list[str] = []
    if kind == "necessity":
        member, chance = necessary, 1 - run.probability("control", outcome, torch.as_tensor(event))
    elif kind == "sufficiency":
        member, chance = sufficient, run.probability("treated", outcome, torch.as_tensor(event))
    else:
        member, chance = torch.ones_like(happened), _of_own_arm(run, outcome, event, necessary, sufficient)
        known = (took == codes["treated"]) | (took == codes["control"])
        if not bool(known.all()):
            other, words = _of_other_arms(run, worlds, outcome, event)
            chance = torch.where(known, chance, other)
            notes.append(f"units with {treatment} neither {asked.treated!r} nor {asked.control!r}: {words}")
    if not bool(member.any()):
        raise nobody()
    account = account_of(run, found.ignored)
    return (
        chance[:, member].numpy(),
        found.index[member.numpy()],
        replace(account, notes=(*account.notes, *notes)),
    )


def _of_own_arm(run: Evaluation, outcome: str, event: float, necessary: Tensor, sufficient: Tensor) -> Tensor:
    """``P(Y_t = y, Y_c ≠ y | unit)`` of units that took one of the two: what they did not take is all that is open."""
    but_for = 1 - run.probability("control", outcome, torch.as_tensor(event))
    enough = run.probability("treated", outcome, torch.as_tensor(event))
    return torch.where(necessary, but_for, 0.0) + torch.where(sufficient, enough, 0.0)


def _of_other_arms(
    run: Evaluation, worlds: Mapping[str, Mapping[Target, Any]], outcome: str, event: float
) -> tuple[Tensor, str]:
    """The same of units that took neither, and how: the law of both worlds' outcomes, or draws they share."""
    tied = Evaluation(
        run.model,
        run.values,
        run.index,
        {"treated": worlds["treated"]},
        run.parameters,
        draws=run.requested,
        seed=run.seed,
        references={"treated": worlds["control"]},
    )
    branches = tied.plans["treated"].branches_of_both(outcome)
    if branches is not None:

        def both(here: Replayed, past: Factual) -> Tensor:
            assert here.reference is not None
            first, second = (each.values.get(outcome, past.values[outcome]) for each in (here, here.reference))
            return ((first == event) & (second != event)).to(tied.program.dtype)

        found = tied.expect("treated", outcome, both, branches)
        return found, f"exact over {math.prod(branches.values())} joint assignments of the two worlds"
    first, second = run.drawn("treated", outcome) == event, run.drawn("control", outcome) != event
    drawn = (first & second).to(run.program.dtype)
    return run._of_draws(drawn), f"averaged over {run.draws} draws of noise that the two worlds share"
