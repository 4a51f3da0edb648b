"""A mechanism at finitely many inputs as a table ``P(output | input)``; and what several mechanisms promise together.

Outputs of categorical mechanisms are enumerated. Of Laplace noise at δ = 0 the largest ratio of two mixtures over
inputs is attained at an input: between neighbouring inputs ``c < c'`` both densities are ``α e^{o/b} + β e^{−o/b}``,
whose ratio is monotone in ``o``, and beyond the outermost inputs it is constant; so the densities at the inputs are
enough, in several dimensions too, because the ratio is monotone in each output. For δ > 0 continuous outputs are cut
into classes, which can only hide: the value is then a lower bound, close to tight.

>>> class Noise:
...     epsilon, rho, measure, discrete = 1.0, 0.5, "max_divergence", True
>>> composed([Noise(), Noise()]), composed([Noise()] * 100, 1e-6)[0].__round__(3)
((2.0, 0.0), 100.0)

References
----------
Bun & Steinke, "Concentrated differential privacy", TCC 2016 (composition by ρ). Canonne, Kamath & Steinke, "The
discrete Gaussian for differential privacy", NeurIPS 2020, Corollary 13 (from ρ to ε). Balle & Wang, ICML 2018
(Gaussian noise).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from pcm.errors import ArgumentError, QueryError, listed
from pcm.private.leakage import epsilon_of_mu

__all__ = ["Kernel", "composed", "cost_words", "epsilon_of_rho", "gaussian_mu", "kernel_of"]

_PURE = "max_divergence"
_BINS, _REACH = 2_000, 12.0  # classes of a continuous output; standard deviations beyond the inputs
_THIN = 1e-9


@dataclass(frozen=True, eq=False)
class Kernel:
    """``P(output | input)``, ``(input, output)``; ``notes`` say what is approximate about it."""

    table: np.ndarray
    notes: tuple[str, ...] = ()


def gaussian_mu(mechanism: Any) -> float | None:
    """μ of Gaussian differential privacy of continuous Gaussian noise; None of any other mechanism."""
    if mechanism.measure == _PURE or mechanism.discrete:
        return None
    return float(np.sqrt(2 * mechanism.rho))


def composed(mechanisms: Iterable[Any], delta: float = 0.0) -> tuple[float, float]:
    """(ε, δ) of several mechanisms together, each with independent noise and inputs that all may change.

    The best of three valid accounts: pure costs added; Gaussian noise exactly (``μ² = Σ μ_i²``) and pure costs added to
    it; zero-concentrated costs added and converted.

    Returns
    -------
    epsilon, delta : float
        δ is 0 where none is needed.
    """
    mechanisms = list(mechanisms)
    pure = sum(float(mechanism.epsilon) for mechanism in mechanisms)
    if np.isfinite(pure):
        tight = epsilon_of_rho(sum(float(m.rho) for m in mechanisms), delta) if delta else np.inf
        return (tight, delta) if tight < pure else (pure, 0.0)
    if not delta:
        return np.inf, 0.0
    rest = [m for m in mechanisms if not np.isfinite(m.epsilon)]
    found = [epsilon_of_rho(sum(float(m.rho) for m in mechanisms), delta)]
    mus = [gaussian_mu(m) for m in rest]
    if all(mu is not None for mu in mus):
        mu = float(np.sqrt(sum(mu**2 for mu in mus if mu is not None)))
        found.append(epsilon_of_mu(mu, delta) + sum(float(m.epsilon) for m in mechanisms if np.isfinite(m.epsilon)))
    return min(found), delta


def epsilon_of_rho(rho: float, delta: float) -> float:
    """The ε at δ of ρ-zero-concentrated privacy.

    >>> round(epsilon_of_rho(0.5, 1e-6), 3)
    5.222
    """
    if rho <= 0:
        return 0.0
    if not (np.isfinite(rho) and delta > 0):
        return np.inf

    def at(log_order: float) -> float:  # order α > 1: ε = αρ + log(1/(αδ))/(α−1) + log(1 − 1/α)
        over = np.exp(log_order)
        order = 1 + over
        return order * rho - np.log(order * delta) / over + np.log(over / order)

    best: Any = minimize_scalar(at, bounds=(-10, 20), method="bounded", options={"xatol": 1e-9})
    return max(float(best.fun), 0.0)


def cost_words(mechanisms: Sequence[Any], delta: float) -> str:
    """What a variable's mechanisms cost, in figures."""
    epsilon, spent = composed(mechanisms, delta)
    if np.isinf(epsilon):
        return "∞ at δ = 0 (give delta=)" if not delta else "∞"
    return f"{epsilon:.4g}" + (f" at δ = {spent:g}" if spent else "")


def kernel_of(mechanism: Any, levels: Sequence[Any], delta: float, name: str) -> Kernel:
    """The table of a mechanism at a variable's values.

    Raises
    ------
    ArgumentError
        Values that the mechanism does not take.
    QueryError
        Noise that has no finite ε at δ = 0.
    """
    if hasattr(mechanism, "inputs"):
        return Kernel(np.asarray(mechanism.matrix(), float)[_rows(mechanism, list(mechanism.inputs), levels, name)])
    inputs = _numbers(mechanism, levels, name)
    if mechanism.measure != _PURE and not delta:
        raise QueryError(
            f"'{name}' passes {type(mechanism).__name__} noise, which has no finite ε at δ = 0: give delta=.", name=name
        )
    law = mechanism.around(torch.as_tensor(inputs)[:, None])
    low, high = (
        (sign * np.inf if end is None else float(end))
        for sign, end in zip((-1, 1), mechanism.clamp or (None, None), strict=True)
    )
    if mechanism.discrete:
        return Kernel(_integers(law, inputs, low, high))
    if not delta:
        return Kernel(_thinned(law, inputs, low, high))
    return Kernel(
        _classes(law, inputs, low, high),
        (f"continuous outputs are cut into {_BINS:,} classes: a lower bound, close to tight",),
    )


# -- private ---------------------------------------------------------------------------------------------------------


def _rows(mechanism: Any, inputs: list[Any], levels: Sequence[Any], name: str) -> list[int]:
    unknown = [level for level in levels if level not in inputs]
    if unknown:
        raise ArgumentError(
            f"'{name}' takes the value {unknown[0]!r}, which {mechanism!r} does not: its inputs are {listed(inputs)}.",
            name=name,
        )
    return [inputs.index(level) for level in levels]


def _numbers(mechanism: Any, levels: Sequence[Any], name: str) -> np.ndarray:
    try:
        inputs = np.array([float(level) for level in levels])
    except (TypeError, ValueError):
        raise ArgumentError(
            f"'{name}' takes the values {listed(levels)}, and {mechanism!r} noises numbers.", name=name
        ) from None
    low, high = mechanism.bounds
    if mechanism.clip:
        return inputs.clip(low, high)
    if (inputs < low).any() or (inputs > high).any():
        raise ArgumentError(
            f"'{name}' takes values beyond the bounds of {mechanism!r}, which does not clip: widen them, or clip=True.",
            name=name,
        )
    return inputs


def _spread(law: Any) -> float:
    return float(torch.as_tensor(law.variance).max().sqrt())


def _integers(law: Any, inputs: np.ndarray, low: float, high: float) -> np.ndarray:
    """Mass at every integer within reach: beyond, ratios are those of the outermost, or masses vanish."""
    reach = int(np.ceil(3 * _REACH * _spread(law))) + 1
    outputs = torch.arange(int(inputs.min()) - reach, int(inputs.max()) + reach + 1, dtype=torch.float64)
    table = law.log_prob(outputs.expand(len(inputs), -1)).exp().numpy()
    table = table / table.sum(-1, keepdims=True)
    places = np.unique(outputs.numpy().clip(low, high), return_inverse=True)[1]  # answers beyond the ends are the ends
    return np.stack([np.bincount(places, weights=row) for row in table])


def _thinned(law: Any, inputs: np.ndarray, low: float, high: float) -> np.ndarray:
    """Densities at the inputs (and masses at clamped ends), scaled to be rare; the other output says nothing."""
    outputs = np.unique(np.concatenate([inputs, [end for end in (low, high) if np.isfinite(end)]]).clip(low, high))
    density = law.log_prob(torch.as_tensor(outputs).expand(len(inputs), -1)).exp().numpy()
    ends = [law.cdf(torch.as_tensor(low)).numpy()] if np.isfinite(low) else []
    ends += [1 - law.cdf(torch.as_tensor(high)).numpy()] if np.isfinite(high) else []
    rare = np.column_stack([density, *ends])
    rare = rare * (_THIN / rare.sum(-1).max())
    return np.column_stack([rare, 1 - rare.sum(-1)])


def _classes(law: Any, inputs: np.ndarray, low: float, high: float) -> np.ndarray:
    reach = _REACH * _spread(law)
    edges = np.linspace(inputs.min() - reach, inputs.max() + reach, _BINS - 1).clip(low, high)
    below = law.cdf(torch.as_tensor(edges).expand(len(inputs), -1)).numpy()
    return np.diff(np.column_stack([np.zeros(len(inputs)), below, np.ones(len(inputs))])).clip(min=0.0)
