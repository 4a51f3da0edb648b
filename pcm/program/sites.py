"""The first reading of a program: its sites, what they are and how they are shaped.

>>> import pyro, pyro.distributions as dist
>>> from pcm.program import Program
>>> def pair():
...     x = pyro.sample("x", dist.Normal(0.0, 1.0))
...     pyro.deterministic("twice", 2 * x)
>>> [(site.name, site.kind) for site in Program(pair).structure.sites.values()]
[('x', 'variable'), ('twice', 'deterministic')]
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyro.distributions as dist
import torch
from torch import Tensor

from pcm.couplings import mechanism_of, resolve
from pcm.errors import PCMError, ProgramError, UnitMixingError
from pcm.program.handler import is_deterministic, units_frame
from pcm.program.structure import Site

if TYPE_CHECKING:
    from pcm.program.program import Program

__all__ = ["UNITS", "covariate_names", "covariate_values", "draw", "read_sites"]

#: Units on which a program is read.
UNITS = 7


def read_sites(
    program: Program,
    covariates: tuple[str, ...],
    couplings: Mapping[str, str],
    categories: Mapping[str, tuple[Any, ...]],
) -> tuple[dict[str, Site], dict[str, Site]]:
    """Variables (covariates first) and parameters of a program, in program order; errors name the site."""
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
        value = draw(fn, name, msg)
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
            joint=len(bare.event_shape),
            noise=(*event[: len(event) - len(bare.event_shape)], *coupling.noise_event(bare)),
            breadth=coupling.breadth(bare) * math.prod(event[: len(event) - len(bare.event_shape)]),
            one_hot="OneHot" in type(bare).__name__,
            ordered="Categorical" not in type(bare).__name__,
            mechanism=mechanism_of(fn),
        )
        return value

    start = {name: covariate_values(name, categories) for name in covariates}
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
        program.execute(act, more, {name: torch.ones(more, dtype=sites[name].dtype) for name in covariate_names(sites)})
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


def draw(fn: Any, name: str, msg: Any) -> Tensor:
    """A value ``(*inner, unit, *event)`` of a site, or an error that says how its shape is wrong."""
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


def covariate_values(name: str, categories: Mapping[str, tuple[Any, ...]]) -> Tensor:
    """Values ``(unit,)`` to read a program with: codes of a labelled covariate, numbers around 1 of any other."""
    if name in categories:
        return torch.randint(0, len(categories[name]), (UNITS,))
    return 0.5 + torch.rand(UNITS)


def _family(fn: Any) -> str:
    while type(fn).__name__ in {"Independent", "MaskedDistribution", "ExpandedDistribution", "Noised"}:
        fn = fn.base_dist
    return type(fn).__name__


def _support(fn: Any) -> Any:
    try:
        return fn.support
    except (NotImplementedError, AttributeError):
        return None


def covariate_names(sites: dict[str, Site]) -> list[str]:
    """Names of the covariates."""
    return [name for name, site in sites.items() if site.kind == "covariate"]
