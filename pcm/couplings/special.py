"""Special functions of scipy as torch operators: eager, under ``torch.func.vmap``, traced by ``make_fx``.

torch has no inverse of the incomplete gamma and beta functions. Here they work on signed log tails
(:mod:`pcm.couplings.tail`) in float64, elementwise with broadcasting:

===========================================  =================================================================
``gamma_tail(x, a)``                         tail of the regularised incomplete gamma function ``P(a, x)``
``gamma_quantile(t, a)``                     its inverse in ``x``
``beta_tail(p, q, a, b)``                    tail of ``I_p(a, b)``, with ``q = 1 - p`` given apart
``beta_quantile(t, a, b)``                   its inverse in ``p``
``beta_quantile_log(t, a, b)``               the same as the signed logarithm of ``p`` or ``1 - p``, either accurate
``student_quantile(t, df)``                  standard Student's t quantile
``normal_quantile(t)``                       standard normal quantile
``poisson_quantile(t, rate)``                smallest count whose tail is at least ``t``
``binomial_quantile(t, n, p, q)``            the same for the binomial
``negative_binomial_quantile(t, r, p, q)``   the same for the negative binomial
===========================================  =================================================================

Derivatives: in the value and in ``t`` in closed form, ``dt/dx = exp(log density + |t|)``; in the parameters by central
differences of fourth order (relative error about 1e-10). Counts have none. ``q`` is read as ``1 - p``: the derivative
in ``p`` is the total one.

>>> import torch
>>> x = torch.tensor(45.0, dtype=torch.float64, requires_grad=True)
>>> t = gamma_tail(x, torch.tensor(2.0, dtype=torch.float64))
>>> round(gamma_quantile(t, torch.tensor(2.0, dtype=torch.float64)).item(), 9)
45.0
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._library.custom_ops import CustomOpDef

from pcm.couplings import incomplete, search

__all__ = [
    "beta_quantile",
    "beta_quantile_log",
    "beta_tail",
    "binomial_quantile",
    "elementwise",
    "gamma_quantile",
    "gamma_tail",
    "negative_binomial_quantile",
    "normal_quantile",
    "poisson_quantile",
    "student_quantile",
]


def gamma_tail(x: Tensor, a: Tensor) -> Tensor:
    """Signed log tail of ``P(a, x)``; the broadcast shape."""
    return _gamma_tail(x, a)


def gamma_quantile(t: Tensor, a: Tensor) -> Tensor:
    """``x`` with ``gamma_tail(x, a) = t``; the broadcast shape."""
    return _gamma_quantile(t, a)


def beta_tail(p: Tensor, q: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Signed log tail of ``I_p(a, b)``; the broadcast shape."""
    return _beta_tail(p, q, a, b)


def beta_quantile(t: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """``p`` with ``beta_tail(p, 1 - p, a, b) = t``; the broadcast shape."""
    return _beta_quantile(t, a, b)


def beta_quantile_log(t: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Signed log tail ``log p`` or ``-log(1 - p)`` of the beta quantile ``p``; the broadcast shape."""
    return _beta_quantile_log(t, a, b)


def normal_quantile(t: Tensor) -> Tensor:
    """Standard normal quantile at signed log tail ``t``; same shape."""
    return _normal_quantile(t)


def student_quantile(t: Tensor, df: Tensor) -> Tensor:
    """Standard Student's t quantile at signed log tail ``t``; the broadcast shape."""
    return _student_quantile(t, df)


def poisson_quantile(t: Tensor, rate: Tensor) -> Tensor:
    """Smallest ``k`` with signed log tail of ``P(X <= k)`` at least ``t``; the broadcast shape."""
    return _poisson_quantile(t, rate)


def binomial_quantile(t: Tensor, n: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """Smallest ``k`` with signed log tail of ``P(X <= k)`` at least ``t``, ``q = 1 - p``; the broadcast shape."""
    return _binomial_quantile(t, n, p, q)


def negative_binomial_quantile(t: Tensor, r: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """Smallest ``k`` with signed log tail of ``P(X <= k)`` at least ``t``, ``q = 1 - p``; the broadcast shape."""
    return _negative_binomial_quantile(t, r, p, q)


# -- operators ---------------------------------------------------------------------------------------------------------


def elementwise(name: str, kernel: Callable[..., np.ndarray], arguments: str) -> CustomOpDef:
    """An elementwise float64 operator ``pcm::name`` from a numpy kernel on arrays of one shape."""
    names = arguments.split()

    def run(*tensors: Tensor) -> Tensor:
        arrays = [each.detach().cpu().to(torch.float64).numpy() for each in tensors]
        arrays = [np.ascontiguousarray(each).reshape(-1) for each in np.broadcast_arrays(*arrays)]
        with np.errstate(all="ignore"):
            result = kernel(*arrays)
        shape = torch.broadcast_shapes(*(each.shape for each in tensors))
        return torch.from_numpy(np.array(result, dtype=np.float64)).reshape(shape).to(tensors[0].device)

    schema = "(" + ", ".join(f"Tensor {each}" for each in names) + ") -> Tensor"
    operator = torch.library.custom_op(f"pcm::{name}", run, mutates_args=(), schema=schema)

    @operator.register_fake
    def _(*tensors: Tensor) -> Tensor:
        shape = torch.broadcast_shapes(*(each.shape for each in tensors))
        return torch.empty(shape, dtype=torch.float64, device=tensors[0].device)

    @operator.register_vmap
    def _(info: Any, in_dims: tuple[int | None, ...], *tensors: Tensor) -> tuple[Tensor, int]:
        # the mapped dim goes first, and every mapped tensor is lifted to the same rank behind it
        rank = max(each.dim() - (dim is not None) for each, dim in zip(tensors, in_dims, strict=True))
        lifted = []
        for each, dim in zip(tensors, in_dims, strict=True):
            if dim is not None:
                each = each.movedim(dim, 0)
                each = each.reshape(each.shape[:1] + (1,) * (rank - each.dim() + 1) + each.shape[1:])
            lifted.append(each)
        return operator(*lifted), 0

    return operator


def _differentiable(
    operator: CustomOpDef, derivative: Callable[..., tuple[Tensor | None, ...]]
) -> Callable[..., Tensor]:
    """The operator with partial derivatives ``derivative(output, needed, *inputs)``.

    An ``autograd.Function`` and not ``register_autograd``, which ``torch.func.grad`` refuses.
    """

    class Elementwise(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(*tensors: Tensor) -> Tensor:
            return operator(*tensors)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            ctx.save_for_backward(output, *inputs)

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
            output, *inputs = ctx.saved_tensors
            needed = ctx.needs_input_grad
            return tuple(
                None if partial is None or not wanted else (gradients[0] * partial).sum_to_size(each.shape)
                for partial, wanted, each in zip(derivative(output, needed, *inputs), needed, inputs, strict=True)
            )

    return Elementwise.apply


def _partial(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """Elementwise derivative by the five-point central difference."""
    step = 1e-3 * at.abs()
    near = function(at + step) - function(at - step)
    far = function(at + 2.0 * step) - function(at - 2.0 * step)
    return (8.0 * near - far) / (12.0 * step)


def _tail_partial(function: Callable[[Tensor], Tensor], at: Tensor, t: Tensor) -> Tensor:
    """The same of a signed log tail that is ``t`` here, on one side of its jump at the median."""

    def one_sided(at: Tensor) -> Tensor:
        found = function(at)
        crossed = (found > 0) != (t > 0)
        other = torch.log(-torch.expm1(-torch.where(crossed, found.abs(), 1.0)))
        return torch.where(crossed, -torch.sign(t) * other, found)

    return _partial(one_sided, at)


def _gamma_slope(x: Tensor, a: Tensor, t: Tensor) -> Tensor:
    return torch.exp((a - 1.0) * torch.log(x) - x - torch.lgamma(a) + t.abs())


def _beta_slope(p: Tensor, q: Tensor, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    norm = torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)
    return torch.exp((a - 1.0) * torch.log(p) + (b - 1.0) * torch.log(q) - norm + t.abs())


def _student_slope(x: Tensor, df: Tensor, t: Tensor) -> Tensor:
    norm = torch.lgamma((df + 1.0) / 2.0) - torch.lgamma(df / 2.0) - 0.5 * torch.log(df * torch.pi)
    return torch.exp(norm - (df + 1.0) / 2.0 * torch.log1p(x * x / df) + t.abs())


def _gamma_tail_partials(t: Tensor, needed: Any, x: Tensor, a: Tensor) -> tuple[Tensor | None, ...]:
    return _gamma_slope(x, a, t), _tail_partial(lambda a: gamma_tail(x, a), a, t) if needed[1] else None


def _gamma_quantile_partials(x: Tensor, needed: Any, t: Tensor, a: Tensor) -> tuple[Tensor | None, ...]:
    slope = _gamma_slope(x, a, t)
    return 1.0 / slope, -_tail_partial(lambda a: gamma_tail(x, a), a, t) / slope if needed[1] else None


def _beta_tail_partials(
    t: Tensor, needed: Any, p: Tensor, q: Tensor, a: Tensor, b: Tensor
) -> tuple[Tensor | None, ...]:
    in_a = _tail_partial(lambda a: beta_tail(p, q, a, b), a, t) if needed[2] else None
    in_b = _tail_partial(lambda b: beta_tail(p, q, a, b), b, t) if needed[3] else None
    return _beta_slope(p, q, a, b, t), None, in_a, in_b


def _beta_quantile_partials(p: Tensor, needed: Any, t: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor | None, ...]:
    q = 1.0 - p
    slope = _beta_slope(p, q, a, b, t)
    in_a = -_tail_partial(lambda a: beta_tail(p, q, a, b), a, t) / slope if needed[1] else None
    in_b = -_tail_partial(lambda b: beta_tail(p, q, a, b), b, t) / slope if needed[2] else None
    return 1.0 / slope, in_a, in_b


def _beta_quantile_log_partials(s: Tensor, needed: Any, t: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor | None, ...]:
    small = torch.exp(-s.abs())
    lower = s < 0
    p, q = torch.where(lower, small, 1.0 - small), torch.where(lower, 1.0 - small, small)
    slope = _beta_slope(p, q, a, b, t) * small
    in_a = -_tail_partial(lambda a: beta_tail(p, q, a, b), a, t) / slope if needed[1] else None
    in_b = -_tail_partial(lambda b: beta_tail(p, q, a, b), b, t) / slope if needed[2] else None
    return 1.0 / slope, in_a, in_b


def _normal_quantile_partials(x: Tensor, needed: Any, t: Tensor) -> tuple[Tensor | None, ...]:
    return (torch.exp(0.5 * x * x - t.abs()) * math.sqrt(2.0 * math.pi),)


def _student_quantile_partials(x: Tensor, needed: Any, t: Tensor, df: Tensor) -> tuple[Tensor | None, ...]:
    return 1.0 / _student_slope(x, df, t), _partial(lambda df: student_quantile(t, df), df) if needed[1] else None


_gamma_tail = _differentiable(elementwise("gamma_tail", incomplete.gamma_tail, "x a"), _gamma_tail_partials)
_gamma_quantile = _differentiable(
    elementwise("gamma_quantile", incomplete.gamma_quantile, "t a"), _gamma_quantile_partials
)
_beta_tail = _differentiable(elementwise("beta_tail", incomplete.beta_tail, "p q a b"), _beta_tail_partials)
_beta_quantile = _differentiable(
    elementwise("beta_quantile", incomplete.beta_quantile, "t a b"), _beta_quantile_partials
)
_student_quantile = _differentiable(
    elementwise("student_quantile", incomplete.student_quantile, "t df"), _student_quantile_partials
)
_beta_quantile_log = _differentiable(
    elementwise("beta_quantile_log", incomplete.beta_quantile_log, "t a b"), _beta_quantile_log_partials
)
_normal_quantile = _differentiable(
    elementwise("normal_quantile", incomplete.normal_quantile, "t"), _normal_quantile_partials
)
_poisson_quantile = elementwise("poisson_quantile", search.poisson_quantile, "t rate")
_binomial_quantile = elementwise("binomial_quantile", search.binomial_quantile, "t n p q")
_negative_binomial_quantile = elementwise("negative_binomial_quantile", search.negative_binomial_quantile, "t r p q")
