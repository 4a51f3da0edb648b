"""Selection by public utility: what the exponential mechanism and permute-and-flip share.

A utility ``u(in, out)`` says how good an answer is for a true value; it is public. With ``Δ = max |u(in, out) -
u(in', out)|`` over all pairs of inputs, answers are drawn by noisy maximum at scale ``2 Δ / ε``: Gumbel noise is the
exponential mechanism, exponential noise permute-and-flip.

>>> from pcm import private
>>> steps = [[0, -1, -2], [-1, 0, -1], [-2, -1, 0]]
>>> private.Exponential(epsilon=2.0, categories=["low", "middle", "high"], utility=steps).sensitivity
2.0
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pcm.errors import ArgumentError
from pcm.private.checks import check_distance, check_loss
from pcm.private.finite import Finite, check_labels, pure_event
from pcm.private.sampler import accounting, opendp, repeated

__all__ = ["Selection"]


@dataclass(frozen=True, init=False)
class Selection(Finite):
    """A finite mechanism that selects by utility.

    Attributes
    ----------
    epsilon : float
    categories : tuple
        Labels of the inputs.
    utility : tuple of tuples of float
        ``[in][out]``.
    candidates : tuple
        Labels of the outputs.
    """

    epsilon: float
    categories: tuple[Any, ...]
    utility: tuple[tuple[float, ...], ...]
    candidates: tuple[Any, ...]
    public: bool = field(default=False, compare=False, repr=False)

    def __init__(
        self, epsilon: float, categories: Any, utility: Any, *, candidates: Any = None, public: bool = False
    ) -> None:
        asked = type(self).__name__
        _, number = check_loss(asked, epsilon=epsilon)
        inputs = check_labels(categories, f"{asked}(categories=…)", public)
        outputs = inputs if candidates is None else check_labels(candidates, f"{asked}(candidates=…)", public)
        if callable(utility):
            utility = _scores(utility, inputs, outputs, asked)
        try:
            table = np.array(utility, dtype=np.float64)
        except (TypeError, ValueError):
            table = np.empty(0)
        if table.shape != (len(inputs), len(outputs)) or not np.isfinite(table).all():
            raise ArgumentError(
                f"{asked}(utility=…): finite numbers [in][out] of shape {(len(inputs), len(outputs))}, or a function "
                f"of (in, out), are needed; found shape {table.shape}."
            )
        if not np.ptp(table, axis=0).max() > 0:
            raise ArgumentError(f"{asked}(utility=…): the utility does not depend on the true value.")
        cells: Any = table.tolist()
        rows = tuple(tuple(row) for row in cells)
        self._fix(epsilon=number, categories=inputs, utility=rows, candidates=outputs, public=public)

    @property
    def inputs(self) -> tuple[Any, ...]:
        """``categories``."""
        return self.categories

    @property
    def outputs(self) -> tuple[Any, ...]:
        """``candidates``."""
        return self.candidates

    @property
    def sensitivity(self) -> float:
        """``Δ``: how far a utility can move where the true value does."""
        return float(np.ptp(np.array(self.utility), axis=0).max())

    @property
    def scale(self) -> float:
        """``2 Δ / ε``, of the noise on each utility."""
        return 2.0 * self.sensitivity / self.epsilon

    @property
    def scores(self) -> np.ndarray:
        """Utilities in units of the noise, their best 0; ``[in, out]``."""
        table = np.array(self.utility) / self.scale
        return table - table.max(1, keepdims=True)

    @property
    def event(self) -> Any:
        """dp-accounting has none for selection: the worst one of this ε."""
        return pure_event(self.epsilon, accounting())

    @property
    def measurement(self) -> Any:
        """OpenDP's noisy maximum with the family's noise."""
        with opendp() as dp:
            space = dp.vector_domain(dp.atom_domain(T=float, nan=False)), dp.linf_distance(T=float)
            return dp.m.make_noisy_max(*space, getattr(dp, self.measure)(), scale=self.scale)

    def map(self, distance: float | None = None) -> float:
        """OpenDP's map between utilities this far apart (``Δ`` by default)."""
        return float(self.measurement.map(self.sensitivity if distance is None else check_distance(distance)))

    def draw(self, measurement: Any, values: np.ndarray) -> np.ndarray:
        """One selection a row; equal rows by one call."""
        return repeated(measurement, values, lambda code: list(self.utility[code]))

    def _normalised(self, weights: np.ndarray) -> np.ndarray:
        total = np.array([math.fsum(row) for row in weights])
        return weights / total[:, None]


def _scores(utility: Callable[[Any, Any], Any], inputs: Sequence[Any], outputs: Sequence[Any], asked: str) -> Any:
    try:
        inspect.signature(utility).bind(inputs[0], outputs[0])
    except TypeError as error:
        raise ArgumentError(f"{asked}(utility=…): a function of (in, out) is needed: {error}.") from None
    return [[utility(one, other) for other in outputs] for one in inputs]
