r"""Probabilities of causation of given units, whatever cells they lack.

A unit's probability is the expectation, over the posterior of what it leaves open, of the coupling's closed form:
``PN_i = E[P(Y_c ≠ y | all values) | seen_i, T = t, Y = y]``. A unit whose own treatment or outcome is missing is asked
as the definition asks, "had it been treated, and had it happened": its cells are supposed to be ``t`` and ``y``. In the
average over those whom the event concerns it counts by how probable that is,

``PN = Σ_i w_i PN_i / Σ_i w_i``,  ``w_i = P(T = t, Y = y | seen_i)``,

which is 0 or 1 where both cells were seen. (A missing continuous treatment equals ``t`` with probability zero.) The
probability of both, PNS, conditions on neither and needs no such care.

>>> from pcm.query.units_caused import of_units
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pcm.couplings import unwrap
from pcm.errors import EvidenceError, QueryError, listed
from pcm.query.account import Account
from pcm.query.accounting import account_of
from pcm.query.diagnostics import diagnostics_of
from pcm.query.evaluate import Evaluation
from pcm.query.evidence import Units, read_units
from pcm.query.model import Model
from pcm.query.question import Question
from pcm.query.sampling import sample
from pcm.worlds import Factual, Replayed

__all__ = ["Caused", "Event", "of_units"]

Seen = Mapping[str, Tensor]


@dataclass(frozen=True)
class Event:
    """What is asked: which probability (``"necessity"``, …), of which treatment for which outcome, by their codes."""

    kind: str
    treatment: str
    outcome: str
    treated: float
    control: float
    value: float

    def necessary(self, seen: Seen) -> Tensor:
        """Whether it was treated and happened."""
        return (seen[self.treatment] == self.treated) & (seen[self.outcome] == self.value)

    def sufficient(self, seen: Seen) -> Tensor:
        """Whether it was not treated and did not happen."""
        return (seen[self.treatment] == self.control) & (seen[self.outcome] != self.value)

    def elsewhere(self, seen: Seen) -> Tensor:
        """Whether a third treatment was taken."""
        return (seen[self.treatment] != self.treated) & (seen[self.treatment] != self.control)

    def concerns(self, seen: Seen) -> Tensor:
        """Whether a probability of necessity (of sufficiency) is about it."""
        return self.necessary(seen) if self.kind == "necessity" else self.sufficient(seen)


@dataclass(frozen=True)
class Caused:
    """The probability of every unit that the event concerns.

    Attributes
    ----------
    draws : numpy.ndarray ``(draw, unit)``
    weights : numpy.ndarray ``(draw or 1, unit)`` or None
        How probable it is that the unit is concerned; None where that is certain of all.
    index : pandas.Index
    account : Account
    diagnostics : pandas.DataFrame or None
    """

    draws: np.ndarray
    weights: np.ndarray | None
    index: pd.Index
    account: Account
    diagnostics: pd.DataFrame | None

    @property
    def average(self) -> np.ndarray:
        """Over the units concerned, ``(draw,)``."""
        if self.weights is None:
            return self.draws.mean(1)
        return (self.weights * self.draws).sum(1) / self.weights.sum(1)


def of_units(asked: Question, event: Event, nobody: Callable[[], QueryError]) -> Caused:
    """The probability of every unit that it concerns, given what was seen of it."""
    data = asked.data if asked.given else _fresh(asked)
    found = read_units(asked.model, data, what="data")
    if event.kind == "necessity and sufficiency":
        third = _third(asked.model, found, event)
        run = _evaluation(asked, found, ["treated", "control"], tied=third)
        notes: list[str] = []

        def both(part: Evaluation) -> Tensor:
            found, words = _of_both(part, asked, event, third)
            notes.extend(word for word in words if word not in notes)
            return found

        draws = run.joined(both)
        return _caused(run, found, draws, notes=notes)
    world = "control" if event.kind == "necessity" else "treated"
    run = _evaluation(asked, found, [world])
    weights = run.joined(lambda part: _expected(part, event, event.concerns))
    member = (weights > 0).any(0)
    if not bool(member.any()):
        raise nobody()
    supposed = _lacking(found, event) & member
    _check_settled(asked.model, found, event, member & ~supposed & ~(weights >= 1 - 1e-9).all(0), supposed)
    notes = []
    if bool(supposed.any()):
        words = f"{event.treatment} = {asked.treated if event.kind == 'necessity' else asked.control!r}"
        words += f" and {event.outcome} {'=' if event.kind == 'necessity' else '≠'} {event.value:g}"
        weights = run.joined(lambda part: _settled(part, _expected(part, event, event.concerns)))
        notes.append(
            f"{int(supposed.sum())} units lack their own {event.treatment} or {event.outcome}: theirs is the "
            f"probability given {words} too; they count by how probable that is, "
            f"{float(weights.mean(0)[supposed].sum()):.4g} units together"
        )
        run = _evaluation(asked, _supposing(asked.model, found, event, supposed), [world])
    happens = run.joined(lambda part: part.probability(world, event.outcome, torch.as_tensor(event.value)))
    draws = 1 - happens if event.kind == "necessity" else happens
    if len(weights) not in (1, len(draws)):
        weights = weights.mean(0, keepdim=True)
    return _caused(run, found, draws, weights if bool(supposed.any()) else None, member, notes)


# -- private ---------------------------------------------------------------------------------------------------------

#: The world of the treated, with that of the controls as its reference.
_TIED = "both"


def _fresh(asked: Question) -> pd.DataFrame:
    return sample(asked.model, None if asked.data is not None else asked.units, asked.data, asked.seed)


def _evaluation(asked: Question, units: Units, worlds: Sequence[str], *, tied: bool = False) -> Evaluation:
    sets = {world: asked.sets(getattr(asked, world)) for world in worlds}
    return Evaluation(
        asked.model,
        units.values,
        units.index,
        {**sets, _TIED: sets["treated"]} if tied else sets,
        asked.model.parameters(asked.draws, asked.seed, prior=False),
        draws=asked.draws,
        seed=asked.seed,
        missing=units.missing,
        bounds=units.bounds,
        solved=units.solved,
        holes=units.holes,
        method=asked.method,
        references={_TIED: sets["control"]} if tied else None,
    )


def _caused(
    run: Evaluation,
    found: Units,
    draws: Tensor,
    weights: Tensor | None = None,
    member: Tensor | None = None,
    notes: Sequence[str] = (),
) -> Caused:
    account = account_of(run, found.ignored)
    worlds = {world: words for world, words in account.worlds.items() if world != _TIED}
    mask = np.ones(run.units, dtype=bool) if member is None else member.numpy()
    return Caused(
        draws.numpy()[:, mask],
        None if weights is None else weights.numpy()[:, mask],
        found.index[mask],
        replace(account, worlds=worlds, notes=(*account.notes, *notes)),
        None if run.latent is None else diagnostics_of(run).loc[mask],
    )


# -- whom it concerns ------------------------------------------------------------------------------------------------


def _expected(run: Evaluation, event: Event, holds: Callable[[Seen], Tensor]) -> Tensor:
    """Probability that it holds of a unit, given what was seen of it; a row a state of knowledge, ``(lane, unit)``."""
    seen = {name: run.value("factual", name) for name in (event.treatment, event.outcome)}
    return run.main.collapse(holds(seen).to(run.program.dtype), 0)


def _settled(run: Evaluation, weights: Tensor) -> Tensor:
    """The weights by parameter draw where they are exact, else their average: of one draw each they are 0 or 1."""
    return weights if run.main.weights is not None else weights.mean(0, keepdim=True)


def _lacking(units: Units, event: Event) -> Tensor:
    """Units whose own treatment or outcome is missing, ``(unit,)``."""
    none = torch.zeros(len(units.index), dtype=torch.bool)
    return units.missing.get(event.treatment, none) | units.missing.get(event.outcome, none)


def _check_settled(model: Model, units: Units, event: Event, unsure: Tensor, supposed: Tensor) -> None:
    """Raise where an event that a unit leaves open cannot be supposed."""
    sites = model.structure.sites
    names = [name for name in (event.treatment, event.outcome) if sites[name].kind == "deterministic"]
    if bool(unsure.any()):
        rows = [units.index[int(row)] for row in unsure.nonzero().flatten()[:5]]
        raise EvidenceError(
            f"a probability of {event.kind} is given {event.treatment} and {event.outcome}, and {listed(names)}, which "
            f"the program computes, is open for {int(unsure.sum())} units (first: {listed(rows)}): they lack what it "
            "is computed from. Give those cells, or leave those units out.",
            column=names[0] if names else event.treatment,
            rows=rows,
        )
    several = sites[event.outcome].cardinality != 2
    if event.kind == "sufficiency" and several and event.outcome in units.missing:
        lacking = supposed & units.missing[event.outcome]
        if bool(lacking.any()):
            rows = [units.index[int(row)] for row in lacking.nonzero().flatten()[:5]]
            raise EvidenceError(
                f"a probability of sufficiency is given that {event.outcome} is not {event.value:g}; "
                f"'{event.outcome}' has more than two values and is missing for {int(lacking.sum())} units (first: "
                f"{listed(rows)}): give those cells, leave those units out, or make it a 0/1 variable.",
                column=event.outcome,
                rows=rows,
            )


def _supposing(model: Model, units: Units, event: Event, rows: Tensor) -> Units:
    """The units, the event that is conditioned on filled in where some of them (a mask) lack it."""
    necessary = event.kind == "necessity"
    filled = {
        event.treatment: event.treated if necessary else event.control,
        event.outcome: event.value if necessary else 1 - event.value,
    }
    values, missing = dict(units.values), dict(units.missing)
    bounds, holes = dict(units.bounds), dict(units.holes)
    for name, code in filled.items():
        if name not in missing:
            continue
        here, missing[name] = missing[name] & rows, missing[name] & ~rows
        values[name] = torch.where(here, torch.as_tensor(code, dtype=values[name].dtype), values[name])
        if name in bounds:
            low, high = bounds[name]
            bounds[name] = torch.where(here, -math.inf, low), torch.where(here, math.inf, high)
        if name in holes:
            holes[name] = holes[name] & ~here
        if not bool(missing[name].any()):
            for group in (missing, bounds, holes):
                group.pop(name, None)
    return replace(units, values=values, missing=missing, bounds=bounds, holes=holes)


# -- both ------------------------------------------------------------------------------------------------------------


def _third(model: Model, units: Units, event: Event) -> bool:
    """Whether some unit took, or may have taken, neither of the two treatments."""
    name = event.treatment
    if model.structure.sites[name].cardinality == 2 and event.treated != event.control:
        return False
    if name in units.missing or name not in units.values:
        return True
    return bool(event.elsewhere({name: units.values[name]}).any())


def _of_both(run: Evaluation, asked: Question, event: Event, third: bool) -> tuple[Tensor, list[str]]:
    """``P(Y_t = y, Y_c ≠ y)``: of units that took one of the two, what they did not take is all that is open."""
    found = _chance(run, "control", event, event.necessary, happens=False)
    found = found + _chance(run, "treated", event, event.sufficient, happens=True)
    if not third:
        return found, []
    branches = run.plans[_TIED].branches_of_both(event.outcome)
    if branches is not None:

        def both(here: Replayed, past: Factual) -> Tensor:
            assert here.reference is not None
            first, second = (
                each.values.get(event.outcome, past.values[event.outcome]) for each in (here, here.reference)
            )
            hit = (first == event.value) & (second != event.value) & event.elsewhere(past.values)
            return hit.to(run.program.dtype)

        rest = run.expect(_TIED, event.outcome, both, branches)
        words = f"exact over {math.prod(branches.values())} joint assignments of the two worlds"
    else:
        first, second = (run.drawn(world, event.outcome) == event.value for world in ("treated", "control"))
        hit = first & ~second & event.elsewhere({event.treatment: run.drawn("factual", event.treatment)})
        rest = run._of_draws(hit.to(run.program.dtype))
        words = f"averaged over {run.draws} draws of noise that the two worlds share"
    return found + rest, [f"units with {event.treatment} neither {asked.treated!r} nor {asked.control!r}: {words}"]


def _chance(run: Evaluation, world: str, event: Event, holds: Callable[[Seen], Tensor], *, happens: bool) -> Tensor:
    """Probability that ``holds`` of what is, and the outcome happens (or does not) in a world; ``(lane, unit)``."""
    name, site = event.outcome, run.site(event.outcome)
    coupling, random = site.coupling, run.random(world, event.outcome)
    lawful = random and run.has_law(world, name)

    def payload(made: Replayed, past: Factual) -> Tensor:
        if lawful and coupling is not None:
            before, after, value = unwrap(past.fns[name])[0], unwrap(made.fns[name])[0], past.values[name]
            if site.cardinality is None:
                hit = coupling.probability(before, value, after, torch.as_tensor(event.value))
            else:
                hit = coupling.transition(before, value, after)[..., int(event.value)]
        else:
            hit = (made.values.get(name, past.values[name]) == event.value).to(run.program.dtype)
        return torch.where(holds(past.values), hit if happens else 1 - hit, 0.0)

    if lawful:
        return run.law_of(world, name, payload)
    if not random or (run.exact(world, name) and name not in run.plans[world].sources):
        return run.expect(world, name, payload)
    seen = {each: run.drawn("factual", each) for each in (event.treatment, name)}
    hit = holds(seen) & ((run.drawn(world, name) == event.value) == happens)
    return run._of_draws(hit.to(run.program.dtype))
