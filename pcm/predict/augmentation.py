"""Counterfactual data augmentation: rows replayed with their sources moved, and the target in place of the outcome.

Each row comes several times: as it is, and as the same unit would be had its sources been others, drawn from their own
marginals. Its outcome is that of the target ``T`` in that world, with the unit's own noise: it follows the source along
admissible paths and along no other. Any regression of ``T`` on the moved rows then estimates ``E[T | inputs]``, the
faithful prediction, where sources and noise are independent; labels that do not move at all (the usual augmentation)
are the special case of no admissible path.

>>> import pyro, pyro.distributions as dist, pcm
>>> def program():
...     a = pyro.sample("A", dist.Bernoulli(0.5))
...     z = pyro.sample("Z", dist.Normal(2.0 * a, 1.0))
...     pyro.sample("Y", dist.Normal(z + a, 1.0))
>>> scm = pcm.SCM(program)
>>> fair = pcm.Requirement("A", outcome="Y", reference=0.0)
>>> rows = pcm.SCM(program).sample(2, seed=0)
>>> found = augment(scm, rows, [fair], copies=3)
>>> found.index.names, len(found)
(FrozenList([None, 'copy']), 8)
>>> bool((found.groupby(level=0)["Y"].std() < 1e-12).all()), bool(found.groupby(level=0)["A"].std().max() > 0)
(True, True)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from pcm.arguments import check_count, check_seed
from pcm.errors import DataError
from pcm.predict.design import variable_of
from pcm.predict.moved import dealt, levels_of, moved
from pcm.predict.releases import released_rows
from pcm.predict.wiring import target_of
from pcm.query.evidence import frame_of
from pcm.query.model import Model
from pcm.query.named_worlds import FACTUAL
from pcm.requirement import TargetPlan
from pcm.requirement.copies import Copies
from pcm.requirement.references import references

__all__ = ["augment"]

#: Reference values among which each row has one.
_REFERENCES = 64


def augment(
    scm: Any, data: pd.DataFrame, requirements: Sequence[Any], *, copies: int = 4, draws: int = 16, seed: int = 0
) -> pd.DataFrame:
    """Rows as they are and with their sources moved, the target's value in place of the outcome's.

    Parameters
    ----------
    scm : SCM
    data : DataFrame
        Rows with the outcome. Other variables that they lack, and empty cells, are drawn given the rest and not
        handed out; columns that are no variable are carried along.
    requirements : sequence of Requirement
        On one outcome. Several sources are moved together.
    copies : int
        Moved copies of a row, beside the row itself.
    draws : int
        Of a fitted model's parameters, at most. Each row is replayed under one of them, all its copies alike, so that
        what is learned from the rows is averaged over what the model does not know.
    seed : int

    Returns
    -------
    DataFrame
        ``copies + 1`` rows a row. The index has a further level ``copy``, 0 for the row as it is.

    Raises
    ------
    DataError
        The outcome is not there, or missing in some rows.

    Notes
    -----
    The target refers to a draw of the reference, another for each row. Where it replays a discrete variable, whose
    value leaves its noise open, that noise is drawn.

    References
    ----------
    Kaushik, Hovy & Lipton, "Learning the difference that makes a difference with counterfactually-augmented data",
    ICLR 2020.

    Examples
    --------
    >>> import pyro, pyro.distributions as dist, pcm
    >>> def program():
    ...     a = pyro.sample("A", dist.Normal(0.0, 1.0))
    ...     pyro.sample("Y", dist.Normal(3.0 * a, 1.0))
    >>> scm = pcm.SCM(program)
    >>> rows = pcm.augment(scm, scm.sample(3_000, seed=0), [pcm.Requirement("A", outcome="Y")])
    >>> bool(abs(np.polyfit(rows["A"], rows["Y"], 1)[0]) < 0.05)  # 3 in the rows as they were
    True
    """
    check_count(copies, "copies")
    check_seed(seed)
    plan, model = target_of(scm, requirements), replace(scm._model, plain=True)
    outcome = plan.outcome
    if not isinstance(data, pd.DataFrame) or outcome not in data:
        raise DataError(f"data= is a DataFrame with the outcome '{outcome}'; the target is computed from it.")
    data = released_rows(scm._model, data)
    empty = data[outcome].isna().to_numpy()
    if empty.any():
        raise DataError(f"the outcome '{outcome}' is missing in {empty.sum()} rows; drop those.")
    if "copy" in data.index.names:
        raise DataError("the index has a level 'copy' already; these rows have been augmented, or rename it.")
    sites = model.structure.sites
    rows: Any = data[[name for name in data if variable_of(name, sites) in sites]]
    covariates = rows if model.structure.covariates else None
    rows = rows.reset_index(drop=True)
    groups = dealt(model, len(rows), draws, seed)
    parts = [_replayed(one, plan, rows.iloc[places], covariates, copies, own) for one, places, own in groups]
    back = np.argsort(np.concatenate([places for _, places, _ in groups]))
    everything = pd.concat(
        [pd.concat([part[k] for part in parts]).iloc[back] for k in range(copies + 1)], ignore_index=True
    )
    made = data.iloc[np.tile(np.arange(len(data)), copies + 1)].copy()
    changing = {outcome, *_changing(model, plan)}
    for name in rows:
        if variable_of(name, sites) in changing:  # what does not move stays as it was given
            made[name] = everything[name].to_numpy()
    copy = np.repeat(np.arange(copies + 1), len(data))
    made.index = pd.MultiIndex.from_arrays(
        [*(made.index.get_level_values(k) for k in range(made.index.nlevels)), copy], names=[*data.index.names, "copy"]
    )
    return made


# -- private ---------------------------------------------------------------------------------------------------------


def _replayed(
    model: Model, plan: TargetPlan, rows: pd.DataFrame, covariates: pd.DataFrame | None, copies: int, seed: int
) -> list[pd.DataFrame]:
    """Rows as they are, then moved once for each copy, the target in place of the outcome; under known parameters."""
    levels = {
        source: levels_of(model, source, copies * len(rows), rows=covariates, seed=seed).reshape(copies, -1)
        for source in plan.sources
    }
    worlds = {str(k): {source: value[k] for source, value in levels.items()} for k in range(copies)}
    frames = moved(model, rows, worlds, seed=seed)
    everything = pd.concat([frames[name] for name in (FACTUAL, *worlds)], ignore_index=True)
    everything[plan.outcome] = _target(model, plan, everything, covariates, seed)
    return [everything.iloc[k * len(rows) : (k + 1) * len(rows)] for k in range(copies + 1)]


def _changing(model: Model, plan: TargetPlan) -> set[str]:
    """Variables that move with a source."""
    from pcm.graph import descendants

    return set().union(*(descendants(model.structure.graph, s, include_self=True) for s in plan.sources))


def _target(
    model: Model, plan: TargetPlan, rows: pd.DataFrame, covariates: pd.DataFrame | None, seed: int
) -> np.ndarray:
    """Each row's target with its own noise, under one reference value of its own; labels where there are any."""
    parameters = {name: value[None] for name, value in model.given.items()}
    values = references(model, parameters, plan, 1, _REFERENCES, seed, covariates)
    chosen = torch.from_numpy(np.random.default_rng(seed).permutation(np.arange(len(rows)) % _REFERENCES))
    each = {name: value[chosen][None] for name, value in values.items()}  # (copy, row)
    run = Copies(
        model, rows, plan, states=1, copies=1, seed=seed, outcome_seen=True, marginal=covariates, reference=each
    )
    own = run.all().own
    assert own is not None
    value = torch.from_numpy(own[0, 0])
    site = model.structure.sites[plan.outcome]
    return frame_of(model, {plan.outcome: value.to(site.dtype)}, rows.index)[plan.outcome].to_numpy()
