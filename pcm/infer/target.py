"""What inference is about: a log density over named, constrained parameters.

``Target`` is the only thing a method of inference sees of a program, so that methods know nothing of programs:
``log p(theta) + log p(data | theta)``, the support and the shape of every parameter, and nothing else.

>>> import torch
>>> from torch.distributions import constraints
>>> target = Target(
...     log_density=lambda theta: -0.5 * theta["slope"] ** 2,
...     supports={"slope": constraints.real},
...     initial={"slope": torch.zeros((), dtype=torch.float64)},
... )
>>> target.names
('slope',)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor
from torch.distributions.constraints import Constraint

from pcm.errors import FitError, listed

__all__ = ["Target"]


@dataclass(frozen=True)
class Target:
    """A log density over named parameters, at their constrained values.

    Parameters
    ----------
    log_density
        Maps ``{name: value}`` to the scalar log p(theta) + log p(data | theta), in nats; differentiable. It may read
        the tensors of ``trainable``.
    supports
        Each parameter's support, in program order. A support must not depend on another parameter.
    initial
        A value of each parameter inside its support, float64; fixes the shapes.
    trainable
        Unconstrained leaf tensors with ``requires_grad`` (module weights, ``pyro.param``) that ``log_density`` reads
        in place. ``map`` and ``svi`` optimise them in place; ``laplace`` and ``nuts`` refuse them by name.
    dims
        Names of each parameter's axes, for ArviZ; a parameter may be missing.
    batched
        The same density for values ``(draw, …)``, giving ``(draw,)``. Without it ``torch.func.vmap`` is used, and a
        loop where that cannot be.
    units
        Number of rows of data; appears in messages.
    cost
        Values that a site takes in one evaluation, which sets the size of chunks; ``units`` by default.
    noised
        Variables and parameters of which the data have private answers; mean-field guides are refused then.

    Raises
    ------
    FitError
        If ``supports`` and ``initial`` name different parameters, or a trainable tensor is no leaf with a gradient.
    """

    log_density: Callable[[dict[str, Tensor]], Tensor]
    supports: Mapping[str, Constraint]
    initial: Mapping[str, Tensor]
    trainable: Mapping[str, Tensor] = field(default_factory=dict)
    dims: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    batched: Callable[[dict[str, Tensor]], Tensor] | None = None
    units: int = 1
    cost: int | None = None
    noised: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if set(self.supports) != set(self.initial):
            raise FitError(
                f"A target needs a support and an initial value for each parameter; supports: {listed(self.supports)}; "
                f"initial values: {listed(self.initial)}. Give both for the same names."
            )
        bad = [name for name, leaf in self.trainable.items() if not (leaf.is_leaf and leaf.requires_grad)]
        if bad:
            raise FitError(
                f"Trainable tensors must be leaves that require a gradient; {listed(bad)} are not. "
                "Pass the unconstrained tensor itself, not a value computed from it."
            )

    def refuse_trainable(self, method: str) -> None:
        """Raise :class:`~pcm.errors.FitError` naming the tensors to which ``method`` cannot give a posterior."""
        if self.trainable:
            raise FitError(
                f"method='{method}' gives a posterior to sample sites only, and the program also trains "
                f"{listed(self.trainable)}. Fit with method='map' or 'svi', which train them, or fix them with "
                "given(…).",
                trainable=list(self.trainable),
            )

    def refuse_mean_field(self, method: str) -> None:
        """Raise :class:`~pcm.errors.FitError` where a guide without correlations would be confidently wrong."""
        if self.noised:
            raise FitError(
                f"method='{method}' with a diagonal (mean-field) guide, and the data have private answers of "
                f"{listed(self.noised)}: what the noise leaves open is shared between the parameters, so a guide "
                "without correlations is confidently wrong. Use method='laplace' or 'nuts', or family='full'.",
                noised=list(self.noised),
            )

    @property
    def size(self) -> int:
        """Values that a site takes in one evaluation, at least 1."""
        return max(1, self.units if self.cost is None else self.cost)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, in program order."""
        return tuple(self.supports)
