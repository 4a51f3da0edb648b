"""Families of interventions: every setting of a grid, or every shift of a bounded (or any) size.

>>> [name for name, _ in Grid({"x": [0, 1], "e": [5]}).settings()]
['do(x = 0, e = 5)', 'do(x = 1, e = 5)']
>>> Shifts(["x"], gamma=2.0)
Shifts(['x'], gamma=2.0)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from math import inf, isnan
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcm.errors import ArgumentError, QueryError, UnknownNameError
from pcm.query.model import Model
from pcm.worlds import Function

__all__ = ["Grid", "Shifts", "read_family", "shifted", "worst_in_ball"]


class Grid:
    """Every joint setting of some variables.

    Examples
    --------
    >>> pcm_grid = Grid(x=[0.0, 1.0], e=[-1.0, 1.0])
    >>> len(pcm_grid.settings())
    4
    """

    def __init__(self, values: Mapping[str, Iterable[Any]] | None = None, **named: Iterable[Any]) -> None:
        given = {**values, **named} if isinstance(values, Mapping) else named
        fine = values is None or isinstance(values, Mapping)
        fine &= all(isinstance(each, Iterable) and not isinstance(each, str) for each in given.values())
        self.values = {name: list(each) for name, each in given.items()} if fine else {}
        if not self.values or not all(self.values.values()):
            raise ArgumentError("a grid is a list of values for one variable or more: Grid(x=[0, 1], e=[-1, 1]).")

    def settings(self) -> list[tuple[str, dict[str, Any]]]:
        """Each setting with its name."""
        made = [dict(zip(self.values, each, strict=True)) for each in product(*self.values.values())]
        return [(_named(each), each) for each in made]

    def __repr__(self) -> str:
        return f"Grid({self.values!r})"


class Shifts:
    """Every shift ``do(v = natural v + δ)`` of some variables, ``‖δ‖ ≤ gamma`` in their standard deviations.

    Shifts of this kind are those of anchor regression; ``gamma=inf`` is every shift there is.

    Examples
    --------
    >>> import pcm
    >>> pcm.Shifts(["x", "z"], gamma=1.5)
    Shifts(['x', 'z'], gamma=1.5)
    """

    def __init__(self, variables: Sequence[str], gamma: float = inf) -> None:
        if isinstance(variables, str) or not isinstance(variables, Sequence) or not variables:
            raise ArgumentError(f"Shifts({variables!r}): a list of variables is needed.")
        if isinstance(gamma, bool) or not isinstance(gamma, int | float) or isnan(gamma) or gamma <= 0:
            raise ArgumentError(f"gamma={gamma!r}: a positive number of standard deviations (or inf) is needed.")
        self.variables, self.gamma = list(dict.fromkeys(variables)), float(gamma)

    def __repr__(self) -> str:
        return f"Shifts({self.variables!r}, gamma={self.gamma})"


def read_family(family: Any, model: Model, outcome: str) -> list[tuple[str, dict[Any, Any]]] | Shifts:
    """Named interventions, or shifts, from what a user wrote.

    Raises
    ------
    ArgumentError
        What is no family; an intervention on the outcome.
    UnknownNameError
    """
    if isinstance(family, str) and family == "unbounded":
        sites = model.structure.sites
        parents = [name for name in model.structure.graph.pred[outcome] if sites[name].kind != "deterministic"]
        numbers = [name for name in parents if _numeric(model, name)]
        if not numbers:
            raise ArgumentError(f"'unbounded' shifts the parents of '{outcome}', and none of them is a number.")
        family = Shifts(numbers)
    if isinstance(family, Shifts):
        for name in family.variables:
            if name not in model.structure.sites:
                raise UnknownNameError(name, known=list(model.structure.sites))
            if not _numeric(model, name):
                raise ArgumentError(f"'{name}' is no number, so nothing can be added to it: give its values in a Grid.")
            if name == outcome:
                raise ArgumentError(f"'{name}' is what is predicted; a family of interventions leaves it alone.")
        return family
    made = _settings(family)
    names = [name for name, _ in made]
    twice = {name for name in names if names.count(name) > 1}
    made = [(f"{name} ({place + 1})" if name in twice else name, each) for place, (name, each) in enumerate(made)]
    if not made:
        raise ArgumentError("the family has no intervention in it.")
    for name, each in made:
        if outcome in each:
            raise ArgumentError(f"{name} sets '{outcome}', which is predicted; a family of interventions leaves it.")
    return made


def shifted(model: Model, amounts: Mapping[str, float]) -> Model:
    """The model with each of these variables moved by so much from its natural value."""
    added = {}
    for name, amount in amounts.items():
        if name in model.interventions:
            raise QueryError(f"the model's own do() sets '{name}', so a shift of it is none: leave one of them out.")
        added[name] = Function(_adder(name, amount))
        added[name].__dict__["reads"] = (name,)  # a variable's name need be no identifier
    return replace(model, interventions={**model.interventions, **added})


def worst_in_ball(slope: np.ndarray, curvature: np.ndarray, radius: float) -> np.ndarray:
    """Where ``slope · δ + δᵀ curvature δ`` is largest within a ball: fixed points of its gradient from many starts.

    >>> worst_in_ball(np.array([1.0, 0.0]), np.diag([0.0, 2.0]), 3.0).round(3).tolist()
    [0.25, 2.99]
    """
    size = len(slope)
    lift = max(0.0, -float(np.linalg.eigvalsh(curvature).min())) + 1e-9
    rng = np.random.default_rng(0)
    starts = np.concatenate([np.eye(size), -np.eye(size), rng.normal(size=(16, size)), _sign(slope)[None]])
    place = radius * starts / np.maximum(np.linalg.norm(starts, axis=1, keepdims=True), 1e-300)
    for _ in range(500):
        place = slope / 2 + place @ (curvature + lift * np.eye(size))
        norm = np.linalg.norm(place, axis=1, keepdims=True)
        place = radius * place / np.where(norm > 0, norm, 1.0)
    value = place @ slope + np.einsum("ki,ij,kj->k", place, curvature, place)
    best = place[value.argmax()]
    return best if value.max() > 0 else np.zeros(size)


# -- private ---------------------------------------------------------------------------------------------------------


def _settings(family: Any) -> list[tuple[str, dict[Any, Any]]]:
    if isinstance(family, Grid):
        return list(family.settings())
    if isinstance(family, Mapping):
        if family and all(isinstance(each, Mapping) for each in family.values()):
            return [(str(name), dict(each)) for name, each in family.items()]
        return [(_named(family), dict(family))] if family else []
    if isinstance(family, Sequence) and not isinstance(family, str):
        return [found for each in family for found in _settings(each)]
    raise ArgumentError(
        f"family={family!r}: interventions are a dict as do() takes it, a list of them, a dict of names to them, "
        "pcm.Grid(x=[…]), pcm.Shifts([…], gamma=…), or 'unbounded'."
    )


def _named(each: Mapping[Any, Any]) -> str:
    parts = [f"{' → '.join(key) if isinstance(key, tuple) else key} = {_words(value)}" for key, value in each.items()]
    return f"do({', '.join(parts)})"


def _words(value: Any) -> str:
    if hasattr(value, "log_prob"):
        parts = [f"{getattr(value, name).item():g}" for name in value.arg_constraints if _single(value, name)]
        return f"{type(value).__name__}({', '.join(parts)})"
    if callable(value) and not isinstance(value, Tensor | np.ndarray):
        return f"f({', '.join(Function(value).reads)})"
    if np.ndim(value) and not isinstance(value, str):
        return f"{np.size(value)} values"
    number = isinstance(value, int | float | np.number) or (isinstance(value, Tensor) and value.dim() == 0)
    return f"{float(value):g}" if number else str(value)


def _single(law: Any, name: str) -> bool:
    return name in law.__dict__ and torch.as_tensor(getattr(law, name)).numel() == 1


def _adder(name: str, amount: float) -> Any:
    def add(**values: Tensor) -> Tensor:
        return values[name] + amount

    return add


def _numeric(model: Model, name: str) -> bool:
    site = model.structure.sites[name]
    return site.scalar and not site.inner and not site.discrete and site.cardinality is None


def _sign(slope: np.ndarray) -> np.ndarray:
    return slope if np.abs(slope).max(initial=0.0) > 0 else np.ones_like(slope)
