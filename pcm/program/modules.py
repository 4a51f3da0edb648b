"""Networks captured by a program, as converted copies.

A program runs in float64 by default while its networks were built in float32. :func:`converted` returns the same
program with every captured ``nn.Module`` replaced by a copy in the asked dtype; the user's own modules are never
changed, neither by a query nor by a fit.

>>> import torch
>>> net = torch.nn.Linear(1, 1)
>>> def program(n):
...     return net
>>> program.__module__ = "__main__"  # libraries' own functions are not searched
>>> copy, found = converted(program, torch.float64)
>>> copy(3).weight.dtype, net.weight.dtype, list(found)
(torch.float64, torch.float32, ['net'])
"""

from __future__ import annotations

import copy
import functools
import sys
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Transform

__all__ = ["converted"]


def converted(program: Callable[..., Any], dtype: torch.dtype) -> tuple[Callable[..., Any], dict[str, nn.Module]]:
    """The program over its own copies of the modules it captures, and those copies by name."""
    found: dict[str, nn.Module] = {}
    return _rebuild(program, dtype, found, {}, "program"), found


def _rebuild(value: Any, dtype: torch.dtype, found: dict[str, nn.Module], done: dict[int, Any], name: str) -> Any:
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, nn.Module):
        made: Any = copy.deepcopy(value).to(dtype)
        for part in made.modules():
            priors = vars(part).get("_pyro_samples", {})
            priors.update({key: _cast(prior, dtype) for key, prior in priors.items()})
        while name in found:
            name += "_"
        found[name] = made
    elif isinstance(value, Tensor | Distribution):
        made = _cast(value, dtype)
        if made is value:
            return value
    elif isinstance(value, functools.partial):
        func = _rebuild(value.func, dtype, found, done, name)
        args = [_rebuild(arg, dtype, found, done, name) for arg in value.args]
        keywords = {key: _rebuild(arg, dtype, found, done, key) for key, arg in value.keywords.items()}
        made = functools.partial(func, *args, **keywords)
    elif isinstance(value, types.MethodType):
        owner = _rebuild(value.__self__, dtype, found, done, name)
        made = value if owner is value.__self__ else types.MethodType(value.__func__, owner)
    elif isinstance(value, types.FunctionType):
        return _function(value, dtype, found, done)
    elif isinstance(value, list | tuple):
        parts = [_rebuild(part, dtype, found, done, f"{name}[{i}]") for i, part in enumerate(value)]
        if all(a is b for a, b in zip(parts, value, strict=True)):
            return value
        made = type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    elif isinstance(value, dict):
        entries = {key: _rebuild(part, dtype, found, done, f"{name}[{key!r}]") for key, part in value.items()}
        if all(entries[key] is part for key, part in value.items()):
            return value
        made = copy.copy(value)
        made.update(entries)
    elif isinstance(value, type):
        if not _is_users(value.__module__):
            return value
        changed = _attributes(value, dtype, found, done)
        made = type(value.__name__, (value,), changed) if changed else value
    elif _is_users_object(value):
        made = _object(value, dtype, found, done, name)
    else:
        return value
    done[id(value)] = made
    return made


def _function(func: types.FunctionType, dtype: torch.dtype, found: dict[str, nn.Module], done: dict[int, Any]) -> Any:
    if not _is_users(func.__module__):
        return func
    before = len(found)
    # made first and filled later: a function that calls itself then calls its own copy
    cells = tuple(types.CellType() for _ in func.__code__.co_freevars)
    made = types.FunctionType(func.__code__, dict(func.__globals__), func.__name__, func.__defaults__, cells)
    functools.update_wrapper(made, func)
    done[id(func)] = made
    for key in sorted(_names(func.__code__) & func.__globals__.keys()):
        made.__globals__[key] = _rebuild(func.__globals__[key], dtype, found, done, key)
    for key, cell, mine in zip(func.__code__.co_freevars, func.__closure__ or (), cells, strict=True):
        try:
            mine.cell_contents = _rebuild(cell.cell_contents, dtype, found, done, key)
        except ValueError:  # not assigned yet
            continue
    if func.__defaults__:
        made.__defaults__ = tuple(_rebuild(value, dtype, found, done, func.__name__) for value in func.__defaults__)
    if func.__kwdefaults__:
        made.__kwdefaults__ = {
            key: _rebuild(value, dtype, found, done, key) for key, value in func.__kwdefaults__.items()
        }
    if len(found) == before and not _reaches_copies(made, func, done):
        done[id(func)] = func
        return func
    return made


def _reaches_copies(made: types.FunctionType, func: types.FunctionType, done: dict[int, Any]) -> bool:
    """Whether anything the copy refers to, other than itself, is a copy."""
    pairs = [(made.__globals__[key], func.__globals__[key]) for key in _names(func.__code__) & func.__globals__.keys()]
    for mine, cell in zip(made.__closure__ or (), func.__closure__ or (), strict=True):
        try:
            pairs.append((mine.cell_contents, cell.cell_contents))
        except ValueError:
            continue
    pairs += list(zip(made.__defaults__ or (), func.__defaults__ or (), strict=True))
    mine_by_name = made.__kwdefaults__ or {}
    pairs += [(mine_by_name[key], value) for key, value in (func.__kwdefaults__ or {}).items()]
    return any(mine is not theirs and mine is not made for mine, theirs in pairs)


def _cast(value: Any, dtype: torch.dtype) -> Any:
    """A captured tensor or distribution in the program's dtype; itself where nothing changes."""
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() and value.dtype != dtype else value
    if not isinstance(value, Distribution | Transform):
        return value
    parts: dict[str, Any] = {}
    for key, part in vars(value).items():
        if isinstance(part, list):
            cast: Any = [_cast(each, dtype) for each in part]
            parts[key] = part if all(a is b for a, b in zip(cast, part, strict=True)) else cast
        else:
            parts[key] = _cast(part, dtype)
    if all(parts[key] is part for key, part in vars(value).items()):
        return value
    made = copy.copy(value)
    vars(made).update(parts)
    return made


def _names(code: types.CodeType) -> set[str]:
    """Global names a function reads, those of its lambdas and comprehensions too."""
    inner = [_names(const) for const in code.co_consts if isinstance(const, types.CodeType)]
    return set(code.co_names).union(*inner)


def _object(value: Any, dtype: torch.dtype, found: dict[str, nn.Module], done: dict[int, Any], name: str) -> Any:
    done[id(value)] = value  # an object that refers to itself
    parts = {key: _rebuild(part, dtype, found, done, key) for key, part in vars(value).items()}
    changed = {key: part for key, part in parts.items() if part is not vars(value)[key]}
    changed = {**_attributes(type(value), dtype, found, done), **changed}
    if not changed:
        return value
    made = copy.copy(value)
    vars(made).update(changed)  # past __setattr__: a frozen dataclass is copied too
    return made


def _attributes(owner: type, dtype: torch.dtype, found: dict[str, nn.Module], done: dict[int, Any]) -> dict[str, Any]:
    """Class attributes that hold networks, as copies."""
    changed: dict[str, Any] = {}
    for part in reversed(owner.__mro__):
        if not _is_users(part.__module__):
            continue
        for key, value in vars(part).items():
            if isinstance(value, nn.Module | Tensor | Distribution | list | tuple | dict) and not key.startswith("__"):
                made = _rebuild(value, dtype, found, done, key)
                if made is not value:
                    changed[key] = made
    return changed


def _is_users_object(value: Any) -> bool:
    return (
        hasattr(value, "__dict__")
        and not isinstance(value, type | types.ModuleType)
        and _is_users(type(value).__module__)
    )


@functools.lru_cache(maxsize=1024)
def _is_users(module: str | None) -> bool:
    """Whether code of this module is the user's own: libraries are not searched for networks."""
    root = (module or "").partition(".")[0]
    if root in sys.stdlib_module_names and root != "__main__":
        return False
    return root not in {"torch", "pyro", "pcm", "numpy", "pandas", "networkx", "scipy", "xarray", "arviz", "builtins"}
