"""Average effects of a treatment: over fresh units, or over given units with their own noise.

``ate = E[Y_treated] - E[Y_control]``; ``att`` averages over the units that have the treatment; ``cate`` over groups.
Both arms share every unit's noise, and each parameter draw of a fitted model gives one draw of the effect, so that the
interval carries the uncertainty of the fit. Where all that the outcome rests on is finite, the average is over every
joint value (:mod:`pcm.query.arms`), without Monte-Carlo error.

>>> import pyro, pyro.distributions as dist, pcm
>>> def trial():
...     t = pyro.sample("t", dist.Bernoulli(0.5))
...     pyro.sample("y", dist.Normal(2.0 * t, 1.0))
>>> pcm.ate(pcm.SCM(trial), "t", "y")
ATE of t on y: 2 (exact)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcm.errors import ArgumentError, QueryError, UnknownNameError, listed
from pcm.query.arms import Arm, Arms, run_arms
from pcm.query.effect import Effect
from pcm.query.groups import groups_of
from pcm.query.identified import accounted, adjusted
from pcm.query.mechanisms import code_of
from pcm.query.model import Model
from pcm.query.question import Question

__all__ = ["ate", "att", "cate", "effect_of"]


def ate(model: Model, treatment: str, outcome: str, **options: Any) -> Effect:
    """Average treatment effect; see :func:`pcm.ate`."""
    asked = Question.of(model, treatment, outcome, options)
    return effect_of(asked, _arms(asked), f"ATE of {asked.told} on {outcome}")


def att(model: Model, treatment: str, outcome: str, **options: Any) -> Effect:
    """Average effect on the treated; see :func:`pcm.att`."""
    asked = Question.of(model, treatment, outcome, options)
    if not isinstance(asked.treated, bool | int | float | str | np.number):
        raise ArgumentError(
            f"att averages over the units whose {treatment} equals treated=; {asked.treated!r} is no value to compare "
            "with."
        )
    code = code_of(model, treatment, asked.treated)
    arms = _arms(asked, (treatment,), on_the_treated=True)

    def chosen(arms: Arms) -> Tensor:
        has = arms.columns[treatment] == code
        if not bool(has.any()):
            raise QueryError(f"no unit has {treatment} = {asked.treated!r}: there is nobody to average over.")
        return has

    return effect_of(asked, arms, f"ATT of {asked.told} on {outcome}", chosen)


def cate(model: Model, treatment: str, outcome: str, *, given: Sequence[str], bins: int = 5, **options: Any) -> Effect:
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
    asked = Question.of(model, treatment, outcome, options)
    arms = _arms(asked, tuple(given))
    labels, members = groups_of(model, {name: arms.columns[name] for name in given}, bins)
    label = f"CATE of {asked.told} on {outcome} by {listed(given)}"
    effects = [_averaged(asked, arms, member) for member in members]
    return Effect(
        np.stack([draws for draws, _ in effects], 1),
        label=label,
        account=arms.account,
        index=labels,
        by_unit=lambda: _unit_by_unit(asked, arms, label, None),
        rows="groups",
    )


def effect_of(asked: Question, arms: Arms, label: str, chosen: Callable[[Arms], Tensor] | None = None) -> Effect:
    """The effect over all units, or over those chosen, a draw a lane."""
    every = torch.ones(arms.treated.shape[-1], dtype=torch.bool)
    draws, error = _averaged(asked, arms, every if chosen is None else chosen(arms))
    label = label if asked.scale == "difference" else f"{label} ({asked.scale})"
    return Effect(
        draws,
        label=label,
        account=arms.account,
        standard_error=error,
        by_unit=lambda: _unit_by_unit(asked, arms, label, chosen),
    )


# -- private ---------------------------------------------------------------------------------------------------------


def _arms(asked: Question, columns: tuple[str, ...] = (), on_the_treated: bool = False) -> Arms:
    groups = () if on_the_treated else columns
    values = {"treated": asked.treated, "control": asked.control}
    found = run_arms(asked, {world: Arm(asked.sets(value)) for world, value in values.items()}, columns)
    words = accounted(found.account, asked, lambda: adjusted(asked, (), groups, on_the_treated))
    return replace(found, account=words)


def _averaged(asked: Question, arms: Arms, member: Tensor) -> tuple[np.ndarray, float | None]:
    """The effect among ``member``, bool (unit) or (lane, unit), and the Monte-Carlo error of its mean."""
    weights = member.to(arms.treated.dtype).expand(arms.treated.shape)
    weights = weights if arms.weights is None else weights * arms.weights
    size = weights.sum(-1)
    if not bool((size > 0).all()):
        raise QueryError(
            "under some parameter draws no unit falls into the group; ask for more units= or other groups."
        )
    first, second = (arms.treated * weights).sum(-1) / size, (arms.control * weights).sum(-1) / size
    draws = _scaled(first, second, asked.scale)
    error = 0.0 if arms.exact else None
    if arms.fresh and len(draws) == 1 and asked.scale == "difference":
        chosen = (arms.treated - arms.control)[0][weights[0] > 0]
        error = float(chosen.std() / len(chosen) ** 0.5) if len(chosen) > 1 else None
        if error is not None and error <= 1e-12 * float(chosen.abs().max()):
            error = None  # the units do not differ: what is left is rounding
    return draws.numpy(), error


def _unit_by_unit(asked: Question, arms: Arms, label: str, chosen: Callable[[Arms], Tensor] | None) -> Effect:
    arms = arms.sampled() if arms.sampled is not None else arms
    assert arms.index is not None
    draws, index = _scaled(arms.treated, arms.control, asked.scale).numpy(), arms.index
    if chosen is not None:
        has = chosen(arms).expand(arms.treated.shape)
        if len(has) > 1 and not bool((has == has[0]).all()):
            raise QueryError(f"{label}: under each parameter draw other fresh units are treated; ask with data=.")
        draws, index = draws[:, has[0].numpy()], index[has[0].numpy()]
    return Effect(draws, label=f"{label}, unit by unit", account=arms.account, index=index)


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
