r"""Probabilities of causation, under the model's own couplings.

With outcome event ``y`` and treatment values ``t`` (treated) and ``c`` (control), for a unit and on average (Pearl
1999; Tian & Pearl 2000):

- necessity    ``PN  = P(Y_c ≠ y | T = t, Y = y)``: would it not have happened but for the treatment?
- sufficiency  ``PS  = P(Y_t = y | T = c, Y ≠ y)``: would the treatment have made it happen?
- both         ``PNS = P(Y_t = y, Y_c ≠ y)``.

They depend on the coupling, which no data identify; :func:`pcm.bounds` gives what holds under every coupling. Units
with missing cells: :mod:`pcm.query.units_caused`.

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
from pcm.query.account import Account
from pcm.query.accounting import account_of_fresh
from pcm.query.effect import Effect
from pcm.query.identified import accounted
from pcm.query.mechanisms import code_of
from pcm.query.model import Model
from pcm.query.question import Question
from pcm.query.setting import Setting, enumerate_joint, exact_words
from pcm.query.units_caused import Event, of_units
from pcm.worlds import Joint, Replayed

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
    treated, control = code_of(model, treatment, asked.treated), code_of(model, treatment, asked.control)
    event = Event(kind, treatment, outcome, treated, control, code_of(model, outcome, value))
    model.parameters(1, asked.seed, prior=False)  # of a model that was not fitted: refused
    label = f"probability of {kind} of {asked.told} for {outcome}"
    bounded = (
        "model-dependent: it rests on the program's couplings, which data cannot test; bounded over all of them by "
        f"pcm.bounds(scm, '{_NAMES[kind]}({treatment}, {outcome})')"
    )

    def nobody() -> QueryError:
        who = f"{treatment} = {asked.treated!r} and {outcome} = {value!r}"
        if kind == "sufficiency":
            who = f"{treatment} = {asked.control!r} and {outcome} other than {value!r}"
        return QueryError(f"no unit has {who}: there is nobody whose probability of {kind} this could be.")

    def by_unit() -> tuple[Effect, np.ndarray]:
        found = of_units(asked, event, nobody)
        account = accounted(found.account, asked, lambda: bounded)
        each = Effect(
            found.draws,
            label=f"{label}, unit by unit",
            account=account,
            index=found.index,
            diagnostics=found.diagnostics,
        )
        return each, found.average

    exact = None if asked.given else _exact(asked, event, nobody)
    if exact is not None:
        draws, account = exact
        account = accounted(account, asked, lambda: bounded)
        return Effect(draws, label=label, account=account, standard_error=0.0, by_unit=lambda: by_unit()[0])
    each, average = by_unit()
    error = None
    if not asked.given and each.draws.shape[0] == 1 and each.draws.shape[1] > 1:
        error = float(each.draws[0].std(ddof=1) / each.draws.shape[1] ** 0.5)
    return Effect(
        average,
        label=label,
        account=each.account,
        standard_error=error,
        by_unit=lambda: each,
        diagnostics=each.diagnostics,
    )


# -- private ---------------------------------------------------------------------------------------------------------


def _exact(asked: Question, event: Event, nobody: Any) -> tuple[np.ndarray, Account] | None:
    """The average over every joint value of what the event rests on in two worlds; None where it has to be drawn."""
    setting = Setting(asked)
    treatment, outcome = asked.treatment, asked.outcome
    treated, control = (setting.plan(asked.sets(value)) for value in (asked.treated, asked.control))
    joined = event.kind == "necessity and sufficiency"
    if joined:
        joint = Joint(treated, [outcome], control, [outcome])
    else:
        joint = Joint(
            control if event.kind == "necessity" else treated, [outcome], setting.natural, [treatment, outcome]
        )
    units = 1 if setting.alike([treated, control]) else len(setting.index)
    if not setting.affords(joint, units):
        return None

    def payload(here: Replayed, there: Replayed | None) -> dict[str, Tensor]:
        assert there is not None
        happens = here.values[outcome] == event.value
        if joined:
            hit, member = happens & (there.values[outcome] != event.value), torch.ones_like(happens)
        else:
            member = event.concerns(there.values)
            hit = member & (happens if event.kind == "sufficiency" else ~happens)
        return {"hit": hit.to(setting.model.program.dtype), "member": member.to(setting.model.program.dtype)}

    _, found = enumerate_joint(setting, joint, payload, units, by_tied=False)
    hit, member = found["hit"].mean(-1), found["member"].mean(-1)
    if not bool((member > 0).all()):
        raise nobody()
    words: dict[str, str] = dict.fromkeys(("treated", "control"), exact_words(joint))
    account = account_of_fresh(asked.model, setting.lanes, words, rung=3, needed=joint.inner or {})
    return (hit / member).numpy(), account
