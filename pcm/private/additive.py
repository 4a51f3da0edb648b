"""Mechanisms that add noise to a number: bounds, clipping, clamping, and what all of them share.

    answer = clamp(clip(value) + noise)

``bounds`` are public and fix the loss: two rows differ by at most ``high - low``. ``clip`` moves inputs beyond them to
the nearer bound (else they are refused). ``clamp`` records answers beyond its ends as the ends, which costs nothing;
the site then has an atom at each.

>>> from pcm import private
>>> private.Laplace(epsilon=0.5, bounds=(0, 10))
Laplace(scale=20.0, bounds=(0, 10), clip=False, clamp=None)
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pcm.couplings import Censored
from pcm.couplings.parameters import concrete
from pcm.errors import ArgumentError, DataError, SupportError
from pcm.private.checks import check_distance, check_plain, refuse_own_bounds, refuse_rows
from pcm.private.mechanism import Mechanism
from pcm.private.sampler import opendp

__all__ = ["Additive"]

_WHOLE, _REACH = 2.0**53, 40.0


@dataclass(frozen=True, init=False)
class Additive(Mechanism):
    """Noise of a fixed scale on a bounded number.

    Attributes
    ----------
    scale : float
        Of the noise.
    bounds : tuple of number
        Public bounds of the input.
    clip : bool
        Whether inputs beyond the bounds are moved to them; else they are refused.
    clamp : tuple or None
        Ends to which answers are moved; either may be None.
    public : bool
        Declares bounds public that could be taken for computed ones.
    """

    scale: float
    bounds: tuple[float, float]
    clip: bool = False
    clamp: tuple[float | None, float | None] | None = None
    public: bool = field(default=False, compare=False, repr=False)

    integer: ClassVar[bool] = False
    metric: ClassVar[str] = "l1_distance"

    def _set(self, name: str, number: float, bounds: Any, clip: Any, clamp: Any, public: Any) -> None:
        """The fields, checked; the noise by its scale, its ε or its ρ."""
        asked = type(self).__name__
        low, high = _pair(bounds, f"{asked}(bounds=…)")
        low, high = (check_plain(end, f"{asked}(bounds=…)", bool(public)) for end in (low, high))
        if not low < high:
            raise ArgumentError(f"{asked}(bounds=({low}, {high})): low must be below high.")
        for flag, value in (("clip", clip), ("public", public)):
            if not isinstance(value, bool):
                raise ArgumentError(f"{asked}({flag}={value!r}): True or False.")
        ends = None
        if clamp is not None:
            ends = tuple(
                None if end is None else check_plain(end, f"{asked}(clamp=…)", True)
                for end in _pair(clamp, f"{asked}(clamp=…)")
            )
            bottom, top = (-math.inf if ends[0] is None else ends[0]), (math.inf if ends[1] is None else ends[1])
            if not bottom < top or ends == (None, None):
                raise ArgumentError(f"{asked}(clamp={clamp}): give a low end, a high one, or both, low below high.")
        if self.integer:
            for each in (low, high, *(end for end in ends or () if end is not None)):
                if each != math.floor(each):
                    raise ArgumentError(f"{asked} noises whole numbers: its bounds and ends are whole; found {each}.")
            low, high = int(low), int(high)
        if not math.isfinite(high - low):
            raise ArgumentError(f"{asked}(bounds=({low}, {high})): too far apart for floating-point numbers.")
        scale = number
        if name != "scale":
            scale = (high - low) / (number if name == "epsilon" else math.sqrt(2.0 * number))
        self._fix(scale=scale, bounds=(low, high), clip=clip, clamp=ends, public=public)
        self._check_noise(asked)

    def _check_noise(self, asked: str) -> None:
        """Refuse constants at which floating-point numbers no longer hold the promise, or the answers."""
        try:
            loss = self._stated
        except (OverflowError, ZeroDivisionError):
            loss = math.inf
        if not (0 < self.scale < math.inf and 0 < loss < math.inf):
            raise ArgumentError(f"{asked}: bounds {self.bounds} and a scale of {self.scale:g} make a loss of {loss:g}.")
        reach = max(map(abs, self.bounds)) + _REACH * self.scale
        if self.integer and reach > _WHOLE:
            raise ArgumentError(
                f"{asked}: answers may lie as far out as {reach:.3g}, and whole numbers are exact up to 2⁵³ = "
                f"{_WHOLE:.3g}. Noise in larger units."
            )

    @property
    def width(self) -> float:
        """How far apart two inputs can be."""
        return self.bounds[1] - self.bounds[0]

    @property
    def measurement(self) -> Any:
        """OpenDP's measurement of a vector of rows."""
        with opendp() as dp:
            # OpenDP's int has 32 bits, and saturates
            atom = dp.atom_domain(T="i64") if self.integer else dp.atom_domain(T=float, nan=False)
            exact = self.integer and self.metric == "l1_distance"
            metric = getattr(dp, self.metric)(T="i64" if exact else float)
            return self.make(dp)(dp.vector_domain(atom), metric, scale=self.scale)

    @abstractmethod
    def make(self, dp: Any) -> Any:
        """OpenDP's constructor."""

    def map(self, distance: float | None = None) -> float:
        """OpenDP's map, at the width of the bounds by default."""
        if distance is None:
            # the difference of two floats may be rounded down
            distance = self.width if self.integer else math.nextafter(float(self.width), math.inf)
        distance = check_distance(distance)
        exact = self.integer and self.metric == "l1_distance"
        return float(self.measurement.map(int(distance) if exact else float(distance)))

    # -- the law -----------------------------------------------------------------------------------------------------

    def law(self, value: Tensor) -> Any:
        """Noise around the clipped value; censored where answers are clamped."""
        loc = torch.as_tensor(value)
        if not loc.is_floating_point():
            loc = loc.to(torch.get_default_dtype())
        if self.integer and concrete(loc) and bool((loc != loc.round()).any()):
            raise SupportError(
                f"{type(self).__name__} noises whole numbers, and the true value here is not whole: noise a rounded "
                "value, or use the continuous mechanism.",
                value=float(loc[loc != loc.round()].flatten()[0]),
            )
        if self.clip:
            loc = torch.clamp(loc, *self.bounds)
        made = self.around(loc)
        return made if self.clamp is None else Censored(made, *self.clamp)

    def bends(self, value: Tensor) -> dict[str, Any]:
        """Where clipping bends the law: at the bounds."""
        return {"origin": torch.as_tensor(value), "ends": self.bounds} if self.clip and not self.integer else {}

    @abstractmethod
    def around(self, loc: Tensor) -> Any:
        """The noise's distribution around ``loc``."""

    def probability(self, out: Any, given: Any) -> float:
        """Probability of an answer; a density where the noise is continuous, a mass at a clamped end."""
        value = self.read(np.asarray([given]), pd.RangeIndex(1), "the input")
        answer = self.encode([out])
        law = self.law(torch.tensor(value, dtype=torch.float64))
        return float(law.log_prob(torch.tensor(answer, dtype=torch.float64)).exp())

    def matrix(self) -> np.ndarray:
        """``P(out | in)`` for whole inputs within the bounds and answers within the ends."""
        if not self.integer or self.clamp is None or None in self.clamp:
            return super().matrix()
        low, high = (int(end) for end in self.clamp if end is not None)
        inputs = torch.arange(self.bounds[0], self.bounds[1] + 1, dtype=torch.float64)
        outputs = torch.arange(low, high + 1, dtype=torch.float64)
        law = self.law(inputs[:, None].expand(-1, len(outputs)))
        return law.log_prob(outputs.expand(len(inputs), -1)).exp().numpy()

    # -- answers -----------------------------------------------------------------------------------------------------

    def read(self, array: np.ndarray, index: pd.Index, name: str) -> np.ndarray:
        """Numbers, checked against the bounds, clipped where asked."""
        try:
            values = np.asarray(pd.array(array, dtype="Float64").to_numpy(dtype=np.float64, na_value=np.nan))
        except (TypeError, ValueError):
            raise DataError(f"'{name}' holds values that are no numbers. Nothing was debited.", column=name) from None
        refuse_rows(name, index, np.isnan(values), "has empty cells", "Drop or fill them before the release.")
        refuse_rows(name, index, np.isinf(values), "is infinite", "Mend them before the release.")
        if self.integer:
            refuse_rows(name, index, values != np.rint(values), "is not whole", "Round them before the release.")
        low, high = self.bounds
        if not self.clip:
            outside = (values < low) | (values > high)
            advice = "Correct them, or let the mechanism clip its input: clip=True."
            refuse_rows(name, index, outside, f"lies outside the public bounds {self.bounds}", advice)
        if not self.public:
            refuse_own_bounds(name, values, self.bounds)
        clipped = np.clip(values, low, high)
        return clipped.astype(np.int64) if self.integer else clipped

    def draw(self, measurement: Any, values: np.ndarray) -> np.ndarray:
        """One call for all rows; answers clamped."""
        answers = np.asarray(measurement(values.tolist()))
        return answers if self.clamp is None else np.clip(answers, *self.clamp)

    def encode(self, values: Any) -> np.ndarray:
        """Numbers within the ends, whole where the noise is."""
        array = np.asarray(values)
        if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
            raise DataError(f"answers of {self!r} are finite numbers.")
        low, high = self.clamp or (None, None)
        if (low is not None and (array < low).any()) or (high is not None and (array > high).any()):
            raise DataError(f"answers of {self!r} lie between {low} and {high}; some of these do not.")
        if self.integer and (array != np.rint(array)).any():
            raise DataError(f"answers of {self!r} are whole numbers; some of these are not.")
        return array

    def decode(self, answers: np.ndarray) -> np.ndarray:
        """Integers where the noise is."""
        return answers.astype(np.int64) if self.integer else answers


def _pair(value: Any, asked: str) -> tuple[Any, Any]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ArgumentError(f"{asked}: a pair (low, high) is needed; found {value!r}.")
    return value[0], value[1]
