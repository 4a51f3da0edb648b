"""Reading a distribution's parameters as they were given: compact, unclamped, compared without surprises.

``Normal(loc, 0.5)`` expands its scalar over all units; :func:`compact` takes the expansion back, so that a million
units cost one number. ``Bernoulli.logits`` of a distribution built from ``probs`` is clamped at 2e-16; here the
parameter that was given is read.

>>> import torch
>>> compact(torch.tensor(0.5).expand(1_000_000)).shape
torch.Size([])
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch  # pyright: ignore[reportAttributeAccessIssue]

__all__ = [
    "all_lanes",
    "compact",
    "concrete",
    "given_logits",
    "identical",
    "log_probabilities",
    "logit",
    "plain",
    "quiet_log_prob",
]


def compact(tensor: Tensor) -> Tensor:
    """The tensor with expanded (stride 0) dims shrunk to size 1, all of them to a scalar; it still broadcasts."""
    strides = tensor.stride()
    if 0 not in strides:
        return tensor
    if not any(strides):
        return tensor[(0,) * len(strides)] if tensor.numel() else tensor
    return tensor[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in strides)]


def plain() -> bool:
    """Whether operations run here and now: no functorch transform, no dispatch mode (tracing), no compilation."""
    return (
        _functorch.peek_interpreter_stack() is None
        and torch._C._len_torch_dispatch_stack() == 0
        and not torch.compiler.is_compiling()
    )


def concrete(tensor: Tensor) -> bool:
    """Whether the tensor's numbers may be read: neither batched by ``vmap`` nor traced nor a tensor subclass."""
    return (
        type(tensor) is Tensor
        and not _functorch.is_functorch_wrapped_tensor(tensor)
        and torch._C._len_torch_dispatch_stack() == 0
        and not torch.compiler.is_compiling()
    )


def all_lanes(tensor: Tensor) -> Tensor | None:
    """The numbers of a tensor, those of every lane where ``vmap`` batches it (its dims are then in any order), to be
    looked at and not computed with; None where there are none to read (tracing, compilation)."""
    while _functorch.is_functorch_wrapped_tensor(tensor):
        tensor = _functorch.get_unwrapped(tensor)
    return tensor.detach() if concrete(tensor) else None


def identical(first: Tensor, second: Tensor) -> bool:
    """Whether two parameters are known to be equal; False where that cannot be told (vmap, tracing)."""
    if first is second:
        return True
    if type(first) is type(second) is Tensor and first.dim() == second.dim() == 0 and plain():
        return first.item() == second.item()
    if not (concrete(first) and concrete(second)):
        return False
    first, second = compact(first), compact(second)
    return first.shape == second.shape and torch.equal(first, second)


def given_logits(fn: Any) -> bool:
    """Whether ``fn`` was built from ``logits`` (and not from ``probs``)."""
    given = fn.__dict__
    if "logits" not in given:
        return False
    # either may be a cached conversion of the other; torch keeps the one that was given as _param
    return "probs" not in given or given.get("_param") is not given["probs"]


def logit(fn: Any) -> Tensor:
    """Log odds of a Bernoulli-like parameter, unclamped (``probs`` of 1e-300 gives -690.8); shape (batch)."""
    if given_logits(fn):
        return fn.logits
    probs = fn.probs
    return torch.log(probs) - torch.log1p(-probs)


def log_probabilities(fn: Any) -> Tensor:
    """Normalised log-probabilities of a categorical, ``-inf`` where the probability is 0; shape (batch, category)."""
    # OneHotCategorical keeps its parameters in an inner Categorical
    fn = getattr(fn, "_categorical", fn)
    return fn.logits if given_logits(fn) else torch.log(fn.probs)


def quiet_log_prob(fn: Any, value: Tensor) -> Tensor:
    """Log density without the distribution's own check of its argument."""
    checked, fn._validate_args = fn._validate_args, False
    try:
        return fn.log_prob(value)
    finally:
        fn._validate_args = checked
