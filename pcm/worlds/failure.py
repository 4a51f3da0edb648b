"""What is said where a program itself breaks: what ``do`` sets, or evidence, may lie outside a table that it indexes.

>>> print(outside_a_table({"level": Constant(torch.tensor(5.0))}, "y", IndexError("index 5 is out of bounds")))
do(level=5): the program fails on the way to 'y' (IndexError: index 5 is out of bounds). Set a value that the program \
can compute with.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping

import networkx as nx
import torch
from torch import Tensor

from pcm.errors import EvidenceError, InterventionError, PCMError, ProgramError, listed
from pcm.program.structure import Structure
from pcm.worlds.intervention import Constant, Intervention, Target

__all__ = ["fault", "outside_a_table"]

# gather, scatter and one_hot raise plain RuntimeErrors
_OUTSIDE = re.compile(r"out of (bounds|range)|Class values must be")

# of indexing and gather
_PLACE = re.compile(r"index (-?\d+) is out of")


def outside_a_table(
    interventions: Mapping[Target, Intervention], site: str | None, error: IndexError | RuntimeError
) -> PCMError | None:
    """The error to raise from the program's own: it names the interventions and the site that was not reached (None:
    all were).

    None for a ``RuntimeError`` that is about something else.
    """
    if isinstance(error, RuntimeError) and not _OUTSIDE.search(str(error)):
        return None
    failed = f"the program fails {_where(site)} ({type(error).__name__}: {error})."
    if not interventions:
        return ProgramError(failed[0].upper() + failed[1:], site=site)
    asked = ", ".join(_told(target, action) for target, action in interventions.items())
    advice = "Set a value that the program can compute with."
    return InterventionError(f"do({asked}): {failed} {advice}", site=site, targets=tuple(interventions))


def fault(
    structure: Structure,
    interventions: Mapping[Target, Intervention],
    site: str | None,
    values: Mapping[str, Tensor],
    error: IndexError | RuntimeError,
    *,
    reached: Collection[str],
    missing: Mapping[str, Tensor] | None = None,
) -> PCMError | None:
    """The error to raise from the program's own where it ran at evidence: it names the columns that may be to blame and
    what they hold, or what an intervention set; the positions of units that are to blame are its ``rows``.

    None for a ``RuntimeError`` that is about something else.

    Parameters
    ----------
    structure : Structure
    interventions : dict of target to Intervention
        Those in force where the evidence was observed.
    site : str or None
        The site that was not reached; None where all were.
    values : dict of name to tensor ``(*inner, unit, *event)``
        The evidence.
    error : IndexError or RuntimeError
    reached : collection of names
        Sites that were answered before: no other can be to blame.
    missing : dict of name to bool tensor ``(unit,)``, optional
        Units in which the value is none of the evidence's.
    """
    if isinstance(error, RuntimeError) and not _OUTSIDE.search(str(error)):
        return None
    graph, holes = structure.graph, missing or {}
    near = reached if site is None else [*graph.predecessors(site)]
    above = reached if site is None else nx.ancestors(graph, site)
    observed = {
        name: _cells(structure, values, holes, name)
        for name in sorted(above, key=lambda name: (name not in near, structure.position.get(name, 0)))
        if name in reached and name in {*values, *holes} and name not in interventions
    }
    failed = f"the program fails {_where(site)} ({type(error).__name__}: {error})"
    advice = "Mend the evidence, or let the program compute with it."
    place = _PLACE.search(str(error))
    tries = itertools.product((_is, _about), observed.items()) if place is not None else ()
    for same, (name, (cells, here)) in tries:
        there = same(cells, int(place[1])) & here[:, None]  # pyright: ignore[reportOptionalSubscript]
        if bool(there.any()):
            rows = there.any(1).nonzero().flatten().tolist()
            units = f" in {len(rows)} of {len(cells)} units" if len(cells) > 1 else ""
            words = f"{failed}: column '{name}', which it reads, has {cells[there][0].item():g}{units}. {advice}"
            return EvidenceError(words, column=name, rows=rows, site=site)
    read = {name: seen for name, seen in observed.items() if name in near} or observed
    drawn = any(structure.sites[n].kind == "variable" and n not in observed for n in near if n in structure.sites)
    if interventions or drawn or not read:  # then it may be none of the evidence's
        return outside_a_table(interventions, site, error)
    said = [f"'{name}' ({_range(*seen)})" for name, seen in read.items()]
    return EvidenceError(f"{failed}, which reads {listed(said)}. {advice}", column=next(iter(read)), rows=[], site=site)


def _cells(
    structure: Structure, values: Mapping[str, Tensor], missing: Mapping[str, Tensor], name: str
) -> tuple[Tensor, Tensor]:
    """A column's cells ``(unit, cell)``, and the units that have it."""
    if name not in values:
        return torch.zeros(len(missing[name]), 1), torch.zeros_like(missing[name])
    cells = values[name].detach().to(torch.float64).movedim(len(structure.sites[name].inner), 0)
    cells = cells.reshape(len(cells), -1)
    return cells, ~missing[name] if name in missing else torch.ones(len(cells), dtype=torch.bool)


def _is(cells: Tensor, index: int) -> Tensor:
    return cells == index


def _about(cells: Tensor, index: int) -> Tensor:
    """Cells that are ``index`` cut or rounded."""
    return (cells.trunc() == index) | (cells.round() == index)


def _range(cells: Tensor, here: Tensor) -> str:
    missing = [] if bool(here.all()) else ["missing, and tried at values that it may have"]
    seen = [f"{cells[here].min().item():g} to {cells[here].max().item():g}"] if bool(here.any()) else []
    return "; or ".join([*seen, *missing])


def _where(site: str | None) -> str:
    return f"on the way to '{site}'" if site is not None else "after its last site"


def _told(target: Target, action: Intervention) -> str:
    name = " → ".join(target) if isinstance(target, tuple) else target
    if isinstance(action, Constant) and not action.value.dim():
        value = action.value
        if not torch._C._functorch.is_batchedtensor(value):  # type: ignore[attr-defined]
            return f"{name}={value.item():g}"
    return f"{name}=…"
