"""Outputs to audit: of a mechanism's real release, or of any sampler.

>>> read = read_source(lambda value, n: np.full(n, value), (0.0, 1.0), n=4, claimed=1.0)
>>> [draws.tolist() for draws in read.draws], read.numbers
([[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]], (0.0, 1.0))
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import ndtri

from pcm.arguments import check_count
from pcm.errors import ArgumentError, DataError
from pcm.private.checks import check_delta
from pcm.private.kernels import composed, gaussian_mu
from pcm.private.mechanism import Mechanism

__all__ = ["FEW", "Draws", "Source", "numeric", "read_source"]

Source = Any
"""A mechanism, or a callable ``(value, n) → array (n,)`` of independent outputs."""

FEW = 512
"""Distinct outputs up to which sets of them are looked at."""

_FEWEST = 4
_LEVEL = 1.645  # standard errors below the truth that a bound at 95 % lies on average


@dataclass(frozen=True)
class Draws:
    """Outputs under two inputs or more, and what was promised of them; by which mechanism, where it is known."""

    inputs: tuple[Any, ...]
    draws: tuple[np.ndarray, ...]
    claimed: float | None
    delta: float
    mu: float | None = None
    promise: Mechanism | None = None

    def law(self, seed: np.random.SeedSequence) -> tuple[np.ndarray, ...] | None:
        """As many draws of what the mechanism is said to be; none where one gives numbers and the other does not."""
        if self.promise is None:
            return None
        seeds = seed.generate_state(len(self.inputs)).tolist()
        made = tuple(
            self.promise.simulate(_alike(value, len(self.draws[0])), seed=each).values
            for value, each in zip(self.inputs, seeds, strict=True)
        )
        numbers = {each.dtype.kind in "biuf" for each in (*made, *self.draws)}
        return made if len(numbers) == 1 else None

    @property
    def numbers(self) -> tuple[float, float]:
        """The inputs as numbers."""
        return _pair(self.inputs)


def read_source(
    source: Source,
    inputs: tuple[Any, ...] | None = None,
    *,
    n: int,
    claimed: float | Mechanism | None = None,
    delta: float | None = None,
    seed: int | None = None,
    several: bool = False,
    low_bits: bool = False,
) -> Draws:
    """Draw ``n`` outputs under each of two inputs; under each of more as many as make ``2 n`` in all.

    ``several`` lets the default be all inputs of a finite mechanism, where they tell more at δ = 0; ``low_bits`` asks
    for two numbers and an ε. What does not fit is refused before anything is drawn.

    Raises
    ------
    ArgumentError
        No inputs, or equal ones; ``n`` below 4; a δ that is none; something that cannot be drawn from.
    DataError
        A sampler that returns another number of outputs than asked.
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < _FEWEST:
        raise ArgumentError(f"n={n!r}: a whole number of draws, at least {_FEWEST}, is needed.")
    delta = check_delta(0.0 if delta is None else delta)
    check_count(n, "n", bytes_each=16)
    mechanism = source if hasattr(source, "release") else None
    if mechanism is None and not callable(source):
        raise ArgumentError(f"{source!r} is neither a mechanism nor a callable (value, n) → outputs.")
    if not isinstance(claimed, Mechanism | float | int | np.number | None):
        raise ArgumentError(f"claimed={claimed!r}: the promised ε is a number, or the mechanism that promises it.")
    promise: Any = claimed if isinstance(claimed, Mechanism) else mechanism
    if inputs is None:
        if promise is None:
            raise ArgumentError("inputs=(x, other): which two inputs should the sampler be drawn at?")
        inputs = _telling(promise, n) if several and not delta else _farthest(promise)
    if not isinstance(inputs, tuple | list | range) or len(inputs) < 2 or not _distinct(inputs):
        raise ArgumentError(f"inputs={inputs!r}: two different inputs are needed, or more.")
    inputs = tuple(inputs)
    count = max(_FEWEST, 2 * int(n) // len(inputs))
    mu = None
    if isinstance(claimed, Mechanism) or (claimed is None and promise is not None):
        mu = _promised_mu(promise, inputs)
        claimed = composed([promise], delta)[0]
        claimed = claimed if np.isfinite(claimed) else None
        if claimed is not None and all(value in getattr(promise, "inputs", ()) for value in inputs):
            claimed = min(claimed, _between(promise, inputs))
    if promise is not None:
        for value in inputs:
            promise.read(_alike(value, 1), pd.RangeIndex(1), "the audited input")
    if low_bits:
        _pair(inputs)
        if mu is not None and claimed is None:
            raise ArgumentError(f"{promise!r} promises no ε at δ = 0: give delta=.")
    draw: Callable[..., Any] = source if mechanism is None else partial(_answers, mechanism)
    options: list[dict[str, int]] = [{} for _ in inputs]
    if seed is not None:
        if mechanism is not None:
            raise ArgumentError("seed=: a mechanism's release cannot be seeded; audit a callable, or drop the seed.")
        if "seed" not in inspect.signature(source).parameters:
            raise ArgumentError("seed=: the callable does not take seed=.")
        options = [{"seed": each} for each in np.random.SeedSequence(seed).generate_state(len(inputs)).tolist()]
    if mechanism is None:
        try:
            inspect.signature(source).bind(inputs[0], count, **options[0])
        except TypeError as error:
            raise ArgumentError(f"{source!r} is no callable (value, n) → outputs: {error}.") from None
        except ValueError:  # a builtin that does not say
            pass
    found = []
    for value, more in zip(inputs, options, strict=True):
        outputs = np.asarray(draw(value, count, **more))
        if outputs.shape != (count,):
            raise DataError(
                f"the sampler was asked for {count} outputs and returned an array of shape {outputs.shape}."
            )
        if outputs.dtype.kind == "f" and np.isnan(outputs).any():
            raise DataError(
                f"the sampler returned NaN at the input {value!r}. How often it does is an answer too: give NaN a "
                "number or label of its own."
            )
        found.append(outputs)
    return Draws(inputs, tuple(found), claimed, delta, mu, promise)


def numeric(outputs: np.ndarray) -> np.ndarray:
    """Outputs as finite doubles.

    Raises
    ------
    DataError
        Outputs that are no numbers.
    """
    try:
        found = outputs.astype(np.float64)
    except (TypeError, ValueError):
        found = np.full(1, np.nan)
    if not np.isfinite(found).all():
        raise DataError("the outputs are not all finite numbers; low-order bits and thresholds need those.")
    return found


# -- private ---------------------------------------------------------------------------------------------------------


def _answers(mechanism: Any, value: Any, n: int) -> np.ndarray:
    """Answers by the sampler of ``release``; made-up inputs are no one's, so nothing is debited."""
    read = mechanism.read(_alike(value, n), pd.RangeIndex(n), "the audited input")
    return mechanism.decode(mechanism.draw(mechanism.measurement, read))


def _farthest(mechanism: Any) -> tuple[Any, Any]:
    """The two inputs that can be told apart best: the ends of the bounds, or rows of the table."""
    if not hasattr(mechanism, "inputs"):
        return tuple(mechanism.bounds)
    with np.errstate(divide="ignore"):
        table = np.log(mechanism.matrix())
    worst = np.nanmax(table[:, None] - table[None], axis=-1)
    first, second = np.unravel_index(int(worst.argmax()), worst.shape)
    return mechanism.inputs[first], mechanism.inputs[second]


def _telling(mechanism: Any, n: int) -> tuple[Any, ...]:
    """Inputs by which ``2 n`` draws say most of ε: the two that are farthest apart, or all of a finite mechanism."""
    pair = _farthest(mechanism)
    if not hasattr(mechanism, "inputs") or not 2 < len(mechanism.outputs) <= FEW:
        return pair
    found = {}
    for inputs in (pair, mechanism.inputs):
        table = mechanism.matrix()[[mechanism.inputs.index(value) for value in inputs]] / len(inputs)
        right = table.max(0)
        wrong = table.sum(0) - right
        with np.errstate(divide="ignore", invalid="ignore"):
            order = np.argsort(np.log(wrong) - np.log(right))
            right, wrong = right[order].cumsum(), wrong[order].cumsum()
            bound = np.log(right / wrong) - _LEVEL * np.sqrt((1 / right + 1 / wrong) / (2 * n))
        found[inputs] = float(np.nanmax(bound, initial=-np.inf)) + np.log(len(inputs) - 1)
    return max(found, key=lambda inputs: found[inputs])


def _pair(inputs: tuple[Any, ...]) -> tuple[float, float]:
    try:
        x, other = inputs
        return float(x), float(other)
    except (TypeError, ValueError):
        raise ArgumentError(f"inputs={inputs!r}: two numbers are needed.") from None


def _alike(value: Any, n: int) -> np.ndarray:
    return np.full(n, value, dtype=object if isinstance(value, str) else None)


def _distinct(inputs: Any) -> bool:
    """Whether no two are equal; NaN is not even itself."""
    return all(one == one and one != other for place, one in enumerate(inputs) for other in inputs[:place] or [None])


def _between(mechanism: Any, inputs: tuple[Any, ...]) -> float:
    """ε between inputs of a finite mechanism by its own table: a selection's promise may be twice as much."""
    with np.errstate(divide="ignore", invalid="ignore"):
        table = np.log(mechanism.matrix()[[mechanism.inputs.index(value) for value in inputs]])
        return float(np.nanmax(table[:, None] - table[None]))


def _promised_mu(mechanism: Any, inputs: Any) -> float | None:
    """μ between two inputs of Gaussian noise; of the discrete Gaussian, exactly that of its best threshold."""
    if mechanism.measure == "max_divergence" or hasattr(mechanism, "inputs"):
        return None
    if not mechanism.discrete:
        return gaussian_mu(mechanism)
    low, *_, high = sorted(float(value) for value in inputs)
    law = mechanism.around(torch.tensor([[low], [high]], dtype=torch.float64))
    reach = int(40 * mechanism.scale) + 2
    outputs = torch.arange(int(low) - reach, int(high) + reach, dtype=torch.float64)
    mass = law.log_prob(outputs.expand(2, -1)).exp().numpy()
    above, below = mass[:, ::-1].cumsum(-1)[:, ::-1], mass.cumsum(-1)  # P(o ≥ t), P(o ≤ t)
    sure = 1e-300
    # Φ⁻¹ by the smaller tail, which has no rounding
    deviation = np.where(above < 0.5, ndtri(np.maximum(above, sure)), -ndtri(np.maximum(below - mass, sure)))
    gain = deviation[1] - deviation[0]
    return float(gain[(above[0] > 1e-200) & (below[1] - mass[1] > 1e-200)].max())
