"""Simulated squared errors as log losses of a Gaussian, the closed form's meaning of a log loss on a linear law.

With the predictor's mean and the spread of its errors the log loss is ``½ log(2πe MSE)``: a price ``p`` above the best
risk ``R`` is ``½ log(1 + p / R)``, and its slope a half of that of ``p`` over ``R + p``. Standard errors are those of
the first-order expansion.

>>> from pcm.query.effect import Effect
>>> _loss_above(Effect(np.array([1.0])), Effect(np.array([3.0]), standard_error=0.4), "price")
price: 0.6931 ± 0.05 (Monte-Carlo s.e.)
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from pcm.query.effect import Effect
from pcm.trust.verdict import Row

__all__ = ["GaussianLog"]


class GaussianLog:
    """Numbers of a simulated check of squared errors, told as log losses.

    Parameters
    ----------
    numbers : Simulation or OverDraws
    """

    def __init__(self, numbers: Any) -> None:
        self.numbers = numbers
        self.pinning, self.delivered, self.units = numbers.pinning, numbers.delivered, numbers.units

    @cached_property
    def _rows(self) -> tuple[Row, ...]:
        return self.numbers.rows

    @property
    def _best(self) -> Effect:
        return self._rows[0].risk

    @property
    def rows(self) -> tuple[Row, ...]:
        """Every predictor."""
        return tuple(
            replace(row, risk=_loss(row.risk), price=_loss_above(self._best, row.price, row.price.label))
            for row in self._rows
        )

    @property
    def price(self) -> Effect:
        """Loss of the delivered predictor above the best."""
        return _loss_above(self._best, self.numbers.price, "price")

    @property
    def price_minimum(self) -> Effect | None:
        """Least price of a matched predictor: that of the squared error, for the loss grows with it."""
        found = self.numbers.price_minimum
        return None if found is None else _loss_above(self._best, found, "least price")

    @property
    def least_over(self) -> str:
        """The predictors of which it is the least price."""
        return self.numbers.least_over

    @property
    def shadow_prices(self) -> dict[str, Effect]:
        """What a unit of each pinned effect costs of the least price."""
        found = self.numbers.price_minimum
        if found is None:
            return {}
        risk = self._best.draws + found.draws
        made, unsure = {}, (found.standard_error or 0.0) / float(risk.mean())
        for name, slope in self.numbers.shadow_prices.items():
            whole = float(np.hypot(slope.standard_error or 0.0, slope.mean * unsure))
            noisy = replace(slope, standard_error=whole or slope.standard_error)
            made[name] = _moved(noisy, 0.5 * slope.draws / risk, 0.5 / float(risk.mean()), slope.label)
        return made

    @property
    def gaps(self) -> dict[str, Effect]:
        """Residual gaps of the delivered predictor: differences in effect, whatever the loss."""
        return self.numbers.gaps

    @property
    def laundering_gap(self) -> Effect | None:
        """What the observational optimum on the corrected features saves."""
        saved = self.numbers.laundering_gap
        if saved is None:
            return None
        left = self._best.draws + self.numbers.price.draws - saved.draws
        return _moved(saved, 0.5 * np.log1p(saved.draws / left), float(0.5 / (left + saved.draws).mean()), saved.label)


def _loss(risk: Effect) -> Effect:
    return _moved(risk, 0.5 * np.log(2 * np.pi * np.e * risk.draws), float(0.5 / risk.draws.mean()), risk.label)


def _loss_above(best: Effect, price: Effect, label: str) -> Effect:
    inside = np.maximum(1 + price.draws / best.draws, 1e-12)
    return _moved(price, 0.5 * np.log(inside), float(0.5 / (best.draws * inside).mean()), label)


def _moved(effect: Effect, draws: np.ndarray, slope: float, label: str) -> Effect:
    error = None if effect.standard_error is None else slope * effect.standard_error
    return replace(effect, draws=draws, standard_error=error, label=label)
