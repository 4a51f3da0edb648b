"""Average effects of a treatment: over fresh units, or over given units with their own noise.

``ate = E[Y_treated] - E[Y_control]``; ``att`` averages over the units that have the treatment; ``cate`` over groups.
Both arms share every unit's noise, and each parameter draw of a fitted model gives one draw of the effect, so that the
interval carries the uncertainty of the fit.

>>> import pyro, pyro.distributions as dist, pcm
>>> def trial():
...     t = pyro.sample("t", dist.Bernoulli(0.5))
...     pyro.sample("y", dist.Normal(2.0 * t, 1.0))
>>> round(float(pcm.ate(pcm.SCM(trial), "t", "y", seed=0)), 9)
2.0
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcm.couplings import unwrap
from pcm.errors import ArgumentError, DataError, QueryError, UnknownNameError, listed
from pcm.io import row_ids
from pcm.query.account import Account
from pcm.query.accounting import account_of, parameter_words, site_accounts
from pcm.query.effect import Effect
from pcm.query.evaluate import Evaluation
from pcm.query.evidence import read_units
from pcm.query.groups import groups_of
from pcm.query.model import Model
from pcm.query.sampling import covariates_of
from pcm.worlds import Target, WorldPlan, align, choose_seed, forward, over_lanes, world_noise

__all__ = ["Arm", "Arms", "ate", "att", "cate", "check_question", "effect_of", "run_arms"]

SCALES = ("difference", "ratio", "odds")


@dataclass(frozen=True)
class Arm:
    """One arm of a contrast: what it sets, and the reference world that its nested values come from."""

    sets: dict[Target, Any]
    reference: dict[Target, Any] | None = None


@dataclass(frozen=True)
class Arms:
    """Per-unit expected outcomes of the two arms, ``(lane, unit)``, with what groups need of the units."""

    treated: Tensor
    control: Tensor
    columns: dict[str, Tensor]
    account: Account
    fresh: bool


def ate(
    model: Model,
    treatment: str,
    outcome: str,
    *,
    treated: Any = 1,
    control: Any = 0,
    data: Any = None,
    scale: str = "difference",
    units: int = 10_000,
    draws: int = 500,
    seed: int | None = None,
) -> Effect:
    """Average treatment effect; see :func:`pcm.ate`."""
    arms = _arms(model, treatment, outcome, treated, control, data, units, draws, seed, scale)
    every = torch.ones(arms.treated.shape[-1], dtype=torch.bool)
    return effect_of(arms, every, scale, f"ATE of {treatment} on {outcome}")


def att(
    model: Model,
    treatment: str,
    outcome: str,
    *,
    treated: Any = 1,
    control: Any = 0,
    data: Any = None,
    scale: str = "difference",
    units: int = 10_000,
    draws: int = 500,
    seed: int | None = None,
) -> Effect:
    """Average effect on the treated; see :func:`pcm.att`."""
    code = _code(model, treatment, treated)
    arms = _arms(model, treatment, outcome, treated, control, data, units, draws, seed, scale, (treatment,))
    has = arms.columns[treatment] == code
    if not bool(has.any()):
        raise QueryError(f"no unit has {treatment} = {treated!r}: there is nobody to average over.")
    return effect_of(arms, has, scale, f"ATT of {treatment} on {outcome}")


def cate(
    model: Model,
    treatment: str,
    outcome: str,
    *,
    given: Sequence[str],
    treated: Any = 1,
    control: Any = 0,
    data: Any = None,
    scale: str = "difference",
    bins: int = 5,
    units: int = 10_000,
    draws: int = 500,
    seed: int | None = None,
) -> Effect:
    """Average effect within groups; see :func:`pcm.cate`."""
    if not isinstance(given, str) and not hasattr(given, "__iter__"):
        raise ArgumentError(f"cate(given=…) takes a list of variables; found {given!r}.")
    given = [given] if isinstance(given, str) else list(given)
    if not given:
        raise ArgumentError("cate(given=[…]) needs at least one variable to group by.")
    for name in given:
        if name not in model.structure.sites:
            raise UnknownNameError(name, known=list(model.structure.sites))
        if not model.structure.sites[name].scalar:
            raise QueryError(f"cate(given=…): '{name}' has several values a unit; group by scalar variables.")
    arms = _arms(model, treatment, outcome, treated, control, data, units, draws, seed, scale, tuple(given))
    labels, members = groups_of(model, {name: arms.columns[name] for name in given}, bins)
    effects = [effect_of(arms, member, scale, "") for member in members]
    return Effect(
        np.stack([effect.draws for effect in effects], 1),
        label=f"CATE of {treatment} on {outcome} by {listed(given)}",
        account=arms.account,
        index=labels,
    )


# -- private ---------------------------------------------------------------------------------------------------------


def effect_of(arms: Arms, member: Tensor, scale: str, label: str) -> Effect:
    """The effect in a group: means of the arms over its units, a draw a lane (``member`` is (unit) or (lane, unit))."""
    weights = member.to(arms.treated.dtype).expand(arms.treated.shape)
    size = weights.sum(-1)
    if not bool((size > 0).all()):
        raise QueryError(
            "under some parameter draws no unit falls into the group; ask for more units= or other groups."
        )
    first, second = (arms.treated * weights).sum(-1) / size, (arms.control * weights).sum(-1) / size
    draws = _scaled(first, second, scale)
    error = None
    if arms.fresh and len(draws) == 1 and scale == "difference":
        chosen = (arms.treated - arms.control)[0][weights[0] > 0]
        error = float(chosen.std() / len(chosen) ** 0.5) if len(chosen) > 1 else None
        if error is not None and error <= 1e-12 * float(chosen.abs().max()):
            error = None  # the units do not differ: what is left is rounding
    words = label if scale == "difference" else f"{label} ({scale})"
    return Effect(draws.numpy(), label=words, account=arms.account, standard_error=error)


def _scaled(first: Tensor, second: Tensor, scale: str) -> Tensor:
    if scale == "difference":
        return first - second
    if scale == "odds":
        if bool(((first <= 0) | (first >= 1) | (second <= 0) | (second >= 1)).any()):
            raise QueryError(
                f"odds need probabilities strictly between 0 and 1; the arms' means reach from "
                f"{float(torch.minimum(first, second).min()):.4g} to {float(torch.maximum(first, second).max()):.4g}."
            )
        return (first / (1 - first)) / (second / (1 - second))
    if bool((second == 0).any()):
        raise QueryError("the ratio is undefined: the control arm's mean is 0 in some draw.")
    return first / second


def _code(model: Model, name: str, value: Any) -> Any:
    labels = model.categories.get(name)
    if labels is not None and value in labels:
        return labels.index(value)
    if not isinstance(value, bool | int | float | np.number):
        raise ArgumentError(
            f"att averages over the units whose {name} equals treated=; {value!r} is no value to compare with."
        )
    return value


def _arms(
    model: Model,
    treatment: str,
    outcome: str,
    treated: Any,
    control: Any,
    data: Any,
    units: int,
    draws: int,
    seed: int | None,
    scale: str,
    columns: tuple[str, ...] = (),
) -> Arms:
    check_question(model, treatment, outcome, scale, units, draws)
    worlds = {"treated": model.do({treatment: treated}), "control": model.do({treatment: control})}
    arms = {world: Arm({treatment: made.interventions[treatment]}) for world, made in worlds.items()}
    return run_arms(model, arms, outcome, data, units, draws, seed, columns)


def check_question(model: Model, treatment: str, outcome: str, scale: str, units: int, draws: int) -> None:
    """Raise unless the question is about two scalar variables of the program, on a scale there is."""
    sites = model.structure.sites
    for name in (treatment, outcome):
        if name not in sites:
            raise UnknownNameError(name, known=list(sites))
    if treatment == outcome:
        raise ArgumentError(f"treatment and outcome are both '{treatment}'; an effect is on another variable.")
    if scale not in SCALES:
        raise ArgumentError(f"scale='{scale}' is none of {listed(SCALES)}.")
    if not sites[outcome].scalar:
        raise QueryError(
            f"outcome '{outcome}' has several values a unit {sites[outcome].event}; an effect is on one number."
        )
    if not sites[outcome].ordered and sites[outcome].cardinality != 2:
        raise QueryError(f"outcome '{outcome}' is categorical and has no mean; make it a 0/1 variable of one category.")
    for name, number in (("units", units), ("draws", draws)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ArgumentError(f"{name}={number!r}: a positive whole number is needed.")


def run_arms(
    model: Model,
    arms: dict[str, Arm],
    outcome: str,
    data: Any,
    units: int,
    draws: int,
    seed: int | None,
    columns: tuple[str, ...] = (),
) -> Arms:
    """Expected outcomes of both arms: for the units of ``data`` with their own noise, or for fresh ones."""
    seed = choose_seed(seed)
    if data is not None and _observes_mechanisms(model, data):
        return _given_arms(model, arms, outcome, data, draws, seed, columns)
    return _fresh_arms(model, arms, outcome, data, units, draws, seed, columns)


def _observes_mechanisms(model: Model, data: Any) -> bool:
    """Whether data has any modelled variable (and not covariates alone)."""
    if not hasattr(data, "column_names") and not hasattr(data, "keys"):
        raise DataError(f"data= is a DataFrame, a dict of columns or an Arrow table; found {type(data).__name__}.")
    names = data.column_names if hasattr(data, "column_names") else list(data.keys())
    return any(model.structure.sites[n].kind == "variable" for n in names if n in model.structure.sites)


def _given_arms(
    model: Model, arms: dict[str, Arm], outcome: str, data: Any, draws: int, seed: int, columns: tuple[str, ...]
) -> Arms:
    units = read_units(model, data, what="data")
    run = Evaluation(
        model,
        units.values,
        units.index,
        {world: arm.sets for world, arm in arms.items()},
        model.parameters(draws, seed, prior=False),
        draws=256,
        seed=seed,
        missing=units.missing,
        references={world: arm.reference for world, arm in arms.items() if arm.reference is not None},
    )
    treated, control = run.mean("treated", outcome), run.mean("control", outcome)
    return Arms(treated, control, {name: run.points.factual[name] for name in columns}, account_of(run), fresh=False)


def _fresh_arms(
    model: Model,
    arms: dict[str, Arm],
    outcome: str,
    data: Any,
    units: int,
    draws: int,
    seed: int,
    columns: tuple[str, ...],
) -> Arms:
    covariates, index = covariates_of(model, data, None if data is not None else units)
    parameters = model.parameters(draws, seed, prior=True)
    lanes = len(next(iter(parameters.values()))) if parameters else 1
    units = len(index)
    if lanes > 1 and data is None:  # the lanes' units add up: each needs few
        units = min(units, max(200, 2_000_000 // lanes))
        index = index[:units]
    rows = row_ids(index)

    def plan_of(given: dict[Target, Any] | None, reference: WorldPlan | None = None) -> WorldPlan:
        return WorldPlan(model.structure, align({**model.interventions, **(given or {})}, index), None, reference)

    plans = {
        world: plan_of(arm.sets, plan_of(arm.reference) if arm.reference is not None else None)
        for world, arm in arms.items()
    }
    natural = WorldPlan(model.structure, align(model.interventions, index))

    def one(lane: dict[str, Any]) -> dict[str, Tensor]:
        out = {}
        for world, plan in plans.items():
            made = forward(model.program, plan, lane["parameters"], lane["uniform"], units, covariates)
            out[world] = _expected(made.fns, made.values, plan, outcome)
        if columns:
            made = forward(model.program, natural, lane["parameters"], lane["uniform"], units, covariates)
            out.update({f"column {name}": {**covariates, **made.values}[name] for name in columns})
        return out

    def inputs(part: slice) -> dict[str, Any]:
        draws = range(part.start, part.stop)
        noise: dict[str, Tensor] = {}
        for plan in (*plans.values(), natural):
            missing = [name for name in plan.structure.sites if name not in noise or name in plan.afresh]
            noise.update(world_noise(plan, seed, rows, draws, missing))
        return {"parameters": {name: value[part] for name, value in parameters.items()}, "uniform": noise}

    with model.program.sealed():
        out, _ = over_lanes(one, inputs, lanes, size=units)
    for world in arms:
        if not bool(torch.isfinite(out[world]).all()):
            raise QueryError(f"the mean of '{outcome}' is not finite in the {world} arm; it has no average effect.")
    words, khat, ess = parameter_words(model, lanes)
    nested = any(arm.reference is not None for arm in arms.values())
    basis = "identified: every confounder is a variable of the program"
    account = Account(
        rung=3 if nested else 2,
        sites=site_accounts(model, frozenset()),
        identification=basis + (", and noises are independent across worlds" if nested else ""),
        parameters=words,
        khat=khat,
        ess=ess,
        worlds=dict.fromkeys(
            arms, f"averaged over {units} fresh units" + (f" a draw, {lanes} draws" if lanes > 1 else "")
        ),
        notes=model.structure.notes,
    )
    kept = {name: out[f"column {name}"] for name in columns}
    return Arms(out["treated"], out["control"], kept, account, fresh=data is None)


def _expected(fns: dict[str, Any], values: dict[str, Tensor], plan: WorldPlan, outcome: str) -> Tensor:
    """The outcome's mean given its parents where its distribution knows it (less noise), else its value."""
    value = values[outcome]
    fn = fns.get(outcome)
    if fn is None or outcome in plan.sets:
        return value.to(torch.get_default_dtype())
    try:
        mean = fn.mean
    except (NotImplementedError, AttributeError):
        return value.to(torch.get_default_dtype())
    bare = unwrap(fn)[0]
    if isinstance(bare, torch.distributions.Categorical):
        mean = bare.probs @ torch.arange(bare.probs.shape[-1], dtype=bare.probs.dtype)
    return mean.expand(value.shape)
