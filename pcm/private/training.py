"""DP-SGD [1]_: networks trained on clipped, noised gradients of random batches, paid for by the ledger.

Each step takes every row with probability q, clips its gradient to a norm, adds ``N(0, (σ · norm)²)`` to the sum: a
Poisson-subsampled Gaussian event, composed over the steps, promised for a row added or removed. The debit is on disk
before the first step. Opacus clips and noises (``pip install 'pcm-causal[private-training]'``). The trained network may
be published, or stand in a program as a mechanism: there a bare network is constant.

Opacus draws its noise in floating point, from torch's generator seeded by the operating system: the low-order bits of
single gradients are not protected as the releases of :mod:`pcm.private` are.

References
----------
.. [1] Abadi, Chu, Goodfellow, McMahan, Mironov, Talwar, Zhang (2016). Deep learning with differential privacy. CCS.

>>> from pcm import private
>>> ledger = private.Ledger(epsilon=8.0, delta=1e-5)
>>> _ = ledger.book("net", event_of(noise_multiplier=1.5, sampling=0.01, steps=500), neighbouring="add_remove")
>>> 0.5 < ledger.spent < 2.0
True
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from pcm.errors import ArgumentError, DataError, FitError, MissingExtraError
from pcm.private.checks import check_ledger
from pcm.private.ledger import Ledger
from pcm.private.sampler import accounting

__all__ = ["Training", "dp_sgd", "event_of"]


@dataclass(frozen=True)
class Training:
    """What a private training was.

    Attributes
    ----------
    steps : int
    sampling : float
        Probability with which a row is in a batch.
    noise_multiplier : float
        Standard deviation of the noise in units of the clipping norm.
    entry : int
        Where the ledger booked it.
    """

    steps: int
    sampling: float
    noise_multiplier: float
    entry: int


def event_of(*, noise_multiplier: float, sampling: float, steps: int) -> Any:
    """The loss of a training, for one row added or removed, as a dp-accounting event."""
    module = accounting()
    step = module.PoissonSampledDpEvent(sampling, module.GaussianDpEvent(noise_multiplier))
    return module.SelfComposedDpEvent(step, steps)


def dp_sgd(
    module: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    ledger: Ledger,
    *,
    name: str,
    loss: Callable[[Tensor, Tensor], Tensor],
    noise_multiplier: float,
    clip: float = 1.0,
    batch: int = 256,
    epochs: int = 10,
    learning_rate: float = 0.01,
    seed: int | None = None,
) -> Training:
    """Train a network in place, by Adam on private gradients.

    Parameters
    ----------
    module : Module
        Of layers that treat rows apart (no batch normalisation).
    inputs, targets : Tensor ``(row, …)``
        One row for each unit of privacy. Scale them by public constants, never by the data's own.
    ledger : Ledger
        With δ > 0 or a zero-concentrated budget; add/remove guarantees are doubled where it counts rows replaced.
    name : str
        What the ledger calls it.
    loss : callable
        Output and targets to a loss a row ``(row,)``.
    noise_multiplier, clip : float
        Standard deviation of the noise in units of ``clip``, the norm to which a row's gradient is cut.
    batch : int
        Expected size of a batch.
    epochs : int
    learning_rate : float
    seed : int, optional
        For studies and tests: whoever knows it can take the noise off again.

    Raises
    ------
    ArgumentError, DataError
        Numbers that are not positive, rows that do not match, empty cells.
    BudgetError
        The ledger cannot pay; nothing is trained.
    FitError
        A layer that mixes rows.

    Examples
    --------
    >>> import torch
    >>> from pcm import private
    >>> x = torch.linspace(-1, 1, 600)[:, None]
    >>> net, ledger = torch.nn.Linear(1, 1), private.Ledger(epsilon=9.0, delta=1e-5)
    >>> done = dp_sgd(net, x, 0.7 * x, ledger, name="net", loss=lambda out, y: (out - y).square()[:, 0],
    ...               noise_multiplier=2.0, batch=60, epochs=20, learning_rate=0.05, seed=0)
    >>> done.steps, abs(float(net.weight.detach()) - 0.7) < 0.2, ledger.spent < 9.0
    (200, True, True)
    """
    _check(ledger, inputs, targets, name=name, seed=seed)
    for asked, value in {"noise_multiplier": noise_multiplier, "clip": clip, "learning_rate": learning_rate}.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise ArgumentError(f"dp_sgd({asked}={value!r}): a positive, finite number is needed.")
    for asked, value in {"batch": batch, "epochs": epochs}.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ArgumentError(f"dp_sgd({asked}={value!r}): a whole number of at least 1 is needed.")
    if not isinstance(module, nn.Module) or not any(leaf.requires_grad for leaf in module.parameters()):
        raise ArgumentError(f"dp_sgd: {module!r} is no torch module with weights to train. Nothing was debited.")
    opacus = _opacus()
    problems = import_module("opacus.validators").ModuleValidator.validate(module, strict=False)
    if problems:
        raise FitError(f"dp_sgd: {problems[0]} Replace the layer; nothing was debited.")
    _rehearse(module, loss, inputs, targets)
    number = math.ceil(len(inputs) / min(batch, len(inputs)))
    sampling, steps = 1.0 / number, epochs * number
    event = event_of(noise_multiplier=float(noise_multiplier), sampling=sampling, steps=steps)
    entry = ledger.book(name, event, neighbouring="add_remove")
    seeds = torch.Generator().manual_seed(int.from_bytes(os.urandom(7), "big") if seed is None else seed)
    samples, noise = (torch.Generator().manual_seed(int(s)) for s in torch.randint(2**62, (2,), generator=seeds))
    module.train()
    wrapped = opacus.GradSampleModule(module, loss_reduction="sum")
    adam = torch.optim.Adam(module.parameters(), lr=learning_rate)
    optimiser = import_module("opacus.optimizers").DPOptimizer(
        adam,
        noise_multiplier=noise_multiplier,
        max_grad_norm=clip,
        expected_batch_size=max(1, round(sampling * len(inputs))),
        loss_reduction="sum",
        generator=noise,
    )
    try:
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.filterwarnings("ignore", message=".*(backward hook|non-writable|zero_grad).*")
            for _ in range(steps):
                chosen = torch.rand(len(inputs), generator=samples, dtype=torch.float64) < sampling
                _step(wrapped, optimiser, loss, inputs[chosen], targets[chosen])
    finally:
        wrapped.to_standard_module()
        module.eval()
    return Training(steps, sampling, float(noise_multiplier), entry)


# -- private -------------------------------------------------------------------------------------------------------


def _rehearse(module: nn.Module, loss: Any, inputs: Tensor, targets: Tensor) -> None:
    """One pass over two rows of zeros, so that what does not fit together is found before it is paid for."""
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            two, answers = (torch.zeros(2, *each.shape[1:], dtype=each.dtype) for each in (inputs, targets))
            shape = tuple(loss(module(two.to(inputs.device)), answers.to(targets.device)).shape)
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise ArgumentError(
            f"dp_sgd: no loss of the module for rows {tuple(inputs.shape[1:])} ({inputs.dtype}) and targets "
            f"{tuple(targets.shape[1:])} ({targets.dtype}): {error}. Nothing was debited."
        ) from error
    if shape != (2,):
        raise ArgumentError(
            f"dp_sgd(loss=…): a loss a row is needed; of 2 rows it has the shape {shape} (torch's losses take "
            "reduction='none'). Nothing was debited."
        )


def _step(wrapped: Any, optimiser: Any, loss: Any, inputs: Tensor, targets: Tensor) -> None:
    optimiser.zero_grad()
    if len(inputs):
        rows = loss(wrapped(inputs), targets)
        rows.sum().backward()
    else:  # nobody was drawn: noise alone, as for any other batch
        for leaf in optimiser.params:
            leaf.grad_sample = torch.zeros(0, *leaf.shape, dtype=leaf.dtype)
    optimiser.step()


def _check(ledger: Any, inputs: Any, targets: Any, *, name: Any, seed: Any) -> None:
    check_ledger(ledger, "dp_sgd(…, ledger)")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise ArgumentError(f"dp_sgd(seed={seed!r}): a whole number, or None.")
    if not isinstance(name, str) or not name:
        raise ArgumentError("dp_sgd(name=…): what is trained needs a name for the ledger.")
    if not isinstance(inputs, Tensor) or not isinstance(targets, Tensor) or not len(inputs):
        raise DataError("dp_sgd: inputs and targets are tensors with a row for each unit.")
    if len(inputs) != len(targets):
        raise DataError(f"dp_sgd: {len(inputs)} rows of inputs and {len(targets)} of targets.")
    for what, value in (("inputs", inputs), ("targets", targets)):
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise DataError(f"dp_sgd: the {what} hold values that are not finite. Nothing was debited.")


def _opacus() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its imports warn of what they deprecate themselves
            return import_module("opacus")
    except ModuleNotFoundError:
        raise MissingExtraError("opacus", "private-training", "DP-SGD") from None
