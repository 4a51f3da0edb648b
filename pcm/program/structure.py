"""What is known of a program after it has been read: its sites, their shapes, its graph.

>>> Site("labs", "variable", event=(2,)).shape(5)
(5, 2)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from pcm.couplings import Coupling
from pcm.graph import CausalGraph

__all__ = ["Site", "Structure"]


@dataclass(frozen=True)
class Site:
    """One statement of a program.

    Attributes
    ----------
    name : str
    kind : "variable", "deterministic", "covariate" or "parameter"
    inner : tuple of int
        Sizes of plates inside a unit, left of the unit dim.
    event : tuple of int
        Event shape, right of the unit dim (a parameter's whole shape).
    family : str
        Name of the distribution's class ("" for deterministic sites and covariates).
    coupling : Coupling or None
        Its structural equation.
    cardinality : int or None
        Number of categories where values are 0..K-1 (or one-hot rows).
    support : constraint or None
        What values it can take (as seen when the program was read).
    dtype : torch.dtype
        Of its values.
    noise : tuple of int
        Dims of its noise right of the unit dim.
    breadth : int
        Numbers held for one value while it is drawn or averaged over.
    joint : int
        Trailing event dims that one distribution spans: their cells may depend on each other.
    mechanism : hashable or None
        The private mechanism whose answer it is.
    """

    name: str
    kind: str
    inner: tuple[int, ...] = ()
    event: tuple[int, ...] = ()
    family: str = ""
    coupling: Coupling | None = None
    cardinality: int | None = None
    support: Any = None
    dtype: torch.dtype = torch.float64
    noise: tuple[int, ...] = ()
    breadth: int = 1
    joint: int = 0
    one_hot: bool = False
    ordered: bool = True
    mechanism: Any = None

    def shape(self, units: int) -> tuple[int, ...]:
        """Shape of its values: ``(*inner, unit, *event)``."""
        return (*self.inner, units, *self.event)

    @property
    def scalar(self) -> bool:
        """Whether it has one number a unit."""
        return not self.inner and not self.event

    @property
    def discrete(self) -> bool:
        return self.coupling is not None and self.coupling.discrete


@dataclass(frozen=True)
class Structure:
    """All sites of a program in program order, and its graph.

    ``parametric`` names the deterministic sites that a parameter moves; ``plans`` keeps what worlds have worked out.
    """

    sites: dict[str, Site]
    parameters: dict[str, Site]
    graph: CausalGraph
    parametric: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    plans: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables (deterministic ones and covariates too), in program order."""
        return tuple(self.sites)

    @cached_property
    def stochastic(self) -> tuple[str, ...]:
        """Names of the sites with a distribution, in program order."""
        return tuple(self.of_kind("variable"))

    @cached_property
    def covariates(self) -> tuple[str, ...]:
        return tuple(self.of_kind("covariate"))

    @cached_property
    def position(self) -> dict[str, int]:
        """Place of each variable in program order."""
        return {name: place for place, name in enumerate(self.sites)}

    def of_kind(self, kind: str) -> Iterator[str]:
        return (name for name, site in self.sites.items() if site.kind == kind)
