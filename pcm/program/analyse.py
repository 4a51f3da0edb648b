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
from typing import TYPE_CHECKING, Any

import pyro.distributions as dist
import torch
from torch import Tensor

from pcm.couplings import resolve
from pcm.errors import CouplingError, PCMError, ProgramError, UnitMixingError, UnknownNameError, listed
from pcm.graph import CausalGraph
from pcm.program.handler import is_deterministic, units_frame
from pcm.program.provenance import sources, tensors_of, trace
from pcm.program.structure import Site, Structure

if TYPE_CHECKING:
    from pcm.program.program import Program

__all__ = ["analyse"]

UNITS = 7
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
        sites, parameters = _sites(program, covariates, couplings, categories)
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
    return Structure(sites, parameters, graph, parametric, notes)


# -- sites -----------------------------------------------------------------------------------------------------------


def _sites(
    program: Program,
    covariates: tuple[str, ...],
    couplings: Mapping[str, str],
    categories: Mapping[str, tuple[Any, ...]],
) -> tuple[dict[str, Site], dict[str, Site]]:
    sites = {
        name: Site(name, "covariate", dtype=torch.int64 if name in categories else program.dtype) for name in covariates
    }
    parameters: dict[str, Site] = {}
    suspects: dict[str, str] = {}

    def act(msg: Any) -> Tensor:
        name, fn = msg["name"], msg["fn"]
        if name in sites or name in parameters:
            raise ProgramError(
                f"two statements of the program are named '{name}'; every site needs its own name.", site=name
            )
        if is_deterministic(msg):
            value = msg["value"]
            if program.implicit or units_frame(msg) or UNITS in getattr(value, "shape", ()):
                sites[name] = _deterministic_site(name, value)
            return value
        if not hasattr(fn, "batch_shape"):
            raise ProgramError(f"site '{name}' is sampled from {fn!r}, which is no distribution.", site=name)
        if isinstance(fn, dist.Unit):
            raise ProgramError(
                f"'{name}' is a pyro.factor: a soft condition has no structural equation. Make it a sample statement.",
                site=name,
            )
        if msg["is_observed"]:
            raise ProgramError(
                f"site '{name}' has obs=: the program states the model alone, and observed values come with the "
                "query or the fit. Remove obs=.",
                site=name,
            )
        _check_plates(msg, program.implicit, suspects)
        if not program.implicit and units_frame(msg) is None:
            value = fn.sample()
            parameters[name] = Site(
                name, "parameter", event=tuple(value.shape), family=_family(fn), support=fn.support, dtype=value.dtype
            )
            return value
        coupling, bare = resolve(fn, couplings.get(name), name)
        value = _draw(fn, name, msg)
        event = tuple(fn.event_shape)
        inner = tuple(value.shape[: value.dim() - len(event) - 1])
        sites[name] = Site(
            name,
            "variable",
            inner=inner,
            event=event,
            family=_family(fn),
            coupling=coupling,
            cardinality=coupling.cardinality(bare) if coupling.discrete else None,
            support=_support(fn),
            dtype=value.dtype,
            noise=(*event[: len(event) - len(bare.event_shape)], *coupling.noise_event(bare)),
            one_hot="OneHot" in type(bare).__name__,
            ordered="Categorical" not in type(bare).__name__,
        )
        return value

    start = {name: _covariate(name, categories) for name in covariates}
    try:
        program.execute(act, UNITS, start)
    except Exception as error:
        raise _explained(error, list(sites) + list(parameters), program.name) from error
    if suspects:
        _check_suspects(program, suspects, sites)
    if not any(site.kind == "variable" for site in sites.values()):
        found = (
            f"it has {len(parameters)} sites, all outside a plate named 'units'"
            if parameters
            else "it has no pyro.sample statement"
        )
        raise ProgramError(
            f"program {program.name} has no variables: {found}. Sites inside "
            "pyro.plate('units', n, dim=-1) are variables; sites outside it are shared parameters."
        )
    return sites, parameters


def _explained(error: Exception, seen: list[str], name: str) -> Exception:
    """What went wrong in the user's program, said with the place."""
    if isinstance(error, PCMError):
        return error
    where = f"program {name}, after site '{seen[-1]}'" if seen else f"program {name}"
    text = str(error)
    if any(sign in text for sign in ("Boolean value of Tensor", "converted to Scalar", "converted to Python scalars")):
        return UnitMixingError(
            f"{where}: {text}. Python control flow and numbers see one value for all units; write it with torch "
            "operations, elementwise over units (torch.where instead of if)."
        )
    if "duplicate plate 'units'" in text:
        return ProgramError(
            f"{where}: it opens the plate 'units' itself but does not take the number of units: write def {name}(n): … "
            "with pyro.plate('units', n, dim=-1), n without a default."
        )
    if "dtype" in text:
        return ProgramError(
            f"{where}: {text}. Programs run in float64 by default: create tensors without a dtype, or pass "
            "dtype=torch.float32 to pcm.SCM."
        )
    return ProgramError(f"{where}, failed when it was run on {UNITS} units: {type(error).__name__}: {text}")


def _check_suspects(program: Program, suspects: dict[str, str], sites: dict[str, Site]) -> None:
    """Raise where a plate that had the number of units has it again when there are more of them."""
    more = UNITS + 4

    def act(msg: Any) -> Tensor:
        name, fn = msg["name"], msg["fn"]
        for frame in msg["cond_indep_stack"]:
            if frame.size == more and frame.name in suspects:
                raise ProgramError(
                    f"site '{name}' stands under plate '{frame.name}', which has the number of units; "
                    "name that plate 'units'.",
                    site=name,
                )
        return msg["value"] if is_deterministic(msg) else fn.sample()

    try:
        program.execute(act, more, {name: torch.ones(more, dtype=sites[name].dtype) for name in _covariates(sites)})
    except ProgramError:
        raise
    except Exception:
        return  # that number of units fails for a reason of its own, which the other runs will meet


def _check_plates(msg: Any, implicit: bool, suspects: dict[str, str]) -> None:
    name = msg["name"]
    for frame in msg["cond_indep_stack"]:
        if frame.dim is None:
            continue  # a sequential plate makes sites of their own
        if frame.name == "units":
            if frame.dim != -1:
                raise ProgramError(
                    f"site '{name}': the plate 'units' stands at dim {frame.dim}; units are dim -1 (inner plates take "
                    "-2, -3, …).",
                    site=name,
                )
            if frame.size != UNITS:
                raise ProgramError(
                    f"site '{name}': the plate 'units' has size {frame.size} where the program was asked for {UNITS} "
                    "units; write pyro.plate('units', n, dim=-1) with the program's own n.",
                    site=name,
                )
        elif not implicit and frame.size == UNITS and frame.dim == -1:
            suspects[frame.name] = name


def _draw(fn: Any, name: str, msg: Any) -> Tensor:
    shape = list(fn.batch_shape) or [1]
    sizes = {frame.dim: frame.size for frame in msg["cond_indep_stack"] if frame.dim is not None}
    sizes[-1] = UNITS
    target = [1] * max(len(shape), max(-dim for dim in sizes))
    for dim, size in sizes.items():
        target[dim] = size
    try:
        batch = torch.broadcast_shapes(tuple(shape), tuple(target))
        if len(batch) != len(target) or any(a not in (1, b) for a, b in zip(shape[::-1], target[::-1], strict=False)):
            raise RuntimeError
    except RuntimeError:
        raise ProgramError(
            f"site '{name}' has a distribution of batch shape {tuple(fn.batch_shape)}, but units are the last batch "
            f"dim (here {UNITS} of them) and plates inside a unit stand left of it: {tuple(target)}. Declare "
            "vector values with .to_event(1), or their plate with dim=-2.",
            site=name,
        ) from None
    return fn.expand(batch).sample() if tuple(batch) != tuple(fn.batch_shape) else fn.sample()


def _deterministic_site(name: str, value: Any) -> Site:
    if not isinstance(value, Tensor):
        raise ProgramError(f"pyro.deterministic('{name}') was given {type(value).__name__}, not a tensor.", site=name)
    shape = tuple(value.shape)
    if UNITS not in shape:
        if value.dim() == 0:
            return Site(name, "deterministic", dtype=value.dtype)
        raise ProgramError(
            f"pyro.deterministic('{name}') has shape {shape} on {UNITS} units: no dim is the units'.", site=name
        )
    axis = max(place for place, size in enumerate(shape) if size == UNITS)
    return Site(name, "deterministic", inner=shape[:axis], event=shape[axis + 1 :], dtype=value.dtype)


def _covariate(name: str, categories: Mapping[str, tuple[Any, ...]]) -> Tensor:
    if name in categories:
        return torch.randint(0, len(categories[name]), (UNITS,))
    return 0.5 + torch.rand(UNITS)


def _family(fn: Any) -> str:
    while type(fn).__name__ in {"Independent", "MaskedDistribution", "ExpandedDistribution"}:
        fn = fn.base_dist
    return type(fn).__name__


def _support(fn: Any) -> Any:
    try:
        return fn.support
    except (NotImplementedError, AttributeError):
        return None


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
            name: _covariate(name, categories) for name, site in sites.items() if site.kind == "covariate"
        }
        self.others: dict[str, Tensor] = {name: _covariate(name, categories) for name in self.values}
        self.parameters: dict[str, Tensor] = {}

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
                value = _draw(fn, name, msg)
                self.others[name] = _other(fn, value, sites[name], msg)
            self.values[name] = value
            return value

        program.execute(act, UNITS, {name: self.values[name] for name in _covariates(sites)})
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
            return values[name]

        before = {name: value._version for name, value in values.items()}
        units = UNITS if unit is None else 1
        self.program.execute(act, units, {name: values[name] for name in _covariates(self.sites)})
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
                        f"site '{name}' of a unit is another when the unit is alone: its distribution reads other units, "
                        "their number or their order. Write the program elementwise over units (no mean, sum, sort "
                        "or indexing over them); a quantity shared by all units is a parameter.",
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
                        f"'{name}' stands outside the plate 'units' but reads {listed(sorted(read))}, which has a value "
                        "for each unit. Move it into the plate.",
                        site=name,
                    )
                return self.parameters[name]
            if name not in self.sites:
                return msg["value"]
            found[name] = sources(msg["value"]) if is_deterministic(msg) else sources((msg["fn"], msg["mask"]))
            last = f"site '{name}'"
            return trace(self.values[name], {name})

        start = {name: trace(self.values[name], {name}) for name in _covariates(self.sites)}
        try:
            self.program.execute(act, UNITS, start)
        except UnitMixingError as error:
            raise UnitMixingError(f"after {last}: {error.message}", site=error.site) from None
        except PCMError:
            raise
        except Exception as error:
            return None, (
                f"provenance could not be traced after {last} ({error}); the graph rests on perturbation alone",
            )
        return found, ()


def _covariates(sites: dict[str, Site]) -> list[str]:
    return [name for name, site in sites.items() if site.kind == "covariate"]


def _other(fn: Any, value: Tensor, site: Site, msg: Any) -> Tensor:
    """Another value of the same support for every unit."""
    if site.cardinality is not None and site.cardinality > 1:
        if site.one_hot:
            return value.roll(1, -1)
        return (value + 1) % site.cardinality
    return _draw(fn, site.name, msg)


def _perturbed(sites: dict[str, Site], bases: list[_Base]) -> dict[str, set[str]]:
    """For each site, which sites' distributions changed when it did; raises where another unit's changed."""
    parents: dict[str, set[str]] = {name: set() for name in sites}
    for base in bases:
        for name in sites:
            after = base.reads({name: base.others[name]})
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
        a.shape != b.shape or not torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))
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
