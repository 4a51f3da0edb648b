"""What ``do`` can set: a constant, a value per unit, a function of other variables, a distribution.

Distributions are tested before callables. Of a callable, parameters without defaults are the variables it reads; its
own target's name means the value the target would have had in that world.

>>> Function(lambda labs: labs - 1).reads
('labs',)
>>> Function(lambda age, shift=2.0: age + shift).reads
('age',)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.distributions import Distribution

from pcm.couplings import resolve
from pcm.errors import InterventionError, UnitMixingError, UnknownNameError, listed, suggestion
from pcm.program import Site, Structure

__all__ = [
    "Baseline",
    "Constant",
    "Function",
    "Intervention",
    "PerUnit",
    "Stochastic",
    "Target",
    "align",
    "read_interventions",
]

#: A variable's name, or an edge (parent, child).
Target = str | tuple[str, str]


@dataclass(frozen=True)
class Constant:
    """The same value for every unit; ``value`` has the site's event shape."""

    value: Tensor


@dataclass(frozen=True)
class PerUnit:
    """A value for each unit; ``value`` is ``(unit, *event)`` and ``index`` names the units where a Series was given."""

    value: Tensor
    index: pd.Index | None = None


@dataclass(frozen=True)
class Function:
    """A policy or shift: the value is computed from other variables' values in the same world."""

    function: Callable[..., Any]

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """Names of the variables it reads."""
        try:
            parameters = inspect.signature(self.function).parameters.values()
        except (TypeError, ValueError) as error:
            raise InterventionError(
                f"{self.function!r} does not tell its argument names ({error}); wrap it: lambda x: f(x)."
            ) from error
        names = tuple(
            p.name for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        )
        open_ended = [p.name for p in parameters if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.POSITIONAL_ONLY)]
        if open_ended or not names:
            raise InterventionError(
                f"a function given to do() reads variables by its argument names; {self.function!r} has "
                f"{'unnamed arguments' if open_ended else 'none'}. Write lambda x: …, or give the value itself."
            )
        return names


@dataclass(frozen=True)
class Stochastic:
    """A draw from a distribution of its own, the same noise in every world."""

    distribution: Any


@dataclass(frozen=True)
class Baseline:
    """The value that the variable has in a world's reference world: what nested counterfactuals are made of."""


Intervention = Constant | PerUnit | Function | Stochastic | Baseline


def read_interventions(
    given: Mapping[Any, Any],
    structure: Structure,
    parameters: tuple[str, ...],
    categories: Mapping[str, tuple[Any, ...]],
) -> dict[Target, Intervention]:
    """Interventions from what a user wrote, checked against the program before anything runs."""
    if not isinstance(given, Mapping):
        raise InterventionError(
            f"interventions are a dict of variable to value (or keyword arguments); found {type(given).__name__}."
        )
    made: dict[Target, Intervention] = {}
    for target, value in given.items():
        if isinstance(target, tuple):
            parent, child = _edge(target, structure)
            made[(parent, child)] = _read(value, parent, f"do({parent} → {child})", structure, categories)
            continue
        if target not in structure.sites:
            if target in parameters:
                raise InterventionError(
                    f"'{target}' is a parameter, shared by all units; do() acts on variables. Fix it with "
                    f"scm.given({target}=…).",
                    site=target,
                )
            raise UnknownNameError(target, known=list(structure.sites))
        made[target] = _read(value, target, f"do({target}=…)", structure, categories)
    for target in made:
        if isinstance(target, tuple) and target[1] in made:
            raise InterventionError(
                f"do() sets '{target[1]}' itself and the edge {target[0]} → {target[1]}: a variable that is set reads "
                "nothing. Drop one of them.",
                site=target,
            )
    return made


def align(interventions: Mapping[Target, Intervention], index: pd.Index) -> dict[Target, Intervention]:
    """The interventions with every Series in the order of the units it names."""
    return {
        target: _aligned(target, action, index) if isinstance(action, PerUnit) and action.index is not None else action
        for target, action in interventions.items()
    }


def _aligned(target: Target, action: PerUnit, index: pd.Index) -> PerUnit:
    names = action.index
    assert names is not None
    plain = isinstance(names, pd.RangeIndex) and names.start == 0 and names.step == 1
    if names.equals(index) or (plain and len(names) == len(index)):
        return action
    if not (names.is_unique and index.is_unique):
        raise InterventionError(f"do({target}=…) is a Series whose index, or the units', repeats a label.", site=target)
    places = names.get_indexer(index)
    if (places < 0).any():
        missing = [index[int(place)] for place in np.flatnonzero(places < 0)[:5]]
        raise InterventionError(
            f"do({target}=…) is a Series that lacks the units {listed(missing, 5)}; give every unit a value, or values "
            "by position (a list or array).",
            site=target,
        )
    return PerUnit(action.value[torch.from_numpy(places.copy())], index)


def _edge(target: tuple[Any, ...], structure: Structure) -> tuple[str, str]:
    if len(target) != 2:
        raise InterventionError(f"an edge is a pair (parent, child); found {target!r}.", site=target)
    for name in target:
        if name not in structure.sites:
            raise UnknownNameError(name, known=list(structure.sites))
    if not structure.graph.has_edge(*target):
        edges = [f"{a} → {b}" for a, b in structure.graph.edges]
        asked = f"{target[0]} → {target[1]}"
        raise InterventionError(
            f"'{asked}' is not an edge of the graph; edges: {listed(edges)}.{suggestion(asked, edges)}", site=target
        )
    return target


def _read(
    value: Any, name: str, asked: str, structure: Structure, categories: Mapping[str, tuple[Any, ...]]
) -> Intervention:
    site, labels = structure.sites[name], categories.get(name)
    if isinstance(value, Distribution):
        return _stochastic(value, site, asked)
    if callable(value) and not isinstance(value, Tensor | np.ndarray | pd.Series):
        function = Function(value)
        for read in function.reads:
            if read not in structure.sites:
                raise UnknownNameError(read, known=list(structure.sites), where=f"the program, but {asked} reads it")
            if read != name and structure.position[read] > structure.position[name]:
                raise InterventionError(
                    f"{asked} reads '{read}', which the program computes after '{name}'"
                    + (" from it" if read in _descendants(structure, name) else "")
                    + "; a policy can read only what comes before.",
                    site=name,
                )
        _check_elementwise(function, site, structure, asked)
        return function
    index = value.index if isinstance(value, pd.Series) else None
    return _values(value, site, labels, asked, index)


def _check_elementwise(function: Function, site: Site, structure: Structure, asked: str) -> None:
    """Raise where a policy gives a unit another value when the unit is alone: it reads other units."""
    many = 5
    generator = torch.Generator().manual_seed(0)
    values = {}
    for name in function.reads:
        part = structure.sites[name]
        shape = part.shape(many)
        if part.cardinality is not None and not part.one_hot:
            values[name] = torch.randint(0, part.cardinality, shape, generator=generator).to(part.dtype)
        else:
            values[name] = torch.rand(shape, generator=generator, dtype=torch.float64).to(part.dtype)
    try:
        together = torch.as_tensor(function.function(**{name: value.clone() for name, value in values.items()}))
        together = together.to(site.dtype).expand(site.shape(many))
        alone = []
        for unit in range(many):
            one = {n: v.narrow(len(structure.sites[n].inner), unit, 1).clone() for n, v in values.items()}
            alone.append(torch.as_tensor(function.function(**one)).to(site.dtype).expand(site.shape(1)))
        apart = torch.cat(alone, len(site.inner))
    except Exception:
        return  # it fails on made-up values: what it does to real ones is seen when it runs
    if not torch.allclose(torch.nan_to_num(together.double()), torch.nan_to_num(apart.double()), rtol=1e-7, atol=1e-9):
        raise UnitMixingError(
            f"{asked}: the function gives a unit another value when the unit is alone, so it reads other units. Write "
            "it elementwise over units (no mean, sum or sort); compute such a number first and pass it as a constant.",
            site=site.name,
        )


def _descendants(structure: Structure, name: str) -> set[str]:
    import networkx as nx

    return nx.descendants(structure.graph, name)


def _stochastic(value: Any, site: Site, asked: str) -> Stochastic:
    if value.batch_shape not in (torch.Size(), torch.Size([1])):
        raise InterventionError(
            f"{asked}: a distribution given to do() is the same for every unit; found batch shape "
            f"{tuple(value.batch_shape)}. Use a function for one that depends on other variables.",
            site=site.name,
        )
    if tuple(value.event_shape) != (*site.inner, *site.event) and tuple(value.event_shape) != site.event:
        raise InterventionError(
            f"{asked}: event shape {tuple(value.event_shape)} found, {site.event} needed.", site=site.name
        )
    coupling, bare = resolve(value, None, site.name)
    count = coupling.cardinality(bare) if coupling.discrete else None
    if site.cardinality is not None and (count is None or count > site.cardinality):
        raise InterventionError(
            f"{asked}: '{site.name}' takes 0..{site.cardinality - 1}; {type(bare).__name__} can give other values.",
            site=site.name,
        )
    if site.discrete and not coupling.discrete:
        raise InterventionError(
            f"{asked}: '{site.name}' takes whole numbers, and {type(bare).__name__} is continuous.", site=site.name
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        check_support(value.sample((64,)), site, None, asked)
    return Stochastic(value)


def _values(
    value: Any, site: Site, labels: tuple[Any, ...] | None, asked: str, index: pd.Index | None
) -> Constant | PerUnit:
    tensor = _tensor(value, site, labels, asked)
    check_support(tensor, site, labels, asked)
    depth = len(site.event)
    if tensor.dim() == 0 or (depth and tuple(tensor.shape) == site.event):
        return Constant(tensor)
    if tensor.dim() == depth + 1 and tuple(tensor.shape[1:]) == site.event:
        return PerUnit(tensor, index)
    full = (*site.inner, *tensor.shape[-1 - depth :]) if site.inner else ()
    if site.inner and tuple(tensor.shape) in {full, (*site.inner, *site.event)}:
        return PerUnit(tensor, index) if tuple(tensor.shape) == full else Constant(tensor)
    if site.inner and tuple(tensor.shape[1:]) == (*site.inner, *site.event):  # units first, as in frames and results
        return PerUnit(tensor.movedim(0, len(site.inner)), index)
    raise InterventionError(
        f"{asked}: a value of shape {tuple(tensor.shape)} fits neither one unit {site.event or '()'} nor all units "
        f"{('units', *site.event)}.",
        site=site.name,
    )


def _tensor(value: Any, site: Site, labels: tuple[Any, ...] | None, asked: str) -> Tensor:
    if labels is not None:
        value = _codes(value, labels, site, asked)
    if isinstance(value, pd.Series):
        value = value.to_numpy()
    try:
        tensor = value if isinstance(value, Tensor) else torch.as_tensor(np.array(value))
    except (TypeError, ValueError):
        raise InterventionError(
            f"{asked}: {value!r} is no number, tensor, function or distribution."
            + (
                f" '{site.name}' has no labels; declare them with categories={{'{site.name}': […]}}."
                if site.discrete and not labels
                else ""
            ),
            site=site.name,
        ) from None
    if tensor.is_complex():
        raise InterventionError(f"{asked}: complex values found, {site.dtype} needed.", site=site.name)
    tensor = tensor.detach()
    if not site.dtype.is_floating_point and tensor.is_floating_point() and bool((tensor != tensor.round()).any()):
        raise InterventionError(
            f"{asked}: '{site.name}' takes integer codes; "
            f"found {tensor[tensor != tensor.round()].flatten()[0].item():g}.",
            site=site.name,
        )
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise InterventionError(f"{asked}: the value is not finite.", site=site.name)
    return tensor.to(site.dtype)


def _codes(value: Any, labels: tuple[Any, ...], site: Site, asked: str) -> Any:
    """Labels to codes; codes stay as they are."""
    known = {label: code for code, label in enumerate(labels)}

    def code(label: Any) -> Any:
        if isinstance(label, str) or label in known:
            if label not in known:
                raise InterventionError(
                    f"{asked}: '{label}' is not a category of '{site.name}'; categories: {listed(labels)}."
                    f"{suggestion(label, labels)}",
                    site=site.name,
                )
            return known[label]
        if any(isinstance(name, int | float) for name in labels):
            raise InterventionError(
                f"{asked}: {label!r} is not a category of '{site.name}'; categories: {listed(labels)}.", site=site.name
            )
        return label

    if isinstance(value, Tensor):
        return value
    if isinstance(value, str) or np.ndim(value) == 0:
        return code(value)
    return np.array([code(label) for label in value])


def check_support(value: Tensor, site: Site, labels: tuple[Any, ...] | None, asked: str) -> None:
    """Raise where a value is outside what the site can take (as far as that does not depend on its parents)."""
    if site.cardinality is not None and not site.one_hot:
        bad, words = (value < 0) | (value >= site.cardinality) | (value != value.round()), f"0..{site.cardinality - 1}"
    elif labels is not None:
        bad, words = (value < 0) | (value >= len(labels)), f"codes 0..{len(labels) - 1}"
    elif site.support is None or not _fixed(site.support):
        return
    else:
        try:
            bad = ~site.support.check(value)
        except (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError):
            return  # a shape error is said by the shape check
        words = str(site.support)
    if bool(bad.any()):
        found = value[bad].flatten()[0] if bad.shape == value.shape else value.flatten()[0]
        raise InterventionError(
            f"{asked}: {found.item():g} is outside the support of '{site.name}' ({words}).", site=site.name
        )


def _fixed(support: Any) -> bool:
    bounds = [getattr(support, key) for key in ("lower_bound", "upper_bound") if hasattr(support, key)]
    return all(not isinstance(bound, Tensor) or bool((bound == bound.flatten()[0]).all()) for bound in bounds)
