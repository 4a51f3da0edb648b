"""Reading a program: which sites it has, what each of them reads, and whether units stay apart.

The program is run a few dozen times on seven units. Edges are the union of *provenance* (what a site's distribution
was computed from) and *perturbation* (change one site, see whose distribution changes); an edge that perturbation never
saw is kept and marked ``inert``. Then one unit alone is changed: another unit's distribution must not move.

>>> import pyro, pyro.distributions as dist
>>> from pcm.program import Program
>>> def mixes():
...     x = pyro.sample("x", dist.Normal(0.0, 1.0))
...     pyro.sample("y", dist.Normal(x - x.mean(), 1.0))
>>> Program(mixes)
Traceback (most recent call last):
    ...
pcm.errors.UnitMixingError: site 'y' of one unit reads 'x' of another: changing one unit's 'x' changed the ...
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pcm.couplings import unwrap
from pcm.errors import CouplingError, PCMError, ProgramError, UnitMixingError, UnknownNameError, listed
from pcm.graph import CausalGraph
from pcm.program.handler import is_deterministic
from pcm.program.provenance import sources, tensors_of, trace
from pcm.program.sites import UNITS, covariate_names, covariate_values, draw, read_sites
from pcm.program.structure import Site, Structure

if TYPE_CHECKING:
    from pcm.program.program import Program

__all__ = ["analyse"]

BASES = 2


def analyse(
    program: Program,
    covariates: tuple[str, ...],
    couplings: Mapping[str, str],
    categories: Mapping[str, tuple[Any, ...]],
) -> Structure:
    """Sites, parameters and graph of a program; errors name the site to blame."""
    with program.sealed(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(20)
        sites, parameters = read_sites(program, covariates, couplings, categories)
        for name in couplings:
            if name not in sites:
                raise UnknownNameError(name, known=list(sites))
            if sites[name].kind != "variable":
                raise CouplingError(
                    f"couplings={{'{name}': …}}: '{name}' is a {sites[name].kind}: it has no distribution.",
                    site=name,
                )
        bases = [_Base(program, sites, parameters, categories) for _ in range(BASES)]
        first = bases[0]
        again = first.reads({})
        for name in sites:
            if sites[name].kind != "covariate" and _differs(first.seen[name], again[name]):
                raise ProgramError(
                    f"two runs of the program with the same values disagree at '{name}': it draws randomness outside "
                    "pyro.sample. Make every random draw a sample statement.",
                    site=name,
                )
        provenance, notes = first.provenance()
        graph = _graph(sites, provenance, _perturbed(sites, bases))
        for base in bases:
            base.check_units_alone()
        parametric = _parametric(sites, bases)
    for name in set().union(*(base.uncounted for base in bases)):
        sites[name] = replace(sites[name], cardinality=None)
    return Structure(sites, parameters, graph, parametric, notes)


# -- edges -----------------------------------------------------------------------------------------------------------


class _Base:
    """One assignment of values to all sites, and what every site's distribution is under it."""

    def __init__(
        self,
        program: Program,
        sites: dict[str, Site],
        parameters: dict[str, Site],
        categories: Mapping[str, tuple[Any, ...]],
    ) -> None:
        self.program, self.sites = program, sites
        self.values: dict[str, Tensor] = {
            name: covariate_values(name, categories) for name, site in sites.items() if site.kind == "covariate"
        }
        self.others: dict[str, Tensor] = {name: covariate_values(name, categories) for name in self.values}
        self.parameters: dict[str, Tensor] = {}
        self.uncounted: set[str] = set()
        """Sites whose number of outcomes was not always the one they were first read with."""

        def act(msg: Any) -> Tensor:
            name, fn = msg["name"], msg["fn"]
            if is_deterministic(msg):
                if name not in sites:
                    return msg["value"]
                value = (
                    torch.as_tensor(msg["value"]).expand(sites[name].shape(UNITS))
                    if sites[name].scalar
                    else msg["value"]
                )
                self.others[name] = value.flip(-1 - len(sites[name].event)) if value.dtype == torch.bool else value + 1
            elif name in parameters:
                value = self.parameters[name] = fn.sample()
                return value
            else:
                value = draw(fn, name, msg)
                self.others[name] = _other(fn, value, sites[name], msg)
            self.values[name] = value
            return value

        program.execute(act, UNITS, {name: self.values[name] for name in covariate_names(sites)})
        self.seen = self.reads({})

    def reads(self, changed: Mapping[str, Tensor], unit: int | None = None) -> dict[str, list[Tensor]]:
        """Tensors of every site's distribution when all sites have their base values but the changed ones.

        ``unit`` runs the program for that unit alone.
        """
        found: dict[str, list[Tensor]] = {}
        values = {**self.values, **changed}
        if unit is not None:
            values = {name: value.narrow(len(self.sites[name].inner), unit, 1) for name, value in values.items()}

        def act(msg: Any) -> Tensor:
            name = msg["name"]
            if name in self.parameters:
                return self.parameters[name]
            if name not in self.sites:
                return msg["value"]
            found[name] = [msg["value"]] if is_deterministic(msg) else list(tensors_of(msg["fn"]))
            if _outcomes(self.sites[name], msg["fn"]) != self.sites[name].cardinality:
                self.uncounted.add(name)
            return values[name]

        before = {name: value._version for name, value in values.items()}
        units = UNITS if unit is None else 1
        self.program.execute(act, units, {name: values[name] for name in covariate_names(self.sites)})
        for name, value in values.items():
            if value._version != before[name]:
                raise ProgramError(
                    f"the program writes into the value of '{name}' in place; a site's value is shared between worlds "
                    f"and with your data. Write {name} = {name} + … instead of {name} += ….",
                    site=name,
                )
        return found

    def check_units_alone(self) -> None:
        """Raise where a unit's distribution depends on which other units there are, or on its place among them."""
        for unit in range(UNITS):
            for name, tensors in self.reads({}, unit).items():
                whole = self.seen[name]
                if len(whole) != len(tensors) or not all(
                    _is_slice(a, b, unit) for a, b in zip(whole, tensors, strict=True)
                ):
                    raise UnitMixingError(
                        f"site '{name}' of a unit is another when the unit is alone: its distribution reads other "
                        "units, their number or their order. Write the program elementwise over units (no mean, sum, "
                        "sort or indexing over them); a quantity shared by all units is a parameter.",
                        site=name,
                    )

    def provenance(self) -> tuple[dict[str, frozenset[str]] | None, tuple[str, ...]]:
        """Names behind every site's distribution; None where a traced tensor cannot pass through the program."""
        found: dict[str, frozenset[str]] = {}
        last = "its start"

        def act(msg: Any) -> Tensor:
            nonlocal last
            name = msg["name"]
            if name in self.parameters:
                read = sources(msg["fn"])
                if read:
                    raise ProgramError(
                        f"'{name}' stands outside the plate 'units' but reads {listed(sorted(read))}, which has a "
                        "value for each unit. Move it into the plate.",
                        site=name,
                    )
                return self.parameters[name]
            if name not in self.sites:
                return msg["value"]
            found[name] = sources(msg["value"]) if is_deterministic(msg) else sources((msg["fn"], msg["mask"]))
            last = f"site '{name}'"
            return trace(self.values[name], {name})

        start = {name: trace(self.values[name], {name}) for name in covariate_names(self.sites)}
        try:
            self.program.execute(act, UNITS, start)
        except UnitMixingError as error:
            raise UnitMixingError(f"after {last}: {error.message}") from None
        except PCMError:
            raise
        except Exception as error:
            return None, (
                f"provenance could not be traced after {last} ({error}); the graph rests on perturbation alone",
            )
        return found, ()


def _outcomes(site: Site, fn: Any) -> int | None:
    """How many outcomes a site has, where they were counted when it was first read."""
    if site.cardinality is None or site.coupling is None:
        return None
    return site.coupling.cardinality(unwrap(fn)[0])


def _other(fn: Any, value: Tensor, site: Site, msg: Any) -> Tensor:
    """Another value of the same support for every unit."""
    if site.cardinality is not None and site.cardinality > 1:
        if site.one_hot:
            return value.roll(1, -1)
        return (value + 1) % site.cardinality
    return draw(fn, site.name, msg)


def _perturbed(sites: dict[str, Site], bases: list[_Base]) -> dict[str, set[str]]:
    """For each site, which sites' distributions changed when it did; raises where another unit's changed."""
    parents: dict[str, set[str]] = {name: set() for name in sites}
    for base in bases:
        for name in sites:
            after = _moved(base, name)
            touched = [
                child for child, tensors in after.items() if child != name and _differs(base.seen[child], tensors)
            ]
            for child in touched:
                parents[child].add(name)
            axis = len(sites[name].inner)
            alone = base.values[name].clone()
            alone.select(axis, 0).copy_(base.others[name].select(axis, 0))
            after = base.reads({name: alone})
            for child, tensors in after.items():
                if child != name and any(_reaches(a, b) for a, b in zip(base.seen[child], tensors, strict=False)):
                    raise UnitMixingError(
                        f"site '{child}' of one unit reads '{name}' of another: changing one unit's '{name}' changed "
                        f"the distribution of '{child}' elsewhere. Write the program elementwise over units (no mean, "
                        "sum or sort over them); a quantity shared by all units is a parameter.",
                        site=child,
                        reads=name,
                    )
    return parents


def _moved(base: _Base, name: str) -> dict[str, list[Tensor]]:
    """Every site's distribution with another value at one of them."""
    try:
        return base.reads({name: base.others[name]})
    except PCMError:
        raise
    except Exception:
        if base.sites[name].kind != "deterministic":
            raise
        # one more than the computed value need not be a value (of an index, say); another unit's is one
        base.others[name] = base.values[name].roll(1, len(base.sites[name].inner))
        return base.reads({name: base.others[name]})


def _parametric(sites: dict[str, Site], bases: list[_Base]) -> frozenset[str]:
    """Deterministic sites whose value changes with the parameters alone."""
    first, other = bases[0], bases[-1]
    if not first.parameters:
        return frozenset()
    kept, first.parameters = first.parameters, other.parameters
    after = first.reads({})
    first.parameters = kept
    return frozenset(
        name for name, site in sites.items() if site.kind == "deterministic" and _differs(first.seen[name], after[name])
    )


def _differs(before: list[Tensor], after: list[Tensor]) -> bool:
    return len(before) != len(after) or any(
        a.shape != b.shape or not (torch.equal(a, b) or torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)))
        for a, b in zip(before, after, strict=True)
    )


def _is_slice(whole: Tensor, alone: Tensor, unit: int) -> bool:
    """Whether ``alone`` (one unit) is the unit's part of ``whole`` along some axis."""
    candidates = [whole] if whole.shape == alone.shape else []
    candidates += [
        whole.narrow(axis, unit, 1)
        for axis, size in enumerate(whole.shape)
        if size == UNITS and whole.dim() == alone.dim() and alone.shape[axis] == 1
    ]
    return any(_close(part, alone) for part in candidates)


def _close(first: Tensor, second: Tensor) -> bool:
    if first.shape != second.shape:
        return False
    if not first.is_floating_point():
        return torch.equal(first, second)
    return torch.allclose(torch.nan_to_num(first), torch.nan_to_num(second), rtol=1e-7, atol=1e-9)


def _reaches(before: Tensor, after: Tensor) -> bool:
    """Whether a change of unit 0 shows in another unit: along no axis is the difference confined to index 0."""
    if before.shape != after.shape:
        return True
    if torch.equal(before, after):
        return False
    apart = torch.nan_to_num(before) != torch.nan_to_num(after)
    if before.is_floating_point():  # vectorised kernels may differ in the last bit from lane to lane
        apart &= (before - after).abs() > 1e-9 * (1 + before.abs())
    if not apart.any():
        return False
    axes = [axis for axis, size in enumerate(before.shape) if size == UNITS]
    return all(bool(apart.narrow(axis, 1, UNITS - 1).any()) for axis in axes)


def _graph(
    sites: dict[str, Site], provenance: dict[str, frozenset[str]] | None, perturbed: dict[str, set[str]]
) -> CausalGraph:
    graph = CausalGraph()
    for name, site in sites.items():
        graph.add_node(name, kind=site.kind)
    for name in sites:
        known = set(provenance.get(name, ())) if provenance else set()
        for parent in sites:  # program order
            if parent in known or parent in perturbed[name]:
                graph.add_edge(parent, name, inert=parent not in perturbed[name])
    return graph
