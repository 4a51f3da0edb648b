"""Intervals as evidence: whether a variable can have one, and whether it can take a value inside.

>>> import pyro, pyro.distributions as dist, pcm
>>> def wait():
...     pyro.sample("x", dist.Exponential(1.0))
>>> pcm.SCM(wait).counterfactual({"x": pcm.Interval(-2.0, -1.0)}, do={"x": 1.0})
Traceback (most recent call last):
pcm.errors.EvidenceError: column 'x' has an interval in row 0 (-2 to -1) where Exponential has nothing: it takes reals \
from 0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from pcm.couplings.counts import Counts
from pcm.couplings.domain import read
from pcm.couplings.triangular import TriangularCoupling
from pcm.errors import EvidenceError
from pcm.io.frames import Evidence
from pcm.program import Site
from pcm.query.model import Model
from pcm.worlds import align

__all__ = ["check_intervals"]


def check_intervals(model: Model, found: Evidence, what: str) -> None:
    """Raise unless every interval of the evidence is one that its variable can lie in.

    Raises
    ------
    EvidenceError
        Of a covariate, a computed or a set variable, one without an order or without a distribution function; or
        outside what the variable can take.
    """
    set_by = align(model.interventions, found.index)
    for name, (low, high) in found.bounds.items():
        site = model.structure.sites[name]
        reason = _reason(site)
        if name in set_by:
            reason = f"do({name}=…) sets it: drop the column"
        rows = _rows((low > -torch.inf) | (high < torch.inf), found)
        if reason:
            raise EvidenceError(
                f"column '{name}' of the {what} has intervals in {len(rows)} of {len(found.index)} rows (first: "
                f"{rows[0]}), but {reason}.",
                column=name,
                rows=rows,
            )
        support = site.support
        while isinstance(support, constraints.independent):
            support = support.base_constraint
        if support is None:
            continue
        domain = read(support)
        least, most = domain.low, domain.high
        if not domain.simple or isinstance(least, torch.Tensor) or isinstance(most, torch.Tensor):
            continue  # differs between units: seen when the probability of the evidence is
        outside = (high < least) | (low > most)
        outside |= ((high == least) & domain.open_low) | ((low == most) & domain.open_high)
        if bool(outside.any()):
            at, *cell = outside.nonzero()[0].tolist()
            element = f"{name}[{','.join(map(str, cell))}]" if cell else name
            raise EvidenceError(
                f"column '{element}' has an interval in row {found.index[at]} ({low[at, *cell]:g} to "
                f"{high[at, *cell]:g}) where {site.family} has nothing: it takes {domain.words}.",
                column=element,
                rows=_rows(outside, found),
            )


def _rows(cells: Tensor, found: Evidence) -> list[Any]:
    """Names of the units of which any cell ``(unit, …)`` is true."""
    return [found.index[int(row)] for row in cells.reshape(len(cells), -1).any(1).nonzero().flatten()]


def _reason(site: Site) -> str | None:
    """Why a site cannot be given as an interval; None where it can."""
    if site.kind == "covariate":
        return "it is a covariate, without a distribution to fill them from: give numbers"
    if site.kind == "deterministic":
        return "it is computed by the program: give the variables that it is computed from"
    if not site.ordered:
        return "its categories have no order"
    coupling = site.coupling
    if isinstance(coupling, TriangularCoupling):
        return None
    if site.joint:
        return f"the values of one {site.family} are tied to each other: give all of them in a row, or none"
    if site.cardinality is None and not (
        coupling is not None
        and coupling.univariate
        and (isinstance(coupling, Counts) if site.discrete else coupling.invertible)
    ):
        return f"{site.family} has no one-to-one distribution function here: give the value, or leave the cell empty"
    return None
