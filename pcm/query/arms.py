"""The two arms of a contrast: expected outcomes of given units, of fresh ones, or of every joint value there is.

Three cases. *Given*: the units of ``data`` with their own noise. *Exact*: all that the outcome rests on is finite and
has few joint values; they are all run, with their probabilities. *Drawn*: fresh units.

>>> import pyro, pyro.distributions as dist
>>> from pcm.program import Program
>>> from pcm.query.model import Model
>>> def trial():
...     t = pyro.sample("t", dist.Bernoulli(0.5))
...     pyro.sample("y", dist.Bernoulli(0.2 + 0.5 * t))
>>> asked = Question.of(Model(Program(trial)), "t", "y", {})
>>> arms = run_arms(asked, {"treated": Arm(asked.sets(1)), "control": Arm(asked.sets(0))})
>>> arms.treated.tolist(), arms.account.worlds["treated"]
([[0.7]], 'exact, no site is drawn')
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from pcm.couplings import unwrap
from pcm.errors import EvidenceError, QueryError, listed
from pcm.io import row_ids
from pcm.query.account import Account
from pcm.query.accounting import account_of, account_of_fresh
from pcm.query.evaluate import Evaluation
from pcm.query.evidence import read_units
from pcm.query.question import Question
from pcm.query.setting import Setting, enumerate_joint, exact_words
from pcm.worlds import MAX_ASSIGNMENTS, Joint, Replayed, Target, WorldPlan, forward, over_lanes, world_noise

__all__ = ["Arm", "Arms", "run_arms"]


@dataclass(frozen=True)
class Arm:
    """One arm of a contrast: what it sets, and the reference world that its nested values come from."""

    sets: dict[Target, Any]
    reference: dict[Target, Any] | None = None


@dataclass(frozen=True)
class Arms:
    """Expected outcomes of the two arms.

    Attributes
    ----------
    treated, control : Tensor ``(lane, unit)``
    columns : dict of name to Tensor ``(lane, unit)`` or ``(unit,)``
        What groups need to know of the units.
    account : Account
    index : pandas.Index or None
        The units' names; None where they are the joint values of ``columns``.
    weights : Tensor ``(lane, unit)`` or None
        Probabilities of those joint values; None where all units count the same.
    sampled : callable or None
        Where the units are none: makes arms of fresh ones.
    fresh, exact : bool
    """

    treated: Tensor
    control: Tensor
    columns: dict[str, Tensor]
    account: Account
    index: pd.Index | None = None
    weights: Tensor | None = None
    sampled: Callable[[], Arms] | None = field(default=None, repr=False)
    fresh: bool = False
    exact: bool = False


def run_arms(question: Question, arms: dict[str, Arm], columns: tuple[str, ...] = ()) -> Arms:
    """Expected outcomes of both arms: for the units of ``data`` with their own noise, or on average over fresh ones."""
    if question.given:
        return _given(question, arms, columns)
    setting = Setting(question)
    plans = {world: _plan(setting, arm) for world, arm in arms.items()}
    tied = setting.natural if columns else None
    joints = {world: _joint(plan, question.outcome, tied, columns) for world, plan in plans.items()}
    alike = setting.alike(list(plans.values()))
    units = 1 if alike else len(setting.index)
    if _few_values(question, columns) and all(setting.affords(joint, units) for joint in joints.values()):
        found = _exact(question, setting, joints, columns, None if alike else setting.index)
        if found is not None:
            return found
    return _drawn(question, setting, plans, joints, columns)


def _plan(setting: Setting, arm: Arm) -> WorldPlan:
    return setting.plan(arm.sets, None if arm.reference is None else setting.plan(arm.reference))


# -- given units -----------------------------------------------------------------------------------------------------


def _given(question: Question, arms: dict[str, Arm], columns: tuple[str, ...]) -> Arms:
    model = question.model
    units = read_units(model, question.data, what="data")
    run = Evaluation(
        model,
        units.values,
        units.index,
        {world: arm.sets for world, arm in arms.items()},
        model.parameters(question.draws, question.seed, prior=False),
        draws=256,
        seed=question.seed,
        missing=units.missing,
        solved=units.solved,
        holes=units.holes,
        bounds=units.bounds,
        method=question.method,
        references={world: arm.reference for world, arm in arms.items() if arm.reference is not None},
    )
    inner = len(model.structure.sites[question.outcome].inner)
    treated, control = (
        run.joined(lambda part, world=world: part.mean(world, question.outcome), inner)
        for world in ("treated", "control")
    )
    _check_seen(run, columns)
    seen = {name: run.points.factual[name] for name in columns}
    return Arms(treated, control, seen, account_of(run, units.ignored), units.index)


def _check_seen(run: Evaluation, columns: tuple[str, ...]) -> None:
    """Raise where a column that chooses or groups units is open for some of them."""
    for name in columns if run.latent is not None else ():
        lanes = run.value("factual", name)
        rows = [run.index[int(row)] for row in (lanes != lanes[0]).any(0).nonzero().flatten()]
        if rows:
            raise EvidenceError(
                f"'{name}' says which units are averaged over, and it is open for {len(rows)} of {run.units} units "
                f"(first: {listed(rows, 5)}). Give those cells, or leave those units out.",
                column=name,
                rows=rows,
            )


# -- every joint value -----------------------------------------------------------------------------------------------


class _NoMean(Exception):
    """A distribution whose mean nobody knows."""


def _joint(plan: WorldPlan, outcome: str, tied: WorldPlan | None, columns: tuple[str, ...]) -> Joint:
    """Assignments on which the outcome's mean rests: its own noise is averaged in closed form where it has a law."""
    own = [outcome] if outcome in plan.sets else []
    return Joint(plan, own, tied, columns, given=() if own else [outcome])


def _few_values(question: Question, columns: tuple[str, ...]) -> bool:
    """Whether groups are of single values: bins are of drawn units."""
    sites = question.model.structure.sites
    return all(sites[name].kind == "variable" and (sites[name].cardinality or 99) <= 20 for name in columns)


def _exact(
    question: Question,
    setting: Setting,
    joints: dict[str, Joint],
    columns: tuple[str, ...],
    index: pd.Index | None,
) -> Arms | None:
    units = 1 if index is None else len(index)
    means: dict[str, Tensor] = {}
    kept: dict[str, Tensor] = {}
    weight = there = torch.empty(0)
    for world, joint in joints.items():

        def payload(here: Replayed, there: Replayed | None, joint: Joint = joint) -> dict[str, Tensor]:
            value = _expected(here.fns, here.values, joint.plan, question.outcome, strict=True)
            seen = {f"column {name}": there.values[name].to(value.dtype) for name in columns} if there else {}
            return {"mean": value, **seen}

        try:
            weight, out = enumerate_joint(setting, joint, payload, units, by_tied=bool(columns))
        except _NoMean:
            return None
        there = (weight > 0).any(0)
        means[world] = out["mean"][:, there]
        kept = {name: out[f"column {name}"][:, there].round() for name in columns}
    _check_finite(question, means)
    words = {world: exact_words(joint) for world, joint in joints.items()}
    return Arms(
        means["treated"],
        means["control"],
        kept,
        _account(setting, joints, words),
        index=None if columns else index,
        weights=weight[:, there] if columns else None,
        sampled=None if index is not None and not columns else lambda: _again(question, joints, columns),
        exact=True,
    )


# -- fresh units -----------------------------------------------------------------------------------------------------


def _again(question: Question, joints: dict[str, Joint], columns: tuple[str, ...]) -> Arms:
    """The arms over drawn units, where the average needed none."""
    setting = Setting(question)
    return _drawn(question, setting, {world: joint.plan for world, joint in joints.items()}, joints, columns)


def _drawn(
    question: Question,
    setting: Setting,
    plans: dict[str, WorldPlan],
    joints: dict[str, Joint],
    columns: tuple[str, ...],
) -> Arms:
    model, outcome, units = setting.model, question.outcome, len(setting.index)
    rows, natural, covariates = row_ids(setting.index), setting.natural, setting.covariates

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
            noise.update(world_noise(plan, question.seed, rows, draws, missing))
        return {"parameters": {name: value[part] for name, value in setting.parameters.items()}, "uniform": noise}

    with model.program.sealed():
        out, _ = over_lanes(one, inputs, setting.lanes, size=units)
    _check_finite(question, {world: out[world] for world in plans})
    words = f"averaged over {units} fresh units" + (f" a draw, {setting.lanes} draws" if setting.lanes > 1 else "")
    account = _account(setting, joints, {w: words + _why(joint) for w, joint in joints.items()})
    kept = {name: out[f"column {name}"] for name in columns}
    return Arms(out["treated"], out["control"], kept, account, setting.index, fresh=not setting.counted)


def _expected(
    fns: dict[str, Any], values: dict[str, Tensor], plan: WorldPlan, outcome: str, strict: bool = False
) -> Tensor:
    """The outcome's mean given its parents where its distribution knows it (less noise), else its value."""
    value = values[outcome]
    fn = fns.get(outcome)
    if fn is None or outcome in plan.sets:
        return value.to(torch.get_default_dtype())
    try:
        mean = fn.mean
    except (NotImplementedError, AttributeError):
        if strict:
            raise _NoMean from None
        return value.to(torch.get_default_dtype())
    bare = unwrap(fn)[0]
    if isinstance(bare, torch.distributions.Categorical):
        mean = bare.probs @ torch.arange(bare.probs.shape[-1], dtype=bare.probs.dtype)
    return mean.expand(value.shape)


# -- words -----------------------------------------------------------------------------------------------------------


def _check_finite(question: Question, means: dict[str, Tensor]) -> None:
    for world, mean in means.items():
        if not bool(torch.isfinite(mean).all()):
            raise QueryError(
                f"the mean of '{question.outcome}' is not finite in the {world} arm; it has no average effect."
            )


def _why(joint: Joint) -> str:
    """Why the average over finite variables is not exact."""
    if joint.size is None or joint.size <= MAX_ASSIGNMENTS:
        return ""
    return f": there are {joint.size:,} joint assignments, more than {MAX_ASSIGNMENTS:,}"


def _account(setting: Setting, joints: dict[str, Joint], words: dict[str, str]) -> Account:
    nested = any(joint.plan.reference is not None for joint in joints.values())
    return account_of_fresh(setting.model, setting.lanes, words, rung=3 if nested else 2)
