"""From a user's data to the evidence of a query: every column by name, checked against the program.

>>> import pyro, pyro.distributions as dist
>>> from pcm.program import Program
>>> from pcm.query.model import Model
>>> def coin():
...     pyro.sample("x", dist.Bernoulli(0.5))
>>> read_units(Model(Program(coin)), {"x": [0, 1]}).values["x"]
tensor([0., 1.], dtype=torch.float64)
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import networkx as nx
import pandas as pd
import torch
from torch import Tensor

from pcm.couplings import check_distribution, check_value, impossible, unremarkable
from pcm.couplings.parameters import compact
from pcm.errors import EvidenceError, QueryError, SupportError, listed
from pcm.io.columns import Column
from pcm.io.frames import read_evidence, write_frame
from pcm.program import Site
from pcm.query.intervals import check_intervals
from pcm.query.model import Model
from pcm.query.parts import check_parts
from pcm.query.reports import read_reports
from pcm.worlds import Constant, Factual, Function, PerUnit, Stochastic, WorldPlan, align, factual, set_value

__all__ = [
    "Units",
    "check_cells",
    "check_evidence",
    "check_finite",
    "columns_of",
    "frame_of",
    "named_rows",
    "read_units",
]


#: A float64 holds every whole number below it.
_MOST_COUNT = 2.0**53


def columns_of(model: Model, names: Collection[str] | None = None) -> list[Column]:
    """What a frame's columns must be for these variables (all by default)."""
    sites, cache = model.structure.sites, model.structure.plans
    key = ("columns", tuple(model.categories.items()), None if names is None else tuple(names))
    if key not in cache:
        cache[key] = _columns(sites, model.categories, names)
    return cache[key]


def _columns(
    sites: Mapping[str, Site], categories: Mapping[str, tuple[Any, ...]], names: Collection[str] | None
) -> list[Column]:
    return [
        Column(
            name,
            event_shape=(*site.inner, *site.event),
            discrete=site.discrete or not site.dtype.is_floating_point,
            categories=categories.get(name),
            dtype=site.dtype,
        )
        for name, site in sites.items()
        if names is None or name in names
    ]


@dataclass(frozen=True)
class Units:
    """Evidence of units: values ``(*inner, unit, *event)``, names, which stochastic sites which units lack, and the
    intervals that some of these cells lie in, two tensors like the values.

    ``holes`` are the empty cells, shaped like the values, of stochastic sites that some unit has in part.
    ``solved`` names the deterministic columns that have holes or stand below something missing, and the units that
    have them; their values elsewhere are not to be read. ``ignored`` are columns that the program has no variable for.
    """

    values: dict[str, Tensor]
    index: pd.Index
    missing: dict[str, Tensor]
    bounds: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    solved: dict[str, Tensor] = field(default_factory=dict)
    holes: dict[str, Tensor] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()

    @property
    def seen(self) -> frozenset[str]:
        """Names of the variables that every unit has."""
        partly = {name for name, mask in self.solved.items() if not bool(mask.all())}
        return frozenset(self.values) - self.missing.keys() - partly


def read_units(model: Model, data: Any, *, what: str = "evidence", partial: bool = True) -> Units:
    """Evidence by name. Missing columns and empty cells of stochastic sites are recorded; ``partial`` admits them.

    Raises
    ------
    EvidenceError
        A missing covariate; a missing column or cell where ``partial`` is False; some values of a unit missing where
        they are tied to the others.
    """
    data = read_reports(model, data, what)
    found = read_evidence(data, columns_of(model), what=what, share=True)
    sites, units = model.structure.sites, len(found.index)
    check_intervals(model, found, what)
    values = {name: _placed(value, len(sites[name].inner)) for name, value in found.values.items()}
    set_by = align(model.interventions, found.index)
    missing: dict[str, Tensor] = {}
    for name in found.missing:
        if sites[name].kind == "variable" and name not in set_by:
            _check_spelling(name, data, sites, what)
            missing[name] = torch.ones(units, dtype=torch.bool)
            values[name] = torch.zeros(sites[name].shape(units), dtype=sites[name].dtype)
    solved: dict[str, Tensor] = {}
    holes: dict[str, Tensor] = {}
    for name, hole in found.holes.items():
        if name in set_by or (sites[name].kind == "deterministic" and not partial):
            del values[name]  # computed by the program
        else:
            if sites[name].kind == "deterministic":
                solved[name] = ~hole
            else:
                missing[name] = hole
            empty = hole.reshape(units, *([1] * (values[name].dim() - 1)))
            if name in found.elements and name in missing:
                empty = holes[name] = _placed(found.elements[name], len(sites[name].inner))
            else:
                empty = _placed(empty, len(sites[name].inner))
            values[name] = torch.where(empty, torch.zeros_like(values[name]), values[name])
    for target, action in set_by.items():
        if isinstance(target, str) and target not in values and isinstance(action, Constant | PerUnit):
            values[target] = set_value(action, sites[target], units, {})
    lacking = [name for name in found.missing if sites[name].kind == "covariate" and name not in set_by]
    lacking += [name for name in missing if sites[name].kind == "covariate" or not partial]
    if lacking:
        name = lacking[0]
        rows = [] if name in found.missing else [found.index[int(row)] for row in missing[name].nonzero().flatten()]
        kind = "covariates have no distribution to fill them from" if sites[name].kind == "covariate" else what
        raise EvidenceError(
            f"the {what} {'has intervals for' if name in found.bounds else 'lacks'} the {_kind(lacking, sites)} "
            f"{listed(lacking)}"
            + (f" in {len(rows)} of {units} rows (first: {listed(rows, 5)})" if rows else "")
            + f"; it has {listed(_names(data))}. "
            + (f"Give every column: {kind}." if sites[name].kind == "covariate" else "Every cell is needed here."),
            column=name,
            missing=lacking,
            rows=rows,
        )
    check_parts(model, found, missing, set_by, what)
    computed = [name for name in values if sites[name].kind == "deterministic" and name not in {*set_by, *solved}]
    for name in computed if missing else ():
        if nx.ancestors(model.structure.graph, name) & missing.keys():
            solved[name] = torch.ones(units, dtype=torch.bool)
    bounds = {
        name: (_placed(low, len(sites[name].inner)), _placed(high, len(sites[name].inner)))
        for name, (low, high) in found.bounds.items()
    }
    return Units(values, found.index, missing, bounds, solved, holes, found.ignored)


def _check_spelling(name: str, data: Any, sites: Mapping[str, Site], what: str) -> None:
    """Raise where a column that would be latent is there under a name one slip away."""
    others = [str(column) for column in _names(data) if column not in sites]
    letters = str.maketrans("", "", "0123456789")
    for other in difflib.get_close_matches(name, others, n=3, cutoff=0.75):
        if other.translate(letters) != name.translate(letters):
            raise EvidenceError(
                f"the {what} lacks the variable '{name}' but has a column '{other}'. If that is the same, rename it; "
                f"if '{name}' is meant to be latent, drop '{other}'.",
                column=other,
                missing=[name],
            )


def _kind(names: list[str], sites: Mapping[str, Site]) -> str:
    kind = "covariate" if all(sites[name].kind == "covariate" for name in names) else "variable"
    return kind + ("s" if len(names) > 1 else "")


def _names(data: Any) -> list[Any]:
    """Names of the data's columns."""
    return list(data.column_names) if hasattr(data, "column_names") else list(data)


def _placed(value: Tensor, inner: int) -> Tensor:
    """From a frame's ``(unit, *inner, *event)`` to a program's ``(*inner, unit, *event)``."""
    return value.movedim(0, inner) if inner else value


def check_evidence(
    model: Model,
    values: Mapping[str, Tensor],
    index: pd.Index,
    parameters: Mapping[str, Tensor],
    plan: WorldPlan | None = None,
    needed: frozenset[str] | None = None,
    *,
    possible: bool = False,
) -> Factual:
    """Run the program at the evidence and check every value against its distribution; return that run.

    The distributions of the ``needed`` sites are kept (all by default). That their parameters are finite is seen by
    whoever computes with them; that they are in their domain is checked here, and with ``possible`` that no value has
    probability zero.

    Raises
    ------
    SupportError
        A value outside its distribution's support, or a parameter of a distribution outside its domain.
    EvidenceError
        A deterministic column that contradicts the columns it is computed from; a value of probability zero.
    """
    sites = model.structure.sites
    plan = WorldPlan(model.structure, model.interventions) if plan is None else plan
    every = frozenset(model.structure.stochastic)
    given = {name: value for name, value in values.items() if sites[name].kind != "deterministic"}
    for name, value in given.items():
        if not value.is_floating_point():  # the program may index by it
            _check_codes(name, value, sites[name], model.categories.get(name), index)
    try:
        past = factual(model.program, given, parameters, len(index), every, plan)
    except EvidenceError as error:
        raise named_rows(error, index) from error.__cause__
    except SupportError as error:
        raise _placed_error(error, str(vars(error).get("site")), index) from None
    looked = {
        name: fn for name, fn in past.fns.items() if name not in plan.sets and (needed is None or not unremarkable(fn))
    }
    for name, fn in looked.items():
        try:
            check_distribution(fn, name, finite=needed is None)
            check_value(fn, past.values[name], name, finite=False)  # frames hold finite numbers
        except SupportError as error:
            raise _placed_error(error, name, index) from None
    for name, fn in looked.items() if possible else ():  # what is outside its support is the better culprit
        _check_possible(fn, name, past.values[name], sites[name], index)
    if needed is not None:
        for name in past.fns.keys() - needed:
            del past.fns[name]
    for name, value in values.items():
        if sites[name].kind == "deterministic" and not (name in model.structure.parametric and model.free):
            _check_computed(
                name, value, past.values[name], index, "computes it from other columns", len(sites[name].event)
            )
    for name, action in plan.sets.items():
        if name in values and name not in plan.natural and not isinstance(action, Stochastic):
            read = {other: past.values[other] for other in action.reads} if isinstance(action, Function) else {}
            given_value = set_value(action, sites[name], len(index), read)
            _check_computed(name, values[name], given_value, index, "under do() sets it", len(sites[name].event))
    return past


def check_cells(
    model: Model,
    values: Mapping[str, Tensor],
    computed: Mapping[str, Tensor],
    cells: Mapping[str, Tensor],
    index: pd.Index,
) -> None:
    """Raise where the program computes another value of a deterministic column for the units in ``cells``."""
    for name, mask in cells.items():
        site = model.structure.sites[name]
        if not (name in model.structure.parametric and model.free):
            here = mask.reshape(-1, *([1] * len(site.event)))
            given = torch.where(here, values[name].to(computed[name].dtype), computed[name])
            _check_computed(name, given, computed[name], index, "computes it from other columns", len(site.event))


def _check_codes(name: str, value: Tensor, site: Site, labels: tuple[Any, ...] | None, index: pd.Index) -> None:
    count = site.cardinality or (len(labels) if labels else None)
    if count is None or not value.numel():
        return
    low, high = (int(end) for end in torch.aminmax(value))
    if low < 0 or high >= count:
        bad = (value < 0) | (value >= count)
        row = int(bad.movedim(len(site.inner), 0).reshape(len(index), -1).any(1).nonzero()[0])
        raise SupportError(
            f"'{name}' takes the codes 0..{count - 1}; found {int(value[bad].flatten()[0])} in row {index[row]}.",
            site=name,
            value=int(value[bad].flatten()[0]),
            rows=[index[row]],
        )


def _check_possible(fn: Any, name: str, value: Tensor, site: Site, index: pd.Index) -> None:
    bad = impossible(fn, value)
    if bad is None:
        return
    rows = bad.movedim(len(site.inner), 0).reshape(len(index), -1).any(1).nonzero().flatten().tolist()
    given = value.movedim(len(site.inner), 0)[rows[0]].tolist()
    raise EvidenceError(
        f"column '{name}' contradicts the program, which gives {site.family} no chance of {given} in row "
        f"{index[rows[0]]}" + (f" (nor of what {len(rows) - 1} other rows have)" if len(rows) > 1 else "") + ", given "
        "what else was observed of it. Mend the evidence, or the program.",
        column=name,
        rows=[index[row] for row in rows],
    )


def _placed_error(error: SupportError, name: str, index: pd.Index) -> SupportError:
    """The same error with the units' own names."""
    rows = getattr(error, "rows", None)
    if rows is None or (isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1):
        return error
    named = [index[int(row)] for row in list(rows)[:5]]
    return SupportError(f"{error.message} In the index: {listed(named)}.", site=name, rows=named)


def _check_computed(name: str, given: Tensor, computed: Tensor, index: pd.Index, how: str, depth: int) -> None:
    given, computed = given.to(torch.float64), computed.to(torch.float64)
    apart = (given - computed).abs() > 1e-6 * (1 + computed.abs())
    if bool(apart.any()):
        inner = apart.dim() - 1 - depth
        apart, given, computed = (each.movedim(inner, 0).reshape(len(index), -1) for each in (apart, given, computed))
        row = int(apart.any(1).nonzero()[0])
        place = int(apart[row].nonzero()[0])
        raise EvidenceError(
            f"column '{name}' contradicts the program, which {how}: row {index[row]} has "
            f"{given[row, place].item():g}, computed {computed[row, place].item():g}. Mend or drop the column.",
            column=name,
            rows=[index[row]],
        )


def named_rows(error: EvidenceError, index: Any) -> EvidenceError:
    """The same error with the units' own names."""
    rows = [index[int(row)] for row in getattr(error, "rows", [])]
    if not rows:
        return error
    first = rows[:5]
    words = f"{error.message} Rows: {listed(first)}{', …' if len(rows) > 5 else ''}."
    return EvidenceError(words, column=error.column, rows=rows)  # type: ignore[attr-defined]


def frame_of(model: Model, values: Mapping[str, Tensor], index: Any) -> pd.DataFrame:
    """Program values ``(*inner, unit, *event)`` as a labelled frame, a row a unit."""
    sites = model.structure.sites
    arrays = {name: value.movedim(len(sites[name].inner), 0) for name, value in values.items()}
    return write_frame(arrays, columns_of(model), index)


def check_finite(value: Tensor, name: str, index: pd.Index, world: str, site: Site, lanes: int = 0) -> None:
    """Raise where a computed value is not finite; ``lanes`` dims stand before ``(*inner, unit, *event)``.

    A sum is finite only where all its terms are (one that overflows is looked at again): one pass, no copy. Counts
    from 2**53 on are no longer whole numbers: a rate has overflowed.
    """
    if site.discrete and site.cardinality is None and value.numel() and float(value.max()) >= _MOST_COUNT:
        labels = _where(value >= _MOST_COUNT, index, lanes + len(site.inner))
        raise QueryError(
            f"in world '{world}' the program gives '{name}' ({site.family}) a count of 2**53 or more for {len(labels)} "
            f"of {len(index)} units (first: {listed(labels, 5)}): its rate is too large, or has overflowed.",
            site=name,
            world=world,
            rows=labels[:5],
        )
    if not value.is_floating_point() or math.isfinite(float(compact(value).sum())):
        return
    bad = ~torch.isfinite(value)
    if not bool(bad.any()):
        return
    labels = _where(bad, index, lanes + len(site.inner))
    raise QueryError(
        f"in world '{world}' the program gives '{name}' a value that is not finite for {len(labels)} of {len(index)} "
        f"units (first: {listed(labels, 5)}); look at what its mechanism does there.",
        site=name,
        world=world,
        rows=labels[:5],
    )


def _where(bad: Tensor, index: pd.Index, axis: int) -> list[Any]:
    """Names of the units, on this axis, of which any cell is bad."""
    rows = bad.movedim(axis, 0).flatten(1).any(1) if bad.dim() > 1 else bad
    return [index[int(row)] for row in rows.nonzero().flatten()]
