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

import torch

from pcm.couplings.counts import Counts
from pcm.couplings.domain import read
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
        rows = [found.index[int(row)] for row in ((low > -torch.inf) | (high < torch.inf)).nonzero().flatten()]
        if reason:
            raise EvidenceError(
                f"column '{name}' of the {what} has {len(rows)} intervals (first in row {rows[0]}), but {reason}.",
                column=name,
                rows=rows,
            )
        if site.support is None:
            continue
        domain = read(site.support)
        least, most = domain.low, domain.high
        if not domain.simple or isinstance(least, torch.Tensor) or isinstance(most, torch.Tensor):
            continue  # differs between units: seen when the probability of the evidence is
        outside = (high < least) | (low > most)
        outside |= ((high == least) & domain.open_low) | ((low == most) & domain.open_high)
        if bool(outside.any()):
            at = int(outside.nonzero()[0])
            raise EvidenceError(
                f"column '{name}' has an interval in row {found.index[at]} ({low[at]:g} to {high[at]:g}) where "
                f"{site.family} has nothing: it takes {domain.words}.",
                column=name,
                rows=[found.index[int(row)] for row in outside.nonzero().flatten()],
            )


def _reason(site: Site) -> str | None:
    """Why a site cannot be given as an interval; None where it can."""
    if site.kind == "covariate":
        return "it is a covariate, without a distribution to fill them from: give numbers"
    if site.kind == "deterministic":
        return "it is computed by the program: give the variables that it is computed from"
    if not site.ordered:
        return "its categories have no order"
    coupling = site.coupling
    if site.cardinality is None and not (
        coupling is not None
        and coupling.univariate
        and (isinstance(coupling, Counts) if site.discrete else coupling.invertible)
    ):
        return f"{site.family} has no one-to-one distribution function here: give the value, or leave the cell empty"
    return None
