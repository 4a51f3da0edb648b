"""The one effect handler through which every run of a program goes.

A run is the user's function executed once, with every ``sample`` statement answered by a function of ours
(an :data:`Act`): observing, drawing, replaying and analysing a program differ only in the act. The run is sealed: the
user's own Pyro handlers, plates, parameter store and default dtype are set aside and put back, also after an
exception.

>>> import pyro, pyro.distributions as dist, torch
>>> def coin():
...     return pyro.sample("x", dist.Bernoulli(0.5))
>>> with sealed(torch.float64):
...     with answer(lambda msg: torch.ones(3)):
...         coin()
tensor([1., 1., 1.], dtype=torch.float64)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from pyro.poutine import runtime
from pyro.poutine.indep_messenger import IndepMessenger
from pyro.poutine.messenger import Messenger
from pyro.poutine.subsample_messenger import _Subsample
from torch import Tensor

__all__ = ["Act", "answer", "is_deterministic", "sealed", "units_frame", "units_plate"]

#: Answers one ``sample`` statement: takes Pyro's message, returns the site's value.
Act = Callable[[Any], Tensor]

UNITS = "units"
_SETTINGS = ("validate_distributions_torch", "validate_poutine", "module_local_params")


@functools.lru_cache(maxsize=4)
def _indices(size: int) -> Tensor:
    return torch.arange(size)


class answer(Messenger):
    """Handler that answers every sample statement by ``act`` and every ``pyro.param`` from ``params``."""

    def __init__(self, act: Act, params: Mapping[str, Tensor] | Callable[[Any], Tensor] | None = None) -> None:
        super().__init__()
        self.act = act
        self.params = params if params is not None else {}

    def _process_message(self, msg: Any) -> None:
        kind = msg["type"]
        if kind == "sample":
            if type(msg["fn"]) is _Subsample:  # a plate asks for its indices
                if msg["value"] is None and msg["fn"].subsample_size in (None, msg["fn"].size):
                    msg["value"] = _indices(int(msg["fn"].size))
            else:
                msg["value"] = self.act(msg)
            msg["done"] = True
        elif kind == "param" and hasattr(msg["fn"], "__self__"):  # pyro.param; PyroModules read their own copies
            params = self.params
            msg["value"] = params(msg) if callable(params) else params[msg["name"]]
            msg["done"] = True
        msg["stop"] = True


def units_plate(size: int) -> IndepMessenger:
    """The plate an implicit program runs inside; it only reserves dim -1 (sites are answered before they reach it)."""
    return IndepMessenger(UNITS, size, -1)


def units_frame(msg: Any) -> Any | None:
    """The ``units`` frame a statement stands under, or None."""
    for frame in msg["cond_indep_stack"]:
        if frame.name == UNITS:
            return frame
    return None


def is_deterministic(msg: Any) -> bool:
    """Whether the statement is a ``pyro.deterministic``."""
    return bool(msg["infer"]) and bool(msg["infer"].get("_deterministic"))


@contextmanager
def sealed(dtype: torch.dtype, *, modules: bool = False) -> Iterator[None]:
    """Default dtype, validation off, empty handler stack; everything is put back as it was.

    ``modules`` says that the program holds PyroModules, whose parameters then stay out of the global store.
    """
    before = torch.get_default_dtype()
    stack, dims = list(runtime._PYRO_STACK), list(runtime._DIM_ALLOCATOR._stack)
    kept = {name: pyro.settings.get(name) for name in (_SETTINGS if modules else _SETTINGS[:2])}
    try:
        torch.set_default_dtype(dtype)
        runtime._PYRO_STACK.clear()
        runtime._DIM_ALLOCATOR._stack.clear()
        pyro.settings.set(**{name: name == "module_local_params" for name in kept})
        yield
    finally:
        torch.set_default_dtype(before)
        runtime._PYRO_STACK[:] = stack
        runtime._DIM_ALLOCATOR._stack[:] = dims
        pyro.settings.set(**kept)
