"""A target on an unconstrained vector: ``log p(u) = log p(theta(u)) + log |d theta / d u|``.

Every parameter is carried to real coordinates by the bijection of its support; the coordinates of all parameters are
laid out in one vector, in program order.

>>> import torch
>>> from torch.distributions import constraints
>>> from pcm.infer.target import Target
>>> space = Unconstrained(Target(
...     log_density=lambda theta: -theta["rate"],
...     supports={"rate": constraints.positive},
...     initial={"rate": torch.ones((), dtype=torch.float64)},
... ))
>>> space.log_density(torch.zeros(1, dtype=torch.float64))      # -exp(0) + 0
tensor(-1., dtype=torch.float64)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pcm.errors import FitError, listed
from pcm.infer.bijections import IDENTITY, bijection
from pcm.infer.target import Target

__all__ = ["Unconstrained"]

CHUNK = 200_000  # rows of data × simultaneous evaluations: a few columns of float64 stay within the cache


class Unconstrained:
    """A :class:`~pcm.infer.target.Target` seen as a log density of one real vector.

    Parameters
    ----------
    target
        The density over constrained values.
    jacobian
        Whether the density is taken with respect to the vector (True: what samplers and Laplace need) or stays the
        density of the constrained values (False: what a MAP estimate maximises).
    method
        Name of the method asking, for messages.

    Raises
    ------
    FitError
        If a parameter is discrete, or its support has no bijection with real coordinates.
    """

    def __init__(self, target: Target, *, jacobian: bool = True, method: str = "this method") -> None:
        self.target = target
        self.jacobian = jacobian
        self.names = target.names
        self._transforms = {name: bijection(name, support, method) for name, support in target.supports.items()}
        self._shapes = {
            name: tuple(transform.inverse_shape(target.initial[name].shape))
            for name, transform in self._transforms.items()
        }
        self._sizes = [math.prod(shape) for shape in self._shapes.values()]
        self.dimension = sum(self._sizes)
        self._batched: Callable[[dict[str, Tensor]], Tensor] | None = target.batched
        self.batching = "given" if target.batched is not None else "untried"
        self.differentiation = "none"

    # -- layout ----------------------------------------------------------------------------------------------------

    def vector(self, values: dict[str, Tensor] | None = None) -> Tensor:
        """The coordinates ``(coordinate,)`` of constrained values; of the initial ones by default.

        A value on the edge of its support, whose coordinate would be infinite, is moved to coordinate 0.
        """
        values = dict(self.target.initial) if values is None else values
        parts = []
        for name, transform in self._transforms.items():
            part = transform.inv(values[name].detach().to(torch.float64)).reshape(-1)
            parts.append(torch.where(torch.isfinite(part), part, torch.zeros_like(part)))
        return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)

    def values(self, vector: Tensor) -> dict[str, Tensor]:
        """Constrained values ``(…, *event)`` of coordinates ``(…, coordinate)``."""
        return self._split(vector)[0]

    def owners(self, weights: Tensor, share: float = 0.1) -> list[str]:
        """Parameters that a direction ``(coordinate,)`` moves by at least ``share`` of its largest part."""
        large = weights.abs() >= share * weights.abs().max()
        return [name for name, part in zip(self.names, large.split(self._sizes), strict=True) if bool(part.any())]

    # -- density ---------------------------------------------------------------------------------------------------

    def log_density(self, vector: Tensor) -> Tensor:
        """Log density at one point ``(coordinate,)``; scalar, differentiable."""
        values, log_jacobian = self._split(vector)
        return self.target.log_density(values) + log_jacobian

    def log_densities(self, vectors: Tensor) -> Tensor:
        """Log densities ``(draw,)`` at points ``(draw, coordinate)``; NaN counts as outside (−inf)."""
        with torch.no_grad():
            return torch.nan_to_num(self.differentiable_log_densities(vectors), nan=-math.inf, posinf=math.inf)

    def differentiable_log_densities(self, vectors: Tensor) -> Tensor:
        """As :meth:`log_densities`, with gradients and without a cover for NaN."""
        values, log_jacobian = self._split(vectors)
        if not self.names:
            return self.target.log_density({}).expand(vectors.shape[0])
        if self._batched is None:
            self._batched = self._find_batched(values)
        return self._batched(values) + log_jacobian

    def value_and_gradient(self, vector: Tensor) -> tuple[float, Tensor]:
        """Log density and its gradient ``(coordinate,)`` at one point."""
        vector = vector.detach().requires_grad_()
        value = self.log_density(vector)
        if not value.requires_grad:
            raise FitError(
                f"The log density does not depend on the parameters {listed(self.names)} in a differentiable way. "
                "Compute it with torch operations from the values given."
            )
        (gradient,) = torch.autograd.grad(value, vector)
        return float(value.detach()), gradient

    def hessian(self, vector: Tensor) -> Tensor:
        """Second derivatives ``(coordinate, coordinate)`` of the log density at one point.

        Reverse over reverse, a chunk of rows at a time; row by row where the operations cannot be batched; where one
        has no second derivative, central differences of the gradient. ``differentiation`` says which. The first
        result is checked against a difference of gradients, because torch takes some operations without a second
        derivative (``once_differentiable``) for constants, silently.
        """
        for way, rows in (("batched rows", max(1, CHUNK // self.target.size)), ("rows", 0)):
            if self.differentiation in ("none", way):
                try:
                    hessian = self._reverse_hessian(vector, rows)
                    if self.differentiation == "none" and not self._agrees(vector, hessian):
                        continue
                    self.differentiation = way
                    return _symmetric(hessian)
                except RuntimeError:  # an operation without a batching rule, or without a second derivative
                    self.differentiation = "none"
        self.differentiation = "differences of the gradient"
        return _symmetric(self._difference_hessian(vector))

    # -- private ---------------------------------------------------------------------------------------------------

    def _split(self, vector: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        lead = vector.shape[:-1]
        values: dict[str, Tensor] = {}
        log_jacobian = vector.new_zeros(lead)
        for part, (name, transform) in zip(vector.split(self._sizes, -1), self._transforms.items(), strict=True):
            part = part.reshape(lead + self._shapes[name])
            value = transform(part)
            values[name] = value
            if self.jacobian and transform is not IDENTITY:
                log_det = transform.log_abs_det_jacobian(part, value)
                extra = tuple(range(len(lead), log_det.ndim))
                log_jacobian = log_jacobian + (log_det.sum(extra) if extra else log_det)
        return values, log_jacobian

    def _find_batched(self, values: dict[str, Tensor]) -> Callable[[dict[str, Tensor]], Tensor]:
        chunk = max(1, CHUNK // self.target.size)
        mapped = torch.func.vmap(self.target.log_density, chunk_size=chunk)
        try:
            mapped({name: value[:1].detach() for name, value in values.items()})
            self.batching = "vmap"
            return mapped
        except Exception:  # whatever vmap cannot map is run draw by draw; a fault of the density itself shows there
            self.batching = "loop"
            return self._looped

    def _looped(self, values: dict[str, Tensor]) -> Tensor:
        draws = next(iter(values.values())).shape[0]
        return torch.stack(
            [self.target.log_density({name: value[draw] for name, value in values.items()}) for draw in range(draws)]
        )

    def _reverse_hessian(self, vector: Tensor, rows: int) -> Tensor:
        vector = vector.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.log_density(vector), vector, create_graph=True)
        if not gradient.requires_grad:
            return torch.zeros(self.dimension, self.dimension, dtype=vector.dtype)
        if not rows:
            return torch.stack([torch.autograd.grad(part, vector, retain_graph=True)[0] for part in gradient])
        directions = torch.eye(self.dimension, dtype=vector.dtype).split(rows)
        found = [
            torch.autograd.grad(gradient, vector, some, retain_graph=True, is_grads_batched=True)[0]
            for some in directions
        ]
        return torch.cat(found)

    def _agrees(self, vector: Tensor, hessian: Tensor) -> bool:
        """Whether the Hessian tells how the gradient changes along one direction that moves every coordinate."""
        direction = (1.0 + vector.abs()) * torch.linspace(-1.0, 1.3, self.dimension, dtype=vector.dtype).sign()
        step = 1e-4
        up, down = (self.value_and_gradient(vector + side * direction)[1] for side in (step, -step))
        if not bool(torch.isfinite(up).all() and torch.isfinite(down).all()):
            return True
        change, told = (up - down) / (2.0 * step), hessian @ direction
        size = hessian.abs() @ direction.abs() + change.abs()
        rounding = 1e-12 * (up.abs() + down.abs()) / step
        return bool(((change - told).abs() <= 0.01 * size + 1e-8 * size.max() + rounding).all())

    def _difference_hessian(self, vector: Tensor) -> Tensor:
        step = 1e-5 * (1.0 + vector.abs())
        rows = []
        for index in range(self.dimension):
            shift = torch.zeros_like(vector)
            shift[index] = step[index]
            up, down = self.value_and_gradient(vector + shift)[1], self.value_and_gradient(vector - shift)[1]
            rows.append((up - down) / (2.0 * step[index]))
        return torch.stack(rows)


def _symmetric(matrix: Tensor) -> Tensor:
    return 0.5 * (matrix + matrix.mT)
