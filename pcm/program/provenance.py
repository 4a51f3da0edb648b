"""Which sites a tensor was computed from.

A :class:`Traced` tensor carries the names of the sites it descends from through every torch operation. It refuses to
become a Python number or a numpy array: a program that branches on a unit's value, or leaves torch, would give every
unit the mechanism of one.

>>> import torch
>>> a, b = trace(torch.ones(2), {"a"}), trace(torch.zeros(2), {"b"})
>>> sorted(sources(a * 2 + b))
['a', 'b']
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.distributions.transforms import Transform

from pcm.errors import UnitMixingError, listed

__all__ = ["Traced", "sources", "tensors_of", "trace", "untrace"]

_LEAVES_TORCH = frozenset(
    {"__bool__", "__float__", "__int__", "__index__", "__complex__", "__array__", "item", "tolist", "numpy"}
)


class Traced(Tensor):
    """A tensor with the names of the sites it was computed from."""

    _plain: Tensor
    _names: frozenset[str]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        names = sources((args, kwargs))
        name = getattr(func, "__name__", "")
        if name in _LEAVES_TORCH:
            raise UnitMixingError(
                f"the program calls {name.strip('_')}() on a value computed from {listed(sorted(names))}: Python "
                "control flow, numbers and numpy arrays see one value for all units. Write it with torch operations, "
                "elementwise over units (torch.where instead of if).",
                names=sorted(names),
            )
        made = func(*untrace(args), **untrace(kwargs or {}))
        if name == "__setitem__" or (name.endswith("_") and not name.endswith("__")):
            _mark(args[0], names)  # written in place: the tensor itself now descends from what was written
        for written in tensors_of((kwargs or {}).get("out", ())):
            _mark(written, names)
        return trace(made, names)

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"Traced({sorted(self._names)}, {self._plain!r})"


def _mark(tensor: Tensor, names: frozenset[str]) -> None:
    """Let a tensor that was written into carry the names, wherever the program holds it."""
    if not isinstance(tensor, Traced):
        plain = tensor.detach()
        tensor.__class__ = Traced
        tensor._plain, tensor._names = plain, frozenset()  # type: ignore[attr-defined]
    tensor._names |= names  # type: ignore[attr-defined]


def trace(value: Any, names: Any) -> Any:
    """``value`` (a tensor or a nest of tensors) marked as computed from the sites ``names``."""
    names = frozenset(names)
    if not names:
        return value
    if isinstance(value, Tensor):
        plain = value._plain if isinstance(value, Traced) else value
        known = value._names if isinstance(value, Traced) else frozenset()
        traced = plain.as_subclass(Traced)
        traced._plain, traced._names = plain, known | names
        return traced
    if isinstance(value, tuple) and not isinstance(value, torch.Size):
        return _like(value, [trace(part, names) for part in value])
    if isinstance(value, list):
        return [trace(part, names) for part in value]
    return value


def untrace(value: Any) -> Any:
    """``value`` with plain tensors."""
    if isinstance(value, Traced):
        return value._plain
    if isinstance(value, torch.Size):
        return value
    if isinstance(value, tuple):
        return _like(value, [untrace(part) for part in value])
    if isinstance(value, list):
        return [untrace(part) for part in value]
    if isinstance(value, dict):
        return {key: untrace(part) for key, part in value.items()}
    if isinstance(value, slice):
        return slice(untrace(value.start), untrace(value.stop), untrace(value.step))
    return value


def _like(value: tuple[Any, ...], parts: list[Any]) -> Any:
    """A tuple of the same kind: plain, named, or what ``sort`` and ``max`` return."""
    if hasattr(value, "_fields"):
        return type(value)(*parts)
    return type(value)(parts) if type(value).__module__ == "torch.return_types" else tuple(parts)


def sources(value: Any) -> frozenset[str]:
    """Names of all sites behind the tensors in ``value`` (tensor, nest, distribution)."""
    names: frozenset[str] = frozenset()
    for tensor in tensors_of(value):
        if isinstance(tensor, Traced):
            names |= tensor._names
    return names


def tensors_of(value: Any, _depth: int = 0) -> Iterator[Tensor]:
    """Every tensor held by a nest of containers, distributions and transforms, in a fixed order."""
    if isinstance(value, Tensor):
        yield value
    elif _depth > 12:
        return
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors_of(part, _depth + 1)
    elif isinstance(value, dict):
        for part in value.values():
            yield from tensors_of(part, _depth + 1)
    elif isinstance(value, slice):
        yield from tensors_of((value.start, value.stop, value.step), _depth + 1)
    elif isinstance(value, Distribution | Transform):
        yield from tensors_of([part for key, part in sorted(vars(value).items()) if key != "_cached_x_y"], _depth + 1)
