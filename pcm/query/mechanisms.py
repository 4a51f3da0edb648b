"""The distributions that mechanisms have at given values of their parents, under every parameter draw.

>>> import pyro, pyro.distributions as dist, torch
>>> from pcm.program import Program
>>> from pcm.query.model import Model
>>> def trial():
...     z = pyro.sample("z", dist.Normal(0.0, 1.0))
...     pyro.sample("t", dist.Bernoulli(logits=z))
>>> model = Model(Program(trial))
>>> at_mechanisms(model, {"z": torch.zeros(2)}, 2, {}, ["t"], lambda fns: {"p": fns["t"].probs})["p"].tolist()
[[0.5, 0.5]]
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from pcm.couplings import unwrap
from pcm.errors import ArgumentError, EvidenceError, QueryError, UnknownNameError, listed
from pcm.graph import ancestors
from pcm.query.evidence import read_units
from pcm.query.model import Model
from pcm.worlds import WorldPlan, factual, over_lanes

__all__ = ["at_mechanisms", "code_of", "mechanism_site", "parents_in"]


def mechanism_site(model: Model, name: str, role: str) -> None:
    """Raise unless the variable has a mechanism of one number a unit.

    Raises
    ------
    UnknownNameError, QueryError
    """
    sites = model.structure.sites
    if not isinstance(name, str) or name not in sites:
        raise UnknownNameError(name, known=list(sites))
    site = sites[name]
    if site.kind != "variable":
        raise QueryError(
            f"{role} '{name}' is a {site.kind}: the program gives it no distribution given its parents. Sample it in "
            "the program."
        )
    if not site.scalar:
        raise QueryError(
            f"{role} '{name}' has several values a unit {site.inner + site.event}; take a scalar variable."
        )
    if name in model.interventions:
        raise QueryError(f"{role} '{name}' is set by do(); ask the model without that intervention.")


def code_of(model: Model, name: str, value: Any) -> float:
    """A value of a variable as the number the program uses: a label's place, or the number itself."""
    labels = model.categories.get(name)
    if labels is not None and value in labels:
        return float(labels.index(value))
    try:
        number = float(value)
    except (TypeError, ValueError):
        known = f"; its labels are {listed(labels)}" if labels else ""
        raise ArgumentError(f"{value!r} is no value of '{name}'{known}.") from None
    support = model.structure.sites[name].support
    if support is not None and not bool(support.check(torch.tensor(number)).all()):
        raise ArgumentError(f"{value!r} is no value of '{name}': it is outside its support {support}.")
    return number


def parents_in(model: Model, data: Any, names: Collection[str]) -> tuple[dict[str, Tensor], pd.Index]:
    """What the mechanisms of ``names`` read, from data; their own values too where the data have them in full.

    Raises
    ------
    EvidenceError, DataError
        A column that a mechanism reads is missing or has empty cells.
    """
    sites, found = model.structure.sites, read_units(model, data, what="data")
    needed = ancestors(model.structure.graph, set(names))
    for name, hole in found.missing.items():
        if name in needed:
            rows = [found.index[int(row)] for row in hole.nonzero().flatten()[:5]]
            raise EvidenceError(
                f"the mechanism of {listed(names)} depends on '{name}', which the data lack"
                + ("." if bool(hole.all()) else f" in some rows (first: {listed(rows, 5)}); drop them."),
                column=name,
                rows=rows,
            )
    lacking = {name for name in found.missing if sites[name].kind == "variable"}
    lacking |= {name for name, mask in found.solved.items() if not bool(mask.all())}
    return {name: value for name, value in found.values.items() if name not in lacking}, found.index


def at_mechanisms(
    model: Model,
    values: Mapping[str, Tensor],
    units: int,
    parameters: Mapping[str, Tensor],
    names: Collection[str],
    read: Callable[[dict[str, Any]], dict[str, Tensor]],
) -> dict[str, Tensor]:
    """``read`` of the distributions of ``names`` at these values, stacked over parameter draws ``(lane, …)``.

    Sites without a value get zeros: they must not be above any of ``names``.
    """
    structure = model.structure
    known = dict(values)
    for name, site in structure.sites.items():
        if site.kind == "deterministic":
            known.pop(name, None)  # a parameter may move it
        elif name not in known and name not in model.interventions:
            known[name] = torch.zeros(site.shape(units), dtype=site.dtype)
    plan = WorldPlan(structure, model.interventions)
    needed = frozenset(names)

    def one(lane: dict[str, Tensor]) -> dict[str, Tensor]:
        past = factual(model.program, known, lane, units, needed, plan)
        return read({name: unwrap(past.fns[name])[0] for name in names})

    lanes = len(next(iter(parameters.values()))) if parameters else 0
    with model.program.sealed():
        if not lanes:
            return {key: value[None] for key, value in one({}).items()}
        out, _ = over_lanes(one, lambda part: {n: v[part] for n, v in parameters.items()}, lanes, size=units)
    return out
