"""From holes in the evidence to the posterior of what is missing.

First everything missing is inferred together: where that posterior is Gaussian (or finite), answers are analytic (or
enumerated). Elsewhere sites that nothing observed depends on are set apart and drawn from their mechanisms.

>>> from pcm.query.missing import infer_missing
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pcm.errors import ArgumentError, EvidenceError, FitWarning, QueryError, listed, suggestion
from pcm.infer.latent import METHODS, LatentPosterior, Space, infer_latent
from pcm.infer.latent.between import by_row
from pcm.infer.latent.enumeration import MAX_CONFIGURATIONS
from pcm.infer.latent.links import Links
from pcm.infer.latent.windows import Windows, covering, edge_share, endless, first_windows, grown
from pcm.program import Site
from pcm.query.evidence import check_cells, named_rows
from pcm.query.memory import in_words
from pcm.worlds import lane_count, world_noise

if TYPE_CHECKING:
    from pcm.query.runs import Runs

__all__ = ["barren_noise", "check_method_name", "infer_missing"]

#: Share of a unit's probability that the ends of a count's window may hold where no longer one can be enumerated.
LEFT_OUT = 1e-9

#: Configurations of all units up to which plates that nothing observed depends on are enumerated.
ENUMERATED = 20_000_000

#: Numbers that one array over units, parameter draws and joint values may have, where no memory_limit is set: 4 GiB.
HELD = 2**29
#: Coordinates up to which everything missing is first tried together.
WIDTH = 200


def infer_missing(run: Runs, values: Mapping[str, Tensor], draws: int, method: str = "auto") -> LatentPosterior:
    """The posterior of the missing values of every unit, under every parameter draw."""
    sites = run.structure.sites
    fitted = lane_count(run.parameters)
    draws = fitted if fitted > 1 else draws
    rows = run.rows
    first = {name: value[0] for name, value in run.parameters.items()}

    links: Links | None = None
    unbounded = _unbounded(run)

    def space_of(split: Tensor, finite: bool | Tensor = True, windows: Windows | None = None) -> Space:
        nonlocal links
        space = Space(
            run.program,
            run.base,
            values,
            run.missing,
            run.units,
            bounds=run.between.bounds,
            split=split,
            finite=finite,
            windows=windows,
            solved=run.solved,
            holes=run.holes,
            parameters=first,
            links=links,
        )
        links = space.links
        return space

    def windows_of(split: Tensor) -> Windows:
        if not unbounded:
            return {}
        lanes = {0, fitted // 2, fitted - 1}
        some = [{name: value[lane] for name, value in run.parameters.items()} for lane in sorted(lanes)]
        return covering(*(first_windows(lambda found: space_of(split, windows=found), unbounded, one) for one in some))

    def infer(split: Tensor, method: str = method, windows: Windows | None = None) -> LatentPosterior:
        windows = windows_of(split) if windows is None else windows
        space = space_of(split, windows=windows)
        drawn = [name for name, mask in space.barren.items() if bool(mask.any())]
        if not space.width and drawn and all(map(space.enumerable, drawn)):
            lacked = {name: space.barren[name] for name in drawn}
            own = space.joint.own * _values(run, lacked)
            many = (own > MAX_CONFIGURATIONS) | _crowd(run, own, lacked)
            space = space_of(split, finite=many, windows=windows)  # of the others nothing is drawn
        _check_method(space, method)
        _check_known(run, values, space)
        _check_room(run, space, fitted)
        found = infer_latent(space, run.parameters, fitted, draws=draws, seed=run.seed, rows=rows, method=method)
        return found if not windows else widened(found, split, method)

    def widened(found: LatentPosterior, split: Tensor, method: str) -> LatentPosterior:
        shares = edge_share(found.space, found.chances)
        more = grown(found.space, shares)
        if more is not None:
            return infer(split, method, more)
        for name, ends in shares.items():
            if max(ends) > LEFT_OUT:
                size = found.space.windows[name][1]
                raise QueryError(
                    f"'{name}' is missing for some units that have values below it, and the {size:,} values it was "
                    f"enumerated over leave out about {max(ends):.1g} of a unit's probability; with "
                    f"{len(found.space.configurations):,} joint configurations no more can be. Give its column.",
                    site=name,
                )
        return found

    try:
        apart = torch.zeros(run.units, dtype=torch.bool)  # units whose barren sites are set apart from the start
        for between in run.between.units.values():
            apart |= between
        for name, mask in run.missing.items():
            if sites[name].discrete and (sites[name].cardinality is None or _tied(sites[name])):
                apart |= mask
        finite = {name: mask for name, mask in run.missing.items() if sites[name].discrete}
        own = _values(run, finite)
        apart |= (own > MAX_CONFIGURATIONS) | _crowd(run, own, finite)
        found = None
        together = method in ("auto", "gaussian") and not bool(apart.all())
        if together and space_of(apart, windows=windows_of(apart)).width <= WIDTH:
            found = infer(apart, "gaussian")
        if found is None:
            found = infer(torch.ones_like(apart))
        elif not bool(found.gaussian.all()):
            found = infer(apart | ~found.gaussian)
    except EvidenceError as error:
        raise named_rows(error, run.index) from None
    if method == "gaussian" and not bool(found.gaussian.all()):
        names = [run.index[int(row)] for row in (~found.gaussian).nonzero().flatten()]
        raise QueryError(
            f"method='gaussian': the posterior of what is missing is not Gaussian for {len(names)} of {run.units} "
            f"units (first: {listed(names, 5)}). Take method='auto', 'laplace' or 'importance'."
        )
    if method == "quadrature" and (found.rung == "laplace").any():
        names = [run.index[int(row)] for row in (found.rung == "laplace").nonzero()[0]]
        raise QueryError(
            f"method='quadrature' integrates one smooth open number a unit; {len(names)} of {run.units} units "
            f"(first: {listed(names, 5)}) leave more open, or are not smooth in it. Take method='auto' or 'importance'."
        )
    bad = found.flagged
    if bad.any():
        names = [run.index[int(row)] for row in bad.nonzero()[0][:5]]
        warnings.warn(
            f"the missing values of {int(bad.sum())} of {run.units} units could not be inferred reliably (Pareto "
            f"k-hat above 0.7; first: {listed(names)}): see .diagnostics, and do not trust their answers.",
            FitWarning,
            stacklevel=4,
        )
    return found


def _check_room(run: Runs, space: Space, lanes: int) -> None:
    """Raise where a number for every unit, parameter draw and joint value of what is missing is too much to hold."""
    each = lanes * len(space.configurations) * max(1, space.width) ** 2
    most = HELD if run.limit is None else run.limit // 8
    if each * run.units > most:
        raise QueryError(
            f"the missing {listed(list(space.inferred))} of {run.units:,} units take {each:,} numbers a unit "
            f"({len(space.configurations):,} joint values, {lanes:,} draws of the parameters): "
            f"{in_words(8 * each * run.units)} and more. Ask for at most {max(1, most // each):,} units at a time, "
            "whose answers do not depend on the others', or take fewer draws=.",
        )


def _unbounded(run: Runs) -> list[str]:
    """The missing counts that some unit's evidence leaves without an upper end."""
    found = []
    for name in endless(run.structure.sites, run.missing):
        low, high = run.between.bounds.get(name, (torch.tensor(-math.inf), torch.tensor(math.inf)))
        least = float(getattr(run.structure.sites[name].support, "lower_bound", -math.inf))
        ended = torch.isfinite(high) & torch.isfinite(low.clamp(min=least))
        if not bool((ended | ~run.missing[name]).all()):
            found.append(name)
    return found


def check_method_name(method: Any) -> None:
    """Raise unless there is such a method."""
    if method not in METHODS:
        raise ArgumentError(f"method={method!r} is none of {listed(METHODS)}.{suggestion(method, METHODS)}")


def _values(run: Runs, missing: Mapping[str, Tensor]) -> Tensor:
    """How many joint values the missing finite sites have in each unit, ``(unit,)``."""
    found = torch.ones(run.units, dtype=torch.float64)
    for name, mask in missing.items():
        site = run.site(name)
        cells: Tensor | int = math.prod(site.inner) * (1 if site.one_hot else math.prod(site.event))
        if name in run.holes:
            hole = run.holes[name]
            cells = by_row(hole.any(-1) if site.one_hot else hole, site).sum(1)
        count = 1 if site.cardinality is None or _tied(site) else site.cardinality
        found = torch.where(mask, found * torch.tensor(float(count)) ** cells, found)
    return found


def _tied(site: Site) -> bool:
    """Whether one value of a site is more than a number or a one-hot row."""
    return bool(site.joint) and not site.one_hot


def _crowd(run: Runs, own: Tensor, missing: Mapping[str, Tensor]) -> Tensor:
    """Units that lack several values of a site, where all of them have too many configurations together to enumerate
    what could be drawn from its mechanism instead; ``own`` is how many each has, ``(unit,)``."""
    found = torch.zeros(run.units, dtype=torch.bool)
    for name, mask in missing.items():
        site = run.site(name)
        if site.inner or (site.event and not site.one_hot):
            found |= mask
    total = float(own[found & (own <= MAX_CONFIGURATIONS)].sum())
    return found if total > ENUMERATED else torch.zeros_like(found)


def _check_method(space: Space, method: str) -> None:
    """Raise where a method cannot serve what is missing."""
    if method == "enumerate" and space.continuous:
        name = space.continuous[0]
        raise QueryError(
            f"method='enumerate': '{name}' is continuous and missing for {int(space.inferred[name].sum())} units that "
            "have evidence on it; only finite variables can be enumerated. Take method='auto'.",
            site=name,
        )
    if method in ("quadrature", "laplace", "importance") and space.discrete and not space.continuous:
        raise QueryError(
            f"method='{method}' is for continuous variables; all that is missing ({listed(space.discrete)}) is finite "
            "and enumerated exactly. Take method='auto' or 'enumerate'.",
            site=space.discrete[0],
        )


def _check_known(run: Runs, values: Mapping[str, Tensor], space: Space) -> None:
    """Raise where a deterministic column contradicts columns that determine it: nothing missing could mend that."""
    if space.links.settled:
        check_cells(run.model, values, space.typical[0], space.links.settled, run.index)


def barren_noise(run: Runs) -> Callable[[range], dict[str, Tensor]] | None:
    """Uniforms of the sites that nothing observed depends on, by draw; None where there are none."""
    if run.latent is None:
        return None
    names = [name for name, mask in run.latent.space.barren.items() if bool(mask.any())]
    if not names:
        return None
    return lambda draws: world_noise(run.base, run.seed, run.rows, draws, names, given=True)
