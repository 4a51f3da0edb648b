r"""The least squared error under demographic parity in a finite variable that the predictor reads.

It is that of the barycentre of the groups' laws of ``E[Y | x]`` (Chzhen, Denis, Hebiri, Oneto & Pontil 2020): a unit at
rank ``u`` of its group gets ``Σ_a p_a Q_a(u)``, and the price is ``Σ_a p_a ∫ (Q_a(u) − Σ_b p_b Q_b(u))² du``. Where a
group's law has atoms the rank within one is drawn. The quantile functions are those of two independent halves of the
units, so that their noise is not squared; the standard error is a jackknife's, over nets of units.

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> group = (rng.random(20_000) < 0.25).astype(float)
>>> made = Barycentre(group * 2.0 + (1 + group) * rng.normal(size=20_000), group)
>>> price, error = made.price  # .25 × .75 × (2² + 1²)
>>> abs(price - 0.9375) < 4 * error < 0.2
True
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from pcm.trust.even_noise import NETS

__all__ = ["Barycentre"]

#: Levels at which quantile functions are compared.
_LEVELS = 2_000


class Barycentre:
    """The fair prediction from scores and groups.

    Parameters
    ----------
    best : numpy.ndarray (unit,)
        ``E[Y | x]``.
    group : numpy.ndarray (unit,)
    """

    def __init__(self, best: np.ndarray, group: np.ndarray) -> None:
        self.group, self.values = group, np.unique(group)
        self._scale = float(np.abs(best).max()) or 1.0
        self.best = self._rounded(best)
        self._levels = (np.arange(_LEVELS) + 0.5) / _LEVELS

    @cached_property
    def price(self) -> tuple[float, float]:
        """Risk above that of the scores, and its standard error."""
        place = np.arange(len(self.best))
        half = place % NETS % 2 == 0  # of the nets: those of one half are independent of the other's
        whole = self._apart(half, np.ones(len(place), bool))
        parts = [self._apart(half, place % NETS != left_out) for left_out in range(NETS)]
        return whole, float(np.sqrt((NETS - 1) * np.var(parts)))

    def predict(self, best: np.ndarray, group: np.ndarray) -> np.ndarray:
        """The fair prediction for scores, ``(unit,)``; at an atom of a group its mean over the drawn ranks."""
        made, best = np.zeros(len(best)), self._rounded(best)
        for value in self.values:
            own, chosen = np.sort(self.best[self.group == value]), group == value
            low, high = (np.searchsorted(own, best[chosen], side=side) / len(own) for side in ("left", "right"))
            # the mean of the barycentre's quantile function between the two ranks
            integral = np.concatenate([[0.0], np.cumsum(self._mean) / _LEVELS])
            ends = np.linspace(0.0, 1.0, _LEVELS + 1)
            width = np.maximum(high - low, 1 / len(own))
            low = np.clip((low + high - width) / 2, 0.0, 1.0 - width)
            made[chosen] = (np.interp(low + width, ends, integral) - np.interp(low, ends, integral)) / width
        return made

    def _rounded(self, best: np.ndarray) -> np.ndarray:
        """Scores that differ by the last bits alone are one atom."""
        return np.round(best / self._scale, 10) * self._scale

    @cached_property
    def _mean(self) -> np.ndarray:
        """Quantile function of the barycentre."""
        return sum(
            np.mean(self.group == value) * _quantiles(self.best[self.group == value], self._levels)
            for value in self.values
        ) + np.zeros(_LEVELS)

    def _apart(self, half: np.ndarray, kept: np.ndarray) -> float:
        chances = np.array([np.mean(self.group[kept] == value) for value in self.values])
        errors = []
        for side in (half, ~half):
            curves = [_quantiles(self.best[kept & side & (self.group == v)], self._levels) for v in self.values]
            errors.append(np.array(curves) - chances @ np.array(curves))
        return float(chances @ (errors[0] * errors[1]).mean(1))


def _quantiles(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Interpolated between order statistics, each in the middle of its step."""
    ordered = np.sort(values)
    return np.interp(levels, (np.arange(len(ordered)) + 0.5) / len(ordered), ordered)
