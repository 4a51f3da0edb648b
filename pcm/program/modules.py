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
from torch import nn

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
        while name in found:
            name += "_"
        found[name] = made
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
    elif isinstance(value, list | tuple) and any(isinstance(part, nn.Module) for part in value):
        made = type(value)(_rebuild(part, dtype, found, done, f"{name}[{i}]") for i, part in enumerate(value))
    elif isinstance(value, dict) and any(isinstance(part, nn.Module) for part in value.values()):
        made = {key: _rebuild(part, dtype, found, done, f"{name}[{key!r}]") for key, part in value.items()}
    elif _is_users_object(value):
        made = _object(value, dtype, found, done, name)
    else:
        return value
    done[id(value)] = made
    return made


def _function(func: types.FunctionType, dtype: torch.dtype, found: dict[str, nn.Module], done: dict[int, Any]) -> Any:
    done[id(func)] = func  # a recursive helper meets itself
    if not _is_users(func.__module__):
        return func
    changed: dict[str, Any] = {}
    for key in _names(func.__code__) & func.__globals__.keys():
        value = func.__globals__[key]
        made = _rebuild(value, dtype, found, done, key)
        if made is not value:
            changed[key] = made
    cells = []
    for key, cell in zip(func.__code__.co_freevars, func.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # not assigned yet
            cells.append(cell)
            continue
        made = _rebuild(value, dtype, found, done, key)
        cells.append(cell if made is value else types.CellType(made))
    defaults = tuple(_rebuild(value, dtype, found, done, func.__name__) for value in func.__defaults__ or ())
    options = {key: _rebuild(value, dtype, found, done, key) for key, value in (func.__kwdefaults__ or {}).items()}
    same = (
        not changed
        and all(a is b for a, b in zip(cells, func.__closure__ or (), strict=True))
        and all(a is b for a, b in zip(defaults, func.__defaults__ or (), strict=True))
        and all(options[key] is value for key, value in (func.__kwdefaults__ or {}).items())
    )
    if same:
        return func
    space = {**func.__globals__, **changed} if changed else func.__globals__
    made = types.FunctionType(func.__code__, space, func.__name__, defaults or None, tuple(cells) or None)
    made.__kwdefaults__ = options or None
    functools.update_wrapper(made, func)
    done[id(func)] = made
    return made


def _names(code: types.CodeType) -> set[str]:
    """Global names a function reads, those of its lambdas and comprehensions too."""
    inner = [_names(const) for const in code.co_consts if isinstance(const, types.CodeType)]
    return set(code.co_names).union(*inner)


def _object(value: Any, dtype: torch.dtype, found: dict[str, nn.Module], done: dict[int, Any], name: str) -> Any:
    parts = {key: _rebuild(part, dtype, found, done, key) for key, part in vars(value).items()}
    if all(parts[key] is part for key, part in vars(value).items()):
        return value
    made = copy.copy(value)
    vars(made).update(parts)
    return made


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
