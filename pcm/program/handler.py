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
tensor([1., 1., 1.])
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pyro
import torch
from pyro.poutine import runtime
from pyro.poutine import util as poutine_util
from pyro.poutine.indep_messenger import IndepMessenger
from pyro.poutine.messenger import Messenger
from pyro.poutine.subsample_messenger import _Subsample
from torch import Tensor
from torch.distributions import Distribution

__all__ = ["Act", "answer", "is_deterministic", "sealed", "units_frame", "units_plate"]

#: Answers one ``sample`` statement: takes Pyro's message, returns the site's value.
Act = Callable[[Any], Tensor]

UNITS = "units"
_inside: list[torch.dtype] = []


@functools.lru_cache(maxsize=4)
def _indices(size: int) -> Tensor:
    return torch.arange(size)


class answer(Messenger):
    """Handler that answers every sample statement by ``act`` and ``pyro.param`` by ``param`` (None: Pyro's own way)."""

    def __init__(self, act: Act, param: Callable[[Any], Tensor | None] | None = None) -> None:
        super().__init__()
        self.act = act
        self.param = param

    def _process_message(self, msg: Any) -> None:
        kind = msg["type"]
        if kind == "sample":
            if type(msg["fn"]) is _Subsample:  # a plate asks for its indices
                if msg["value"] is None and msg["fn"].subsample_size in (None, msg["fn"].size):
                    msg["value"] = _indices(int(msg["fn"].size))
            else:
                msg["value"] = self.act(msg)
            msg["done"] = True
        elif kind == "param" and self.param is not None:
            msg["value"] = self.param(msg)
            msg["done"] = msg["value"] is not None
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
def sealed(dtype: torch.dtype, *, modules: bool = False, grad: bool = False) -> Iterator[None]:
    """Default dtype, validation off, empty handler stack; everything is put back as it was.

    ``modules`` says that the program holds PyroModules, which write their parameters to Pyro's store: an empty one
    stands in for the user's meanwhile. ``grad`` records operations for differentiation, which queries do not need.
    """
    stack, dims = list(runtime._PYRO_STACK), list(runtime._DIM_ALLOCATOR._stack)
    runtime._PYRO_STACK.clear()
    runtime._DIM_ALLOCATOR._stack.clear()
    try:
        # a run inside a run has its own handlers, under the settings that are already there
        with (
            torch.inference_mode(False),
            torch.set_grad_enabled(grad),
            nullcontext() if _inside[-1:] == [dtype] else _settings(dtype),
            pyro.get_param_store().scope(_empty()) if modules else nullcontext(),
        ):
            yield
    finally:
        runtime._PYRO_STACK[:] = stack
        runtime._DIM_ALLOCATOR._stack[:] = dims


@contextmanager
def _settings(dtype: torch.dtype) -> Iterator[None]:
    # by attribute: pyro.settings looks its modules up anew at every call, six times a query
    before = torch.get_default_dtype()
    distributions, poutine = Distribution._validate_args, poutine_util._VALIDATION_ENABLED
    try:
        torch.set_default_dtype(dtype)
        Distribution._validate_args = poutine_util._VALIDATION_ENABLED = False
        _inside.append(dtype)
        yield
    finally:
        _inside.pop()
        torch.set_default_dtype(before)
        Distribution._validate_args, poutine_util._VALIDATION_ENABLED = distributions, poutine


def _empty() -> Any:
    return {"params": {}, "constraints": {}}
