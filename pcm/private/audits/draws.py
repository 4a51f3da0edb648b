"""Outputs to audit: of a mechanism's real release, or of any sampler.

>>> read = read_source(lambda value, n: np.full(n, value), (0.0, 1.0), n=4, claimed=1.0)
>>> [draws.tolist() for draws in read.draws], read.numbers
([[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]], (0.0, 1.0))
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import ndtri

from pcm.arguments import check_count
from pcm.errors import ArgumentError, DataError
from pcm.private.checks import check_delta
from pcm.private.kernels import composed, gaussian_mu

__all__ = ["Draws", "Source", "numeric", "read_source"]

Source = Any
"""A mechanism, or a callable ``(value, n) → array (n,)`` of independent outputs."""

_FEWEST = 4


@dataclass(frozen=True)
class Draws:
    """Outputs under two inputs, and what was promised of them."""

    inputs: tuple[Any, Any]
    draws: tuple[np.ndarray, np.ndarray]
    claimed: float | None
    delta: float
    mu: float | None = None

    @property
    def numbers(self) -> tuple[float, float]:
        """The inputs as numbers."""
        try:
            return float(self.inputs[0]), float(self.inputs[1])
        except (TypeError, ValueError):
            raise ArgumentError(f"inputs={self.inputs!r}: two numbers are needed.") from None


def read_source(
    source: Source,
    inputs: tuple[Any, Any] | None = None,
    *,
    n: int,
    claimed: float | None = None,
    delta: float | None = None,
    seed: int | None = None,
) -> Draws:
    """Draw ``n`` outputs under each of two inputs.

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
    if inputs is None:
        if mechanism is None:
            raise ArgumentError("inputs=(x, other): which two inputs should the sampler be drawn at?")
        inputs = _farthest(mechanism)
    if (
        not isinstance(inputs, tuple | list)
        or len(inputs) != 2
        or inputs[0] == inputs[1]
        or any(each != each for each in inputs)
    ):
        raise ArgumentError(f"inputs={inputs!r}: two different inputs are needed.")
    mu = None
    if mechanism is not None:
        if seed is not None:
            raise ArgumentError("seed=: a mechanism's release cannot be seeded; audit a callable, or drop the seed.")
        made = mechanism
        draw: Callable[..., Any] = lambda value, n: _answers(made, value, n)  # noqa: E731
        if claimed is None:
            mu = _promised_mu(mechanism, inputs)
            claimed = composed([mechanism], delta)[0]
            claimed = claimed if np.isfinite(claimed) else None
            if claimed is not None and hasattr(mechanism, "inputs") and inputs[0] in mechanism.inputs:
                claimed = min(claimed, _between(mechanism, inputs))
    elif seed is not None:
        if "seed" not in inspect.signature(source).parameters:
            raise ArgumentError("seed=: the callable does not take seed=.")
        seeds = np.random.SeedSequence(seed).generate_state(2).tolist()
        draw = lambda value, n: source(value, n, seed=seeds[int(value == inputs[1])])  # noqa: E731
    else:
        draw = source
    if mechanism is None:
        try:
            inspect.signature(source).bind(inputs[0], int(n), **({} if seed is None else {"seed": seed}))
        except TypeError as error:
            raise ArgumentError(f"{source!r} is no callable (value, n) → outputs: {error}.") from None
        except ValueError:  # a builtin that does not say
            pass
    found = []
    for value in inputs:
        outputs = np.asarray(draw(value, int(n)))
        if outputs.shape != (n,):
            raise DataError(f"the sampler was asked for {n} outputs and returned an array of shape {outputs.shape}.")
        if outputs.dtype.kind == "f" and np.isnan(outputs).any():
            raise DataError(
                f"the sampler returned NaN at the input {value!r}. How often it does is an answer too: give NaN a "
                "number or label of its own."
            )
        found.append(outputs)
    return Draws(tuple(inputs), (found[0], found[1]), claimed, delta, mu)


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
    given = np.full(n, value, dtype=object if isinstance(value, str) else None)
    read = mechanism.read(given, pd.RangeIndex(n), "the audited input")
    return mechanism.decode(mechanism.draw(mechanism.measurement, read))


def _farthest(mechanism: Any) -> tuple[Any, Any]:
    """The two inputs that can be told apart best."""
    if not hasattr(mechanism, "inputs"):
        return tuple(mechanism.bounds)
    with np.errstate(divide="ignore"):
        table = np.log(mechanism.matrix())
    worst = np.nanmax(table[:, None] - table[None], axis=-1)
    first, second = np.unravel_index(int(worst.argmax()), worst.shape)
    return mechanism.inputs[first], mechanism.inputs[second]


def _between(mechanism: Any, inputs: Any) -> float:
    """ε between two inputs of a finite mechanism by its own table: a selection's promise may be twice as much."""
    rows = [mechanism.matrix()[mechanism.inputs.index(value)] for value in inputs if value in mechanism.inputs]
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.nanmax(np.abs(np.log(rows[0]) - np.log(rows[-1]))))


def _promised_mu(mechanism: Any, inputs: Any) -> float | None:
    """μ between two inputs of Gaussian noise; of the discrete Gaussian, exactly that of its best threshold."""
    if mechanism.measure == "max_divergence" or hasattr(mechanism, "inputs"):
        return None
    if not mechanism.discrete:
        return gaussian_mu(mechanism)
    low, high = sorted(float(value) for value in inputs)
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


def _apart(one: Any, other: Any) -> bool:
    return one != other and one == one and other == other  # NaN is not even itself
