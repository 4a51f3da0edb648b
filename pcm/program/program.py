"""A Pyro program made ready to run: its signature, its dtype, its own copies of networks and ``pyro.param`` values.

>>> import pyro, pyro.distributions as dist
>>> def pair(n, *, age):
...     slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
...     with pyro.plate("units", n):
...         pyro.sample("y", dist.Normal(slope * age, 1.0))
>>> program = Program(pair)
>>> program.variables, program.parameters, program.covariates
(('age', 'y'), ('slope',), ('age',))
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from pyro.nn import PyroModule
from torch import Tensor, nn
from torch.distributions import biject_to, constraints

from pcm.errors import ProgramError, listed
from pcm.program.analyse import analyse
from pcm.program.handler import Act, answer, sealed, units_plate
from pcm.program.modules import converted
from pcm.program.structure import Structure

__all__ = ["Program"]

_DTYPES = (torch.float32, torch.float64)


class Program:
    """A user's program with everything a run needs.

    Parameters
    ----------
    function : callable
        ``program()``, ``program(n)`` or ``program(n, *, covariate, …)``.
    dtype : torch.float64 or torch.float32
        Default dtype under which it runs.
    couplings : mapping of site to coupling name, optional

    Raises
    ------
    ProgramError, UnitMixingError, CouplingError
        Where it cannot be read as a structural causal model; the message names the site.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        dtype: torch.dtype = torch.float64,
        couplings: Mapping[str, str] | None = None,
        categories: Mapping[str, tuple[Any, ...]] | None = None,
    ) -> None:
        if dtype not in _DTYPES:
            raise ProgramError(f"dtype={dtype} is not one a program can run in; choose torch.float64 or torch.float32.")
        self.name = getattr(function, "__name__", type(function).__name__)
        self.source = function
        self.dtype = dtype
        self.implicit, covariates = _signature(function, self.name)
        self.function, self.modules = converted(function, dtype)
        self.has_modules = _check_modules(self.modules)
        self.params: dict[str, tuple[Tensor, Any]] = {}
        self.couplings, self._covariates = dict(couplings or {}), covariates
        self.structure: Structure = analyse(self, covariates, self.couplings, dict(categories or {}))

    def __repr__(self) -> str:
        return f"Program({self.name}: {listed(self.variables)})"

    @property
    def variables(self) -> tuple[str, ...]:
        return self.structure.variables

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(self.structure.parameters)

    @property
    def covariates(self) -> tuple[str, ...]:
        return self.structure.covariates

    @property
    def graph(self) -> Any:
        return self.structure.graph

    @property
    def trainable(self) -> dict[str, Tensor]:
        """Unconstrained leaves behind ``pyro.param`` and PyroModule weights, by name."""
        leaves = {name: leaf for name, (leaf, _) in self.params.items()}
        for module_name, net in self.modules.items():
            if any(isinstance(part, PyroModule) for part in net.modules()):
                leaves.update({f"{module_name}.{key}": leaf for key, leaf in net.named_parameters()})
        return leaves

    def copy(self) -> Program:
        """The same program over its own networks and ``pyro.param`` values: a fit then changes no one else's."""
        other = copy.copy(self)
        if self.trainable:
            other.function, other.modules = converted(self.function, self.dtype)
            other.params = {
                name: (leaf.detach().clone(), constraint) for name, (leaf, constraint) in self.params.items()
            }
        return other

    @contextmanager
    def sealed(self, *, grad: bool = False) -> Iterator[None]:
        """Context of a query: dtype, no validation, the user's handlers and stores set aside; ``grad`` for a fit."""
        with sealed(self.dtype, modules=self.has_modules, grad=grad):
            yield

    def execute(self, act: Act, units: int, covariates: Mapping[str, Tensor] | None = None) -> None:
        """One run with every sample statement answered by ``act``; inside :meth:`sealed`."""
        handler = answer(act, self._param)
        kwargs = {name: covariates[name] for name in self._covariates} if covariates else {}
        if self.implicit:
            with units_plate(units), handler:
                self.function(**kwargs)
        else:
            with handler:
                self.function(units, **kwargs)

    def _param(self, msg: Any) -> Tensor | None:
        """Value of a ``pyro.param`` statement, from this program's own copy; None for a PyroModule's own parameter."""
        name = msg["name"]
        if name not in self.params:
            value = msg["args"][1] if len(msg["args"]) > 1 else None
            if isinstance(value, nn.Parameter):  # a PyroModule announces the weight it reads
                return value
            if value is None:
                if name in pyro.get_param_store():
                    return None
                raise ProgramError(f"pyro.param('{name}') has no initial value; give it one.", site=name)
            value = value() if callable(value) else value
            constraint = msg["kwargs"].get("constraint", constraints.real)
            value = value.detach().to(self.dtype if value.is_floating_point() else value.dtype)
            self.params[name] = (biject_to(constraint).inv(value).detach().clone(), constraint)
        leaf, constraint = self.params[name]
        return biject_to(constraint)(leaf)


def _check_modules(modules: Mapping[str, nn.Module]) -> bool:
    """Whether there are PyroModules among the networks; two that share a parameter name would share its value."""
    seen: dict[str, str] = {}
    found = False
    for module_name, net in modules.items():
        if not isinstance(net, PyroModule):
            found |= any(isinstance(part, PyroModule) for part in net.modules())
            continue
        found = True
        for key, _ in net.named_pyro_params():
            full = f"{net._pyro_name}.{key}" if net._pyro_name else key
            if full in seen:
                raise ProgramError(
                    f"PyroModules '{seen[full]}' and '{module_name}' both have a PyroParam '{full}', which Pyro would "
                    f"take for one parameter; give one a name: {type(net).__name__}(name=…)."
                )
            seen[full] = module_name
    return found


def _signature(function: Callable[..., Any], name: str) -> tuple[bool, tuple[str, ...]]:
    """Whether the program is implicit, and the names of its covariates."""
    if not callable(function):
        raise ProgramError(
            f"{function!r} is not a program: pcm.SCM takes a callable that contains pyro.sample statements."
        )
    target = function.forward if isinstance(function, nn.Module) else function
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError) as error:
        raise ProgramError(
            f"the signature of program {name} cannot be read ({error}); wrap it in a plain function."
        ) from error
    positional, covariates = [], []
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            if parameter.default is parameter.empty:
                positional.append(parameter.name)
        elif parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            covariates.append(parameter.name)
    if len(positional) > 1:
        raise ProgramError(
            f"program {name} takes {len(positional)} positional arguments ({listed(positional)}); it may take one, "
            "the number of units. Covariates are keyword-only: "
            f"def {name}({positional[0]}, *, {', '.join(positional[1:])})."
        )
    return not positional, tuple(covariates)
