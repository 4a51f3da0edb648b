"""The two kinds of additive noise: Laplace's, whose guarantee is a pure ε, and Gauss's, whose is a concentrated ρ.

    ε = (high - low) / scale,   ρ = (high - low)² / (2 scale²);

the scale is given by itself or by the loss. Each kind has a continuous and a whole-number mechanism.

>>> from pcm import private
>>> private.Laplace(epsilon=0.5, bounds=(0, 10)).scale, private.DiscreteGaussian(rho=0.5, bounds=(0, 10)).scale
(20.0, 10.0)
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from pcm.private.additive import Additive
from pcm.private.checks import check_loss

__all__ = ["GaussianNoise", "LaplaceNoise"]


class LaplaceNoise(Additive):
    """Noise whose density falls by a factor ``e`` a scale."""

    def __init__(
        self,
        scale: float | None = None,
        *,
        epsilon: float | None = None,
        bounds: tuple[float, float],
        clip: bool = False,
        clamp: tuple[float | None, float | None] | None = None,
        public: bool = False,
    ) -> None:
        name, number = check_loss(type(self).__name__, scale=scale, epsilon=epsilon)
        self._set(name, number, bounds, clip, clamp, public)

    @property
    def epsilon(self) -> float:
        """``(high - low) / scale``."""
        return self.width / self.scale

    def make(self, dp: Any) -> Any:
        """``make_laplace``."""
        return dp.m.make_laplace


class GaussianNoise(Additive):
    """Noise whose standard deviation is the scale."""

    measure: ClassVar[str] = "zero_concentrated_divergence"
    metric: ClassVar[str] = "l2_distance"

    def __init__(
        self,
        scale: float | None = None,
        *,
        rho: float | None = None,
        bounds: tuple[float, float],
        clip: bool = False,
        clamp: tuple[float | None, float | None] | None = None,
        public: bool = False,
    ) -> None:
        name, number = check_loss(type(self).__name__, scale=scale, rho=rho)
        self._set(name, number, bounds, clip, clamp, public)

    @property
    def epsilon(self) -> float:
        """Infinite."""
        return math.inf

    @property
    def rho(self) -> float:
        """``(high - low)² / (2 scale²)``."""
        return 0.5 * (self.width / self.scale) ** 2

    def make(self, dp: Any) -> Any:
        """``make_gaussian``."""
        return dp.m.make_gaussian
