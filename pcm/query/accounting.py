"""Writing a result's account from the plans that made it.

>>> from pcm.query.accounting import account_of
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pcm.errors import listed
from pcm.query.account import Account, SiteAccount
from pcm.worlds import Stochastic, lane_count

if TYPE_CHECKING:
    from pcm.query.evaluate import Evaluation
    from pcm.query.model import Model

__all__ = ["account_of", "account_of_fresh", "parameter_words"]


def account_of(run: Evaluation, ignored: tuple[str, ...] = ()) -> Account:
    """The account of a counterfactual; ``ignored`` are the evidence's columns that the program has no variable for."""
    sites = _site_accounts(run.model, run.needed)
    for name in run.missing:
        sites[name] = replace(sites[name], abduction=f"{_missing_words(run, name)}; {sites[name].abduction}")
    discrete = [name for name in run.needed if run.structure.sites[name].discrete]
    fresh = [name for name, site in sites.items() if site.abduction == "fresh"]
    lanes = run.lanes if run.latent is None else lane_count(run.parameters)
    words, khat, ess = parameter_words(run.model, lanes)
    basis = "model-dependent: unit counterfactuals rest on the program's structural equations"
    if discrete:
        basis += f" (of discrete {', '.join(sorted(discrete))}: on the coupling, which data cannot test)"
    notes = [*run.structure.notes, *_fit_notes(run.model)]
    noised = {name: site.mechanism for name, site in run.structure.sites.items() if site.mechanism is not None}
    notes += [f"{name} is private noise: {mechanism!r}" for name, mechanism in noised.items()]
    if run.latent is not None:
        if not run.latent.space.closed:
            notes.append("missing values are taken to be missing at random given what is observed")
        for name, partly in run.latent.space.cells.partly.items():
            notes.append(f"{name} is recorded in part for {int(partly.sum())} of {run.units} units")
        for name, between in run.between.units.items():
            notes.append(f"{name} is known to lie in an interval for {int(between.sum())} of {run.units} units")
        khat = max(khat or 0.0, float(run.latent.khat.max())) if run.latent.khat.max() > 0 else khat
        if math.isfinite(run.latent.ess.min()):
            ess = min(ess or math.inf, float(run.latent.ess.min()))
        bad = int(run.latent.flagged.sum())
        if bad:
            notes.append(f"{bad} units could not be inferred reliably: see .diagnostics")
    if ignored:
        notes.append(f"the program has no variable for the columns {listed(ignored)} of the evidence: not read")
    if run.looped:
        notes.append("the program cannot be mapped over draws (Python control flow on a parameter): run one by one")
    return Account(
        rung=2 if fresh else 3,
        sites=sites,
        identification=basis,
        parameters=words,
        worlds={world: _world_words(run, world) for world in run.plans},
        ess=ess,
        khat=khat,
        notes=tuple(notes),
    )


def account_of_fresh(
    model: Model, lanes: int, worlds: dict[str, str], *, rung: int, needed: Collection[str] = ()
) -> Account:
    """The account of an average over fresh units, under ``lanes`` draws of the parameters."""
    words, khat, ess = parameter_words(model, lanes)
    return Account(
        rung=rung,
        sites=_site_accounts(model, needed),
        parameters=words,
        worlds=worlds,
        khat=khat,
        ess=ess,
        notes=(*model.structure.notes, *_fit_notes(model)),
    )


def parameter_words(model: Model, lanes: int) -> tuple[str, float | None, float | None]:
    """Where the parameters came from, k-hat and effective sample size of their draws."""
    if not model.program.parameters and not model.program.trainable:
        return "none", None, None
    if not model.free and not model.program.trainable:
        return "given", None, None
    if model.posterior is None:
        return f"prior ({lanes} draws): not fitted", None, None
    found = model.posterior.diagnostics
    khat, ess = found.get("khat"), found.get("ess")
    ess = float(ess) if isinstance(ess, int | float) and math.isfinite(ess) else None
    return f"posterior ({model.posterior.method}, {lanes} draws)", float(khat) if khat is not None else None, ess


def _site_accounts(model: Model, needed: Collection[str]) -> dict[str, SiteAccount]:
    """How each stochastic site's noise was treated."""
    made = {}
    for name in model.structure.stochastic:
        site = model.structure.sites[name]
        if site.coupling is None:
            continue
        if name not in needed:
            words = "not needed"
        elif site.coupling.rung < 3:
            words = "fresh"
        else:
            words = "exact" if site.coupling.invertible else "law"
        made[name] = SiteAccount(site.family, site.coupling.name, words)
    return made


def _fit_notes(model: Model) -> tuple[str, ...]:
    """What the fit did about missing values."""
    found = {} if model.posterior is None else model.posterior.diagnostics
    notes = [f"in the fit, {words}" for words in found.get("missing", ())]
    if notes:
        notes.append("in the fit, missing values are taken to be missing at random given what is observed")
    return (*notes, *(f"in the fit, not accurate: {words}" for words in found.get("missing_problems", ())))


def _missing_words(run: Evaluation, name: str) -> str:
    assert run.latent is not None
    space = run.latent.space
    inferred, barren = space.inferred.get(name), space.barren.get(name)
    carried = [link.column for level in space.links.levels for link in level if link.carrier == name]
    words = [f"solved from {', '.join(carried)}"] if carried else []
    if inferred is not None and bool(inferred.any()):
        words.append(f"posterior ({run.latent.method(inferred)})")
    if barren is not None and bool(barren.any()):
        within = barren & space.between.units[name] if name in space.between else torch.zeros_like(barren)
        if bool(within.any()):
            words.append("its mechanism truncated to the interval")
        if bool((barren & ~within).any()):
            words.append("its mechanism")
    return " or ".join(words)


def _world_words(run: Evaluation, world: str) -> str:
    plan = run.plans[world]
    open_ends = [name for name in run.structure.sites if plan.randomness[name] and name in plan.changed]
    if not open_ends and run.latent is not None and not run.latent.space.closed:
        exact = bool(run.latent.gaussian.any())
        return "averaged over the posterior of what is missing" + (", in closed form where linear" if exact else "")
    if not open_ends:
        return "every value determined by the evidence" + (" and the parameters" if run.lanes > 1 else "")
    drawn = [name for name in open_ends if not run.exact(world, name)]
    counts = [math.prod((plan.branches(name) or {}).values()) for name in open_ends if name not in drawn]
    words = []
    if counts:
        most = max(counts)
        words.append("probabilities in closed form" + (f", exact over {most} joint assignments" if most > 1 else ""))
    if drawn:
        words.append(f"{', '.join(drawn)} averaged over {run.draws} draws of noise")
        given = [name for name in drawn if run.has_law(world, name)]
        if given:
            words.append(f"means and probabilities of {', '.join(given)} in closed form given the draws above")
    fresh = [name for name in plan.sets if isinstance(plan.sets[name], Stochastic)]
    return "; ".join(words) + (f" ({', '.join(fresh)} drawn afresh)" if fresh else "")
