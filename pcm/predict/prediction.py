"""What a predictor says of rows: a law each, with what is noise and what is ignorance apart.

``Var[T] = E[Var[T | e]] + Var[E[T | e]]``: over *states of knowledge* ``e`` (draws of the causal model's parameters and
of the regression) the first term is aleatoric, what stays when everything is known; the second epistemic, what more
data would take away. Copies of a row's inputs (reference values, latent inputs) are noise, so they are aleatoric.

>>> import numpy as np
>>> mean = np.array([[[1.0], [3.0]], [[2.0], [4.0]]])               # (state, copy, row)
>>> found = Prediction(mean=mean, noise=np.array([[-1.0, 1.0]]))
>>> found.mean.tolist(), found.epistemic.tolist(), found.aleatoric.tolist(), found.variance.tolist()
([2.5], [0.25], [2.0], [2.25])
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pcm.arguments import check_count, check_probability
from pcm.errors import ArgumentError, QueryError, UnknownNameError
from pcm.notebook import Shown

__all__ = ["ClassPrediction", "Prediction"]

Array = NDArray[np.float64]
Law = Literal["target", "outcome"]
_DRAWS = 2_048


class Prediction(Shown):
    """Predictive laws of a number, a row each.

    Parameters
    ----------
    mean : array ``(state, copy, row)``
        Expected outcome in each state of knowledge, for each copy of the row's inputs.
    noise : array ``(state or 1, atom)`` or ``(state, copy, row)``
        Equally likely departures of the outcome from it; or one draw of each copy's own.
    index : pandas.Index, optional
        Names of the rows.
    name : str, optional
        The outcome.
    of : {"target", "outcome"}
        Whose law this is.
    observed : object with ``shift(level)``, optional
        How far the outcome's quantiles lie above the target's, where the two differ (:mod:`pcm.predict.observed`).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> found = Prediction(np.zeros((1, 1, 2)), rng.uniform(-1, 1, size=(1, 9_999)))
    >>> found.interval(0.9).round(1).tolist()
    [[-0.9, 0.9], [-0.9, 0.9]]
    """

    def __init__(
        self,
        mean: Array,
        noise: Array,
        *,
        index: pd.Index | None = None,
        name: str = "outcome",
        seed: int = 0,
        of: Law = "target",
        observed: Any = None,
    ) -> None:
        self._mean, self._noise, self.name, self._seed = mean, noise, name, seed
        self.of, self._observed = of, observed
        self.index = pd.RangeIndex(mean.shape[2]) if index is None else index

    def __len__(self) -> int:
        return self._mean.shape[2]

    @cached_property
    def mean(self) -> Array:
        """Expected outcome, ``[row]``."""
        return self._mean.mean((0, 1)) + (0.0 if self._paired else self._noise.mean())

    @cached_property
    def epistemic(self) -> Array:
        """Variance that more data would take away, ``[row]``, in the outcome's unit squared."""
        return self._mean.mean(1).var(0)

    @cached_property
    def aleatoric(self) -> Array:
        """Variance that stays when everything is known, ``[row]``, in the outcome's unit squared."""
        noise = self._noise.var((0, 1)) if self._paired else self._noise.var(1).mean()
        return self._mean.var(1).mean(0) + noise

    @property
    def _paired(self) -> bool:
        """Whether each copy has a departure of its own, whose mean is 0."""
        return self._noise.ndim == 3

    @property
    def variance(self) -> Array:
        """Both together, ``[row]``."""
        return self.aleatoric + self.epistemic

    @property
    def sd(self) -> Array:
        """Standard deviation, ``[row]``."""
        return np.sqrt(self.variance)

    def draws(self, count: int = _DRAWS) -> Array:
        """Draws of the outcome, ``[draw, row]``: every state, copy and part of the noise as often as any other."""
        count = check_count(count, "count", bytes_each=8 * len(self))
        rng = np.random.default_rng(self._seed)
        states, copies, _ = self._mean.shape
        state, copy = np.divmod(_evenly(count, states * copies, rng), copies)
        if self._paired:
            return self._mean[state, copy] + self._noise[state, copy]
        atoms = self._noise.shape[1]
        noise = np.sort(self._noise, 1)[state if len(self._noise) > 1 else 0, _evenly(count, atoms, rng)]
        return self._mean[state, copy] + noise[:, None]

    def interval(self, probability: float = 0.9, *, of: Law | None = None) -> Array:
        """Central interval, ``[row, 2]``.

        Parameters
        ----------
        probability : float
        of : {"target", "outcome"}, optional
            What it holds with this probability. ``"target"``: the outcome as the requirements would have it, given the
            row, also where a source is set from outside. ``"outcome"``: the outcome as it comes, over rows like those
            that were learned from, and there alone. By default that whose law this is.

        Raises
        ------
        QueryError
            The target's interval of a prediction that knows the outcome's law only.
        """
        check_probability(probability)
        return self.quantile([(1 - probability) / 2, (1 + probability) / 2], of=of)

    def quantile(self, level: float | Sequence[float], *, of: Law | None = None) -> Array:
        """Quantiles, ``[row]`` or ``[row, level]``; ``of`` as :meth:`interval` has it."""
        if of not in (None, "target", "outcome"):
            raise ArgumentError(f"of={of!r} is neither 'target' nor 'outcome'.")
        one = not isinstance(level, Sequence | np.ndarray) or isinstance(level, str)
        levels = np.array(
            [check_probability(each, "a quantile's level") for each in np.atleast_1d(np.asarray(level, dtype=object))]
        )
        if of == "target" and self.of == "outcome":
            raise QueryError(
                f"this is the law of '{self.name}' about a prediction that is not faithful; it says nothing about the "
                "target's. Take target='faithful', or of='outcome'."
            )
        place, part = np.divmod(levels * (len(self._drawn) - 1), 1)
        low, high = (self._drawn[np.minimum(place.astype(int) + k, len(self._drawn) - 1)] for k in (0, 1))
        found = (low + part[:, None] * (high - low)).T
        if of == "outcome" and self._observed is not None:
            found = found + [self._observed.shift(each) for each in levels.tolist()]
        return found[:, 0] if one else found

    @cached_property
    def _drawn(self) -> Array:
        """Each row's draws in order; one sort costs less than picking out two quantiles."""
        return np.sort(self.draws(), axis=0)

    def to_dataframe(self, probability: float = 0.9) -> pd.DataFrame:
        """Mean, standard deviation, its two parts, and both intervals: a row a row of the data."""
        low, high = self.interval(probability).T
        outcome_low, outcome_high = self.interval(probability, of="outcome").T
        return pd.DataFrame(
            {
                "mean": self.mean,
                "sd": self.sd,
                "aleatoric_sd": np.sqrt(self.aleatoric),
                "epistemic_sd": np.sqrt(self.epistemic),
                "low": low,
                "high": high,
                "outcome_low": outcome_low,
                "outcome_high": outcome_high,
            },
            index=self.index,
        )

    def __repr__(self) -> str:
        parts = f"sd {np.sqrt(self.aleatoric.mean()):.3g} aleatoric, {np.sqrt(self.epistemic.mean()):.3g} epistemic"
        return f"Prediction of {self.name} for {len(self):,} rows ({parts})"


class ClassPrediction(Shown):
    """Predictive laws of a category, a row each.

    Parameters
    ----------
    chance : array ``(state, copy, row, class)``
        Probabilities in each state of knowledge, for each copy of the row's inputs.
    labels : sequence
        The classes, in the order of their codes.

    Examples
    --------
    >>> chance = np.array([[[[0.9, 0.1]]], [[[0.5, 0.5]]]])
    >>> found = ClassPrediction(chance, ["no", "yes"])
    >>> found.probability("yes").tolist(), found.epistemic.round(3).tolist()
    ([0.3], [0.102])
    """

    def __init__(
        self,
        chance: Array,
        labels: Sequence[Any],
        *,
        index: pd.Index | None = None,
        name: str = "outcome",
        seed: int = 0,
    ) -> None:
        self._chance, self.labels, self.name, self._seed = chance, list(labels), name, seed
        self.index = pd.RangeIndex(chance.shape[2]) if index is None else index

    def __len__(self) -> int:
        return self._chance.shape[2]

    @cached_property
    def probabilities(self) -> Array:
        """Probability of each class, ``[row, class]``."""
        return self._chance.mean((0, 1))

    def probability(self, label: Any) -> Array:
        """Probability of one class, ``[row]``."""
        return self.probabilities[:, self._place(label)]

    def interval(self, probability: float = 0.9, *, label: Any = None) -> Array:
        """How far the class's *probability* is known: its central interval over states, ``[row, 2]``.

        ``label`` is the last class by default.
        """
        check_probability(probability)
        place = len(self.labels) - 1 if label is None else self._place(label)
        ends = [(1 - probability) / 2, (1 + probability) / 2]
        return np.quantile(self._chance[..., place].mean(1), ends, axis=0).T

    @cached_property
    def entropy(self) -> Array:
        """Entropy of the predictive law in nats, ``[row]``: the sum of its two parts."""
        return _entropy(self.probabilities)

    @cached_property
    def aleatoric(self) -> Array:
        """Mean entropy when the state is known, in nats, ``[row]``."""
        return _entropy(self._chance.mean(1)).mean(0)

    @cached_property
    def epistemic(self) -> Array:
        """What knowing the state would tell: mutual information in nats, ``[row]``."""
        return np.maximum(self.entropy - self.aleatoric, 0.0)

    def draws(self, count: int = _DRAWS) -> NDArray[Any]:
        """Draws of the outcome's label, ``[draw, row]``."""
        count = check_count(count, "count", bytes_each=8 * self._chance[0, 0].size)
        rng = np.random.default_rng(self._seed)
        states, copies, rows, _ = self._chance.shape
        state, copy = np.divmod(_evenly(count, states * copies, rng), copies)
        below = self._chance[state, copy].cumsum(-1)
        codes = (rng.random((count, rows, 1)) > below[..., :-1]).sum(-1)
        return np.asarray(self.labels)[codes]

    def to_dataframe(self, probability: float = 0.9) -> pd.DataFrame:
        """Each class's probability, the entropy's two parts, and an interval of the last class's probability."""
        low, high = self.interval(probability).T
        columns = {f"P({label})": self.probabilities[:, place] for place, label in enumerate(self.labels)}
        parts = {"aleatoric": self.aleatoric, "epistemic": self.epistemic, "low": low, "high": high}
        return pd.DataFrame({**columns, **parts}, index=self.index)

    def _place(self, label: Any) -> int:
        if label not in self.labels:
            raise UnknownNameError(label, kind="class", known=self.labels, where=f"'{self.name}'")
        return self.labels.index(label)

    @property
    def mean(self) -> Array:
        """Probability of the second of two classes, ``[row]``."""
        if len(self.labels) != 2:
            raise QueryError(f"'{self.name}' has {len(self.labels)} classes and no mean; ask .probability(label).")
        return self.probabilities[:, 1]

    def __repr__(self) -> str:
        parts = f"{self.aleatoric.mean():.3g} nats aleatoric, {self.epistemic.mean():.3g} epistemic"
        return f"ClassPrediction of {self.name} for {len(self):,} rows ({parts})"


def _evenly(count: int, kinds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """``count`` picks among ``kinds``, in random order, each as often as any other (up to one)."""
    return rng.permutation((np.arange(count) * kinds) // count if count < kinds else np.arange(count) % kinds)


def _entropy(chance: Array) -> Array:
    return -np.where(chance > 0, chance * np.log(np.where(chance > 0, chance, 1.0)), 0.0).sum(-1)
